//! The decisions of a service, each with a default and the reason for it.

mod limits;
mod rotation_schedule;
mod setters;
mod throttle_limit;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::service::model::entity::EntityId;
use crate::service::model::password::{Password, PasswordCost};
use crate::service::model::secret::SecretOperation;
use crate::token::acl::{Acl, ORGANIZATION};
use crate::token::claims::{SubjectType, Validated};
use crate::validate::builder::{DEFAULT_LEEWAY, DEFAULT_MAX_TOKEN_LEN, DEFAULT_TOKEN_CACHE_BYTES};
use crate::validate::proxies::ProxySetting;

pub(in crate::service) use self::limits::expiry_fault;
pub use self::rotation_schedule::RotationSchedule;
pub use self::throttle_limit::ThrottleLimit;

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
    pub(crate) user_token_lifetime: Duration,
    pub(crate) machine_token_lifetime: Duration,
    pub(crate) exchanged_token_lifetime: Duration,
    pub(crate) max_exchanged_token_lifetime: Duration,
    pub(crate) phantom_token_lifetime: Duration,
    pub(crate) max_token_lifetime: Option<Duration>,
    pub(crate) leeway: Duration,
    pub(crate) max_token_len: usize,
    pub(crate) token_cache_bytes: usize,
    pub(crate) first_party_client_id: String,
    pub(crate) trailing_wildcards: bool,
    pub(crate) organization_required: bool,
    pub(crate) organization_parameter: String,
    pub(crate) own_operations_by_name: bool,
    pub(crate) distinct_names: bool,
    pub(crate) opaque_subjects: bool,
    pub(crate) secret_lifetime_days: u64,
    pub(crate) max_secret_lifetime_days: u64,
    pub(crate) secret_overlap: Duration,
    pub(crate) secret_grace: Duration,
    pub(crate) revoke_tokens_on_secret_reset: bool,
    pub(crate) secret_access_max_token_age: Option<Duration>,
    pub(crate) secret_access_rule: Option<Rule<SecretAccessRule>>,
    pub(crate) session_lifetime: Duration,
    pub(crate) max_session_lifetime: Duration,
    pub(crate) session_idle_timeout: Option<Duration>,
    pub(crate) delegated_session_lifetime: Duration,
    pub(crate) delegable_acl: Option<Acl>,
    pub(crate) max_sessions_per_customer: usize,
    pub(crate) max_sessions_per_starter: usize,
    pub(crate) revoke_tokens_on_session_end: bool,
    pub(crate) one_time_password_digits: usize,
    pub(crate) one_time_password_lifetime: Duration,
    pub(crate) one_time_password_tries: u32,
    pub(crate) one_time_password_resends: u32,
    pub(crate) one_time_password_cooldown: Duration,
    pub(crate) open_custom_claims: Vec<String>,
    pub(crate) delegated_custom_claims: Vec<String>,
    pub(crate) custom_claims_rule: Option<Rule<CustomClaimsRule>>,
    pub(crate) max_custom_claims_len: usize,
    pub(crate) optional_envelope: bool,
    pub(crate) timestamp_skew: Option<Duration>,
    pub(crate) max_body_len: usize,
    pub(crate) body_deadline: Duration,
    pub(crate) store_deadline: Duration,
    pub(crate) sender_deadline: Duration,
    pub(crate) min_password_len: usize,
    pub(crate) password_rule: Option<Rule<PasswordRule>>,
    pub(crate) password_lifetime: Option<Duration>,
    pub(crate) end_sessions_on_password_change: bool,
    pub(crate) throttle_by_name: ThrottleLimit,
    pub(crate) throttle_by_address: ThrottleLimit,
    pub(crate) throttle_by_name_and_address: ThrottleLimit,
    pub(crate) throttle_one_time_passwords: ThrottleLimit,
    pub(crate) throttle_one_time_passwords_sent: ThrottleLimit,
    pub(crate) throttle_secret_access: ThrottleLimit,
    pub(crate) throttle_max_keys: usize,
    pub(crate) trusted_proxies: ProxySetting,
    pub(crate) audit_shows_subjects: bool,
    pub(crate) housekeeping_interval: Duration,
    pub(crate) max_revocation_staleness: Duration,
    pub(crate) dangerous_accept_stale_revocations: bool,
    pub(crate) password_cost: PasswordCost,
    pub(crate) hashing_permits: usize,
    pub(crate) hashing_queue: usize,
    pub(crate) hashing_deadline: Duration,
    pub(crate) jwks_max_age: Duration,
    pub(crate) rotation_schedule: RotationSchedule,
    pub(crate) problem_type_base: String,
}

/// A closure of the host's that decides.
pub(crate) struct Rule<F: ?Sized>(pub(in crate::service) Arc<F>);

/// What a host asks of a password beyond its length; returns what is wrong with it.
type PasswordRule = dyn Fn(&Password) -> Result<(), String> + Send + Sync;
/// Whether a bearer may set a custom claim of that name to that value.
type CustomClaimsRule = dyn Fn(&Validated, &str, &Value) -> bool + Send + Sync;
/// Whether a user may do that with a machine client's secret now.
type SecretAccessRule = dyn Fn(&Validated, &EntityId, SecretOperation) -> bool + Send + Sync;

impl<F: ?Sized> Clone for Rule<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F: ?Sized> fmt::Debug for Rule<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rule")
    }
}

impl Default for Policy {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            user_token_lifetime: DAY,
            machine_token_lifetime: DAY,
            exchanged_token_lifetime: HOUR,
            max_exchanged_token_lifetime: DAY,
            phantom_token_lifetime: 5 * MINUTE,
            max_token_lifetime: None,
            leeway: DEFAULT_LEEWAY,
            max_token_len: DEFAULT_MAX_TOKEN_LEN,
            token_cache_bytes: DEFAULT_TOKEN_CACHE_BYTES,
            first_party_client_id: "first-party".to_owned(),
            trailing_wildcards: false,
            organization_required: false,
            organization_parameter: ORGANIZATION.to_owned(),
            own_operations_by_name: false,
            distinct_names: true,
            opaque_subjects: false,
            secret_lifetime_days: 180,
            max_secret_lifetime_days: 180,
            secret_overlap: Duration::ZERO,
            secret_grace: Duration::ZERO,
            revoke_tokens_on_secret_reset: false,
            secret_access_max_token_age: None,
            secret_access_rule: None,
            session_lifetime: DAY,
            max_session_lifetime: 30 * DAY,
            session_idle_timeout: None,
            delegated_session_lifetime: HOUR,
            delegable_acl: None,
            max_sessions_per_customer: 100,
            max_sessions_per_starter: 100_000,
            revoke_tokens_on_session_end: true,
            one_time_password_digits: 6,
            one_time_password_lifetime: 10 * MINUTE,
            one_time_password_tries: 5,
            one_time_password_resends: 3,
            one_time_password_cooldown: MINUTE,
            open_custom_claims: Vec::new(),
            delegated_custom_claims: Vec::new(),
            custom_claims_rule: None,
            max_custom_claims_len: 4 * 1024,
            optional_envelope: false,
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
            throttle_secret_access: ThrottleLimit::new(1_000, HOUR),
            throttle_max_keys: 100_000,
            trusted_proxies: ProxySetting::default(),
            audit_shows_subjects: false,
            housekeeping_interval: MINUTE,
            max_revocation_staleness: MINUTE,
            dangerous_accept_stale_revocations: false,
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
        self.password_rule.as_ref().and_then(|rule| (rule.0)(password).err())
    }

    /// The longest life of any token that is accepted under this policy, for which revocations are
    /// remembered.
    pub(crate) fn longest_token_lifetime(&self) -> Duration {
        self.max_token_lifetime.unwrap_or_else(|| self.longest_issued_lifetime())
    }

    /// The longest life of any token that is issued by one of its lifetimes.
    fn longest_issued_lifetime(&self) -> Duration {
        self.user_token_lifetime
            .max(self.machine_token_lifetime)
            .max(self.exchanged_token_lifetime)
            .max(self.max_exchanged_token_lifetime)
            .max(self.phantom_token_lifetime)
    }

    /// How long a token lives that does not come of a session and asks for nothing else.
    pub(crate) fn token_lifetime(&self, subject_type: SubjectType) -> Duration {
        match subject_type {
            SubjectType::User | SubjectType::Customer => self.user_token_lifetime,
            SubjectType::Machine => self.machine_token_lifetime,
        }
    }

    fn durations(&self) -> [(&'static str, Duration); 27] {
        let schedule = &self.rotation_schedule;
        [
            ("user_token_lifetime", self.user_token_lifetime),
            ("machine_token_lifetime", self.machine_token_lifetime),
            ("exchanged_token_lifetime", self.exchanged_token_lifetime),
            ("max_exchanged_token_lifetime", self.max_exchanged_token_lifetime),
            ("phantom_token_lifetime", self.phantom_token_lifetime),
            ("max_token_lifetime", self.max_token_lifetime.unwrap_or_default()),
            ("leeway", self.leeway),
            ("secret_overlap", self.secret_overlap),
            ("secret_grace", self.secret_grace),
            ("session_lifetime", self.session_lifetime),
            ("max_session_lifetime", self.max_session_lifetime),
            ("session_idle_timeout", self.session_idle_timeout.unwrap_or_default()),
            ("delegated_session_lifetime", self.delegated_session_lifetime),
            ("one_time_password_lifetime", self.one_time_password_lifetime),
            ("one_time_password_cooldown", self.one_time_password_cooldown),
            ("body_deadline", self.body_deadline),
            ("store_deadline", self.store_deadline),
            ("sender_deadline", self.sender_deadline),
            ("password_lifetime", self.password_lifetime.unwrap_or_default()),
            ("housekeeping_interval", self.housekeeping_interval),
            ("max_revocation_staleness", self.max_revocation_staleness),
            ("hashing_deadline", self.hashing_deadline),
            ("jwks_max_age", self.jwks_max_age),
            ("rotation_period", schedule.rotation_period),
            ("announcement_period", schedule.announcement_period),
            ("clock_tolerance", schedule.clock_tolerance),
            ("refresh_interval", schedule.refresh_interval),
        ]
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let problems = [
            (
                self.user_token_lifetime.as_secs() == 0,
                "user_token_lifetime: tokens have to live for a second at least",
            ),
            (
                self.machine_token_lifetime.as_secs() == 0,
                "machine_token_lifetime: tokens have to live for a second at least",
            ),
            (
                self.exchanged_token_lifetime > self.max_exchanged_token_lifetime,
                "exchanged_token_lifetime is above max_exchanged_token_lifetime",
            ),
            (
                self.exchanged_token_lifetime.as_secs() == 0,
                "exchanged_token_lifetime: tokens have to live for a second at least",
            ),
            (
                self.longest_token_lifetime() < self.longest_issued_lifetime(),
                "max_token_lifetime is below one of the lifetimes that tokens are issued with",
            ),
            (self.first_party_client_id.trim().is_empty(), "first_party_client_id is blank"),
            (
                self.secret_lifetime_days == 0
                    || self.secret_lifetime_days > self.max_secret_lifetime_days,
                "secret_lifetime_days has to be 1 at least, and max_secret_lifetime_days at most",
            ),
            (
                self.session_lifetime.is_zero()
                    || self.session_lifetime > self.max_session_lifetime,
                "session_lifetime has to be above zero, and max_session_lifetime at most",
            ),
            (
                self.session_idle_timeout.is_some_and(|timeout| timeout < 2 * MINUTE),
                "session_idle_timeout has to be 2 minutes at least: uses are noted once a minute",
            ),
            (
                self.delegated_session_lifetime.is_zero(),
                "delegated_session_lifetime has to be above zero",
            ),
            (
                self.max_sessions_per_customer == 0 || self.max_sessions_per_starter == 0,
                "max_sessions_per_customer and max_sessions_per_starter have to be 1 at least",
            ),
            (
                !(6..=10).contains(&self.one_time_password_digits),
                "one_time_password_digits has to be 6 to 10",
            ),
            (self.one_time_password_tries == 0, "one_time_password_tries has to be 1 at least"),
            (
                self.phantom_token_lifetime.as_secs() == 0,
                "phantom_token_lifetime: tokens have to live for a second at least",
            ),
            (
                !(1..=Semaphore::MAX_PERMITS).contains(&self.hashing_permits),
                "hashing_permits has to be 1 at least, and no more than a semaphore can have",
            ),
            (
                !(1..=Password::MAX_LEN).contains(&self.min_password_len),
                "min_password_len has to be 1 to 1024 bytes",
            ),
            (self.throttle_max_keys == 0, "throttle_max_keys has to be 1 at least"),
            (self.housekeeping_interval.is_zero(), "housekeeping_interval has to be above zero"),
            (
                self.one_time_password_lifetime.is_zero(),
                "one_time_password_lifetime has to be above zero",
            ),
            (
                self.store_deadline.is_zero() || self.body_deadline.is_zero(),
                "store_deadline and body_deadline have to be above zero",
            ),
            (
                self.max_revocation_staleness < Duration::from_secs(1),
                "max_revocation_staleness has to be a second at least",
            ),
        ];
        if let Some((name, _)) = self.durations().into_iter().find(|(_, set)| *set > LONGEST) {
            let problem = format!("{name} is longer than a hundred years");
            return Err(Error::configuration(problem));
        }
        let limits = [
            ("throttle_by_name", self.throttle_by_name),
            ("throttle_by_address", self.throttle_by_address),
            ("throttle_by_name_and_address", self.throttle_by_name_and_address),
            ("throttle_one_time_passwords", self.throttle_one_time_passwords),
            ("throttle_one_time_passwords_sent", self.throttle_one_time_passwords_sent),
            ("throttle_secret_access", self.throttle_secret_access),
        ];
        for (name, limit) in limits {
            if let Some(problem) = limit.problem() {
                return Err(Error::configuration(format!("{name}: {problem}")));
            }
        }
        match problems.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, problem)) => Err(Error::configuration(problem)),
            None => Ok(()),
        }
    }
}
