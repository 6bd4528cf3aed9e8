//! Hosts copies of running pods that lead one of our names elsewhere: place 14.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Facts;
use super::files::File;
use crate::kubeadm::pin::{Pin, Severity};

/// How many lines of a copy are told: a container can write its own.
const TOLD: usize = 3;

/// What a copy pins. Nothing in it is believed: only lines with a name of ours are looked at.
pub fn pins(file: &File, facts: &Facts<'_>) -> Vec<Pin> {
    let mut known: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for entry in facts.view.entries() {
        if !entry.addresses.is_empty() {
            for name in std::iter::once(&entry.name).chain(&entry.aliases) {
                known.insert(name.to_string(), entry.addresses.clone());
            }
        }
    }
    let lines = file.bytes.split(|byte| *byte == b'\n').enumerate();
    let elsewhere = lines.filter_map(|(index, line)| {
        let (address, names) = mapping(line)?;
        let wrong = |name: &&String| {
            let right = known.get(*name);
            right.is_some_and(|right| !right.contains(&address))
        };
        let name = names.iter().find(wrong)?.clone();
        Some((index + 1, address, name))
    });
    let pin = |(line, address, name): (usize, IpAddr, String)| Pin {
        severity: Severity::Degraded,
        place: file.path.display().to_string(),
        line: Some(line),
        what: name,
        value: address.to_string(),
        addresses: vec![address],
        breaks: "what runs in this pod goes to an address that is not that name's".into(),
        instead: "the agent writes it; see `stayput status`, or run `stayput apply`".into(),
    };
    elsewhere.take(TOLD).map(pin).collect()
}

/// A line of a hosts file as a resolver reads it (hosts(5)).
fn mapping(line: &[u8]) -> Option<(IpAddr, Vec<String>)> {
    let line = std::str::from_utf8(line.split(|byte| *byte == b'#').next()?).ok()?;
    let mut words = line.split_ascii_whitespace();
    let address: IpAddr = words.next()?.parse().ok()?;
    let names = words.map(str::to_ascii_lowercase).collect();
    Some((address.to_canonical(), names))
}
