//! What the agent does about HAProxy. How HAProxy itself takes it: the tests of the surface.

use std::os::unix::net::UnixStream;

use crate::sandbox::{Sandbox, crash};
use crate::support::{here, until};

#[test]
fn check_says_that_haproxy_goes_elsewhere() {
    if !here(false, &["haproxy"]) {
        return;
    }
    let sandbox = Sandbox::worker();
    let agent = sandbox.agent();
    let _haproxy = sandbox.haproxy();
    sandbox
        .stayput(&["event", "master-2", "127.77.0.72"])
        .good();
    sandbox.stayput(&["check"]).good();
    crash(agent);
    let mut stream = UnixStream::connect(sandbox.path("run/stayput/haproxy.sock")).unwrap();
    let order = format!(
        "set server masters/master-2 addr 127.77.0.99 port {}\n",
        sandbox.api_port()
    );
    std::io::Write::write_all(&mut stream, order.as_bytes()).unwrap();
    std::io::read_to_string(stream).unwrap();
    let said = sandbox.stayput(&["check"]);
    assert_eq!(said.code, 1, "{said:?}");
    let want = "master-2.prod.k8s.internal: haproxy says 127.77.0.99, not 127.77.0.72";
    assert!(said.out.contains(want), "{}", said.out);
    // The next agent repairs it.
    let _agent = sandbox.agent();
    sandbox.stayput(&["check"]).good();
}

#[test]
fn a_provisioned_master_goes_to_itself_only() {
    let sandbox = Sandbox::new("master-1");
    let agent = sandbox.agent();
    let local = format!("server master-1 127.0.0.1:{}", sandbox.api_port());
    let servers = || {
        let file = sandbox.read("srv/haproxy.cfg");
        assert!(file.contains(&local), "{file}");
        file.lines()
            .filter(|line| line.trim_start().starts_with("server "))
            .count()
    };
    assert_eq!(servers(), 3);
    sandbox.stayput(&["provisioned"]).good();
    assert_eq!(servers(), 1);
    assert_eq!(sandbox.status()["node"]["provisioned"]["how"], "told");
    let text = sandbox.stayput(&["status"]).good();
    assert!(
        text.contains("provisioned since ") && text.contains("(told)"),
        "{text}"
    );
    sandbox.stayput(&["provisioned", "--undo"]).good();
    assert_eq!(servers(), 3);
    assert!(sandbox.status()["node"]["provisioned"].is_null());
    // Told to a node that no agent runs on, it is remembered.
    drop(agent);
    sandbox.stayput(&["provisioned"]).good();
    let _agent = sandbox.agent();
    assert_eq!(servers(), 1);
}

#[test]
fn a_worker_is_never_provisioned() {
    let sandbox = Sandbox::worker();
    let agent = sandbox.agent();
    for _ in 0..2 {
        let said = sandbox.stayput(&["provisioned"]).refused(65);
        assert!(said.contains("this node (worker-1) is a worker"), "{said}");
    }
    drop(agent);
    sandbox.stayput(&["provisioned"]).refused(65);
}

/// A worker has no authority before its join. Its file is watched.
#[test]
fn health_is_checked_over_tls_as_soon_as_the_authority_arrives() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let file = || sandbox.read("srv/haproxy.cfg");
    assert!(file().contains("# Authority: none on this node yet"));
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = authority.self_signed(&key).unwrap();
    sandbox.write("etc/kubernetes/pki/ca.crt", &authority.pem());
    until("health is checked over TLS", || {
        file().contains("verifyhost master-1.prod.k8s.internal")
    });
    assert!(file().contains("# Authority: sha256:"));
}

#[test]
fn a_haproxy_that_hangs_does_not_hold_the_next_event() {
    if !here(false, &["haproxy"]) {
        return;
    }
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let haproxy = sandbox.haproxy();
    let group = |signal| {
        // The master process first: while it stands it makes no other worker.
        haproxy.signal(signal);
        let stat = format!("/proc/{}/stat", haproxy.pid());
        let stopped = signal == rustix::process::Signal::STOP;
        until("HAProxy's master stands or goes on", || {
            std::fs::read_to_string(&stat).unwrap().contains(") T ") == stopped
        });
        let workers = format!("/proc/{0}/task/{0}/children", haproxy.pid());
        for pid in std::fs::read_to_string(workers).unwrap().split_whitespace() {
            let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
            rustix::process::kill_process(pid, signal).unwrap();
        }
    };
    until("HAProxy's worker runs", || {
        let servers = sandbox.status()["servers"].to_string();
        servers.contains("127.77.0.11")
    });
    group(rustix::process::Signal::STOP);
    let stopped = std::time::Instant::now();
    // The first event is on its way to HAProxy, and no answer comes.
    let mut first = sandbox
        .command(&["event", "master-1", "127.77.0.81"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("the first address in DNS", || {
        sandbox.dns("master-1").contains("127.77.0.81")
    });
    let mut second = sandbox
        .command(&["event", "master-2", "127.77.0.82"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("the second address in DNS and hosts", || {
        sandbox.dns("master-2").contains("127.77.0.82") && sandbox.hosts().contains("127.77.0.82")
    });
    // Each talk with HAProxy is given up after three seconds, which a busy machine may have taken to get here.
    let gave_up = stopped.elapsed() >= std::time::Duration::from_secs(3);
    let waiting = second.try_wait().unwrap().is_none();
    group(rustix::process::Signal::CONT);
    let codes = [first.wait().unwrap().code(), second.wait().unwrap().code()];
    assert!(
        waiting || gave_up,
        "the second was shown before HAProxy had answered"
    );
    assert!(codes.iter().all(Option::is_some), "{codes:?}");
    until("HAProxy has both", || {
        let servers = sandbox.status()["servers"].to_string();
        servers.contains("127.77.0.81") && servers.contains("127.77.0.82")
    });
}
