//! The revocations of all nodes, in memory.
//!
//! A JWT is valid until it expires, unless every node that checks it knows better. So each node
//! keeps all revocations that still matter in a [`RevocationSet`], and a check is a look-up in
//! memory. A revocation matters until the last token that it can hit has expired; then it is
//! forgotten.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::service::epoch_lock::EpochLock;
use crate::service::model::revocation::{Revocation, RevocationTarget};
use crate::token::claims::{SubjectType, Validated};
use crate::token::identifier::{SessionId, TokenId};
use crate::validate::revocations::Revocations;

const PURGE_INTERVAL: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// All live revocations, in memory.
#[derive(Debug, Default)]
pub(crate) struct RevocationSet {
    /// Counts what was added: what was looked up before may have been revoked since.
    live: EpochLock<Live>,
    /// Whether there may be more, of other nodes, for longer than the policy puts up with.
    is_stale: AtomicBool,
}

#[derive(Debug, Default)]
struct Live {
    tokens: HashMap<TokenId, Timestamp>,
    sessions: HashMap<SessionId, Timestamp>,
    subjects: HashMap<SubjectType, HashMap<String, RevokedSubject>>,
    purged_at: Option<Timestamp>,
}

/// A token's `iat` has whole seconds, so that one which was issued after a revocation, and in the
/// same second, cannot be told by it from one before. It therefore carries the next second, up to
/// which all are revoked.
#[derive(Clone, Copy, Debug)]
struct RevokedSubject {
    /// What was begun before this instant is revoked.
    before: Timestamp,
    /// Tokens are, whose `iat` is earlier than this second.
    issued_before: Timestamp,
    until: Timestamp,
}

impl RevokedSubject {
    fn new(before: Timestamp, until: Timestamp) -> Self {
        Self { before, issued_before: next_second(before), until }
    }

    /// The same twice changes nothing. One that is later, and in a second that tokens may already
    /// have been issued for in advance, revokes that second, too.
    fn extend(&mut self, before: Timestamp, until: Timestamp) {
        if before > self.before {
            let in_advance = self.issued_before;
            self.issued_before = next_second(before);
            if self.issued_before <= in_advance {
                self.issued_before = in_advance + SECOND;
            }
            self.before = before;
        }
        self.until = self.until.max(until);
    }
}

/// The first whole second that is not earlier.
fn next_second(instant: Timestamp) -> Timestamp {
    let second = instant.floor_to_second();
    if second == instant { second } else { second + SECOND }
}

impl RevocationSet {
    /// Adds one; the same twice is harmless, and a later one never weakens an earlier one.
    pub(crate) fn insert(&self, revocation: &Revocation) {
        self.live.change(|live| live.insert(revocation));
    }

    /// The `iat` of a token whose owner proved who they are at `proven_at`: that second, or, where
    /// their tokens were revoked earlier in it, the first one whose tokens are not.
    pub(crate) fn issue_time(
        &self,
        subject_type: SubjectType,
        subject: &str,
        proven_at: Timestamp,
    ) -> Timestamp {
        let second = proven_at.floor_to_second();
        let live = self.live.read();
        match live.revoked(subject_type, subject) {
            Some(revoked) if revoked.before <= proven_at => second.max(revoked.issued_before),
            _ => second,
        }
    }

    /// Returns whether what a subject began at an instant has been revoked since.
    pub(crate) fn ended(&self, subject_type: SubjectType, subject: &str, begun: Timestamp) -> bool {
        let live = self.live.read();
        live.revoked(subject_type, subject).is_some_and(|revoked| begun < revoked.before)
    }

    /// Returns whether the tokens of a session have been revoked.
    pub(crate) fn contains_session(&self, id: &SessionId) -> bool {
        let live = self.live.read();
        live.sessions.contains_key(id)
    }

    /// Sets whether revocations may be missing, and returns what was set before.
    pub(crate) fn set_stale(&self, is_stale: bool) -> bool {
        self.is_stale.swap(is_stale, Ordering::AcqRel)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        let live = self.live.read();
        let subjects: usize = live.subjects.values().map(HashMap::len).sum();
        live.tokens.len() + live.sessions.len() + subjects
    }

    /// Forgets what no longer matters, once a minute at most: it looks at everything, and whoever
    /// validates waits for it. For a host that does no housekeeping.
    pub(crate) fn purge_if_due(&self, now: Timestamp) {
        let is_recent = |at: Timestamp| at <= now && now.saturating_since(at) < PURGE_INTERVAL;
        self.live.tidy(|live| {
            if !live.purged_at.is_some_and(is_recent) {
                live.purge(now);
            }
        });
    }

    /// Forgets what no longer matters.
    pub(crate) fn purge(&self, now: Timestamp) {
        self.live.tidy(|live| live.purge(now));
    }
}

impl Revocations for RevocationSet {
    fn epoch(&self) -> u64 {
        self.live.epoch()
    }

    fn contains(&self, token: &Validated) -> bool {
        let live = self.live.read();
        if live.tokens.contains_key(token.token_id()) {
            return true;
        }
        if token.session_id().is_some_and(|session| live.sessions.contains_key(session)) {
            return true;
        }
        live.revoked(token.subject_type(), token.subject())
            .is_some_and(|revoked| token.issued_at() < revoked.issued_before)
    }

    fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Acquire)
    }
}

impl Live {
    fn insert(&mut self, revocation: &Revocation) {
        let until = revocation.until;
        let later = |known: &mut Timestamp| *known = until.max(*known);
        match &revocation.target {
            RevocationTarget::Token(id) => {
                self.tokens.entry(id.clone()).and_modify(later).or_insert(until);
            }
            RevocationTarget::Session(id) => {
                self.sessions.entry(id.clone()).and_modify(later).or_insert(until);
            }
            RevocationTarget::SubjectBefore { subject_type, subject, before } => {
                let before = *before;
                let of_sort = self.subjects.entry(*subject_type).or_default();
                of_sort
                    .entry(subject.clone())
                    .and_modify(|known| known.extend(before, until))
                    .or_insert_with(|| RevokedSubject::new(before, until));
            }
        }
    }

    fn purge(&mut self, now: Timestamp) {
        self.purged_at = Some(now);
        self.tokens.retain(|_, until| *until > now);
        self.sessions.retain(|_, until| *until > now);
        for of_sort in self.subjects.values_mut() {
            of_sort.retain(|_, revoked| revoked.until > now);
        }
    }

    fn revoked(&self, subject_type: SubjectType, subject: &str) -> Option<&RevokedSubject> {
        self.subjects.get(&subject_type)?.get(subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn start() -> Timestamp {
        Timestamp::from_secs(1_767_225_600)
    }

    fn revoke(set: &RevocationSet, before: Timestamp) {
        let (subject_type, subject) = (SubjectType::User, "ops".to_owned());
        let target = RevocationTarget::SubjectBefore { subject_type, subject, before };
        set.insert(&Revocation { target, until: Timestamp::MAX });
    }

    fn is_good(set: &RevocationSet, issued_at: Timestamp) -> bool {
        let live = set.live.read();
        live.revoked(SubjectType::User, "ops").is_none_or(|known| issued_at >= known.issued_before)
    }

    #[test]
    fn each_of_two_revocations_in_one_second_revokes_what_was_issued_before_it() {
        let set = RevocationSet::default();
        let issue = |at| set.issue_time(SubjectType::User, "ops", at);
        let first = issue(start() + MILLI * 200);
        revoke(&set, start() + MILLI * 300);
        let second = issue(start() + MILLI * 500);
        assert!(!is_good(&set, first) && is_good(&set, second));
        revoke(&set, start() + MILLI * 800);
        let third = issue(start() + MILLI * 900);
        assert!(!is_good(&set, second) && is_good(&set, third));
    }

    #[test]
    fn the_same_revocation_twice_or_an_older_one_revokes_nothing_more() {
        let set = RevocationSet::default();
        revoke(&set, start() + MILLI * 300);
        let issued = set.issue_time(SubjectType::User, "ops", start() + MILLI * 500);
        revoke(&set, start() + MILLI * 300);
        revoke(&set, start() + MILLI * 100);
        assert!(is_good(&set, issued));
    }

    #[test]
    fn who_proved_it_before_the_revocation_gets_a_token_that_is_revoked() {
        let set = RevocationSet::default();
        revoke(&set, start() + MILLI * 300);
        let late = set.issue_time(SubjectType::User, "ops", start() + MILLI * 299);
        assert!(!is_good(&set, late));
    }
}
