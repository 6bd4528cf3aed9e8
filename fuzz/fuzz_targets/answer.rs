//! Any bytes, over UDP or TCP, against the whole answering function.
//!
//! ```text
//! cargo +nightly fuzz run answer fuzz/corpus/answer fuzz/seeds/answer -- \
//!     -dict=fuzz/dns.dict -max_len=600 -max_total_time=120
//! ```
//!
//! The first byte chooses transport and zone, the rest is the message. Each is asked twice, so that
//! the second reply comes from what the short path remembers.

#![no_main]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

use hickory_server::proto::op::{Message, MessageType};
use libfuzzer_sys::fuzz_target;
use stayput::surface::dns::{Transport, Zone, answer, answer_in_full};

#[path = "../../tests/dns_support/mod.rs"]
mod dns_support;
#[path = "../../tests/sample/mod.rs"]
mod sample;

static ZONES: LazyLock<[Zone; 2]> =
    LazyLock::new(|| [Zone::new(&dns_support::cluster()), dns_support::crowd()]);

fuzz_target!(|input: &[u8]| {
    let Some((choice, request)) = input.split_first() else {
        return;
    };
    let transport = if choice & 1 == 0 { Transport::Udp } else { Transport::Tcp };
    let zone = &ZONES[usize::from(choice >> 1 & 1)];
    let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));

    let (mut reply, mut again, mut in_full) = (Vec::new(), Vec::new(), Vec::new());
    answer(zone, request, source, transport, &mut reply);
    answer(zone, request, source, transport, &mut again);
    answer_in_full(zone, request, source, transport, &mut in_full);
    assert_eq!(reply, in_full, "the paths differ");
    assert_eq!(reply, again, "the second reply differs");

    if reply.is_empty() {
        assert!(request.len() < 12 || request[2] & 0x80 != 0, "no reply");
        return;
    }
    let message = Message::from_vec(&reply).expect("a reply that hickory can read");
    assert_eq!(reply[..2], request[..2], "id");
    assert_eq!(message.message_type, MessageType::Response);
    assert!(!message.recursion_available && !message.authentic_data);
    if transport == Transport::Udp {
        let limit = if message.edns.is_some() { 1232 } else { 512 };
        assert!(reply.len() <= limit, "{} octets", reply.len());
    }
    if message.truncation {
        assert!(message.answers.is_empty());
    }
});
