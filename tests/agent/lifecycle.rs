//! The agent starts, tells systemd, and ends.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;

use crate::sandbox::{Sandbox, crash, surface};
use crate::support::{PATIENCE, Process, eventually, until};

/// What systemd listens on.
struct Notifications(UnixDatagram);

impl Notifications {
    fn bind(sandbox: &Sandbox) -> Self {
        let socket = UnixDatagram::bind(sandbox.path("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next message.
    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length])
            .trim_end()
            .to_owned()
    }
}

#[test]
fn systemd_hears_when_the_agent_is_ready_alive_and_stopping() {
    let sandbox = Sandbox::worker();
    let notifications = Notifications::bind(&sandbox);
    let mut command = sandbox.command(&["run"]);
    command.env("NOTIFY_SOCKET", sandbox.path("notify"));
    command.env("WATCHDOG_USEC", "300000");
    let mut agent = sandbox.ready(&mut command);
    assert_eq!(notifications.next(), "READY=1");
    // Ready means that every surface has been shown.
    assert!(
        sandbox
            .hosts()
            .contains("127.77.0.12 master-2.prod.k8s.internal master-2\n")
    );
    assert!(sandbox.dns("master-2").contains("127.77.0.12"));
    for _ in 0..3 {
        assert_eq!(notifications.next(), "WATCHDOG=1");
    }
    assert_eq!(sandbox.status()["agent"]["pid"], agent.pid());

    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code(), Some(0), "{}", agent.log());
    let last = std::iter::from_fn(|| Some(notifications.next())).find(|it| it != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
    assert!(
        agent.log().lines().last().unwrap().ends_with("stopped"),
        "{}",
        agent.log()
    );
    assert!(sandbox.status()["agent"].is_null());
}

#[test]
fn ctrl_c_ends_it_too() {
    let sandbox = Sandbox::worker();
    let mut agent = sandbox.agent();
    agent.signal(Signal::INT);
    assert_eq!(agent.end().code(), Some(0), "{}", agent.log());
}

#[test]
fn no_event_is_lost_while_the_agent_stops() {
    let sandbox = Sandbox::worker();
    let mut agent = sandbox.agent();
    // The signal meets an order somewhere on its way: the agent does it, or who asked for it.
    for number in 0..20 {
        let address = format!("127.77.1.{number}");
        let event = std::thread::scope(|scope| {
            let event = scope.spawn(|| sandbox.stayput(&["event", "master-1", &address]));
            if number == 10 {
                agent.signal(Signal::TERM);
            }
            event.join().unwrap()
        });
        event.good();
        assert_eq!(sandbox.addresses(1)[0], address.as_str());
    }
    assert_eq!(agent.end().code(), Some(0), "{}", agent.log());
    assert_eq!(sandbox.addresses(1)[0], "127.77.1.19");
}

#[test]
fn an_event_that_meets_an_agent_between_its_lock_and_its_socket_is_carried_out() {
    let sandbox = Sandbox::worker();
    sandbox.stayput(&["apply"]).good();
    for number in 0..4 {
        let address = format!("127.77.2.{number}");
        // Both want the lock now: who gets it does not matter.
        let lock = std::fs::File::open(sandbox.path("run/stayput/lock")).unwrap();
        lock.lock().unwrap();
        let log = sandbox.path("agent.log");
        let mut agent = Process::start(&mut sandbox.command(&["run"]), &log);
        let event = std::thread::scope(|scope| {
            let event = scope.spawn(|| sandbox.stayput(&["event", "master-1", &address]));
            drop(lock);
            event.join().unwrap()
        });
        event.good();
        agent.ready();
        assert_eq!(sandbox.addresses(1)[0], address.as_str());
        agent.signal(Signal::TERM);
        assert_eq!(agent.end().code(), Some(0), "{}", agent.log());
    }
}

#[test]
fn a_second_agent_and_apply_step_back() {
    let sandbox = Sandbox::worker();
    let mut agent = sandbox.agent();
    let before = sandbox.written();
    for command in ["run", "apply"] {
        let said = sandbox.stayput(&[command]).refused(75);
        assert!(
            said.contains("another stayput is at work on this node"),
            "{said}"
        );
    }
    assert_eq!(sandbox.written(), before);
    agent.must_run();
    sandbox
        .stayput(&["event", "master-1", "127.77.0.41"])
        .good();
}

#[test]
fn after_a_crash_the_book_is_as_it_was_and_its_generation_grows() {
    let sandbox = Sandbox::worker();
    let agent = sandbox.agent();
    sandbox
        .stayput(&["event", "master-2", "127.77.0.42"])
        .good();
    let before = sandbox.status();
    crash(agent);
    // The socket is still there; nobody is behind it.
    assert!(sandbox.socket().exists());
    assert_eq!(sandbox.addresses(2)[0], "127.77.0.42");

    let _agent = sandbox.agent();
    let after = sandbox.status();
    assert_eq!(after["masters"][1]["addresses"][0], "127.77.0.42");
    assert_eq!(after["masters"][1]["origin"], "event");
    assert_eq!(after["generation"], before["generation"]);
    assert!(sandbox.dns("master-2").contains("127.77.0.42"));
    sandbox
        .stayput(&["event", "master-2", "127.77.0.43"])
        .good();
    let generation = |status: &serde_json::Value| status["generation"].as_u64().unwrap();
    assert!(generation(&sandbox.status()) > generation(&before));
}

#[test]
fn it_starts_while_nobody_knows_a_followed_name() {
    let sandbox = Sandbox::worker();
    sandbox.stayput(&["apply"]).good();
    // The upstream server is a closed port. Master 3 was known before, master 4 never was.
    let masters = "  - {name: master-1, address: 127.77.0.11}\n\
                   \x20 - {name: master-3, follow: ip-3.eu.example.com}\n\
                   \x20 - {name: master-4, follow: ip-4.eu.example.com}\n";
    sandbox.write_cluster(&sandbox.cluster_of(masters, ""));
    let _agent = sandbox.agent();
    let status = sandbox.shows("the failures of both names", |status| {
        let error = |number: usize| status["masters"][number]["upstreamError"].is_string();
        error(1) && error(2)
    });
    assert_eq!(status["masters"][1]["addresses"][0], "127.77.0.13");
    assert_eq!(
        status["masters"][2]["addresses"].as_array().unwrap().len(),
        0
    );
    assert_eq!(status["masters"][1]["follows"], "ip-3.eu.example.com");
    assert!(sandbox.hosts().contains("127.77.0.13 master-3.prod"));
    assert!(!sandbox.hosts().contains("master-4"));
    eventually("an operator's word helps", || {
        let event = sandbox.stayput(&["event", "master-4", "127.77.0.14"]);
        if event.code == 0 {
            Ok(())
        } else {
            Err(event.err)
        }
    });
    assert!(sandbox.dns("master-4").contains("127.77.0.14"));
}

#[test]
fn a_port_that_somebody_else_holds_is_taken_when_it_is_free() {
    let sandbox = Sandbox::worker();
    let port = sandbox.dns_port();
    let holder = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut agent = sandbox.agent();
    let status = sandbox.status();
    let notices = surface(&status, "dns")["notices"].to_string();
    assert!(
        notices.contains(&format!("127.0.0.1:{port}/udp")),
        "{notices}"
    );
    assert!(
        !notices.contains("/tcp"),
        "each is bound by itself: {notices}"
    );
    sandbox
        .stayput(&["event", "master-1", "127.77.0.91"])
        .good();
    assert!(sandbox.hosts().contains("127.77.0.91 master-1."));
    drop(holder);
    until("the responder answers", || {
        sandbox.dns("master-1").contains("127.77.0.91")
    });
    sandbox.shows("no trouble", |status| {
        surface(status, "dns")["notices"] == serde_json::json!([])
    });
    agent.must_run();
}
