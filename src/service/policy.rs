//! The decisions of a service, each with a default and the reason for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::domain::password::{Password, PasswordCost};
use crate::error::{Error, ErrorKind};
use crate::service::keys::RotationSchedule;
use crate::service::throttle::ThrottleLimit;
use crate::service::validate::{DEFAULT_LEEWAY, DEFAULT_MAX_TOKEN_LEN, DEFAULT_TOKEN_CACHE_BYTES};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// What is added to an instant stays in range.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How a service behaves where that is a matter of choice.
///
/// The default one is safe to run. Each setter says what it is by default and why.
///
/// ```
/// use std::time::Duration;
/// use countersign::Policy;
///
/// let policy = Policy::default()
///     .secret_overlap(Duration::from_secs(5 * 86_400))
///     .open_custom_claims(["locale"]);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Policy {
    pub(crate) access_token_lifetime: Duration,
    pub(crate) exchanged_token_lifetime: Duration,
    pub(crate) max_exchanged_token_lifetime: Duration,
    pub(crate) phantom_token_lifetime: Duration,
    pub(crate) leeway: Duration,
    pub(crate) max_token_len: usize,
    pub(crate) token_cache_bytes: usize,
    pub(crate) first_party_client_id: String,
    pub(crate) trailing_wildcards: bool,
    pub(crate) secret_lifetime_days: u64,
    pub(crate) max_secret_lifetime_days: u64,
    pub(crate) secret_overlap: Duration,
    pub(crate) secret_grace: Duration,
    pub(crate) revoke_tokens_on_secret_reset: bool,
    pub(crate) session_lifetime: Duration,
    pub(crate) max_session_lifetime: Duration,
    pub(crate) revoke_tokens_on_session_end: bool,
    pub(crate) one_time_password_digits: usize,
    pub(crate) one_time_password_lifetime: Duration,
    pub(crate) one_time_password_tries: u32,
    pub(crate) one_time_password_resends: u32,
    pub(crate) one_time_password_cooldown: Duration,
    pub(crate) open_custom_claims: Vec<String>,
    pub(crate) max_custom_claims_len: usize,
    pub(crate) timestamp_skew: Option<Duration>,
    pub(crate) max_body_len: usize,
    pub(crate) body_deadline: Duration,
    pub(crate) store_deadline: Duration,
    pub(crate) sender_deadline: Duration,
    pub(crate) min_password_len: usize,
    pub(crate) password_rule: Option<PasswordRule>,
    pub(crate) password_lifetime: Option<Duration>,
    pub(crate) end_sessions_on_password_change: bool,
    pub(crate) throttle_by_name: ThrottleLimit,
    pub(crate) throttle_by_address: ThrottleLimit,
    pub(crate) throttle_by_name_and_address: ThrottleLimit,
    pub(crate) throttle_one_time_passwords: ThrottleLimit,
    pub(crate) throttle_one_time_passwords_sent: ThrottleLimit,
    pub(crate) throttle_max_keys: usize,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) audit_shows_subjects: bool,
    pub(crate) housekeeping_interval: Duration,
    pub(crate) max_revocation_staleness: Duration,
    pub(crate) accept_stale_revocations: bool,
    pub(crate) password_cost: PasswordCost,
    pub(crate) hashing_permits: usize,
    pub(crate) hashing_queue: usize,
    pub(crate) hashing_deadline: Duration,
    pub(crate) jwks_max_age: Duration,
    pub(crate) rotation_schedule: RotationSchedule,
    pub(crate) problem_type_base: String,
}

/// What a host asks of a password beyond its length; answers what is wrong with it.
#[derive(Clone)]
pub(crate) struct PasswordRule(Arc<JudgePassword>);

type JudgePassword = dyn Fn(&Password) -> Result<(), String> + Send + Sync;

impl fmt::Debug for PasswordRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordRule")
    }
}

impl Default for Policy {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            access_token_lifetime: DAY,
            exchanged_token_lifetime: HOUR,
            max_exchanged_token_lifetime: DAY,
            phantom_token_lifetime: 5 * MINUTE,
            leeway: DEFAULT_LEEWAY,
            max_token_len: DEFAULT_MAX_TOKEN_LEN,
            token_cache_bytes: DEFAULT_TOKEN_CACHE_BYTES,
            first_party_client_id: "first-party".to_owned(),
            trailing_wildcards: false,
            secret_lifetime_days: 180,
            max_secret_lifetime_days: 180,
            secret_overlap: Duration::ZERO,
            secret_grace: Duration::ZERO,
            revoke_tokens_on_secret_reset: false,
            session_lifetime: DAY,
            max_session_lifetime: 30 * DAY,
            revoke_tokens_on_session_end: true,
            one_time_password_digits: 6,
            one_time_password_lifetime: 10 * MINUTE,
            one_time_password_tries: 5,
            one_time_password_resends: 3,
            one_time_password_cooldown: MINUTE,
            open_custom_claims: Vec::new(),
            max_custom_claims_len: 4 * 1024,
            timestamp_skew: None,
            max_body_len: 16 * 1024,
            body_deadline: Duration::from_secs(10),
            store_deadline: Duration::from_secs(5),
            sender_deadline: Duration::from_secs(10),
            min_password_len: 8,
            password_rule: None,
            password_lifetime: None,
            end_sessions_on_password_change: true,
            throttle_by_name: ThrottleLimit::new(100, DAY),
            throttle_by_address: ThrottleLimit::new(100, 15 * MINUTE),
            throttle_by_name_and_address: ThrottleLimit::new(10, DAY)
                .delays(Duration::from_secs(1), HOUR),
            throttle_one_time_passwords: ThrottleLimit::new(10, DAY)
                .delays(Duration::from_secs(1), HOUR),
            throttle_one_time_passwords_sent: ThrottleLimit::new(10, HOUR).delays(MINUTE, HOUR),
            throttle_max_keys: 100_000,
            trusted_proxies: Vec::new(),
            audit_shows_subjects: false,
            housekeeping_interval: MINUTE,
            max_revocation_staleness: MINUTE,
            accept_stale_revocations: false,
            password_cost: PasswordCost::default(),
            hashing_permits: cores,
            hashing_queue: cores * 8,
            hashing_deadline: Duration::from_secs(2),
            jwks_max_age: 5 * MINUTE,
            rotation_schedule: RotationSchedule::default(),
            problem_type_base: "urn:problem-type:countersign:".to_owned(),
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        impl Policy {
            $(
                $(#[$doc])*
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }
    };
}

setters! {
    /// How long tokens of users and entities live: 24 hours, as documented clients expect.
    access_token_lifetime: Duration;
    /// How long an exchanged token lives that asks for nothing: 1 hour, as documented.
    exchanged_token_lifetime: Duration;
    /// The longest life that an exchange may ask for: 24 hours, since a token that leaks is worth
    /// as much as it has yet to live.
    max_exchanged_token_lifetime: Duration;
    /// How long the tokens live that `ExchangeLayer` makes for itself: 5 minutes, since they are
    /// made anew at no cost that anyone notices.
    phantom_token_lifetime: Duration;
    /// How much clocks may differ: 60 seconds, at most 300.
    leeway: Duration;
    /// The longest token that is made or looked at, in bytes: 8 KiB, what common servers have room
    /// for in a header.
    max_token_len: usize;
    /// How much memory tokens may take that were checked before, in bytes, about: 64 MiB, room for
    /// some 13,000 with eight permissions. Zero turns it off; see
    /// [`ValidatorBuilder::token_cache_bytes`](crate::ValidatorBuilder::token_cache_bytes).
    token_cache_bytes: usize;
    /// Whether permissions may end in a wildcard, as `Storefront*`. Off: it grants operations that
    /// nobody has thought of yet. `*` alone always counts.
    trailing_wildcards: bool;
    /// How many days a secret lives that asks for nothing: 180, as documented.
    secret_lifetime_days: u64;
    /// The most days that a secret may live: 180, as documented. More is cut to it.
    max_secret_lifetime_days: u64;
    /// How long the old secret still works after a reset: not at all, since a reset may be the
    /// answer to a leak. The documented service gives 5 days.
    secret_overlap: Duration;
    /// How long an expired secret still yields a token, with a warning: not at all. The documented
    /// service gives 5 days.
    secret_grace: Duration;
    /// Whether a reset also takes back the tokens that the old secret yielded. Off, as documented.
    revoke_tokens_on_secret_reset: bool;
    /// How long a session lives that asks for nothing: 24 hours.
    session_lifetime: Duration;
    /// The longest life that a session may ask for: 30 days.
    max_session_lifetime: Duration;
    /// Whether ending a session takes back the tokens exchanged from it. On: who logs out means it.
    revoke_tokens_on_session_end: bool;
    /// How many digits a one-time password has: 6. From 6 to 10.
    one_time_password_digits: usize;
    /// How long a one-time password lives: 10 minutes, enough for a slow mail server.
    one_time_password_lifetime: Duration;
    /// How many wrong one-time passwords end a session: 5. See also
    /// [`throttle_one_time_passwords`](Self::throttle_one_time_passwords).
    one_time_password_tries: u32;
    /// How often a session's one-time password is sent again: 3 times, since each is a message that
    /// somebody may not have asked for.
    one_time_password_resends: u32;
    /// How long to wait before one is sent again: 1 minute, what a mail server takes at times.
    one_time_password_cooldown: Duration;
    /// The longest `customClaims`, in bytes of JSON: 4 KiB, so that the token stays below 8.
    max_custom_claims_len: usize;
    /// How far a request's `timestamp` may be from now. Off: clocks of clients are wrong. The
    /// field's usual limit is 15 minutes.
    timestamp_skew: Option<Duration>;
    /// The longest request body, in bytes: 16 KiB, several times what any request needs.
    max_body_len: usize;
    /// How long a request's body may take to arrive: 10 seconds.
    body_deadline: Duration;
    /// How long one call of a store may take: 5 seconds. Then it counts as out of reach.
    store_deadline: Duration;
    /// How long the delivery of a one-time password may take: 10 seconds.
    sender_deadline: Duration;
    /// The shortest password that may be chosen, in bytes: 8 (NIST SP 800-63B). The longest has
    /// [`Password::MAX_LEN`]. What is presented at a login is not held to it.
    min_password_len: usize;
    /// How long a password may be used after it was set: for ever, since whoever has to change it
    /// often chooses a worse one (NIST SP 800-63B). An expired one is refused like a wrong one, and
    /// can still be changed by its owner.
    password_lifetime: Option<Duration>;
    /// Whether changing a password ends the sessions and tokens that it yielded. On: it is changed
    /// because somebody else may know it.
    end_sessions_on_password_change: bool;
    /// How many failures one name may have from everywhere together: 100 a day (NIST SP 800-63B),
    /// then delays of 1 second to 15 minutes. From where its owner has logged in before, it is not
    /// asked.
    throttle_by_name: ThrottleLimit;
    /// How many failures one address (of IPv6, one /64) may have with all names together: 100 in
    /// 15 minutes, since an office may share one, then delays of 1 second to 15 minutes.
    throttle_by_address: ThrottleLimit;
    /// How many failures one name may have from one address: 10 a day, then delays of 1 second to 1
    /// hour. Guessing all day yields some 45, which is less than half of what the name's own limit
    /// lets pass: one attacker cannot use that up and delay the owner elsewhere.
    throttle_by_name_and_address: ThrottleLimit;
    /// How many wrong one-time passwords one customer may have in all sessions together: 10 a day,
    /// then delays of 1 second to 1 hour. Whoever knows the password starts as many sessions as they
    /// like, and each stands a few tries: this is what keeps a code of six digits from being guessed.
    throttle_one_time_passwords: ThrottleLimit;
    /// How many one-time passwords are sent to one customer: 10 an hour, then delays of 1 minute to
    /// 1 hour. Sessions that the host starts itself are not held to it.
    throttle_one_time_passwords_sent: ThrottleLimit;
    /// How many names, addresses and pairs of them failures are kept of: 100,000, which takes up to
    /// 32 MB. Beyond it, what has failed least is forgotten first.
    throttle_max_keys: usize;
    /// Whether the audit log shows the names of those who log in. Off: it has a digest under a key
    /// derived from the sealing key, since people type passwords where names belong.
    audit_shows_subjects: bool;
    /// How often [`run_housekeeping`](crate::TokenService::run_housekeeping) tidies up: once a
    /// minute.
    housekeeping_interval: Duration;
    /// For how long tokens are accepted where the store cannot be asked what other nodes took back:
    /// a minute. Longer than a restart of the store, and not as long as an outage. Then they are
    /// answered 503, as they are before the store was asked for the first time. It is for stores
    /// that last ([`SessionStore::is_durable`](crate::store::SessionStore::is_durable)).
    max_revocation_staleness: Duration;
    /// Whether tokens are accepted all the same, with warnings in the log: they are not. What was
    /// taken back would be let through for as long as the store is down.
    accept_stale_revocations: bool;
    /// What a password hash costs: 19 MiB and two passes (OWASP).
    password_cost: PasswordCost;
    /// How many passwords are hashed at once: as many as there are cores. More would only be
    /// slower, and take memory.
    hashing_permits: usize;
    /// How many may wait for that: eight for each core. Further ones are answered 503.
    hashing_queue: usize;
    /// How long one may wait for that: 2 seconds. Then it is answered 503.
    hashing_deadline: Duration;
    /// How long others may keep the published keys: 5 minutes.
    jwks_max_age: Duration;
    /// When [`ManagedKeys`](crate::ManagedKeys) are changed: every 90 days, announced 14 days ahead.
    rotation_schedule: RotationSchedule;
}

impl Policy {
    /// `client_id` of the tokens of users and customers: `first-party`. No entity may take it.
    pub fn first_party_client_id(mut self, id: impl Into<String>) -> Self {
        self.first_party_client_id = id.into();
        self
    }

    /// Custom claims that a caller may set at an exchange without a bearer token: none.
    pub fn open_custom_claims<T: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = T>,
    ) -> Self {
        self.open_custom_claims = names.into_iter().map(Into::into).collect();
        self
    }

    /// What the host asks of a password beyond its length, as that it is not in a list of known
    /// ones. The answer is what is wrong with it, and is told to whoever chose it. Nothing, by
    /// default.
    ///
    /// ```
    /// use countersign::{Password, Policy};
    ///
    /// let policy = Policy::default().password_rule(|password: &Password| {
    ///     if password.expose().contains("password") {
    ///         return Err("must not be so easy to guess".to_owned());
    ///     }
    ///     Ok(())
    /// });
    /// ```
    pub fn password_rule(
        mut self,
        rule: impl Fn(&Password) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.password_rule = Some(PasswordRule(Arc::new(rule)));
        self
    }

    /// The proxies in front of the host, as networks in CIDR notation or single addresses: none.
    /// What these say in `X-Forwarded-For` is taken for a client's address, and from anybody else it
    /// is not. Behind a proxy that is not named here, all clients count as one address.
    pub fn trusted_proxies<T: Into<String>>(
        mut self,
        networks: impl IntoIterator<Item = T>,
    ) -> Self {
        self.trusted_proxies = networks.into_iter().map(Into::into).collect();
        self
    }

    /// What is wrong with a password that somebody chose.
    pub(crate) fn password_fault(&self, password: &Password) -> Option<String> {
        if password.expose().len() < self.min_password_len {
            return Some(format!("must be at least {} bytes long", self.min_password_len));
        }
        self.password_rule.as_ref().and_then(|PasswordRule(rule)| rule(password).err())
    }

    /// What the `type` of a problem begins with (RFC 9457 §3.1.1). By default it is a URN, since
    /// this crate cannot know where a host documents its problems.
    pub fn problem_type_base(mut self, base: impl Into<String>) -> Self {
        self.problem_type_base = base.into();
        self
    }

    /// The longest life of any token that is issued under this policy.
    pub(crate) fn longest_token_lifetime(&self) -> Duration {
        self.access_token_lifetime
            .max(self.exchanged_token_lifetime)
            .max(self.max_exchanged_token_lifetime)
            .max(self.phantom_token_lifetime)
    }

    fn durations(&self) -> [Duration; 23] {
        let schedule = &self.rotation_schedule;
        [
            self.access_token_lifetime,
            self.exchanged_token_lifetime,
            self.max_exchanged_token_lifetime,
            self.phantom_token_lifetime,
            self.leeway,
            self.secret_overlap,
            self.secret_grace,
            self.session_lifetime,
            self.max_session_lifetime,
            self.one_time_password_lifetime,
            self.one_time_password_cooldown,
            self.body_deadline,
            self.store_deadline,
            self.sender_deadline,
            self.password_lifetime.unwrap_or_default(),
            self.housekeeping_interval,
            self.max_revocation_staleness,
            self.hashing_deadline,
            self.jwks_max_age,
            schedule.every,
            schedule.announcement,
            schedule.clock_tolerance,
            schedule.refresh_interval,
        ]
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let problems = [
            (
                self.access_token_lifetime.as_secs() == 0,
                "tokens have to live for a second at least",
            ),
            (
                self.exchanged_token_lifetime > self.max_exchanged_token_lifetime,
                "exchanged tokens live longer by default than they may",
            ),
            (
                self.exchanged_token_lifetime.as_secs() == 0,
                "exchanged tokens have to live for a second at least",
            ),
            (self.first_party_client_id.trim().is_empty(), "the first-party client id is blank"),
            (
                self.secret_lifetime_days == 0
                    || self.secret_lifetime_days > self.max_secret_lifetime_days,
                "secrets have to live for a day at least, and by default no longer than they may",
            ),
            (
                self.session_lifetime.is_zero()
                    || self.session_lifetime > self.max_session_lifetime,
                "sessions have to live, and by default no longer than they may",
            ),
            (
                !(6..=10).contains(&self.one_time_password_digits),
                "one-time passwords have 6 to 10 digits",
            ),
            (self.one_time_password_tries == 0, "a one-time password has to have a try"),
            (
                self.phantom_token_lifetime.as_secs() == 0,
                "phantom tokens have to live for a second",
            ),
            (
                !(1..=Semaphore::MAX_PERMITS).contains(&self.hashing_permits),
                "password hashing has to have a permit, and no more than there can be threads",
            ),
            (
                !(1..=Password::MAX_LEN).contains(&self.min_password_len),
                "the shortest password has 1 to 1024 bytes",
            ),
            (self.throttle_max_keys == 0, "a throttle has to keep a key"),
            (self.housekeeping_interval.is_zero(), "housekeeping needs an interval"),
            (
                self.one_time_password_lifetime.is_zero(),
                "one-time passwords have to be good for a while",
            ),
            (
                self.store_deadline.is_zero() || self.body_deadline.is_zero(),
                "a deadline has to leave some time",
            ),
            (
                self.max_revocation_staleness < Duration::from_secs(1),
                "the store cannot be asked for revocations more often than once a second",
            ),
        ];
        if self.durations().into_iter().any(|duration| duration > LONGEST) {
            let problem = "no duration may be longer than a hundred years";
            return Err(Error::new(ErrorKind::Configuration, problem));
        }
        let limits = [
            self.throttle_by_name,
            self.throttle_by_address,
            self.throttle_by_name_and_address,
            self.throttle_one_time_passwords,
            self.throttle_one_time_passwords_sent,
        ];
        if let Some(problem) = limits.iter().find_map(ThrottleLimit::problem) {
            return Err(Error::new(ErrorKind::Configuration, problem));
        }
        match problems.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, problem)) => Err(Error::new(ErrorKind::Configuration, problem)),
            None => Ok(()),
        }
    }
}
