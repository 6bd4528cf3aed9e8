//! Somebody else writes the hosts file.

use std::io::Write;
use std::time::Duration;

use crate::sandbox::{FOREIGN, Sandbox, surface};
use crate::support::{eventually, until};

/// Waits until the block is whole again.
fn repaired(sandbox: &Sandbox, whole: &str) {
    eventually("the hosts file is repaired", || {
        let hosts = sandbox.hosts();
        if hosts == whole { Ok(()) } else { Err(hosts) }
    });
}

#[test]
fn a_foreign_rewrite_is_repaired_whatever_its_way() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let whole = sandbox.hosts();
    assert!(whole.starts_with(FOREIGN));
    // A person's editor: the file is truncated and written.
    sandbox.write("etc/hosts", FOREIGN);
    repaired(&sandbox, &whole);
    // cloud-init: another file is renamed over it.
    sandbox.write(
        "etc/hosts.new",
        &whole.replace("127.77.0.12", "127.77.0.99"),
    );
    std::fs::rename(sandbox.path("etc/hosts.new"), sandbox.path("etc/hosts")).unwrap();
    repaired(&sandbox, &whole);
    // One line of ours is deleted.
    let others = whole
        .split_inclusive('\n')
        .filter(|line| !line.contains("master-2"));
    sandbox.write("etc/hosts", &others.collect::<String>());
    repaired(&sandbox, &whole);
    // All of it is deleted; then nobody knows what else was in it.
    std::fs::remove_file(sandbox.path("etc/hosts")).unwrap();
    until("there is a hosts file", || {
        sandbox.path("etc/hosts").exists()
    });
    repaired(&sandbox, &whole[FOREIGN.len()..]);
}

#[test]
fn foreign_lines_that_come_and_go_are_kept() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let whole = sandbox.hosts();
    let more = format!("{FOREIGN}192.0.2.8\tprinter.home\r\n");
    sandbox.write("etc/hosts", &whole.replace(FOREIGN, &more));
    sandbox
        .stayput(&["event", "master-1", "127.77.0.81"])
        .good();
    let hosts = sandbox.hosts();
    assert!(
        hosts.starts_with(&more) && hosts.contains("127.77.0.81 master-1."),
        "{hosts}"
    );
}

/// An editor empties the file and then writes it. A repair in between would have the editor write
/// into a file that nobody sees any more.
#[test]
fn what_a_slow_writer_writes_is_not_lost() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let whole = sandbox.hosts();
    for number in 0..5 {
        let mut file = std::fs::File::create(sandbox.path("etc/hosts")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let line = format!("192.0.2.{number}\tprinter.home\n");
        file.write_all((line.clone() + FOREIGN).as_bytes()).unwrap();
        drop(file);
        repaired(&sandbox, &(line + &whole));
    }
}

/// Ten repairs within a minute are possible only where the file is watched: it is verified without
/// a reason six times a minute.
#[test]
fn it_is_not_fought_over_for_ever() {
    let sandbox = Sandbox::worker();
    let mut agent = sandbox.agent();
    let whole = sandbox.hosts();
    let wrong = whole.replace("127.77.0.12", "127.77.0.99");
    for _ in 0..10 {
        sandbox.write("etc/hosts", &wrong);
        repaired(&sandbox, &whole);
    }
    let status = sandbox.shows("the fight", |status| {
        surface(status, "hosts")["condition"] == "contested"
    });
    assert_eq!(surface(&status, "dns")["condition"], "ok");
    assert!(
        agent.log().contains("the hosts file is contested"),
        "{}",
        agent.log()
    );
    let text = sandbox.stayput(&["status"]).good();
    assert!(
        text.lines()
            .any(|l| l.starts_with("hosts") && l.contains("contested")),
        "{text}"
    );

    // Now the other one wins for a while, and check says which surface is wrong.
    sandbox.write("etc/hosts", &wrong);
    let said = sandbox.stayput(&["check"]);
    assert_eq!(said.code, 1, "{said:?}");
    let want = "master-2.prod.k8s.internal: hosts says 127.77.0.99, not 127.77.0.12";
    assert!(said.out.contains(want), "{}", said.out);
    assert!(!said.out.contains("dns says"), "{}", said.out);
    // An event is written all the same.
    sandbox
        .stayput(&["event", "master-2", "127.77.0.82"])
        .good();
    assert!(sandbox.hosts().contains("127.77.0.82 master-2."));
    agent.must_run();
}
