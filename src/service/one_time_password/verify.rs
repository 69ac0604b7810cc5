use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, InvalidField};
use crate::service::model::one_time_password::{OneTimePassword, OneTimePasswordState, StoredCode};
use crate::service::model::session::Session;
use crate::service::session::no_session;
use crate::service::session::state::code_required;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;

impl TokenService {
    /// Returns what is wrong with the form of a code. One that is malformed is no try.
    pub(in crate::service) fn code_fault(&self, code: &OneTimePassword) -> Option<InvalidField> {
        let digits = self.inner.policy.sessions.one_time_password_digits;
        let is_fault = !code.has_form(digits);
        is_fault.then(|| InvalidField::new("oneTimePassword", format!("must be {digits} digits")))
    }

    /// Returns the next writing of a session, over which no one-time password is good any more but
    /// the next that is sent, and whose holder has proven what was asked for.
    pub(in crate::service) fn with_code_spent(&self, session: Session, now: Timestamp) -> Session {
        let limit = self.inner.policy.sessions.one_time_password_attempts;
        let mut spent = session.next_version(now);
        if let Some(state) = &mut spent.one_time_password {
            state.code = None;
            state.is_proven = true;
            state.tries_left = limit.min(state.tries_left + 1);
        }
        spent
    }
}

impl Writer {
    /// Counts a try, then compares. `accepted` remembers across rounds which code was right, so
    /// that a round lost to another writer costs no second try.
    pub(in crate::service) async fn check_one_time_password(
        &self,
        session: Session,
        presented: Option<&OneTimePassword>,
        accepted: &mut Option<StoredCode>,
    ) -> Result<CompareAndSet<Session>, Error> {
        let Some(state) = &session.one_time_password else {
            return Ok(CompareAndSet::Written(session));
        };
        if let Some(accepted) = accepted {
            return match &state.code {
                Some(code) if code.is(accepted) => Ok(CompareAndSet::Written(session)),
                _ => Err(code_invalid()),
            };
        }
        if state.tries_left == 0 {
            // The last try is being compared elsewhere, or its node died over it.
            return Err(no_session());
        }
        let Some(presented) = presented else {
            return Err(code_required());
        };
        if let Some(code) = &state.code {
            // Before a try is counted: what cannot be compared here is no wrong one.
            self.inner.sealing.check_known(&code.digest)?;
        }
        let now = self.now();
        // With those of all other sessions of the customer: each allows a few tries, and who
        // knows the password starts as many as they like.
        let throttle = &self.inner.throttle;
        let keys = throttle.keys_of_codes(&session.subject());
        // Who has to wait uses no try up.
        throttle.check(keys, now)?;
        let version = session.version;
        let mut counted = session.next_version(now);
        if let Some(state) = &mut counted.one_time_password {
            state.tries_left -= 1;
            // A clock that is put back must not bring an expired code to life again.
            state.code = state.code.take().filter(|code| now < code.expires_at);
        }
        let written = self.stores.replace_session(counted.clone(), version, now).await?;
        let CompareAndSet::Written(()) = written else { return Ok(CompareAndSet::Conflict) };
        // Not before: a round that is lost to another writer is no try, and however many are lost at
        // once, nobody has to wait for them.
        let permit = match throttle.acquire(keys, now) {
            Ok(permit) => permit,
            Err(error) => {
                self.give_try_back(counted, now).await;
                return Err(error);
            }
        };
        let code = counted.one_time_password.as_ref().and_then(|state| state.code.clone());
        match code {
            Some(code)
                if code.matches(&self.inner.sealing, counted.id.as_str(), presented, now) =>
            {
                throttle.give_back(&permit);
                *accepted = Some(code);
                Ok(CompareAndSet::Written(counted))
            }
            _ => {
                self.end_if_out_of_tries(counted).await?;
                Err(code_invalid())
            }
        }
    }

    /// Ends a session whose last try was wrong, and what was exchanged from it by a right one.
    async fn end_if_out_of_tries(&self, session: Session) -> Result<(), Error> {
        let out_of_tries = |session: &Session| {
            session.one_time_password.as_ref().is_some_and(|s| s.tries_left == 0)
        };
        let mut session = Some(session).filter(out_of_tries);
        if let Some(session) = &session {
            self.revoke_tokens_of(session).await?;
        }
        let stores = &self.stores;
        retry_on_conflict!({
            let Some(current) = session.take() else { return Ok(CompareAndSet::Written(())) };
            let taken = self.take_session(&current).await?;
            if let CompareAndSet::Conflict = taken {
                session = stores.get_session(&current.key).await?.filter(out_of_tries);
            }
            Ok(taken.map(drop))
        })
    }

    /// Gives a counted try back: a right code is no wrong try, though the request fails for another
    /// reason. Where the code has been spent or replaced since, this changes nothing: a write whose
    /// reply was lost has given the try back already. If this fails, the session has one try less than
    /// it should: never one more.
    pub(in crate::service) async fn give_try_back(&self, counted: Session, now: Timestamp) {
        let limit = self.inner.policy.sessions.one_time_password_attempts;
        let code = counted.one_time_password.as_ref().and_then(|state| state.code.clone());
        let given_back = self.edit_one_time_password(counted, now, |state| {
            let is_same = match (&state.code, &code) {
                (Some(now), Some(then)) => now.is(then),
                (now, then) => now.is_none() && then.is_none(),
            };
            if is_same {
                state.tries_left = limit.min(state.tries_left + 1);
            }
            is_same
        });
        if let Err(error) = given_back.await {
            tracing::debug!(%error, "a session has one try less than it should");
        }
    }

    /// Gives a try back that was counted for a request while the same one was spending the code.
    pub(in crate::service) async fn give_replayed_try_back(
        &self,
        session: Session,
        now: Timestamp,
    ) {
        let limit = self.inner.policy.sessions.one_time_password_attempts;
        let given_back = self.edit_one_time_password(session, now, |state| {
            state.tries_left = limit.min(state.tries_left + 1);
            true
        });
        if let Err(error) = given_back.await {
            tracing::debug!(%error, "a session has one try less than it should");
        }
    }

    /// A code that was spent on what failed is good again, unless another was sent since. If this
    /// fails, the session waits for the next one.
    pub(in crate::service) async fn give_code_back(
        &self,
        spent: Session,
        before: OneTimePasswordState,
        now: Timestamp,
    ) {
        let given_back = self.edit_one_time_password(spent, now, |state| {
            let is_spent = state.code.is_none();
            if is_spent {
                state.code.clone_from(&before.code);
                state.is_proven = before.is_proven;
            }
            is_spent
        });
        if let Err(error) = given_back.await {
            tracing::debug!(%error, "a session waits for its next one-time password");
        }
    }
}

pub(in crate::service) fn code_invalid() -> Error {
    Error::new(ErrorKind::OneTimePasswordInvalid, "the one-time password is not valid")
}
