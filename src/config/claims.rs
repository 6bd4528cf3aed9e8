//! Sockets and files that two settings must not both claim.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::report::{Place, Report};

/// What was claimed so far.
#[derive(Debug, Default)]
pub(super) struct Claims {
    sockets: Vec<(Place, SocketAddr)>,
    files: Vec<(Place, PathBuf)>,
}

impl Claims {
    /// Claims a TCP port. The unspecified address stands for all of the node's addresses.
    pub(super) fn socket(&mut self, place: Place, socket: SocketAddr, report: &mut Report) {
        let same = |(_, other): &&(Place, SocketAddr)| collide(*other, socket);
        if let Some((other, _)) = self.sockets.iter().find(same) {
            let what = format!("port {} ({socket})", socket.port());
            complain(&place, other, &what, report);
        }
        self.sockets.push((place, socket));
    }

    /// Claims a port on the endpoint's address.
    pub(super) fn loopback_port(&mut self, place: Place, port: u16, report: &mut Report) {
        self.socket(place, (Ipv4Addr::LOCALHOST, port).into(), report);
    }

    /// Claims a port on every address of the node.
    pub(super) fn port(&mut self, place: Place, port: u16, report: &mut Report) {
        self.socket(place, (Ipv4Addr::UNSPECIFIED, port).into(), report);
    }

    /// Claims a file.
    pub(super) fn file(&mut self, place: Place, path: &Path, report: &mut Report) {
        if let Some((other, _)) = self.files.iter().find(|(_, other)| other == path) {
            complain(&place, other, &path.display().to_string(), report);
        }
        self.files.push((place, path.to_owned()));
    }
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_address =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && same_address
}

/// Complains where the operator wrote something, not where a default holds.
fn complain(one: &Place, other: &Place, what: &str, report: &mut Report) {
    let (here, there) = if one.given {
        (one, other)
    } else {
        (other, one)
    };
    let origin = if there.given { "" } else { " by default" };
    report.add(
        here,
        format!(
            "{what} belongs to {}{origin}; choose another one",
            there.key
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_on_all_addresses_collides_with_one_on_any() {
        for (one, other, want) in [
            ("127.0.0.1:53", "127.0.0.1:53", true),
            ("127.0.0.1:53", "127.0.0.2:53", false),
            ("127.0.0.1:53", "127.0.0.1:54", false),
            ("0.0.0.0:6443", "127.0.0.1:6443", true),
            ("[::1]:6443", "0.0.0.0:6443", true),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(collide(one, other), want, "{one} {other}");
        }
    }
}
