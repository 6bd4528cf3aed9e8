//! The cluster file and the node file, at the start and while the agent runs.

use rustix::process::Signal;

use crate::sandbox::{MASTERS, Sandbox};
use crate::support::until;

const MANIFEST: &str = "etc/kubernetes/manifests/kube-apiserver.yaml";

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let sandbox = Sandbox::worker();
    sandbox.write_cluster(
        "domain: prod.k8s.internal\n\
         endpoint: {name: api, port: 99999}\n\
         masters:\n\
         \x20 - {name: master_1, address: 127.77.0.11}\n\
         \x20 - {name: master-2, address: 0.0.0.0}\n\
         mastres: []\n",
    );
    sandbox.write("etc/stayput/node.yaml", "nodename: a\n");
    for command in ["run", "apply", "status", "check"] {
        let said = sandbox.stayput(&[command]).refused(78);
        for want in [
            "/etc/stayput/cluster.yaml:2:",
            "/etc/stayput/cluster.yaml:4:",
            "unspecified",
            "did you mean 'masters'?",
            "/etc/stayput/node.yaml:1:",
        ] {
            assert!(said.contains(want), "{command}: {want} is not in:\n{said}");
        }
        assert!(
            said.lines().all(|line| line.starts_with("stayput: ")),
            "{said}"
        );
    }
    assert!(!sandbox.path("var").exists(), "nothing was written");
}

#[test]
fn no_cluster_file() {
    let sandbox = Sandbox::worker();
    std::fs::remove_file(sandbox.path("etc/stayput/cluster.yaml")).unwrap();
    let said = sandbox.stayput(&["run"]).refused(78);
    assert!(
        said.contains("there is no cluster file /etc/stayput/cluster.yaml"),
        "{said}"
    );
    let said = sandbox.stayput(&["--root", "/nonexistent", "run"]);
    assert_ne!(said.code, 0);
}

#[test]
fn a_control_plane_machine_that_the_file_does_not_know_is_no_worker() {
    let sandbox = Sandbox::worker();
    sandbox.write(MANIFEST, "kind: Pod\n");
    let said = sandbox.stayput(&["run"]).refused(78);
    assert!(
        said.contains("'worker-1' is not among the masters"),
        "{said}"
    );
    assert!(said.contains("master-1, master-2, master-3"), "{said}");
    sandbox.write("etc/stayput/node.yaml", "name: master-2\n");
    let _agent = sandbox.agent();
    assert_eq!(
        sandbox.status()["node"]["name"],
        "master-2.prod.k8s.internal"
    );
}

#[test]
fn a_changed_file_is_in_force_at_once() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let more = "aliases: {k8s.example.com: api}\n";
    sandbox.write_cluster(&sandbox.cluster(&["127.77.0.11", "127.77.0.52", "127.77.0.13"], more));
    let status = sandbox.shows("the new address", |status| {
        status["masters"][1]["addresses"][0] == "127.77.0.52"
    });
    assert_eq!(status["masters"][1]["origin"], "cluster-file");
    let alias = "127.0.0.1 api.prod.k8s.internal api k8s.example.com\n";
    until("the hosts file", || sandbox.hosts().contains(alias));
    assert!(sandbox.dns("master-2").contains("127.77.0.52"));
    until("HAProxy's file", || {
        let file = sandbox.read("srv/haproxy.cfg");
        file.contains("server master-2 127.77.0.52:")
    });
}

#[test]
fn a_bad_file_leaves_the_old_one_in_force_until_it_is_good_again() {
    let sandbox = Sandbox::worker();
    let mut agent = sandbox.agent();
    let before = sandbox.written();
    sandbox.write_cluster(&sandbox.cluster(&["127.77.0.51", "nowhere", "127.77.0.13"], ""));
    let status = sandbox.shows("the problem", |status| {
        !status["configurationProblems"]
            .as_array()
            .unwrap()
            .is_empty()
    });
    let problem = status["configurationProblems"][0].to_string();
    assert!(
        problem.contains("cluster.yaml:5:") && problem.contains("nowhere"),
        "{problem}"
    );
    assert_eq!(status["masters"][0]["addresses"][0], MASTERS[0]);
    let text = sandbox.stayput(&["status"]).good();
    assert!(
        text.contains("the last good cluster file is in force: "),
        "{text}"
    );
    assert!(
        agent.log().contains("the old settings stay in force"),
        "{}",
        agent.log()
    );
    assert_eq!(sandbox.written(), before);
    // Events are heard meanwhile.
    sandbox
        .stayput(&["event", "master-3", "127.77.0.53"])
        .good();

    sandbox.write_cluster(&sandbox.cluster(&MASTERS, "# good again\n"));
    let status = sandbox.shows("no problem", |status| {
        status["configurationProblems"]
            .as_array()
            .unwrap()
            .is_empty()
    });
    assert_eq!(status["masters"][2]["addresses"][0], "127.77.0.53");
    agent.must_run();
}

#[test]
fn a_stale_file_that_is_rendered_again_moves_nobody() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    sandbox
        .stayput(&["event", "master-2", "127.77.0.62"])
        .good();
    // The alias shows when the file has been read.
    let stale = sandbox.cluster(&MASTERS, "aliases: {old.example.com: master-1}\n");
    sandbox.write_cluster(&stale);
    until("the alias is in the hosts file", || {
        sandbox.hosts().contains("old.example.com")
    });
    assert_eq!(sandbox.addresses(2)[0], "127.77.0.62");
    assert!(sandbox.hosts().contains("127.77.0.62 master-2."));
}

#[test]
fn a_changed_file_is_seen_whatever_its_way() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let moved = |number: u8| {
        let address = format!("127.77.0.{number}");
        sandbox.cluster(&[&address, MASTERS[1], MASTERS[2]], "")
    };
    let seen = |number: u8| {
        let address = format!("127.77.0.{number}");
        sandbox.shows(&address, |status| {
            status["masters"][0]["addresses"][0] == address.as_str()
        });
    };
    // Renamed over the old one, as editors and configuration management do.
    sandbox.write("etc/stayput/new", &moved(71));
    let (new, file) = (
        sandbox.path("etc/stayput/new"),
        sandbox.path("etc/stayput/cluster.yaml"),
    );
    std::fs::rename(new, &file).unwrap();
    seen(71);
    // Its whole folder is replaced.
    std::fs::rename(sandbox.path("etc/stayput"), sandbox.path("etc/old")).unwrap();
    sandbox.write_cluster(&moved(72));
    seen(72);
    // A symlink is switched; absolute ones stay below the root.
    sandbox.write("srv/a/cluster.yaml", &moved(73));
    sandbox.write("srv/b/cluster.yaml", &moved(74));
    for (target, number) in [("/srv/a/cluster.yaml", 73), ("/srv/b/cluster.yaml", 74)] {
        std::os::unix::fs::symlink(target, sandbox.path("link")).unwrap();
        std::fs::rename(sandbox.path("link"), &file).unwrap();
        seen(number);
    }
}

/// What no watch tells of is read at a signal: here the host name.
#[test]
fn sighup_reads_everything_again() {
    let sandbox = Sandbox::worker();
    let mut agent = sandbox.agent();
    sandbox.write("etc/hostname", "master-3\n");
    agent.signal(Signal::HUP);
    let status = sandbox.shows("the new host name", |status| {
        status["node"]["name"] == "master-3.prod.k8s.internal"
    });
    assert_eq!(status["node"]["role"], "master");
    let local = format!("server master-3 127.0.0.1:{}", sandbox.api_port());
    until("HAProxy's file", || {
        sandbox.read("srv/haproxy.cfg").contains(&local)
    });
    assert!(
        agent
            .log()
            .contains("SIGHUP: reading the cluster file again")
    );
    agent.must_run();
}

#[test]
fn a_master_that_is_taken_out_leaves_every_surface() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let masters = "  - {name: master-1, address: 127.77.0.11}\n";
    sandbox.write_cluster(&sandbox.cluster_of(masters, ""));
    sandbox.shows("one master", |status| {
        status["masters"].as_array().unwrap().len() == 1
    });
    until("the surfaces follow", || {
        !sandbox
            .written()
            .iter()
            .any(|text| text.contains("master-2"))
    });
    let said = sandbox
        .stayput(&["event", "master-2", "127.77.0.12"])
        .refused(65);
    assert!(said.contains("the masters are master-1"), "{said}");
}
