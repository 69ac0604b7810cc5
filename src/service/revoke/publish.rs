//! Publishing what was revoked or changed, and applying what any node has published.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::model::entity::EntityId;
use crate::service::model::revocation::{Revocation, RevocationTarget};
use crate::service::revocations::Origin;
use crate::service::store::FeedEvent;
use crate::service::telemetry;
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::token::claims::{SubjectType, Validated};
use crate::validate::revocations::Revocations as _;

impl TokenService {
    /// Returns whether a token was revoked, and all nodes are told: to revoke it again would change nothing. After a
    /// failure, that is unknown of each token, for as long as one may live that was issued before.
    pub(in crate::service) fn was_revoked_for_all(&self, token: &Validated) -> bool {
        // In this order: a publication is under way before what it says is known, and notes its failure before it ends.
        if !self.inner.revocations.contains(token)
            || self.inner.publications.load(Ordering::SeqCst) > 0
            || !self.inner.unpublished.is_empty()
        {
            return false;
        }
        let failed_at = self.inner.revoking_failed_at.load(Ordering::SeqCst);
        let longest = self.inner.policy.longest_token_lifetime();
        let until = self.accepted_until(Timestamp::from_micros(failed_at) + longest);
        self.kept_until(until) < self.now()
    }

    /// Notes that what was to be revoked or ended may be known to this node alone.
    pub(in crate::service) fn note_failure_to_revoke(&self) {
        self.inner.revoking_failed_at.fetch_max(self.now().as_micros(), Ordering::SeqCst);
    }

    /// Returns when the last token ends that any node has issued up to now. The clock of this one may be behind.
    pub(in crate::service) fn latest_end_of_tokens(&self) -> Timestamp {
        self.inner.stores.clock().latest_now() + self.inner.policy.longest_token_lifetime()
    }

    /// Returns until when validators accept a token that ends at `expires_at`.
    pub(in crate::service) fn accepted_until(&self, expires_at: Timestamp) -> Timestamp {
        expires_at + self.inner.policy.tokens.leeway
    }

    /// Adds how much clocks may differ: another node's may be ahead.
    pub(super) fn kept_until(&self, accepted_until: Timestamp) -> Timestamp {
        accepted_until + self.inner.policy.tokens.rotation_schedule.clock_tolerance
    }
}

impl Writer {
    /// Revokes on this node at once, also if it cannot be published for all others.
    pub(super) async fn remember(
        &self,
        target: RevocationTarget,
        until: Timestamp,
    ) -> Result<(), Error> {
        let revocation = Revocation { target, until: self.kept_until(until) };
        self.publish(revocation.into()).await
    }

    /// Tells all nodes that keep a copy of a principal to read it anew.
    pub(in crate::service) async fn publish_change(&self, id: &EntityId) -> Result<(), Error> {
        let until = self.kept_until(self.accepted_until(self.latest_end_of_tokens()));
        self.publish(FeedEvent::EntityChanged { id: id.clone(), until }).await
    }

    /// Applies an event on this node, then publishes it.
    pub(super) async fn publish(&self, event: FeedEvent) -> Result<(), Error> {
        let _under_way = Publication::begin(&self.inner.publications);
        self.apply(&event);
        self.inner.revocations.purge_some(self.inner.stores.clock().earliest_now());
        telemetry::revocations_held(self.inner.revocations.len());
        if self.inner.stores.are_shared() {
            self.inner.recent_events.add(event.clone());
        }
        let published = self.stores.publish(event).await;
        if published.is_err() {
            self.note_failure_to_revoke();
        }
        published
    }
}

/// A publication under way: what it says is known to this node, and maybe to no other one yet.
struct Publication<'a>(&'a AtomicUsize);

impl<'a> Publication<'a> {
    fn begin(publications: &'a AtomicUsize) -> Self {
        publications.fetch_add(1, Ordering::SeqCst);
        Self(publications)
    }
}

impl Drop for Publication<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TokenService {
    /// Applies an event of this node or another. Returns whether it crosses a revocation that this node has made; see
    /// [`revoke_again`](Self::revoke_again).
    ///
    /// Copies are invalidated after the revocation is known. In the other order, a copy that is read
    /// in between would yield a token that is revoked though its owner logged in later.
    pub(in crate::service) fn apply(&self, event: &FeedEvent) -> bool {
        let inner = &self.inner;
        match event {
            FeedEvent::Revoked(revocation) => {
                let is_crossing = inner.revocations.insert(revocation, Origin::Feed, self.now());
                if let Some(id) = logged_out(&revocation.target) {
                    inner.stores.invalidate(&id);
                }
                return is_crossing;
            }
            FeedEvent::EntityChanged { id, .. } => inner.stores.invalidate(id),
            FeedEvent::Skipped => {}
            FeedEvent::Unreadable { position, reason } => {
                if inner.last_heard.lock().is_first_unreadable(position) {
                    tracing::error!(
                        %position, %reason,
                        "revocations: an entry of the feed cannot be read and is passed, what it \
                         revokes is accepted by this node; run the release that wrote it"
                    );
                }
            }
        }
        false
    }
}

/// Returns the machine client whose tokens are all revoked. Its copy is invalidated, too: a token
/// is as old as the copy that it was issued from.
fn logged_out(target: &RevocationTarget) -> Option<EntityId> {
    let name = match target {
        RevocationTarget::SubjectBefore { subject, .. }
            if subject.subject_type() == SubjectType::Machine =>
        {
            subject.id()
        }
        RevocationTarget::SubjectAnywhereBefore {
            subject_type: SubjectType::Machine,
            subject,
            ..
        } => subject,
        _ => return None,
    };
    EntityId::machine(name).ok()
}
