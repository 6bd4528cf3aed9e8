//! The address that kube-apiserver advertises: the one thing of a master that has to be an address.
//!
//! `--advertise-address` is what the Service `default/kubernetes` leads to, and kubeadm writes it into
//! an annotation too, which `kubeadm upgrade`, `join` and `reset` read back. On a master with a stable
//! address it never changes. On any other it follows the book; each change costs one restart of
//! kube-apiserver, so there has to be a reason for it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::annotations::APISERVER_ENDPOINT;
use super::manifest::{Edit, Manifest};

/// The static pod.
pub const POD: &str = "kube-apiserver";
const FLAG: &str = "advertise-address";

/// What is known of a master's addresses.
#[derive(Debug, Clone, Copy)]
pub struct Addresses<'a> {
    /// Its addresses by the book, the one that it prefers first.
    pub own: &'a [IpAddr],
    /// Those that are really on its interfaces, and usable.
    pub here: &'a [IpAddr],
    /// One that never changes, or that a rescue keeps for now, where it has one.
    pub stable: Option<Kept>,
}

/// An address that is kept for a master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// For good, by the cluster file.
    Stable(IpAddr),
    /// Its old one, until the rescue is ended.
    Rescue(IpAddr),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It stays as it is.
    Keep(Keep),
    /// Another address is to be advertised.
    Set {
        /// What the manifest says.
        from: IpAddr,
        /// What it is to say.
        to: IpAddr,
    },
}

/// Why it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is this master's.
    Current,
    /// This master has a stable address; what is advertised is chosen for good, by kubeadm.
    Stable,
    /// A rescue has given the old address back, and what is advertised is left alone until it is ended.
    Rescue,
    /// No address is given: kube-apiserver takes that of the default route when it starts.
    NoFlag,
    /// What is given is not an address.
    NotAnAddress,
    /// The book knows no address of this master.
    Unknown,
    /// The new address is not on an interface yet.
    NotHere,
    /// This master has only addresses of the other family, with which kube-apiserver would not start.
    Family,
}

impl Keep {
    /// The word that JSON shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Stable => "stable",
            Self::Rescue => "rescue",
            Self::NoFlag => "no-flag",
            Self::NotAnAddress => "not-an-address",
            Self::Unknown => "unknown",
            Self::NotHere => "not-here",
            Self::Family => "family",
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "it is this master's",
            Self::Stable => "this master has a stable address",
            Self::Rescue => {
                "a rescue is in force, and nothing is changed until `stayput kubeadm rescue --end`"
            }
            Self::NoFlag => "none is given, and kube-apiserver chooses one when it starts",
            Self::NotAnAddress => "what is given is not an address",
            Self::Unknown => "the book knows no address of this master",
            Self::NotHere => "the new one is not on an interface of this machine yet",
            Self::Family => {
                "this master has only addresses of the other family, and the Service range is of this one"
            }
        })
    }
}

/// What the manifest tells kube-apiserver to advertise, if that is an address.
pub fn advertised(manifest: &Manifest) -> Option<IpAddr> {
    let flag = manifest.flag(FLAG)?;
    flag.value
        .parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// Whether, and to what, the advertised address is to be changed.
pub fn decide(manifest: &Manifest, addresses: Addresses<'_>) -> Decision {
    let Addresses { own, here, stable } = addresses;
    match stable {
        Some(Kept::Stable(_)) => return Decision::Keep(Keep::Stable),
        Some(Kept::Rescue(_)) => return Decision::Keep(Keep::Rescue),
        None => {}
    }
    if manifest.flag(FLAG).is_none() {
        return Decision::Keep(Keep::NoFlag);
    }
    let Some(from) = advertised(manifest) else {
        return Decision::Keep(Keep::NotAnAddress);
    };
    if own.is_empty() {
        return Decision::Keep(Keep::Unknown);
    }
    if own.contains(&from) {
        return Decision::Keep(Keep::Current);
    }
    // kube-apiserver refuses an address of another family than the first Service range.
    let ipv6 = service_family(manifest).unwrap_or(from.is_ipv6());
    let mut candidates = own.iter().filter(|own| own.is_ipv6() == ipv6).peekable();
    if candidates.peek().is_none() {
        return Decision::Keep(Keep::Family);
    }
    match candidates.find(|own| here.contains(own)) {
        Some(to) => Decision::Set { from, to: *to },
        None => Decision::Keep(Keep::NotHere),
    }
}

/// Whether the first Service range is IPv6, where the manifest tells.
fn service_family(manifest: &Manifest) -> Option<bool> {
    let ranges = manifest.flag("service-cluster-ip-range")?;
    let first = ranges.value.split(',').next()?;
    let range: ipnet::IpNet = first.trim().parse().ok()?;
    Some(range.addr().is_ipv6())
}

/// What is to be changed in a manifest. The annotation is kept where kubeadm has not written one, and
/// its port is kept; `port` is for one that has none.
pub fn edits(manifest: &Manifest, to: IpAddr, port: u16) -> Vec<Edit> {
    let mut edits = vec![Edit::Flag {
        name: FLAG.to_owned(),
        value: to.to_string(),
    }];
    if let Some(annotation) = manifest.annotation(APISERVER_ENDPOINT) {
        let before: Option<SocketAddr> = annotation.value.parse().ok();
        let endpoint = SocketAddr::new(to, before.map_or(port, |before| before.port()));
        edits.push(Edit::Annotation {
            key: APISERVER_ENDPOINT.to_owned(),
            value: endpoint.to_string(),
        });
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOCK: &str =
        include_str!("../../tests/kubeadm/golden/stock-1.20.2/manifests/kube-apiserver.yaml");

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(ip).collect()
    }

    /// A manifest with these arguments.
    fn with(arguments: &str) -> Manifest {
        let text = format!("spec: {{containers: [{{command: [kube-apiserver, {arguments}]}}]}}");
        Manifest::parse(&text).unwrap()
    }

    fn decided(manifest: &Manifest, own: &str, here: &str, stable: Option<&str>) -> Decision {
        let (own, here) = (ips(own), ips(here));
        let stable = stable.map(ip).map(Kept::Stable);
        let addresses = Addresses {
            own: &own,
            here: &here,
            stable,
        };
        decide(manifest, addresses)
    }

    #[test]
    fn changes_only_with_a_reason_and_to_what_is_here() {
        let old = "--advertise-address=10.0.0.1";
        let services =
            "--advertise-address=10.0.0.1, '--service-cluster-ip-range=10.96.0.0/12,fd96::/108'";
        for (arguments, own, here, want) in [
            (old, "10.0.0.1", "10.0.0.1", Err(Keep::Current)),
            // One of several is enough, and one that has gone for a moment is no change.
            (old, "10.0.0.2 10.0.0.1", "10.0.0.2", Err(Keep::Current)),
            (old, "10.0.0.2", "10.0.0.2", Ok("10.0.0.2")),
            (old, "10.0.0.2", "10.0.0.1 10.0.0.2", Ok("10.0.0.2")),
            (old, "10.0.0.2", "10.0.0.1", Err(Keep::NotHere)),
            (old, "10.0.0.2", "", Err(Keep::NotHere)),
            (old, "10.0.0.2 10.0.0.3", "10.0.0.3", Ok("10.0.0.3")),
            (old, "", "10.0.0.2", Err(Keep::Unknown)),
            (old, "fd00::2 10.0.0.2", "fd00::2 10.0.0.2", Ok("10.0.0.2")),
            (old, "fd00::2 10.0.0.2", "fd00::2", Err(Keep::NotHere)),
            (old, "fd00::2", "fd00::2", Err(Keep::Family)),
            (
                services,
                "fd00::2 10.0.0.2",
                "fd00::2 10.0.0.2",
                Ok("10.0.0.2"),
            ),
            (services, "fd00::2", "fd00::2", Err(Keep::Family)),
            // The wrong family already: the Service range says which is right.
            (
                "--advertise-address=10.0.0.1, --service-cluster-ip-range=fd96::/108",
                "fd00::2",
                "fd00::2",
                Ok("fd00::2"),
            ),
            (
                "--advertise-address=fd00::1",
                "fd00::2",
                "fd00::2",
                Ok("fd00::2"),
            ),
            // The same address, written in another way.
            (
                "--advertise-address=FD00:0::2",
                "fd00::2",
                "fd00::2",
                Err(Keep::Current),
            ),
            (
                "--advertise-address=::ffff:10.0.0.2",
                "10.0.0.2",
                "10.0.0.2",
                Err(Keep::Current),
            ),
            ("--v=2", "10.0.0.2", "10.0.0.2", Err(Keep::NoFlag)),
            (
                "--advertise-address=$(IP)",
                "10.0.0.2",
                "10.0.0.2",
                Err(Keep::NotAnAddress),
            ),
            // The last one counts.
            (
                "--advertise-address=10.0.0.1, --advertise-address=10.0.0.2",
                "10.0.0.2",
                "10.0.0.2",
                Err(Keep::Current),
            ),
        ] {
            let manifest = with(arguments);
            let want = match want {
                Err(keep) => Decision::Keep(keep),
                Ok(to) => Decision::Set {
                    from: advertised(&manifest).unwrap(),
                    to: ip(to),
                },
            };
            let context = format!("{arguments}; {own}; {here}");
            assert_eq!(decided(&manifest, own, here, None), want, "{context}");
            // With an address that never changes, nothing is ever touched.
            let stable = decided(&manifest, own, here, Some("10.254.0.1"));
            assert_eq!(stable, Decision::Keep(Keep::Stable), "{context}");
            let (own, here) = (ips(own), ips(here));
            let rescued = Addresses {
                own: &own,
                here: &here,
                stable: Some(Kept::Rescue(ip("10.0.0.1"))),
            };
            let rescued = decide(&manifest, rescued);
            assert_eq!(rescued, Decision::Keep(Keep::Rescue), "{context}");
        }
    }

    #[test]
    fn flag_and_annotation_change_and_no_other_byte() {
        let manifest = Manifest::parse(STOCK).unwrap();
        let from = advertised(&manifest).unwrap();
        for (to, endpoint) in [
            ("10.99.0.1", "10.99.0.1:6443"),
            ("fd00::9", "[fd00::9]:6443"),
        ] {
            let text = manifest.with(&edits(&manifest, ip(to), 7777)).unwrap();
            let changed: Vec<(&str, &str)> = STOCK
                .lines()
                .zip(text.lines())
                .filter(|(old, new)| old != new)
                .collect();
            assert_eq!(text.lines().count(), STOCK.lines().count());
            assert_eq!(changed.len(), 2, "{changed:?}");
            for (old, new) in changed {
                let want = old.replace(&format!("{from}:6443"), endpoint);
                let want = want.replace(&from.to_string(), to);
                // `[` begins a list where nothing quotes it.
                assert_eq!(new.replace('"', ""), want);
            }
            let after = Manifest::parse(&text).unwrap();
            assert_eq!(advertised(&after), Some(ip(to)));
            assert_eq!(
                after.annotation(APISERVER_ENDPOINT).unwrap().value,
                endpoint
            );
            assert_eq!(decided(&after, to, to, None), Decision::Keep(Keep::Current));
        }
    }

    #[test]
    fn an_annotation_is_changed_only_where_there_is_one() {
        let without = with("--advertise-address=10.0.0.1");
        assert_eq!(edits(&without, ip("10.0.0.2"), 6443).len(), 1);
        let text = format!(
            "metadata: {{annotations: {{{APISERVER_ENDPOINT}: ''}}}}\nspec: {{containers: [{{command: [a, --advertise-address=10.0.0.1]}}]}}"
        );
        let odd = Manifest::parse(&text).unwrap();
        let text = odd.with(&edits(&odd, ip("10.0.0.2"), 7443)).unwrap();
        let annotation = Manifest::parse(&text)
            .unwrap()
            .annotation(APISERVER_ENDPOINT);
        assert_eq!(annotation.unwrap().value, "10.0.0.2:7443");
    }
}
