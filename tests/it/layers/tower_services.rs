use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::IntoResponse as _;
use countersign::builder::{TokenServiceBuilder, ValidatorBuilder};
use countersign::entities::IssuedSecret;
use countersign::faults::TokenFault;
use countersign::layers::GuardFuture;
use countersign::layers::exchange::Exchange;
use countersign::layers::issue::{IssueFuture, IssueService};
use countersign::layers::require::Require;
use countersign::layers::same_origin::{SameOrigin, SameOriginFuture};
use countersign::layers::validate::Validate;
use countersign::sessions::Session;
use countersign::store::{MemoryStore, StoreError};
use countersign::tokens::{AccessToken, IssuedToken};
use countersign::{
    Acl, AuthenticationToken, Bearer, Entity, Error, ExchangeLayer, ExchangeRequest, Grant, Issue,
    IssueLayer, KeyRing, NewSession, Password, Policy, Rejection, RequireLayer, SameOriginLayer,
    Secret, SubjectType, Timestamp, TokenService, ValidateLayer, Validated, Validator,
};
use http::{HeaderName, Request, Response, StatusCode};
use serde_json::json;
use tower::{Layer, Service, ServiceExt as _, service_fn};

use crate::layers::{bearer, cookie, request_with, session, user_with};
use crate::support::Fixture;

/// Panics where it is called without having been asked whether it is ready, as tower allows.
struct Wary {
    ready: bool,
    response: fn() -> Response<String>,
}

impl Wary {
    fn new(response: fn() -> Response<String>) -> Self {
        Self { ready: false, response }
    }
}

impl Clone for Wary {
    fn clone(&self) -> Self {
        Self { ready: false, response: self.response }
    }
}

impl Service<Request<String>> for Wary {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        assert!(std::mem::replace(&mut self.ready, false), "called before it was ready");
        ready(Ok((self.response)()))
    }
}

/// Calls a service many times, rejected and let through, and clones of it in between.
async fn call_again_and_again<S>(mut service: S, headers: &[(HeaderName, &str)], good: StatusCode)
where
    S: Service<Request<String>, Response = Response<Body>, Error = Infallible> + Clone,
{
    for _ in 0..3 {
        let served = service.ready().await.unwrap().call(request_with(headers)).await.unwrap();
        assert_eq!(served.status(), good);
        service.ready().await.unwrap().call(request_with(&[])).await.unwrap();
        let mut clone = service.clone();
        let served = clone.ready().await.unwrap().call(request_with(headers)).await.unwrap();
        assert_eq!(served.status(), good);
    }
    // Several calls in flight at once, each with a readiness of its own.
    let first = service.ready().await.unwrap().call(request_with(headers));
    let second = service.ready().await.unwrap().call(request_with(headers));
    let (second, first) = (second.await.unwrap(), first.await.unwrap());
    assert_eq!((first.status(), second.status()), (good, good));
}

#[tokio::test]
async fn no_layer_calls_a_service_that_it_has_not_asked_whether_it_is_ready() {
    let fixture = Fixture::new();
    let ok = || Wary::new(|| Response::new("ok".to_owned()));
    let (name, value) = bearer(&user_with(&fixture, json!({}), &["GetOrders"]));
    let user = [(name, value.as_str())];
    let (name, value) = cookie(&session(&fixture).await);
    let customer = [(name, value.as_str())];

    let validate = fixture.tokens.validate_layer();
    call_again_and_again(validate.layer(ok()), &user, StatusCode::OK).await;
    call_again_and_again(validate.clone().optional().layer(ok()), &user, StatusCode::OK).await;
    let require = (validate, fixture.tokens.require_layer("GetOrders"));
    call_again_and_again(require.layer(ok()), &user, StatusCode::OK).await;
    let kinds = [SubjectType::User, SubjectType::Customer];
    let exchange = fixture.tokens.exchange_layer().only(kinds);
    call_again_and_again(exchange.layer(ok()), &user, StatusCode::OK).await;
    call_again_and_again(exchange.layer(ok()), &customer, StatusCode::OK).await;
    call_again_and_again(exchange.optional().layer(ok()), &customer, StatusCode::OK).await;
    let issue = fixture.tokens.issue_layer().as_cookie();
    call_again_and_again(issue.layer(ok()), &[], StatusCode::OK).await;
    let granting = Wary::new(|| {
        Issue::grant(Grant::user("ops@example.com")).into_response().map(|_| String::new())
    });
    call_again_and_again(issue.layer(granting), &[], StatusCode::NO_CONTENT).await;
    let same_origin = fixture.tokens.same_origin_layer();
    call_again_and_again(same_origin.layer(ok()), &[], StatusCode::OK).await;
}

#[tokio::test]
async fn each_middleware_is_made_without_its_layer_and_gives_access_to_the_service_behind_it() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let (name, value) = bearer(&user_with(&fixture, json!({}), &["GetOrders"]));
    let user = [(name, value.as_str())];
    let (name, value) = cookie(&session(&fixture).await);
    let customer = [(name, value.as_str())];
    let ok = || Wary::new(|| Response::new("ok".to_owned()));

    let validate = Validate::new(ok(), tokens.validator().clone());
    call_again_and_again(validate, &user, StatusCode::OK).await;
    let require = Require::new(ok(), "GetOrders");
    let validate = Validate::new(require, tokens.validator().clone());
    call_again_and_again(validate, &user, StatusCode::OK).await;
    let exchange = Exchange::new(ok(), tokens.clone());
    call_again_and_again(exchange, &customer, StatusCode::OK).await;
    let issue = IssueService::new(ok(), tokens.clone());
    call_again_and_again(issue, &[], StatusCode::OK).await;
    let same_origin = SameOrigin::new(ok(), tokens.clone());
    call_again_and_again(same_origin, &[], StatusCode::OK).await;

    macro_rules! assert_gives_access {
        ($($service:expr),+) => {
            $(
                let mut service = $service;
                assert_eq!(*service.get_ref(), 1);
                *service.get_mut() += 1;
                assert_eq!(service.into_inner(), 2);
            )+
        };
    }
    assert_gives_access!(
        Validate::new(1, tokens.validator().clone()),
        Require::new(1, "GetOrders"),
        Exchange::new(1, tokens.clone()),
        IssueService::new(1, tokens.clone()),
        SameOrigin::new(1, tokens.clone())
    );
}

/// Never ready, or broken, as told.
#[derive(Clone)]
struct Unready {
    error: Option<&'static str>,
}

impl Service<Request<String>> for Unready {
    type Response = Response<String>;
    type Error = &'static str;
    type Future = Ready<Result<Response<String>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        self.error.map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        panic!("called before it was ready");
    }
}

#[track_caller]
fn assert_passes_readiness_on<L>(layer: &L)
where
    L: Layer<Unready>,
    L::Service: Service<Request<String>, Error = &'static str>,
{
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut waiting = layer.layer(Unready { error: None });
    assert!(waiting.poll_ready(&mut context).is_pending());
    let mut broken = layer.layer(Unready { error: Some("broken") });
    assert!(matches!(broken.poll_ready(&mut context), Poll::Ready(Err("broken"))));
}

#[test]
fn all_layers_pass_on_whether_the_service_behind_them_is_ready() {
    let fixture = Fixture::new();
    assert_passes_readiness_on(&fixture.tokens.validate_layer());
    assert_passes_readiness_on(&fixture.tokens.require_layer("GetOrders"));
    assert_passes_readiness_on(&fixture.tokens.exchange_layer());
    assert_passes_readiness_on(&fixture.tokens.issue_layer());
    assert_passes_readiness_on(&fixture.tokens.same_origin_layer());
}

#[tokio::test]
async fn all_layers_pass_on_the_errors_of_the_service_behind_them() {
    let fixture = Fixture::new();
    let failing =
        || service_fn(async |_: Request<String>| Err::<Response<String>, _>("the inner error"));
    let (name, value) = bearer(&user_with(&fixture, json!({}), &["*"]));
    let request = || request_with::<String>(&[(name.clone(), &value)]);
    let tokens = &fixture.tokens;
    let error = tokens.validate_layer().layer(failing()).oneshot(request()).await.unwrap_err();
    assert_eq!(error, "the inner error");
    let layer = (tokens.validate_layer(), tokens.require_layer("GetOrders"));
    let error = layer.layer(failing()).oneshot(request()).await.unwrap_err();
    assert_eq!(error, "the inner error");
    let exchange = tokens.exchange_layer().only([SubjectType::User]);
    let exchange = exchange.layer(service_fn(|_: Request<String>| {
        ready(Err::<Response<String>, _>("the inner error"))
    }));
    assert_eq!(exchange.oneshot(request()).await.unwrap_err(), "the inner error");
    let error = tokens.issue_layer().layer(failing()).oneshot(request()).await.unwrap_err();
    assert_eq!(error, "the inner error");
    let error = tokens.same_origin_layer().layer(failing()).oneshot(request()).await.unwrap_err();
    assert_eq!(error, "the inner error");
}

#[test]
fn what_is_public_goes_across_threads_and_is_cloned_where_it_can_be() {
    fn shared<T: Send + Sync + 'static>() {}
    fn cloned<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}

    cloned::<TokenService>();
    shared::<TokenServiceBuilder>();
    cloned::<Validator>();
    cloned::<ValidatorBuilder>();
    cloned::<KeyRing>();
    cloned::<Policy>();
    cloned::<MemoryStore>();
    cloned::<Acl>();
    cloned::<Grant>();
    cloned::<NewSession>();
    cloned::<ExchangeRequest>();
    cloned::<Entity>();
    cloned::<Session>();
    cloned::<Password>();
    cloned::<Secret>();
    cloned::<AccessToken>();
    cloned::<AuthenticationToken>();
    cloned::<IssuedToken>();
    cloned::<IssuedSecret>();
    cloned::<Timestamp>();
    cloned::<Rejection>();
    cloned::<Issue>();
    cloned::<Bearer<MyOwnClaims>>();
    shared::<Validated>();
    shared::<Error>();

    cloned::<ValidateLayer>();
    cloned::<RequireLayer>();
    cloned::<IssueLayer>();
    cloned::<ExchangeLayer>();
    cloned::<SameOriginLayer>();
    cloned::<Validate<Wary>>();
    cloned::<Require<Wary>>();
    cloned::<IssueService<Wary>>();
    cloned::<Exchange<Wary>>();
    cloned::<SameOrigin<Wary>>();
    sent::<GuardFuture<Ready<Result<Response<String>, Infallible>>>>();
    sent::<IssueFuture<Ready<Result<Response<String>, Infallible>>>>();
    sent::<SameOriginFuture<Ready<Result<Response<String>, Infallible>>>>();

    fn error<T: std::error::Error>() {}
    error::<Error>();
    error::<TokenFault>();
    error::<Rejection>();
    error::<StoreError>();
}

#[derive(Clone)]
struct MyOwnClaims;
