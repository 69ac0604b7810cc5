//! axum's path parameters, for layers and extractors.

use http::Extensions;

/// The reason why a path parameter has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathFault {
    /// Whether the path has no parameter of that name.
    pub(crate) is_absent: bool,
    /// The mistake in the host's setup. `None` if no route matched, so that a fallback responds, or if a value is
    /// not UTF-8.
    pub(crate) problem: Option<&'static str>,
}

#[cfg(feature = "axum")]
pub(crate) fn path_parameter(extensions: &mut Extensions, name: &str) -> Result<String, PathFault> {
    use self::with_axum::without_parameters;

    let Some(parameters) = path_parameters(extensions)? else {
        return Err(without_parameters(extensions));
    };
    let mut values = parameters.iter().filter(|(key, _)| *key == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.to_owned()),
        // axum's `Path` would return the last of them.
        (Some(_), Some(_)) => {
            Err(PathFault { is_absent: false, problem: Some("the route has two of that name") })
        }
        (None, _) => Err(without_parameters(extensions)),
    }
}

/// Without axum, no path has parameters.
#[cfg(not(feature = "axum"))]
pub(crate) fn path_parameter(_: &mut Extensions, _: &str) -> Result<String, PathFault> {
    Err(PathFault { is_absent: true, problem: Some("they are read with the feature `axum`") })
}

#[cfg(feature = "axum")]
pub(crate) use self::with_axum::path_parameters;

#[cfg(feature = "axum")]
mod with_axum {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use axum::extract::rejection::RawPathParamsRejection;
    use axum::extract::{FromRequestParts as _, MatchedPath, OriginalUri, RawPathParams};
    use http::{Extensions, Request};

    use crate::guard::path::PathFault;

    /// Returns the parameters of all routes that matched; `None` if no router has matched.
    pub(crate) fn path_parameters(
        extensions: &mut Extensions,
    ) -> Result<Option<RawPathParams>, PathFault> {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.extensions = std::mem::take(extensions);
        // axum reads them from the extensions, so the future is ready at once.
        let read = pin!(RawPathParams::from_request_parts(&mut parts, &()))
            .poll(&mut Context::from_waker(Waker::noop()));
        *extensions = parts.extensions;
        match read {
            Poll::Ready(Ok(parameters)) => Ok(Some(parameters)),
            Poll::Ready(Err(RawPathParamsRejection::InvalidUtf8InPathParam(_))) => {
                Err(PathFault { is_absent: false, problem: None })
            }
            Poll::Ready(Err(_)) | Poll::Pending => Ok(None),
        }
    }

    /// Returns why a parameter is missing.
    pub(super) fn without_parameters(extensions: &Extensions) -> PathFault {
        let problem = if extensions.get::<MatchedPath>().is_some() {
            Some("the route has none of that name")
        } else if extensions.get::<OriginalUri>().is_some() {
            None
        } else {
            Some("no router has seen the request: mount it inside of the router")
        };
        PathFault { is_absent: true, problem }
    }
}
