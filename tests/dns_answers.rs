//! What the responder answers, message by message: a table of questions, the rules of headers and
//! EDNS, and properties over any bytes.
#![expect(clippy::unwrap_used, reason = "tests")]

mod dns_support;
mod sample;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::LazyLock;

use dns_support::{cluster, crowd, view};
use hickory_server::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_server::proto::rr::{DNSClass, Name, Record, RecordType};
use proptest::prelude::*;
use stayput::surface::dns::{Transport, Zone, answer, answer_in_full};

fn source() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 40_000))
}

fn ask_bytes(zone: &Zone, request: &[u8], transport: Transport) -> Vec<u8> {
    let (mut reply, mut in_full) = (vec![1, 2, 3], Vec::new());
    answer(zone, request, source(), transport, &mut reply);
    answer_in_full(zone, request, source(), transport, &mut in_full);
    assert_eq!(
        reply, in_full,
        "short path and full path differ for {request:?}"
    );
    reply
}

/// By name, or by number where hickory knows none: TYPE251 is IXFR.
fn record_type(text: &str) -> RecordType {
    match text.strip_prefix("TYPE") {
        Some(number) => RecordType::from(number.parse::<u16>().unwrap()),
        None => RecordType::from_str(text).unwrap(),
    }
}

fn question(name: &str, wanted: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), wanted));
    message
}

fn ask(zone: &Zone, request: &Message) -> Message {
    let reply = ask_bytes(zone, &request.to_vec().unwrap(), Transport::Udp);
    Message::from_vec(&reply).unwrap()
}

/// `owner TYPE data` for each record of a section, joined by `; `.
fn shown(records: &[Record]) -> String {
    let lines = records.iter().map(|r| {
        assert_eq!(r.ttl, dns_support::TTL);
        format!("{} {} {}", r.name, r.record_type(), r.data)
    });
    lines.collect::<Vec<_>>().join("; ")
}

const SOA: &str =
    "k8s.internal. SOA api.k8s.internal. hostmaster.k8s.internal. 1764000000 3600 600 86400 5";

#[test]
fn answers_by_table() {
    let zone = Zone::new(&cluster());
    let soa = SOA;
    let reverse_soa = SOA.replacen("k8s.internal.", "11.0.77.10.in-addr.arpa.", 1);
    let reverse_soa = reverse_soa.as_str();
    // Question, code, answer, authority, additional.
    #[rustfmt::skip]
    let table = [
        ("master-1.k8s.internal. A", "NoError", "master-1.k8s.internal. A 10.77.0.11", "", ""),
        ("master-1.k8s.internal. AAAA", "NoError", "", soa, ""),
        ("master-2.k8s.internal. A", "NoError", "master-2.k8s.internal. A 10.77.0.12", "", ""),
        ("master-2.k8s.internal. AAAA", "NoError", "master-2.k8s.internal. AAAA fd77::12", "", ""),
        ("api.k8s.internal. A", "NoError", "api.k8s.internal. A 127.0.0.1", "", ""),
        // A followed master whose addresses are not known exists all the same.
        ("master-4.k8s.internal. A", "NoError", "", soa, ""),
        ("nope.k8s.internal. A", "NXDomain", "", soa, ""),
        ("a.b.c.nope.k8s.internal. A", "NXDomain", "", soa, ""),
        ("x.master-1.k8s.internal. A", "NXDomain", "", soa, ""),
        // Empty non-terminals.
        ("rack.k8s.internal. A", "NoError", "", soa, ""),
        ("_tcp.k8s.internal. A", "NoError", "", soa, ""),
        ("rack.k8s.internal. ANY", "NoError", "", soa, ""),
        ("a.rack.k8s.internal. A", "NoError", "a.rack.k8s.internal. A 10.77.0.13", "", ""),
        ("b.rack.k8s.internal. A", "NXDomain", "", soa, ""),
        // Aliases.
        ("old-name.k8s.internal. A", "NoError", "old-name.k8s.internal. CNAME master-2.k8s.internal.; master-2.k8s.internal. A 10.77.0.12", "", ""),
        ("old-name.k8s.internal. AAAA", "NoError", "old-name.k8s.internal. CNAME master-2.k8s.internal.; master-2.k8s.internal. AAAA fd77::12", "", ""),
        ("old-name.k8s.internal. TXT", "NoError", "old-name.k8s.internal. CNAME master-2.k8s.internal.", soa, ""),
        ("old-name.k8s.internal. CNAME", "NoError", "old-name.k8s.internal. CNAME master-2.k8s.internal.", "", ""),
        ("old-name.k8s.internal. ANY", "NoError", "old-name.k8s.internal. CNAME master-2.k8s.internal.", "", ""),
        ("kube.k8s.internal. A", "NoError", "kube.k8s.internal. CNAME api.k8s.internal.; api.k8s.internal. A 127.0.0.1", "", ""),
        ("nowhere.k8s.internal. A", "NoError", "nowhere.k8s.internal. CNAME master-4.k8s.internal.", soa, ""),
        // The domain itself.
        ("k8s.internal. SOA", "NoError", soa, "", ""),
        ("k8s.internal. NS", "NoError", "k8s.internal. NS api.k8s.internal.", "", "api.k8s.internal. A 127.0.0.1"),
        ("k8s.internal. ANY", "NoError", soa, "", ""),
        ("k8s.internal. A", "NoError", "", soa, ""),
        ("master-1.k8s.internal. SOA", "NoError", "", soa, ""),
        ("master-1.k8s.internal. NS", "NoError", "", soa, ""),
        ("master-1.k8s.internal. CNAME", "NoError", "", soa, ""),
        ("master-1.k8s.internal. HTTPS", "NoError", "", soa, ""),
        ("master-2.k8s.internal. ANY", "NoError", "master-2.k8s.internal. A 10.77.0.12", "", ""),
        // Reverse: zones of exactly one name.
        ("11.0.77.10.in-addr.arpa. PTR", "NoError", "11.0.77.10.in-addr.arpa. PTR master-1.k8s.internal.", "", ""),
        ("11.0.77.10.in-addr.arpa. ANY", "NoError", reverse_soa, "", ""),
        ("11.0.77.10.in-addr.arpa. SOA", "NoError", reverse_soa, "", ""),
        ("11.0.77.10.in-addr.arpa. NS", "NoError", "11.0.77.10.in-addr.arpa. NS api.k8s.internal.", "", "api.k8s.internal. A 127.0.0.1"),
        ("11.0.77.10.in-addr.arpa. A", "NoError", "", reverse_soa, ""),
        ("x.11.0.77.10.in-addr.arpa. PTR", "NXDomain", "", reverse_soa, ""),
        ("2.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa. PTR", "NoError", "2.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa. PTR master-2.k8s.internal.", "", ""),
        ("99.0.77.10.in-addr.arpa. PTR", "Refused", "", "", ""),
        ("0.77.10.in-addr.arpa. SOA", "Refused", "", "", ""),
        ("1.0.0.127.in-addr.arpa. PTR", "Refused", "", "", ""),
        // Outside.
        ("example.com. A", "Refused", "", "", ""),
        ("k8s.example.com. A", "Refused", "", "", ""),
        ("internal. A", "Refused", "", "", ""),
        ("xk8s.internal. A", "Refused", "", "", ""),
        (". NS", "Refused", "", "", ""),
        // Not for anybody.
        ("k8s.internal. AXFR", "Refused", "", "", ""),
        ("k8s.internal. TYPE251", "Refused", "", "", ""),
        // etcd's discovery.
        ("_etcd-client-ssl._tcp.k8s.internal. SRV", "NoError",
            "_etcd-client-ssl._tcp.k8s.internal. SRV 0 0 2379 master-1.k8s.internal.; _etcd-client-ssl._tcp.k8s.internal. SRV 0 0 2379 master-2.k8s.internal.; _etcd-client-ssl._tcp.k8s.internal. SRV 0 0 2379 a.rack.k8s.internal.; _etcd-client-ssl._tcp.k8s.internal. SRV 0 0 2379 master-4.k8s.internal.", "",
            "master-1.k8s.internal. A 10.77.0.11; master-2.k8s.internal. A 10.77.0.12; master-2.k8s.internal. AAAA fd77::12; a.rack.k8s.internal. A 10.77.0.13"),
        ("_etcd-server-ssl._tcp.k8s.internal. A", "NoError", "", soa, ""),
    ];
    for (asked, code, answers, authority, additional) in table {
        let (name, wanted) = asked.split_once(' ').unwrap();
        let request = question(name, record_type(wanted));
        let reply = ask(&zone, &request);
        assert_eq!(format!("{:?}", reply.response_code), code, "{asked}");
        assert_eq!(shown(&reply.answers), answers, "{asked}: answer");
        assert_eq!(shown(&reply.authorities), authority, "{asked}: authority");
        assert_eq!(shown(&reply.additionals), additional, "{asked}: additional");
        assert_eq!(reply.authoritative, code != "Refused", "{asked}: AA");
        assert_eq!(reply.queries, request.queries, "{asked}: question");
        assert_eq!(reply.edns, None, "{asked}: OPT");
        assert_eq!(
            (reply.id, reply.message_type),
            (0x1234, MessageType::Response)
        );
        assert!(!reply.recursion_available && !reply.truncation, "{asked}");
    }
    let servers = ask(
        &zone,
        &question("_etcd-server-ssl._tcp.k8s.internal.", RecordType::SRV),
    );
    assert!(shown(&servers.answers).contains("SRV 0 0 2380 master-1.k8s.internal."));
}

#[test]
fn two_masters_of_one_address_are_both_its_reverse() {
    let zone = Zone::new(&view(&[("a", &["10.0.0.1"]), ("b", &["10.0.0.1"])], &[]));
    let reply = ask(&zone, &question("1.0.0.10.in-addr.arpa.", RecordType::PTR));
    let want =
        "1.0.0.10.in-addr.arpa. PTR a.k8s.internal.; 1.0.0.10.in-addr.arpa. PTR b.k8s.internal.";
    assert_eq!(shown(&reply.answers), want);
}

/// Resolvers draw case at random and check that it comes back (0x20), in owner names too.
#[test]
fn the_case_of_the_question_comes_back() {
    let zone = Zone::new(&cluster());
    for (name, wanted) in [
        ("mAsTeR-1.K8s.INTERNAL.", RecordType::A),
        ("mAsTeR-1.K8s.INTERNAL.", RecordType::AAAA),
        ("oLd-nAmE.K8s.internal.", RecordType::A),
        ("NOPE.K8S.internal.", RecordType::A),
        ("11.0.77.10.IN-ADDR.arpa.", RecordType::PTR),
    ] {
        let reply = ask(&zone, &question(name, wanted));
        assert_eq!(reply.queries[0].name().to_ascii(), name);
        let owner = reply.answers.first().or(reply.authorities.first()).unwrap();
        assert!(
            name.ends_with(&owner.name.to_ascii()),
            "{name}: {}",
            owner.name
        );
    }
}

/// Without compression, a name of the domain in each of many records would fill the datagram.
#[test]
fn owners_are_compressed_against_the_question() {
    let zone = Zone::new(&cluster());
    for name in ["master-1.k8s.internal.", "MASTER-1.k8s.internal."] {
        let request = question(name, RecordType::A).to_vec().unwrap();
        let reply = ask_bytes(&zone, &request, Transport::Udp);
        assert_eq!(reply.len(), request.len() + 16, "{name}");
    }
}

#[test]
fn flags_of_the_reply() {
    let zone = Zone::new(&cluster());
    let mut request = question("master-1.k8s.internal.", RecordType::A);
    request.metadata.recursion_desired = true;
    request.metadata.checking_disabled = true;
    request.metadata.authentic_data = true;
    let reply = ask(&zone, &request);
    assert!(reply.recursion_desired && reply.authoritative);
    assert!(!reply.recursion_available && !reply.checking_disabled && !reply.authentic_data);
}

#[test]
fn faulty_requests_get_the_code_that_is_due() {
    let zone = Zone::new(&cluster());
    let good = question("master-1.k8s.internal.", RecordType::A);
    let with = |change: &dyn Fn(&mut Message)| {
        let mut message = good.clone();
        change(&mut message);
        ask(&zone, &message)
    };
    let two = with(&|m| {
        m.add_query(good.queries[0].clone());
    });
    assert_eq!(two.response_code, ResponseCode::FormErr);
    let none = with(&|m| m.queries.clear());
    assert_eq!(none.response_code, ResponseCode::FormErr);
    for op_code in [
        OpCode::Status,
        OpCode::Notify,
        OpCode::Update,
        OpCode::Unknown(7),
    ] {
        let reply = with(&|m| m.metadata.op_code = op_code);
        assert_eq!(
            (reply.response_code, reply.op_code),
            (ResponseCode::NotImp, op_code)
        );
    }
    for class in [DNSClass::CH, DNSClass::HS, DNSClass::ANY, DNSClass::NONE] {
        let reply = with(&|m| {
            m.queries[0].set_query_class(class);
        });
        assert_eq!(reply.response_code, ResponseCode::Refused, "{class}");
    }
    let version = with(&|m| {
        let mut edns = Edns::new();
        edns.set_version(1).set_max_payload(4096);
        m.set_edns(edns);
    });
    assert_eq!(u16::from(version.response_code), 16, "BADVERS");
    assert_eq!(version.edns.as_ref().map(Edns::version), Some(0));
    assert!(version.answers.is_empty());
}

#[test]
fn messages_that_are_no_requests() {
    let zone = Zone::new(&cluster());
    let good = question("master-1.k8s.internal.", RecordType::A)
        .to_vec()
        .unwrap();
    for short in 0..12 {
        assert!(
            ask_bytes(&zone, &good[..short], Transport::Udp).is_empty(),
            "{short}"
        );
    }
    let mut response = good.clone();
    response[2] |= 0x80;
    assert!(ask_bytes(&zone, &response, Transport::Udp).is_empty());
    // Cut anywhere behind the header: FORMERR, with the id, and no more than a header.
    for cut in 12..good.len() {
        let reply = ask_bytes(&zone, &good[..cut], Transport::Udp);
        assert_eq!((reply.len(), reply[3]), (12, 1), "{cut}");
        assert_eq!(reply[..2], good[..2]);
    }
    // A name that points to itself.
    let mut looped = good[..12].to_vec();
    looped.extend([0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(ask_bytes(&zone, &looped, Transport::Udp)[3], 1);
}

#[test]
fn edns_is_answered_and_clamped() {
    let zone = Zone::new(&cluster());
    for (payload, dnssec_ok) in [(0, false), (512, true), (1232, false), (65_535, true)] {
        let mut request = question("master-1.k8s.internal.", RecordType::A);
        let mut edns = Edns::new();
        edns.set_max_payload(payload).set_dnssec_ok(dnssec_ok);
        request.set_edns(edns);
        let reply = ask(&zone, &request);
        let edns = reply.edns.unwrap();
        assert_eq!((edns.max_payload(), edns.version()), (1232, 0));
        assert_eq!(edns.flags().dnssec_ok, dnssec_ok);
        assert_eq!(reply.answers.len(), 1);
    }
}

#[test]
fn what_does_not_fit_is_truncated_and_keeps_its_opt() {
    let zone = crowd();
    for (payload, limit) in [(None, 512), (Some(600), 600), (Some(4096), 1232)] {
        let mut request = question("crowd.k8s.internal.", RecordType::A);
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            request.set_edns(edns);
        }
        let bytes = request.to_vec().unwrap();
        let reply = ask_bytes(&zone, &bytes, Transport::Udp);
        assert!(reply.len() <= limit);
        let reply = Message::from_vec(&reply).unwrap();
        assert!(reply.truncation && reply.authoritative);
        assert_eq!(reply.edns.is_some(), payload.is_some());
        assert_eq!((reply.queries.len(), reply.answers.len()), (1, 0));
        let whole = Message::from_vec(&ask_bytes(&zone, &bytes, Transport::Tcp)).unwrap();
        assert!(!whole.truncation);
        assert_eq!(whole.answers.len(), 250);
    }
}

/// RFC 2181 section 9: additional records may be left out, and TC is for what was asked.
#[test]
fn additional_records_that_do_not_fit_are_left_out_silently() {
    let names: Vec<String> = (0..10).map(|i| format!("master-{i}")).collect();
    let address = ["10.0.0.1"];
    let masters: Vec<(&str, &[&str])> = names.iter().map(|n| (n.as_str(), &address[..])).collect();
    let zone = Zone::new(&view(&masters, &[]));
    let request = question("_etcd-server-ssl._tcp.k8s.internal.", RecordType::SRV);
    let reply = ask(&zone, &request);
    assert!(!reply.truncation);
    assert_eq!((reply.answers.len(), reply.additionals.len()), (10, 0));
}

fn labels() -> impl Strategy<Value = String> {
    let label = prop_oneof![
        Just("master-1".to_owned()),
        Just("master-2".to_owned()),
        Just("master-4".to_owned()),
        Just("old-name".to_owned()),
        Just("nowhere".to_owned()),
        Just("a.rack".to_owned()),
        Just("rack".to_owned()),
        Just("crowd".to_owned()),
        Just("_tcp".to_owned()),
        Just("_etcd-server-ssl._tcp".to_owned()),
        "[a-z]{1,5}",
    ];
    let domain = prop_oneof![
        8 => Just(".k8s.internal."),
        1 => Just(".K8S.internal."),
        1 => Just(".example.com."),
        1 => Just(".11.0.77.10.in-addr.arpa."),
    ];
    let name = (label, domain).prop_map(|(label, domain)| label + domain);
    prop_oneof![
        8 => name,
        1 => Just("k8s.internal.".to_owned()),
        1 => Just("11.0.77.10.in-addr.arpa.".to_owned()),
        1 => Just(".".to_owned()),
    ]
}

static CROWD: LazyLock<Zone> = LazyLock::new(crowd);

prop_compose! {
    /// Something that looks like a question, with any flags and any kind of OPT record.
    fn requests()(
        id: u16,
        flags in prop_oneof![4 => Just([0, 0]), 4 => Just([1, 0x20]), 1 => any::<[u8; 2]>()],
        name in labels(),
        wanted in prop_oneof![Just(1u16), Just(28), Just(255), Just(12), Just(33), Just(6), any::<u16>()],
        class in prop_oneof![8 => Just(1u16), 1 => any::<u16>()],
        counts in prop_oneof![8 => Just([1, 0, 0]), 1 => any::<[u8; 3]>()],
        opt in prop_oneof![
            3 => Just(vec![]),
            6 => (any::<u16>(), prop_oneof![Just([0u8, 0]), Just([0x80, 0]), any::<[u8; 2]>()])
                .prop_map(|(size, flags)| [&[0, 0, 41], &size.to_be_bytes()[..], &[0, 0], &flags, &[0, 0]].concat()),
            1 => Just(vec![0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]),
            1 => Just(vec![0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0]),
            1 => any::<Vec<u8>>(),
        ],
        additional in prop_oneof![8 => Just(None), 1 => any::<Option<u8>>()],
        tail in prop_oneof![8 => Just(vec![]), 1 => any::<Vec<u8>>()],
    ) -> Vec<u8> {
        let additional = additional.unwrap_or(u8::from(!opt.is_empty()));
        let mut bytes = id.to_be_bytes().to_vec();
        bytes.extend([flags[0], flags[1], 0, counts[0], 0, counts[1], 0, counts[2], 0, additional]);
        for label in name.split_terminator('.').filter(|label| !label.is_empty()) {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(wanted.to_be_bytes());
        bytes.extend(class.to_be_bytes());
        bytes.extend(opt);
        bytes.extend(tail);
        bytes
    }
}

/// What holds of any reply at all.
fn check_reply(request: &[u8], reply: &[u8], transport: Transport) {
    if reply.is_empty() {
        assert!(
            request.len() < 12 || request[2] & 0x80 != 0,
            "no reply to {request:?}"
        );
        return;
    }
    let message = Message::from_vec(reply).unwrap();
    assert_eq!(reply[..2], request[..2], "id");
    assert_eq!(message.message_type, MessageType::Response);
    assert!(transport == Transport::Tcp || reply.len() <= 1232);
    assert!(message.edns.is_some() || transport == Transport::Tcp || reply.len() <= 512);
}

/// Names of one to three labels over a small alphabet, so that some lie above others.
fn masters() -> impl Strategy<Value = BTreeMap<String, Vec<IpAddr>>> {
    let label = "[ab]{1,2}";
    let name = prop::collection::vec(label, 1..4).prop_map(|labels| labels.join("."));
    let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = any::<[u8; 16]>().prop_map(IpAddr::from);
    prop::collection::btree_map(
        name,
        prop::collection::vec(prop_oneof![v4, v6], 0..4),
        1..12,
    )
}

proptest! {
    /// Every name is there with exactly its addresses, everything above it exists, nothing else
    /// does, and each address leads back.
    #[test]
    fn a_zone_holds_its_masters_and_what_is_above_them(masters in masters()) {
        let texts: Vec<(&String, Vec<String>)> = masters
            .iter()
            .map(|(name, addresses)| (name, addresses.iter().map(ToString::to_string).collect()))
            .collect();
        let borrowed: Vec<(&str, Vec<&str>)> = texts
            .iter()
            .map(|(name, addresses)| (name.as_str(), addresses.iter().map(String::as_str).collect()))
            .collect();
        let listed: Vec<(&str, &[&str])> = borrowed.iter().map(|(n, a)| (*n, a.as_slice())).collect();
        let zone = Zone::new(&view(&listed, &[]));
        for (name, addresses) in &masters {
            let absolute = format!("{name}.k8s.internal.");
            let found: Vec<IpAddr> = [RecordType::A, RecordType::AAAA]
                .into_iter()
                .flat_map(|wanted| ask(&zone, &question(&absolute, wanted)).answers)
                .map(|record| record.data.ip_addr().unwrap())
                .collect();
            let (mut want, v6): (Vec<IpAddr>, Vec<IpAddr>) =
                addresses.iter().copied().partition(IpAddr::is_ipv4);
            want.extend(v6);
            prop_assert_eq!(found, want);
            for address in addresses {
                let reverse = Name::from(*address).to_ascii();
                let back = ask(&zone, &question(&reverse, RecordType::PTR));
                let want = format!("PTR {absolute}");
                prop_assert!(shown(&back.answers).contains(&want));
            }
            for (dot, _) in absolute.match_indices('.').rev().skip(2) {
                let above = &absolute[dot + 1..];
                let reply = ask(&zone, &question(above, RecordType::TXT));
                prop_assert_eq!(reply.response_code, ResponseCode::NoError, "{}", above);
            }
            let absent = format!("c.{absolute}");
            let reply = ask(&zone, &question(&absent, RecordType::A));
            prop_assert_eq!(reply.response_code, ResponseCode::NXDomain);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn short_path_and_full_path_give_the_same_bytes(request in requests(), tcp: bool) {
        let crowd = &*CROWD;
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        for zone in [&Zone::new(&cluster()), crowd] {
            let reply = ask_bytes(zone, &request, transport);
            // Asked again, from what was remembered.
            assert_eq!(ask_bytes(zone, &request, transport), reply);
            check_reply(&request, &reply, transport);
        }
    }

    #[test]
    fn any_bytes_are_answered_or_dropped(request: Vec<u8>, tcp: bool) {
        let zone = Zone::new(&cluster());
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        check_reply(&request, &ask_bytes(&zone, &request, transport), transport);
    }
}
