use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response};
use tower_service::Service;

use crate::domain::claims::Validated;
use crate::domain::session::AuthenticationToken;
use crate::error::{Error, ErrorKind};
use crate::http::bearer::{Credentials, credentials};
use crate::http::cookie::{Cookie, find};
use crate::http::refusal::{ProblemDetails, Refusal, RefusalReason, Refuse};
use crate::http::validate::Anonymous;
use crate::service::TokenService;

/// Turns authentication tokens into JWTs on their way in; see the [module docs](crate::layers::exchange).
#[derive(Clone, Debug)]
pub struct Exchange<S, R = ProblemDetails> {
    pub(super) inner: S,
    pub(super) tokens: TokenService,
    pub(super) cookie: Arc<str>,
    pub(super) required: bool,
    pub(super) refuse: R,
}

/// What a request brings.
enum Presented {
    Nothing,
    Jwt(String),
    Session(AuthenticationToken),
}

/// What a request is let through with.
struct Authenticated {
    validated: Arc<Validated>,
    authorization: HeaderValue,
}

impl<S, R> Exchange<S, R> {
    fn presented(&self, headers: &HeaderMap) -> Result<Presented, RefusalReason> {
        let text = match credentials(headers) {
            Credentials::Malformed => return Err(RefusalReason::MalformedCredentials),
            Credentials::Bearer(token) => token,
            Credentials::Absent => match find(headers, &self.cookie) {
                Cookie::Ambiguous => return Err(RefusalReason::MalformedCredentials),
                Cookie::Value(value) => value,
                Cookie::Absent => return Ok(Presented::Nothing),
            },
        };
        // An authentication token is base64url, which has no dots.
        if text.contains('.') {
            return Ok(Presented::Jwt(text.to_owned()));
        }
        AuthenticationToken::from_text(text)
            .map(Presented::Session)
            .map_err(|_| RefusalReason::UnknownSession)
    }
}

async fn authenticate(
    tokens: &TokenService,
    presented: Presented,
) -> Result<Option<Authenticated>, Refusal> {
    let realm = tokens.issuer();
    let (validated, jwt) = match presented {
        Presented::Nothing => return Ok(None),
        Presented::Jwt(jwt) => {
            let validated = tokens.validator().validate(&jwt);
            let refused = |fault| Refusal::new(RefusalReason::InvalidToken(fault), realm);
            (validated.map_err(refused)?, jwt)
        }
        Presented::Session(token) => {
            let phantom = tokens.phantom_token(&token, None).await;
            let phantom = phantom.map_err(|error| refusal(&error, realm))?;
            (Arc::clone(&phantom.validated), phantom.token.expose().to_owned())
        }
    };
    let authorization = HeaderValue::try_from(format!("Bearer {jwt}"));
    let mut authorization =
        authorization.map_err(|_| Refusal::new(RefusalReason::Internal, realm))?;
    authorization.set_sensitive(true);
    Ok(Some(Authenticated { validated, authorization }))
}

fn refusal(error: &Error, realm: &str) -> Refusal {
    match error.kind() {
        // A session whose tokens were taken back is as good as none.
        ErrorKind::NotFound | ErrorKind::InvalidToken => {
            Refusal::new(RefusalReason::UnknownSession, realm)
        }
        ErrorKind::OneTimePasswordRequired => {
            Refusal::new(RefusalReason::OneTimePasswordRequired, realm)
        }
        ErrorKind::Unavailable | ErrorKind::Overloaded => {
            Refusal::unavailable(realm, error.retry_after())
        }
        _ => {
            tracing::error!(%error, "an authentication token cannot be exchanged");
            Refusal::new(RefusalReason::Internal, realm)
        }
    }
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for Exchange<S, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    R: Refuse<ResBody> + Clone + Send + 'static,
    ReqBody: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        // The service that `poll_ready` made ready is the one to call; its clone stays behind.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let presented = self.presented(request.headers());
        let (tokens, refuse, required) = (self.tokens.clone(), self.refuse.clone(), self.required);
        Box::pin(async move {
            let outcome = match presented {
                Ok(presented) => authenticate(&tokens, presented).await,
                Err(reason) => Err(Refusal::new(reason, tokens.issuer())),
            };
            match outcome {
                Ok(Some(Authenticated { validated, authorization })) => {
                    request.extensions_mut().insert(validated);
                    request.headers_mut().insert(AUTHORIZATION, authorization);
                }
                Ok(None) if required => {
                    let refusal = Refusal::new(RefusalReason::MissingCredentials, tokens.issuer());
                    return Ok(refuse.refuse(&refusal));
                }
                Ok(None) => {
                    let realm = tokens.issuer().into();
                    request.extensions_mut().insert(Anonymous { realm });
                }
                Err(refusal) => return Ok(refuse.refuse(&refusal)),
            }
            inner.call(request).await
        })
    }
}
