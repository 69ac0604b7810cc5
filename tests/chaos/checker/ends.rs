//! What ends a session, or the tokens of a subject.

use super::bounds::LATE;
use super::facts::{Facts, JwtFacts, SessionFacts, Source};
use super::history::{Call, Moment, Request};

impl<'a> Facts<'a> {
    /// The answered requests that have ended a session for sure.
    pub fn sure_ends_of_session(&self, session: &SessionFacts<'a>) -> Vec<&'a Request> {
        let log_outs = session.requests.iter().copied().filter(|request| {
            matches!(request.call, Call::LogOut { .. } | Call::LogOutByToken { .. })
        });
        let revocations = self.revocations_of(session.customer).iter().copied();
        let revocations = revocations.filter(|revoked| revoked.start > session.start.end);
        // Goes by the clocks of two nodes.
        let revocations =
            revocations.filter(|revoked| !self.have_clocks_apart(revoked, session.start));
        log_outs.chain(revocations).filter(|request| request.is_yes()).collect()
    }

    /// The answered requests after which a token is revoked for sure.
    pub fn sure_ends_of_jwt(&self, jwt: &JwtFacts<'a>) -> Vec<&'a Request> {
        match jwt.source {
            Source::Session(session) => {
                let Some(session) = self.sessions.get(&session) else { return Vec::new() };
                let mut ends = self.sure_ends_of_session(session);
                ends.retain(|end| self.reaches(session, end, jwt));
                ends.retain(|end| match end.call {
                    Call::RevokeCustomer { .. } => {
                        end.start > jwt.issued.end && !self.have_clocks_apart(end, jwt.issued)
                    }
                    _ => true,
                });
                ends
            }
            Source::Machine(machine) => {
                let requests = self.requests_of_machine(machine).iter().copied();
                requests
                    .filter(|end| {
                        matches!(end.call, Call::RevokeMachine { .. } | Call::Disable { .. })
                    })
                    .filter(|end| end.is_yes() && end.start > jwt.issued.end)
                    .filter(|end| !self.have_clocks_apart(end, jwt.issued))
                    .chain(jwt.log_outs.iter().copied().filter(|end| end.is_yes()))
                    .collect()
            }
        }
    }

    /// Whether anybody may have ended a session until an instant.
    pub fn may_have_ended(&self, session: &SessionFacts<'a>, until: Moment) -> bool {
        let own = session.requests.iter().any(|request| {
            let ends = matches!(
                request.call,
                Call::LogOut { .. }
                    | Call::LogOutByToken { .. }
                    | Call::Exchange { uses_up: true, .. }
            );
            ends && request.may_be_done() && request.start <= until
        });
        let customer = session.customer;
        own || self.may_have_revoked(self.revocations_of(customer), session.start, until)
    }

    /// Whether one of some revocations may concern what a request has begun.
    pub fn may_have_revoked(
        &self,
        revocations: &[&'a Request],
        begun: &Request,
        until: Moment,
    ) -> bool {
        revocations.iter().any(|revoked| {
            let is_later = last_effect(revoked) >= begun.start;
            let by_clocks = self.have_clocks_apart(revoked, begun) || self.may_be_set_back(begun);
            revoked.may_be_done() && revoked.start <= until && (is_later || by_clocks)
        })
    }
}

/// Until when a request may have an effect.
pub fn last_effect(request: &Request) -> Moment {
    if request.is_yes() { request.end } else { request.end + LATE }
}
