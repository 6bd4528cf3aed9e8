use std::path::PathBuf;

use super::{Damage, INIT, NEW_CLUSTER, changed, lines, of};
use crate::pki::inventory::{Found, Inventory, KeyState, Signer};
use crate::pki::issue::Validity;
use crate::pki::plan::model::{DAY, NOW, YEAR, complete, named, names, present, wanted};
use crate::pki::plan::{Action, plan};

const LATER: i64 = NOW + 200 * DAY;
const FAR: i64 = NOW + 9 * YEAR;

#[test]
fn a_new_cluster_is_issued_everything() {
    let wanted = wanted();
    let decisions = plan(&NEW_CLUSTER, &wanted, &Inventory::default(), NOW);
    let ids: Vec<_> = wanted.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(changed(&decisions), ids);
    assert_eq!(lines(&decisions)[3], "apiserver issue: was missing");
    for (item, decision) in wanted.items.iter().zip(&decisions) {
        let Action::Issue { profile, validity } = &decision.action else {
            panic!("{decision:?}");
        };
        assert_eq!(*profile, item.profile);
        assert_eq!(validity.not_before, NOW - 300, "{}", item.id);
        assert_eq!(
            validity.not_after,
            NOW + i64::try_from(item.validity).unwrap()
        );
    }
    let row = decisions[3].row();
    assert_eq!(row.not_after.unwrap(), "2027-01-01T00:00:00Z");
    assert_eq!(decisions[2].row().not_after, None, "a key pair has no end");
}

#[test]
fn leaves_of_a_short_authority_end_with_it() {
    let mut wanted = wanted();
    named(&mut wanted, "ca").validity = 3600;
    let decisions = plan(&NEW_CLUSTER, &wanted, &Inventory::default(), NOW);
    let Action::Issue { validity, .. } = &decisions[3].action else {
        panic!("{decisions:?}");
    };
    assert_eq!(validity.not_after, NOW + 3600);
}

#[test]
fn another_master_makes_no_second_authority() {
    let wanted = wanted();
    let decisions = plan(&INIT, &wanted, &Inventory::default(), NOW);
    assert_eq!(changed(&decisions), Vec::<&str>::new());
    let lines = lines(&decisions);
    let shared = "is missing; all masters share it: copy it from another master with `stayput certs \
                  bundle`, or let --new-cluster make it where the cluster is made";
    assert_eq!(
        lines[0],
        format!("ca refuse: /etc/kubernetes/pki/ca.crt {shared}")
    );
    assert_eq!(
        lines[2],
        format!("sa refuse: /etc/kubernetes/pki/sa.key {shared}")
    );
    let leaf = "apiserver refuse: its authority ca is missing: copy it from another master first";
    assert_eq!(lines[3], leaf);
    assert!(
        !lines.iter().any(|line| line.starts_with("kubelet.conf")),
        "{lines:?}"
    );
}

#[test]
fn another_master_with_the_bundle_gets_its_leaves_and_no_kubelet_conf() {
    let wanted = wanted();
    let mut inventory = complete(&wanted, FAR, LATER);
    for id in ["apiserver", "etcd-server", "admin.conf", "kubelet.conf"] {
        inventory.found.insert(id.to_owned(), Found::Absent);
    }
    let decisions = plan(&INIT, &wanted, &inventory, NOW);
    assert_eq!(
        changed(&decisions),
        ["apiserver", "etcd-server", "admin.conf"]
    );
    assert_eq!(decisions.len(), wanted.items.len() - 1);
}

#[test]
fn what_is_there_stays_and_what_is_odd_is_told() {
    let wanted = wanted();
    let mut inventory = complete(&wanted, FAR, LATER);
    for order in [&INIT, &NEW_CLUSTER] {
        let decisions = plan(order, &wanted, &inventory, NOW);
        assert_eq!(changed(&decisions), Vec::<&str>::new());
        assert!(
            lines(&decisions)
                .iter()
                .all(|line| line.ends_with(" keep: is there"))
        );
    }
    let apiserver = present(&mut inventory, "apiserver");
    apiserver.certificate.profile.names = names(&["kubernetes", "127.0.0.1"]);
    apiserver.signer = Signer::Foreign("CN=other".to_owned());
    assert_eq!(
        of(&INIT, &wanted, &inventory, "apiserver"),
        "keep: is there, but: was signed by CN=other, not by ca; lacks master-1.k8s.internal: \
         `stayput certs renew apiserver --force` adds it"
    );
}

#[test]
fn no_authority_is_made_beside_what_another_one_signed() {
    let wanted = wanted();
    let mut inventory = complete(&wanted, FAR, LATER);
    inventory.found.insert("ca".to_owned(), Found::Absent);
    present(&mut inventory, "kubelet.conf").key = KeyState::Elsewhere;
    assert_eq!(
        of(&NEW_CLUSTER, &wanted, &inventory, "ca"),
        "refuse: /etc/kubernetes/pki/ca.crt is missing, but what an authority of that place signed \
         is there (/etc/kubernetes/pki/apiserver.crt, /etc/kubernetes/admin.conf, \
         /etc/kubernetes/kubelet.conf): copy the authority from another master with `stayput certs \
         bundle`, or remove what is there"
    );
    // Leaves that are missing, too, are not issued by an authority that is not made.
    inventory
        .found
        .insert("apiserver".to_owned(), Found::Absent);
    let line = of(&NEW_CLUSTER, &wanted, &inventory, "apiserver");
    assert!(
        line.starts_with("refuse: its authority ca is missing"),
        "{line}"
    );
}

#[test]
fn an_authority_that_cannot_sign_issues_nothing() {
    let wanted = wanted();
    let table: &[(Damage, &str)] = &[
        (
            |found| present(found, "ca").key = KeyState::Absent,
            "has no key on this machine: issue it where the key is kept, and copy it here",
        ),
        (
            |found| present(found, "ca").key = KeyState::Mismatch,
            "cannot be used: `stayput certs status` says why; copy it from another master",
        ),
        (
            |found| present(found, "ca").certificate.not_after = NOW - 1,
            "EXPIRED at 2025-12-31T23:59:59Z: nothing that it signs is accepted; the cluster needs \
             a new authority",
        ),
        (
            |found| present(found, "ca").certificate.not_before = NOW + 1,
            "is valid only from 2026-01-01T00:00:01Z on: check this machine's clock",
        ),
    ];
    for (damage, want) in table {
        let mut inventory = complete(&wanted, FAR, LATER);
        inventory
            .found
            .insert("apiserver".to_owned(), Found::Absent);
        inventory
            .found
            .insert("etcd-server".to_owned(), Found::Absent);
        damage(&mut inventory);
        let line = of(&INIT, &wanted, &inventory, "apiserver");
        assert_eq!(line, format!("refuse: its authority ca {want}"));
        assert_eq!(
            of(&INIT, &wanted, &inventory, "etcd-server"),
            "issue: was missing"
        );
    }
}

#[test]
fn broken_files_are_refused() {
    let wanted = wanted();
    let half = |present: &str, missing: &str| Found::Half {
        present: PathBuf::from(format!("/etc/kubernetes/pki/{present}")),
        missing: PathBuf::from(format!("/etc/kubernetes/pki/{missing}")),
    };
    let unusable = Found::Unusable {
        path: PathBuf::from("/etc/kubernetes/pki/apiserver.crt"),
        reason: "holds no certificate".to_owned(),
    };
    for (id, found, want) in [
        (
            "ca",
            half("ca.key", "ca.crt"),
            "refuse: /etc/kubernetes/pki/ca.key is there without /etc/kubernetes/pki/ca.crt: copy \
             the pair from another master or from a backup",
        ),
        (
            "apiserver",
            half("apiserver.crt", "apiserver.key"),
            "refuse: /etc/kubernetes/pki/apiserver.crt is there without \
             /etc/kubernetes/pki/apiserver.key: put the right file back, or let `stayput certs \
             renew apiserver --force` make a new one",
        ),
        (
            "apiserver",
            unusable,
            "refuse: /etc/kubernetes/pki/apiserver.crt cannot be used: it holds no certificate: put \
             the right file back, or let `stayput certs renew apiserver --force` make a new one",
        ),
        (
            "sa",
            half("sa.pub", "sa.key"),
            "refuse: /etc/kubernetes/pki/sa.pub is there without /etc/kubernetes/pki/sa.key: copy \
             the pair from another master or from a backup",
        ),
        (
            "sa",
            half("sa.key", "sa.pub"),
            "restorePublic: its public key is not there",
        ),
    ] {
        let mut inventory = complete(&wanted, FAR, LATER);
        inventory.found.insert(id.to_owned(), found);
        for order in [&INIT, &NEW_CLUSTER] {
            assert_eq!(of(order, &wanted, &inventory, id), want);
        }
    }
}

#[test]
fn a_joined_nodes_kubelet_conf_is_none_of_inits_business() {
    let wanted = wanted();
    let mut inventory = complete(&wanted, FAR, LATER);
    let unusable = Found::Unusable {
        path: PathBuf::from("/etc/kubernetes/kubelet.conf"),
        reason: "has no certificate".to_owned(),
    };
    inventory.found.insert("kubelet.conf".to_owned(), unusable);
    assert_eq!(
        of(&INIT, &wanted, &inventory, "kubelet.conf"),
        "keep: is there, but: /etc/kubernetes/kubelet.conf: has no certificate"
    );
    let line = of(&NEW_CLUSTER, &wanted, &inventory, "kubelet.conf");
    assert!(line.starts_with("refuse: "), "{line}");
}

#[test]
fn a_second_init_has_nothing_to_do() {
    let wanted = wanted();
    let mut inventory = Inventory::default();
    let first = plan(&NEW_CLUSTER, &wanted, &inventory, NOW);
    crate::pki::plan::model::carry_out(&wanted, &mut inventory, &first);
    for order in [&NEW_CLUSTER, &INIT, &super::renew(&[], false)] {
        let second = plan(order, &wanted, &inventory, NOW);
        assert_eq!(changed(&second), Vec::<&str>::new(), "{second:?}");
    }
    let Found::Present(ca) = &inventory.found["ca"] else {
        panic!();
    };
    let ca = Validity::of(&ca.certificate);
    assert_eq!(ca.not_after - ca.not_before, 10 * YEAR + 300);
}
