//! Two programs, one to a person.

use std::process::Command;

use crate::sandbox::{Sandbox, quick};

#[test]
fn what_it_says_names_one_program() {
    let node = Sandbox::new("master-1", &quick());
    let output = node.run(&["certs", "renew", "--force"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Usage: stayput certs renew"), "{said}");
}

#[test]
fn without_the_other_program_the_rest_works() {
    let node = Sandbox::new("master-1", &quick());
    let alone = node.path("stayput");
    std::fs::copy(env!("CARGO_BIN_EXE_stayput"), &alone).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&alone);
        command
            .arg("--root")
            .arg(node.path(""))
            .args(["--node", "master-1"]);
        command.args(arguments).output().unwrap()
    };
    let output = run(&["certs", "status"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let want = format!("cannot start {}-certs: ", alone.display());
    assert!(said.contains(&want), "{said}");
    assert!(said.contains("install it beside stayput"), "{said}");
    assert!(run(&["hosts", "show"]).status.success());
}
