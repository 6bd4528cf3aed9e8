//! What changed while no agent ran.

use crate::sandbox::{MASTERS, Sandbox};

const BLOCK: &str = "# BEGIN stayput";

#[test]
fn the_block_leaves_a_hosts_file_that_is_no_longer_ours() {
    let sandbox = Sandbox::worker();
    sandbox.stayput(&["apply"]).good();
    assert!(sandbox.hosts().contains(BLOCK));
    sandbox.write("etc/other-hosts", "127.0.0.1 localhost\n");
    let moved = "hosts: {path: /etc/other-hosts}\n";
    sandbox.write_cluster(&sandbox.cluster(&MASTERS, moved));
    sandbox.stayput(&["apply"]).good();
    assert!(!sandbox.hosts().contains(BLOCK), "{}", sandbox.hosts());
    assert!(sandbox.read("etc/other-hosts").contains(BLOCK));
}

#[test]
fn the_block_of_another_domain_is_taken_out() {
    let sandbox = Sandbox::worker();
    sandbox.stayput(&["apply"]).good();
    let renamed = sandbox.cluster(&MASTERS, "");
    let renamed = renamed.replace("prod.k8s.internal", "test.k8s.internal");
    sandbox.write_cluster(&renamed);
    sandbox.stayput(&["apply"]).good();
    let hosts = sandbox.hosts();
    assert_eq!(hosts.matches(BLOCK).count(), 1, "{hosts}");
    assert!(
        hosts.contains("# BEGIN stayput test.k8s.internal"),
        "{hosts}"
    );
}

#[test]
fn apply_tells_what_has_moved_since() {
    let sandbox = Sandbox::worker();
    sandbox.stayput(&["apply"]).good();
    let mut masters = MASTERS;
    masters[1] = "127.77.0.99";
    sandbox.write_cluster(&sandbox.cluster(&masters, ""));
    let said = sandbox.stayput(&["apply"]).good();
    assert!(said.contains("→ 127.77.0.99"), "{said}");
    let said = sandbox.stayput(&["apply"]).good();
    assert!(said.contains("no address has changed"), "{said}");
}

#[test]
fn the_serial_grows_when_an_alias_comes() {
    let sandbox = Sandbox::worker();
    let agent = sandbox.agent();
    let before = sandbox.status()["generation"].as_u64().unwrap();
    let alias = "aliases: {other-name: master-1}\n";
    sandbox.write_cluster(&sandbox.cluster(&MASTERS, alias));
    sandbox.shows("a new generation", |status| {
        status["generation"]
            .as_u64()
            .is_some_and(|now| now > before)
    });
    assert_eq!(sandbox.dns("other-name"), sandbox.dns("master-1"));
    drop(agent);
}
