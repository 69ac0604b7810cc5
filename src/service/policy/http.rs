use std::time::Duration;

use crate::service::policy::MINUTE;
use crate::token::acl::ORGANIZATION;
use crate::validate::proxies::ProxySetting;

settings! {
    /// What the routes read of requests, and what they send.
    Http {
        /// Whether `ver` and `timestamp` may be left out of requests for secrets, as the request collection
        /// that is documented with the routes does. Off: the routes themselves are documented with both.
        /// What a request has of them is checked all the same, and `txnId` is required.
        optional_envelope: bool = false,
        /// How far a request's `timestamp` may be from now. Off: clocks of clients are wrong. The
        /// field's usual limit is 15 minutes.
        timestamp_skew: Option<Duration> = None,
        /// The longest request body, in bytes: 16 KiB, several times what any request needs.
        max_body_len: usize = 16 * 1024,
        /// How long a request's body may take to arrive: 10 seconds.
        body_deadline: Duration = Duration::from_secs(10),
        /// How long others may keep the published keys: 5 minutes.
        jwks_max_age: Duration = 5 * MINUTE,
    }
    also {
        organization_parameter: String = ORGANIZATION.to_owned(),
        trusted_proxies: ProxySetting = ProxySetting::default(),
        problem_type_base: String = "urn:problem-type:countersign:".to_owned(),
    }
}

impl Http {
    /// The path parameter that names an organization where the router is mounted below one, and in the
    /// host's own handlers that take a [`RequestContext`](crate::RequestContext): `organizationId`.
    /// The router rejects every request with a 500 where it is mounted below another parameter: it
    /// would confine nothing.
    pub fn organization_parameter(mut self, name: impl Into<String>) -> Self {
        self.organization_parameter = name.into();
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
