settings! {
    /// What registered principals are called, and whose they are.
    Principals {
        /// Whether principals, sessions and tokens have to say which organizations they belong to: one,
        /// or [`Organization::All`](crate::Organization::All). Off: an app without tenants has none. In
        /// an app with tenants, turn it on: what begins bound to none, and was forgotten, has access to
        /// every tenant.
        ///
        /// [`register`](crate::TokenService::register), [`issue`](crate::TokenService::issue) and
        /// [`start_session`](crate::TokenService::start_session) reject what says nothing, and so do
        /// logins of principals that were registered so before, and tokens of trusted issuers that are mapped so.
        organization_required: bool = false,
        /// Whether `register` rejects a name that looks like a registered one of the same kind of principal: equal
        /// but for case, blanks, invisible characters, or look-alike letters (UTS 39 §4). On: people mistake `Jane`,
        /// and `jane` with a Cyrillic letter, for `jane`, and so does a database that ignores case. Some names that
        /// people can tell apart count as alike: `0` and `o`, `1` and `l`, `m` and `rn`.
        ///
        /// Principals that are registered already stay registered. A login compares the name exactly as written.
        /// Names registered while this was off are not compared with later ones.
        distinct_names: bool = true,
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
        /// way. `revoke_subject` does, too, where it is given the name; the id in a `sub` leads to no name, so that
        /// a handler that changes a password asks for the name as well. A
        /// [`Grant`](crate::Grant) carries what the host gives it, and the audit log shows the name where a
        /// user logs in, and the `sub` where a token is presented, with one `jti`.
        opaque_subjects: bool = false,
    }
    also {
    }
}
