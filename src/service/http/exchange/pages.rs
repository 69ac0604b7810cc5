//! The responses to rejected requests where a browser opens a page: nobody who could log in is told a status.

use axum_core::body::Body;
use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};

use crate::guard::shaping::{Shaping, finish, replace};
use crate::rejection::Rejection;

/// How rejections of one request are answered, with the address of the login page if it opens a page.
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

    /// Shapes the rejection that a response is made of, if it is.
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
