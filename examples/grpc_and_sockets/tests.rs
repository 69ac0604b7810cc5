use http::Request;
use http::uri::PathAndQuery;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tonic::Code;
use tonic::transport::Channel;

use super::*;
use crate::ticks::Text;

struct Server {
    tokens: TokenService,
    address: SocketAddr,
}

impl Server {
    async fn start() -> Self {
        let tokens = token_service().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app(&tokens).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { tokens, address }
    }

    async fn log_in(&self) -> String {
        let jane = countersign::EntityId::user("jane").unwrap();
        self.tokens.issue_for(&jane).await.unwrap().access_token.expose().to_owned()
    }

    async fn send(&self, method: &str, path: &str, token: &str) -> http::Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let connected = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connected.unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"))
            .body(Empty::<Bytes>::new());
        sender.send_request(request.unwrap()).await.unwrap()
    }

    async fn log_out(&self, token: &str) {
        assert_eq!(self.send("POST", "/logout", token).await.status(), 204);
    }

    async fn watch(&self, token: &str) -> Result<tonic::Streaming<String>, Status> {
        let channel = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        let mut grpc = tonic::client::Grpc::new(channel.connect().await.unwrap());
        grpc.ready().await.unwrap();
        let mut request = tonic::Request::new(String::new());
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        let path = PathAndQuery::from_static("/ticks.Ticks/Watch");
        Ok(grpc.server_streaming(request, path, Text).await?.into_inner())
    }
}

#[tokio::test]
async fn a_socket_is_closed_when_the_caller_logs_out() {
    use futures_util::SinkExt as _;
    use tokio_tungstenite::tungstenite::Message;

    let server = Server::start().await;
    let token = server.log_in().await;
    let open = async |token: &str| {
        let mut request = format!("ws://{}/socket", server.address).into_client_request().unwrap();
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let stream = TcpStream::connect(server.address).await.unwrap();
        tokio_tungstenite::client_async(request, stream).await
    };
    let (mut socket, _) = open(&token).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    server.log_out(&token).await;
    let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else { panic!() };
    assert_eq!(frame.reason.as_str(), "the token was revoked");
    assert!(open(&token).await.is_err(), "nor is it opened again");
}

#[tokio::test]
async fn a_stream_of_events_ends_when_the_caller_logs_out() {
    let server = Server::start().await;
    let token = server.log_in().await;
    let mut events = server.send("GET", "/events", &token).await;
    assert_eq!(events.status(), 200);
    let first = events.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "data: tick\n\n");
    server.log_out(&token).await;
    while events.frame().await.is_some() {}
    assert_eq!(server.send("GET", "/events", &token).await.status(), 401);
}

#[tokio::test]
async fn a_stream_of_grpc_ends_when_the_caller_logs_out() {
    let server = Server::start().await;
    let token = server.log_in().await;
    let mut ticks = server.watch(&token).await.unwrap();
    assert_eq!(ticks.message().await.unwrap().unwrap(), "tick");
    server.log_out(&token).await;
    while ticks.message().await.unwrap().is_some() {}
    assert_eq!(server.watch(&token).await.unwrap_err().code(), Code::Unauthenticated);
}
