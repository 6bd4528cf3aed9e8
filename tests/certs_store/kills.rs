//! Death at any system call, of a replacement and of what completes it.

use std::net::TcpListener;

use stayput::pki::store::Recovered;

use crate::node::{CERTIFICATE, KEY, Node, Stands};
use crate::pair::{Pair, client, handshake, serve_one};
use crate::traced::{Work, calls, have_strace, prepared, tampered, trace};

const KILL: &str = "signal=SIGKILL";

/// Recovers, and checks that all is old or all is new, served, and nothing else is left.
fn recovered(node: &Node, old: &Pair, new: &Pair, context: &str) -> Stands {
    let recovered = node.open().unwrap_or_else(|e| panic!("{context}: {e}"));
    let stands = node.stands(old, new);
    let stands = stands.unwrap_or_else(|| panic!("{context}: mixed after {recovered:?}"));
    let (end, ids) = match recovered {
        Recovered::Finished(ids) => (Stands::After, ids),
        Recovered::Undone(ids) => (Stands::Before, ids),
        Recovered::Nothing => (stands, Vec::new()),
    };
    assert_eq!(stands, end, "{context}");
    let all = ["apiserver", "admin.conf", "etcd-server"];
    assert!(ids.is_empty() || ids == all, "{context}: {ids:?}");
    node.assert_clean(context);
    let folder = node.path("/etc/kubernetes/pki/etcd");
    assert_eq!(folder.exists(), stands == Stands::After, "{context}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::scope(|scope| {
        scope.spawn(|| serve_one(&listener, &node.path(CERTIFICATE), &node.path(KEY)));
        handshake(&client(), address)
    });
    let want = if stands == Stands::After { new } else { old };
    assert_eq!(served, Ok(want.der()), "{context}");
    assert_eq!(node.open().unwrap(), Recovered::Nothing, "{context}");
    stands
}

#[test]
fn a_replacement_that_is_killed_anywhere_is_completed_by_the_next_run() {
    if !have_strace() {
        return;
    }
    let (old, new) = (Pair::new(), Pair::new());
    let (mut before, mut after, mut between) = (0, 0, 0);
    for (call, numbers) in calls(Work::Replace, &prepared(&old, &new)) {
        for n in numbers {
            let node = prepared(&old, &new);
            let context = format!("killed at {call} {n}");
            let said = tampered(Work::Replace, node.dir(), call, KILL, n);
            // What others see before anything is recovered: no file is torn.
            between += usize::from(node.stands(&old, &new).is_none());
            match recovered(&node, &old, &new, &context) {
                Stands::Before => before += 1,
                Stands::After => after += 1,
            }
            assert!(said.is_none() || node.stands(&old, &new) == Some(Stands::After));
            if call == "renameat" {
                // The next renewal works, too.
                let third = Pair::new();
                node.replace(&[crate::node::apiserver(&third)]).unwrap();
                assert_eq!(node.pair(), third, "{context}");
                node.assert_clean(&context);
            }
        }
    }
    println!("killed: {before} ended before, {after} after, {between} of them were between");
    assert!(
        before > 30 && after > 10 && between >= 4,
        "{before} {after} {between}"
    );
}

/// A node whose pair is half replaced: the new key beside the old certificate.
fn half(old: &Pair, new: &Pair, n: usize) -> Node {
    let node = prepared(old, new);
    tampered(Work::Replace, node.dir(), "renameat", KILL, n);
    node
}

/// At which rename a death leaves the pair so.
fn half_at(old: &Pair, new: &Pair) -> usize {
    let found = (1..20).find(|n| {
        let pair = half(old, new, *n).pair();
        pair.key == new.key && pair.certificate == old.certificate
    });
    found.expect("no death between key and certificate")
}

#[test]
fn what_completes_it_may_be_killed_as_well() {
    if !have_strace() {
        return;
    }
    let (old, new) = (Pair::new(), Pair::new());
    let at = half_at(&old, &new);
    let lost = |node: &Node| {
        let staged = "/etc/kubernetes/pki/.stayput/apiserver.crt.new";
        std::fs::remove_file(node.path(staged)).unwrap();
    };
    for (forward, end) in [(true, Stands::After), (false, Stands::Before)] {
        let start = || {
            let node = half(&old, &new, at);
            if !forward {
                lost(&node);
            }
            node
        };
        let mut kills = 0;
        let calls = calls(Work::Recover, &start());
        for (call, numbers) in calls {
            // Opening changes nothing here: what is staged is staged.
            for n in numbers.filter(|_| call != "openat") {
                let node = start();
                let context = format!("forward: {forward}, recovery killed at {call} {n}");
                tampered(Work::Recover, node.dir(), call, KILL, n);
                assert_eq!(recovered(&node, &old, &new, &context), end, "{context}");
                kills += 1;
            }
        }
        assert!(kills > 10, "only {kills} kills");
    }
}

/// A line of a trace as the call and the files that it is about, by name.
fn event(line: &str) -> Option<String> {
    let (call, rest) = line.split_once('(')?;
    let quoted = rest.split('"').skip(1).step_by(2);
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let names: Vec<String> = match call {
        "renameat" | "renameat2" | "linkat" => quoted.map(last).collect(),
        "unlinkat" => quoted.take(1).map(last).collect(),
        "fsync" => {
            let path = rest.split(['<', '>']).nth(1)?;
            vec![last(path)]
        }
        _ => return None,
    };
    Some(format!(
        "{} {}",
        call.trim_end_matches('2'),
        names.join(" ")
    ))
}

#[test]
fn the_order_of_syncs() {
    if !have_strace() {
        return;
    }
    let node = prepared(&Pair::new(), &Pair::new());
    // Two files and one folder are enough to read.
    std::fs::remove_file(node.path("/etc/kubernetes/admin.conf")).unwrap();
    let calls = ["renameat", "renameat2", "linkat", "unlinkat", "fsync"];
    let lines = trace(Work::ReplacePair, &node, &calls);
    let events: Vec<String> = lines.iter().filter_map(|line| event(line)).collect();
    let journal = [
        "fsync .journal.json.stayput",
        "renameat .journal.json.stayput journal.json",
        "fsync certificates",
    ];
    let want = [
        // The folder of the journal.
        &["fsync lib", "fsync stayput"][..],
        &journal,
        &["fsync apiserver.key.new", "fsync apiserver.crt.new"],
        &[
            "linkat apiserver.key apiserver.key.old",
            "linkat apiserver.crt apiserver.crt.old",
        ],
        &["fsync .stayput", "fsync pki"],
        // The commit point.
        &journal,
        &[
            "renameat apiserver.key.new apiserver.key",
            "renameat apiserver.crt.new apiserver.crt",
        ],
        &["fsync .stayput", "fsync pki"],
        &["unlinkat apiserver.key.new", "unlinkat apiserver.key.old"],
        &["unlinkat apiserver.crt.new", "unlinkat apiserver.crt.old"],
        &[
            "unlinkat .stayput",
            "unlinkat journal.json",
            "fsync certificates",
        ],
    ];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let start = events
        .iter()
        .position(|event| *event == "fsync lib")
        .unwrap();
    assert_eq!(events[start..], want.concat());
}
