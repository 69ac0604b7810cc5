//! The decisions of a service, each with a default and the reason for it.

mod setters;

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

impl Policy {
    /// What is wrong with a password that somebody chose.
    pub(crate) fn password_fault(&self, password: &Password) -> Option<String> {
        if password.expose().len() < self.min_password_len {
            return Some(format!("must be at least {} bytes long", self.min_password_len));
        }
        self.password_rule.as_ref().and_then(|PasswordRule(rule)| rule(password).err())
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
            schedule.rotation_period,
            schedule.announcement_period,
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
