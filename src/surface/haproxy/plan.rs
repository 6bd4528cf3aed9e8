//! What has to change in the running HAProxy, as a pure function of what runs and what should.

use std::net::SocketAddr;

use super::answers::ServerState;
use super::render::{Server, UNKNOWN};

/// One server that is not where it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The server's name.
    pub label: String,
    /// Where HAProxy has it.
    pub from: SocketAddr,
    /// Where it is.
    pub to: SocketAddr,
    /// Put it into use, take it out, or leave that as it is. Done before the address is set: when
    /// the work breaks off between the two, the wrong address that remains shows that it did.
    pub ready: Option<bool>,
}

/// The changes that make the running servers equal to the wanted ones.
///
/// Servers that only one side has are a matter of structure and left alone. So is maintenance that
/// an operator ordered over the Runtime API: a server is put into use only when its first address
/// arrives.
pub fn changes(running: &[ServerState], wanted: &[Server]) -> Vec<Change> {
    let change = |server: &Server| {
        let state = running.iter().find(|state| state.label == server.label)?;
        let to = server.socket_address();
        let ready = match server.address {
            Some(_) if state.address.ip() == UNKNOWN && state.maintenance => Some(true),
            None if !state.maintenance => Some(false),
            _ => None,
        };
        (state.address != to || ready.is_some()).then(|| Change {
            label: server.label.clone(),
            from: state.address,
            to,
            ready,
        })
    };
    wanted.iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;
    use crate::surface::haproxy::render::Place;

    fn state(label: &str, address: &str, maintenance: bool) -> ServerState {
        ServerState {
            label: label.into(),
            address: address.parse().unwrap(),
            maintenance,
        }
    }

    fn server(label: &str, address: Option<&str>) -> Server {
        Server {
            label: label.into(),
            name: Name::parse(&format!("{label}.k8s.internal")).unwrap(),
            address: address.map(|a| a.parse().unwrap()),
            port: 6443,
            place: Place::Remote,
        }
    }

    #[test]
    fn changes_what_differs_and_nothing_else() {
        let unknown = "[100::]:6443";
        for (running, wanted, to, ready) in [
            // Equal.
            (
                state("m", "10.0.0.1:6443", false),
                Some("10.0.0.1"),
                None,
                None,
            ),
            (state("m", unknown, true), None, None, None),
            // Moved, also to the other family and to another port.
            (
                state("m", "10.0.0.1:6443", false),
                Some("10.0.0.2"),
                Some("10.0.0.2:6443"),
                None,
            ),
            (
                state("m", "10.0.0.1:6443", false),
                Some("fd77::1"),
                Some("[fd77::1]:6443"),
                None,
            ),
            (
                state("m", "10.0.0.1:6444", false),
                Some("10.0.0.1"),
                Some("10.0.0.1:6443"),
                None,
            ),
            // The first address arrives; the last one is lost.
            (
                state("m", unknown, true),
                Some("10.0.0.1"),
                Some("10.0.0.1:6443"),
                Some(true),
            ),
            (
                state("m", "10.0.0.1:6443", false),
                None,
                Some(unknown),
                Some(false),
            ),
            // Broken off between the two steps.
            (
                state("m", unknown, false),
                Some("10.0.0.1"),
                Some("10.0.0.1:6443"),
                None,
            ),
            (state("m", "10.0.0.1:6443", true), None, Some(unknown), None),
            // An operator's maintenance stays.
            (
                state("m", "10.0.0.1:6443", true),
                Some("10.0.0.1"),
                None,
                None,
            ),
            (
                state("m", "10.0.0.1:6443", true),
                Some("10.0.0.2"),
                Some("10.0.0.2:6443"),
                None,
            ),
            // Another set of servers is not for the Runtime API.
            (
                state("other", "10.0.0.1:6443", false),
                Some("10.0.0.2"),
                None,
                None,
            ),
        ] {
            let got = changes(std::slice::from_ref(&running), &[server("m", wanted)]);
            let want: Vec<Change> = to
                .map(|to: &str| Change {
                    label: "m".into(),
                    from: running.address,
                    to: to.parse().unwrap(),
                    ready,
                })
                .into_iter()
                .collect();
            assert_eq!(got, want, "{running:?} → {wanted:?}");
        }
    }
}
