//! Kubeconfigs whose server is an address that can change, and the kubelet's `--node-ip`: the texts with
//! that value changed, and every other byte kept.

use std::fmt;

use zeroize::Zeroizing;

use super::difference;
use super::pins::Ways;
use super::plan::Change;
use crate::yaml::{self, At, Tree};

/// A server that takes another's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The URL that was there.
    pub old: String,
    /// The URL that is there now.
    pub new: String,
    /// The line, from 1.
    pub line: usize,
}

/// A text with what was changed in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Mended {
    /// All of it. Holds keys.
    pub text: Zeroizing<String>,
    /// The servers that were changed.
    pub moved: Vec<Moved>,
}

impl fmt::Debug for Mended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mended");
        shown.field("moved", &self.moved).finish_non_exhaustive()
    }
}

/// Why a kubeconfig cannot be mended. Nothing of its text is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not YAML.
    #[error("is no YAML that can be read{}", line.map_or(String::new(), |line| format!(" (line {line})")))]
    Yaml {
        /// Where, if that is known.
        line: Option<usize>,
    },
    /// It is written in a way that cannot be changed safely.
    #[error(
        "line {0}: the server cannot be changed there without changing more; change it by hand"
    )]
    Unchangeable(usize),
}

/// The kubeconfig with the server `to` wherever a cluster's server pins; `None` where none does. Where
/// `authority` is given, only of clusters that trust exactly it (as base64 of PEM): a person's kubeconfig
/// may know other clusters.
pub fn mended(
    text: &str,
    to: &str,
    authority: Option<&str>,
    ways: &Ways,
) -> Result<Option<Mended>, Error> {
    let mut text = Zeroizing::new(text.to_owned());
    let mut moved = Vec::new();
    // One at a time: what is behind a change has moved.
    while let Some(one) = next(&text, to, authority, ways)? {
        text = Zeroizing::new(one.0);
        moved.push(one.1);
    }
    Ok((!moved.is_empty()).then_some(Mended { text, moved }))
}

fn next(
    text: &str,
    to: &str,
    authority: Option<&str>,
    ways: &Ways,
) -> Result<Option<(String, Moved)>, Error> {
    let tree = parse(text)?;
    let Some(clusters) = At::top(&tree).field("clusters") else {
        return Ok(None);
    };
    let trusts = |cluster: &At<'_>| {
        let data = cluster.field("certificate-authority-data");
        let data = data.as_ref().and_then(At::text).map(bare);
        authority.is_none_or(|authority| data == Some(bare(authority)))
    };
    let pinned = clusters.items().find_map(|entry| {
        let cluster = entry.field("cluster").filter(trusts)?;
        let server = cluster.field("server")?;
        let url = server
            .text()
            .filter(|url| ways.stable.url_can_change(url))?;
        Some((server.spot.clone(), url.to_owned()))
    });
    let Some((spot, old)) = pinned else {
        return Ok(None);
    };
    let line = yaml::locate(text, &spot).map_or(1, |place| place.line);
    let (text, _) = yaml::replaced(text, &tree, &spot, to).ok_or(Error::Unchangeable(line))?;
    let new = to.to_owned();
    Ok(Some((text, Moved { old, new, line })))
}

/// What people are shown of it: the servers, and nothing of what stands beside them.
pub(super) fn shown(place: &str, mended: &Mended) -> Change {
    let lines = mended.moved.iter();
    let lines = lines.map(|it| ("server", it.old.as_str(), it.new.as_str()));
    difference::of_values(place, lines)
}

pub(super) fn parse(text: &str) -> Result<Tree, Error> {
    // The message may quote the text: only its place is told.
    yaml::parse(text).map_err(|error| Error::Yaml {
        line: error.location.map(|place| place.line),
    })
}

fn bare(base64: &str) -> String {
    base64.split_ascii_whitespace().collect()
}

/// The flags of the kubelet in kubeadm's environment file without a `--node-ip` that pins, and that
/// flag's value; `None` where there is none. The kubelet then looks its node's own name up, and takes
/// the address of the default route.
pub fn without_node_ip(text: &str, ways: &Ways) -> Option<(String, String)> {
    const FLAG: &str = "--node-ip";
    let is_end = |c: char| c.is_ascii_whitespace() || c == '"' || c == '\'';
    for (start, _) in text.match_indices(FLAG) {
        let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
        if text[line..].trim_start().starts_with('#') {
            continue;
        }
        let rest = &text[start + FLAG.len()..];
        let Some(value) = rest.strip_prefix(['=', ' ']) else {
            continue;
        };
        let length = value.find(is_end).unwrap_or(value.len());
        let value = &value[..length];
        // Of two stacks both are given, joined by a comma.
        if !value
            .split(',')
            .any(|address| ways.stable.host_can_change(address))
        {
            continue;
        }
        let end = start + FLAG.len() + 1 + length;
        let (before, behind) = (&text[..start], &text[end..]);
        // One of the two blanks around it goes too.
        let (before, behind) = match before.strip_suffix(' ') {
            Some(before) => (before, behind),
            None => (before, behind.strip_prefix(' ').unwrap_or(behind)),
        };
        return Some((format!("{before}{behind}"), value.to_owned()));
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kubeadm::unpin::pins::sample;

    const TO: &str = "https://api.k8s.internal:8443";

    fn with(text: &str, authority: Option<&str>) -> Option<Mended> {
        mended(text, TO, authority, &sample()).unwrap()
    }

    fn kubeconfig(server: &str) -> String {
        format!(
            "apiVersion: v1\r\nclusters:\r\n- cluster:\r\n    certificate-authority-data: QUJD\r\n    server: {server} # note\r\n  name: kubernetes\r\nusers:\r\n- name: a\r\n  user:\r\n    client-key-data: U0VDUkVU\r\n"
        )
    }

    #[test]
    fn only_the_server_changes() {
        for (quote, line) in [("", 5), ("\"", 5), ("'", 5)] {
            let old = format!("{quote}https://10.77.0.11:6443{quote}");
            let text = kubeconfig(&old);
            let mended = with(&text, None).unwrap();
            let moved = Moved {
                old: "https://10.77.0.11:6443".into(),
                new: TO.into(),
                line,
            };
            assert_eq!(mended.moved, [moved]);
            assert_eq!(*mended.text, text.replace("https://10.77.0.11:6443", TO));
            assert!(with(&mended.text, None).is_none());
        }
        let json = r#"{"clusters":[{"cluster":{"server":"https://10.77.0.11:6443"},"name":"a"}]}"#;
        let new = with(json, None).unwrap().text;
        assert_eq!(*new, json.replace("https://10.77.0.11:6443", TO));
    }

    #[test]
    fn a_server_that_does_not_pin_stays() {
        for server in [
            "https://127.0.0.1:6443",
            "https://api.k8s.internal:8443",
            "https://elsewhere.example:6443",
            "https://10.254.0.1:6443",
        ] {
            assert!(with(&kubeconfig(server), None).is_none(), "{server}");
        }
        assert!(with("", None).is_none());
        assert!(with("clusters: null\n", None).is_none());
    }

    #[test]
    fn another_authority_s_cluster_stays() {
        let text = kubeconfig("https://10.77.0.11:6443");
        assert!(with(&text, Some("QUJD\n")).is_some());
        assert!(with(&text, Some("WFla")).is_none());
    }

    #[test]
    fn every_cluster_of_a_file_is_mended() {
        let text = "clusters:\n- cluster: {server: 'https://10.77.0.11:6443'}\n  name: a\n- cluster:\n    server: https://10.77.0.12:6443\n  name: b\n";
        let mended = with(text, None).unwrap();
        let lines: Vec<usize> = mended.moved.iter().map(|moved| moved.line).collect();
        assert_eq!(lines, [2, 5]);
        assert_eq!(mended.text.matches(TO).count(), 2);
    }

    #[test]
    fn what_cannot_be_changed_alone_is_refused_without_a_word_of_the_text() {
        let anchors = "a: &a https://10.77.0.11:6443\nclusters:\n- cluster: {server: *a}\n";
        let error = mended(anchors, TO, None, &sample()).unwrap_err();
        assert!(matches!(error, Error::Unchangeable(_)), "{error}");
        let error = mended("clusters: [SECRET", TO, None, &sample()).unwrap_err();
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }

    #[test]
    fn the_node_s_address_goes_out_of_the_kubelet_s_flags() {
        for (text, want) in [
            (
                "KUBELET_KUBEADM_ARGS=\"--a=b --node-ip=10.77.0.11 --c=d\"\n",
                Some("KUBELET_KUBEADM_ARGS=\"--a=b --c=d\"\n"),
            ),
            ("X=\"--node-ip=10.77.0.11 --c=d\"", Some("X=\"--c=d\"")),
            ("X=\"--a --node-ip 10.77.0.11\"\n", Some("X=\"--a\"\n")),
            ("X=\"--node-ip=fd77::1,10.77.0.11\"", Some("X=\"\"")),
            ("X=\"--node-ip=::\"", None),
            ("X=\"--node-ip=10.254.0.1\"", None),
            ("# X=\"--node-ip=10.77.0.11\"\n", None),
            ("X=\"--node-ip-other=10.77.0.11\"", None),
            ("X=\"--a=b\"", None),
        ] {
            let new = without_node_ip(text, &sample()).map(|(new, _)| new);
            assert_eq!(new.as_deref(), want, "{text}");
        }
    }

    proptest! {
        /// Whatever stands around it: one value is replaced, and nothing else.
        #[test]
        fn every_other_byte_stays(
            head in "(#[ -~]{0,20}\n){0,3}",
            name in "[a-z]{1,8}",
            tail in "(# [ -~]{0,20}\n){0,3}",
            octets in prop::array::uniform4(1_u8..=255),
        ) {
            let host = octets.map(|octet| octet.to_string()).join(".");
            let url = format!("https://{host}:6443");
            let text = format!(
                "{head}clusters:\n- name: {name}x\n  cluster:\n    server: {url}\n    tls-server-name: x{host}\n{tail}"
            );
            let mended = mended(&text, TO, None, &sample()).unwrap();
            prop_assert_eq!(mended.is_some(), sample().stable.host_can_change(&host));
            if let Some(mended) = mended {
                prop_assert_eq!(&*mended.text, &*text.replacen(&url, TO, 1));
            }
        }
    }
}
