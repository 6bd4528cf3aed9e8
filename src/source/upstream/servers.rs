//! Which servers are asked for followed names.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// As many servers as the resolver of the C library takes: `MAXNS` in resolv.h.
const MAX_SERVERS: usize = 3;

/// The servers that a resolv.conf(5) names, in its order; what is not understood is passed over, as
/// the C library does. A server with a zone (`fe80::1%eth0`) is not supported.
pub fn of_resolv_conf(bytes: &[u8]) -> Vec<SocketAddr> {
    String::from_utf8_lossy(bytes)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = words
                .next()
                .filter(|w| *w == "nameserver")
                .and(words.next())?;
            let address: IpAddr = address.parse().ok()?;
            Some(SocketAddr::new(address, 53))
        })
        .take(MAX_SERVERS)
        .collect()
}

/// The servers without this node's own responder, which listens at `listen`.
pub fn besides_own(servers: &[SocketAddr], listen: &[SocketAddr]) -> Vec<SocketAddr> {
    let own = |server: &SocketAddr| {
        let address = reached(server.ip());
        listen.iter().any(|listen| {
            let same = if listen.ip().is_unspecified() {
                address.is_loopback()
            } else {
                listen.ip().to_canonical() == address
            };
            same && listen.port() == server.port()
        })
    };
    let others = servers.iter().filter(|server| !own(server));
    others.copied().collect()
}

/// Where a packet to the address arrives: the unspecified one means this host.
fn reached(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address if address.is_unspecified() => match address {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        },
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn reads_resolv_conf() {
        let text = "# nameserver 192.0.2.1\n; nameserver 192.0.2.2\nsearch a.example\n\
                    options edns0\nnameserver\t10.0.0.2 \r\nnameserver fd00::53 # second\n\
                    nameserver fe80::1%eth0\n nameserver not-an-address\nnameservers 192.0.2.3\n\
                    nameserver 127.0.0.53\nnameserver 10.0.0.9\n";
        let want = addresses(&["10.0.0.2:53", "[fd00::53]:53", "127.0.0.53:53"]);
        assert_eq!(of_resolv_conf(text.as_bytes()), want);
        assert!(of_resolv_conf(b"").is_empty());
        assert!(of_resolv_conf(b"\xff\xfe\nnameserver \xff").is_empty());
    }

    #[test]
    fn never_asks_the_own_responder() {
        for (listen, servers, want) in [
            ("127.0.0.1:53", "127.0.0.1:53 10.0.0.2:53", "10.0.0.2:53"),
            ("127.0.0.1:1053", "127.0.0.1:53", "127.0.0.1:53"),
            ("127.0.0.1:53", "0.0.0.0:53 [::ffff:127.0.0.1]:53", ""),
            (
                "0.0.0.0:53",
                "127.0.0.1:53 127.0.0.53:53 10.0.0.2:53",
                "10.0.0.2:53",
            ),
            ("[::]:53", "[::1]:53 127.0.0.1:53", ""),
            ("[::1]:53", "[::]:53 127.0.0.53:53", "127.0.0.53:53"),
        ] {
            let servers: Vec<&str> = servers.split_whitespace().collect();
            let want: Vec<&str> = want.split_whitespace().collect();
            let others = besides_own(&addresses(&servers), &addresses(&[listen]));
            assert_eq!(others, addresses(&want), "{listen}");
        }
    }
}
