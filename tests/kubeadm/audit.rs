//! What is found on real files, and that nothing is found where nothing pins.

use std::fmt::Write;
use std::process::Command;

use serde_json::Value;

use crate::machine::{MOVING, Machine, NAMES, STABLE, STOCK};
use crate::support::{STAYPUT, here, run};

/// The agent keeps kube-apiserver's address at the current one.
const FOLLOW: &str = "kubeadm: {follow: [/usr/bin/stayput, kubeadm, follow]}\n";

/// `severity place:line what` of each pin, and what was not read; the exit code has to be `code`.
fn found(machine: &Machine, code: i32) -> (Vec<String>, Vec<String>) {
    let said = machine.stayput(&["kubeadm", "audit", "--this-node", "-o", "json"]);
    assert_eq!(said.code, code, "{said:#?}");
    let json: Value = serde_json::from_str(&said.out).unwrap();
    let pin = |pin: &Value| {
        let text = |key: &str| pin[key].as_str().unwrap();
        assert!(
            !text("breaks").is_empty() && !text("instead").is_empty() && !text("value").is_empty()
        );
        assert!(!pin["addresses"].as_array().unwrap().is_empty());
        let line = pin["line"]
            .as_u64()
            .map_or(String::new(), |line| format!(":{line}"));
        format!(
            "{} {}{line} {}",
            text("severity"),
            text("place"),
            text("what")
        )
    };
    let pins = json["pins"].as_array().unwrap().iter().map(pin).collect();
    let unread = json["unread"].as_array().unwrap().iter();
    (
        pins,
        unread
            .map(|text| text.as_str().unwrap().to_owned())
            .collect(),
    )
}

#[test]
fn stock_files_pin_in_all_these_places() {
    let machine = Machine::new(MOVING).with(STOCK);
    let (pins, unread) = found(&machine, 1);
    assert_eq!(
        pins,
        [
            "fatal /etc/kubernetes/controller-manager.conf:5 server",
            "fatal /etc/kubernetes/manifests/etcd.yaml:23 --listen-client-urls",
            "fatal /etc/kubernetes/manifests/etcd.yaml:25 --listen-peer-urls",
            "fatal /etc/kubernetes/manifests/kube-apiserver.yaml:16 --advertise-address",
            "fatal /etc/kubernetes/manifests/kube-apiserver.yaml:49 livenessProbe.httpGet.host",
            "fatal /etc/kubernetes/manifests/kube-apiserver.yaml:60 readinessProbe.httpGet.host",
            "fatal /etc/kubernetes/manifests/kube-apiserver.yaml:72 startupProbe.httpGet.host",
            "fatal /etc/kubernetes/pki/etcd/peer.crt subjectAltName",
            "fatal /etc/kubernetes/pki/etcd/server.crt subjectAltName",
            "fatal /etc/kubernetes/scheduler.conf:5 server",
            "fatal /var/lib/kubelet/kubeadm-flags.env:1 --node-ip",
            "degraded /etc/kubernetes/manifests/etcd.yaml:16 --advertise-client-urls",
            "degraded /etc/kubernetes/pki/apiserver.crt subjectAltName",
            "misleading /etc/kubernetes/manifests/etcd.yaml:5 annotation kubeadm.kubernetes.io/etcd.advertise-client-urls",
            "misleading /etc/kubernetes/manifests/etcd.yaml:20 --initial-advertise-peer-urls",
            "misleading /etc/kubernetes/manifests/etcd.yaml:21 --initial-cluster",
            "misleading /etc/kubernetes/manifests/kube-apiserver.yaml:5 annotation kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint",
        ]
    );
    assert!(unread.is_empty(), "{unread:?}");
    let table = machine.stayput(&["kubeadm", "audit", "--this-node"]);
    assert_eq!(table.code, 1);
    assert!(
        table.out.contains("manifests/etcd.yaml, line 23\n"),
        "{}",
        table.out
    );
    assert!(table.out.starts_with("fatal: "), "{}", table.out);
    assert!(
        table
            .out
            .ends_with("17 places pin addresses that can change\n`stayput kubeadm unpin` mends what can be mended, step by step\n"),
        "{}",
        table.out
    );
    for advice in [
        "`stayput certs renew apiserver --force` adds them",
        "`stayput certs renew etcd-server --force` adds them",
        "`stayput certs renew etcd-peer --force` adds them",
        "a node's agent follows by itself, in a sandbox that is off",
    ] {
        assert_eq!(
            table.out.matches(advice).count(),
            1,
            "{advice}: {}",
            table.out
        );
    }
}

#[test]
fn an_address_that_never_changes_pins_nothing() {
    let stable = STABLE.replace("10.254.0.1", "10.77.0.99");
    let machine = Machine::new(&stable).with(STOCK);
    assert_eq!(found(&machine, 1).0.len(), 17);
    let stable = STABLE
        .replace("10.77.0.11", "10.77.0.99")
        .replace("10.254.0.1", "10.77.0.11");
    let machine = Machine::new(&stable).with(STOCK);
    assert_eq!(found(&machine, 0), (vec![], vec![]));
    let said = machine.stayput(&["kubeadm", "audit", "--this-node"]);
    assert_eq!(said.good(), "nothing pins an address that can change\n");
}

#[test]
fn config_and_patches_leave_the_advertise_address_alone_to_pin() {
    let machine = Machine::new(MOVING).with(NAMES);
    let advertised = |machine: &Machine| {
        let (pins, unread) = found(machine, 1);
        assert!(unread.is_empty(), "{unread:?}");
        pins
    };
    let both = [
        "fatal /etc/kubernetes/manifests/kube-apiserver.yaml:16 --advertise-address",
        "misleading /etc/kubernetes/manifests/kube-apiserver.yaml:5 annotation kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint",
    ];
    assert_eq!(advertised(&machine), both, "nobody follows");
    let machine = Machine::new(&format!("{MOVING}{FOLLOW}")).with(NAMES);
    assert_eq!(found(&machine, 0), (vec![], vec![]), "the agent follows");
    // The address changed, and it has not followed yet.
    let moved = MOVING.replace("10.77.0.11", "10.88.0.11");
    let machine = Machine::new(&format!("{moved}{FOLLOW}")).with(NAMES);
    assert_eq!(advertised(&machine), both, "stale");
}

#[test]
fn places_that_stock_files_do_not_pin() {
    let machine = Machine::new(&format!("{MOVING}{FOLLOW}")).with(NAMES);
    let edit = |path: &str, old: &str, new: &str| {
        let text = machine.read(path);
        assert!(text.contains(old), "{path}: {text}");
        machine.write(path, &text.replacen(old, new, 1));
    };
    edit(
        "/etc/kubernetes/manifests/kube-scheduler.yaml",
        "    image:",
        "    env: [{name: NO_PROXY, value: '10.77.0.12,10.96.0.0/12,.svc'}]\n    image:",
    );
    let server = "server: https://api.prod.k8s.internal:8443";
    edit(
        "/etc/kubernetes/kubelet.conf",
        server,
        "server: https://10.77.0.11:6443",
    );
    edit(
        "/etc/kubernetes/admin.conf",
        server,
        "server: 'https://10.77.0.12:6443'",
    );
    let admin = machine.read("/etc/kubernetes/admin.conf");
    machine.write("/etc/kubernetes/bootstrap-kubelet.conf", &admin);
    machine.write("/etc/kubernetes/super-admin.conf", &admin);
    // A person's kubeconfig: this cluster, and another one that is none of our business.
    let theirs = Machine::new(MOVING)
        .with(STOCK)
        .read("/etc/kubernetes/admin.conf");
    let cluster = |text: &str| {
        let start = text.find("- cluster:").unwrap();
        text[start..text.find("contexts:").unwrap()].to_owned()
    };
    let stranger = cluster(&theirs).replace("api.prod.k8s.internal", "203.0.113.7");
    let person = admin.replace(&cluster(&admin), &format!("{stranger}{}", cluster(&admin)));
    machine.write("/root/.kube/config", &person);
    let apiserver = Machine::new(MOVING).with(STOCK);
    let bytes = apiserver.read("/etc/kubernetes/pki/apiserver.crt");
    machine.write("/var/lib/kubelet/pki/kubelet.crt", &bytes);
    machine.write(
        "/etc/default/kubelet",
        "# --node-ip=10.1.1.1\nKUBELET_EXTRA_ARGS=\"--v=2 --node-ip 10.77.0.11\"\n",
    );
    edit(
        "/var/lib/kubelet/config.yaml",
        "authentication:",
        "address: 10.77.0.11\nauthentication:",
    );
    let header = "# Kubernetes-managed hosts file (host network).\n";
    let stale = format!("{header}10.66.0.12 master-2.prod.k8s.internal\n127.0.1.1 master-1\n");
    machine.write("/var/lib/kubelet/pods/a/etc-hosts", &stale);
    let right =
        format!("{header}10.77.0.12 master-2.prod.k8s.internal\n127.0.0.1 api.prod.k8s.internal\n");
    machine.write("/var/lib/kubelet/pods/b/etc-hosts", &right);
    machine.write(
        "/var/lib/kubelet/pods/c/etc-hosts",
        &stale.replace("host network", "pod"),
    );
    let (pins, unread) = found(&machine, 1);
    assert_eq!(
        pins,
        [
            "fatal /etc/default/kubelet:2 --node-ip",
            "fatal /etc/kubernetes/kubelet.conf:5 server",
            "fatal /var/lib/kubelet/config.yaml:2 address",
            "degraded /etc/kubernetes/admin.conf:5 server",
            "degraded /etc/kubernetes/bootstrap-kubelet.conf:5 server",
            "degraded /etc/kubernetes/manifests/kube-scheduler.yaml:20 env NO_PROXY",
            "degraded /etc/kubernetes/super-admin.conf:5 server",
            "degraded /root/.kube/config:9 server",
            "degraded /var/lib/kubelet/pods/a/etc-hosts:2 master-2.prod.k8s.internal",
            "misleading /var/lib/kubelet/pki/kubelet.crt subjectAltName",
        ]
    );
    assert!(unread.is_empty(), "{unread:?}");
}

#[test]
fn an_address_beside_the_master_s_name_only_misleads() {
    let machine = Machine::new(STABLE);
    machine.stayput(&["certs", "init", "--new-cluster"]).good();
    assert_eq!(found(&machine, 0), (vec![], vec![]));
    // What was stable is so no more.
    let file = machine.read("/etc/stayput/cluster.yaml");
    machine.write(
        "/etc/stayput/cluster.yaml",
        &file.replace(", stable: 10.254.0.1", ""),
    );
    assert_eq!(
        found(&machine, 1).0,
        [
            "misleading /etc/kubernetes/pki/apiserver.crt subjectAltName",
            "misleading /etc/kubernetes/pki/etcd/peer.crt subjectAltName",
            "misleading /etc/kubernetes/pki/etcd/server.crt subjectAltName",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_told_and_never_clean() {
    let machine = Machine::new(&format!("{MOVING}{FOLLOW}")).with(NAMES);
    machine.write("/etc/kubernetes/manifests/etcd.yaml", "spec: [\n");
    machine.write("/etc/kubernetes/pki/apiserver.crt", "nothing\n");
    let controller = machine.path("/etc/kubernetes/controller-manager.conf");
    std::fs::remove_file(&controller).unwrap();
    std::fs::create_dir(&controller).unwrap();
    let (pins, unread) = found(&machine, 71);
    assert!(pins.is_empty(), "{pins:?}");
    for (place, reason) in [
        ("/etc/kubernetes/manifests/etcd.yaml", "no YAML"),
        ("/etc/kubernetes/pki/apiserver.crt", "no certificate"),
        ("/etc/kubernetes/controller-manager.conf", "cannot be read"),
    ] {
        let told = |text: &&String| text.starts_with(place) && text.contains(reason);
        assert_eq!(unread.iter().filter(told).count(), 1, "{place}: {unread:?}");
    }
    assert_eq!(unread.len(), 3);
    let said = machine.stayput(&["kubeadm", "audit", "--this-node"]);
    assert!(
        said.out
            .contains("not looked at: /etc/kubernetes/manifests/etcd.yaml")
    );
    assert!(
        said.out
            .ends_with("nothing pins in what could be looked at\n")
    );
}

#[test]
fn a_worker_has_a_kubelet_alone() {
    let machine = Machine::new(MOVING);
    let worker = ["--node", "worker", "kubeadm", "audit", "--this-node"];
    let kubelet = Machine::new(MOVING)
        .with(NAMES)
        .read("/etc/kubernetes/kubelet.conf");
    machine.write("/etc/kubernetes/kubelet.conf", &kubelet);
    assert_eq!(machine.stayput(&worker).code, 0);
    machine.write(
        "/var/lib/kubelet/kubeadm-flags.env",
        "KUBELET_KUBEADM_ARGS=\"--node-ip=10.77.0.30\"\n",
    );
    let said = machine.stayput(&worker);
    assert_eq!(said.code, 1);
    assert!(
        said.out
            .contains("kubeadm-flags.env, line 1\n    --node-ip 10.77.0.30\n"),
        "{}",
        said.out
    );
}

#[test]
fn where_kubeadm_has_not_been_nothing_is_clean() {
    let machine = Machine::new(&format!("{MOVING}{FOLLOW}"));
    for (node, place) in [
        (
            "master-1",
            "/etc/kubernetes/manifests and /etc/kubernetes/*.conf",
        ),
        ("worker", "/etc/kubernetes/kubelet.conf"),
    ] {
        let audit = ["--node", node, "kubeadm", "audit", "--this-node"];
        let said = machine.stayput(&audit);
        assert_eq!(said.code, 69, "{said:#?}");
        let want = format!("not looked at: {place}: there are no kubeadm files here");
        assert!(said.out.contains(&want), "{}", said.out);
        assert!(
            said.out
                .ends_with("nothing pins in what could be looked at\n"),
            "{}",
            said.out
        );
        let said = machine.stayput(&[&audit[..], &["-o", "json"]].concat());
        assert_eq!(said.code, 69, "{said:#?}");
        let json: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(json["unread"], serde_json::json!([]));
        assert_eq!(json["notLookedAt"][0]["place"], place);
        assert_eq!(json["clusterAsked"], false);
        let follow = ["--node", node, "kubeadm", "follow"];
        let text = machine.stayput(&follow).good();
        assert!(text.contains("there are no kubeadm files here"), "{text}");
        assert!(!text.contains("nothing pins"), "{text}");
        let text = machine.stayput(&[&follow[..], &["-o", "json"]].concat());
        let json: Value = serde_json::from_str(&text.good()).unwrap();
        let notice = json["notices"][0].as_str().unwrap();
        assert!(notice.contains(place), "{notice}");
    }
}

#[test]
fn a_rescue_is_told_as_one() {
    let moved = MOVING.replace("10.77.0.11", "10.88.0.11");
    let machine = Machine::new(&format!("{moved}{FOLLOW}")).with(NAMES);
    let audit = ["kubeadm", "audit", "--this-node"];
    let said = machine.stayput(&audit);
    assert!(said.out.contains("`stayput kubeadm follow` puts it there"));
    let manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
    let before = machine.read(manifest);
    machine.write("/etc/stayput/rescue.yaml", "master-1: 10.77.0.11\n");
    let said = machine.stayput(&audit);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("a rescue is in force"), "{}", said.out);
    assert!(!said.out.contains("kubeadm follow"), "{}", said.out);
    let text = machine.stayput(&["kubeadm", "follow"]).good();
    assert!(
        text.contains("goes on advertising 10.77.0.11: a rescue is in force"),
        "{text}"
    );
    assert_eq!(machine.read(manifest), before);
    let json = machine.stayput(&["kubeadm", "follow", "-o", "json"]).good();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["advertise"]["result"], "rescue");
    // Another master's rescue leaves this one as it is.
    machine.write("/etc/stayput/rescue.yaml", "master-2: 10.77.0.92\n");
    let said = machine.stayput(&audit);
    assert!(!said.out.contains("a rescue is in force"), "{}", said.out);
}

#[test]
fn in_a_sandbox_the_cluster_is_not_asked() {
    let machine = Machine::new(&format!("{MOVING}{FOLLOW}")).with(NAMES);
    if !here(false, &["strace"]) {
        return;
    }
    let trace = machine.path("/trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-e", "trace=connect,sendto", "-o"]);
    command.arg(&trace).args([STAYPUT, "--node", "master-1"]);
    command.args(["--kubernetes-name", "master-1", "--root"]);
    let said = run(command.arg(machine.root()).args(["kubeadm", "audit"]));
    assert_eq!(said.code, 0, "{said:#?}");
    assert_eq!(
        said.out,
        "in a sandbox the cluster is not asked\nnothing pins an address that can change\n"
    );
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(trace.contains("exited with 0"), "{trace}");
    assert!(!trace.contains("AF_INET"), "{trace}");
}

#[test]
fn a_cluster_that_does_not_answer_is_not_clean() {
    if !here(true, &["unshare", "mount", "chroot"]) {
        return;
    }
    // A machine of its own, not a sandbox; and in a network of its own nobody answers.
    let ask = |machine: &Machine, more: &[&str]| {
        let mut script = String::from("set -e; cd \"$1\"; mkdir proc\n");
        for folder in ["usr", "lib", "lib64"] {
            let _ = writeln!(
                script,
                "if [ -d /{folder} ]; then mkdir {folder}; mount --bind /{folder} {folder}; fi"
            );
        }
        script += "mount --bind /proc proc; cp \"$2\" \"$2-certs\" .; shift 2; exec chroot . /stayput \"$@\"\n";
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-c", &script, "sh"]);
        command.arg(machine.root()).arg(STAYPUT);
        command.args(["--node", "master-1", "--kubernetes-name", "master-1"]);
        run(command.args(["kubeadm", "audit"]).args(more))
    };
    let clean = || Machine::new(&format!("{MOVING}{FOLLOW}")).with(NAMES);
    let said = ask(&clean(), &[]);
    assert_eq!(said.code, 69, "{said:#?}");
    for place in ["etcd's members: ", "ConfigMaps, Endpoints and Nodes: "] {
        assert!(
            said.out.contains(&format!("not looked at: {place}")),
            "{said:#?}"
        );
    }
    assert!(!said.out.contains("sandbox"), "{}", said.out);
    assert!(
        said.out
            .ends_with("nothing pins in what could be looked at\n"),
        "{}",
        said.out
    );
    let said = ask(&clean(), &["-o", "json"]);
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["unread"], serde_json::json!([]));
    assert_eq!(json["clusterAsked"], true);
    let missed = json["notLookedAt"].as_array().unwrap();
    let places: Vec<&str> = missed
        .iter()
        .filter_map(|it| it["place"].as_str())
        .collect();
    assert!(places.contains(&"etcd's members"), "{json}");
    assert!(
        missed
            .iter()
            .all(|it| it["reason"].as_str().is_some_and(|text| !text.is_empty())),
        "{json}"
    );
    assert_eq!(ask(&Machine::new(MOVING).with(STOCK), &[]).code, 1);
    // Its files alone are clean: this is what is not asked.
    assert_eq!(ask(&clean(), &["--this-node"]).code, 0);
}
