//! What each release's masters should have, as an operator would write it down.

use std::collections::BTreeMap;
use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::address::Loopback;
use crate::config::node::{Role, Selection};
use crate::name::Name;
use crate::pki::catalogue::Reload;

/// A cluster file with a master, an alias of it, one of the endpoint and one of another master.
fn cluster(minor: u32, more: &str) -> Cluster {
    let text = format!(
        "domain: prod.k8s.internal
endpoint: {{name: api}}
masters:
  - {{name: m1, address: 10.0.0.1}}
  - {{name: m2.zone-a, address: 10.0.0.2}}
aliases: {{k8s.example.com: api, Old.example.com: m1, other.example.com: m2.zone-a.prod.k8s.internal}}
kubernetes: {{version: \"1.{minor}\"}}
{more}"
    )
    .replace("m2.zone-a,", "m2.zone-a.prod.k8s.internal,");
    Cluster::parse(&text, Path::new("F"), Loopback::Refused).unwrap()
}

fn node(master: &str, kubernetes_name: &str) -> Node {
    Node {
        role: Role::Master(Name::parse(&format!("{master}.prod.k8s.internal")).unwrap()),
        kubernetes_name: Name::parse(kubernetes_name).unwrap(),
        selection: Selection::DefaultRoute,
    }
}

fn items(cluster: &Cluster, node: &Node) -> BTreeMap<String, Item> {
    let wanted = wanted(&Catalogue::of(cluster).unwrap(), cluster, node);
    let count = wanted.items.len();
    let by_id = |item: Item| (item.id.clone(), item);
    let items: BTreeMap<String, Item> = wanted.items.into_iter().map(by_id).collect();
    assert_eq!(items.len(), count, "an id is wanted twice");
    items
}

/// `FILE signer CN [O] usages: names`, one line each: the table of the kubeadm documentation.
fn table(minor: u32) -> String {
    let cluster = cluster(minor, "");
    let catalogue = Catalogue::builtin().unwrap();
    let wanted = wanted(&catalogue, &cluster, &node("m1", "node-1"));
    let mut table = format!("CA:FALSE {}\n", wanted.leaf_constraints);
    for item in wanted.items {
        let path = item.path().strip_prefix(FOLDER).unwrap().display();
        let signer = item.authority().unwrap_or("-");
        let Profile {
            common_name,
            organizations,
            usages,
            names,
            ..
        } = &item.profile;
        let usages = match (usages.server, usages.client) {
            (true, true) => "both",
            (true, false) => "server",
            (false, true) => "client",
            (false, false) => "-",
        };
        let new = if item.new_cluster_only { " new" } else { "" };
        let server = match &item.kind {
            Kind::Kubeconfig { server, .. } => server.as_str(),
            _ => "",
        };
        let line = format!(
            "{path} {signer} '{common_name}' {organizations:?} {usages}{new}: {names}{server}"
        );
        writeln!(table, "{line}").unwrap();
    }
    table
}

const APISERVER: &str = "api.prod.k8s.internal, k8s.example.com, kubernetes, kubernetes.default, kubernetes.default.svc, kubernetes.default.svc.cluster.local, localhost, m1, m1.prod.k8s.internal, node-1, old.example.com, 10.96.0.1, 127.0.0.1, ::1";
const ETCD: &str = "localhost, m1, m1.prod.k8s.internal, node-1, 127.0.0.1, ::1";

#[test]
fn each_release_has_what_its_kubeadm_writes() {
    for minor in [20, 21, 22, 28, 29, 35] {
        let named = |name| if minor >= 22 { name } else { "" };
        let masters = r#"["system:masters"]"#;
        let (admins, none) = match minor {
            29.. => (r#"["kubeadm:cluster-admins"]"#, "[]"),
            _ => (masters, masters),
        };
        let super_admin = match minor {
            29.. => format!(
                "super-admin.conf ca 'kubernetes-super-admin' {masters} client new: https://api.prod.k8s.internal:8443\n"
            ),
            _ => String::new(),
        };
        let want = format!(
            "CA:FALSE {constraints}
pki/ca.crt - 'kubernetes' [] -: {ca}
pki/etcd/ca.crt - 'etcd-ca' [] -: {etcd_ca}
pki/front-proxy-ca.crt - 'front-proxy-ca' [] -: {front_proxy_ca}
pki/apiserver.crt ca 'kube-apiserver' [] server: {APISERVER}
pki/apiserver-kubelet-client.crt ca 'kube-apiserver-kubelet-client' {admins} client: 
pki/front-proxy-client.crt front-proxy-ca 'front-proxy-client' [] client: 
pki/etcd/server.crt etcd-ca 'node-1' [] both: {ETCD}
pki/etcd/peer.crt etcd-ca 'node-1' [] both: {ETCD}
pki/etcd/healthcheck-client.crt etcd-ca 'kube-etcd-healthcheck-client' {none} client: 
pki/apiserver-etcd-client.crt etcd-ca 'kube-apiserver-etcd-client' {none} client: 
pki/stayput.crt ca 'm1.stayput.prod.k8s.internal' [\"stayput:masters\"] both: m1.stayput.prod.k8s.internal
admin.conf ca 'kubernetes-admin' {admins} client: https://api.prod.k8s.internal:8443
{super_admin}kubelet.conf ca 'system:node:node-1' [\"system:nodes\"] client new: https://api.prod.k8s.internal:8443
controller-manager.conf ca 'system:kube-controller-manager' [] client: https://127.0.0.1:6443
scheduler.conf ca 'system:kube-scheduler' [] client: https://127.0.0.1:6443
pki/sa.key - '' [] -: 
",
            constraints = minor >= 21,
            ca = named("kubernetes"),
            etcd_ca = named("etcd-ca"),
            front_proxy_ca = named("front-proxy-ca"),
        );
        assert_eq!(table(minor), want, "1.{minor}");
    }
}

/// Its names depend on nothing but what the master is called, and its key on nothing at all.
#[test]
fn a_master_speaks_by_one_name_and_p256() {
    for more in ["", "certificates: {keyType: rsa-4096}"] {
        for (master, want) in [
            ("m1", "m1.stayput.prod.k8s.internal"),
            ("m2.zone-a", "m2.zone-a.stayput.prod.k8s.internal"),
        ] {
            let cluster = cluster(34, more);
            let node = node(master, "box-7");
            let item = &items(&cluster, &node)[identity::ID];
            let name = identity::name(node.master().unwrap(), &cluster.domain).unwrap();
            assert_eq!(name.as_str(), want);
            assert_eq!(item.profile.common_name, want);
            assert_eq!(item.profile.organizations, [identity::ORGANIZATION]);
            assert_eq!(item.profile.names.list(), [want]);
            assert_eq!(item.key_type, KeyType::EcdsaP256);
            assert_eq!(
                item.kind,
                Kind::Leaf {
                    certificate: identity::CERTIFICATE.into(),
                    key: identity::KEY.into(),
                    authority: "ca".into()
                }
            );
            assert!(item.is_stayputs());
        }
    }
    let silent = cluster(34, "peers: {mode: off}");
    assert!(!items(&silent, &node("m1", "m1")).contains_key(identity::ID));
    let rsa = cluster(34, "certificates: {keyType: rsa-4096}");
    let others = items(&rsa, &node("m1", "m1"));
    let mut others = others.values().filter(|item| !item.is_stayputs());
    assert!(others.all(|item| item.key_type == KeyType::Rsa4096));
}

#[test]
fn rows_of_one_id_differ_in_what_a_release_changed_only() {
    let rows = Catalogue::builtin().unwrap().rows;
    for one in &rows {
        for other in rows.iter().filter(|other| other.id == one.id) {
            let same = Row {
                organizations: one.organizations.clone(),
                names: one.names.clone(),
                since: one.since,
                until: one.until,
                ..other.clone()
            };
            assert_eq!(*one, same);
        }
    }
}

#[test]
fn no_release_lacks_a_row_that_its_neighbours_have() {
    let rows = Catalogue::builtin().unwrap().rows;
    for row in &rows {
        let first = rows
            .iter()
            .filter(|r| r.id == row.id)
            .map(|r| r.since)
            .min();
        let first = first.flatten().unwrap_or(20);
        for minor in first..60 {
            let of_release = rows.iter().filter(|r| r.id == row.id && r.applies(minor));
            assert_eq!(of_release.count(), 1, "{} in 1.{minor}", row.id);
        }
    }
}

#[test]
fn a_pair_is_two_files_and_who_uses_it_is_known() {
    let items = items(&cluster(34, ""), &node("m1", "m1"));
    let path = |text: &str| Path::new("/etc/kubernetes").join(text);
    assert_eq!(
        items["etcd-peer"].kind,
        Kind::Leaf {
            certificate: path("pki/etcd/peer.crt"),
            key: path("pki/etcd/peer.key"),
            authority: "etcd-ca".into()
        }
    );
    let (key, public) = (path("pki/sa.key"), path("pki/sa.pub"));
    assert_eq!(items["sa"].kind, Kind::KeyPair { key, public });
    let restarts: Vec<String> = items
        .values()
        .filter(|item| item.authority().is_some())
        .flat_map(|item| item.users.iter())
        .filter(|user| user.reload == Reload::StaticPod)
        .map(|user| user.process.clone())
        .collect();
    assert_eq!(restarts, ["kube-controller-manager", "kube-scheduler"]);
    assert!(items.values().all(|item| !item.users.is_empty()));
}

#[test]
fn a_worker_wants_nothing() {
    let cluster = cluster(34, "");
    let worker = Node {
        role: Role::Worker,
        ..node("m1", "w1")
    };
    let wanted = wanted(&Catalogue::builtin().unwrap(), &cluster, &worker);
    assert_eq!(wanted.items, []);
}

#[test]
fn ports_ranges_and_the_own_domain_of_the_cluster_are_followed() {
    let text = "domain: a.internal
endpoint: {name: api, port: 9443}
masters: [{name: m1, address: 10.0.0.1}]
kubernetes: {apiPort: 7443, serviceSubnet: 'fd00:10::/108', dnsDomain: cluster.example}
";
    let cluster = Cluster::parse(text, Path::new("F"), Loopback::Refused).unwrap();
    let node = Node {
        role: Role::Master(Name::parse("m1.a.internal").unwrap()),
        ..node("m1", "m1")
    };
    let items = items(&cluster, &node);
    let server = |id: &str| match &items[id].kind {
        Kind::Kubeconfig { server, .. } => server.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(server("admin.conf"), "https://api.a.internal:9443");
    assert_eq!(server("scheduler.conf"), "https://127.0.0.1:7443");
    let names = &items["apiserver"].profile.names;
    assert!(names.dns.contains("kubernetes.default.svc.cluster.example"));
    assert_eq!(names.addresses[0].to_string(), "fd00:10::1");
}

#[test]
fn a_master_deeper_below_the_domain_is_known_as_in_the_hosts_file() {
    let items = items(&cluster(34, ""), &node("m2.zone-a", "box-7"));
    assert_eq!(
        items["etcd-peer"].profile.names.to_string(),
        "box-7, localhost, m2.zone-a, m2.zone-a.prod.k8s.internal, 127.0.0.1, ::1"
    );
    let names = &items["apiserver"].profile.names.dns;
    assert!(names.contains("other.example.com") && !names.contains("old.example.com"));
}

/// Verifiers would take it for an address, or refuse the whole certificate.
#[test]
fn a_bare_name_of_digits_is_left_out() {
    let text = "domain: a.internal
endpoint: {name: api}
masters: [{name: 1.a.internal, address: 10.0.0.1}]
";
    let cluster = Cluster::parse(text, Path::new("F"), Loopback::Refused).unwrap();
    let node = Node {
        role: Role::Master(Name::parse("1.a.internal").unwrap()),
        ..node("m1", "node-1")
    };
    assert_eq!(
        items(&cluster, &node)["etcd-peer"]
            .profile
            .names
            .to_string(),
        "1.a.internal, localhost, node-1, 127.0.0.1, ::1"
    );
}

proptest! {
    /// A template that the cluster file may hold makes names that certificates may hold.
    #[test]
    fn a_good_template_makes_good_names(
        pieces in prop::collection::vec(
            prop_oneof![
                Just("{master}"), Just("{label}"), Just("{node}"), Just("{endpoint}"), Just("{aliases}"),
                Just("{dnsDomain}"), Just("{serviceAddress}"), Just("{stable}"), Just("."), Just("*."),
                Just("x"), Just("-"), Just("1"), Just("{"), Just("}"), Just("10.0.0.9"), Just("::1"),
            ],
            1..5,
        ),
    ) {
        let template = pieces.concat();
        let cluster = cluster(34, "");
        let words = Words::of(&cluster, &cluster.masters[1].name, &cluster.masters[0].name);
        if crate::pki::template::check_name(&template).is_ok() {
            let texts = words.fill(&template);
            let names = Names::of(&texts);
            let kept = names.dns.len() + names.addresses.len();
            let different: std::collections::BTreeSet<String> =
                texts.iter().map(|text| text.trim_end_matches('.').to_owned()).collect();
            prop_assert_eq!(kept, different.len(), "{} made {:?}", template, texts);
        }
    }

    /// Wherever the masters are said to be, each of them wants the same.
    #[test]
    fn no_address_of_a_master_is_an_input(
        before in prop::collection::vec(any::<Option<u16>>(), 1..6),
        after in prop::collection::vec(any::<Option<u16>>(), 6),
        minor in 20_u32..36,
    ) {
        let file = |addresses: &[Option<u16>]| {
            let mut text = format!(
                "domain: a.internal\nendpoint: {{name: api}}\nkubernetes: {{version: \"1.{minor}\"}}\nmasters:\n"
            );
            for (index, address) in addresses.iter().enumerate() {
                let source = match address {
                    Some(n) => format!("addresses: [10.{index}.{}.{}, 'fd77:{index}::{n:x}']", n >> 8, n & 255),
                    None => format!("follow: m{index}.example.com"),
                };
                writeln!(text, "  - {{name: m{index}, {source}, stable: 10.254.0.{index}}}").unwrap();
            }
            Cluster::parse(&text, Path::new("F"), Loopback::Refused).unwrap()
        };
        let before = file(&before);
        let after = file(&after[..before.masters.len()]);
        let catalogue = Catalogue::of(&before).unwrap();
        for master in &before.masters {
            let node = Node {
                role: Role::Master(master.name.clone()),
                ..node("m1", "m1")
            };
            let want = wanted(&catalogue, &before, &node);
            prop_assert_eq!(&want, &wanted(&catalogue, &after, &node));
            let all = want.items.iter().flat_map(|item| &item.profile.names.addresses);
            for address in all {
                prop_assert!(!before.masters.iter().any(|m| m.addresses.contains(address)));
            }
        }
    }
}
