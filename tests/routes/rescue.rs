//! A cluster that pins addresses, all of which have changed: it comes up as it was.

use std::process::Command;
use std::time::Instant;

use crate::authority::Authority;
use crate::etcd_program::{self, Member};
use crate::lab::{
    AFTER, BEFORE, Lab, MASTERS, STABLE, cluster, end_agent, ip, ours, possible, says,
};
use crate::node::Node;
use crate::support::{Process, Said, eventually, run, until};

/// A member as kubeadm writes it: every address in it is the master's own.
fn member(node: &Node, own: &str) -> Process {
    let first = MASTERS.into_iter().zip(BEFORE);
    let first: Vec<_> = first.map(|(name, at)| (name, at.to_owned())).collect();
    let member = Member {
        name: &node.name,
        host: own,
        listen: [
            format!("https://127.0.0.1:2379,https://{own}:2379"),
            format!("https://{own}:2380"),
        ],
        first: &first,
    };
    Process::start(
        &mut member.flags(node.command("etcd")),
        &node.path("etcd.log"),
    )
}

fn etcdctl(client: &Node, endpoints: &[&str], arguments: &[&str]) -> Said {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|at| format!("https://{at}:2379"))
        .collect();
    etcd_program::etcdctl(client, "etcd/server", &endpoints.join(","), arguments)
}

fn takes_a_write(client: &Node, value: &str) {
    eventually("etcd takes a write", || {
        let said = etcdctl(client, &BEFORE, &["put", "key", value]);
        (said.code == 0).then_some(()).ok_or(said.err)
    });
}

/// Three members with certificates that carry their addresses and no name, and a client.
fn etcd(lab: &Lab) -> Vec<Process> {
    let authority = Authority::new("etcd-ca");
    for (node, own) in lab
        .nodes
        .iter()
        .zip(BEFORE.into_iter().chain(["127.0.0.1"]))
    {
        let folder = node.path("etc/kubernetes/pki/etcd");
        authority.write(&folder.join("ca.crt"));
        for stem in ["server", "peer"] {
            authority.write_pair(&folder, stem, &node.name, &[own, "127.0.0.1"]);
        }
    }
    let members = lab.nodes.iter().zip(BEFORE);
    let members = members.map(|(node, own)| member(node, own)).collect();
    takes_a_write(lab.worker(), "before");
    members
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn orders() -> Vec<String> {
    let old = MASTERS.into_iter().zip(BEFORE);
    old.map(|(name, old)| format!("{name}={old}")).collect()
}

fn rescue(node: &Node, more: &[&str], orders: &[String]) -> Said {
    let orders = orders.iter().map(String::as_str);
    let words: Vec<&str> = ["kubeadm", "rescue"]
        .iter()
        .chain(more)
        .copied()
        .chain(orders)
        .collect();
    node.stayput(&words)
}

#[test]
fn etcd_that_pins_addresses_comes_up_when_all_have_changed() {
    if !possible(&["etcd", "etcdctl"]) {
        return;
    }
    let lab = Lab::start(&cluster(["", "", ""], ""));
    let mut members = etcd(&lab);
    let pids: Vec<u32> = members.iter().map(Process::pid).collect();
    lab.readdress(AFTER);
    lab.tell(AFTER);
    let dead = etcdctl(&lab.nodes[0], &["127.0.0.1"], &["put", "key", "lost"]);
    assert_ne!(dead.code, 0, "{dead:?}");
    // A member that is restarted cannot even bind.
    members.remove(2);
    let mut third = member(&lab.nodes[2], BEFORE[2]);
    assert!(!third.end().success());
    drop(third);

    let orders = orders();
    let dry = rescue(lab.worker(), &["--dry-run"], &orders).good();
    assert!(dry.contains("nothing has been done"), "{dry}");
    assert!(!dry.contains("in force"), "{dry}");
    let dry = rescue(lab.worker(), &["--dry-run", "-o", "json"], &orders).good();
    assert!(!dry.contains("is in force"), "{dry}");
    assert_eq!(json(&dry)["inForce"], false);
    assert!(ours(lab.worker()).is_empty());

    let began = Instant::now();
    std::thread::scope(|scope| {
        for node in &lab.nodes {
            scope.spawn(|| {
                let said = rescue(node, &[], &orders).good();
                assert!(
                    said.contains("the rescue is in force on this node"),
                    "{said}"
                );
                assert!(said.contains("stayput kubeadm audit"), "{said}");
            });
        }
    });
    let told = began.elapsed();
    members.push(member(&lab.nodes[2], BEFORE[2]));
    takes_a_write(lab.worker(), "after");
    println!(
        "rescue: four nodes done after {told:.1?}, etcd takes a write after {:.1?}",
        began.elapsed()
    );
    for (member, pid) in members.iter_mut().zip(&pids).take(2) {
        member.must_run();
        assert_eq!(member.pid(), *pid, "nothing was restarted");
    }
    lab.has(BEFORE, AFTER);
    lab.works(BEFORE);
    for node in &lab.nodes {
        says(node, "ok", "a rescue is in force: master-1=10.77.0.11");
        // The book says where masters are, not where they were.
        assert_eq!(node.status()["masters"][0]["addresses"][0], AFTER[0]);
    }

    // It ends without a trace.
    for node in &lab.nodes {
        node.stayput(&["kubeadm", "rescue", "--end"]).good();
        assert!(ours(node).is_empty(), "{:?}", ours(node));
        assert!(!node.path("etc/stayput/rescue.yaml").exists());
        says(node, "absent", "off");
        let again = node.stayput(&["kubeadm", "rescue", "--end"]).good();
        assert_eq!(again, "no rescue is in force on this node\n");
        let words = ["-o", "json", "kubeadm", "rescue", "--end"];
        let again = json(&node.stayput(&words).good());
        assert_eq!(again, serde_json::json!({"ended": false}));
    }
    let dead = etcdctl(lab.worker(), &BEFORE, &["put", "key", "lost"]);
    assert_ne!(dead.code, 0, "{dead:?}");
}

#[test]
fn one_master_that_has_moved_is_rescued_among_those_that_have_not() {
    if !possible(&["etcd", "etcdctl"]) {
        return;
    }
    // Without agents: the command does the work itself.
    let lab = Lab::new(&cluster(["", "", ""], ""));
    let members = etcd(&lab);
    lab.readdress([AFTER[0], "", ""]);
    let order = [orders().remove(0)];
    for node in &lab.nodes {
        let untold = rescue(node, &[], &order).good();
        assert!(untold.contains("nothing to rescue"), "{untold}");
        node.stayput(&["event", MASTERS[0], AFTER[0]]).good();
        let said = rescue(node, &[], &order).good();
        assert!(said.contains("in force"), "{said}");
        let status = node.stayput(&["status"]).good();
        let want = "a rescue is in force: master-1=10.77.0.11\n";
        assert!(status.contains(want), "{status}");
    }
    let want = [
        "10.77.0.11 on lo",
        // Known to them by its old address only.
        "10.77.0.12 src 10.77.0.11",
        "10.77.0.13 src 10.77.0.11",
    ];
    assert_eq!(ours(&lab.nodes[0]), want.map(str::to_owned).into());
    let second = ["10.77.0.11 via 10.77.0.111".to_owned()];
    assert_eq!(ours(&lab.nodes[1]), second.into());
    // The member that has moved takes part: it alone is asked.
    eventually("the moved member takes a write", || {
        let said = etcdctl(lab.worker(), &BEFORE[..1], &["put", "key", "after"]);
        (said.code == 0).then_some(()).ok_or(said.err)
    });
    drop(members);
}

#[test]
fn what_cannot_be_rescued_is_refused_and_nothing_changes() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&cluster(["", "", ""], ""));
    let node = &lab.nodes[0];
    let stranger = lab.bridge.node("stranger", BEFORE[1]);
    lab.readdress([AFTER[0], AFTER[1], ""]);
    for addresses in [[AFTER[0], AFTER[1]]] {
        for (name, address) in MASTERS.into_iter().zip(addresses) {
            for node in &lab.nodes {
                node.stayput(&["event", name, address]).good();
            }
        }
    }
    for (order, want) in [
        ("master-9=10.77.0.11", "is no master of this cluster"),
        ("master-1", "is not NAME=OLD"),
        ("master-1=10.77.0.13", "master-3 has it now"),
        ("master-1=fd77::5", "there is no way to an IPv6 address"),
    ] {
        let said = rescue(node, &[], &[order.to_owned()]).refused(65);
        assert!(said.contains(want), "{said}");
    }
    assert!(!node.path("etc/stayput/rescue.yaml").exists());
    let order = [orders().remove(1)];
    let said = rescue(&lab.nodes[1], &[], &order).refused(65);
    assert!(said.contains("10.77.0.12 is in use: "), "{said}");
    assert!(!lab.nodes[1].path("etc/stayput/rescue.yaml").exists());
    assert!(ours(&lab.nodes[1]).is_empty());
    drop(stranger);
    eventually("the stranger is gone", || {
        let said = rescue(&lab.nodes[1], &[], &order);
        (said.code == 0).then_some(()).ok_or(said.err)
    });
    assert!(ours(&lab.nodes[1]).contains("10.77.0.12 on lo"));
}

#[test]
fn an_agent_puts_a_rescue_in_force_as_soon_as_its_file_is_there() {
    if !possible(&[]) {
        return;
    }
    let mut lab = Lab::new(&cluster(["", "", ""], ""));
    lab.nodes[0].start_agent();
    let node = &lab.nodes[0];
    node.namespace.readdress(AFTER[0]);
    until("its own address is seen", || {
        node.status()["masters"][0]["addresses"][0] == AFTER[0]
    });
    node.write("etc/stayput/rescue.yaml", "master-1: 10.77.0.11\n");
    until("it has it back", || ours(node).contains("10.77.0.11 on lo"));
    // Its own address is still the one on the interface.
    node.stayput(&["event", "--interface"]).good();
    assert_eq!(node.status()["masters"][0]["addresses"][0], AFTER[0]);
    node.write("etc/stayput/rescue.yaml", "master-1: 10.77.0\n");
    until("a bad file is told", || {
        node.status()["configurationProblems"]
            .to_string()
            .contains("rescue --end")
    });
    assert!(
        ours(node).contains("10.77.0.11 on lo"),
        "the last good one stays"
    );
    // It is in force again after a restart.
    node.write("etc/stayput/rescue.yaml", "master-1: 10.77.0.11\n");
    until("it is good again", || {
        node.status()["configurationProblems"] == serde_json::json!([])
    });
    end_agent(node);
    ip(node, "address del 10.77.0.11/32 dev lo");
    lab.nodes[0].start_agent();
    assert!(ours(&lab.nodes[0]).contains("10.77.0.11 on lo"));
}

#[test]
fn a_second_command_adds_to_what_is_in_force_and_changes_none_of_it() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&cluster(["", "", ""], ""));
    let worker = lab.worker();
    lab.readdress([AFTER[0], AFTER[1], ""]);
    for (name, address) in MASTERS.into_iter().zip(AFTER).take(2) {
        worker.stayput(&["event", name, address]).good();
    }
    let orders = orders();
    rescue(worker, &[], &orders[..1]).good();
    let dry = rescue(worker, &["--dry-run"], &orders[1..2]).good();
    assert!(
        dry.contains("a rescue is in force: master-1=10.77.0.11;"),
        "{dry}"
    );
    let both = rescue(worker, &[], &orders[1..2]).good();
    let next = "rescue master-1=10.77.0.11 master-2=10.77.0.12";
    assert!(both.contains(next), "{both}");
    let want = ["10.77.0.11 via 10.77.0.111", "10.77.0.12 via 10.77.0.112"].map(str::to_owned);
    assert_eq!(ours(worker), want.clone().into());
    let file = worker.read("etc/stayput/rescue.yaml");
    let other = rescue(worker, &[], &["master-1=10.77.0.99".to_owned()]).refused(65);
    assert!(
        other.contains("in force on this node: master-1=10.77.0.11 master-2=10.77.0.12"),
        "{other}"
    );
    let early = worker.stayput(&["routes", "remove"]).refused(65);
    assert!(early.contains("stayput kubeadm rescue --end"), "{early}");
    assert_eq!(worker.read("etc/stayput/rescue.yaml"), file);
    assert_eq!(ours(worker), want.into());
    let ended = worker.stayput(&["kubeadm", "rescue", "--end", "-o", "json"]);
    let ended = json(&ended.good());
    assert_eq!(ended["ended"], true);
    assert!(ended["surfaces"].is_array(), "{ended}");
    assert!(ours(worker).is_empty());
}

#[test]
fn a_rescue_keeps_stable_addresses_too() {
    if !possible(&[]) {
        return;
    }
    // What was pinned before there were stable addresses.
    let lab = Lab::start(&cluster(STABLE, "routes: {mode: direct}\n"));
    lab.has(STABLE, BEFORE);
    lab.readdress(AFTER);
    lab.tell(AFTER);
    lab.has(STABLE, AFTER);
    let own = rescue(&lab.nodes[0], &[], &["master-1=10.254.0.1".to_owned()]).refused(65);
    assert!(own.contains("is master-1's `stable` address"), "{own}");
    for node in &lab.nodes {
        rescue(node, &[], &orders()).good();
    }
    let first = [
        "10.254.0.1 on lo",
        "10.77.0.11 on lo",
        "10.254.0.2 via 10.77.0.112 src 10.254.0.1",
        "10.254.0.3 via 10.77.0.113 src 10.254.0.1",
        "10.77.0.12 via 10.77.0.112 src 10.77.0.11",
        "10.77.0.13 via 10.77.0.113 src 10.77.0.11",
    ];
    assert_eq!(ours(&lab.nodes[0]), first.map(str::to_owned).into());
    assert_eq!(ours(lab.worker()).len(), 6);
    lab.works(STABLE);
    lab.works(BEFORE);
    for node in &lab.nodes {
        node.stayput(&["kubeadm", "rescue", "--end"]).good();
    }
    lab.has(STABLE, AFTER);
}

#[test]
fn a_sandbox_says_that_nothing_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("etc/stayput");
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(
        path.join("cluster.yaml"),
        cluster(STABLE, "routes: {mode: direct}\n"),
    )
    .unwrap();
    let stayput = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stayput"));
        run(command.arg("--root").arg(folder.path()).args(words)).good()
    };
    let untouched = "in a sandbox the kernel's tables are not touched";
    let shown = stayput(&["routes", "show"]);
    assert!(shown.contains(untouched), "{shown}");
    assert!(!shown.contains("missing"), "{shown}");
    assert_eq!(
        json(&stayput(&["routes", "show", "-o", "json"]))["sandbox"],
        true
    );
    for words in [&["--dry-run"][..], &[]] {
        let words = [&["kubeadm", "rescue", "master-1=10.77.0.99"], words].concat();
        let said = stayput(&words);
        assert!(said.contains(untouched), "{said}");
        assert!(!said.contains("is in force"), "{said}");
    }
    let words = ["kubeadm", "rescue", "master-2=10.77.0.98", "-o", "json"];
    let said = json(&stayput(&words));
    assert_eq!(said["inForce"], false, "{said}");
    assert!(!said["node"].to_string().contains("is in force"), "{said}");
}
