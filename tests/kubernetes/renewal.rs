//! Every certificate is renewed under a control plane at work.

use std::time::{Duration, Instant};

use crate::control_plane::{
    ENDPOINT, HOLDERS, PATIENCE, Way, certificates, founded, holders, processes, takes_writes,
};
use crate::lab::Lab;
use crate::measure::{measured, within};
use crate::node::Node;

const MASTERS: [(&str, &str); 1] = [("master-1", "10.77.0.11")];

/// All that stayput renews.
const RENEWED: [&str; 11] = [
    "apiserver",
    "apiserver-kubelet-client",
    "apiserver-etcd-client",
    "front-proxy-client",
    "etcd-server",
    "etcd-peer",
    "etcd-healthcheck-client",
    "stayput",
    "admin.conf",
    "controller-manager.conf",
    "scheduler.conf",
];

/// Asks through the endpoint again and again, each time with a new connection that verifies the
/// server, and counts. `$1`: the URL.
const ASKING: &str = r#"
asked=0 failed=0
while [ ! -e /run/lab/enough ]; do
    asked=$((asked + 1))
    curl -sS -m 10 -f -o /dev/null --cacert /etc/kubernetes/pki/ca.crt "$1" || failed=$((failed + 1))
    echo "$asked $failed" > /run/lab/asked.new
    mv /run/lab/asked.new /run/lab/asked
done
"#;

#[test]
fn no_request_fails_and_the_leases_are_taken_again() {
    let Some(lab) = Lab::start() else { return };
    let mut node = founded(&lab, Way::Names, &MASTERS);
    let (issued, before, held) = (certificates(&node), processes(&node), holders(&node));
    node.spawn(
        "asking",
        &[
            "sh",
            "-c",
            ASKING,
            "sh",
            &format!("https://{ENDPOINT}:8443/readyz"),
        ],
    );
    within("requests are answered", PATIENCE, || asked(&node, 10));

    let began = Instant::now();
    node.stayput(&[&["certs", "renew", "--force"], &RENEWED[..]].concat())
        .good();
    measured(
        "renewal of everything, with the restarts that it needs",
        began.elapsed(),
    );
    let after = certificates(&node);
    for (file, bytes) in &issued {
        // Authorities, the service accounts' key, and what the kubelet renews for itself.
        let stays = ["ca.crt", "ca.key", "sa.key", "sa.pub", "kubelet.conf"];
        let stays = stays.iter().any(|end| file.ends_with(end));
        assert_eq!(after[file] == *bytes, stays, "{file}");
    }

    // Two processes are others, and have their leases again; two have read the new files.
    let now = holders(&node);
    measured("renewal: until both leases are held again", began.elapsed());
    for program in HOLDERS {
        assert_ne!(now[program], held[program], "{program}");
    }
    let processes = processes(&node);
    for program in ["etcd", "kube-apiserver"] {
        assert_eq!(processes[program], before[program], "{program}");
    }
    let minutes = Duration::from_mins(3);
    within("the new certificates are served", minutes, || {
        node.ok("stayput", &["certs", "verify", "--live"])
    });
    measured(
        "renewal: until the new certificates are served",
        began.elapsed(),
    );
    takes_writes(&node, "renewed");
    let count = asked(&node, 0).unwrap();
    within("more requests are answered", PATIENCE, || {
        asked(&node, count + 10)
    });
    node.run("touch", &["/run/lab/enough"]).good();
    node.must_end("asking");
    println!("{} requests, none failed", asked(&node, 0).unwrap());
    node.must_run();
}

/// How many requests there were, if it were this many; none may have failed.
fn asked(node: &Node, many: u32) -> Result<u32, String> {
    let text = node.ok("cat", &["/run/lab/asked"])?;
    let (asked, failed) = text.trim().split_once(' ').ok_or(text.clone())?;
    assert_eq!(
        failed,
        "0",
        "of {asked} requests; {}",
        node.read("log/asking")
    );
    let asked = asked.parse().unwrap();
    (asked >= many).then_some(asked).ok_or(text)
}
