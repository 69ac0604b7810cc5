//! The revocations of all nodes, in memory.
//!
//! A JWT is valid until it expires, unless every node that checks it knows better. So each node
//! keeps all revocations that still matter in a [`RevocationSet`], and a check is a look-up in
//! memory. A revocation matters until the last token that it can hit has expired; then it is
//! forgotten.
//!
//! Of a token or a session, a digest is kept. Of a subject, its name is, and up to which instant its tokens
//! are revoked: a token that was issued knowing of the revocation says so
//! (the claim `after_revocation_us`), and no clock has to tell it from one that was issued before.

mod id_buckets;
mod subjects;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::clock::Timestamp;
use crate::service::epoch_lock::EpochLock;
use crate::service::model::issue_time::IssueTime;
use crate::service::model::revocation::{Revocation, RevocationTarget};
use crate::service::model::subject::SubjectRef;
use crate::service::revocations::id_buckets::{IdBuckets, IdDigester};
use crate::service::revocations::subjects::{Organizations, RevokedSubjects, SubjectRevocation};
use crate::token::claims::Validated;
use crate::token::identifier::SessionId;
use crate::validate::revocations::Revocations;

/// How many subjects are forgotten at a time under the lock that validation reads.
const PURGE_LIMIT: usize = 1_000;
/// How many are forgotten with each that is published, for a host that does no housekeeping: more than
/// it adds.
const PURGED_BY_PUBLISH: usize = 2;
const SECOND: Duration = Duration::from_secs(1);

/// Where a revocation comes from.
#[derive(Clone, Copy)]
pub(crate) enum Origin {
    /// This node makes it now. Revocations that other nodes make later have instants after `others_after`, unless their
    /// clocks differ by more than the policy tolerates.
    ThisNode { others_after: Timestamp },
    /// The feed, which also returns the revocations of this node.
    Feed,
}

impl Origin {
    fn others_after(self) -> Option<Timestamp> {
        match self {
            Self::ThisNode { others_after } => Some(others_after),
            Self::Feed => None,
        }
    }
}

/// All live revocations, in memory.
pub(crate) struct RevocationSet {
    /// Counts what was added: what was looked up before may have been revoked since.
    live: EpochLock<Live>,
    digester: IdDigester,
    /// A random number, by which this process recognizes its own revocations.
    maker: u64,
    /// Whether there may be more, of other nodes, for longer than the policy puts up with.
    is_stale: AtomicBool,
    added: Notify,
    /// Whether the host still has to start what reads revocations and keys, and was not reminded of it.
    is_start_missing: AtomicBool,
}

#[derive(Debug)]
struct Live {
    ids: IdBuckets,
    subjects: RevokedSubjects,
}

impl RevocationSet {
    /// `longest_token_lifetime` is that of the policy.
    pub(crate) fn new(longest_token_lifetime: Duration) -> Self {
        let ids = IdBuckets::new(longest_token_lifetime);
        Self {
            live: EpochLock::new(Live { ids, subjects: RevokedSubjects::default() }),
            digester: IdDigester::default(),
            maker: RandomState::new().build_hasher().finish(),
            is_stale: AtomicBool::new(false),
            added: Notify::new(),
            is_start_missing: AtomicBool::new(false),
        }
    }

    /// Returns the number that identifies this process in revocations.
    pub(crate) fn maker(&self) -> u64 {
        self.maker
    }

    /// Adds one that is known from `now` on; the same twice is harmless, and a later one never weakens an
    /// earlier one.
    ///
    /// Returns whether it crosses one that this node has made: another node has revoked the same subject without
    /// knowing that one, at no later instant. Tokens whose issuer knew the revocation of this node are then not revoked,
    /// so this node has to revoke again.
    pub(crate) fn insert(&self, revocation: &Revocation, origin: Origin, now: Timestamp) -> bool {
        let until = revocation.until;
        let is_crossing = match &revocation.target {
            RevocationTarget::Token(id) => {
                let id = self.digester.token(id);
                self.live.change(|live| live.ids.insert(id, until));
                false
            }
            RevocationTarget::Session(id) => {
                let id = self.digester.session(id);
                self.live.change(|live| live.ids.insert(id, until));
                false
            }
            RevocationTarget::SubjectBefore {
                subject,
                before,
                issued_before,
                blocked_until,
                made_by,
            } => {
                let organizations = Organizations::One(subject.organization_id().cloned());
                let revoked = SubjectRevocation {
                    issued_before: *issued_before,
                    blocked_until: blocked_until.unwrap_or(Timestamp::MIN),
                    others_after: origin.others_after(),
                    is_of_another_node: made_by.is_some_and(|made_by| made_by != self.maker),
                    ..SubjectRevocation::new(organizations, *before, until, now)
                };
                let (subject_type, name) = (subject.subject_type(), subject.id());
                self.live.change(|live| live.subjects.insert(subject_type, name, revoked))
            }
            RevocationTarget::SubjectAnywhereBefore { subject_type, subject, before } => {
                let revoked = SubjectRevocation {
                    issued_before: *before + SECOND,
                    ..SubjectRevocation::new(Organizations::All, *before, until, now)
                };
                self.live.change(|live| live.subjects.insert(*subject_type, subject, revoked))
            }
        };
        self.added.notify_waiters();
        is_crossing
    }

    /// Waits for the next one that is added from this call on.
    pub(crate) fn next_added(&self) -> Notified<'_> {
        self.added.notified()
    }

    /// Returns the time of what is issued to a subject that proved who they are at `proven_at`, by this
    /// node's clock: with the latest revocation that was known then, where it could be mistaken for what
    /// that revokes.
    pub(crate) fn issue_time(&self, subject: SubjectRef<'_>, proven_at: Timestamp) -> IssueTime {
        let second = proven_at.floor_to_second();
        let live = self.live.read();
        let known = live
            .subjects
            .of(subject)
            .filter(|revoked| revoked.known_at <= proven_at && second < revoked.issued_before);
        IssueTime { at: proven_at, after_revocation: known.map(|revoked| revoked.before).max() }
    }

    /// Returns the instant of a revocation as of `cutoff`, which is `age` ago. It is later than each known instant, even
    /// if the clock of another node is ahead: tokens whose issuer knew those instants are to be revoked, too.
    pub(crate) fn next_instant(
        &self,
        subject: SubjectRef<'_>,
        cutoff: Timestamp,
        age: Duration,
    ) -> Timestamp {
        let live = self.live.read();
        let next = live.subjects.of(subject).map(|revoked| revoked.next_instant(age)).max();
        next.map_or(cutoff, |next| next.max(cutoff))
    }

    /// Returns whether the latest revocation of a subject was made by this node.
    pub(crate) fn is_latest_of_this_node(&self, subject: SubjectRef<'_>) -> bool {
        let live = self.live.read();
        let latest = live.subjects.of(subject).max_by_key(|revoked| revoked.before);
        latest.is_some_and(|revoked| revoked.others_after.is_some())
    }

    /// Returns whether a subject gets nothing now.
    pub(crate) fn is_blocked(&self, subject: SubjectRef<'_>, now: Timestamp) -> bool {
        self.live.read().subjects.of(subject).any(|revoked| now < revoked.blocked_until)
    }

    /// Returns whether the subject's tokens of that time have been revoked, and what it began then.
    pub(crate) fn contains_issued(&self, subject: SubjectRef<'_>, issued: IssueTime) -> bool {
        self.live.read().subjects.of(subject).any(|revoked| revoked.revokes(issued))
    }

    /// Returns whether the tokens of a session have been revoked.
    pub(crate) fn contains_session(&self, id: &SessionId) -> bool {
        let id = self.digester.session(id);
        self.live.read().ids.contains(id)
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
        live.ids.len() + live.subjects.len()
    }

    /// Forgets a little of what no longer matters.
    pub(crate) fn purge_some(&self, now: Timestamp) {
        self.purge_ids(now);
        self.purge_subjects(now, PURGED_BY_PUBLISH);
    }

    /// Forgets what no longer matters, a part at a time, and lets others in between.
    pub(crate) fn purge(&self, now: Timestamp) {
        self.purge_ids(now);
        while self.purge_subjects(now, PURGE_LIMIT) == PURGE_LIMIT {}
    }

    fn purge_ids(&self, now: Timestamp) {
        let has_ended = self.live.read().ids.has_ended(now);
        if has_ended {
            let ended = self.live.tidy(|live| live.ids.take_ended(now));
            // Freed when nobody waits for the lock any more.
            drop(ended);
        }
    }

    fn purge_subjects(&self, now: Timestamp, limit: usize) -> usize {
        self.live.tidy(|live| (0..limit).take_while(|_| live.subjects.purge_one(now)).count())
    }
}

impl Revocations for RevocationSet {
    fn epoch(&self) -> u64 {
        self.live.epoch()
    }

    fn contains(&self, token: &Validated) -> bool {
        let (subject, issued) = (SubjectRef::of_token(token), IssueTime::of_token(token));
        let live = self.live.read();
        let contains_id = || {
            let session = token.session_id().map(|id| self.digester.session(id));
            live.ids.contains(self.digester.token(token.token_id()))
                || session.is_some_and(|session| live.ids.contains(session))
        };
        (live.ids.len() > 0 && contains_id())
            || live.subjects.of(subject).any(|revoked| revoked.revokes(issued))
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

/// How many there are, and none of them.
impl fmt::Debug for RevocationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationSet").field("len", &self.len()).finish_non_exhaustive()
    }
}
