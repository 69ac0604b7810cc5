use std::sync::Arc;

use crate::service::policy::{NameNormalization, Rule};

settings! {
    /// Names, subject ids and organizations of principals.
    Principals {
        /// Sets whether principals, sessions and tokens must name an organization: one, or
        /// [`Organization::All`](crate::Organization::All). Default: no, for apps without tenants. Turn it on in an
        /// app with tenants: without it, a principal whose organization was forgotten is bound to none, and has
        /// access to every tenant.
        ///
        /// If on, [`register`](crate::TokenService::register), [`issue`](crate::TokenService::issue) and
        /// [`start_session`](crate::TokenService::start_session) reject a principal without an organization. So do
        /// logins of principals that were registered without one before, and validation of trusted issuers' tokens
        /// that are mapped without one.
        organization_required: bool = false,
        /// Sets whether `register` rejects a name that looks like a registered one of the same kind of principal, for
        /// users and customers' credentials in the same organization:
        /// equal except for case, blanks, invisible characters or look-alike letters (UTS 39 §4). Default: yes, since
        /// people mistake `Jane`, or `jane` with a Cyrillic letter, for `jane`, and so does a database that ignores
        /// case. Some names that people can tell apart count as alike: `0` and `o`, `1` and `l`, `m` and `rn`.
        ///
        /// Principals that are registered already stay registered. A login compares the name exactly as written, or as
        /// [`normalize_names`](Self::normalize_names) makes it.
        /// Names registered while this was off are not compared with later ones.
        distinct_names: bool = true,
        /// Sets whether the `sub` of users' tokens is the [`subject_id`](crate::Entity::subject_id), which is
        /// generated at registration, instead of the name. Default: no, since the documented `sub` is the name. If
        /// on, a user who is registered under the name of a removed user has another
        /// [`principal`](crate::Validated::principal), so a host that keys its data by the principal does not give
        /// the former user's data to the new one.
        ///
        /// A user who was registered by an earlier release has no such id and keeps the name. The `sub` of customers'
        /// tokens is the customer's id, and that of machine clients their id, which is also the `client_id`: do not
        /// assign either of them twice.
        ///
        /// It can be turned on and off at any time: revoking a registered user's tokens revokes those with either
        /// `sub`. `revoke_subject` does so if it is given the name. The name cannot be looked up from the id in a
        /// `sub`, so a handler that changes a password has to ask for the name as well. The `sub` of a
        /// [`Grant`](crate::Grant) is what the host sets. The audit log shows the name at a login and the `sub` when
        /// a token is presented, with the same `jti`.
        opaque_subjects: bool = false,
    }
    also {
        normalize_names: Option<Rule<NameNormalization>> = None,
    }
}

impl Principals {
    /// Sets how the names of users and of customers' credentials are normalized. Default: not at all; a name is used
    /// exactly as written. `normalize` returns the name to use, or `None` for a text that is no name.
    ///
    /// It is applied wherever such a name comes in, by a route or a call: at registrations, logins and changes of a
    /// password, to each [`EntityId`](crate::EntityId) that a method takes, to the subject of a user's
    /// [`Grant`](crate::Grant), and by [`principal`](crate::TokenService::principal). The normalized name is stored and
    /// is the `sub` of tokens, and failed logins are counted by it. The ids of machine clients and customers stay as they
    /// are.
    ///
    /// Registering a name fails if `normalize` returns `None` for it, or would change its own result when applied
    /// again. A login with such a name is rejected like one with an unknown name. Set the function before the first
    /// registration, and keep the same one on all nodes: a principal cannot be found any more if the function changes
    /// its stored name.
    ///
    /// ```
    /// use countersign::Policy;
    ///
    /// let policy = Policy::default().principals(|principals| {
    ///     principals.normalize_names(|name| Some(name.trim().to_lowercase()))
    /// });
    /// ```
    pub fn normalize_names(
        mut self,
        normalize: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.normalize_names = Some(Rule(Arc::new(normalize)));
        self
    }
}
