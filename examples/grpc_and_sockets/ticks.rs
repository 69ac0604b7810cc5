//! What tonic's build script makes of `ticks.proto`, in short: the service as a trait, and a tower service of
//! it. A message is its one field.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _};
use futures_util::Stream;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tower::{Service, service_fn};

/// `service Ticks`.
pub(crate) trait Ticks: Send + Sync + 'static {
    /// `stream Text`.
    type Stream: Stream<Item = Result<String, Status>> + Send + 'static;

    /// `rpc Watch`.
    fn watch(
        &self,
        request: Request<String>,
    ) -> impl Future<Output = Result<Response<Self::Stream>, Status>> + Send;
}

/// Serves a [`Ticks`].
#[derive(Debug)]
pub(crate) struct TicksServer<T>(pub(crate) Arc<T>);

impl<T> Clone for TicksServer<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> NamedService for TicksServer<T> {
    const NAME: &'static str = "ticks.Ticks";
}

impl<T: Ticks> Service<http::Request<Body>> for TicksServer<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = Arc::clone(&self.0);
        if request.uri().path() != "/ticks.Ticks/Watch" {
            return Box::pin(unknown());
        }
        let watch = service_fn(move |request| {
            let service = Arc::clone(&service);
            async move { service.watch(request).await }
        });
        Box::pin(async move { Ok(Grpc::new(Text).server_streaming(watch, request).await) })
    }
}

fn unknown() -> Ready<Result<http::Response<Body>, Infallible>> {
    ready(Ok(Status::unimplemented("no such method").into_http()))
}

/// `message Text`, in protobuf's wire format: a tag, a length and the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text;

const TAG: u8 = 1 << 3 | 2;

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
        // Longer ones have a length of more than one byte.
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 0x80);
        buffer.put_u8(TAG);
        buffer.put_u8(length.ok_or_else(|| Status::internal("the text is too long"))?);
        buffer.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let message = buffer.copy_to_bytes(buffer.remaining());
        let text = match &*message {
            [] => &[],
            [TAG, length, text @ ..] if usize::from(*length) == text.len() => text,
            _ => return Err(Status::invalid_argument("no text")),
        };
        let text = String::from_utf8(text.to_vec());
        text.map(Some).map_err(|_| Status::invalid_argument("no text"))
    }
}
