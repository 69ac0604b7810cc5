use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::service::model::issue_time::IssueTime;
use crate::service::model::subject::SubjectRef;
use crate::token::claims::SubjectType;
use crate::token::identifier::OrganizationId;

const MICROSECOND: Duration = Duration::from_micros(1);

/// The subjects whose tokens are revoked.
#[derive(Debug, Default)]
pub(super) struct RevokedSubjects {
    /// By kind and name; of most names there is one.
    by_kind: HashMap<SubjectType, HashMap<Arc<str>, Vec<SubjectRevocation>>>,
    /// Each of the above once, by when it is to be looked at: it ends then, or later.
    ends: BinaryHeap<Reverse<(Timestamp, SubjectKey)>>,
}

type SubjectKey = (SubjectType, Arc<str>, Organizations);

/// In which organizations a subject's tokens are revoked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Organizations {
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

/// What is revoked of a subject. Of two revocations, each member is the later one: so they make one
/// verdict in whatever order, and however often, they are heard.
#[derive(Clone, Debug)]
pub(super) struct SubjectRevocation {
    pub(super) organizations: Organizations,
    /// The instant of the revocation: what was issued knowing of it is not revoked.
    pub(super) before: Timestamp,
    /// All else is revoked that was issued before this instant.
    pub(super) issued_before: Timestamp,
    /// Nothing is issued before this instant.
    pub(super) blocked_until: Timestamp,
    pub(super) until: Timestamp,
    /// When this node has come to know `before`, by its own clock.
    pub(super) known_at: Timestamp,
    /// The same, by a clock that nobody sets.
    pub(super) heard_at: Instant,
    /// If this node has made `before`: the instant after which other nodes' later revocations lie, as far as clocks
    /// may differ.
    pub(super) others_after: Option<Timestamp>,
    /// Whether it was requested from another node.
    pub(super) is_of_another_node: bool,
    /// The latest of the instants before `before` that this node knows.
    pub(super) known: Vec<Timestamp>,
}

/// The number of known instants that are remembered of a subject. One that was forgotten counts as unknown.
const MAX_KNOWN: usize = 64;

impl SubjectRevocation {
    /// Creates one that is known from `now` on.
    pub(super) fn new(
        organizations: Organizations,
        before: Timestamp,
        until: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            organizations,
            before,
            issued_before: before,
            blocked_until: Timestamp::MIN,
            until,
            known_at: now,
            heard_at: Instant::now(),
            others_after: None,
            is_of_another_node: false,
            known: Vec::new(),
        }
    }

    /// Returns the instant of the next one, as of `age` ago: later than this one by the time that had passed since it
    /// was heard. So nodes that have heard an instant ahead of their clocks continue from it in step.
    pub(super) fn next_instant(&self, age: Duration) -> Timestamp {
        self.before + self.heard_at.elapsed().saturating_sub(age).max(MICROSECOND)
    }

    pub(super) fn revokes(&self, issued: IssueTime) -> bool {
        issued.at < self.issued_before && issued.after_revocation < Some(self.before)
    }

    /// Adds another one of the same subject. Returns whether it crosses one that this node has made.
    fn extend(&mut self, other: &Self) -> bool {
        let is_crossing = self.is_crossed_by(other);
        if other.before > self.before {
            self.add_known(self.before);
            self.before = other.before;
            self.known_at = self.known_at.max(other.known_at);
            self.heard_at = other.heard_at;
            self.others_after = other.others_after;
        } else if other.before < self.before {
            self.add_known(other.before);
        }
        self.issued_before = self.issued_before.max(other.issued_before);
        self.blocked_until = self.blocked_until.max(other.blocked_until);
        self.until = self.until.max(other.until);
        is_crossing
    }

    /// Returns whether another node has made `other` without knowing this one: its instant is no later, and was not
    /// known here.
    fn is_crossed_by(&self, other: &Self) -> bool {
        self.others_after.is_some_and(|after| after < other.before)
            && other.is_of_another_node
            && other.before <= self.before
            && !self.known.contains(&other.before)
    }

    fn add_known(&mut self, instant: Timestamp) {
        if self.known.contains(&instant) {
            return;
        }
        self.known.push(instant);
        if self.known.len() > MAX_KNOWN {
            self.known.sort_unstable();
            self.known.remove(0);
        }
    }
}

impl RevokedSubjects {
    /// Adds one; returns whether it crosses one that this node has made.
    pub(super) fn insert(
        &mut self,
        subject_type: SubjectType,
        name: &str,
        new: SubjectRevocation,
    ) -> bool {
        let of_kind = self.by_kind.entry(subject_type).or_default();
        let name = match of_kind.get_key_value(name) {
            Some((known, _)) => Arc::clone(known),
            None => name.into(),
        };
        let of_name = of_kind.entry(Arc::clone(&name)).or_default();
        let known = of_name.iter_mut().find(|known| known.organizations == new.organizations);
        match known {
            Some(known) => known.extend(&new),
            None => {
                let key = (subject_type, name, new.organizations.clone());
                self.ends.push(Reverse((new.until, key)));
                of_name.push(new);
                false
            }
        }
    }

    pub(super) fn of<'a>(
        &'a self,
        subject: SubjectRef<'a>,
    ) -> impl Iterator<Item = &'a SubjectRevocation> + 'a {
        let of_kind = self.by_kind.get(&subject.subject_type);
        let of_name = of_kind.and_then(|of_kind| of_kind.get(subject.id));
        let revoked = of_name.into_iter().flatten();
        revoked.filter(move |revoked| revoked.organizations.include(subject.organization_id))
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Looks at the first that may have ended; returns whether there was one. What was given more time
    /// is looked at again at its end.
    pub(super) fn purge_one(&mut self, now: Timestamp) -> bool {
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
        let (subject_type, name, organizations) = &ending;
        if let Some(of_kind) = self.by_kind.get_mut(subject_type)
            && let Some(of_name) = of_kind.get_mut(name)
        {
            of_name.retain(|revoked| revoked.organizations != *organizations);
            if of_name.is_empty() {
                of_kind.remove(name);
            }
        }
        true
    }

    fn end_of(&self, (subject_type, name, organizations): &SubjectKey) -> Option<Timestamp> {
        let of_name = self.by_kind.get(subject_type)?.get(name)?;
        let revoked = of_name.iter().find(|known| known.organizations == *organizations)?;
        Some(revoked.until)
    }
}

#[cfg(test)]
impl RevokedSubjects {
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.by_kind.values().all(HashMap::is_empty)
    }
}
