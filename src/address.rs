//! Which addresses a master can have.

use std::net::IpAddr;

/// Whether a loopback address is usable for a master.
///
/// Never on a real node: the endpoint is loopback, a master is not. In a sandbox (`--root DIR`) the
/// masters are pretend ones and live on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loopback {
    /// A real node.
    Refused,
    /// A sandbox below `--root`.
    Allowed,
}

/// Why an address cannot be a master's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an IPv4 or IPv6 address at all.
    #[error("'{0}' is not an IP address; write one such as 10.77.0.11 or fd77::11")]
    NotAnAddress(String),
    /// A kind of address that other nodes cannot reach a master at.
    #[error("{address} is {kind}; a master needs an address that the other nodes reach")]
    Unusable {
        /// The address.
        address: IpAddr,
        /// What kind it is, with its article.
        kind: &'static str,
    },
}

/// Parses an address that other nodes can reach a master at. IPv4-mapped IPv6 becomes IPv4.
pub fn parse(text: &str, loopback: Loopback) -> Result<IpAddr, AddressError> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| AddressError::NotAnAddress(text.to_owned()))?;
    usable(address, loopback)
}

/// The same check for an address that is already parsed; returns it in canonical form.
pub fn usable(address: IpAddr, loopback: Loopback) -> Result<IpAddr, AddressError> {
    let address = address.to_canonical();
    match unusable_kind(address) {
        Some("a loopback address") if loopback == Loopback::Allowed => Ok(address),
        Some(kind) => Err(AddressError::Unusable { address, kind }),
        None => Ok(address),
    }
}

fn unusable_kind(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_multicast() => Some("a multicast address"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if link_local => Some("a link-local address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_addresses_that_others_reach() {
        for (text, want) in [
            ("10.77.0.11", "10.77.0.11"),
            ("fd77::12", "fd77::12"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(parse(text, Loopback::Refused).unwrap().to_string(), want);
        }
    }

    #[test]
    fn refuses_the_others_by_name() {
        for (text, want) in [
            ("10.77.0", "not an IP address"),
            ("10.77.0.11/24", "not an IP address"),
            ("0.0.0.0", "unspecified"),
            ("::", "unspecified"),
            ("224.0.0.1", "multicast"),
            ("ff02::1", "multicast"),
            ("169.254.0.9", "link-local"),
            ("fe80::1", "link-local"),
            ("127.0.0.1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("255.255.255.255", "broadcast"),
        ] {
            let error = parse(text, Loopback::Refused).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
        assert!(parse("127.77.0.11", Loopback::Allowed).is_ok());
        assert!(parse("169.254.0.9", Loopback::Allowed).is_err());
    }
}
