//! The revocations of all nodes, in memory.
//!
//! A JWT is valid until it expires, unless every node that checks it knows better. So each node
//! keeps all revocations that still matter in a [`RevocationSet`], and a check is a look-up in
//! memory. A revocation matters until the last token that it can hit has expired; then it is
//! forgotten.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::clock::Timestamp;
use crate::service::epoch_lock::EpochLock;
use crate::service::model::revocation::{Revocation, RevocationTarget};
use crate::service::model::subject::SubjectRef;
use crate::token::claims::{SubjectType, Validated};
use crate::token::identifier::{OrganizationId, SessionId, TokenId};
use crate::validate::revocations::Revocations;

/// How many are forgotten at a time under the lock that validation reads.
const PURGE_LIMIT: usize = 1_000;
/// How many are forgotten with each that is published, for a host that does no housekeeping: more than
/// it adds.
const PURGED_BY_PUBLISH: usize = 2;
const SECOND: Duration = Duration::from_secs(1);
/// By how much the clock of the node that has issued a token may be ahead of that of the node that revokes
/// it: tokens of up to so much later are revoked, too.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);

/// All live revocations, in memory.
#[derive(Debug, Default)]
pub(crate) struct RevocationSet {
    /// Counts what was added: what was looked up before may have been revoked since.
    live: EpochLock<Live>,
    /// Whether there may be more, of other nodes, for longer than the policy puts up with.
    is_stale: AtomicBool,
    added: Notify,
    /// Whether the host still has to start what reads revocations and keys, and was not reminded of it.
    is_start_missing: AtomicBool,
}

#[derive(Debug, Default)]
struct Live {
    tokens: HashMap<TokenId, Timestamp>,
    sessions: HashMap<SessionId, Timestamp>,
    /// By kind and name; of most names there is one.
    subjects: HashMap<SubjectType, HashMap<Arc<str>, Vec<SubjectRevocation>>>,
    /// Each of the above once, by when it is to be looked at: it ends then, or later.
    ends: BinaryHeap<Reverse<(Timestamp, RevocationKey)>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum RevocationKey {
    Token(TokenId),
    Session(SessionId),
    Subject(SubjectType, Arc<str>, Organizations),
}

/// In which organizations a subject's tokens are revoked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Organizations {
    All,
    One(Option<OrganizationId>),
}

impl Organizations {
    fn include(&self, organization_id: Option<&OrganizationId>) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one.as_ref() == organization_id,
        }
    }
}

/// A token's `iat` has whole seconds, and is of the clock of the node that issued it. So a token that was
/// issued after a revocation, and within a second or two, cannot be told by it from one before. It
/// therefore carries the next second that can, before which all are revoked.
#[derive(Clone, Debug)]
struct SubjectRevocation {
    organizations: Organizations,
    /// What was begun before this instant is revoked.
    before: Timestamp,
    /// Tokens are, whose `iat` is earlier than this second.
    issued_before: Timestamp,
    /// Nothing is issued before this instant.
    blocked_until: Timestamp,
    until: Timestamp,
}

impl SubjectRevocation {
    fn new(organizations: Organizations, before: Timestamp, until: Timestamp) -> Self {
        let (issued_before, blocked_until) = (next_issue_time(before), Timestamp::MIN);
        Self { organizations, before, issued_before, blocked_until, until }
    }

    fn blocking(self) -> Self {
        Self { blocked_until: self.before, ..self }
    }

    /// The same twice changes nothing. One that is later, and in a second that tokens may already
    /// have been issued for in advance, revokes that second, too.
    fn extend(&mut self, later: &Self) {
        let before = later.before;
        if before > self.before {
            let in_advance = self.issued_before;
            self.issued_before = next_issue_time(before);
            if self.issued_before <= in_advance {
                self.issued_before = in_advance + SECOND;
            }
            self.before = before;
        }
        self.blocked_until = self.blocked_until.max(later.blocked_until);
        self.until = self.until.max(later.until);
    }
}

/// The first `iat` that is not revoked by what revokes all before an instant.
fn next_issue_time(instant: Timestamp) -> Timestamp {
    let tolerated = instant + CLOCK_TOLERANCE;
    let second = tolerated.floor_to_second();
    if second == tolerated { second } else { second + SECOND }
}

impl RevocationSet {
    /// Adds one; the same twice is harmless, and a later one never weakens an earlier one.
    pub(crate) fn insert(&self, revocation: &Revocation) {
        self.live.change(|live| live.insert(revocation));
        self.added.notify_waiters();
    }

    /// Waits for the next one that is added from this call on.
    pub(crate) fn next_added(&self) -> Notified<'_> {
        self.added.notified()
    }

    /// The `iat` of a token whose owner proved who they are at `proven_at`: that second, or, where
    /// their tokens were revoked earlier in it, the first one whose tokens are not.
    pub(crate) fn issue_time(&self, subject: SubjectRef<'_>, proven_at: Timestamp) -> Timestamp {
        let live = self.live.read();
        let earlier = live.revoked(subject).filter(|revoked| revoked.before <= proven_at);
        let earliest = earlier.map(|revoked| revoked.issued_before).max();
        proven_at.floor_to_second().max(earliest.unwrap_or(Timestamp::MIN))
    }

    /// Returns whether what a subject began at an instant has been revoked since.
    pub(crate) fn ended(&self, subject: SubjectRef<'_>, begun: Timestamp) -> bool {
        self.live.read().revoked(subject).any(|revoked| begun < revoked.before)
    }

    /// Returns whether a subject gets nothing now.
    pub(crate) fn is_blocked(&self, subject: SubjectRef<'_>, now: Timestamp) -> bool {
        self.live.read().revoked(subject).any(|revoked| now < revoked.blocked_until)
    }

    /// Returns whether the tokens of a subject that carry this `iat` have been revoked.
    pub(crate) fn contains_issued_at(&self, subject: SubjectRef<'_>, issued_at: Timestamp) -> bool {
        self.live.read().revoked(subject).any(|revoked| issued_at < revoked.issued_before)
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

    /// Sets whether the host still has to start what reads revocations and keys.
    pub(crate) fn set_start_missing(&self, is_missing: bool) {
        self.is_start_missing.store(is_missing, Ordering::Release);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        let live = self.live.read();
        live.ends.len()
    }

    /// Forgets a little of what no longer matters.
    pub(crate) fn purge_some(&self, now: Timestamp) {
        self.purge_part(now, PURGED_BY_PUBLISH);
    }

    /// Forgets what no longer matters, a part at a time, and lets others in between.
    pub(crate) fn purge(&self, now: Timestamp) {
        while self.purge_part(now, PURGE_LIMIT) == PURGE_LIMIT {}
    }

    fn purge_part(&self, now: Timestamp, limit: usize) -> usize {
        let mut purged = 0;
        self.live.tidy(|live| {
            while purged < limit && live.purge_one(now) {
                purged += 1;
            }
        });
        purged
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
        live.revoked(SubjectRef::of_token(token))
            .any(|revoked| token.issued_at() < revoked.issued_before)
    }

    fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Acquire)
    }

    fn remind_of_start(&self) {
        if self.is_start_missing.swap(false, Ordering::AcqRel) {
            tracing::error!(
                "`TokenService::start` was not called: revocations and managed keys are not read, \
                 tokens are rejected with a 503; call it before requests are served, or `catch_up` on a \
                 serverless host"
            );
        }
    }
}

impl Live {
    fn insert(&mut self, revocation: &Revocation) {
        let until = revocation.until;
        match &revocation.target {
            RevocationTarget::Token(id) => {
                let end = RevocationKey::Token(id.clone());
                insert_until(&mut self.tokens, id, until, &mut self.ends, end);
            }
            RevocationTarget::Session(id) => {
                let end = RevocationKey::Session(id.clone());
                insert_until(&mut self.sessions, id, until, &mut self.ends, end);
            }
            RevocationTarget::SubjectBefore { subject, before, blocks } => {
                let organizations = Organizations::One(subject.organization_id().cloned());
                let revoked = SubjectRevocation::new(organizations, *before, until);
                let revoked = if *blocks { revoked.blocking() } else { revoked };
                self.insert_subject(subject.subject_type(), subject.id(), revoked);
            }
            RevocationTarget::SubjectAnywhereBefore { subject_type, subject, before } => {
                let revoked = SubjectRevocation::new(Organizations::All, *before, until);
                self.insert_subject(*subject_type, subject, revoked);
            }
        }
    }

    fn insert_subject(&mut self, subject_type: SubjectType, name: &str, new: SubjectRevocation) {
        let of_kind = self.subjects.entry(subject_type).or_default();
        let name = match of_kind.get_key_value(name) {
            Some((known, _)) => Arc::clone(known),
            None => name.into(),
        };
        let of_name = of_kind.entry(Arc::clone(&name)).or_default();
        let known = of_name.iter_mut().find(|known| known.organizations == new.organizations);
        match known {
            Some(known) => known.extend(&new),
            None => {
                let end = RevocationKey::Subject(subject_type, name, new.organizations.clone());
                self.ends.push(Reverse((new.until, end)));
                of_name.push(new);
            }
        }
    }

    /// Looks at the first that may have ended; returns whether there was one. What was given more time
    /// is looked at again at its end.
    fn purge_one(&mut self, now: Timestamp) -> bool {
        let Some(Reverse((_, ending))) =
            self.ends.peek().filter(|Reverse((end, _))| *end <= now).cloned()
        else {
            return false;
        };
        self.ends.pop();
        if let Some(until) = self.end_of(&ending).filter(|until| *until > now) {
            self.ends.push(Reverse((until, ending)));
            return true;
        }
        match &ending {
            RevocationKey::Token(id) => {
                self.tokens.remove(id);
            }
            RevocationKey::Session(id) => {
                self.sessions.remove(id);
            }
            RevocationKey::Subject(subject_type, name, organizations) => {
                if let Some(of_kind) = self.subjects.get_mut(subject_type)
                    && let Some(of_name) = of_kind.get_mut(name)
                {
                    of_name.retain(|revoked| revoked.organizations != *organizations);
                    if of_name.is_empty() {
                        of_kind.remove(name);
                    }
                }
            }
        }
        true
    }

    fn end_of(&self, ending: &RevocationKey) -> Option<Timestamp> {
        match ending {
            RevocationKey::Token(id) => self.tokens.get(id).copied(),
            RevocationKey::Session(id) => self.sessions.get(id).copied(),
            RevocationKey::Subject(subject_type, name, organizations) => {
                let of_name = self.subjects.get(subject_type)?.get(name)?;
                let revoked = of_name.iter().find(|known| known.organizations == *organizations)?;
                Some(revoked.until)
            }
        }
    }

    fn revoked<'a>(
        &'a self,
        subject: SubjectRef<'a>,
    ) -> impl Iterator<Item = &'a SubjectRevocation> + 'a {
        let of_kind = self.subjects.get(&subject.subject_type);
        let of_name = of_kind.and_then(|of_kind| of_kind.get(subject.id));
        let revoked = of_name.into_iter().flatten();
        revoked.filter(move |revoked| revoked.organizations.include(subject.organization_id))
    }
}

/// The same twice changes nothing, and has one end.
fn insert_until<K: Clone + Eq + Hash>(
    known: &mut HashMap<K, Timestamp>,
    key: &K,
    until: Timestamp,
    ends: &mut BinaryHeap<Reverse<(Timestamp, RevocationKey)>>,
    ending: RevocationKey,
) {
    match known.get_mut(key) {
        Some(known) => *known = until.max(*known),
        None => {
            known.insert(key.clone(), until);
            ends.push(Reverse((until, ending)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn start() -> Timestamp {
        Timestamp::from_secs(1_767_225_600)
    }

    const OPS: SubjectRef<'static> =
        SubjectRef { subject_type: SubjectType::User, organization_id: None, id: "ops" };

    fn revoke(set: &RevocationSet, before: Timestamp) {
        let target =
            RevocationTarget::SubjectBefore { subject: OPS.to_subject(), before, blocks: false };
        set.insert(&Revocation { target, until: Timestamp::MAX });
    }

    fn is_good(set: &RevocationSet, issued_at: Timestamp) -> bool {
        !set.contains_issued_at(OPS, issued_at)
    }

    #[test]
    fn each_of_two_revocations_in_one_second_revokes_what_was_issued_before_it() {
        let set = RevocationSet::default();
        let issue = |at| set.issue_time(OPS, at);
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
        let issued = set.issue_time(OPS, start() + MILLI * 500);
        revoke(&set, start() + MILLI * 300);
        revoke(&set, start() + MILLI * 100);
        assert!(is_good(&set, issued));
    }

    #[test]
    fn who_proved_it_before_the_revocation_gets_a_token_that_is_revoked() {
        let set = RevocationSet::default();
        revoke(&set, start() + MILLI * 300);
        let late = set.issue_time(OPS, start() + MILLI * 299);
        assert!(!is_good(&set, late));
    }

    fn token(number: u64) -> RevocationTarget {
        RevocationTarget::Token(TokenId::new(format!("jti-{number}")).unwrap())
    }

    #[test]
    fn what_was_given_more_time_is_forgotten_at_its_end_and_not_before() {
        let set = RevocationSet::default();
        let everything = [
            token(1),
            RevocationTarget::Session(SessionId::new("sid-1").unwrap()),
            RevocationTarget::SubjectBefore {
                subject: OPS.to_subject(),
                before: start(),
                blocks: false,
            },
        ];
        for target in everything {
            let revocation = |until| Revocation { target: target.clone(), until };
            set.insert(&revocation(start() + SECOND));
            set.insert(&revocation(start() + SECOND * 3));
            // Later to arrive, and no longer.
            set.insert(&revocation(start() + SECOND * 2));
        }
        assert_eq!(set.len(), 3, "the same twice is one");
        set.purge(start() + SECOND * 2);
        assert_eq!(set.len(), 3);
        set.purge(start() + SECOND * 3);
        assert_eq!(set.len(), 0);
        assert!(set.live.read().subjects.values().all(HashMap::is_empty));
    }

    #[test]
    fn each_part_of_a_purge_is_small_and_all_of_it_is_done() {
        let set = RevocationSet::default();
        for number in 0..PURGE_LIMIT as u64 * 3 {
            set.insert(&Revocation { target: token(number), until: start() });
        }
        set.insert(&Revocation { target: token(u64::MAX), until: start() + SECOND });
        assert_eq!(set.purge_part(start(), PURGE_LIMIT), PURGE_LIMIT);
        set.purge(start());
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn a_namesake_in_another_organization_is_somebody_else() {
        let set = RevocationSet::default();
        let [acme, globex] = ["acme", "globex"].map(|id| Some(OrganizationId::new(id).unwrap()));
        let ops = |organization_id| SubjectRef { organization_id, ..OPS };
        let subject = ops(acme.as_ref()).to_subject();
        let target = RevocationTarget::SubjectBefore { subject, before: start(), blocks: false };
        set.insert(&Revocation { target, until: Timestamp::MAX });
        let early = start() - SECOND;
        assert!(set.ended(ops(acme.as_ref()), early));
        assert!(!set.ended(ops(globex.as_ref()), early) && !set.ended(OPS, early));
        // Of whom an older record does not say where they belong, all are meant.
        let target = RevocationTarget::SubjectAnywhereBefore {
            subject_type: SubjectType::User,
            subject: "ops".to_owned(),
            before: start(),
        };
        set.insert(&Revocation { target, until: Timestamp::MAX });
        assert!(set.ended(ops(globex.as_ref()), early) && set.ended(OPS, early));
    }
}
