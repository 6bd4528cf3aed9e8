//! What is taken over from another member's pod, and what of it cannot be. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::{FOREIGN, container, listen};

/// Why another member's pod is no pattern for this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value that is right on another master only.
    #[error(
        "{place} has {address}, which is another master's; change it there to a name or to what is right on every master"
    )]
    Address {
        /// The flag, variable or field.
        place: String,
        /// The address.
        address: IpAddr,
    },
    /// A probe that would never be answered, so that the kubelet would restart etcd for ever.
    #[error(
        "its {probe} asks port {port}, and etcd listens there by none of its flags; put the probe or --listen-metrics-urls right there"
    )]
    Probe {
        /// `livenessProbe`, `readinessProbe` or `startupProbe`.
        probe: String,
        /// A number, or a name of a port.
        port: String,
    },
}

/// Their environment without what this member's flags say, or what begins another cluster: etcd refuses a
/// variable beside the flag of the same meaning (etcd 3.4, `pkg/flags/flag.go`, `verifyEnv`).
pub(super) fn env(env: &Value, flags: &BTreeMap<String, String>) -> Value {
    let stays = |entry: &&Value| {
        let name = entry["name"].as_str().unwrap_or_default();
        let Some(flag) = name.strip_prefix("ETCD_") else {
            return true;
        };
        let flag = flag.to_ascii_lowercase().replace('_', "-");
        !flags.contains_key(&flag) && !FOREIGN.contains(&flag.as_str())
    };
    let entries = env.as_array().into_iter().flatten();
    entries.filter(stays).cloned().collect()
}

/// Their ports, at no address of theirs.
pub(super) fn ports(mut ports: Value) -> Value {
    for port in ports.as_array_mut().into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            port.remove("hostIP");
        }
    }
    ports
}

/// Leads a probe to where this member listens.
pub(super) fn lead(
    name: &str,
    probe: &mut Value,
    ports: &Value,
    flags: &BTreeMap<String, String>,
) -> Result<(), Error> {
    for kind in ["httpGet", "tcpSocket"] {
        let Some(asked) = probe.get_mut(kind).and_then(Value::as_object_mut) else {
            continue;
        };
        let port = asked.get("port").unwrap_or(&Value::Null);
        let flag = |flag: &str| flags.get(flag).map(String::as_str);
        let host = number(port, ports).and_then(|port| listen::answers(flag, port));
        let host = host.ok_or_else(|| Error::Probe {
            probe: name.to_owned(),
            port: port
                .as_str()
                .map_or_else(|| port.to_string(), str::to_owned),
        })?;
        asked.insert("host".to_owned(), json!(host.to_string()));
    }
    Ok(())
}

/// A probe's port as a number; by its name it is one of the container's.
fn number(port: &Value, ports: &Value) -> Option<u16> {
    let port = match port.as_str() {
        None => port,
        Some(name) => {
            let mut ports = ports.as_array()?.iter();
            &ports.find(|port| port["name"] == name)?["containerPort"]
        }
    };
    port.as_u64()?.try_into().ok()
}

/// Refuses what still has an address of the pod's own master, or of another one that it names.
pub(super) fn refuse(
    pod: &Value,
    flags: &BTreeMap<String, String>,
    made: &Value,
) -> Result<(), Error> {
    let known = masters(pod);
    let check = |place: String, text: &str| match addresses(text).find(|it| known.contains(it)) {
        Some(address) => Err(Error::Address { place, address }),
        None => Ok(()),
    };
    // The members' own URLs are what etcd has, and not the pod's.
    for (flag, value) in flags.iter().filter(|(flag, _)| *flag != "initial-cluster") {
        check(format!("--{flag}"), value)?;
    }
    for entry in made["env"].as_array().into_iter().flatten() {
        let name = entry["name"].as_str().unwrap_or_default();
        check(
            format!("the variable {name}"),
            entry["value"].as_str().unwrap_or_default(),
        )?;
    }
    for probe in crate::kubeadm::manifest::PROBES {
        for text in texts(&made[probe]) {
            check(format!("its {probe}"), text)?;
        }
    }
    Ok(())
}

/// The masters' addresses, as far as a pod tells: its host's, and those of the members that it knows.
fn masters(pod: &Value) -> BTreeSet<IpAddr> {
    let status = ["hostIP", "podIP"].map(|key| pod["status"][key].as_str());
    let mut all: BTreeSet<IpAddr> = status.into_iter().flatten().flat_map(addresses).collect();
    let words = ["command", "args"].map(|key| container(pod).and_then(|it| it[key].as_array()));
    for word in words
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(Value::as_str)
    {
        let bare = word.trim_start_matches('-');
        if let Some((flag, urls)) = bare.split_once('=')
            && (flag.contains("advertise")
                || flag == "initial-cluster"
                || flag == "listen-peer-urls")
        {
            all.extend(addresses(urls));
        }
    }
    all.retain(|address| !address.is_loopback() && !address.is_unspecified());
    all
}

/// The addresses in a flag's value, with ports, in URLs and lists.
fn addresses(text: &str) -> impl Iterator<Item = IpAddr> {
    let words =
        text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_')));
    words.filter_map(|word| {
        let address = word.parse().ok();
        let with_port = || word.parse::<SocketAddr>().ok().map(|it| it.ip());
        address
            .or_else(with_port)
            .map(|it: IpAddr| it.to_canonical())
    })
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
