//! A cluster to ask about, and what its messages are made of.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::allow_attributes,
    reason = "tests"
)]

use std::net::SocketAddr;
use std::sync::Arc;

use stayput::book::{Event, reduce};
use stayput::name::Name;
use stayput::surface::dns::Zone;
use stayput::view::View;

pub(crate) use crate::sample::view;
use crate::sample::{DOMAIN, ips};

/// The default of `dns.ttl`.
pub(crate) const TTL: u32 = 5;

pub(crate) fn name(relative: &str) -> Name {
    Name::parse(&format!("{relative}.{DOMAIN}")).unwrap()
}

/// The cluster that most tests ask about. `master-4` follows a name whose addresses are not known;
/// `a.rack.` makes `rack.` an empty non-terminal.
pub(crate) fn cluster() -> View {
    view(
        &[
            ("master-1", &["10.77.0.11"]),
            ("master-2", &["10.77.0.12", "fd77::12"]),
            ("a.rack", &["10.77.0.13"]),
            ("master-4", &[]),
        ],
        &[
            ("old-name.k8s.internal", "master-2"),
            ("kube.k8s.internal", "api"),
            ("nowhere.k8s.internal", "master-4"),
            ("k8s.example.com", "api"),
        ],
    )
}

/// The same view after a master has moved.
pub(crate) fn moved(view: &View, master: &str, to: &[&str]) -> View {
    let event = Event::Told {
        name: name(master),
        addresses: ips(to),
    };
    let book = reduce(&view.book, &event, 0).unwrap();
    View {
        book: Arc::new(book),
        ..view.clone()
    }
}

/// A master with so many addresses that no datagram holds them.
pub(crate) fn crowd() -> Zone {
    let addresses: Vec<String> = (0..250).map(|i| format!("10.1.2.{i}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    Zone::new(&view(&[("crowd", &addresses)], &[]))
}

/// A loopback address that no other test of this machine uses, with an unprivileged port: all of
/// 127.0.0.0/8 is the machine itself.
pub(crate) fn loopback() -> SocketAddr {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let host = NEXT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, high, low, host], 5300))
}
