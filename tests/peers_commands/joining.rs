//! A master that no cluster file names.

use crate::masters::{addresses, cluster_at, hand_over, json, master, node, shown};
use crate::process::Running;
use crate::support::{here, until};

/// The next address behind those of the cluster file.
fn own(addresses: &[String; 3]) -> String {
    let (network, _) = addresses[0].rsplit_once('.').unwrap();
    format!("{network}.14")
}

#[test]
fn a_master_joins_and_no_cluster_file_is_edited() {
    if !here(false, &["openssl"]) {
        return;
    }
    let addresses = addresses();
    let own = own(&addresses);
    let first = cluster_at(1, &addresses).remove(0);
    let joining = node("master-4", &addresses);
    // By its host name alone it is a worker.
    let said = json(&joining, &["status"]).0;
    assert_eq!(said["node"]["role"], "worker");
    joining.write("etc/stayput/node.yaml", "role: master\n");
    let said = json(&joining, &["status"]).0;
    assert_eq!(said["node"]["role"], "master");
    assert_eq!(said["node"]["name"], "master-4.prod.k8s.internal");

    hand_over(&first, &joining);
    let certificate = joining.path("etc/kubernetes/pki/apiserver.crt");
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["x509", "-noout", "-checkhost", "master-4.prod.k8s.internal"]);
    let said = crate::support::run(openssl.arg("-in").arg(certificate)).good();
    assert!(said.contains("does match certificate"), "{said}");

    let first = Running::start(first, &addresses[0]);
    let joining = Running::start(joining, &own);
    joining.node.stayput(&["event", "master-4", &own]).good();
    let told = Some((own.clone(), "record".to_owned()));
    until("the first has it in its book", || {
        shown(&first.node, 4) == told
    });
    let hosts = first.node.hosts();
    assert!(
        hosts.contains(&format!("{own} master-4.prod.k8s.internal")),
        "{hosts}"
    );
    let status = first.node.status();
    let masters = status["masters"].as_array().unwrap();
    let name = master(4);
    let added = masters.iter().find(|it| it["name"] == name.as_str());
    assert_eq!(added.unwrap()["added"], true);
    // Both know each other's place.
    until("the new one has the first's word", || {
        shown(&joining.node, 1) == Some((addresses[0].clone(), "record".to_owned()))
    });
}
