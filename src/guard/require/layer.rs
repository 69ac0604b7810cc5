use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;

use crate::guard::admission::Kinds;
use crate::guard::rejection::ProblemDetails;
use crate::guard::require::Require;
use crate::token::claims::SubjectType;

/// Mounts [`Require`] on a service: only requests whose token grants a permission pass.
///
/// ```
/// use countersign::RequireLayer;
///
/// let layer = RequireLayer::new("GetOrders").scope_from_path("organizationId");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RequireLayer<R = ProblemDetails> {
    rule: Arc<Rule>,
    reject: R,
}

/// What is asked of a token.
#[derive(Clone)]
pub(super) struct Rule {
    pub(super) permission: Arc<str>,
    pub(super) kinds: Kinds,
    pub(super) scope: Vec<(Arc<str>, ScopeSource)>,
    pub(super) in_own_organization: bool,
}

/// Where a scope's value comes from.
#[derive(Clone)]
pub(super) enum ScopeSource {
    Path,
    Request(Arc<ReadScope>),
}

/// Reads a scope's value off a request.
pub(super) type ReadScope = dyn Fn(&Parts) -> Option<String> + Send + Sync;

impl RequireLayer {
    /// Creates a layer that asks for `permission`.
    pub fn new(permission: impl Into<Arc<str>>) -> Self {
        let rule = Rule {
            permission: permission.into(),
            kinds: Kinds::ALL,
            scope: Vec::new(),
            in_own_organization: false,
        };
        Self { rule: Arc::new(rule), reject: ProblemDetails }
    }
}

impl<R> RequireLayer<R> {
    /// Asks for the permission where the scope's `key` has the value of axum's path parameter of
    /// that name, and leaves that value for the handler: see [`CheckedScope`].
    ///
    /// Mount the layer with `route_layer`, or on a router that is nested below the parameter: before a
    /// route is found, there are no parameters. A route that has no such parameter, or two of them, is
    /// a 500, with a line in the log that names it. It takes the feature `axum`.
    ///
    /// [`CheckedScope`]: crate::layers::require::CheckedScope
    pub fn scope_from_path(self, key: impl Into<Arc<str>>) -> Self {
        self.scope_from(key.into(), ScopeSource::Path)
    }

    /// Asks for the permission where the scope's `key` has the value that `read` finds, and leaves
    /// that value for the handler: see [`CheckedScope`]. Where it finds none, the key is not asked for.
    ///
    /// The handler has to act on the value that was checked. One that reads the request by itself may
    /// find another one: of two headers or query parameters of one name, each reader picks its own.
    ///
    /// ```
    /// use countersign::RequireLayer;
    /// use countersign::layers::require::CheckedScope;
    ///
    /// let layer = RequireLayer::new("GetPlan").scope("planId", |request| {
    ///     request.uri.query()?.strip_prefix("plan=").map(str::to_owned)
    /// });
    /// async fn plan(scope: CheckedScope) -> String {
    ///     scope.get("planId").unwrap_or("all plans").to_owned()
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

    /// Asks for the permission in the caller's own organization, for a handler that acts in
    /// `principal().organization()` and in no other. For a caller who is bound to none, nothing is
    /// added to the scope.
    ///
    /// Without this or a scope that has the key `organizationId`, a caller who is bound to an
    /// organization is rejected: see [`Validated::allows`](crate::Validated::allows).
    pub fn in_own_organization(mut self) -> Self {
        Arc::make_mut(&mut self.rule).in_own_organization = true;
        self
    }

    /// Admits these kinds of principals alone; all, unless told.
    pub fn only(mut self, kinds: impl IntoIterator<Item = SubjectType>) -> Self {
        Arc::make_mut(&mut self.rule).kinds = Kinds::of(kinds);
        self
    }

    fn scope_from(mut self, key: Arc<str>, source: ScopeSource) -> Self {
        Arc::make_mut(&mut self.rule).scope.push((key, source));
        self
    }

    /// Shapes what is answered to requests that are rejected; see [`Reject`](crate::Reject).
    pub fn reject_with<F>(self, reject: F) -> RequireLayer<F> {
        RequireLayer { rule: self.rule, reject }
    }
}

impl<S, R: Clone> Layer<S> for RequireLayer<R> {
    type Service = Require<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Require { inner, rule: Arc::clone(&self.rule), reject: self.reject.clone() }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.scope.iter().map(|(key, _)| key).collect();
        f.debug_struct("Rule").field("permission", &self.permission).field("scope", &keys).finish()
    }
}
