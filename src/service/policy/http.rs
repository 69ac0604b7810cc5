use std::time::Duration;

use crate::service::policy::MINUTE;
use crate::token::acl::ORGANIZATION;
use crate::validate::proxies::TrustedProxies;

settings! {
    /// What the routes accept and send, and the trusted proxies.
    Http {
        /// Sets whether requests for secrets may omit `ver` and `timestamp`, as those in the documented request
        /// collection do. Default: no, since the documentation of the routes has both. If present, they are checked
        /// in any case. `txnId` is always required.
        optional_envelope: bool = false,
        /// Sets how far a request's `timestamp` may differ from the present. Default: no limit, since clients' clocks
        /// are often wrong. A usual limit is 15 minutes.
        timestamp_skew: Option<Duration> = None,
        /// Sets the maximum length of a request body, in bytes. Default: 16 KiB, several times what any request
        /// needs.
        max_body_len: usize = 16 * 1024,
        /// Sets the timeout of receiving a request body. Default: 10 seconds.
        body_deadline: Duration = Duration::from_secs(10),
        /// Sets how long clients may cache the published keys. Default: 5 minutes.
        jwks_max_age: Duration = 5 * MINUTE,
        /// Sets the proxies in front of the host. Default: none.
        trusted_proxies: TrustedProxies = TrustedProxies::default(),
    }
    also {
        organization_parameter: String = ORGANIZATION.to_owned(),
        problem_type_base: String = "urn:problem-type:countersign:".to_owned(),
    }
}

impl Http {
    /// Sets the name of the path parameter that names the organization, both for the router, if it is mounted below
    /// that parameter, and for the host's handlers that take a [`RequestContext`](crate::RequestContext). Default:
    /// `organizationId`. A router that is mounted below another parameter responds to every request with a 500, since
    /// it would not be confined to an organization.
    pub fn organization_parameter(mut self, name: impl Into<String>) -> Self {
        self.organization_parameter = name.into();
        self
    }

    /// Sets the prefix of a problem's `type` (RFC 9457 §3.1.1). Default: a URN, since this crate does not know where
    /// a host documents its problems.
    pub fn problem_type_base(mut self, base: impl Into<String>) -> Self {
        self.problem_type_base = base.into();
        self
    }
}
