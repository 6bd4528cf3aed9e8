//! What the kubelet's flags and its configuration pin: place 12.

use super::Facts;
use super::files::File;
use crate::kubeadm::pin::{Pin, Severity};
use crate::yaml::{self, At};

/// Flags of the kubelet that take an address: what breaks, and what to do.
const FLAGS: [(&str, &str, &str); 3] = [
    (
        "node-ip",
        "the kubelet refuses an address that is not the machine's: the node becomes NotReady",
        "drop the flag: the kubelet looks its own node name up then, and takes the default interface",
    ),
    (
        "address",
        "the kubelet cannot bind that address when it starts next",
        "0.0.0.0, or drop the flag",
    ),
    (
        "hostname-override",
        "the node is called after an address that somebody else may have",
        "a name; the node has to join anew for that",
    ),
];

/// What an environment file with the kubelet's flags pins (systemd.exec(5), `EnvironmentFile=`).
pub fn flags(file: &File, facts: &Facts<'_>) -> Result<Vec<Pin>, String> {
    let mut pins = Vec::new();
    for (index, line) in file.text()?.lines().enumerate() {
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        // KUBELET_KUBEADM_ARGS="--a=b --c d"
        let text = line.split_once('=').map_or("", |(_, text)| text);
        let words: Vec<&str> = text
            .split(|c: char| c.is_whitespace() || c == '"' || c == '\'')
            .filter(|word| !word.is_empty())
            .collect();
        for (at, word) in words.iter().enumerate() {
            let Some(flag) = word.strip_prefix("--") else {
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some(pair) => pair,
                None => (flag, words.get(at + 1).copied().unwrap_or_default()),
            };
            let Some((name, breaks, instead)) = FLAGS.iter().find(|(known, ..)| *known == name)
            else {
                continue;
            };
            let addresses = facts.stable.changing(value);
            if !addresses.is_empty() {
                pins.push(Pin {
                    severity: Severity::Fatal,
                    place: file.path.display().to_string(),
                    line: Some(index + 1),
                    what: format!("--{name}"),
                    value: value.to_owned(),
                    addresses,
                    breaks: (*breaks).into(),
                    instead: (*instead).into(),
                });
            }
        }
    }
    Ok(pins)
}

/// What the kubelet's configuration pins (`KubeletConfiguration`).
pub fn settings(file: &File, facts: &Facts<'_>) -> Result<Vec<Pin>, String> {
    let text = file.text()?;
    let tree = yaml::parse(text).map_err(|error| format!("is no YAML: {error}"))?;
    let pin = |(field, instead): (&str, &str)| {
        let at = At::top(&tree).field(field)?;
        let value = at.text()?;
        let addresses = facts.stable.changing(value);
        (!addresses.is_empty()).then(|| Pin {
            severity: Severity::Fatal,
            place: file.path.display().to_string(),
            line: yaml::locate(text, &at.spot).map(|place| place.line),
            what: field.into(),
            value: value.into(),
            addresses,
            breaks: "the kubelet cannot bind that address when it starts next".into(),
            instead: instead.into(),
        })
    };
    let fields = [("address", "0.0.0.0"), ("healthzBindAddress", "127.0.0.1")];
    Ok(fields.into_iter().filter_map(pin).collect())
}
