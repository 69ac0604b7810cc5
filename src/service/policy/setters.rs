//! What a host may choose, with what it is otherwise and why.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::service::model::entity::EntityId;
use crate::service::model::password::{Password, PasswordCost};
use crate::service::model::secret::SecretOperation;
use crate::service::policy::{Policy, RotationSchedule, Rule, ThrottleLimit};
use crate::token::acl::Acl;
use crate::token::claims::Validated;
use crate::validate::proxies::ProxySetting;

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
    /// How long a user's token lives: 24 hours, as the documented response has it. The documented service
    /// lets it live for 180 days. One that the host issues to a customer by a [`Grant`](crate::Grant) lives
    /// as long; those of sessions have lifetimes of their own.
    user_token_lifetime: Duration;
    /// How long a machine client's token lives: 24 hours, as documented clients expect. It gets another one
    /// without anybody's help, so a shorter life costs it little.
    machine_token_lifetime: Duration;
    /// How long an exchanged token lives that asks for nothing: 1 hour, as documented.
    exchanged_token_lifetime: Duration;
    /// The longest life that an exchange may ask for: 24 hours, since a token that leaks is worth
    /// as much as it has yet to live.
    max_exchanged_token_lifetime: Duration;
    /// How long the tokens live that `ExchangeLayer` makes for itself: 5 minutes, since they are
    /// made anew at no cost that anyone notices.
    phantom_token_lifetime: Duration;
    /// The longest life of any token of this service that it accepts, from its `iat` to its `exp`,
    /// and for how long revocations are remembered: the longest of the other lifetimes, since no
    /// token lives longer that is issued under them. A token that was issued under longer ones is
    /// rejected, so that none outlives what revoked it.
    ///
    /// It is there to change the other lifetimes while several nodes run, or while tokens are to
    /// stay good: raised before them, and lowered once the last longer token has expired. See
    /// [`guide::many_nodes`](crate::guide::many_nodes).
    max_token_lifetime: Option<Duration>;
    /// How much clocks may differ: 60 seconds, at most 300.
    leeway: Duration;
    /// The longest token that is made or looked at, in bytes: 8 KiB, what common servers have room
    /// for in a header.
    max_token_len: usize;
    /// How much memory tokens may take that were checked before, in bytes, about: 64 MiB, room for
    /// some 24,000 with eight permissions. Zero turns it off; see
    /// [`ValidatorBuilder::token_cache_bytes`](crate::ValidatorBuilder::token_cache_bytes).
    token_cache_bytes: usize;
    /// Whether permissions may end in a wildcard, as `Storefront*`. Off: it grants operations that
    /// nobody has thought of yet. `*` alone always counts.
    trailing_wildcards: bool;
    /// Whether principals, sessions and tokens have to say which organizations they belong to: one,
    /// or [`Organization::All`](crate::Organization::All). Off: an app without tenants has none. In
    /// an app with tenants, turn it on: what begins bound to none, and was forgotten, has access to
    /// every tenant.
    ///
    /// [`register`](crate::TokenService::register), [`issue`](crate::TokenService::issue) and
    /// [`start_session`](crate::TokenService::start_session) reject what says nothing, and so do
    /// logins of principals that were registered so before, and tokens of trusted issuers that are mapped so.
    organization_required: bool;
    /// Whether `*` and trailing wildcards leave the crate's own operations out, those of
    /// [`permission`](crate::permission), so that a list has to name each as it is. Off: `*` is
    /// documented as everything. On, a list that means the host's operations by `*` neither reads
    /// secrets nor starts sessions, and nobody gives an operation away whose name is not in their own
    /// list. Layers of the host's that ask for one of these names are not affected.
    own_operations_by_name: bool;
    /// Whether nobody is registered by a name that looks like one that is registered, among principals of
    /// one sort: the same but for case, blanks, characters that are not displayed, or letters that look
    /// alike (UTS 39 §4). On: whoever is `Jane`, or `jane` with a Cyrillic letter, is taken for `jane` by
    /// people, and `Jane` by databases of the host's that compare without case. Some names that can be
    /// told apart count as alike: `0` and `o`, `1` and `l`, `m` and `rn`.
    ///
    /// Whoever is registered stays so, and logs in by the name exactly as written. Those who were
    /// registered while it was off are compared with nobody.
    distinct_names: bool;
    /// Whether users' tokens carry as their `sub` the [`subject_id`](crate::Entity::subject_id) that was
    /// made at the registration, and not the name. Off: the documented `sub` is the name. On, whoever is
    /// registered by the name of a user that was removed is somebody else to the host, too, which keeps
    /// its data by the [`principal`](crate::Validated::principal), and does not get what was the
    /// former one's.
    ///
    /// A user that was registered by an earlier release has no such id, and keeps the name. Customers' tokens
    /// carry the customer's id, and those of machine clients their id, which is their `client_id`: give
    /// neither out twice.
    ///
    /// It can be turned on and off: whatever ends a registered user's tokens ends those that name it either
    /// way. `revoke_subject` does, too, where it is given the name; the id in a `sub` leads to no name. A
    /// [`Grant`](crate::Grant) carries what the host gives it, and the audit log shows the name where a
    /// user logs in, and the `sub` where a token is presented, with one `jti`.
    opaque_subjects: bool;
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
    /// Whether a reset also revokes the tokens that the old secret yielded. Off, as documented.
    revoke_tokens_on_secret_reset: bool;
    /// How old a user's token may be to read and reset secrets by it, from its login on: as old as
    /// tokens get, since documented clients hold one for a day. A few minutes make a token that was
    /// stolen worth no secret for long.
    secret_access_max_token_age: Option<Duration>;
    /// How long a session lives that asks for nothing: 24 hours.
    session_lifetime: Duration;
    /// The longest life that a session may ask for: 30 days.
    max_session_lifetime: Duration;
    /// How long a session lives that nothing is exchanged from: as long as any, so that customers find
    /// theirs again. With a timeout, of 2 minutes at least, it ends so long after its start or its last use,
    /// and at its own end at the latest. A use is an exchange that leaves it as it is, or a request that
    /// comes through an [`ExchangeLayer`](crate::ExchangeLayer); to find or list it is none. Uses are noted
    /// once a minute, so that it may end up to a minute sooner. Tokens that were exchanged live on.
    ///
    /// A session that was started before this was set or changed gets it with its next use.
    session_idle_timeout: Option<Duration>;
    /// The longest life of a session that was started on a bearer's word: 1 hour. What a bearer has
    /// started ends with its revocation, which is remembered for as long.
    delegated_session_lifetime: Duration;
    /// How many live sessions a customer may have: 100, several for each device that somebody has. One
    /// more is rejected, so that one known password cannot fill the store. Starts at the same
    /// moment may exceed it by their number.
    max_sessions_per_customer: usize;
    /// How many live sessions a user or machine client may have started: 100,000, those of a large
    /// shop's customers within an hour, which take some 350 MB of a store in memory. One more is
    /// rejected, so that a bearer in wrong hands cannot fill the store. A session that was used up
    /// does not count, and takes less than half.
    max_sessions_per_starter: usize;
    /// Whether ending a session revokes the tokens exchanged from it. On: who logs out means it.
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
    /// Whether `ver` and `timestamp` may be left out of requests for secrets, as the request collection
    /// that is documented with the routes does. Off: the routes themselves are documented with both.
    /// What a request has of them is checked all the same, and `txnId` is required.
    optional_envelope: bool;
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
    /// often chooses a worse one (NIST SP 800-63B). An expired one is rejected like a wrong one, and
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
    /// 15 minutes, since an office may share one, then delays of 1 second to 15 minutes. It holds for
    /// every name, also where its owner has logged in from there before: who has is not told.
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
    /// How often one user may read and reset secrets of machine clients, whatever comes of it: 1,000
    /// times an hour, then after delays of 1 second to 15 minutes. Reading one as often as asked is
    /// what clients do; reading all of them is what a stolen token does.
    throttle_secret_access: ThrottleLimit;
    /// How many names, addresses and pairs of them failures are kept of: 100,000, which takes up to
    /// 32 MB. Beyond it, what has failed least is forgotten first.
    throttle_max_keys: usize;
    /// Whether the audit log shows the names of those who log in. Off: it has a digest under a key
    /// derived from the sealing key, since people type passwords where names belong.
    audit_shows_subjects: bool;
    /// How often what [`start`](crate::TokenService::start) runs tidies up: once a
    /// minute.
    housekeeping_interval: Duration;
    /// For how long tokens are accepted where the store cannot be asked what other nodes revoked:
    /// a minute. Longer than a restart of the store, and not as long as an outage. Then they are
    /// answered 503, as they are before the store was asked for the first time. It is for stores
    /// that last ([`Store::is_durable`](crate::store::Store::is_durable)).
    max_revocation_staleness: Duration;
    /// Whether tokens are accepted for as long as the store cannot be asked what other nodes
    /// revoked, past [`max_revocation_staleness`](Self::max_revocation_staleness): they are not.
    ///
    /// Dangerous: what was revoked on another node is let through until the store is there again.
    dangerous_accept_stale_revocations: bool;
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
    /// `client_id` of the tokens of users and customers: `first-party`. No machine client may
    /// take it.
    pub fn first_party_client_id(mut self, id: impl Into<String>) -> Self {
        self.first_party_client_id = id.into();
        self
    }

    /// The path parameter that names an organization where the router is mounted below one, and in the
    /// host's own handlers that take a [`RequestContext`](crate::RequestContext): `organizationId`.
    /// The router rejects every request with a 500 where it is mounted below another parameter: it
    /// would confine nothing.
    pub fn organization_parameter(mut self, name: impl Into<String>) -> Self {
        self.organization_parameter = name.into();
        self
    }

    /// Custom claims that anybody may set to anything, at an exchange without a bearer token, too:
    /// none. Handlers must not rely on what these say. One that the host has set, with the session
    /// or the credential, is not changed by it.
    pub fn open_custom_claims<T: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = T>,
    ) -> Self {
        self.open_custom_claims = names.into_iter().map(Into::into).collect();
        self
    }

    /// Custom claims that a bearer may pass on to the sessions that it starts and the exchanges that
    /// it widens: none, since a permission to start sessions is none to say who somebody is. Only the
    /// value that the bearer's own token carries under that name is passed on, and in place of none
    /// that the host has set.
    pub fn delegated_custom_claims<T: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = T>,
    ) -> Self {
        self.delegated_custom_claims = names.into_iter().map(Into::into).collect();
        self
    }

    /// Which further custom claims a bearer may set, by their names and values: none. It is asked
    /// about each one that neither [`open_custom_claims`](Self::open_custom_claims) nor
    /// [`delegated_custom_claims`](Self::delegated_custom_claims) lets pass, and never about one that
    /// the host has set: that stays as it is.
    ///
    /// ```
    /// use countersign::{Policy, SubjectType, Validated};
    /// use serde_json::Value;
    ///
    /// let policy = Policy::default().custom_claims_rule(|bearer: &Validated, name, value: &Value| {
    ///     bearer.principal().subject_type() == SubjectType::Machine && name == "channel" && value == "kiosk"
    /// });
    /// ```
    pub fn custom_claims_rule(
        mut self,
        rule: impl Fn(&Validated, &str, &Value) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.custom_claims_rule = Some(Rule(Arc::new(rule)));
        self
    }

    /// Adds a check to reads and resets of secrets that the user's list grants: they are refused where
    /// `rule` returns `false`. By default there is none. It is asked last, about each one, and who is
    /// refused is told what an unknown machine client is. It must not block: what has to be looked up is best kept in memory. Under
    /// [`opaque_subjects`](Self::opaque_subjects), a principal's id is no name.
    ///
    /// ```
    /// use countersign::{Policy, SecretOperation, Validated};
    ///
    /// let policy = Policy::default().secret_access_rule(|manager: &Validated, client, operation| {
    ///     operation == SecretOperation::Read || manager.principal().id() == client.name()
    /// });
    /// ```
    pub fn secret_access_rule(
        mut self,
        rule: impl Fn(&Validated, &EntityId, SecretOperation) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.secret_access_rule = Some(Rule(Arc::new(rule)));
        self
    }

    /// The most that a bearer may give to a session that it starts, or to an exchange that it widens,
    /// of what its own list holds: all of it. Set it where bearers hold more than customers should
    /// ever get.
    pub fn delegable_acl(mut self, acl: Acl) -> Self {
        self.delegable_acl = Some(acl);
        self
    }

    /// What the host asks of a password beyond its length, as that it is not in a list of known
    /// ones. The error is what is wrong with it, and is told to whoever chose it. Nothing, by
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
        self.password_rule = Some(Rule(Arc::new(rule)));
        self
    }

    /// The proxies in front of the host, as networks in CIDR notation or single addresses: none.
    /// What these say in `X-Forwarded-For` is taken for a client's address, and from anybody else it
    /// is not. Behind a proxy that is not named here, all clients count as one address. All addresses
    /// together, such as `0.0.0.0/0`, are an error when the service is built.
    pub fn trusted_proxies<T: Into<String>>(
        mut self,
        networks: impl IntoIterator<Item = T>,
    ) -> Self {
        self.trusted_proxies = ProxySetting::networks(networks);
        self
    }

    /// Trusts `X-Forwarded-For` from every peer. Every client then chooses its own address: no
    /// guesses are counted by address, and those of others can be made to count against anybody's.
    pub fn dangerous_trust_any_proxy(mut self) -> Self {
        self.trusted_proxies = ProxySetting::Any;
        self
    }

    /// What the `type` of a problem begins with (RFC 9457 §3.1.1). By default it is a URN, since
    /// this crate cannot know where a host documents its problems.
    pub fn problem_type_base(mut self, base: impl Into<String>) -> Self {
        self.problem_type_base = base.into();
        self
    }
}
