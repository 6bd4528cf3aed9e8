//! The manifests of etcd and kube-apiserver without addresses that can change.
//!
//! kube-apiserver's `--advertise-address` stays: it has to be an address, and `stayput kubeadm follow`
//! keeps it at the current one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::pins::Ways;
use crate::kubeadm::annotations::{APISERVER_ENDPOINT, ETCD_CLIENT_URLS};
use crate::kubeadm::manifest::{self, Edit, Manifest};
use crate::kubeadm::url::{self, Url};
use crate::name::Name;

/// Why a manifest is left to a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot be read, or not be changed safely.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// etcd without TLS, which is not to be opened to every network that the machine is in.
    #[error(
        "has {url} in --{flag}: etcd without TLS is not put on all addresses; write https:// or a loopback address there by hand"
    )]
    Plain {
        /// The flag.
        flag: &'static str,
        /// The URL.
        url: String,
    },
    /// Two kinds of servers at one port, which can be so only at different addresses.
    #[error(
        "has {one} and {other} in --{flag}: on all addresses these would be one port; give one of them another port by hand"
    )]
    Clash {
        /// The flag.
        flag: &'static str,
        /// The URL that pins.
        one: String,
        /// The one that does not.
        other: String,
    },
}

/// Every address of the machine, both families: etcd refuses names here, and `[::]` beside it would be
/// the same port again.
const ANY: &str = "0.0.0.0";

/// etcd's manifest with names, or `None` where nothing in it pins. `me` is this master's name.
pub fn etcd(text: &str, me: &Name, ways: &Ways) -> Result<Option<String>, Error> {
    let manifest = Manifest::parse(text)?;
    let mut edits = Vec::new();
    for flag in [
        "listen-client-urls",
        "listen-peer-urls",
        "listen-metrics-urls",
    ] {
        let Some(urls) = manifest.flag(flag) else {
            continue;
        };
        encrypted(flag, &urls.value, ways)?;
        let new = listening(flag, &urls.value, ways)?;
        edits.extend(flag_edit(&manifest, flag, |_| new));
    }
    for flag in ["advertise-client-urls", "initial-advertise-peer-urls"] {
        if let Some(urls) = manifest.flag(flag) {
            encrypted(flag, &urls.value, ways)?;
        }
        edits.extend(flag_edit(&manifest, flag, |urls| named(urls, me, ways)));
    }
    edits.extend(flag_edit(&manifest, "initial-cluster", |members| {
        cluster(members, ways)
    }));
    if let Some(urls) = manifest.annotation(ETCD_CLIENT_URLS) {
        edits.extend(named(&urls.value, me, ways).map(|value| Edit::Annotation {
            key: ETCD_CLIENT_URLS.to_owned(),
            value,
        }));
    }
    changed(&manifest, text, &edits)
}

/// kube-apiserver's manifest whose probes ask loopback, and whose annotation agrees with its flag; or
/// `None` where that is so.
pub fn apiserver(text: &str, ways: &Ways) -> Result<Option<String>, Error> {
    let manifest = Manifest::parse(text)?;
    let probes = manifest.probe_hosts();
    let probes = probes
        .iter()
        .filter(|probe| ways.stable.host_can_change(&probe.host));
    let mut edits: Vec<Edit> = probes
        .map(|probe| Edit::ProbeHost {
            probe: probe.probe.to_owned(),
            host: "127.0.0.1".to_owned(),
        })
        .collect();
    edits.extend(flag_edit(&manifest, "bind-address", |host| {
        ways.stable.host_can_change(host).then(|| ANY.to_owned())
    }));
    let advertised = manifest.flag("advertise-address");
    let endpoint = manifest.annotation(APISERVER_ENDPOINT);
    if let (Some(advertised), Some(endpoint)) = (advertised, endpoint) {
        let host = if advertised.value.contains(':') {
            format!("[{}]", advertised.value)
        } else {
            advertised.value.clone()
        };
        if let Some(url) = Url::read(&endpoint.value).filter(|url| url.host != advertised.value) {
            edits.push(Edit::Annotation {
                key: APISERVER_ENDPOINT.to_owned(),
                value: url.at(&host),
            });
        }
    }
    changed(&manifest, text, &edits)
}

fn changed(manifest: &Manifest, text: &str, edits: &[Edit]) -> Result<Option<String>, Error> {
    let new = manifest.with(edits)?;
    Ok((new != text).then_some(new))
}

/// The addresses of masters that etcd's manifest names: this one's own, and those that its members had
/// when it was made.
pub fn etcd_addresses(text: &str) -> BTreeSet<IpAddr> {
    let Ok(manifest) = Manifest::parse(text) else {
        return BTreeSet::new();
    };
    let flags = [
        "listen-client-urls",
        "listen-peer-urls",
        "advertise-client-urls",
        "initial-advertise-peer-urls",
        "initial-cluster",
    ];
    let values = flags.iter().filter_map(|flag| manifest.flag(flag));
    let values = values.chain(manifest.annotation(ETCD_CLIENT_URLS));
    values
        .flat_map(|value| url::addresses(&value.value).collect::<Vec<_>>())
        .collect()
}

/// The address of this master that kube-apiserver's manifest names.
pub fn advertised_address(text: &str) -> Option<IpAddr> {
    let manifest = Manifest::parse(text).ok()?;
    manifest.flag("advertise-address")?.value.parse().ok()
}

fn flag_edit(
    manifest: &Manifest,
    name: &str,
    new: impl FnOnce(&str) -> Option<String>,
) -> Option<Edit> {
    let value = new(&manifest.flag(name)?.value)?;
    Some(Edit::Flag {
        name: name.to_owned(),
        value,
    })
}

/// Refuses to open a server without TLS. Metrics are served so everywhere, and hold no secrets.
fn encrypted(flag: &'static str, urls: &str, ways: &Ways) -> Result<(), Error> {
    let is_plain = |url: &&str| url.starts_with("http://") && ways.stable.url_can_change(url);
    match urls.split(',').find(is_plain) {
        Some(url) if flag != "listen-metrics-urls" => Err(Error::Plain {
            flag,
            url: url.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// URLs to listen at: those that pin at every address. Another one goes only where one of these is the
/// same port with the same scheme: then it is meant already, and could not be bound beside it.
fn listening(flag: &'static str, urls: &str, ways: &Ways) -> Result<Option<String>, Error> {
    let pinning: Vec<(&str, Url<'_>)> = urls
        .split(',')
        .filter(|url| ways.stable.url_can_change(url))
        .filter_map(|url| Some((url, Url::read(url)?)))
        .collect();
    if pinning.is_empty() {
        return Ok(None);
    }
    let mut all: Vec<String> = Vec::new();
    for url in urls.split(',') {
        let new = match Url::read(url) {
            Some(parts) if ways.stable.url_can_change(url) => parts.at(ANY),
            Some(parts) => match pinning
                .iter()
                .find(|(_, other)| other.port() == parts.port())
            {
                Some((_, other)) if other.scheme == parts.scheme => continue,
                Some((one, _)) => {
                    return Err(Error::Clash {
                        flag,
                        one: (*one).to_owned(),
                        other: url.to_owned(),
                    });
                }
                None => url.to_owned(),
            },
            None => url.to_owned(),
        };
        if !all.contains(&new) {
            all.push(new);
        }
    }
    Ok(Some(all.join(",")))
}

/// URLs that others are told: by name, those that pin.
fn named(urls: &str, me: &Name, ways: &Ways) -> Option<String> {
    if !urls.split(',').any(|url| ways.stable.url_can_change(url)) {
        return None;
    }
    let mut all: Vec<String> = Vec::new();
    for url in urls.split(',') {
        let url = match Url::read(url) {
            Some(parts) if ways.stable.url_can_change(url) => parts.at(me.as_str()),
            _ => url.to_owned(),
        };
        if !all.contains(&url) {
            all.push(url);
        }
    }
    Some(all.join(","))
}

/// A member's peer URLs by name; `None` where none of them pins.
pub fn peer_urls(urls: &[String], me: &Name, ways: &Ways) -> Option<Vec<String>> {
    let named = named(&urls.join(","), me, ways)?;
    Some(named.split(',').map(str::to_owned).collect())
}

/// `NAME=URL,…` with the masters' names. etcd does not look at it once there are data: an entry of
/// somebody who is not known any more stays as it is.
fn cluster(members: &str, ways: &Ways) -> Option<String> {
    let entry = |entry: &str| {
        let (name, url) = entry.split_once('=')?;
        let parts = Url::read(url).filter(|_| ways.stable.url_can_change(url))?;
        let by_address = || ways.addresses.get(&parts.host.parse().ok()?);
        let master = ways.members.get(name).or_else(by_address)?;
        Some(format!("{name}={}", parts.at(master.as_str())))
    };
    let new: Vec<String> = members
        .split(',')
        .map(|old| entry(old).unwrap_or_else(|| old.to_owned()))
        .collect();
    let new = new.join(",");
    (new != members).then_some(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubeadm::unpin::pins::sample;

    const ETCD: &str =
        include_str!("../../../tests/kubeadm/golden/stock-1.20.2/manifests/etcd.yaml");
    const APISERVER: &str =
        include_str!("../../../tests/kubeadm/golden/stock-1.20.2/manifests/kube-apiserver.yaml");

    fn me() -> Name {
        Name::parse("master-1.k8s.internal").unwrap()
    }

    /// The lines that differ, new ones only.
    fn lines(old: &str, new: &str) -> Vec<String> {
        let olds: Vec<&str> = old.lines().collect();
        assert_eq!(olds.len(), new.lines().count());
        let changed = new.lines().filter(|line| !olds.contains(line));
        changed.map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn a_stock_etcd_gets_names() {
        let new = etcd(ETCD, &me(), &sample()).unwrap().unwrap();
        let lines = lines(ETCD, &new);
        let name = lines
            .iter()
            .filter(|line| line.contains("master-1.k8s.internal"));
        assert_eq!(name.count(), 4, "{lines:?}");
        assert!(lines.contains(&"- --listen-client-urls=https://0.0.0.0:2379".to_owned()));
        assert!(lines.contains(&"- --listen-peer-urls=https://0.0.0.0:2380".to_owned()));
        assert_eq!(lines.len(), 6, "{lines:?}");
        assert_eq!(etcd(&new, &me(), &sample()).unwrap(), None);
    }

    #[test]
    fn an_etcd_without_tls_is_not_opened() {
        for (old, new) in [
            (
                "listen-client-urls=https://127.0.0.1:2379,https://10.77.0.11",
                "listen-client-urls=https://127.0.0.1:2379,http://10.77.0.11",
            ),
            ("listen-peer-urls=https", "listen-peer-urls=http"),
            (
                "initial-advertise-peer-urls=https",
                "initial-advertise-peer-urls=http",
            ),
        ] {
            let text = ETCD.replace(old, new);
            assert_ne!(text, ETCD, "{old}");
            let refused = etcd(&text, &me(), &sample());
            assert!(matches!(refused, Err(Error::Plain { .. })), "{refused:?}");
        }
        // Metrics are without TLS anyway.
        let metrics = ETCD.replace("http://127.0.0.1:2381", "http://10.77.0.11:2381");
        let new = etcd(&metrics, &me(), &sample()).unwrap().unwrap();
        assert!(new.contains("--listen-metrics-urls=http://0.0.0.0:2381"));
    }

    #[test]
    fn whose_addresses_the_manifests_name_is_known() {
        let own: IpAddr = "10.77.0.11".parse().unwrap();
        assert!(etcd_addresses(ETCD).contains(&own));
        assert_eq!(advertised_address(APISERVER), Some(own));
        assert!(etcd_addresses("nothing").is_empty());
        let joined = ETCD.replace(
            "--initial-cluster=",
            "--initial-cluster=m=https://[fd77::12]:2380,",
        );
        assert!(etcd_addresses(&joined).contains(&"fd77::12".parse().unwrap()));
    }

    #[test]
    fn a_stock_apiserver_is_probed_on_loopback_and_keeps_its_address() {
        let new = apiserver(APISERVER, &sample()).unwrap().unwrap();
        let lines = lines(APISERVER, &new);
        assert!(
            lines.iter().all(|line| line == "host: 127.0.0.1"),
            "{lines:?}"
        );
        assert_eq!(lines.len(), 3);
        assert_eq!(apiserver(&new, &sample()).unwrap(), None);
    }

    #[test]
    fn an_annotation_that_lags_behind_is_brought_to_the_flag() {
        let text = APISERVER.replace("--advertise-address=", "--advertise-address=1.1.1.1#");
        let flag = Manifest::parse(&text).unwrap().flag("advertise-address");
        let moved = text.replace(&flag.unwrap().value, "10.77.0.31");
        let new = apiserver(&moved, &sample()).unwrap().unwrap();
        let manifest = Manifest::parse(&new).unwrap();
        assert_eq!(
            manifest.annotation(APISERVER_ENDPOINT).unwrap().value,
            "10.77.0.31:6443"
        );
        assert_eq!(
            manifest.flag("advertise-address").unwrap().value,
            "10.77.0.31"
        );
    }

    #[test]
    fn each_kind_of_url_has_its_way() {
        let ways = sample();
        for (urls, want) in [
            (
                "https://127.0.0.1:2379,https://10.77.0.11:2379",
                Some("https://0.0.0.0:2379"),
            ),
            ("https://[fd77::11]:2380", Some("https://0.0.0.0:2380")),
            // What does not pin stays, unless it is the same port.
            (
                "https://127.0.0.1:2379,https://10.1.1.1:12379",
                Some("https://127.0.0.1:2379,https://0.0.0.0:12379"),
            ),
            (
                "http://127.0.0.1:12379,https://10.77.0.11:2379",
                Some("http://127.0.0.1:12379,https://0.0.0.0:2379"),
            ),
            (
                "https://10.77.0.11:2379,https://[::1]:2379,https://10.254.0.1:2379",
                Some("https://0.0.0.0:2379"),
            ),
            (
                "https://10.77.0.11:2379,https://10.78.0.11:2379",
                Some("https://0.0.0.0:2379"),
            ),
            ("https://127.0.0.1:2379,https://10.254.0.1:2379", None),
            ("https://0.0.0.0:2379", None),
        ] {
            let new = listening("listen-client-urls", urls, &ways).unwrap();
            assert_eq!(new.as_deref(), want, "{urls}");
        }
        let clash = "http://127.0.0.1:2379,https://10.77.0.11:2379";
        let refused = listening("listen-client-urls", clash, &ways);
        assert!(matches!(refused, Err(Error::Clash { .. })), "{refused:?}");
        for (urls, want) in [
            (
                "https://10.77.0.11:2379",
                Some("https://master-1.k8s.internal:2379"),
            ),
            (
                "https://10.77.0.11:2379,https://master-1.k8s.internal:2379",
                Some("https://master-1.k8s.internal:2379"),
            ),
            ("https://10.254.0.1:2379", None),
            ("https://other.example:2379", None),
        ] {
            assert_eq!(named(urls, &me(), &ways).as_deref(), want, "{urls}");
        }
        for (members, want) in [
            (
                "master-1=https://10.9.9.9:2380,x=https://10.77.0.12:2380,y=https://10.8.8.8:2380",
                Some(
                    "master-1=https://master-1.k8s.internal:2380,x=https://master-2.k8s.internal:2380,y=https://10.8.8.8:2380",
                ),
            ),
            ("master-1=https://master-1.k8s.internal:2380", None),
            ("", None),
        ] {
            assert_eq!(cluster(members, &ways).as_deref(), want, "{members}");
        }
    }
}
