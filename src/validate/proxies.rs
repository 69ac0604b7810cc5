//! The proxies that are trusted to report a client's address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::error::Error;

const ALL_OF_IPV4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);

const ALL_OF_IPV6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0);

/// All of IPv6 that clients on the Internet have (RFC 4291 §2.4, `2000::/3`).
const PUBLIC_IPV6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// All of IPv4 as it is written in IPv6 (RFC 4291 §2.5.5.2).
const MAPPED_IPV4: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), MAPPED_LEN);

const MAPPED_LEN: u8 = 96;

/// The proxies that are trusted to report a client's address, and the header in which they do. Default: no proxies, so
/// that the client's address is that of the connection's peer.
///
/// Behind a trusted proxy, the client's address is the right-most one in `X-Forwarded-For`, or in
/// [`Forwarded`](Self::forwarded_header), that does not belong to a trusted proxy. Behind a proxy that is not trusted,
/// all clients count as one, with the address of that proxy.
///
/// ```
/// use countersign::{Policy, TrustedProxies};
///
/// let proxies = TrustedProxies::networks(["10.0.0.0/8", "fd00::/8"])?;
/// let policy = Policy::default().http(|http| http.trusted_proxies(proxies));
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    /// Whether a peer without an address is one.
    has_unix_sockets: bool,
    pub(crate) header: ForwardedHeader,
}

/// The header by which proxies name clients.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum ForwardedHeader {
    #[default]
    XForwardedFor,
    Forwarded,
}

impl TrustedProxies {
    /// Trusts proxies with these addresses: networks in CIDR notation, or single addresses. A network of IPv4 may be
    /// written in IPv6, as `::ffff:10.0.0.0/104`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if one of them is not a network or
    /// an address, or if together they contain all addresses, as `0.0.0.0/0` does: every client could then choose its
    /// own address.
    pub fn networks<T: AsRef<str>>(networks: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        let parse = |text: T| parse(text.as_ref().trim());
        let networks = networks.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        // Two halves are the whole, too.
        let all = [IpNet::V4(ALL_OF_IPV4), IpNet::V6(PUBLIC_IPV6)];
        if IpNet::aggregate(&networks).iter().any(|net| all.iter().any(|all| net.contains(all))) {
            let problem = "the trusted proxies are all addresses, so that every client would choose its \
                           own: name the networks of the proxies";
            return Err(Error::configuration(problem));
        }
        Ok(Self { networks, ..Self::default() })
    }

    /// Trusts every peer that has an address. Dangerous: every client then chooses its own address, so throttling by address has no
    /// effect, a client can have its failures counted against another one's address, and the audit log records what
    /// it writes.
    pub fn dangerous_any() -> Self {
        let networks = vec![IpNet::V4(ALL_OF_IPV4), IpNet::V6(ALL_OF_IPV6)];
        Self { networks, ..Self::default() }
    }

    /// Also trusts peers without an address, such as a proxy that connects by a Unix socket. Use it only if the host
    /// listens on Unix sockets alone: the layers and routes know the address of a TCP peer only if the host serves with
    /// `into_make_service_with_connect_info::<SocketAddr>()`, and would trust every TCP client otherwise. If the proxy
    /// does not report a client's address, that address is `0.0.0.0`.
    ///
    /// ```
    /// use countersign::{Policy, TrustedProxies};
    ///
    /// let proxies = TrustedProxies::default().unix_sockets();
    /// let policy = Policy::default().http(|http| http.trusted_proxies(proxies));
    /// ```
    pub fn unix_sockets(mut self) -> Self {
        self.has_unix_sockets = true;
        self
    }

    /// Reads the clients' addresses from `Forwarded` (RFC 7239) instead of `X-Forwarded-For`. Only one of the two
    /// headers is read, since a proxy passes the other one on unchanged, and a client can write anything in it.
    pub fn forwarded_header(mut self) -> Self {
        self.header = ForwardedHeader::Forwarded;
        self
    }

    /// Returns whether the peer of a connection is a trusted proxy.
    pub(crate) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            Some(address) => self.networks.iter().any(|network| network.contains(&address)),
            None => self.has_unix_sockets,
        }
    }

    /// Returns the client behind `peer`: the right-most address of `forwarded` that is no trusted proxy's.
    /// Each proxy appends the address that it got the request from, so what stands further left is whatever
    /// the client wrote.
    pub(crate) fn client_of<'a>(
        &self,
        peer: Option<IpAddr>,
        forwarded: impl DoubleEndedIterator<Item = &'a str>,
    ) -> Option<IpAddr> {
        let mut client = peer;
        for hop in forwarded.rev() {
            if !self.trusts(client) {
                break;
            }
            // A proxy that writes what is no address hides where it got the request from.
            let Some(address) = read_hop(hop) else { break };
            client = Some(address.to_canonical());
        }
        // What a proxy on a Unix socket says nothing of is somebody all the same.
        client.or(self.has_unix_sockets.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }
}

fn parse(text: &str) -> Result<IpNet, Error> {
    let network = text.parse::<IpNet>();
    let network = network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
        Error::configuration(format!("the trusted proxy {text:?} is no network in CIDR notation"))
    })?;
    // Addresses of IPv4 are compared as such, so that a network with more than those would not contain them.
    if matches!(network, IpNet::V6(wide) if wide.prefix_len() < MAPPED_LEN && wide.contains(&MAPPED_IPV4))
        && network != IpNet::V6(ALL_OF_IPV6)
    {
        return Err(Error::configuration(format!(
            "the trusted proxy {text:?} contains all addresses of IPv4 as they are written in IPv6"
        )));
    }
    Ok(canonical(network))
}

/// A network of IPv4 that is written in IPv6 (RFC 4291 §2.5.5.2) is that of IPv4, as its addresses are.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(wide) = network else { return network };
    let mapped = wide.prefix_len().checked_sub(MAPPED_LEN).zip(wide.network().to_ipv4_mapped());
    let narrow = mapped.and_then(|(length, address)| Ipv4Net::new(address, length).ok());
    narrow.map_or(network, IpNet::V4)
}

/// An address, which some proxies write with a port.
fn read_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let unbracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    text.parse()
        .ok()
        .or_else(|| text.parse().ok().map(|address: std::net::SocketAddr| address.ip()))
        .or_else(|| unbracketed?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn proxies() -> TrustedProxies {
        TrustedProxies::networks(["10.0.0.0/8", "fd00::/8"]).unwrap()
    }

    #[track_caller]
    fn assert_client(peer: &str, forwarded: &[&str], expected: &str) {
        let peer = peer.parse().ok();
        let client = proxies().client_of(peer, forwarded.iter().copied());
        assert_eq!(client, expected.parse().ok());
    }

    #[test]
    fn the_right_most_address_that_is_not_trusted_is_the_client() {
        assert_client("10.0.0.1", &["198.51.100.9", "192.0.2.1"], "192.0.2.1");
        assert_client("10.0.0.1", &["198.51.100.9", "192.0.2.1", "::ffff:10.9.9.9"], "192.0.2.1");
        assert_client("10.0.0.1", &[" 192.0.2.1:4711 "], "192.0.2.1");
        assert_client("fd00::1", &["[2001:db8::1]:80"], "2001:db8::1");
        assert_client("fd00::1", &["[2001:db8::1]"], "2001:db8::1");
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_whatever_it_says() {
        assert_client("192.0.2.1", &["198.51.100.9"], "192.0.2.1");
        assert_client("192.0.2.1", &["10.0.0.1"], "192.0.2.1");
    }

    #[test]
    fn a_peer_on_a_unix_socket_is_trusted_if_the_host_says_so() {
        let client = |proxies: TrustedProxies| {
            proxies.client_of(None, ["198.51.100.9", "192.0.2.1", "10.0.0.7"].into_iter())
        };
        assert_eq!(client(proxies()), None);
        assert_eq!(client(proxies().unix_sockets()), "192.0.2.1".parse().ok());
        assert_eq!(client(TrustedProxies::default().unix_sockets()), "10.0.0.7".parse().ok());
        let unnamed = proxies().unix_sockets().client_of(None, ["unknown"].into_iter());
        assert_eq!(unnamed, Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        assert_client("10.0.0.1", &["192.0.2.1", "unknown"], "10.0.0.1");
        assert_client("10.0.0.1", &["192.0.2.1", ""], "10.0.0.1");
        assert_client("10.0.0.1", &[], "10.0.0.1");
    }

    #[test]
    fn a_network_that_is_none_is_an_error_of_configuration() {
        for bad in ["", "10.0.0.0/33", "proxy.example.com", "10.0.0"] {
            let error = TrustedProxies::networks([bad]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{bad}");
        }
        assert!(TrustedProxies::networks(["192.0.2.1"]).is_ok());
    }

    #[test]
    fn a_host_that_takes_the_risk_trusts_whoever_writes_an_address() {
        let any = TrustedProxies::dangerous_any();
        for peer in ["192.0.2.1", "2001:db8::1"] {
            let forwarded = ["203.0.113.9", "198.51.100.7"].into_iter();
            let client = any.client_of(peer.parse().ok(), forwarded);
            assert_eq!(client, "203.0.113.9".parse().ok());
        }
    }

    #[track_caller]
    fn parse(text: &str) -> Result<TrustedProxies, Error> {
        TrustedProxies::networks(text.split(','))
    }

    #[test]
    fn all_addresses_are_no_trusted_proxies_however_they_are_written() {
        for all in [
            "0.0.0.0/0",
            "10.1.2.3/0",
            "::/0",
            "2000::/3",
            "::ffff:0:0/96",
            "::ffff:10.0.0.0/96",
            "10.0.0.0/8,0.0.0.0/0",
            "0.0.0.0/1,128.0.0.0/1",
            "0.0.0.0/2,64.0.0.0/2,::ffff:128.0.0.0/97",
            "2000::/4,3000::/4",
        ] {
            let error = parse(all).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{all}");
            assert!(error.message().contains("all addresses"), "{all}: {error}");
        }
        for some in ["0.0.0.0/1", "10.0.0.0/8,172.16.0.0/12", "fc00::/7", "2001:db8::/32"] {
            assert!(parse(some).is_ok(), "{some}");
        }
    }

    #[test]
    fn a_network_of_ipv4_in_ipv6_is_that_of_ipv4() {
        let proxies = parse("::ffff:10.0.0.0/104").unwrap();
        let client = proxies.client_of("10.0.0.1".parse().ok(), ["192.0.2.1"].into_iter());
        assert_eq!(client, "192.0.2.1".parse().ok());
        for wide in ["::ffff:0:0/95", "::/64", "::/8"] {
            let error = parse(wide).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{wide}");
        }
    }
}
