//! System calls that fail: everything is the old one at once, and says so; or all of it is new.

use crate::node::{Node, Stands};
use crate::pair::Pair;
use crate::traced::{Work, calls, have_strace, prepared, tampered};

/// What each call fails with.
fn error(call: &str) -> &'static str {
    match call {
        "openat" | "write" | "mkdirat" => "error=ENOSPC",
        "renameat" | "renameat2" => "error=EBUSY",
        "unlinkat" => "error=EROFS",
        _ => "error=EIO",
    }
}

#[test]
fn a_call_that_fails_anywhere_leaves_everything_old_or_everything_new() {
    if !have_strace() {
        return;
    }
    let (old, new) = (Pair::new(), Pair::new());
    let (mut refused, mut undone, mut done) = (0, 0, 0);
    for (call, numbers) in calls(Work::Replace, &prepared(&old, &new)) {
        for n in numbers {
            let node = prepared(&old, &new);
            let context = format!("{call} {n} fails with {}", error(call));
            let said = tampered(Work::Replace, node.dir(), call, error(call), n);
            let context = format!("{context}: {said:?}");
            let stands = node.stands(&old, &new);
            let stands = stands.unwrap_or_else(|| panic!("{context}: mixed"));
            match said.as_deref() {
                Some("done") => {
                    assert_eq!(stands, Stands::After, "{context}");
                    done += 1;
                }
                Some(error) => {
                    assert_eq!(stands, Stands::Before, "{context}");
                    refused += usize::from(error.ends_with("no certificate or key has changed"));
                    undone += usize::from(error.ends_with("is the old one again"));
                    if call != "unlinkat" {
                        node.assert_clean(&context);
                    }
                }
                // The test's own machinery failed.
                None => {}
            }
            node.open().unwrap_or_else(|e| panic!("{context}: {e}"));
            assert_eq!(node.stands(&old, &new), Some(stands), "{context}");
            node.assert_clean(&context);
        }
    }
    println!("refused {refused}, undone {undone}, done {done}");
    assert!(
        refused > 20 && undone >= 5 && done > 3,
        "{refused} {undone} {done}"
    );
}

/// Replaces with one kind of call failing from the n-th to the last.
fn always(node: &Node, call: &str, errno: &str, n: usize) -> String {
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:error={errno}:when={n}+");
    let arguments = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
    let output = crate::traced::traced(Work::Replace, node.dir(), &arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = text.lines().find_map(|line| line.strip_prefix("SAID "));
    said.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_filesystem_without_links_or_without_a_rename_that_refuses_will_do() {
    if !have_strace() {
        return;
    }
    let (old, new) = (Pair::new(), Pair::new());
    for (call, errno) in [
        ("linkat", "EPERM"),
        ("linkat", "EOPNOTSUPP"),
        ("renameat2", "EINVAL"),
    ] {
        let node = prepared(&old, &new);
        assert_eq!(always(&node, call, errno, 1), "done", "{call} {errno}");
        assert_eq!(
            node.stands(&old, &new),
            Some(Stands::After),
            "{call} {errno}"
        );
        node.assert_clean(call);
    }
}

#[test]
fn a_copy_that_was_kept_for_want_of_links_comes_back_as_well() {
    if !have_strace() {
        return;
    }
    let (old, new) = (Pair::new(), Pair::new());
    for death in [true, false] {
        let mut undone = 0;
        for n in 1..12 {
            let node = prepared(&old, &new);
            let how = if death {
                "signal=SIGKILL"
            } else {
                "error=EBUSY"
            };
            let rename = format!("inject=renameat:{how}:when={n}");
            let arguments = [
                "-o",
                "/dev/null",
                "-e",
                "trace=linkat,renameat",
                "-e",
                "inject=linkat:error=EPERM",
                "-e",
                &rename,
            ];
            crate::traced::traced(Work::Replace, node.dir(), &arguments);
            node.open().unwrap();
            assert!(node.stands(&old, &new).is_some(), "{rename}");
            undone += usize::from(node.stands(&old, &new) == Some(Stands::Before));
            node.assert_clean(&rename);
        }
        assert!(undone > 0);
    }
}

#[test]
fn what_can_be_neither_finished_nor_undone_is_completed_by_the_next_run() {
    if !have_strace() {
        return;
    }
    let (old, new) = (Pair::new(), Pair::new());
    let mut halfway = 0;
    for n in 1..12 {
        let node = prepared(&old, &new);
        let said = always(&node, "renameat", "EROFS", n);
        if said.contains("could not be taken back") {
            halfway += 1;
            assert!(said.contains("read-only"), "{said}");
            assert!(said.contains("stayput certs renew"), "{said}");
            assert_eq!(node.stands(&old, &new), None, "{said}");
        } else {
            assert!(node.stands(&old, &new).is_some(), "{said}");
            node.assert_clean(&said);
        }
        node.open().unwrap();
        assert!(node.stands(&old, &new).is_some(), "{said}");
        node.assert_clean(&said);
    }
    assert!(halfway >= 2, "only {halfway}");
}
