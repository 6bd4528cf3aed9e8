//! Everybody has moved, there is no multicast, and one name of the network's own DNS leads to one of them.

use std::process::Command;

use rustix::process::Signal;

use crate::lab::{CLUSTER, EVERYBODY_ELSEWHERE, Lab, NAMES, WORKERS, address};
use crate::lab::{one_at_a_time, possible};
use crate::support::{Process, here, run, until};

const SEED: &str = "somebody.example.com";
const ROUTER: &str = "10.77.0.1";

/// The network's own DNS: one name, at an address that can change.
struct Upstream {
    process: Process,
    hosts: std::path::PathBuf,
}

impl Upstream {
    fn start(lab: &Lab, seed: &str) -> Self {
        let hosts = lab.folder.path().join("upstream.hosts");
        std::fs::write(&hosts, format!("{seed} {SEED}\n")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        command.args(["ip", "netns", "exec", lab.bridge.name(), "dnsmasq"]);
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--user=root",
        ]);
        command.args([
            "--no-resolv",
            "--no-hosts",
            "--log-facility=-",
            "--pid-file=",
        ]);
        command.arg(format!("--addn-hosts={}", hosts.display()));
        command.args([&format!("--listen-address={ROUTER}"), "--bind-interfaces"]);
        let process = Process::start(&mut command, &lab.folder.path().join("upstream.log"));
        Self::answers(lab, seed);
        Self { process, hosts }
    }

    /// The name is at another address now.
    fn leads_to(&self, lab: &Lab, seed: &str) {
        std::fs::write(&self.hosts, format!("{seed} {SEED}\n")).unwrap();
        self.process.signal(Signal::HUP);
        Self::answers(lab, seed);
    }

    fn answers(lab: &Lab, seed: &str) {
        until("the network's DNS answers", || {
            let mut dig = Command::new("ip");
            dig.args(["netns", "exec", lab.bridge.name(), "dig"]);
            dig.args(["+short", "+time=1", "+tries=1", &format!("@{ROUTER}"), SEED]);
            run(&mut dig).out.trim() == seed
        });
    }
}

#[test]
fn everybody_moves_and_a_name_leads_to_one_of_them() {
    if !possible() || !here(true, &["dnsmasq"]) {
        return;
    }
    let _turn = one_at_a_time();
    let listen = "dns: {listen: [\"127.0.0.1:53\"]";
    let cluster = CLUSTER.replace(listen, &format!("{listen}, upstream: [\"{ROUTER}:53\"]"));
    assert_ne!(cluster, CLUSTER);
    let cluster = format!("{cluster}peers: {{multicast: false, seeds: [{SEED}]}}\n");
    let mut lab = Lab::of(&cluster, WORKERS);
    // Somebody who is no master.
    let upstream = Upstream::start(&lab, &address(21));
    let begun = lab.moves(&EVERYBODY_ELSEWHERE);
    let (seed, at) = EVERYBODY_ELSEWHERE[3];
    assert_eq!(NAMES[seed], "worker-1");
    upstream.leads_to(&lab, &address(at));
    lab.all_books_are_true("all seven move at once, one name leads to one", begun);
}
