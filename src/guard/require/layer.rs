use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;

use crate::guard::rejection::ProblemDetails;
use crate::guard::require::Require;

/// Mounts [`Require`] on a service: only requests whose token grants a permission pass.
///
/// ```
/// use countersign::RequireLayer;
///
/// let layer = RequireLayer::new("GetOrders")
///     .scope("organizationId", |request| {
///         Some(request.headers.get("x-organization")?.to_str().ok()?.to_owned())
///     });
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
    pub(super) scope: Vec<(String, ReadScope)>,
}

/// Reads a scope's value off a request.
pub(super) type ReadScope = Arc<dyn Fn(&mut Parts) -> Option<String> + Send + Sync>;

impl RequireLayer {
    /// Creates a layer that asks for `permission`.
    pub fn new(permission: impl Into<Arc<str>>) -> Self {
        let rule = Rule { permission: permission.into(), scope: Vec::new() };
        Self { rule: Arc::new(rule), reject: ProblemDetails }
    }
}

impl<R> RequireLayer<R> {
    /// Asks for the permission where the scope's `key` has the value that `read` finds.
    pub fn scope(
        self,
        key: impl Into<String>,
        read: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.scope_with(key.into(), Arc::new(move |parts| read(parts)))
    }

    pub(super) fn scope_with(mut self, key: String, read: ReadScope) -> Self {
        Arc::make_mut(&mut self.rule).scope.push((key, read));
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
