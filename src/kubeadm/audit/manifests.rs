//! What the manifests of a master's static pods pin: places 1 to 5 and 13.

use super::Facts;
use super::files::File;
use crate::api::etcd::{CLIENTS, PEERS};
use crate::kubeadm::advertise::Kept;
use crate::kubeadm::annotations::{APISERVER_ENDPOINT, ETCD_CLIENT_URLS};
use crate::kubeadm::manifest::{Located, Manifest};
use crate::kubeadm::pin::{Pin, Severity};

/// Whose manifest it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pod {
    /// kube-apiserver.
    Apiserver,
    /// etcd.
    Etcd,
    /// kube-controller-manager or kube-scheduler.
    Other,
}

/// What a flag is to a pod.
struct Rule {
    flag: &'static str,
    severity: Severity,
    breaks: &'static str,
    instead: fn(&Facts<'_>) -> String,
}

const NOT_BOUND: &str =
    "the pod cannot bind that address when it starts next, once the machine has another one";
const ALL: fn(&Facts<'_>) -> String = |_| "0.0.0.0, which is both families' in Go".into();

const APISERVER: [Rule; 2] = [
    Rule {
        flag: "etcd-servers",
        severity: Severity::Fatal,
        breaks: "kube-apiserver does not find etcd any more",
        instead: |_| "https://127.0.0.1:2379, or names".into(),
    },
    Rule {
        flag: "bind-address",
        severity: Severity::Fatal,
        breaks: NOT_BOUND,
        instead: ALL,
    },
];

const ETCD: [Rule; 6] = [
    Rule {
        flag: "listen-client-urls",
        severity: Severity::Fatal,
        breaks: NOT_BOUND,
        instead: |_| format!("https://0.0.0.0:{CLIENTS}"),
    },
    Rule {
        flag: "listen-peer-urls",
        severity: Severity::Fatal,
        breaks: NOT_BOUND,
        instead: |_| format!("https://0.0.0.0:{PEERS}"),
    },
    Rule {
        flag: "listen-metrics-urls",
        severity: Severity::Fatal,
        breaks: NOT_BOUND,
        instead: |_| "http://127.0.0.1:2381".into(),
    },
    Rule {
        flag: "advertise-client-urls",
        severity: Severity::Degraded,
        breaks: "clients are sent there by etcd, and nobody is there any more",
        instead: client_url,
    },
    Rule {
        flag: "initial-advertise-peer-urls",
        severity: Severity::Misleading,
        breaks: "it is read only where etcd has no data; a member that is made anew would be sought there",
        instead: peer_url,
    },
    Rule {
        flag: "initial-cluster",
        severity: Severity::Misleading,
        breaks: "it is read only where etcd has no data; a member that is made anew would look there",
        instead: |_| "NODE=https://MASTER:2380 of each member, by name".into(),
    },
];

const OTHER: [Rule; 2] = [
    Rule {
        flag: "bind-address",
        severity: Severity::Fatal,
        breaks: NOT_BOUND,
        instead: |_| "127.0.0.1".into(),
    },
    Rule {
        flag: "master",
        severity: Severity::Fatal,
        breaks: "it does not find kube-apiserver any more",
        instead: |facts| facts.local(),
    },
];

fn client_url(facts: &Facts<'_>) -> String {
    format!("https://{}:{CLIENTS}", facts.own_name())
}

fn peer_url(facts: &Facts<'_>) -> String {
    format!("https://{}:{PEERS}", facts.own_name())
}

/// What a manifest pins.
pub fn pins(pod: Pod, file: &File, facts: &Facts<'_>) -> Result<Vec<Pin>, String> {
    let manifest = Manifest::parse(file.text()?).map_err(|error| error.to_string())?;
    let mut found = Found {
        file,
        facts,
        pins: Vec::new(),
    };
    let rules: &[Rule] = match pod {
        Pod::Apiserver => &APISERVER,
        Pod::Etcd => &ETCD,
        Pod::Other => &OTHER,
    };
    for rule in rules {
        let what = format!("--{}", rule.flag);
        let instead = (rule.instead)(facts);
        found.add(
            manifest.flag(rule.flag),
            what,
            rule.severity,
            rule.breaks,
            instead,
        );
    }
    match pod {
        Pod::Apiserver => found.advertised(&manifest),
        Pod::Etcd => found.add(
            manifest.annotation(ETCD_CLIENT_URLS),
            format!("annotation {ETCD_CLIENT_URLS}"),
            Severity::Misleading,
            "`kubeadm join` and `upgrade` look for etcd there",
            client_url(facts),
        ),
        Pod::Other => {}
    }
    for probe in manifest.probe_hosts() {
        let place = Located {
            value: probe.host,
            line: probe.line,
        };
        let breaks = match probe.probe {
            "readinessProbe" => "the pod is never ready again",
            _ => "the kubelet restarts the pod again and again",
        };
        found.add(
            Some(place),
            format!("{}.httpGet.host", probe.probe),
            Severity::Fatal,
            breaks,
            "127.0.0.1".into(),
        );
    }
    for variable in ["no_proxy", "NO_PROXY"] {
        found.add(
            manifest.env(variable),
            format!("env {variable}"),
            Severity::Degraded,
            "requests to the new address go through the proxy",
            format!(".{}, and names", facts.view.cluster.domain),
        );
    }
    Ok(found.pins)
}

/// What was found so far.
struct Found<'a> {
    file: &'a File,
    facts: &'a Facts<'a>,
    pins: Vec<Pin>,
}

impl Found<'_> {
    /// Takes in a place, if it is there and pins.
    fn add(
        &mut self,
        place: Option<Located>,
        what: String,
        severity: Severity,
        breaks: impl Into<String>,
        instead: String,
    ) {
        let Some(Located { value, line }) = place else {
            return;
        };
        let addresses = self.facts.stable.changing(&value);
        if !addresses.is_empty() {
            self.pins.push(Pin {
                severity,
                place: self.file.path.display().to_string(),
                line: Some(line),
                what,
                value,
                addresses,
                breaks: breaks.into(),
                instead,
            });
        }
    }

    /// kube-apiserver's address has to be one: it pins unless the agent keeps it at the current one.
    fn advertised(&mut self, manifest: &Manifest) {
        let facts = self.facts;
        let rescued = matches!(facts.kept, Some(Kept::Rescue(_)));
        let to = facts.current.first();
        let to = to.map_or("this master's address".to_owned(), ToString::to_string);
        let flag = (manifest.flag("advertise-address"), Severity::Fatal);
        let annotation = (
            manifest.annotation(APISERVER_ENDPOINT),
            Severity::Misleading,
        );
        for (place, severity) in [flag, annotation] {
            let kept = |place: &Located| {
                let mut all = facts.stable.changing(&place.value).into_iter();
                facts.follows && all.all(|address| facts.current.contains(&address))
            };
            if place.as_ref().is_none_or(kept) {
                continue;
            }
            let is_flag = severity == Severity::Fatal;
            let breaks = match (is_flag, facts.follows) {
                (true, _) if rescued => {
                    "the Service default/kubernetes leads pods there, and a rescue alone keeps that address this master's"
                }
                (true, false) => {
                    "the Service default/kubernetes leads pods there, and nothing keeps it at the current address"
                }
                (true, true) => {
                    "the Service default/kubernetes leads pods there, and it is not this master's address now"
                }
                (false, _) => "`kubeadm upgrade`, `join` and `reset` read it back",
            };
            let instead = match (is_flag, facts.follows) {
                (true, _) if rescued => {
                    format!("{to}, once it is over: a rescue is in force until `stayput kubeadm rescue --end`")
                }
                (true, true) => format!("{to}; `stayput kubeadm follow` puts it there"),
                (true, false) if facts.sandbox => {
                    "a 'stable' address of this master; a node's agent follows by itself, in a sandbox that is off unless kubeadm.follow is given"
                        .into()
                }
                (true, false) => {
                    "a 'stable' address of this master, or kubeadm.follow, which is switched off in the cluster file"
                        .into()
                }
                (false, _) => "what --advertise-address says, with kube-apiserver's port".into(),
            };
            let what = if is_flag {
                "--advertise-address".to_owned()
            } else {
                format!("annotation {APISERVER_ENDPOINT}")
            };
            self.add(place, what, severity, breaks, instead);
        }
    }
}
