use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::service::model::issue_time::IssueTime;
use crate::service::model::subject::SubjectRef;
use crate::token::claims::SubjectType;
use crate::token::identifier::OrganizationId;

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
    /// When this node has come to know it, by its own clock.
    pub(super) known_at: Timestamp,
}

impl SubjectRevocation {
    pub(super) fn revokes(&self, issued: IssueTime) -> bool {
        issued.at < self.issued_before && issued.after_revocation < Some(self.before)
    }

    fn extend(&mut self, other: &Self) {
        if other.before > self.before {
            self.before = other.before;
            self.known_at = self.known_at.max(other.known_at);
        }
        self.issued_before = self.issued_before.max(other.issued_before);
        self.blocked_until = self.blocked_until.max(other.blocked_until);
        self.until = self.until.max(other.until);
    }
}

impl RevokedSubjects {
    pub(super) fn insert(&mut self, subject_type: SubjectType, name: &str, new: SubjectRevocation) {
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
