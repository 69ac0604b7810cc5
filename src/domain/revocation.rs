//! Taking back what was handed out.
//!
//! A JWT is valid until it expires, unless every node that checks it knows better. So each node
//! keeps all revocations that still matter in a [`RevocationSet`], and a check is a look-up in
//! memory. A revocation matters until the last token that it can hit has expired; then it is
//! forgotten.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::domain::claims::{SubjectType, Validated};
use crate::domain::identifier::{SessionId, TokenId};

/// What is taken back, and until when that has to be remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// What is taken back.
    pub target: RevocationTarget,
    /// When the last token that it can hit is dead, and it may be forgotten.
    pub until: Timestamp,
}

/// What a [`Revocation`] takes back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationTarget {
    /// The one token with this `jti`.
    Token(TokenId),
    /// All tokens exchanged from this session.
    Session(SessionId),
    /// All tokens of a subject that were issued before an instant.
    SubjectBefore {
        /// What sort of principal it is: a user and an entity may share a name.
        subject_type: SubjectType,
        /// The tokens' `sub`.
        subject: String,
        /// Tokens whose `iat` is earlier are taken back. An `iat` has whole seconds, so one that
        /// was issued within the second of this instant counts as earlier.
        before: Timestamp,
    },
    /// Nothing is revoked: whoever keeps a copy of this registered entity has to read it anew.
    EntityChanged {
        /// What sort of principal it is.
        subject_type: SubjectType,
        /// Its name or id.
        name: String,
    },
}

#[cfg_attr(not(feature = "service"), allow(dead_code, reason = "done by the service"))]
const PURGE_INTERVAL: Duration = Duration::from_secs(60);

/// All live revocations, in memory.
#[derive(Debug, Default)]
pub(crate) struct RevocationSet {
    live: RwLock<Live>,
}

#[derive(Debug, Default)]
struct Live {
    tokens: HashMap<TokenId, Timestamp>,
    sessions: HashMap<SessionId, Timestamp>,
    /// Subject → (before, until).
    subjects: HashMap<(SubjectType, String), (Timestamp, Timestamp)>,
    purged_at: Option<Timestamp>,
}

impl RevocationSet {
    /// Adds one; the same twice is harmless, and a later one never weakens an earlier one.
    #[cfg_attr(not(feature = "service"), allow(dead_code, reason = "fed by the service"))]
    pub(crate) fn insert(&self, revocation: &Revocation) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let until = revocation.until;
        let later = |known: &mut Timestamp| *known = until.max(*known);
        match &revocation.target {
            RevocationTarget::Token(id) => {
                live.tokens.entry(id.clone()).and_modify(later).or_insert(until);
            }
            RevocationTarget::Session(id) => {
                live.sessions.entry(id.clone()).and_modify(later).or_insert(until);
            }
            RevocationTarget::SubjectBefore { subject_type, subject, before } => {
                let key = (*subject_type, subject.clone());
                let known = live.subjects.entry(key).or_insert((*before, until));
                *known = (known.0.max(*before), known.1.max(until));
            }
            RevocationTarget::EntityChanged { .. } => {}
        }
    }

    /// Whether `token` has been taken back.
    pub(crate) fn contains(&self, token: &Validated) -> bool {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        if live.tokens.contains_key(token.token_id()) {
            return true;
        }
        if token.session_id().is_some_and(|session| live.sessions.contains_key(session)) {
            return true;
        }
        if live.subjects.is_empty() {
            return false;
        }
        let key = (token.subject_type(), token.subject().to_owned());
        live.subjects.get(&key).is_some_and(|(before, _)| token.issued_at() < *before)
    }

    /// Forgets what no longer matters, once a minute at most: it looks at everything, and whoever
    /// validates waits for it. Answers whether it was time.
    #[cfg_attr(not(feature = "service"), allow(dead_code, reason = "done by the service"))]
    pub(crate) fn purge_if_due(&self, now: Timestamp) -> bool {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: Timestamp| at <= now && now.saturating_since(at) < PURGE_INTERVAL;
        if live.purged_at.is_some_and(is_recent) {
            return false;
        }
        live.purged_at = Some(now);
        live.tokens.retain(|_, until| *until > now);
        live.sessions.retain(|_, until| *until > now);
        live.subjects.retain(|_, (_, until)| *until > now);
        true
    }
}
