//! The responder's sockets: bound each by itself, bounded, untouched by changes, finished before
//! they close. And the client that `check` asks with.
#![expect(clippy::unwrap_used, reason = "tests")]

mod dns_support;
mod sample;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use dns_support::{cluster, crowd, loopback, moved};
use stayput::query::{self, Wanted};
use stayput::surface::dns::{Counters, Limits, Responder, Transport, Zone};

/// Longer than anything here takes; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

/// A question for A, with `id`.
fn request(id: u16, relative: &str) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in format!("{relative}.k8s.internal").split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

fn framed(message: &[u8]) -> Vec<u8> {
    [
        &u16::try_from(message.len()).unwrap().to_be_bytes(),
        message,
    ]
    .concat()
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn read_reply(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply).unwrap();
    reply
}

/// Whether the other side closes within the deadline, with or without a reset.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn udp_client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn patient() -> Limits {
    Limits {
        tcp_idle: DEADLINE * 2,
        grace: DEADLINE * 2,
        ..Limits::default()
    }
}

#[test]
fn several_questions_at_once_on_one_connection() {
    let server = loopback();
    let responder = Responder::start_with(&[server], Zone::new(&cluster()), patient()).unwrap();
    let mut stream = connect(server);
    let mut bytes = Vec::new();
    for id in 0..100 {
        bytes.extend(framed(&request(id, "master-1")));
    }
    // Cut where it hurts: within a length.
    let (first, second) = bytes.split_at(framed(&request(0, "master-1")).len() * 50 + 1);
    stream.write_all(first).unwrap();
    for id in 0..50u16 {
        assert_eq!(read_reply(&mut stream)[..2], id.to_be_bytes());
    }
    stream.write_all(second).unwrap();
    // A client that has said all it wanted still gets its replies.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    for id in 50..100u16 {
        assert_eq!(read_reply(&mut stream)[..2], id.to_be_bytes());
    }
    assert!(is_closed(&mut stream));
    assert_eq!(responder.counters().tcp, 100);
    responder.shutdown();
}

#[test]
fn a_connection_that_idles_or_dawdles_is_closed() {
    let server = loopback();
    let limits = Limits {
        tcp_idle: Duration::from_millis(50),
        ..Limits::default()
    };
    let responder = Responder::start_with(&[server], Zone::new(&cluster()), limits).unwrap();
    let mut silent = connect(server);
    let mut dawdling = connect(server);
    dawdling
        .write_all(&framed(&request(1, "master-1"))[..9])
        .unwrap();
    let mut endless = connect(server);
    endless.write_all(&[0xff, 0xff, 1, 2, 3]).unwrap();
    assert!(is_closed(&mut silent));
    assert!(is_closed(&mut dawdling));
    assert!(is_closed(&mut endless));
    responder.shutdown();
}

#[test]
fn one_connection_too_many_is_closed_and_a_place_is_given_back() {
    let server = loopback();
    let limits = Limits {
        tcp_connections: 2,
        ..patient()
    };
    let responder = Responder::start_with(&[server], Zone::new(&cluster()), limits).unwrap();
    let mut held: Vec<TcpStream> = (0..2).map(|_| connect(server)).collect();
    for stream in &mut held {
        stream.write_all(&framed(&request(1, "master-1"))).unwrap();
        read_reply(stream);
    }
    assert!(is_closed(&mut connect(server)));
    assert_eq!(responder.counters().connections_refused, 1);
    // UDP has nothing to do with it.
    let udp = udp_client(server);
    udp.send(&request(2, "master-1")).unwrap();
    udp.recv(&mut [0; 512]).unwrap();
    held.pop();
    eventually("a place is free again", || {
        let mut stream = connect(server);
        stream.write_all(&framed(&request(3, "master-1"))).is_ok() && !is_closed(&mut stream)
    });
    responder.shutdown();
}

#[test]
fn requests_that_have_come_are_answered_before_the_end() {
    let server = loopback();
    let responder = Responder::start_with(&[server], Zone::new(&cluster()), patient()).unwrap();
    let mut idle = connect(server);
    let mut begun = connect(server);
    let message = framed(&request(7, "master-1"));
    begun.write_all(&message[..20]).unwrap();
    // Both are known to the responder before it is told to stop.
    begun.flush().unwrap();
    let udp = udp_client(server);
    let mut buffer = [0; 512];
    udp.send(&request(1, "master-1")).unwrap();
    udp.recv(&mut buffer).unwrap();
    let mut late = connect(server);
    for id in 0..32u16 {
        udp.send(&request(id, "master-1")).unwrap();
    }
    late.write_all(&framed(&request(8, "master-2"))).unwrap();
    let end = std::thread::spawn(move || responder.shutdown());
    begun.write_all(&message[20..]).unwrap();
    assert_eq!(read_reply(&mut begun)[..2], [0, 7]);
    assert_eq!(read_reply(&mut late)[..2], [0, 8]);
    for id in 0..32u16 {
        udp.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..2], id.to_be_bytes());
    }
    assert!(is_closed(&mut idle) && is_closed(&mut begun) && is_closed(&mut late));
    end.join().unwrap();
    // The address is free for the next one.
    UdpSocket::bind(server).unwrap();
    TcpListener::bind(server).unwrap();
}

#[test]
fn a_request_that_never_ends_does_not_hold_up_the_end() {
    let server = loopback();
    let limits = Limits {
        grace: Duration::from_millis(100),
        ..patient()
    };
    let responder = Responder::start_with(&[server], Zone::new(&cluster()), limits).unwrap();
    let mut begun = connect(server);
    begun.write_all(&[0]).unwrap();
    responder.shutdown();
    assert!(is_closed(&mut begun));
}

#[test]
fn each_address_is_bound_by_itself_and_tried_again() {
    let (good, taken) = (loopback(), loopback());
    let wildcard = SocketAddr::from(([0, 0, 0, 0], 5300));
    let squatter = UdpSocket::bind(taken).unwrap();
    let responder = Responder::start(&[taken, good, wildcard], Zone::new(&cluster())).unwrap();
    let error = |address, transport| {
        let states = responder.state();
        let mut found = states
            .iter()
            .filter(|s| s.address == address && s.transport == transport);
        found.next().expect("a state").error.clone()
    };
    assert_eq!(error(good, Transport::Udp), None);
    assert_eq!(error(good, Transport::Tcp), None);
    assert_eq!(error(taken, Transport::Tcp), None, "only UDP is taken");
    let in_use = error(taken, Transport::Udp).unwrap();
    assert!(in_use.contains("in use"), "{in_use}");
    let refused = error(wildcard, Transport::Udp).unwrap();
    assert!(refused.contains("list each address"), "{refused}");
    let udp = udp_client(good);
    udp.send(&request(1, "master-1")).unwrap();
    udp.recv(&mut [0; 512]).unwrap();
    drop(squatter);
    eventually("the address is bound", || {
        error(taken, Transport::Udp).is_none()
    });
    let udp = udp_client(taken);
    udp.send(&request(1, "master-1")).unwrap();
    udp.recv(&mut [0; 512]).unwrap();
    responder.shutdown();
}

#[test]
fn sockets_that_stay_are_not_touched() {
    let (kept, removed, added) = (loopback(), loopback(), loopback());
    let view = cluster();
    let responder = Responder::start_with(&[kept, removed], Zone::new(&view), patient()).unwrap();
    let mut stream = connect(kept);
    let mut ask = || {
        stream.write_all(&framed(&request(1, "master-1"))).unwrap();
        read_reply(&mut stream)
    };
    assert!(ask().ends_with(&[10, 77, 0, 11]));
    responder.set_listen(&[kept, added]);
    responder.publish(Zone::new(&moved(&view, "master-1", &["10.9.9.9"])));
    assert!(
        ask().ends_with(&[10, 9, 9, 9]),
        "the same connection, the new zone"
    );
    let addresses: Vec<SocketAddr> = responder.state().iter().map(|s| s.address).collect();
    assert!(!addresses.contains(&removed) && addresses.contains(&added));
    let udp = udp_client(added);
    udp.send(&request(1, "master-1")).unwrap();
    udp.recv(&mut [0; 512]).unwrap();
    eventually("the removed address is free", || {
        TcpListener::bind(removed).is_ok()
    });
    responder.shutdown();
}

#[test]
fn what_happens_is_counted() {
    let server = loopback();
    let responder = Responder::start_with(&[server], crowd(), patient()).unwrap();
    let udp = udp_client(server);
    let good = request(1, "api");
    let mut status = good.clone();
    status[2] |= 0x10;
    let mut outside = good.clone();
    outside[13] = b'x';
    outside[18] = b'y';
    let mut version = good.clone();
    version[11] = 1;
    version.extend([0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0]);
    for message in [
        &good,
        &request(1, "nope"),
        &outside,
        &status,
        &version,
        &request(1, "crowd"),
    ] {
        udp.send(message).unwrap();
        udp.recv(&mut [0; 1500]).unwrap();
    }
    udp.send(b"too short").unwrap();
    udp.send(&good).unwrap();
    udp.recv(&mut [0; 1500]).unwrap();
    let mut stream = connect(server);
    stream.write_all(&framed(&good)).unwrap();
    read_reply(&mut stream);
    let want = Counters {
        udp: 8,
        tcp: 1,
        refused: 1,
        no_such_name: 1,
        faulty: 2,
        truncated: 1,
        unanswered: 1,
        connections_refused: 0,
    };
    assert_eq!(responder.counters(), want);
    responder.shutdown();
}

#[test]
fn a_flood_leaves_the_other_transport_its_turn() {
    let server = loopback();
    let responder = Responder::start_with(&[server], Zone::new(&cluster()), patient()).unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let flood = std::thread::spawn(move || {
        let udp = udp_client(server);
        let question = request(1, "master-1");
        // Needs no reply, but work all the same.
        let mut response = question.clone();
        response[2] |= 0x80;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let _ = udp.send(&question);
            for _ in 0..64 {
                let _ = udp.send(&response);
            }
        }
    });
    for id in 0..20u16 {
        let mut stream = connect(server);
        stream.write_all(&framed(&request(id, "master-2"))).unwrap();
        assert_eq!(read_reply(&mut stream)[..2], id.to_be_bytes());
    }
    drop(stop);
    flood.join().unwrap();
    responder.shutdown();
}

#[tokio::test]
async fn the_client_reads_what_the_responder_says() {
    let server = loopback();
    let responder = Responder::start(&[server], Zone::new(&cluster())).unwrap();
    let ask = |name, wanted| query::ask(server, name, wanted, DEADLINE);
    let reply = ask("master-2.k8s.internal", Wanted::Aaaa).await.unwrap();
    assert_eq!(
        (reply.code.as_str(), reply.authoritative),
        ("NOERROR", true)
    );
    assert_eq!(
        reply.addresses,
        ["fd77::12".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(reply.ttl, Some(5));
    let reply = ask("Old-Name.k8s.internal.", Wanted::A).await.unwrap();
    assert_eq!(reply.names, ["master-2.k8s.internal"]);
    assert_eq!(reply.addresses.len(), 1);
    let reply = ask("nope.k8s.internal", Wanted::A).await.unwrap();
    assert_eq!(
        (reply.code.as_str(), reply.serial),
        ("NXDOMAIN", Some(1_764_000_000))
    );
    let reply = ask("example.com", Wanted::Soa).await.unwrap();
    assert_eq!(
        (reply.code.as_str(), reply.authoritative),
        ("REFUSED", false)
    );
    let arpa = query::reverse("10.77.0.11".parse().unwrap());
    assert_eq!(
        ask(&arpa, Wanted::Ptr).await.unwrap().names,
        ["master-1.k8s.internal"]
    );
    responder.publish(crowd());
    assert_eq!(
        ask("crowd.k8s.internal", Wanted::A)
            .await
            .unwrap()
            .addresses
            .len(),
        250,
        "by TCP"
    );
    responder.shutdown();
}

#[tokio::test]
async fn the_client_says_why_there_is_no_reply() {
    let server = loopback();
    let ask = |name, within| query::ask(server, name, Wanted::A, within);
    let error = ask("a.k8s.internal", DEADLINE)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("refused") && error.contains(&server.to_string()),
        "{error}"
    );
    let mute = UdpSocket::bind(server).unwrap();
    let error = ask("a.k8s.internal", Duration::from_millis(60))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("does not answer within 60ms"), "{error}");
    // It had tried three times, with one id.
    let mut ids = Vec::new();
    let mut buffer = [0; 512];
    mute.set_nonblocking(true).unwrap();
    while mute.recv(&mut buffer).is_ok() {
        ids.push([buffer[0], buffer[1]]);
    }
    assert!(
        !ids.is_empty() && ids.len() <= 3 && ids.iter().all(|id| *id == ids[0]),
        "{ids:?}"
    );
    let error = ask("a..b", DEADLINE).await.unwrap_err().to_string();
    assert!(error.contains("not a domain name"), "{error}");
}

/// Replies with another id, of garbage, or to another question are somebody else's.
#[tokio::test]
async fn the_client_believes_only_the_reply_to_its_question() {
    let server = loopback();
    let socket = UdpSocket::bind(server).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let forger = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let (length, client) = socket.recv_from(&mut buffer).unwrap();
        let asked = &buffer[..length];
        let reply = |address: [u8; 4], change: &dyn Fn(&mut Vec<u8>)| {
            let question_end = length - 11;
            let mut bytes = asked[..question_end].to_vec();
            bytes[2] |= 0x80;
            bytes[7] = 1;
            bytes[11] = 0;
            bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
            bytes.extend(address);
            change(&mut bytes);
            socket.send_to(&bytes, client).unwrap();
        };
        reply([6, 6, 6, 1], &|bytes| bytes[0] ^= 1);
        reply([6, 6, 6, 2], &|bytes| bytes[13] ^= 1);
        reply([6, 6, 6, 3], &|bytes| bytes[2] &= 0x7f);
        reply([6, 6, 6, 4], &|bytes| bytes.truncate(40));
        reply([10, 0, 0, 1], &|_| {});
    });
    let reply = query::ask(server, "a.k8s.internal", Wanted::A, DEADLINE)
        .await
        .unwrap();
    assert_eq!(
        reply.addresses,
        ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]
    );
    forger.join().unwrap();
}
