//! Whose word about a client's address is taken.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::error::Error;

/// The proxies whose word about where a request comes from is taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Reads networks in CIDR notation, and single addresses.
    pub(crate) fn parse(networks: &[String]) -> Result<Self, Error> {
        let parse = |text: &String| {
            let text = text.trim();
            let network = text.parse::<IpNet>();
            network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
                let problem = format!("the trusted proxy {text:?} is no network in CIDR notation");
                Error::configuration(problem)
            })
        };
        networks.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client behind `peer`: the right-most address of `forwarded` that is no trusted proxy's.
    /// Each proxy appends whom it got the request from, so what stands further left is whatever
    /// the client liked to write.
    pub(crate) fn client_of<'a>(
        &self,
        peer: IpAddr,
        forwarded: impl DoubleEndedIterator<Item = &'a str>,
    ) -> IpAddr {
        let mut client = peer.to_canonical();
        for hop in forwarded.rev() {
            if !self.trusts(client) {
                break;
            }
            // A proxy that writes what is no address hides whom it got the request from.
            let Some(address) = read_hop(hop) else { break };
            client = address.to_canonical();
        }
        client
    }
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
        TrustedProxies::parse(&["10.0.0.0/8".to_owned(), "fd00::/8".to_owned()]).unwrap()
    }

    #[track_caller]
    fn assert_client(peer: &str, forwarded: &[&str], expected: &str) {
        let client = proxies().client_of(peer.parse().unwrap(), forwarded.iter().copied());
        assert_eq!(client, expected.parse::<IpAddr>().unwrap());
    }

    #[test]
    fn the_right_most_address_that_is_not_trusted_is_the_client() {
        assert_client("10.0.0.1", &["198.51.100.9", "192.0.2.1"], "192.0.2.1");
        assert_client("10.0.0.1", &["198.51.100.9", "192.0.2.1", "10.9.9.9"], "192.0.2.1");
        assert_client("::ffff:10.0.0.1", &[" 192.0.2.1:4711 "], "192.0.2.1");
        assert_client("fd00::1", &["[2001:db8::1]:80"], "2001:db8::1");
        assert_client("fd00::1", &["[2001:db8::1]"], "2001:db8::1");
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_whatever_it_says() {
        assert_client("192.0.2.1", &["198.51.100.9"], "192.0.2.1");
        assert_client("192.0.2.1", &["10.0.0.1"], "192.0.2.1");
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
            let error = TrustedProxies::parse(&[bad.to_owned()]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{bad}");
        }
        assert!(TrustedProxies::parse(&["192.0.2.1".to_owned()]).is_ok());
    }
}
