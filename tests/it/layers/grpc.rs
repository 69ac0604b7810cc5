//! The layers on a gRPC server, as its client sees them: tonic on both sides, over HTTP/2.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BufMut as _;
use countersign::store::MemoryStore;
use countersign::testing::FaultyStore;
use countersign::{
    Algorithm, KeyRing, Rejection, RequireLayer, SealingKey, SubjectType, ValidateLayer, Validated,
};
use futures_util::stream;
use http::uri::PathAndQuery;
use hyper::body::Buf as _;
use serde_json::json;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::{Service, service_fn};

use crate::layers::{axum_whoami, session, user_token, user_with};
use crate::support::{self, Fixture};

/// Messages are texts, which nothing has to be generated for.
#[derive(Clone, Copy)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some).map_err(|_| Status::invalid_argument("no text"))
    }
}

/// A service as tonic's generated code would be one.
#[derive(Clone)]
struct Orders;

impl NamedService for Orders {
    const NAME: &'static str = "orders.Orders";
}

/// What a layer has found, in a handler.
fn caller<T>(request: &Request<T>) -> Result<Arc<Validated>, Status> {
    let found = request.extensions().get::<Arc<Validated>>();
    found.cloned().ok_or_else(|| Status::internal("no layer has validated the request"))
}

/// As the guide has it.
fn status_of(rejection: &Rejection) -> Status {
    Status::new(Code::from_i32(rejection.grpc_status()), rejection.message())
}

async fn get(request: Request<String>) -> Result<Response<String>, Status> {
    let caller = caller(&request)?;
    Ok(Response::new(format!("{} for {}", request.get_ref(), caller.principal().id())))
}

async fn cancel(request: Request<String>) -> Result<Response<String>, Status> {
    let scope = [("orderId", request.get_ref().as_str())];
    caller(&request)?.require("CancelOrder", &scope).map_err(|denied| status_of(&denied))?;
    Ok(Response::new("cancelled".to_owned()))
}

type Texts = stream::Iter<std::vec::IntoIter<Result<String, Status>>>;

async fn list(request: Request<String>) -> Result<Response<Texts>, Status> {
    let id = caller(&request)?.principal().id().to_owned();
    let all: Vec<_> = (1..=100).map(|number| Ok(format!("order {number} of {id}"))).collect();
    Ok(Response::new(stream::iter(all)))
}

impl Service<http::Request<Body>> for Orders {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Text);
            Ok(match request.uri().path() {
                "/orders.Orders/Get" => grpc.unary(service_fn(get), request).await,
                "/orders.Orders/Cancel" => grpc.unary(service_fn(cancel), request).await,
                _ => grpc.server_streaming(service_fn(list), request).await,
            })
        })
    }
}

/// Serves `Orders` behind a layer, until the test ends.
macro_rules! serve {
    ($($layer:expr),+) => {{
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = incoming.local_addr().unwrap();
        let router = Server::builder()$(.layer($layer))+.add_service(Orders);
        tokio::spawn(router.serve_with_incoming(incoming));
        Client::connect(address).await
    }};
}

struct Client {
    grpc: tonic::client::Grpc<Channel>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        Self { grpc: tonic::client::Grpc::new(channel.connect().await.unwrap()) }
    }

    fn request(text: &str, token: Option<&str>) -> Request<String> {
        let mut request = Request::new(text.to_owned());
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        request
    }

    async fn call(
        &mut self,
        path: &'static str,
        text: &str,
        token: Option<&str>,
    ) -> Result<String, Status> {
        self.grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static(path);
        let answer = self.grpc.unary(Self::request(text, token), path, Text).await?;
        Ok(answer.into_inner())
    }

    async fn get(&mut self, token: Option<&str>) -> Result<String, Status> {
        self.call("/orders.Orders/Get", "order 7", token).await
    }

    async fn list(&mut self, token: Option<&str>) -> Result<Streaming<String>, Status> {
        self.grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static("/orders.Orders/List");
        let answer = self.grpc.server_streaming(Self::request("", token), path, Text).await?;
        Ok(answer.into_inner())
    }
}

#[track_caller]
fn assert_status(outcome: Result<impl std::fmt::Debug, Status>, code: Code, message: &str) {
    let status = outcome.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, message));
}

#[tokio::test]
async fn a_client_with_a_good_token_is_served_and_the_handler_knows_who_it_is() {
    let fixture = Fixture::new();
    let token = user_with(&fixture, json!({}), &["GetOrders"]);
    let validate = ValidateLayer::new(fixture.tokens.validator().clone());
    let mut client = serve!(validate, RequireLayer::new("GetOrders"));
    let answer = client.get(Some(&token)).await.unwrap();
    assert_eq!(answer, "order 7 for ops@example.com");
}

#[tokio::test]
async fn a_stream_of_messages_passes_to_its_end() {
    let fixture = Fixture::new();
    let mut client = serve!(fixture.tokens.validate_layer());
    let mut stream = client.list(Some(&user_token(&fixture))).await.unwrap();
    for number in 1..=100 {
        let message = stream.message().await.unwrap().unwrap();
        assert_eq!(message, format!("order {number} of ops@example.com"));
    }
    assert_eq!(stream.message().await.unwrap(), None);
    assert!(stream.trailers().await.unwrap().is_some());
}

#[tokio::test]
async fn a_client_is_told_why_it_is_rejected_by_a_status_and_a_message() {
    let fixture = Fixture::new();
    let token = user_token(&fixture);
    let mut client =
        serve!(fixture.tokens.validate_layer(), fixture.tokens.require_layer("GetOrders"));
    let missing = "A bearer token is required";
    assert_status(client.get(None).await, Code::Unauthenticated, missing);
    assert_status(client.list(None).await, Code::Unauthenticated, missing);
    let invalid = "The access token is not valid";
    assert_status(client.get(Some("a.b.c")).await, Code::Unauthenticated, invalid);
    let denied = "The access token does not grant the permission";
    assert_status(client.get(Some(&token)).await, Code::PermissionDenied, denied);
    assert_status(client.list(Some(&token)).await, Code::PermissionDenied, denied);

    // Another node may have revoked it, and nothing has been heard of that one yet.
    let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
    let token = user_token(&Fixture::with_keys(keys.clone(), |builder| builder));
    let store = FaultyStore::new(MemoryStore::new()).durable(true);
    let fixture = Fixture::with_keys(keys, |builder| {
        let key = SealingKey::from_bytes([7; 32]);
        builder.session_store(store).sealing_key(key)
    });
    let mut client = serve!(fixture.tokens.validate_layer());
    let unavailable = "The service is unavailable, try again later";
    assert_status(client.get(Some(&token)).await, Code::Unavailable, unavailable);
}

#[tokio::test]
async fn a_handler_rejects_with_the_status_of_a_layer() {
    let fixture = Fixture::new();
    let token = user_with(&fixture, json!({"orderId": ["7"]}), &["CancelOrder"]);
    let mut client = serve!(fixture.tokens.validate_layer());
    let cancel = "/orders.Orders/Cancel";
    assert_eq!(client.call(cancel, "7", Some(&token)).await.unwrap(), "cancelled");
    let denied = "The access token does not grant the permission";
    assert_status(client.call(cancel, "8", Some(&token)).await, Code::PermissionDenied, denied);
}

#[tokio::test]
async fn a_hook_that_is_set_for_pages_leaves_grpc_as_it_is() {
    let fixture = Fixture::with(|builder| {
        builder.reject_with(|_, _| (http::StatusCode::SEE_OTHER, [("location", "/login")]))
    });
    let mut client =
        serve!(fixture.tokens.validate_layer(), fixture.tokens.require_layer("GetOrders"));
    let missing = "A bearer token is required";
    assert_status(client.get(None).await, Code::Unauthenticated, missing);
    let denied = "The access token does not grant the permission";
    let token = user_token(&fixture);
    assert_status(client.get(Some(&token)).await, Code::PermissionDenied, denied);
}

#[tokio::test]
async fn the_token_of_a_session_is_exchanged_in_front_of_a_grpc_server() {
    let fixture = Fixture::new();
    let opaque = session(&fixture).await;
    let mut client = serve!(fixture.tokens.exchange_layer());
    assert_eq!(client.get(Some(&opaque)).await.unwrap(), "order 7 for cus_1");
    let user = user_token(&fixture);
    let denied = "Principals of this kind are not admitted";
    assert_status(client.get(Some(&user)).await, Code::PermissionDenied, denied);
    let mut client = serve!(fixture.tokens.exchange_layer().only([SubjectType::User]).optional());
    assert_eq!(client.get(Some(&user)).await.unwrap(), "order 7 for ops@example.com");
}

/// The permission of each method.
const PERMISSIONS: [(&str, &str); 2] =
    [("/orders.Orders/Get", "GetOrders"), ("/orders.Orders/List", "ListOrders")];

#[tokio::test]
async fn the_permission_of_a_method_is_looked_up_by_its_path() {
    let fixture = Fixture::new();
    let by_path = RequireLayer::check(|caller, request| {
        let path = request.uri.path();
        let known = PERMISSIONS.iter().find(|(method, _)| *method == path);
        ready(Ok(known.is_some_and(|(_, permission)| caller.allows(permission, &[]))))
    });
    let mut client = serve!(fixture.tokens.validate_layer(), by_path);
    let token = user_with(&fixture, json!({}), &["GetOrders"]);
    assert_eq!(client.get(Some(&token)).await.unwrap(), "order 7 for ops@example.com");
    let denied = "The access token does not grant the permission";
    assert_status(client.list(Some(&token)).await, Code::PermissionDenied, denied);
    let unknown = client.call("/orders.Orders/Cancel", "7", Some(&token)).await;
    assert_status(unknown, Code::PermissionDenied, denied);
}

#[tokio::test]
async fn what_only_names_the_media_type_of_grpc_is_rejected_by_a_status_of_http() {
    let fixture = Fixture::new();
    let server = support::Server::start(axum_whoami().layer(fixture.tokens.validate_layer())).await;
    // As a proxy asks, which passes on what a client has sent.
    let request = http::Request::get("/").header("content-type", "application/grpc");
    server.send(request.body("").unwrap()).await.expect(401);
}
