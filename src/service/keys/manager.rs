//! Keeping a ring as the shared record says, and the record as the schedule does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorKind};
use crate::jose::{Algorithm, CryptoProvider, ExpiringKey, KeyRing, PrivateKey, SigningKey};
use crate::service::keys::ManagedKeys;
use crate::service::model::key_schedule::{KeySchedule, ScheduledKey};
use crate::service::model::sealing::SealingKeys;
use crate::service::policy::{Policy, RotationSchedule};
use crate::service::store::KeyStore;
use crate::service::stores::{CompareAndSet, WritingStores, retry_on_conflict};

/// Keeps a ring as the shared record says.
pub(in crate::service) struct KeyManager {
    algorithm: Algorithm,
    provider: Arc<dyn CryptoProvider>,
    clock: Arc<dyn Clock>,
    store: Arc<dyn KeyStore>,
    sealing: SealingKeys,
    ring: KeyRing,
    timing: RotationSchedule,
    /// After how long everybody has a key that was announced.
    propagation: Duration,
    /// How long a key verifies after another took its place.
    retention: Duration,
    /// Keys that were opened and prepared, by their `kid`.
    prepared: Mutex<HashMap<String, SigningKey>>,
    /// Whoever reads or changes the shared keys holds this: what is installed is then what was read
    /// last.
    known: tokio::sync::Mutex<Known>,
}

/// What is known of the shared keys.
#[derive(Default)]
struct Known {
    /// The newest that this node could open.
    schedule: Option<KeySchedule>,
    /// Whether what was read last could not be opened: what is known may then be older.
    has_missed_newer: bool,
}

/// What a schedule says of an instant.
struct OpenedKeys {
    signing: SigningKey,
    verifying: Vec<ExpiringKey>,
}

impl KeyManager {
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] where a key would sign before everybody has it.
    pub(in crate::service) fn new(
        managed: ManagedKeys,
        store: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
        sealing: SealingKeys,
        ring: KeyRing,
        policy: &Policy,
    ) -> Result<Self, Error> {
        let timing = policy.tokens.rotation_schedule;
        if let Some(problem) = timing.problem(policy.http.jwks_max_age) {
            return Err(Error::configuration(problem));
        }
        Ok(Self {
            algorithm: managed.algorithm,
            provider: managed.provider,
            clock,
            store,
            sealing,
            ring,
            timing,
            propagation: timing.propagation_time(policy.http.jwks_max_age),
            // The last token was signed by a clock that is behind, and is looked at by one that is
            // ahead.
            retention: policy.longest_token_lifetime()
                + policy.tokens.leeway
                + timing.clock_tolerance,
            prepared: Mutex::default(),
            known: tokio::sync::Mutex::default(),
        })
    }

    pub(in crate::service) fn store(&self) -> &dyn KeyStore {
        &*self.store
    }

    /// Reads the shared keys, does what is due, and installs them. Returns when to do so again.
    pub(in crate::service) async fn refresh(
        &self,
        stores: &WritingStores,
    ) -> Result<Duration, Error> {
        let read = self.update(stores, |_, now| Ok(now)).await;
        // Others may have written keys that this node cannot read.
        self.ring.set_may_lack_keys(read.is_err());
        let now = read?;
        let known = self.known.lock().await;
        let schedule = known.schedule.as_ref();
        let change = schedule.and_then(|schedule| schedule.next_change(now, self.retention));
        let until_change = change.unwrap_or(Timestamp::MAX).saturating_since(now);
        Ok(until_change.min(self.timing.refresh_interval))
    }

    /// Has the next key sign as soon as all have it. Returns when that is.
    pub(in crate::service) async fn rotate_early(
        &self,
        stores: &WritingStores,
    ) -> Result<Timestamp, Error> {
        self.update(stores, |schedule, now| {
            schedule.rotate_early(now, self.propagation, |from| self.generate(now, from))
        })
        .await
    }

    pub(in crate::service) async fn retire(
        &self,
        stores: &WritingStores,
        kid: &str,
    ) -> Result<(), Error> {
        self.update(stores, |schedule, now| {
            schedule.retire(kid, now, |from| self.generate(now, from))
        })
        .await
    }

    /// Installs what is known as it is at another time: also where the store is out of reach, a key's
    /// time comes.
    pub(in crate::service) async fn apply_known(&self) -> Result<(), Error> {
        if let Some(schedule) = &self.known.lock().await.schedule {
            self.install(&self.open(schedule, self.clock.now())?);
        }
        Ok(())
    }

    /// Reads the shared keys, edits them, does what is then due, writes the outcome over what was
    /// read, and installs it. Returns what the edit does.
    async fn update<T>(
        &self,
        stores: &WritingStores,
        edit: impl Fn(&mut KeySchedule, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut known = self.known.lock().await;
        let outcome = match self.try_update(stores, &mut known, edit).await {
            Ok((schedule, answer)) => {
                // Writing it may have taken a while.
                let installed = self.open(&schedule, self.clock.now());
                *known = Known { schedule: Some(schedule), has_missed_newer: false };
                installed.map(|opened| {
                    self.install(&opened);
                    answer
                })
            }
            Err(error) => Err(error),
        };
        // What was made and could not be written is made anew.
        let is_kept = |kid: &str| {
            known.schedule.iter().flat_map(|known| &known.keys).any(|key| key.kid == kid)
        };
        self.prepared().retain(|kid, _| is_kept(kid));
        outcome
    }

    async fn try_update<T>(
        &self,
        stores: &WritingStores,
        known: &mut Known,
        edit: impl Fn(&mut KeySchedule, Timestamp) -> Result<T, Error>,
    ) -> Result<(KeySchedule, T), Error> {
        retry_on_conflict!({
            let found = stores.get_keys(&*self.store).await?;
            let now = self.clock.now();
            if let Some(found) = &found {
                self.take_over(found, known, now);
            }
            let mut schedule = self.present(found.as_ref(), known, now)?;
            let answer = edit(&mut schedule, now)?;
            self.do_what_is_due(&mut schedule, now)?;
            // Before it is written: nobody else is to have what this node could not open.
            self.open(&schedule, now)?;
            if found.as_ref().is_some_and(|found| found.keys == schedule.keys) {
                return Ok(CompareAndSet::Written((schedule, answer)));
            }
            let is_first = found.is_none() && known.schedule.is_none();
            let schedule = if is_first { schedule } else { schedule.next_version() };
            let written = self.save(stores, schedule.clone(), found.as_ref()).await?;
            if let CompareAndSet::Written(()) = written {
                log_new_keys(found.as_ref(), &schedule);
            }
            Ok(written.map(|()| (schedule, answer)))
        })
    }

    /// What the shared keys are, where they have been found; otherwise what they are to be.
    fn present(
        &self,
        found: Option<&KeySchedule>,
        known: &Known,
        now: Timestamp,
    ) -> Result<KeySchedule, Error> {
        if let Some(found) = found {
            return Ok(found.clone());
        }
        if known.has_missed_newer {
            // A key may have been retired since what is known.
            let problem = "the store no longer has the shared keys, and this node could not open \
                           those that were read last: a node that could puts them back; where there \
                           is none, start this one anew, and it makes others";
            return Err(Error::new(ErrorKind::Internal, problem));
        }
        let Some(schedule) = &known.schedule else {
            return Ok(KeySchedule::new(self.generate(now, now)?));
        };
        tracing::error!(
            "the store no longer has the shared keys: those that are known are put back"
        );
        Ok(schedule.clone())
    }

    /// Goes by what was read, also where it can then not be changed or written.
    fn take_over(&self, found: &KeySchedule, known: &mut Known, now: Timestamp) {
        if known.schedule.as_ref().is_some_and(|known| known.version() > found.version()) {
            tracing::error!(
                "the shared keys are older than they were: a node that did not know the newest has \
                 put them back; retire again what was retired since"
            );
        }
        match self.open(found, now) {
            Ok(opened) => {
                self.install(&opened);
                *known = Known { schedule: Some(found.clone()), has_missed_newer: false };
            }
            Err(_) => known.has_missed_newer = true,
        }
    }

    async fn save(
        &self,
        stores: &WritingStores,
        keys: KeySchedule,
        found: Option<&KeySchedule>,
    ) -> Result<CompareAndSet<()>, Error> {
        let store = &*self.store;
        match found.map(KeySchedule::version) {
            Some(version) => stores.replace_keys(store, keys, version).await,
            None => stores.insert_keys(store, keys).await,
        }
    }

    /// Drops what has ended, seals anew what was sealed with a key that no longer seals, and announces
    /// the next key where it is time.
    fn do_what_is_due(&self, schedule: &mut KeySchedule, now: Timestamp) -> Result<(), Error> {
        schedule.drop_ended(now, self.retention);
        for key in &mut schedule.keys {
            if !self.sealing.is_current(&key.sealed) {
                let opened = self.sealing.open(&key.sealed, &context(&key.kid))?;
                key.sealed = self.sealing.seal(&opened, &context(&key.kid))?;
            }
        }
        let (period, announcement) = (self.timing.rotation_period, self.timing.announcement_period);
        schedule.announce_if_due(now, period, announcement, |from| self.generate(now, from))
    }

    /// A new key, sealed.
    fn generate(&self, now: Timestamp, signs_from: Timestamp) -> Result<ScheduledKey, Error> {
        let private = self.provider.generate(self.algorithm)?;
        let key = SigningKey::new(&private, &*self.provider)?;
        let kid = key.kid().to_owned();
        let sealed = self.sealing.seal(&private.to_text(), &context(&kid))?;
        self.prepared().insert(kid.clone(), key);
        Ok(ScheduledKey { kid, sealed, announced_at: now, signs_from, retired_at: None })
    }

    fn install(&self, keys: &OpenedKeys) {
        if self.ring.install(&keys.signing, &keys.verifying) {
            tracing::info!(kid = keys.signing.kid(), "the keys have changed; this one signs");
        }
    }

    /// The key that signs now, and those that verify, each until its time. One that does not open
    /// fails it all: a node that had some of the keys would reject good tokens.
    fn open(&self, schedule: &KeySchedule, now: Timestamp) -> Result<OpenedKeys, Error> {
        let none = || Error::new(ErrorKind::Internal, "the shared keys have none that signs");
        let signing = schedule.signing(now).and_then(|index| schedule.keys.get(index));
        let signing = self.prepare(signing.ok_or_else(none)?)?;
        let mut verifying = Vec::with_capacity(schedule.keys.len());
        for (index, key) in schedule.keys.iter().enumerate() {
            let until = schedule.ends_at(index, self.retention);
            if now < until {
                let key = self.prepare(key)?.verifying_key().clone();
                verifying.push(ExpiringKey { key, until });
            }
        }
        Ok(OpenedKeys { signing, verifying })
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

    fn prepared(&self) -> MutexGuard<'_, HashMap<String, SigningKey>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a private key is sealed for.
fn context(kid: &str) -> [&str; 2] {
    ["signing key", kid]
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
