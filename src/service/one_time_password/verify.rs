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
    /// Returns the fault in the form of a code. A malformed code does not count as an attempt.
    pub(in crate::service) fn code_fault(&self, code: &OneTimePassword) -> Option<InvalidField> {
        let digits = self.inner.policy.sessions.one_time_password_digits;
        let is_fault = !code.has_form(digits);
        is_fault.then(|| InvalidField::new("oneTimePassword", format!("must be {digits} digits")))
    }

    /// Returns the next record of a session, in which the current one-time password is spent, only the next one sent
    /// is valid, and the holder has proven the second factor.
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
    /// Counts an attempt, then compares. `accepted` keeps the right code across retries, so that a conflict with
    /// another writer costs no second attempt.
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
            // The last attempt is being compared by another request, or its node died meanwhile.
            return Err(no_session());
        }
        let Some(presented) = presented else {
            return Err(code_required());
        };
        if let Some(code) = &state.code {
            // Before an attempt is counted: a digest that cannot be compared here is not a wrong code.
            self.inner.sealing.check_known(&code.digest)?;
        }
        let now = self.now();
        // Together with those of all other sessions of the customer: each session allows a few attempts, and a
        // caller that knows the password can start any number of sessions.
        let throttle = &self.inner.throttle;
        let keys = throttle.keys_of_codes(&session.subject());
        // A throttled caller uses up no attempt.
        throttle.check(keys, now)?;
        let version = session.version;
        let mut counted = session.next_version(now);
        if let Some(state) = &mut counted.one_time_password {
            state.tries_left -= 1;
            // A clock that is set back must not make an expired code valid again.
            state.code = state.code.take().filter(|code| now < code.expires_at);
        }
        let written = self.stores.replace_session(counted.clone(), version, now).await?;
        let CompareAndSet::Written(()) = written else { return Ok(CompareAndSet::Conflict) };
        // Not before: a conflict with another writer is no attempt, and however many conflicts occur at once, no
        // caller is throttled for them.
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

    /// Ends a session whose last attempt was wrong, and revokes the JWTs exchanged from it with a right code.
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

    /// Restores a counted attempt: a right code is not a wrong attempt, even if the request fails for another
    /// reason. If the code was spent or replaced meanwhile, this changes nothing: a write whose reply was lost has
    /// restored the attempt already. If this fails, the session has one attempt fewer than it should, never one
    /// more.
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
            tracing::debug!(%error, "one-time passwords: an attempt cannot be restored, the session has one fewer");
        }
    }

    /// Restores an attempt that was counted for a repeated request while the first one was spending the code.
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
            tracing::debug!(%error, "one-time passwords: an attempt cannot be restored, the session has one fewer");
        }
    }

    /// Makes a code valid again whose operation failed, unless another was sent meanwhile. If this fails, the
    /// session needs the next code.
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
            tracing::debug!(%error, "one-time passwords: a spent code cannot be restored, the session needs another");
        }
    }
}

pub(in crate::service) fn code_invalid() -> Error {
    Error::new(ErrorKind::OneTimePasswordInvalid, "the one-time password is not valid")
}
