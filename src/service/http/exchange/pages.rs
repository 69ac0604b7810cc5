//! The responses to rejected requests by which a browser opens a page: a visitor who could log in gets the login
//! page instead of an error status.

use axum_core::body::Body;
use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};

use crate::guard::shaping::{Shaping, finish, replace};
use crate::rejection::Rejection;

/// How the rejections of one request are responded to, with the address of the login page if it opens a page.
pub(super) struct PageShaping {
    pub(super) shaping: Shaping,
    pub(super) login: Option<HeaderValue>,
}

impl PageShaping {
    pub(super) fn reject(&self, rejection: Rejection) -> Response<Body> {
        match self.to_login(&rejection) {
            Some(redirect) => redirect,
            None => self.shaping.reject(rejection),
        }
    }

    /// Shapes the rejection that a response was made from, if any.
    pub(super) fn apply(&self, response: Response<Body>) -> Response<Body> {
        let rejection = response.extensions().get::<Rejection>();
        match rejection.and_then(|rejection| self.to_login(rejection)) {
            Some(redirect) => replace(response, redirect),
            None => self.shaping.apply(response),
        }
    }

    fn to_login(&self, rejection: &Rejection) -> Option<Response<Body>> {
        let location = self.login.clone()?;
        if rejection.status() != StatusCode::UNAUTHORIZED {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(LOCATION, location);
        Some(finish(response, rejection))
    }
}
