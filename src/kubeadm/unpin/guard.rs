//! What stands against mending, or against its last stage, in words. Pure.

use super::plan::Stand;
use crate::config::Cluster;
use crate::config::routes::Mode;
use crate::kubeadm::pin::{Pin, Severity};
use crate::kubeadm::upgrade::NEEDS_STABLE_SINCE;

/// The minor release in kube-apiserver's answer at `/version`, such as `32` or `32+`.
pub fn minor(version: &serde_json::Value) -> Option<u32> {
    let text = version["minor"].as_str()?;
    let end = text.find(|c: char| !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}

/// Whether a release can do with names alone: a warning, or an error where it cannot.
pub fn release(cluster: &Cluster, minor: u32) -> Result<Option<String>, String> {
    let keeps = cluster.routes.mode == Mode::Direct;
    if keeps && cluster.masters.iter().all(|it| it.stable.is_some()) {
        return Ok(None);
    }
    let needs = format!(
        "kubeadm from 1.{NEEDS_STABLE_SINCE} on asks for the advertise address in kube-apiserver's certificate; give every master a 'stable' address and set 'routes: {{mode: direct}}' in the cluster file"
    );
    match minor {
        NEEDS_STABLE_SINCE.. => Err(format!(
            "this is Kubernetes 1.{minor}, which cannot do with names alone: {needs}; nothing is changed before that"
        )),
        _ if minor + 1 == NEEDS_STABLE_SINCE => Ok(Some(format!(
            "before an upgrade to 1.{NEEDS_STABLE_SINCE}: {needs}"
        ))),
        _ => Ok(None),
    }
}

/// Of all that pins, what a person has to change. While stages are `open` here, that is what breaks this
/// master and what none of them mends; after the last one everything that is left.
pub fn by_hand(pins: Vec<Pin>, open: bool, follows: bool) -> Vec<Pin> {
    let is_followed = |pin: &Pin| follows && pin.what == "--advertise-address";
    let is_left = |pin: &Pin| !open || (pin.severity == Severity::Fatal && !is_mended(pin));
    let left = pins.into_iter().filter(|pin| !is_followed(pin));
    left.filter(is_left).collect()
}

/// Whether a stage mends it.
fn is_mended(pin: &Pin) -> bool {
    let what = pin.what.as_str();
    match pin.place.as_str() {
        "/etc/kubernetes/manifests/etcd.yaml" => what.starts_with("--listen-"),
        "/etc/kubernetes/manifests/kube-apiserver.yaml" => {
            what == "--bind-address" || what.ends_with(".httpGet.host")
        }
        super::groups::KUBELET_FLAGS => what == "--node-ip",
        place => {
            let path = std::path::Path::new(place);
            let is = |extension| path.extension().is_some_and(|it| it == extension);
            (is("conf") && path.starts_with("/etc/kubernetes"))
                || (is("crt") && path.starts_with("/etc/kubernetes/pki"))
        }
    }
}

/// Whether anything of it stops this master when its address changes.
pub fn is_fatal(pins: &[Pin]) -> bool {
    pins.iter().any(|pin| pin.severity == Severity::Fatal)
}

/// How it stands with the addresses in the certificates: they stay while somebody may still dial them.
pub fn addresses(stand: Stand, by_hand: &[Pin], rescued: bool) -> Stand {
    let Stand::Open(_) = stand else {
        return stand;
    };
    if rescued {
        return Stand::Bad(
            "a rescue is in force: run `stayput kubeadm rescue --end` on every node, then this again"
                .to_owned(),
        );
    }
    let fatal = by_hand.iter().filter(|it| it.severity == Severity::Fatal);
    let fatal: Vec<String> = fatal
        .map(|pin| {
            format!(
                "{} of {} is {}; change it by hand to {}",
                pin.what, pin.place, pin.value, pin.instead
            )
        })
        .collect();
    if fatal.is_empty() {
        return stand;
    }
    Stand::Bad(format!(
        "the addresses stay in the certificates while something dials or binds one: {}",
        fatal.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubeadm::unpin::plan::{Change, Facts, State, plan};
    use crate::kubeadm::unpin::stage::Stage;
    use crate::name::Name;
    use crate::sample;

    fn pin(severity: Severity, place: &str, what: &str) -> Pin {
        Pin {
            severity,
            place: place.to_owned(),
            line: Some(1),
            what: what.to_owned(),
            value: "10.77.0.11".to_owned(),
            addresses: vec!["10.77.0.11".parse().unwrap()],
            breaks: "all of it".to_owned(),
            instead: "a name".to_owned(),
        }
    }

    #[test]
    fn a_release_that_asks_for_the_address_is_refused_without_stable_ones() {
        let mut cluster = (*sample::three([11, 12, 13]).cluster).clone();
        for master in &mut cluster.masters {
            master.stable = None;
        }
        assert_eq!(release(&cluster, 31), Ok(None));
        let warned = release(&cluster, 32).unwrap().unwrap();
        assert!(warned.contains("1.33"), "{warned}");
        let refused = release(&cluster, 33).unwrap_err();
        assert!(refused.contains("'stable'"), "{refused}");
        for (number, master) in (1_u8..).zip(&mut cluster.masters) {
            master.stable = Some([10, 254, 0, number].into());
        }
        // Given, and kept by nobody.
        cluster.routes.mode = Mode::Off;
        assert!(release(&cluster, 34).is_err());
        cluster.routes.mode = Mode::Direct;
        assert_eq!(release(&cluster, 34), Ok(None));
        cluster.masters[1].stable = None;
        assert!(release(&cluster, 34).is_err());
        for (text, want) in [("33", Some(33)), ("20+", Some(20)), ("", None)] {
            assert_eq!(minor(&json!({"minor": text})), want, "{text}");
        }
    }

    #[test]
    fn what_no_stage_mends_is_left_to_a_person() {
        use Severity::{Degraded, Fatal};
        const API: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
        for (place, what, mended) in [
            (API, "--etcd-servers", false),
            (API, "--bind-address", true),
            (API, "livenessProbe.httpGet.host", true),
            (
                "/etc/kubernetes/manifests/etcd.yaml",
                "--listen-peer-urls",
                true,
            ),
            (
                "/etc/kubernetes/manifests/kube-scheduler.yaml",
                "--bind-address",
                false,
            ),
            ("/etc/kubernetes/kubelet.conf", "server", true),
            ("/var/lib/kubelet/kubeadm-flags.env", "--node-ip", true),
            ("/var/lib/kubelet/kubeadm-flags.env", "--address", false),
            ("/etc/default/kubelet", "--node-ip", false),
            ("/etc/kubernetes/pki/etcd/peer.crt", "subjectAltName", true),
        ] {
            let open = by_hand(vec![pin(Fatal, place, what)], true, true);
            assert_eq!(open.is_empty(), mended, "{place} {what}");
            // What is there after the last stage is nobody else's.
            assert_eq!(by_hand(vec![pin(Fatal, place, what)], false, true).len(), 1);
        }
        let proxy = || vec![pin(Degraded, API, "env no_proxy")];
        assert!(by_hand(proxy(), true, true).is_empty());
        assert_eq!(by_hand(proxy(), false, true).len(), 1);
        assert!(!is_fatal(&proxy()));
        let advertised = || vec![pin(Fatal, API, "--advertise-address")];
        assert!(by_hand(advertised(), false, true).is_empty());
        assert_eq!(by_hand(advertised(), true, false).len(), 1);
    }

    #[test]
    fn addresses_stay_while_somebody_may_dial_them() {
        let bad = |stand: &Stand| match stand {
            Stand::Bad(reason) => reason.clone(),
            _ => String::new(),
        };
        let open = || Stand::Open(Vec::new());
        assert_eq!(addresses(open(), &[], false), open());
        assert_eq!(addresses(Stand::Done, &[], true), Stand::Done);
        let rescued = bad(&addresses(open(), &[], true));
        assert!(rescued.contains("rescue --end"), "{rescued}");
        let pins = [pin(Severity::Fatal, "/etc/m.yaml", "--etcd-servers")];
        let reason = bad(&addresses(open(), &pins, false));
        assert!(reason.contains("--etcd-servers of /etc/m.yaml is 10.77.0.11"));
    }

    /// Whatever else is so: the old addresses, which a rescue has given back, stay in the certificates.
    #[test]
    fn a_rescue_in_force_holds_the_last_stage_and_no_other() {
        use Severity::{Degraded, Fatal, Misleading};
        let change = Change {
            place: "/etc/kubernetes/pki/apiserver.crt".to_owned(),
            diff: "-name: 10.77.0.11\n".to_owned(),
        };
        let stands = [
            Stand::Done,
            Stand::Open(Vec::new()),
            Stand::Open(vec![change.clone()]),
            Stand::Bad("a person has to look".to_owned()),
        ];
        let pins = [Misleading, Degraded, Fatal].map(|it| pin(it, "/etc/m.yaml", "--x"));
        for stand in &stands {
            for count in 0..=pins.len() {
                let rescued = addresses(stand.clone(), &pins[..count], true);
                match stand {
                    // What is done stays done, and another reason is not hidden.
                    Stand::Done | Stand::Bad(_) => assert_eq!(&rescued, stand),
                    Stand::Open(_) => {
                        let Stand::Bad(reason) = rescued else {
                            panic!("{rescued:?}")
                        };
                        assert!(reason.contains("stayput kubeadm rescue --end"), "{reason}");
                        // What pins is told after it: first the rescue has to end.
                        assert!(!reason.contains("--x"), "{reason}");
                    }
                }
            }
        }
        // In the plan: all stages before it go on, and it is stuck until the rescue ends.
        for stage in Stage::ALL {
            let mut facts = Facts {
                node: "master-1".to_owned(),
                master: Some(Name::parse("master-1.k8s.internal").unwrap()),
                ..Facts::default()
            };
            for other in Stage::ALL {
                let stand = match other {
                    _ if other == stage => Stand::Open(vec![change.clone()]),
                    _ => Stand::Done,
                };
                facts.stands.insert(other, stand);
            }
            for rescued in [true, false] {
                let last = facts.stands[&Stage::Addresses].clone();
                let last = addresses(last, &[], rescued);
                let mut facts = facts.clone();
                facts.stands.insert(Stage::Addresses, last);
                let plan = plan(&facts);
                let next = plan.next().unwrap();
                assert_eq!(next.stage, stage);
                let held = rescued && stage == Stage::Addresses;
                assert_eq!(matches!(next.state, State::Stuck(_)), held, "{stage}");
                assert_eq!(next.state == State::Ready, !held, "{stage}");
            }
        }
    }
}
