//! Where a rule does not hold. Each exception says so in plain words, and quotes the sentence of SECURITY.md
//! that it comes from.

use super::bounds::{RECOVERY, SLACK, STALENESS};
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

    /// Whether what has ended a session is in the store, or is known to those who can publish it again.
    ///
    /// Where the engine has lost a log-out before which nothing was issued, the session is back: "Sessions that
    /// yield no token leave nothing behind: however often somebody logs in and out, no node has to remember it."
    pub fn is_remembered(&self, session: &SessionFacts<'a>, end: &Request) -> bool {
        let is_published = match end.call {
            Call::LogOut { .. } | Call::LogOutByToken { .. } => self.knows_of_tokens(session, end),
            _ => true,
        };
        is_published || !self.may_be_lost(end)
    }

    /// Whether what has ended a session ends a token of it.
    ///
    /// "where the exchange is lost, a log-out does not end the tokens of it; `revoke_subject` does."
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
        let is_own = published.node == node;
        let mut from = published.end;
        for loss in self.losses_of(published) {
            let settled = self.quiet_from(published.node, loss.end) + RECOVERY;
            if self.is_killed_within(published.node, published.start, settled) {
                return None;
            }
            from = from.max(settled);
        }
        if is_own && !self.is_killed_within(node, published.start, Moment::MAX) {
            return Some(published.end);
        }
        // Who was started since has read everything, and everything else has heard or is silent.
        Some(if is_own { from } else { from + STALENESS + SLACK })
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

    /// Whether a fault that concerns a node was going on, or had ended just before.
    pub fn is_disturbed(&self, node: usize, at: Moment) -> bool {
        self.faults(|effect| concerns(effect, node))
            .any(|fault| fault.start <= at && fault.end + RECOVERY >= at)
    }

    pub fn is_killed_within(&self, node: usize, from: Moment, to: Moment) -> bool {
        self.faults(|effect| *effect == Effect::NodeKilled { node })
            .any(|kill| kill.start >= from && kill.start <= to)
    }

    /// Whether the clock of a request's node was wrong.
    ///
    /// Then it takes good tokens for expired ones and issues tokens that others take for such, and what
    /// revokes all tokens of a principal up to now does not reach those of a clock that is far ahead: "a token
    /// from further ahead is reached by `revoke_token`, `end_session` and `block_subject`."
    pub fn has_wrong_clock(&self, request: &Request) -> bool {
        let node = request.node;
        self.faults(|effect| *effect == Effect::ClockOff { node })
            .any(|fault| request.end >= fault.start && request.start <= fault.end + CLOCK_SETTLES)
    }
}

fn concerns(effect: &Effect, node: usize) -> bool {
    match *effect {
        Effect::NodeKilled { node: other }
        | Effect::ClockOff { node: other }
        | Effect::NodeApart { node: other } => other == node,
        Effect::EngineApart | Effect::WritesLost => true,
    }
}
