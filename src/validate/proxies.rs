//! Whose word about a client's address is taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::error::Error;

const ALL_OF_IPV4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);

const ALL_OF_IPV6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0);

/// All of IPv6 that clients on the Internet have (RFC 4291 §2.4, `2000::/3`).
const PUBLIC_IPV6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Which proxies a host trusts.
#[derive(Clone, Debug)]
pub(crate) enum ProxySetting {
    /// Networks in CIDR notation, and single addresses.
    Networks(Vec<String>),
    Any,
}

impl Default for ProxySetting {
    fn default() -> Self {
        Self::Networks(Vec::new())
    }
}

impl ProxySetting {
    pub(crate) fn networks<T: Into<String>>(networks: impl IntoIterator<Item = T>) -> Self {
        Self::Networks(networks.into_iter().map(Into::into).collect())
    }

    pub(crate) fn parse(&self) -> Result<TrustedProxies, Error> {
        match self {
            Self::Networks(networks) => TrustedProxies::parse(networks),
            Self::Any => Ok(TrustedProxies(vec![IpNet::V4(ALL_OF_IPV4), IpNet::V6(ALL_OF_IPV6)])),
        }
    }
}

/// The proxies whose word about where a request comes from is taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Reads networks in CIDR notation, and single addresses. Together they must not be all there are:
    /// then nothing that a client writes would be told from what a proxy does.
    fn parse(networks: &[String]) -> Result<Self, Error> {
        let parse = |text: &String| {
            let text = text.trim();
            let network = text.parse::<IpNet>();
            let network = network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map(canonical).map_err(|_| {
                let problem = format!("the trusted proxy {text:?} is no network in CIDR notation");
                Error::configuration(problem)
            })
        };
        let networks = networks.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        // Two halves are the whole, too.
        let all = [IpNet::V4(ALL_OF_IPV4), IpNet::V6(PUBLIC_IPV6)];
        if IpNet::aggregate(&networks).iter().any(|net| all.iter().any(|all| net.contains(all))) {
            let problem = "the trusted proxies are all addresses, so that every client would write its \
                           own into X-Forwarded-For: name the networks of the proxies";
            return Err(Error::configuration(problem));
        }
        Ok(Self(networks))
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
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

/// A network of IPv4 that is written in IPv6 (RFC 4291 §2.5.5.2) is that of IPv4, as its addresses are.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(wide) = network else { return network };
    let mapped = wide.prefix_len().checked_sub(96).zip(wide.network().to_ipv4_mapped());
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

    #[test]
    fn a_host_that_takes_the_risk_trusts_whoever_writes_an_address() {
        let any = ProxySetting::Any.parse().unwrap();
        for peer in ["192.0.2.1", "2001:db8::1"] {
            let forwarded = ["203.0.113.9", "198.51.100.7"].into_iter();
            let client = any.client_of(peer.parse().unwrap(), forwarded);
            assert_eq!(client, "203.0.113.9".parse::<IpAddr>().unwrap());
        }
    }

    #[track_caller]
    fn parse(text: &str) -> Result<TrustedProxies, Error> {
        let networks: Vec<_> = text.split(',').map(str::to_owned).collect();
        TrustedProxies::parse(&networks)
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
        for peer in ["10.0.0.1", "::ffff:10.0.0.1"] {
            let client = proxies.client_of(peer.parse().unwrap(), ["192.0.2.1"].into_iter());
            assert_eq!(client, "192.0.2.1".parse::<IpAddr>().unwrap());
        }
    }
}
