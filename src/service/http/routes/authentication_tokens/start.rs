//! `POST /authentication-tokens`

use axum::extract::{Request, State};
use axum_core::response::Response;
use http::StatusCode;
use serde_json::{Map, Value};

use crate::error::InvalidField;
use crate::guard::authenticate::Authenticator;
use crate::service::http::routes::authentication_tokens::{body_of, idempotency_key};
use crate::service::http::routes::body::{Media, receive};
use crate::service::http::routes::error::RouteError;
use crate::service::http::routes::fields::Fields;
use crate::service::http::routes::problem;
use crate::service::http::routes::response;
use crate::service::http::routes::route_context::RouteContext;
use crate::service::model::password::Password;
use crate::service::session::CustomerLogin;
use crate::service::session::new::SessionEnd;
use crate::service::{NewSession, StartedSession, TokenService};
use crate::token::identifier::CustomerId;
use crate::token::text::RULE;

/// Starts a session: for a name and password, or for the customer that a bearer names.
pub(in crate::service::http::routes) async fn start(
    State(tokens): State<TokenService>,
    request: Request,
) -> Response {
    problem::answer(&tokens, try_start(&tokens, request).await)
}

async fn try_start(tokens: &TokenService, request: Request) -> Result<Response, RouteError> {
    let (mut parts, body) = request.into_parts();
    let route = RouteContext::read(tokens, &mut parts).await?;
    let received = receive(&parts.headers, body, &[Media::Json], tokens.policy()).await?;
    let members = received.members()?;
    let StartedSession { token, session, .. } = match Mode::read(&members)? {
        Mode::Password => {
            let login = CustomerLogin {
                idempotency_key: idempotency_key(&parts.headers),
                ..read_login(&members)?
            };
            tokens.log_in_customer(login, &route.request).await?
        }
        Mode::Passwordless => {
            // The caller is authenticated first: others must not learn the faults of the request.
            let bearer = Authenticator::of(tokens.validator(), &parts).required()?;
            let new = NewSession {
                idempotency_key: idempotency_key(&parts.headers),
                ..read_session(&members)?
            };
            tokens.start_session(&bearer, new, &route.request).await?
        }
    };
    Ok(response::json(StatusCode::CREATED, &body_of(tokens, session.record(), Some(&token))))
}

/// What authenticates the customer.
enum Mode {
    Password,
    /// A bearer with the permission names the customer.
    Passwordless,
}

impl Mode {
    /// Reads the mode. It may be absent from a body that names a customer and has no field of a password login.
    fn read(members: &Map<String, Value>) -> Result<Self, RouteError> {
        let is_login = ["username", "password"].iter().any(|name| members.contains_key(*name));
        match Fields::of(members).text("mode")? {
            None if !is_login && members.contains_key("customerId") => Ok(Self::Passwordless),
            None | Some("password") => Ok(Self::Password),
            Some("passwordless") => Ok(Self::Passwordless),
            Some(_) => {
                let message = "must be `password` or `passwordless`";
                Err(vec![InvalidField::new("mode", message)].into())
            }
        }
    }
}

fn read_login(members: &Map<String, Value>) -> Result<CustomerLogin, String> {
    let mut fields = Fields::of(members);
    let username = fields.required("username", |name| Ok(name.to_owned()))?;
    let too_long = "must be at most 1024 bytes long";
    Ok(CustomerLogin {
        username: username.unwrap_or_default(),
        password: fields.required("password", |text| Password::new(text).map_err(|_| too_long))?,
        otp_required: fields.flag("otpRequired")?.unwrap_or(false),
        expires_at: fields.time("expiredTime")?,
        idempotency_key: None,
        invalid: fields.into_invalid(),
    })
}

fn read_session(members: &Map<String, Value>) -> Result<NewSession, String> {
    let mut fields = Fields::of(members);
    Ok(NewSession {
        customer_id: fields.required("customerId", |id| CustomerId::new(id).map_err(|_| RULE))?,
        organization: None,
        otp_required: fields.flag("otpRequired")?.unwrap_or(false),
        ends: fields.time("expiredTime")?.map_or(SessionEnd::ByPolicy, SessionEnd::At),
        acl: fields.acl()?.unwrap_or_default(),
        custom_claims: fields.object("customClaims")?.cloned().unwrap_or_default(),
        token: None,
        idempotency_key: None,
        invalid: fields.into_invalid(),
    })
}
