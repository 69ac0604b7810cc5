//! Where a rule does not hold. Each exception says so in plain words, and quotes the sentence of SECURITY.md
//! that it comes from.

use std::time::Duration;

use super::bounds::{CLOCK_TOLERANCE, RECOVERY, SLACK, STALENESS};
use super::facts::{Facts, JwtFacts, SessionFacts};
use super::history::{Call, Effect, Happened, Moment, Request};

/// How long a clock counts as wrong after it was set right.
const CLOCK_SETTLES: Moment = Moment::from_secs(2);

impl<'a> Facts<'a> {
    /// The faults that may have lost what a request wrote: it was answered, and an engine that lacks it has
    /// taken over since, by a failover to a standby that lagged or the restore of a snapshot.
    ///
    /// Then a session may be exchanged again, and the end of a session from which nothing was issued, a new
    /// secret or a disabling may be undone.
    ///
    /// "One that loses a write it answered brings a session back that was exchanged, and a second exchange of it
    /// succeeds; a secret or password that was replaced is good again, and a principal that was disabled is
    /// enabled again."
    pub fn losses_of(&self, write: &Request) -> impl Iterator<Item = &'a Happened> {
        let (start, end) = (write.start, write.end);
        self.faults(|effect| *effect == Effect::WritesLost)
            .filter(move |loss| end >= loss.start && start <= loss.end)
    }

    pub fn may_be_lost(&self, write: &Request) -> bool {
        self.losses_of(write).next().is_some()
    }

    /// Whether what has ended a session ends a token of it.
    ///
    /// "where the exchange is lost, a log-out by the authentication token does not end the tokens of it;
    /// `revoke_subject` does."
    pub fn reaches(&self, session: &SessionFacts<'a>, end: &Request, jwt: &JwtFacts<'a>) -> bool {
        let is_of_token = matches!(end.call, Call::LogOutByToken { jwt: of } if of == jwt.number);
        is_of_token
            || matches!(end.call, Call::RevokeCustomer { .. })
            || !self.may_be_lost(jwt.issued)
            || self.knows_of_tokens(session, end)
    }

    /// Whether a session's record says, when the session is ended, that something was issued from it.
    fn knows_of_tokens(&self, session: &SessionFacts<'a>, end: &Request) -> bool {
        session.requests.iter().any(|request| {
            let issues = matches!(request.call, Call::Exchange { .. } | Call::Page { .. });
            issues && request.is_yes() && request.end < end.start && !self.may_be_lost(request)
        })
    }

    /// The instant from which a node has to know of what was published by an answered request; none, where
    /// that may be forgotten.
    ///
    /// The node that has answered knows it at once. Another one may not be reached by it for a while, and
    /// rejects everything after that: "Where the store cannot be reached, they go on with what they have heard
    /// for the policy's `runtime.max_revocation_staleness`".
    ///
    /// Where the engine has lost what was published, the node that has answered it publishes it again, unless
    /// it has died meanwhile: "nodes that had read them go on rejecting the tokens, and others accept
    /// them."
    pub fn known_from(&self, published: &Request, node: usize) -> Option<Moment> {
        self.done_from(published, node, published.node == node)
    }

    /// The instant from which a node has to know of the end of a session.
    ///
    /// Of one from which nothing was issued nobody has heard, and its node ends it again where the engine has lost
    /// that: "Until it is done again, which takes a second or so after the engine is back, a node that had not read
    /// a revocation accepts the tokens, and each node the sessions."
    pub fn ended_from(
        &self,
        session: &SessionFacts<'a>,
        end: &Request,
        node: usize,
    ) -> Option<Moment> {
        let is_published =
            !matches!(end.call, Call::LogOut { .. }) || self.knows_of_tokens(session, end);
        let is_lost_unheard = !is_published && self.may_be_lost(end);
        self.done_from(end, node, end.node == node && !is_lost_unheard)
    }

    /// `knows` says whether the node has it in its memory.
    fn done_from(&self, published: &Request, node: usize, knows: bool) -> Option<Moment> {
        let mut from = published.end;
        for loss in self.losses_of(published) {
            let settled = self.quiet_from(published.node, loss.end) + RECOVERY;
            if self.is_killed_within(published.node, published.start, settled) {
                return None;
            }
            from = from.max(settled);
        }
        if knows && !self.is_killed_within(node, published.start, Moment::MAX) {
            return Some(published.end);
        }
        // Who was started since has read everything, and everything else has heard or is silent.
        Some(if knows { from } else { from + STALENESS + SLACK })
    }

    /// The instant from which a node goes by the keys that are in the store.
    ///
    /// "`retire_key` rejects what it signed on its own node at once, and elsewhere once that has looked
    /// (`refresh_interval`)". A node that does not reach the store cannot look; and where the engine has lost
    /// what was written, that is as with revocations.
    pub fn keys_known_from(&self, retiring: &Request, node: usize) -> Option<Moment> {
        let known = self.known_from(retiring, node)?;
        if retiring.node == node && known == retiring.end {
            return Some(known);
        }
        Some(self.quiet_from(node, known) + RECOVERY)
    }

    /// The first instant from which on a node is without a fault for as long as it takes to recover.
    pub fn quiet_from(&self, node: usize, from: Moment) -> Moment {
        let mut quiet = from;
        loop {
            let next = self
                .faults(|effect| concerns(effect, node))
                .filter(|fault| fault.start < quiet + RECOVERY && fault.end > quiet)
                .map(|fault| fault.end)
                .max();
            match next {
                Some(end) => quiet = end,
                None => return quiet,
            }
        }
    }

    pub fn is_killed_within(&self, node: usize, from: Moment, to: Moment) -> bool {
        self.faults(|effect| *effect == Effect::NodeKilled { node })
            .any(|kill| kill.start >= from && kill.start <= to)
    }

    /// Whether the clock of a request's node was wrong by more than nodes bear.
    ///
    /// Then it takes good tokens for expired ones and issues tokens that others take for such.
    pub fn has_wrong_clock(&self, request: &Request) -> bool {
        self.clock_offsets(request).any(is_beyond_tolerance)
    }

    /// Whether the clocks of two requests' nodes may have differed by more than nodes bear.
    ///
    /// Then what revokes all tokens of a principal up to now does not reach those of a clock that is ahead: "a
    /// token from further ahead is reached by `revoke_token`, `end_session` and `block_subject`."
    pub fn have_clocks_apart(&self, one: &Request, other: &Request) -> bool {
        let others: Vec<i64> = self.clock_offsets(other).chain([0]).collect();
        self.clock_offsets(one)
            .chain([0])
            .any(|one| others.iter().any(|other| is_beyond_tolerance(one - other)))
    }

    /// Whether the clock of a request's node may have been set back just before.
    ///
    /// "After a node's clock was set back, a revocation that the node heard before counts as unknown to what it
    /// issues until that time has come again: such tokens are rejected."
    pub fn may_be_set_back(&self, request: &Request) -> bool {
        self.clock_offsets(request).next().is_some()
    }

    /// By how much the clock of a request's node may have been wrong.
    fn clock_offsets(&self, request: &Request) -> impl Iterator<Item = i64> {
        let (of, start, end) = (request.node, request.start, request.end);
        self.faults(|_| true).filter_map(move |fault| match fault.effect {
            Effect::ClockOff { node, seconds }
                if node == of && end >= fault.start && start <= fault.end + CLOCK_SETTLES =>
            {
                Some(seconds)
            }
            _ => None,
        })
    }
}

fn is_beyond_tolerance(seconds: i64) -> bool {
    Duration::from_secs(seconds.unsigned_abs()) > CLOCK_TOLERANCE
}

fn concerns(effect: &Effect, node: usize) -> bool {
    match *effect {
        Effect::NodeKilled { node: other }
        | Effect::ClockOff { node: other, .. }
        | Effect::NodeApart { node: other } => other == node,
        Effect::EngineApart | Effect::WritesLost => true,
    }
}
