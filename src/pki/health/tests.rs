use std::path::PathBuf;

use super::{Health, State, health};
use crate::pki::certificate::Certificate;
use crate::pki::identity::ID;
use crate::pki::inventory::{Exposed, Found, Inventory, KeyState, Signer};
use crate::pki::key::{KeyType, PrivateKey};
use crate::pki::plan::model::{DAY, NOW, YEAR, complete, names, present, wanted, wanted_to_speak};
use crate::pki::plan::{Action, Order, plan};

const FAR: i64 = NOW + 9 * YEAR;
const LATER: i64 = NOW + 300 * DAY;
const SOON: i64 = NOW + 12 * DAY;

fn of(rows: &[Health], id: &str) -> Health {
    let row = rows.iter().find(|row| row.id == id);
    row.unwrap_or_else(|| panic!("no row for {id}")).clone()
}

#[test]
fn a_good_set_wants_no_attention() {
    let wanted = wanted();
    let rows = health(&wanted, &complete(&wanted, FAR, LATER), NOW);
    assert_eq!(rows.len(), wanted.items.len());
    for row in &rows {
        assert_eq!(row.state, State::Ok, "{row:?}");
        assert!(row.details.is_empty() && !row.attention, "{row:?}");
    }
    let json = serde_json::to_value(of(&rows, "etcd-server")).unwrap();
    let want = serde_json::json!({
        "id": "etcd-server",
        "path": "/etc/kubernetes/pki/etcd/server.crt",
        "subject": "CN=etcd-server",
        "names": ["localhost"],
        "authority": "etcd-ca",
        "notBefore": "2025-10-28T00:00:00Z",
        "notAfter": "2026-10-28T00:00:00Z",
        "expiresIn": 300 * DAY,
        "serial": "2a",
        "state": "ok",
        "details": [],
        "attention": false,
        "users": [{"process": "etcd", "takes": "restart"}],
    });
    assert_eq!(json, want);
    assert_eq!(of(&rows, "etcd-server").restarts(), ["etcd"]);
    assert!(of(&rows, "apiserver").restarts().is_empty());
    let sa = of(&rows, "sa");
    assert_eq!((sa.not_after, sa.subject, sa.authority), (None, None, None));
}

type Damage = fn(&mut Inventory);

/// Item, what is done to a good set, the item's state, and the one thing that is told of it.
const STATES: &[(&str, Damage, State, &str)] = &[
    (
        "apiserver",
        |found| drop(found.found.remove("apiserver")),
        State::Missing,
        "`stayput certs init` issues it",
    ),
    (
        "sa",
        |found| drop(found.found.insert("sa".to_owned(), Found::Absent)),
        State::Missing,
        "copy it from another master with `stayput certs bundle`, or let `stayput certs init --new-cluster` make it where the cluster is made",
    ),
    (
        "apiserver",
        |found| drop(found.found.insert("apiserver".to_owned(), unusable())),
        State::Unusable,
        "/etc/kubernetes/pki/apiserver.crt: holds no certificate",
    ),
    (
        "apiserver",
        |found| drop(found.found.insert("apiserver".to_owned(), half())),
        State::BrokenPair,
        "/etc/kubernetes/pki/apiserver.crt is there without /etc/kubernetes/pki/apiserver.key",
    ),
    (
        "apiserver",
        |found| present(found, "apiserver").key = KeyState::Mismatch,
        State::BrokenPair,
        "its key does not belong to its certificate",
    ),
    (
        "ca",
        |found| present(found, "ca").key = KeyState::Absent,
        State::Ok,
        "its key is not on this machine: what it signs is issued elsewhere",
    ),
    (
        "apiserver",
        |found| present(found, "apiserver").signer = Signer::Foreign("CN=other".to_owned()),
        State::Foreign,
        "was signed by CN=other, not by ca",
    ),
    (
        "apiserver",
        |found| present(found, "apiserver").signer = Signer::Unknown,
        State::Ok,
        "who signed it is unknown without its authority ca",
    ),
    (
        "admin.conf",
        |found| kubeconfig(found).trusts_authority = false,
        State::ForeignAuthority,
        "trusts another authority than this node's ca: `stayput certs renew admin.conf --force` puts that right",
    ),
    (
        "apiserver",
        |found| {
            let path = "/etc/kubernetes/pki/apiserver.crt".into();
            found.links.insert("apiserver".to_owned(), path);
        },
        State::Linked,
        "/etc/kubernetes/pki/apiserver.crt is a symbolic link, which no renewal replaces: put the file that it leads to in its place",
    ),
    (
        "admin.conf",
        |found| kubeconfig(found).server = "https://10.0.0.1:6443".to_owned(),
        State::WrongServer,
        "points to https://10.0.0.1:6443, not to https://api.k8s.internal:8443: edit `server` in /etc/kubernetes/admin.conf, or let `stayput certs renew admin.conf --force` do it",
    ),
    (
        "admin.conf",
        |found| {
            let admin = present(found, "admin.conf");
            admin.certificate.profile.organizations = vec!["system:masters".to_owned()];
        },
        State::Ok,
        "kubeadm of this release writes O=kubeadm:cluster-admins, CN=kubernetes-admin",
    ),
    (
        "apiserver",
        |found| present(found, "apiserver").certificate.not_after = NOW - DAY,
        State::Expired,
        "expired 1d0h ago, at 2025-12-31T00:00:00Z",
    ),
    (
        "apiserver",
        |found| present(found, "apiserver").certificate.not_before = NOW + 1,
        State::NotYetValid,
        "is valid only from 2026-01-01T00:00:01Z on: check this machine's clock",
    ),
    (
        "apiserver",
        |found| present(found, "apiserver").certificate.not_after = SOON,
        State::Due,
        "expires in 12d0h: `stayput certs renew` renews it",
    ),
    (
        "admin.conf",
        |found| {
            let admin = present(found, "admin.conf");
            admin.key = KeyState::Elsewhere;
            admin.certificate.not_after = SOON;
        },
        State::Due,
        "expires in 12d0h, in a file of its own, which stayput does not renew: renew it there, or let `stayput certs renew admin.conf --force` write the kubeconfig anew",
    ),
    (
        "apiserver",
        |found| present(found, "apiserver").exposed = exposed(),
        State::WrongMode,
        "/etc/kubernetes/pki/apiserver.key has mode 0644: `chmod 0600 \
             /etc/kubernetes/pki/apiserver.key`",
    ),
    (
        "apiserver",
        |found| {
            let apiserver = present(found, "apiserver");
            apiserver.certificate.profile.names = names(&["kubernetes"]);
        },
        State::NameMissing,
        "lacks master-1.k8s.internal, 127.0.0.1: `stayput certs renew apiserver --force` adds it",
    ),
    (
        "apiserver",
        |found| {
            let profile = &mut present(found, "apiserver").certificate.profile;
            profile.usages.server = false;
        },
        State::Ok,
        "its extended key usages do not name servers",
    ),
    (
        "apiserver",
        |found| present(found, "apiserver").certificate.not_after = FAR + 1,
        State::Ok,
        "its authority ends earlier, at 2034-12-30T00:00:00Z",
    ),
];

#[test]
fn each_state_is_told_with_what_to_do() {
    let wanted = wanted();
    for (id, damage, state, detail) in STATES {
        let mut inventory = complete(&wanted, FAR, LATER);
        damage(&mut inventory);
        let rows = health(&wanted, &inventory, NOW);
        let row = of(&rows, id);
        assert_eq!(
            (row.state, row.details),
            (*state, vec![(*detail).to_owned()])
        );
        assert_eq!(row.attention, *state != State::Ok, "{detail}");
        for other in rows.iter().filter(|row| row.id != *id) {
            assert_eq!(other.state, State::Ok, "{detail}: {other:?}");
        }
    }
}

fn half() -> Found {
    Found::Half {
        present: PathBuf::from("/etc/kubernetes/pki/apiserver.crt"),
        missing: PathBuf::from("/etc/kubernetes/pki/apiserver.key"),
    }
}

fn unusable() -> Found {
    Found::Unusable {
        path: PathBuf::from("/etc/kubernetes/pki/apiserver.crt"),
        reason: "holds no certificate".to_owned(),
    }
}

fn exposed() -> Vec<Exposed> {
    vec![Exposed {
        path: PathBuf::from("/etc/kubernetes/pki/apiserver.key"),
        mode: 0o644,
        want: 0o600,
    }]
}

fn kubeconfig(inventory: &mut Inventory) -> &mut crate::pki::inventory::KubeconfigState {
    let admin = present(inventory, "admin.conf");
    admin.kubeconfig.as_mut().unwrap()
}

#[test]
fn the_worst_comes_first_and_all_is_told() {
    let wanted = wanted();
    let mut inventory = complete(&wanted, FAR, SOON);
    let apiserver = present(&mut inventory, "apiserver");
    apiserver.exposed = exposed();
    apiserver.signer = Signer::Foreign("CN=other".to_owned());
    apiserver.key = KeyState::Mismatch;
    apiserver.certificate.profile.names = names(&[]);
    let row = of(&health(&wanted, &inventory, NOW), "apiserver");
    assert_eq!(row.state, State::BrokenPair);
    let first_words = [
        "its key",
        "was signed",
        "/etc/kubernetes/pki",
        "lacks",
        "expires",
    ];
    assert_eq!(row.details.len(), first_words.len(), "{:?}", row.details);
    for (detail, words) in row.details.iter().zip(first_words) {
        assert!(detail.starts_with(words), "{detail} for {words}");
    }
}

#[test]
fn what_only_the_first_master_has_is_missed_nowhere_else() {
    let wanted = wanted();
    let mut inventory = complete(&wanted, FAR, LATER);
    inventory.found.remove("kubelet.conf");
    let rows = health(&wanted, &inventory, NOW);
    assert!(rows.iter().all(|row| row.id != "kubelet.conf"));
}

#[test]
fn an_authority_near_its_end_is_told_early() {
    let wanted = wanted();
    for (ends, state, detail) in [
        (NOW + YEAR, State::Ok, ""),
        (
            NOW + YEAR - 1,
            State::Due,
            "ends in 364d23h, at 2026-12-31T23:59:59Z: what it signs is shortened; plan its \
             replacement",
        ),
        (
            NOW - 1,
            State::Expired,
            "expired 1s ago, at 2025-12-31T23:59:59Z",
        ),
    ] {
        let inventory = complete(&wanted, ends, ends.min(LATER));
        let row = of(&health(&wanted, &inventory, NOW), "ca");
        assert_eq!((row.state, row.details.concat().as_str()), (state, detail));
    }
    // One that never lived longer than its leaves is not due all of its life.
    let mut inventory = complete(&wanted, NOW + YEAR - 1, LATER);
    present(&mut inventory, "ca").certificate.not_before = NOW - 1;
    assert_eq!(of(&health(&wanted, &inventory, NOW), "ca").state, State::Ok);
}

#[test]
fn a_leaf_that_ends_with_its_authority_cannot_be_helped() {
    let wanted = wanted();
    let row = |authority, leaf| {
        let inventory = complete(&wanted, authority, leaf);
        let row = of(&health(&wanted, &inventory, NOW), "apiserver");
        (row.state, row.details)
    };
    let (state, details) = row(SOON, SOON);
    assert_eq!(state, State::AuthorityEnds);
    assert_eq!(
        details,
        ["expires in 12d0h, and its authority at 2026-01-13T00:00:00Z: no renewal helps"]
    );
    assert_eq!(
        row(SOON, SOON - 1).0,
        State::Due,
        "a renewal gains a second"
    );
    let (state, details) = row(NOW - 1, LATER);
    assert_eq!(state, State::AuthorityEnds);
    assert_eq!(
        details,
        ["its authority ended at 2025-12-31T23:59:59Z: nobody accepts it any more"]
    );
}

#[test]
fn the_kubelets_own_is_due_when_the_kubelet_is_late() {
    let wanted = wanted();
    for (lifetime, remaining, state) in [
        (YEAR, 40 * DAY, State::Ok),
        (YEAR, 29 * DAY, State::Due),
        (DAY, DAY / 4, State::Ok),
        (DAY, DAY / 10 - 1, State::Due),
    ] {
        let mut inventory = complete(&wanted, FAR, LATER);
        let kubelet = present(&mut inventory, "kubelet.conf");
        kubelet.key = KeyState::Elsewhere;
        kubelet.certificate.not_after = NOW + remaining;
        kubelet.certificate.not_before = NOW + remaining - lifetime;
        let row = of(&health(&wanted, &inventory, NOW), "kubelet.conf");
        assert_eq!(row.state, state, "{lifetime} {remaining} {row:?}");
    }
}

#[test]
fn extremes_are_shown_too() {
    let wanted = wanted();
    for (begins, ends) in [
        (i64::MIN, i64::MAX),
        (i64::MIN, i64::MIN),
        (i64::MAX, i64::MIN),
        (-631_152_000, 253_402_300_799),
    ] {
        let mut inventory = complete(&wanted, ends, ends);
        for id in ["ca", "apiserver", "admin.conf"] {
            present(&mut inventory, id).certificate.not_before = begins;
        }
        for now in [i64::MIN, 0, NOW, i64::MAX] {
            let rows = health(&wanted, &inventory, now);
            assert_eq!(rows.len(), wanted.items.len());
            serde_json::to_string(&rows).unwrap();
        }
    }
}

/// The table and the plan speak of the same: what is due is what a renewal would renew.
#[test]
fn due_is_what_a_renewal_renews() {
    let wanted = wanted();
    let order = Order::Renew {
        only: std::collections::BTreeSet::new(),
        force: false,
        drop: names(&[]),
    };
    for days in -40..YEAR / DAY {
        for authority in [NOW + days * DAY, NOW + (days + 1) * DAY, FAR] {
            let inventory = complete(&wanted, authority, NOW + days * DAY);
            let rows = health(&wanted, &inventory, NOW);
            for decision in plan(&order, &wanted, &inventory, NOW) {
                let state = of(&rows, &decision.id).state;
                let agrees = match decision.action {
                    Action::Renew { .. } => matches!(state, State::Due | State::Expired),
                    Action::Keep => matches!(state, State::Ok | State::AuthorityEnds),
                    Action::Refuse => matches!(state, State::Expired | State::AuthorityEnds),
                    action => panic!("{action:?}"),
                };
                assert!(agrees, "{days} days: {decision:?}, {state}");
            }
        }
    }
}

/// Where a master's pair says anything but the one name, nodes do not listen, and here it is told.
#[test]
fn what_no_node_would_listen_to_is_told() {
    let wanted = wanted_to_speak();
    let good = || {
        let mut inventory = complete(&wanted, FAR, LATER);
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        present(&mut inventory, ID).certificate.public_key = key.public_key().to_vec();
        inventory
    };
    let row = |inventory: &Inventory| of(&health(&wanted, inventory, NOW), ID);
    assert_eq!(
        (row(&good()).state, row(&good()).details),
        (State::Ok, vec![])
    );
    let spoilt: [fn(&mut Certificate); 6] = [
        |it| it.profile.names = names(&[]),
        |it| it.profile.names = names(&["master-1.stayput.k8s.internal", "api.k8s.internal"]),
        |it| "master-2.stayput.k8s.internal".clone_into(&mut it.profile.common_name),
        |it| it.profile.organizations.push("system:masters".into()),
        |it| it.profile.usages.server = false,
        |it| {
            let key = PrivateKey::generate(KeyType::EcdsaP384).unwrap();
            it.public_key = key.public_key().to_vec();
        },
    ];
    for (index, spoil) in spoilt.iter().enumerate() {
        let mut inventory = good();
        spoil(&mut present(&mut inventory, ID).certificate);
        let row = row(&inventory);
        assert_eq!(row.state, State::Unusable, "{index}");
        assert_eq!(
            row.details,
            [
                "no node would listen to it: it has to be for master-1.stayput.k8s.internal alone, in the group stayput:masters, for servers and clients, with a key of P-256: `stayput certs renew stayput --force` issues such a one"
            ]
        );
    }
    let mut missing = good();
    missing.found.insert(ID.into(), Found::Absent);
    let row = row(&missing);
    assert_eq!(row.state, State::Missing);
    assert_eq!(row.details, ["the next `stayput certs renew` issues it"]);
}
