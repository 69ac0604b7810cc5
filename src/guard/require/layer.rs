use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;

use crate::error::Error;
use crate::guard::admission::Kinds;
use crate::guard::require::Require;
use crate::token::claims::{SubjectType, Validated};

/// Mounts [`Require`] on a service: only requests whose token grants a permission pass.
///
/// ```
/// use countersign::RequireLayer;
///
/// let layer = RequireLayer::new("GetOrders").scope_from_path("organizationId");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RequireLayer {
    rule: Arc<Rule>,
}

/// The check that a token has to pass.
#[derive(Clone)]
pub(super) struct Rule {
    pub(super) asked: Asked,
    pub(super) kinds: Kinds,
    pub(super) scope: Vec<(Arc<str>, ScopeSource)>,
    pub(super) in_own_organization: bool,
}

/// The permissions that a token has to grant.
#[derive(Clone)]
pub(super) enum Asked {
    All(Vec<Arc<str>>),
    Any(Vec<Arc<str>>),
    /// The decision of the host's closure.
    Check(Arc<Check>),
}

/// Decides whether a caller may do what a request asks for.
pub(super) type Check = dyn Fn(Arc<Validated>, &Parts) -> Checking + Send + Sync;
pub(super) type Checking = Pin<Box<dyn Future<Output = Result<bool, Error>> + Send>>;

/// The source of a scope's value.
#[derive(Clone)]
pub(super) enum ScopeSource {
    Path,
    Request(Arc<ReadScope>),
}

/// Reads a scope's value from the request.
pub(super) type ReadScope = dyn Fn(&Parts) -> Option<String> + Send + Sync;

impl RequireLayer {
    /// Creates a layer that requires `permission`.
    pub fn new(permission: impl Into<Arc<str>>) -> Self {
        Self::of(Asked::All(vec![permission.into()]))
    }

    /// Creates a layer that requires all of these permissions.
    pub fn all_of<P: Into<Arc<str>>>(permissions: impl IntoIterator<Item = P>) -> Self {
        Self::of(Asked::All(permissions.into_iter().map(Into::into).collect()))
    }

    /// Creates a layer that requires one of these permissions.
    pub fn any_of<P: Into<Arc<str>>>(permissions: impl IntoIterator<Item = P>) -> Self {
        Self::of(Asked::Any(permissions.into_iter().map(Into::into).collect()))
    }

    /// Creates a layer that calls an async closure, which may use captured values such as a database or another
    /// service. If it returns `false`, the request is rejected with a 403 and an event in the audit log; an error is
    /// returned with the status of its kind.
    ///
    /// ```
    /// # #[derive(Clone)] struct Todos;
    /// # impl Todos {
    /// #     async fn is_shared_with(&self, _: &str, _: String) -> Result<bool, countersign::Error> { Ok(true) }
    /// # }
    /// # fn layer(todos: Todos) -> countersign::RequireLayer {
    /// use countersign::RequireLayer;
    ///
    /// RequireLayer::check(move |caller, request| {
    ///     let (todos, path) = (todos.clone(), request.uri.path().to_owned());
    ///     async move { todos.is_shared_with(&path, caller.principal().to_string()).await }
    /// })
    /// # }
    /// ```
    pub fn check<F>(check: impl Fn(Arc<Validated>, &Parts) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<bool, Error>> + Send + 'static,
    {
        Self::of(Asked::Check(Arc::new(move |caller, request| Box::pin(check(caller, request)))))
    }

    fn of(asked: Asked) -> Self {
        let (kinds, scope) = (Kinds::ALL, Vec::new());
        Self { rule: Arc::new(Rule { asked, kinds, scope, in_own_organization: false }) }
    }

    /// Requires the permission for the value of axum's path parameter named `key`, and passes that value on to the
    /// handler: see [`CheckedScope`].
    ///
    /// Mount the layer with `route_layer`, or on a router that is nested below the parameter: path parameters exist
    /// only after routing. A route that lacks the parameter, or has it twice, responds with a 500, and an error in
    /// the log names the parameter. Requires the feature `axum`.
    ///
    /// [`CheckedScope`]: crate::layers::require::CheckedScope
    pub fn scope_from_path(self, key: impl Into<Arc<str>>) -> Self {
        self.scope_from(key.into(), ScopeSource::Path)
    }

    /// Requires the permission for the value of `key` that `read` returns, and passes that value on to the handler:
    /// see [`CheckedScope`]. If `read` returns `None`, the permission is required without this key, which an ACL that
    /// is not scoped by it satisfies.
    ///
    /// The handler must act on the value that was checked. If it reads the request itself, it may find another value:
    /// of two headers or query parameters of one name, each reader may pick a different one.
    ///
    /// ```
    /// use countersign::RequireLayer;
    /// use countersign::layers::require::CheckedScope;
    ///
    /// let layer = RequireLayer::new("GetPlan").scope("planId", |request| {
    ///     request.uri.query()?.strip_prefix("plan=").map(str::to_owned)
    /// });
    /// async fn plan(scope: CheckedScope) -> String {
    ///     match scope.get("planId") {
    ///         Some(plan) => format!("the plan {plan}"),
    ///         None => "all plans".to_owned(),
    ///     }
    /// }
    /// ```
    ///
    /// [`CheckedScope`]: crate::layers::require::CheckedScope
    pub fn scope(
        self,
        key: impl Into<Arc<str>>,
        read: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.scope_from(key.into(), ScopeSource::Request(Arc::new(read)))
    }

    /// Requires the permission in the caller's own organization, for a handler that acts only in
    /// `principal().organization()`. For a caller that is bound to no organization, nothing is added to the scope.
    ///
    /// Without this, or a scope with the key `organizationId`, a caller that is bound to an organization is rejected:
    /// see [`Validated::allows`](crate::Validated::allows).
    pub fn in_own_organization(mut self) -> Self {
        Arc::make_mut(&mut self.rule).in_own_organization = true;
        self
    }

    /// Admits only these kinds of principals. Default: all.
    pub fn only(mut self, kinds: impl IntoIterator<Item = SubjectType>) -> Self {
        Arc::make_mut(&mut self.rule).kinds = Kinds::of(kinds);
        self
    }

    fn scope_from(mut self, key: Arc<str>, source: ScopeSource) -> Self {
        Arc::make_mut(&mut self.rule).scope.push((key, source));
        self
    }
}

impl<S> Layer<S> for RequireLayer {
    type Service = Require<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Require { inner, rule: Arc::clone(&self.rule) }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.scope.iter().map(|(key, _)| key).collect();
        let permissions = match &self.asked {
            Asked::All(permissions) | Asked::Any(permissions) => &**permissions,
            Asked::Check(_) => &[],
        };
        f.debug_struct("Rule").field("permissions", &permissions).field("scope", &keys).finish()
    }
}
