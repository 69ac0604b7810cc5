//! `POST /authentication-tokens`

use axum::extract::{Request, State};
use axum_core::response::Response;
use http::StatusCode;
use serde_json::{Map, Value};

use crate::error::InvalidField;
use crate::guard::authenticate::Authenticator;
use crate::service::http::routes::authentication_tokens::body_of;
use crate::service::http::routes::body::{Media, receive};
use crate::service::http::routes::fields::Fields;
use crate::service::http::routes::mount::Mount;
use crate::service::http::routes::problem::{self, Refused};
use crate::service::http::routes::response;
use crate::service::model::password::Password;
use crate::service::{CustomerLogin, NewSession, StartedSession, TokenService};
use crate::token::identifier::CustomerId;
use crate::token::text;

/// Starts a session: of whoever has the name and the password, or of whomever a bearer vouches for.
pub(in crate::service::http::routes) async fn start(
    State(tokens): State<TokenService>,
    request: Request,
) -> Response {
    problem::answer(&tokens, try_start(&tokens, request).await)
}

async fn try_start(tokens: &TokenService, request: Request) -> Result<Response, Refused> {
    let (mut parts, body) = request.into_parts();
    let mount = Mount::read(tokens, &mut parts).await;
    let received = receive(&parts.headers, body, &[Media::Json], tokens.policy()).await?;
    let members = received.members()?;
    let StartedSession { token, session } = match Mode::read(&members)? {
        Mode::Password => {
            let login = read_login(&members, tokens)?;
            tokens.log_in_customer(login, &mount.caller).await?
        }
        Mode::Passwordless => {
            // Who asks comes first: what is wrong with the request is not everybody's to know.
            let bearer = Authenticator::of(tokens.validator(), &parts).required()?;
            let new = read_session(&members, tokens)?;
            tokens.start_session_on_behalf_of(&bearer, new, &mount.caller).await?
        }
    };
    Ok(response::json(StatusCode::CREATED, &body_of(&session, Some(&token), &mount.base)))
}

/// What proves who the customer is.
enum Mode {
    Password,
    /// The word of a bearer who may give it.
    Passwordless,
}

impl Mode {
    fn read(members: &Map<String, Value>) -> Result<Self, Refused> {
        match Fields::of(members).text("mode")? {
            None | Some("password") => Ok(Self::Password),
            Some("passwordless") => Ok(Self::Passwordless),
            Some(_) => {
                let message = "must be `password` or `passwordless`";
                Err(Refused::Invalid(vec![InvalidField::new("mode", message)]))
            }
        }
    }
}

fn read_login(
    members: &Map<String, Value>,
    tokens: &TokenService,
) -> Result<CustomerLogin, Refused> {
    let mut fields = Fields::of(members);
    let username = fields.required_text("username")?;
    let password = fields.required_text("password")?.map(Password::new);
    let otp_required = fields.flag("otpRequired")?.unwrap_or(false);
    let expires_at = fields.time("expiredTime")?;
    if let Some(Err(error)) = &password {
        fields.invalid("password", error.message());
    }
    let mut invalid = fields.into_invalid();
    invalid.extend(tokens.login_faults(expires_at, otp_required));
    let (Some(username), Some(Ok(password)), true) = (username, password, invalid.is_empty())
    else {
        return Err(Refused::Invalid(invalid));
    };
    let mut login = CustomerLogin::new(username, password).otp_required(otp_required);
    if let Some(expires_at) = expires_at {
        login = login.expires_at(expires_at);
    }
    Ok(login)
}

fn read_session(
    members: &Map<String, Value>,
    tokens: &TokenService,
) -> Result<NewSession, Refused> {
    let mut fields = Fields::of(members);
    let customer_id = fields.required_text("customerId")?.map(CustomerId::new);
    if let Some(Err(_)) = &customer_id {
        fields.invalid("customerId", text::RULE);
    }
    let otp_required = fields.flag("otpRequired")?.unwrap_or(false);
    let expires_at = fields.time("expiredTime")?;
    let acl = fields.acl()?;
    let custom_claims = fields.object("customClaims")?;
    let mut invalid = fields.into_invalid();
    // What is wrong with the rest is told along with a customer that is missing.
    let customer_id = match customer_id {
        Some(Ok(id)) => id,
        _ => CustomerId::new("-").map_err(|error| error.to_string())?,
    };
    let mut new = NewSession::of(customer_id).otp_required(otp_required);
    if let Some(expires_at) = expires_at {
        new = new.expires_at(expires_at);
    }
    if let Some(acl) = acl {
        new = new.acl(acl);
    }
    if let Some(claims) = custom_claims {
        new = new.custom_claims(claims.clone());
    }
    invalid.extend(tokens.session_faults(&new, tokens.now()));
    if invalid.is_empty() { Ok(new) } else { Err(Refused::Invalid(invalid)) }
}
