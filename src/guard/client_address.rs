//! The client's address.

use std::net::IpAddr;

use http::header::FORWARDED;
use http::{Extensions, HeaderMap};

use crate::guard::forwarded::forwarded_for;
use crate::validate::proxies::{ForwardedHeader, TrustedProxies};

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address, for a host that knows it from another source, such as the PROXY protocol. Insert it into
/// the request's extensions before the routes and layers run; it is not checked further.
///
/// Without it, the address is that of axum's `ConnectInfo<SocketAddr>`, which a host provides with
/// `into_make_service_with_connect_info`. If that one is one of the [`TrustedProxies`](crate::TrustedProxies), it is
/// the right-most address in their header that is not. If neither is available, attempts are throttled by name only.
///
/// ```
/// use countersign::ClientAddress;
/// use http::Request;
///
/// let mut request = Request::new(());
/// request.extensions_mut().insert(ClientAddress([192, 0, 2, 1].into()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

pub(crate) fn client_address(
    proxies: &TrustedProxies,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Option<IpAddr> {
    if let Some(ClientAddress(address)) = extensions.get() {
        return Some(address.to_canonical());
    }
    let peer = peer_address(extensions);
    // Several headers form one list (RFC 9110 §5.3). The client's part may not be text; the proxy's part is still
    // read.
    match proxies.header {
        ForwardedHeader::XForwardedFor => {
            let values = headers.get_all(X_FORWARDED_FOR).iter();
            let hops = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
            proxies.client_of(peer, hops.map(|hop| std::str::from_utf8(hop).unwrap_or_default()))
        }
        ForwardedHeader::Forwarded => {
            let values = headers.get_all(FORWARDED).iter();
            proxies.client_of(peer, values.flat_map(|value| forwarded_for(value.as_bytes())))
        }
    }
}

/// Returns the peer address of the connection, as `axum::serve` provides it.
#[cfg(feature = "axum")]
pub(crate) fn peer_address(extensions: &Extensions) -> Option<IpAddr> {
    use axum::extract::ConnectInfo;
    use std::net::SocketAddr;

    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical())
}

/// Without axum, only the host knows the peer address.
#[cfg(not(feature = "axum"))]
fn peer_address(_: &Extensions) -> Option<IpAddr> {
    None
}
