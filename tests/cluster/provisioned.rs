//! A master becomes complete, and is taken back.

use crate::lab::{BEFORE, Lab, possible};
use crate::support::eventually;

const MANIFEST: &str = "etc/kubernetes/manifests/kube-apiserver.yaml";

#[test]
fn a_master_whose_own_api_server_is_ready_goes_to_itself_only() {
    if !possible() {
        return;
    }
    let mut lab = Lab::start();
    let master = &lab.masters[0];
    // Before it is complete it uses all masters, itself over loopback.
    master.reaches(&[
        ("master-1", "127.0.0.1"),
        ("master-2", BEFORE[1]),
        ("master-3", BEFORE[2]),
    ]);

    std::fs::create_dir(master.path("etc/kubernetes/manifests")).unwrap();
    master.write(MANIFEST, "kind: Pod\n");
    let provisioned = |what: &str, want: bool| {
        eventually(what, || {
            let status = master.status();
            let since = status["node"]["provisioned"].is_object() == want;
            let servers = status["servers"].as_array().unwrap().len();
            if since && servers == if want { 1 } else { 3 } {
                Ok(status)
            } else {
                Err(status.to_string())
            }
        })
    };
    let status = provisioned("the master is seen to be complete", true);
    assert_eq!(status["node"]["provisioned"]["how"], "detected");
    master.reaches(&[("master-1", "127.0.0.1")]);
    master.stayput(&["check"]).good();

    std::fs::remove_file(master.path(MANIFEST)).unwrap();
    provisioned("it is forgotten with its manifest", false);
    master.reaches(&[
        ("master-1", "127.0.0.1"),
        ("master-2", BEFORE[1]),
        ("master-3", BEFORE[2]),
    ]);
    lab.must_run();
}
