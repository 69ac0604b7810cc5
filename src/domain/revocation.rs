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
#[cfg_attr(not(feature = "service"), allow(dead_code, reason = "issuing is the service's"))]
const SECOND: Duration = Duration::from_secs(1);

/// All live revocations, in memory.
#[derive(Debug, Default)]
pub(crate) struct RevocationSet {
    live: RwLock<Live>,
}

#[derive(Debug, Default)]
struct Live {
    tokens: HashMap<TokenId, Timestamp>,
    sessions: HashMap<SessionId, Timestamp>,
    subjects: HashMap<SubjectType, HashMap<String, RevokedSubject>>,
    purged_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct RevokedSubject {
    before: Timestamp,
    until: Timestamp,
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
                let before = *before;
                let of_sort = live.subjects.entry(*subject_type).or_default();
                let known =
                    of_sort.entry(subject.clone()).or_insert(RevokedSubject { before, until });
                known.before = known.before.max(before);
                known.until = known.until.max(until);
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
        live.revoked_before(token.subject_type(), token.subject())
            .is_some_and(|before| token.issued_at() < before)
    }

    /// The `iat` of a token whose owner proved who they are at `proven_at`: that second, or, where
    /// their tokens were taken back earlier in it, the next one. An `iat` has whole seconds, and a
    /// token that was issued after a revocation must not look as if it had been before.
    #[cfg_attr(not(feature = "service"), allow(dead_code, reason = "issuing is the service's"))]
    pub(crate) fn issue_time(
        &self,
        subject_type: SubjectType,
        subject: &str,
        proven_at: Timestamp,
    ) -> Timestamp {
        let second = proven_at.floor_to_second();
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        match live.revoked_before(subject_type, subject) {
            Some(before) if second < before && before <= proven_at => second + SECOND,
            _ => second,
        }
    }

    /// Whether what a subject began at an instant has been taken back since.
    #[cfg_attr(not(feature = "service"), allow(dead_code, reason = "sessions are the service's"))]
    pub(crate) fn ended(&self, subject_type: SubjectType, subject: &str, begun: Timestamp) -> bool {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.revoked_before(subject_type, subject).is_some_and(|before| begun < before)
    }

    /// How many there are.
    #[cfg_attr(not(feature = "service"), allow(dead_code, reason = "counted by the service"))]
    pub(crate) fn len(&self) -> usize {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let subjects: usize = live.subjects.values().map(HashMap::len).sum();
        live.tokens.len() + live.sessions.len() + subjects
    }

    /// Forgets what no longer matters, once a minute at most: it looks at everything, and whoever
    /// validates waits for it. For a host that does no housekeeping.
    #[cfg_attr(not(feature = "service"), allow(dead_code, reason = "done by the service"))]
    pub(crate) fn purge_if_due(&self, now: Timestamp) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: Timestamp| at <= now && now.saturating_since(at) < PURGE_INTERVAL;
        if !live.purged_at.is_some_and(is_recent) {
            live.purge(now);
        }
    }

    /// Forgets what no longer matters.
    #[cfg_attr(not(feature = "service"), allow(dead_code, reason = "done by the service"))]
    pub(crate) fn purge(&self, now: Timestamp) {
        self.live.write().unwrap_or_else(PoisonError::into_inner).purge(now);
    }
}

impl Live {
    #[cfg_attr(not(feature = "service"), allow(dead_code, reason = "done by the service"))]
    fn purge(&mut self, now: Timestamp) {
        self.purged_at = Some(now);
        self.tokens.retain(|_, until| *until > now);
        self.sessions.retain(|_, until| *until > now);
        for of_sort in self.subjects.values_mut() {
            of_sort.retain(|_, revoked| revoked.until > now);
        }
    }

    fn revoked_before(&self, subject_type: SubjectType, subject: &str) -> Option<Timestamp> {
        let revoked = self.subjects.get(&subject_type)?.get(subject)?;
        Some(revoked.before)
    }
}
