//! The settings of a service, in groups.

#[macro_use]
mod settings;

mod http;
mod limits;
mod passwords;
mod principals;
mod rotation_schedule;
mod runtime;
mod secrets;
mod sessions;
mod throttle;
mod throttle_limit;
mod tokens;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::service::model::entity::EntityId;
use crate::service::model::password::Password;
use crate::service::model::secret::SecretOperation;
use crate::token::claims::{SubjectType, Validated};

pub use self::http::Http;
pub(in crate::service) use self::limits::expiry_fault;
pub use self::passwords::Passwords;
pub use self::principals::Principals;
pub use self::rotation_schedule::RotationSchedule;
pub use self::runtime::Runtime;
pub use self::secrets::Secrets;
pub use self::sessions::Sessions;
pub use self::throttle::Throttle;
pub use self::throttle_limit::ThrottleLimit;
pub use self::tokens::Tokens;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// The maximum duration: added to an instant, it stays in range.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The settings of a [`TokenService`](crate::TokenService), in groups.
///
/// The defaults are safe for production. The documentation of each setter gives its default and the reason.
///
/// ```
/// use std::time::Duration;
/// use countersign::Policy;
///
/// let policy = Policy::default()
///     .secrets(|secrets| secrets.overlap(Duration::from_secs(5 * 86_400)))
///     .tokens(|tokens| tokens.open_custom_claims(["locale"]));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Policy {
    pub(crate) tokens: Tokens,
    pub(crate) principals: Principals,
    pub(crate) sessions: Sessions,
    pub(crate) secrets: Secrets,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: Throttle,
    pub(crate) http: Http,
    pub(crate) runtime: Runtime,
}

impl Policy {
    /// Sets lifetimes, contents and validation of tokens.
    pub fn tokens(mut self, set: impl FnOnce(Tokens) -> Tokens) -> Self {
        self.tokens = set(self.tokens);
        self
    }

    /// Sets the rules for names, subject ids and organizations of principals.
    pub fn principals(mut self, set: impl FnOnce(Principals) -> Principals) -> Self {
        self.principals = set(self.principals);
        self
    }

    /// Sets lifetimes and limits of customers' sessions, and their one-time passwords.
    pub fn sessions(mut self, set: impl FnOnce(Sessions) -> Sessions) -> Self {
        self.sessions = set(self.sessions);
        self
    }

    /// Sets lifetimes of machine clients' secrets, and who may read them.
    pub fn secrets(mut self, set: impl FnOnce(Secrets) -> Secrets) -> Self {
        self.secrets = set(self.secrets);
        self
    }

    /// Sets which passwords may be chosen, and what hashing them costs.
    pub fn passwords(mut self, set: impl FnOnce(Passwords) -> Passwords) -> Self {
        self.passwords = set(self.passwords);
        self
    }

    /// Sets the limits of failed attempts, after which further ones are delayed.
    pub fn throttle(mut self, set: impl FnOnce(Throttle) -> Throttle) -> Self {
        self.throttle = set(self.throttle);
        self
    }

    /// Sets what the routes accept and send, and the trusted proxies.
    pub fn http(mut self, set: impl FnOnce(Http) -> Http) -> Self {
        self.http = set(self.http);
        self
    }

    /// Sets deadlines, staleness limits and the audit log of subjects.
    pub fn runtime(mut self, set: impl FnOnce(Runtime) -> Runtime) -> Self {
        self.runtime = set(self.runtime);
        self
    }
}

/// A closure of the host that decides.
pub(crate) struct Rule<F: ?Sized>(pub(in crate::service) Arc<F>);

/// Returns the name under which a user or a customer's credential is registered and looked up; `None` if the text is
/// no name.
type NameNormalization = dyn Fn(&str) -> Option<String> + Send + Sync;
/// The host's rule for passwords besides their length; returns the fault.
type PasswordRule = dyn Fn(&Password) -> Result<(), String> + Send + Sync;
/// Returns whether a bearer may set a custom claim of that name to that value.
type CustomClaimsRule = dyn Fn(&Validated, &str, &Value) -> bool + Send + Sync;
/// Returns whether a user may perform that operation on a machine client's secret now.
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

impl Policy {
    /// Returns the fault of a new password.
    pub(crate) fn password_fault(&self, password: &Password) -> Option<String> {
        if password.expose().len() < self.passwords.min_len {
            return Some(format!("must be at least {} bytes long", self.passwords.min_len));
        }
        self.passwords.rule.as_ref().and_then(|rule| (rule.0)(password).err())
    }

    /// Returns the longest lifetime of any token that is accepted under this policy, for which revocations are kept.
    pub(crate) fn longest_token_lifetime(&self) -> Duration {
        self.tokens.max_lifetime.unwrap_or_else(|| self.longest_issued_lifetime())
    }

    /// Returns the longest of the lifetimes that tokens are issued with.
    fn longest_issued_lifetime(&self) -> Duration {
        self.tokens
            .user_lifetime
            .max(self.tokens.machine_lifetime)
            .max(self.tokens.exchanged_lifetime)
            .max(self.tokens.max_exchanged_lifetime)
            .max(self.tokens.phantom_lifetime)
    }

    /// Returns the default lifetime of a token that is not exchanged from a session.
    pub(crate) fn token_lifetime(&self, subject_type: SubjectType) -> Duration {
        match subject_type {
            SubjectType::User | SubjectType::Customer => self.tokens.user_lifetime,
            SubjectType::Machine => self.tokens.machine_lifetime,
        }
    }

    fn durations(&self) -> [(&'static str, Duration); 27] {
        let schedule = &self.tokens.rotation_schedule;
        [
            ("tokens.user_lifetime", self.tokens.user_lifetime),
            ("tokens.machine_lifetime", self.tokens.machine_lifetime),
            ("tokens.exchanged_lifetime", self.tokens.exchanged_lifetime),
            ("tokens.max_exchanged_lifetime", self.tokens.max_exchanged_lifetime),
            ("tokens.phantom_lifetime", self.tokens.phantom_lifetime),
            ("tokens.max_lifetime", self.tokens.max_lifetime.unwrap_or_default()),
            ("tokens.leeway", self.tokens.leeway),
            ("secrets.overlap", self.secrets.overlap),
            ("secrets.grace", self.secrets.grace),
            ("sessions.lifetime", self.sessions.lifetime),
            ("sessions.max_lifetime", self.sessions.max_lifetime),
            ("sessions.idle_timeout", self.sessions.idle_timeout.unwrap_or_default()),
            ("sessions.max_delegated_lifetime", self.sessions.max_delegated_lifetime),
            ("sessions.one_time_password_lifetime", self.sessions.one_time_password_lifetime),
            ("sessions.one_time_password_cooldown", self.sessions.one_time_password_cooldown),
            ("http.body_deadline", self.http.body_deadline),
            ("runtime.store_deadline", self.runtime.store_deadline),
            ("sessions.sender_deadline", self.sessions.sender_deadline),
            ("passwords.lifetime", self.passwords.lifetime.unwrap_or_default()),
            ("runtime.housekeeping_interval", self.runtime.housekeeping_interval),
            ("runtime.max_revocation_staleness", self.runtime.max_revocation_staleness),
            ("passwords.hashing_deadline", self.passwords.hashing_deadline),
            ("http.jwks_max_age", self.http.jwks_max_age),
            ("rotation_period", schedule.rotation_period),
            ("announcement_period", schedule.announcement_period),
            ("clock_tolerance", schedule.clock_tolerance),
            ("refresh_interval", schedule.refresh_interval),
        ]
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let problems = [
            (
                self.tokens.user_lifetime.as_secs() == 0,
                "tokens.user_lifetime must be at least a second",
            ),
            (
                self.tokens.machine_lifetime.as_secs() == 0,
                "tokens.machine_lifetime must be at least a second",
            ),
            (
                self.tokens.exchanged_lifetime > self.tokens.max_exchanged_lifetime,
                "tokens.exchanged_lifetime is above tokens.max_exchanged_lifetime",
            ),
            (
                self.tokens.exchanged_lifetime.as_secs() == 0,
                "tokens.exchanged_lifetime must be at least a second",
            ),
            (
                self.longest_token_lifetime() < self.longest_issued_lifetime(),
                "tokens.max_lifetime is below one of the lifetimes that tokens are issued with",
            ),
            (
                self.tokens.first_party_client_id.trim().is_empty(),
                "tokens.first_party_client_id is blank",
            ),
            (
                self.secrets.lifetime_days == 0
                    || self.secrets.lifetime_days > self.secrets.max_lifetime_days,
                "secrets.lifetime_days must be from 1 to secrets.max_lifetime_days",
            ),
            (
                self.sessions.idle_timeout.is_some_and(|timeout| timeout < 2 * MINUTE),
                "sessions.idle_timeout must be at least 2 minutes: uses are recorded once a minute",
            ),
            (
                self.sessions.lifetime.is_zero()
                    || self.sessions.lifetime > self.sessions.max_lifetime,
                "sessions.lifetime must be above zero, and at most sessions.max_lifetime",
            ),
            (
                self.sessions.max_delegated_lifetime.is_zero(),
                "sessions.max_delegated_lifetime must be above zero",
            ),
            (
                self.sessions.max_per_customer == 0 || self.sessions.max_per_starter == 0,
                "sessions.max_per_customer and sessions.max_per_starter must be at least 1",
            ),
            (
                !(6..=10).contains(&self.sessions.one_time_password_digits),
                "sessions.one_time_password_digits must be from 6 to 10",
            ),
            (
                self.sessions.one_time_password_attempts == 0,
                "sessions.one_time_password_attempts must be at least 1",
            ),
            (
                self.tokens.phantom_lifetime.as_secs() == 0,
                "tokens.phantom_lifetime must be at least a second",
            ),
            (
                !(1..=Semaphore::MAX_PERMITS).contains(&self.passwords.hashing_permits),
                "passwords.hashing_permits must be at least 1, and at most the maximum of a semaphore",
            ),
            (
                !(1..=Password::MAX_LEN).contains(&self.passwords.min_len),
                "passwords.min_len must be from 1 to 1024 bytes",
            ),
            (self.throttle.max_keys == 0, "throttle.max_keys must be at least 1"),
            (
                self.runtime.housekeeping_interval.is_zero(),
                "runtime.housekeeping_interval must be above zero",
            ),
            (
                self.sessions.one_time_password_lifetime.is_zero(),
                "sessions.one_time_password_lifetime must be above zero",
            ),
            (
                self.runtime.store_deadline.is_zero() || self.http.body_deadline.is_zero(),
                "runtime.store_deadline and http.body_deadline must be above zero",
            ),
            (
                self.runtime.max_revocation_staleness < Duration::from_secs(1),
                "runtime.max_revocation_staleness must be at least a second",
            ),
        ];
        if let Some((name, _)) = self.durations().into_iter().find(|(_, set)| *set > LONGEST) {
            let problem = format!("{name} is longer than a hundred years");
            return Err(Error::configuration(problem));
        }
        let limits = [
            ("throttle.by_name", self.throttle.by_name),
            ("throttle.by_address", self.throttle.by_address),
            ("throttle.by_name_and_address", self.throttle.by_name_and_address),
            ("throttle.one_time_passwords", self.throttle.one_time_passwords),
            ("throttle.one_time_passwords_sent", self.throttle.one_time_passwords_sent),
            ("throttle.secret_access", self.throttle.secret_access),
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
