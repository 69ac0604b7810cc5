//! Signing keys that the service makes itself, shares with other nodes, and changes by a schedule.

mod managed;
mod schedule;

#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod with_default_provider;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::domain::key_schedule::{KeySchedule, ScheduledKey};
use crate::domain::sealing::SealingKeys;
use crate::error::{Error, ErrorKind};
use crate::jose::{Algorithm, CryptoProvider, KeyRing, PrivateKey, SigningKey, VerifyingKey};
use crate::service::audit::{Attempt, Operation};
use crate::service::detached::run_to_completion;
use crate::service::policy::Policy;
use crate::service::stores::{Stores, contended};
use crate::service::token_service::TokenService;

pub use self::managed::ManagedKeys;
pub use self::schedule::RotationSchedule;

/// How often a change is tried again that others were faster with.
const MAX_TRIES: usize = 16;

impl TokenService {
    /// Has the next of the [`ManagedKeys`] sign as soon as all who validate have it, ahead of the
    /// schedule, and answers when that is. Until then the present one signs, and what it signed is
    /// accepted to its end.
    ///
    /// A next key that was announced for long enough signs at once. Otherwise one is made, and is
    /// published for as long as nodes and others may go without looking.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] for keys that are not managed: rotate their
    /// [`KeyRing`] instead. [`ErrorKind::Unavailable`] where the store is out of reach.
    pub async fn rotate_keys(&self) -> Result<Timestamp, Error> {
        let tokens = self.clone();
        let rotated = run_to_completion(async move {
            let keeper = tokens.key_keeper()?;
            keeper.change(|schedule, now| keeper.rotated_early(schedule, now)).await
        })
        .await;
        self.audit(&Attempt::new(Operation::RotateKeys), &rotated);
        rotated
    }

    /// Ends one of the [`ManagedKeys`] now, as for one that got into wrong hands: what it signed is
    /// refused from here on, by this node at once and by others once they look, within the
    /// `refresh_interval` of the [`RotationSchedule`]. Where it is the one that signs, another takes
    /// its place at once, and others refuse what that signs until they have looked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] for keys that are not managed: retire one of their
    /// [`KeyRing`] instead. [`ErrorKind::NotFound`] where no key has that `kid`.
    /// [`ErrorKind::Unavailable`] where the store is out of reach.
    pub async fn retire_key(&self, kid: &str) -> Result<(), Error> {
        let (tokens, key) = (self.clone(), kid.to_owned());
        // Once others refuse what it signs, this node has to: also where the caller has hung up.
        let retired = run_to_completion(async move {
            let keeper = tokens.key_keeper()?;
            keeper.change(|schedule, now| Ok((keeper.retired(schedule, &key, now)?, ()))).await
        })
        .await;
        if retired.is_ok() {
            tracing::warn!(kid, "a signing key was ended before its time");
        }
        self.audit(&Attempt::new(Operation::RetireKey), &retired);
        retired
    }

    fn key_keeper(&self) -> Result<&KeyKeeper, Error> {
        let problem = "the keys are not managed by the service: change their ring";
        let none = || Error::new(ErrorKind::Configuration, problem);
        self.parts.key_keeper.as_ref().ok_or_else(none)
    }
}

/// Keeps a ring as the shared record says.
pub(super) struct KeyKeeper {
    algorithm: Algorithm,
    provider: Arc<dyn CryptoProvider>,
    clock: Arc<dyn Clock>,
    stores: Stores,
    sealing: SealingKeys,
    ring: KeyRing,
    schedule: RotationSchedule,
    jwks_max_age: Duration,
    /// How long a key verifies after another took its place.
    retention: Duration,
    /// Keys that were opened and prepared, by their `kid`.
    prepared: Mutex<HashMap<String, SigningKey>>,
    /// What was read last. Whoever reads or changes it holds this: what is installed is then what
    /// was read last.
    known: tokio::sync::Mutex<Option<KeySchedule>>,
}

impl KeyKeeper {
    pub(super) fn new(
        managed: ManagedKeys,
        clock: Arc<dyn Clock>,
        stores: Stores,
        sealing: SealingKeys,
        ring: KeyRing,
        policy: &Policy,
    ) -> Self {
        let schedule = policy.rotation_schedule;
        Self {
            algorithm: managed.algorithm,
            provider: managed.provider,
            clock,
            stores,
            sealing,
            ring,
            schedule,
            jwks_max_age: policy.jwks_max_age,
            // The last token was signed by a clock that is behind, and is looked at by one that is
            // ahead.
            retention: policy.longest_token_lifetime() + policy.leeway + schedule.clock_tolerance,
            prepared: Mutex::default(),
            known: tokio::sync::Mutex::default(),
        }
    }

    /// Reads the shared keys, does what is due, and goes by them. Answers when to do so again.
    pub(super) async fn refresh(&self) -> Result<Duration, Error> {
        let read = self.change(|schedule, now| Ok((schedule.clone(), now))).await;
        // Others may have written keys that this node cannot read.
        self.ring.set_may_lack_keys(read.is_err());
        let now = read?;
        let known = self.known.lock().await;
        let change = known.as_ref().and_then(|known| known.next_change(now, self.retention));
        let until_change = change.unwrap_or(Timestamp::MAX).saturating_since(now);
        Ok(until_change.min(self.schedule.refresh_interval))
    }

    /// Goes by what was read last, for another time: also where the store is out of reach, a key's
    /// time comes.
    pub(super) async fn apply_known(&self) -> Result<(), Error> {
        match &*self.known.lock().await {
            Some(schedule) => self.install(schedule, self.clock.now()),
            None => Ok(()),
        }
    }

    /// Reads the shared keys, changes them, writes what is then due over what was read, and goes by
    /// it. Answers what the change does.
    async fn change<T>(
        &self,
        change: impl Fn(&KeySchedule, Timestamp) -> Result<(KeySchedule, T), Error>,
    ) -> Result<T, Error> {
        let mut known = self.known.lock().await;
        let changed = self.try_change(known.as_ref(), change).await;
        let outcome = match changed {
            Ok((schedule, answer)) => {
                let installed = self.install(&schedule, self.clock.now());
                *known = Some(schedule);
                installed.map(|()| answer)
            }
            Err(error) => Err(error),
        };
        // What was made and could not be written is made anew.
        let is_kept =
            |kid: &str| known.iter().flat_map(|known| &known.keys).any(|key| key.kid == kid);
        self.prepared().retain(|kid, _| is_kept(kid));
        outcome
    }

    async fn try_change<T>(
        &self,
        known: Option<&KeySchedule>,
        change: impl Fn(&KeySchedule, Timestamp) -> Result<(KeySchedule, T), Error>,
    ) -> Result<(KeySchedule, T), Error> {
        for _ in 0..MAX_TRIES {
            let found = self.stores.get_keys().await?;
            let now = self.clock.now();
            let present = match (&found, known) {
                (Some(found), _) => found.clone(),
                (None, Some(known)) => {
                    tracing::error!(
                        "the store no longer has the shared keys: those that are known are put back"
                    );
                    known.clone()
                }
                (None, None) => KeySchedule::new(self.make(now, now)?),
            };
            let (changed, answer) = change(&present, now)?;
            let wanted = self.with_what_is_due(changed, now)?;
            if found.as_ref() != Some(&wanted) {
                let version = found.as_ref().map(KeySchedule::version);
                // Nobody else is to go by what this node could not.
                self.open(&wanted, now)?;
                match self.stores.save_keys(wanted.clone(), version).await {
                    Ok(()) => log_new_keys(found.as_ref(), &wanted),
                    Err(error) if error.kind() == ErrorKind::Conflict => continue,
                    Err(error) => return Err(error),
                }
            }
            return Ok((wanted, answer));
        }
        Err(contended())
    }

    /// With the next key, where it is to be announced, without those that have ended, and sealed with
    /// the key that seals now.
    fn with_what_is_due(
        &self,
        schedule: KeySchedule,
        now: Timestamp,
    ) -> Result<KeySchedule, Error> {
        let ended = schedule.ended(now, self.retention).min(schedule.keys.len().saturating_sub(1));
        let mut changed = schedule.clone();
        changed.keys.drain(..ended);
        for key in &mut changed.keys {
            if !self.sealing.is_current(&key.sealed) {
                let opened = self.sealing.open(&key.sealed, &context(&key.kid))?;
                key.sealed = self.sealing.seal(&opened, &context(&key.kid))?;
            }
        }
        let last = changed.keys.last().map_or(now, |last| last.signs_from);
        let next_signs_from = last + self.schedule.every;
        if changed.keys.is_empty() {
            changed.keys.push(self.make(now, now)?);
        } else if next_signs_from <= now + self.schedule.announcement {
            let signs_from = next_signs_from.max(now + self.schedule.announcement);
            changed.keys.push(self.make(now, signs_from)?);
        }
        if changed == schedule {
            return Ok(schedule);
        }
        Ok(schedule.changed(|keys| *keys = changed.keys))
    }

    /// With the next key's time come as soon as all have it. Answers when that is.
    fn rotated_early(
        &self,
        schedule: &KeySchedule,
        now: Timestamp,
    ) -> Result<(KeySchedule, Timestamp), Error> {
        let propagation = self.schedule.propagation_time(self.jwks_max_age);
        let Some(next) = schedule.keys.iter().position(|key| key.signs_from > now) else {
            let made = self.make(now, now + propagation)?;
            return Ok((schedule.changed(|keys| keys.push(made)), now + propagation));
        };
        let key = &schedule.keys[next];
        let signs_from = key.signs_from.min(now.max(key.announced_at + propagation));
        Ok((schedule.changed(|keys| keys[next].signs_from = signs_from), signs_from))
    }

    /// With a key retired, and with another in its place where it signs.
    fn retired(
        &self,
        schedule: &KeySchedule,
        kid: &str,
        now: Timestamp,
    ) -> Result<KeySchedule, Error> {
        let none = || Error::new(ErrorKind::NotFound, "no key has that kid");
        let retired = schedule.keys.iter().position(|key| key.kid == kid).ok_or_else(none)?;
        if schedule.signing(now) != Some(retired) {
            return Ok(schedule.changed(|keys| end(keys, retired, now)));
        }
        let is_next = |key: &ScheduledKey| key.signs_from > now;
        let has_next = schedule.keys.iter().skip(retired + 1).any(is_next);
        let made = if has_next { None } else { Some(self.make(now, now)?) };
        Ok(schedule.changed(|keys| {
            keys.extend(made);
            let mut later = keys.iter_mut().skip(retired + 1);
            if let Some(next) = later.find(|key| is_next(key)) {
                next.signs_from = now;
            }
            end(keys, retired, now);
        }))
    }

    /// A new key, sealed.
    fn make(&self, now: Timestamp, signs_from: Timestamp) -> Result<ScheduledKey, Error> {
        let private = self.provider.generate(self.algorithm)?;
        let key = SigningKey::new(&private, &*self.provider)?;
        let kid = key.kid().to_owned();
        let sealed = self.sealing.seal(&private.to_text(), &context(&kid))?;
        self.prepared().insert(kid.clone(), key);
        Ok(ScheduledKey { kid, sealed, announced_at: now, signs_from, retired_at: None })
    }

    /// Has the ring say what the schedule says of now.
    fn install(&self, schedule: &KeySchedule, now: Timestamp) -> Result<(), Error> {
        let (signing, verifying) = self.open(schedule, now)?;
        if self.ring.install(&signing, verifying) {
            tracing::info!(kid = signing.kid(), "the keys have changed; this one signs");
        }
        Ok(())
    }

    /// The key that signs now, and those that verify, each until its time. One that does not open
    /// fails it all: a node that had some of the keys would refuse good tokens.
    fn open(
        &self,
        schedule: &KeySchedule,
        now: Timestamp,
    ) -> Result<(SigningKey, Vec<(VerifyingKey, Timestamp)>), Error> {
        let none = || Error::new(ErrorKind::Internal, "the shared keys have none that signs");
        let signing = schedule.signing(now).and_then(|index| schedule.keys.get(index));
        let signing = self.prepare(signing.ok_or_else(none)?)?;
        let mut verifying = Vec::with_capacity(schedule.keys.len());
        for (index, key) in schedule.keys.iter().enumerate() {
            let until = schedule.ends_at(index, self.retention);
            if now < until {
                verifying.push((self.prepare(key)?.verifying_key().clone(), until));
            }
        }
        Ok((signing, verifying))
    }

    fn prepare(&self, key: &ScheduledKey) -> Result<SigningKey, Error> {
        if let Some(prepared) = self.prepared().get(&key.kid) {
            return Ok(prepared.clone());
        }
        let opened = self.sealing.open(&key.sealed, &context(&key.kid))?;
        let prepared = SigningKey::new(&PrivateKey::from_text(&opened)?, &*self.provider)?;
        if prepared.kid() != key.kid {
            return Err(Error::new(ErrorKind::Internal, "a shared key is not the one it says"));
        }
        self.prepared().insert(key.kid.clone(), prepared.clone());
        Ok(prepared)
    }

    fn prepared(&self) -> std::sync::MutexGuard<'_, HashMap<String, SigningKey>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a private key is sealed for.
fn context(kid: &str) -> [&str; 2] {
    ["signing key", kid]
}

/// Ends a key that did sign; one that did not is as if it had never been.
fn end(keys: &mut Vec<ScheduledKey>, index: usize, now: Timestamp) {
    if keys[index].signs_from > now {
        keys.remove(index);
    } else {
        keys[index].retired_at = Some(now);
    }
}

/// Says in the log what was announced.
fn log_new_keys(before: Option<&KeySchedule>, after: &KeySchedule) {
    let is_new = |key: &&ScheduledKey| {
        before.is_none_or(|before| before.keys.iter().all(|known| known.kid != key.kid))
    };
    for key in after.keys.iter().filter(is_new) {
        tracing::info!(kid = key.kid(), signs_from = %key.signs_from, "a signing key is announced");
    }
}
