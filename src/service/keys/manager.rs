//! Keeping a ring as the shared record says, and the record as the schedule does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorKind};
use crate::jitter;
use crate::jose::{Algorithm, CryptoProvider, ExpiringKey, KeyRing, PrivateKey, SigningKey};
use crate::service::keys::ManagedKeys;
use crate::service::keys::new_keys::{self, NewKeys};
use crate::service::model::key_schedule::{KeySchedule, ScheduledKey};
use crate::service::model::sealing::SealingKeys;
use crate::service::policy::{Policy, RotationSchedule};
use crate::service::shared_clock::SharedTime;
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
    new_keys: Mutex<NewKeys>,
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
    /// Every key that was ever seen to be retired, and when it was: none of them comes back where a store
    /// is put back to an earlier state.
    retired: BTreeMap<String, Timestamp>,
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
            new_keys: Mutex::default(),
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
        let read = self.update(stores, |_, _| Ok(())).await;
        // Others may have written keys that this node cannot read.
        self.ring.set_may_lack_keys(read.is_err());
        read?;
        let now = self.clock.now();
        let known = self.known.lock().await;
        let schedule = known.schedule.as_ref();
        let change = schedule.and_then(|schedule| schedule.next_change(now, self.retention));
        let until_change = change.unwrap_or(Timestamp::MAX).saturating_since(now);
        // Nodes that began at once do not all look at once.
        let interval = self.timing.refresh_interval;
        Ok(until_change.min(interval - jitter::below(interval / 10)))
    }

    /// Has the next key sign as soon as all have it. Returns when that is.
    pub(in crate::service) async fn rotate_early(
        &self,
        stores: &WritingStores,
    ) -> Result<Timestamp, Error> {
        self.update(stores, |schedule, time| {
            time.check()?;
            let now = time.later;
            schedule.rotate_early(now, self.propagation, |from| self.generate(now, from))
        })
        .await
    }

    /// Ends a key, whatever the clocks say.
    pub(in crate::service) async fn retire(
        &self,
        stores: &WritingStores,
        kid: &str,
    ) -> Result<(), Error> {
        self.update(stores, |schedule, time| {
            let now = time.later;
            schedule.retire(kid, now, |from| self.generate(now, from))
        })
        .await
    }

    /// Returns whether another node may have a key that is unknown here; none has a retired one.
    pub(in crate::service) fn may_lack(&self, kid: &str) -> bool {
        // While the shared keys are being read, it may be any.
        !self.known.try_lock().is_ok_and(|known| known.retired.contains_key(kid))
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
        edit: impl Fn(&mut KeySchedule, SharedTime) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut known = self.known.lock().await;
        let outcome = match self.try_update(stores, &mut known, edit).await {
            Ok((schedule, answer)) => {
                // Writing it may have taken a while.
                let installed = self.open(&schedule, self.clock.now());
                known.schedule = Some(schedule);
                known.has_missed_newer = false;
                installed.map(|opened| {
                    self.install(&opened);
                    answer
                })
            }
            Err(error) => Err(error),
        };
        *self.new_keys() = NewKeys::default();
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
        edit: impl Fn(&mut KeySchedule, SharedTime) -> Result<T, Error>,
    ) -> Result<(KeySchedule, T), Error> {
        retry_on_conflict!({
            let found = stores.get_keys(&*self.store).await?;
            let present = found.as_ref().map(|found| self.take_over(stores, found, known));
            let time = stores.time_of(&*self.store).await?;
            self.new_keys().begin();
            let edited = self.edit(present, known, time, &edit);
            if self.new_keys().are_too_few() {
                let made = new_keys::make(self.algorithm, Arc::clone(&self.provider)).await?;
                self.new_keys().add(made);
                return Ok(CompareAndSet::Conflict);
            }
            let (schedule, answer) = edited?;
            if found.as_ref().is_some_and(|found| *found == schedule) {
                return Ok(CompareAndSet::Written((schedule, answer)));
            }
            let is_first = found.is_none() && known.schedule.is_none();
            let schedule = if is_first { schedule } else { schedule.next_version() };
            let written = self.save(stores, schedule.clone(), found.as_ref()).await?;
            if let CompareAndSet::Written(()) = written {
                known.remember_retirements(&schedule);
                new_keys::log(found.as_ref(), &schedule);
            }
            Ok(written.map(|()| (schedule, answer)))
        })
    }

    /// Returns what the shared keys are to be: those that are there, edited, and with what is due done.
    fn edit<T>(
        &self,
        present: Option<KeySchedule>,
        known: &Known,
        time: SharedTime,
        edit: impl Fn(&mut KeySchedule, SharedTime) -> Result<T, Error>,
    ) -> Result<(KeySchedule, T), Error> {
        let mut schedule = match present {
            Some(present) => present,
            None => self.lost_or_first(known, time)?,
        };
        let answer = edit(&mut schedule, time)?;
        self.do_what_is_due(&mut schedule, time)?;
        // Before it is written: nobody else is to have what this node could not open.
        self.open(&schedule, self.clock.now())?;
        Ok((schedule, answer))
    }

    /// What the shared keys are to be where the store has none: those that are known, or the first one.
    fn lost_or_first(&self, known: &Known, time: SharedTime) -> Result<KeySchedule, Error> {
        if known.has_missed_newer {
            // A key may have been retired since what is known.
            let problem = "the store no longer has the shared keys, and this node could not open \
                           those that were read last: a node that could puts them back; where there \
                           is none, start this one anew, and it makes others";
            return Err(Error::new(ErrorKind::Internal, problem));
        }
        let Some(schedule) = &known.schedule else {
            return Ok(KeySchedule::new(self.generate(time.earlier, time.earlier)?));
        };
        tracing::error!(
            "signing keys: the store has lost them, this node writes back those that it knows"
        );
        Ok(schedule.clone())
    }

    /// Goes by what was read, also where it can then not be changed or written. Returns it with what was
    /// known before and is missing there: a store that was put back to an earlier state may lack the newest
    /// keys, and knows nothing of what was retired since.
    fn take_over(
        &self,
        stores: &WritingStores,
        found: &KeySchedule,
        known: &mut Known,
    ) -> KeySchedule {
        known.remember_retirements(found);
        let mut present = found.clone();
        let is_retired = |kid: &str| known.retired.contains_key(kid);
        let newer = known.schedule.as_ref().filter(|newer| newer.is_lost_in(found, is_retired));
        if let Some(newer) = newer {
            tracing::error!(
                "signing keys: the store was restored to an earlier state, this node writes back the keys that are \
                 missing; retired keys stay retired"
            );
            // What could not be opened may have had less.
            if !known.has_missed_newer {
                present.merge_newer(newer, is_retired);
            }
        }
        let retirements = known.retired.iter().map(|(kid, retired_at)| (&**kid, *retired_at));
        let now = stores.clock().earliest_now();
        present.apply_retirements(retirements, now, self.retention);
        match self.open(&present, self.clock.now()) {
            Ok(opened) => {
                self.install(&opened);
                known.schedule = Some(present.clone());
                known.has_missed_newer = false;
            }
            Err(_) => known.has_missed_newer = true,
        }
        present
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

    /// Seals anew what was sealed with a key that no longer seals. Where the clocks agree, drops what has
    /// ended and announces the next key where it is time.
    fn do_what_is_due(&self, schedule: &mut KeySchedule, time: SharedTime) -> Result<(), Error> {
        for key in &mut schedule.keys {
            if !self.sealing.is_current(&key.sealed) {
                let opened = self.sealing.open(&key.sealed, &context(&key.kid))?;
                key.sealed = self.sealing.seal(&opened, &context(&key.kid))?;
            }
        }
        schedule.ensure_signing(time.later, |from| self.generate(time.later, from))?;
        if !time.is_agreed {
            return Ok(());
        }
        schedule.drop_ended(time.earlier, self.retention);
        let (period, announcement) = (self.timing.rotation_period, self.timing.announcement_period);
        schedule.announce_if_due((time.earlier, time.later), period, announcement, |from| {
            self.generate(time.later, from)
        })
    }

    /// A new key, sealed: one of those that were made for it.
    fn generate(&self, now: Timestamp, signs_from: Timestamp) -> Result<ScheduledKey, Error> {
        let mut new_keys = self.new_keys();
        let (private, key) = new_keys
            .next()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a signing key has still to be made"))?;
        let kid = key.kid().to_owned();
        let sealed = self.sealing.seal(&private.to_text(), &context(&kid))?;
        self.prepared().insert(kid.clone(), key.clone());
        Ok(ScheduledKey { kid, sealed, announced_at: now, signs_from, retired_at: None })
    }

    fn new_keys(&self) -> MutexGuard<'_, NewKeys> {
        self.new_keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn install(&self, keys: &OpenedKeys) {
        if self.ring.install(&keys.signing, &keys.verifying) {
            tracing::info!(kid = keys.signing.kid(), "the keys have changed; this one signs");
        }
    }

    /// The key that signs now, and those that verify, each until its time. One that does not open
    /// fails it all: a node that had some of the keys would reject good tokens.
    fn open(&self, schedule: &KeySchedule, now: Timestamp) -> Result<OpenedKeys, Error> {
        let none = || Error::new(ErrorKind::Internal, "none of the shared keys signs");
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
            return Err(Error::new(ErrorKind::Internal, "a shared key does not match its kid"));
        }
        self.prepared().insert(key.kid.clone(), prepared.clone());
        Ok(prepared)
    }

    fn prepared(&self) -> MutexGuard<'_, HashMap<String, SigningKey>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn remember_retirements(&mut self, schedule: &KeySchedule) {
        for (kid, retired_at) in schedule.retirements() {
            self.retired.entry(kid.to_owned()).or_insert(retired_at);
        }
    }
}

/// What a private key is sealed for.
fn context(kid: &str) -> [&str; 2] {
    ["signing key", kid]
}
