use std::path::PathBuf;

use super::{Damage, changed, lines, of, renew, renew_without};
use crate::pki::inventory::{Exposed, Found, Inventory, KeyState, KubeconfigState, Signer};
use crate::pki::issue::Validity;
use crate::pki::plan::model::{DAY, NOW, YEAR, complete, named, names, present, wanted};
use crate::pki::plan::{Action, plan};
use crate::pki::profile::{Names, OtherName};

const FAR: i64 = NOW + 9 * YEAR;
const LATER: i64 = NOW + 300 * DAY + 4 * 3600;
const SOON: i64 = NOW + 12 * DAY;

#[test]
fn what_is_not_due_stays() {
    let wanted = wanted();
    let inventory = complete(&wanted, FAR, LATER);
    for order in [renew(&[], false), renew(&[], true)] {
        let lines = lines(&plan(&order, &wanted, &inventory, NOW));
        let not_due = "keep: not due: expires in 300d4h; `stayput certs renew";
        let want = ["apiserver", "etcd-server", "admin.conf", "kubelet.conf"];
        assert_eq!(
            lines,
            want.map(|id| format!("{id} {not_due} {id} --force` renews it now"))
        );
    }
}

#[test]
fn what_is_due_or_over_is_renewed() {
    let wanted = wanted();
    for (ends, want) in [
        (SOON, "renew: due: expires in 12d0h"),
        (NOW, "renew: due: expires in 0s"),
        (NOW - 3 * DAY, "renew: expired 3d0h ago"),
        (-631_152_000, "renew: expired 27759d0h ago"),
    ] {
        let inventory = complete(&wanted, FAR, ends);
        let line = of(
            &renew(&["apiserver"], false),
            &wanted,
            &inventory,
            "apiserver",
        );
        assert_eq!(line, want);
        let all = plan(&renew(&[], false), &wanted, &inventory, NOW);
        assert_eq!(changed(&all).len(), 4, "{all:?}");
    }
}

#[test]
fn the_order_is_about_what_it_names() {
    let wanted = wanted();
    let inventory = complete(&wanted, FAR, LATER);
    let order = renew(&["admin.conf", "apiserver"], true);
    let plan = plan(&order, &wanted, &inventory, NOW);
    assert_eq!(
        lines(&plan),
        ["apiserver renew: by order", "admin.conf renew: by order"]
    );
    assert_eq!(
        renew(&["apiserver", "api-server"], false).unknown_items(&wanted),
        ["api-server"]
    );
}

#[test]
fn authorities_and_service_account_keys_are_not_renewed() {
    let wanted = wanted();
    let inventory = complete(&wanted, NOW - 1, LATER);
    for id in ["ca", "sa"] {
        let line = of(&renew(&[id], true), &wanted, &inventory, id);
        assert!(
            line.starts_with("refuse: stayput renews neither authorities nor service-account keys"),
            "{line}"
        );
    }
}

#[test]
fn a_renewal_keeps_subject_usages_and_names() {
    let mut wanted = wanted();
    let mut inventory = complete(&wanted, FAR, SOON);
    let old = &mut present(&mut inventory, "admin.conf").certificate.profile;
    old.organizations = vec!["system:masters".to_owned()];
    old.usages.server = true;
    old.names = names(&["extra.example.com", "10.0.0.7"]);
    let old = old.clone();
    let decisions = plan(&renew(&[], false), &wanted, &inventory, NOW);
    let Action::Renew {
        profile,
        validity,
        adds,
        drops,
        ..
    } = &decisions[2].action
    else {
        panic!("{decisions:?}");
    };
    assert_eq!(
        *profile, old,
        "nothing that the catalogue says now changes it"
    );
    assert!(adds.is_empty() && drops.is_empty());
    assert_eq!(*validity, Validity::starting(NOW, 365 * 86_400));

    // Names that the cluster file asks for come in with the next renewal.
    named(&mut wanted, "admin.conf").profile.names = names(&["new.example.com"]);
    let decisions = plan(&renew(&[], false), &wanted, &inventory, NOW);
    let row = decisions[2].row();
    assert_eq!(
        (row.adds, row.drops),
        (vec!["new.example.com".to_owned()], vec![])
    );
    let Action::Renew { profile, .. } = &decisions[2].action else {
        panic!("{decisions:?}");
    };
    assert_eq!(
        profile.names,
        names(&["extra.example.com", "new.example.com", "10.0.0.7"])
    );
}

#[test]
fn missing_names_alone_are_no_reason() {
    let mut wanted = wanted();
    let inventory = complete(&wanted, FAR, LATER);
    named(&mut wanted, "apiserver").profile.names = names(&["kubernetes", "new", "10.9.9.9"]);
    assert_eq!(
        of(&renew(&[], false), &wanted, &inventory, "apiserver"),
        "keep: not due: expires in 300d4h, but lacks new, 10.9.9.9: `stayput certs renew apiserver \
         --force` adds what is missing"
    );
}

#[test]
fn names_are_left_out_by_order_only() {
    let wanted = wanted();
    let mut inventory = complete(&wanted, FAR, LATER);
    let all = &mut present(&mut inventory, "apiserver")
        .certificate
        .profile
        .names;
    *all = all.union(&names(&["10.0.0.7"]));
    let drop = |all: &[&str]| renew_without(&["apiserver"], true, names(all));
    let decisions = plan(&drop(&["10.0.0.7"]), &wanted, &inventory, NOW);
    assert_eq!(decisions[0].row().drops, ["10.0.0.7"]);
    assert_eq!(
        of(
            &drop(&["10.0.0.7", "kubernetes"]),
            &wanted,
            &inventory,
            "apiserver"
        ),
        "refuse: cannot leave out kubernetes: the cluster file asks for it; take it out there first"
    );
    // A mistyped one is no name of anything; one of an item that is not named, neither.
    let mistyped = drop(&["10.0.0.7", "10.0.0.8", "localhost"]);
    let unknown = mistyped.unknown_drops(&wanted, &inventory);
    assert_eq!(unknown, names(&["10.0.0.8", "localhost"]));
    let everywhere = renew_without(&[], false, names(&["10.0.0.7", "localhost"]));
    assert!(everywhere.unknown_drops(&wanted, &inventory).is_empty());
}

#[test]
fn files_of_whoever_is_no_kubelet_are_nobodys_to_renew() {
    let wanted = wanted();
    let refused = "points to a certificate and a key in files of their own";
    for (ends, all) in [(LATER, "keep"), (SOON, "refuse")] {
        let mut inventory = complete(&wanted, FAR, ends);
        present(&mut inventory, "admin.conf").key = KeyState::Elsewhere;
        let of = |order| of(&order, &wanted, &inventory, "admin.conf");
        for (order, action) in [
            (renew(&[], false), all),
            (renew(&["admin.conf"], false), "refuse"),
        ] {
            let line = of(order);
            assert!(line.starts_with(&format!("{action}: {refused}")), "{line}");
            assert!(
                line.contains("`stayput certs renew admin.conf --force`"),
                "{line}"
            );
        }
        let line = of(renew(&["admin.conf"], true));
        assert!(line.starts_with("renew: by order"), "{line}");
    }
}

#[test]
fn a_kubeconfig_that_leads_elsewhere_is_put_right_by_order_only() {
    type Lead = fn(&mut Inventory);
    let distrusts: Lead = |found| kubeconfig(found).trusts_authority = false;
    let points: Lead = |found| kubeconfig(found).server = "https://10.0.0.1:6443".to_owned();
    let refused = "trusts another authority than this node's ca: `stayput certs renew admin.conf \
                   --force` puts that right";
    let wanted = wanted();
    for (lead, ends, all, named) in [
        (
            distrusts,
            LATER,
            format!("keep: {refused}"),
            format!("refuse: {refused}"),
        ),
        (
            distrusts,
            SOON,
            format!("refuse: {refused}"),
            format!("refuse: {refused}"),
        ),
        (
            points,
            SOON,
            "renew: due: expires in 12d0h".to_owned(),
            "renew: due: expires in 12d0h".to_owned(),
        ),
    ] {
        let mut inventory = complete(&wanted, FAR, ends);
        lead(&mut inventory);
        let of = |order| of(&order, &wanted, &inventory, "admin.conf");
        assert_eq!(of(renew(&[], false)), all);
        assert_eq!(of(renew(&["admin.conf"], false)), named);
        let forced = "renew: by order; its server and authority are put right";
        assert_eq!(of(renew(&["admin.conf"], true)), forced);
    }
}

fn kubeconfig(inventory: &mut Inventory) -> &mut KubeconfigState {
    present(inventory, "admin.conf")
        .kubeconfig
        .as_mut()
        .unwrap()
}

#[test]
fn other_names_are_kept_and_left_out_by_their_text_and_a_strangers_are_not_kept() {
    let wanted = wanted();
    let mut inventory = complete(&wanted, FAR, LATER);
    let other = OtherName {
        text: "URI:spiffe://Example.com/api".to_owned(),
        der: b"\x86\x1cspiffe://Example.com/api".to_vec(),
    };
    let all = &mut present(&mut inventory, "apiserver").certificate.profile;
    all.names.others.push(other);
    let drops = |inventory: &Inventory, drop: &[&str]| {
        let order = renew_without(&["apiserver"], true, Names::named(drop));
        assert!(order.unknown_drops(&wanted, inventory).is_empty());
        plan(&order, &wanted, inventory, NOW)[0].row().drops
    };
    assert_eq!(drops(&inventory, &[]), [""; 0]);
    let text = "URI:spiffe://Example.com/api";
    assert_eq!(drops(&inventory, &[text]), [text]);
    present(&mut inventory, "apiserver").signer = Signer::Foreign("CN=other".to_owned());
    assert_eq!(drops(&inventory, &[]), [text]);
}

#[test]
fn a_name_is_left_out_however_it_was_written() {
    let wanted = wanted();
    let mut inventory = complete(&wanted, FAR, LATER);
    let odd = ["10.0.0.7", "fd00::7", "api.example.com.", "*", "a b"];
    let all = &mut present(&mut inventory, "apiserver")
        .certificate
        .profile
        .names;
    all.dns.extend(odd.map(str::to_owned));
    let drop = Names::named(["10.0.0.7", "FD00::7", "API.example.com.", "*", "a b"]);
    let order = renew_without(&["apiserver"], true, drop);
    assert!(order.unknown_drops(&wanted, &inventory).is_empty());
    let decisions = plan(&order, &wanted, &inventory, NOW);
    let mut want = odd.map(str::to_owned);
    want.sort();
    assert_eq!(decisions[0].row().drops, want);
    let order = renew_without(
        &["apiserver"],
        true,
        Names::named(["api.example.com", "10.0.0.8"]),
    );
    let unknown = order.unknown_drops(&wanted, &inventory);
    assert_eq!(unknown.list(), ["api.example.com", "10.0.0.8"]);
}

#[test]
fn what_is_missing_is_inits_business() {
    let wanted = wanted();
    let inventory = Inventory::default();
    let lines = lines(&plan(&renew(&[], false), &wanted, &inventory, NOW));
    let missing = "refuse: is missing: `stayput certs init` issues it";
    let want = ["apiserver", "etcd-server", "admin.conf"];
    assert_eq!(lines, want.map(|id| format!("{id} {missing}")));
    let order = renew(&["kubelet.conf"], true);
    let first = "refuse: is not there: only the master that makes the cluster is issued one, by \
                 `stayput certs init --new-cluster`; elsewhere use that only if all authorities and the \
                 service-account keys are here, because it makes what is missing of them";
    assert_eq!(of(&order, &wanted, &inventory, "kubelet.conf"), first);
}

#[test]
fn the_kubelet_renews_its_own() {
    let wanted = wanted();
    let mut inventory = complete(&wanted, FAR, NOW - 1);
    present(&mut inventory, "kubelet.conf").key = KeyState::Elsewhere;
    for order in [renew(&[], false), renew(&["kubelet.conf"], true)] {
        assert_eq!(
            of(&order, &wanted, &inventory, "kubelet.conf"),
            "keep: the kubelet renews it itself"
        );
    }
}

#[test]
fn what_is_odd_is_refused_even_if_due_and_replaced_by_order() {
    let wanted = wanted();
    let remedy = "put the right file back, or let `stayput certs renew apiserver --force` make a \
                  new one";
    let table: &[(Damage, &str)] = &[
        (
            |found| present(found, "apiserver").key = KeyState::Mismatch,
            "refuse: its key does not belong to its certificate: ",
        ),
        (
            |found| present(found, "apiserver").signer = Signer::Foreign("CN=other".to_owned()),
            "refuse: was signed by CN=other, not by its authority: ",
        ),
        (
            |found| drop(found.found.insert("apiserver".to_owned(), half())),
            "refuse: /etc/kubernetes/pki/apiserver.key is there without \
             /etc/kubernetes/pki/apiserver.crt: ",
        ),
        (
            |found| drop(found.found.insert("apiserver".to_owned(), unusable())),
            "refuse: /etc/kubernetes/pki/apiserver.key cannot be used: it holds no usable private \
             key: ",
        ),
    ];
    for (damage, want) in table {
        for ends in [SOON, LATER] {
            let mut inventory = complete(&wanted, FAR, ends);
            damage(&mut inventory);
            for order in [
                renew(&[], false),
                renew(&["apiserver"], false),
                renew(&[], true),
            ] {
                let line = of(&order, &wanted, &inventory, "apiserver");
                // Somebody else's on purpose, perhaps: that matters when it ends, or is asked for.
                let patience = want.contains("signed by")
                    && ends == LATER
                    && order != renew(&["apiserver"], false);
                let want = if patience {
                    want.replace("refuse", "keep")
                } else {
                    (*want).to_owned()
                };
                assert_eq!(line, format!("{want}{remedy}"));
            }
            let forced = renew(&["apiserver"], true);
            let decisions = plan(&forced, &wanted, &inventory, NOW);
            let Action::Renew { profile, .. } = &decisions[0].action else {
                panic!("{want}: {decisions:?}");
            };
            assert_eq!(*profile, wanted.items[3].profile);
        }
    }
}

fn half() -> Found {
    Found::Half {
        present: PathBuf::from("/etc/kubernetes/pki/apiserver.key"),
        missing: PathBuf::from("/etc/kubernetes/pki/apiserver.crt"),
    }
}

fn unusable() -> Found {
    Found::Unusable {
        path: PathBuf::from("/etc/kubernetes/pki/apiserver.key"),
        reason: "holds no usable private key".to_owned(),
    }
}

#[test]
fn a_strangers_subject_is_not_signed() {
    let wanted = wanted();
    let mut inventory = complete(&wanted, FAR, LATER);
    let admin = present(&mut inventory, "apiserver");
    admin.signer = Signer::Foreign("CN=other".to_owned());
    admin.certificate.profile.organizations = vec!["system:masters".to_owned()];
    admin.certificate.profile.usages.client = true;
    admin.certificate.profile.names = names(&["api.example.com"]);
    let decisions = plan(&renew(&["apiserver"], true), &wanted, &inventory, NOW);
    let Action::Renew { profile, .. } = &decisions[0].action else {
        panic!("{decisions:?}");
    };
    let catalogue = &wanted.items[3].profile;
    assert_eq!(profile.organizations, catalogue.organizations);
    assert_eq!(profile.usages, catalogue.usages);
    assert_eq!(
        profile.names,
        names(&["api.example.com"]).union(&catalogue.names)
    );
}

#[test]
fn a_symlink_is_not_replaced_and_is_no_matter_before_that() {
    let wanted = wanted();
    let link = PathBuf::from("/etc/kubernetes/pki/apiserver.crt");
    let says = "refuse: /etc/kubernetes/pki/apiserver.crt is a symbolic link: programs that watch it \
                would miss that it changes; put the file that it leads to in its place";
    for (ends, force, refused) in [
        (SOON, false, true),
        (LATER, true, true),
        (LATER, false, false),
    ] {
        let mut inventory = complete(&wanted, FAR, ends);
        inventory.links.insert("apiserver".to_owned(), link.clone());
        let said = of(
            &renew(&["apiserver"], force),
            &wanted,
            &inventory,
            "apiserver",
        );
        assert_eq!(said == says, refused, "{said}");
        assert_eq!(said.starts_with("keep: not due"), !refused, "{said}");
    }
}

#[test]
fn a_key_that_others_can_read_is_replaced_by_order_only() {
    let wanted = wanted();
    let exposed = |path: &str, mode, want| Exposed {
        path: PathBuf::from(format!("/etc/kubernetes/{path}")),
        mode,
        want,
    };
    let mut inventory = complete(&wanted, FAR, SOON);
    present(&mut inventory, "apiserver").exposed = vec![exposed("pki/apiserver.key", 0o644, 0o600)];
    present(&mut inventory, "admin.conf").exposed = vec![exposed("admin.conf", 0o666, 0o600)];
    present(&mut inventory, "etcd-server").exposed =
        vec![exposed("pki/etcd/server.crt", 0o664, 0o644)];
    let line = |force| {
        let order = renew(&["apiserver"], force);
        of(&order, &wanted, &inventory, "apiserver")
    };
    assert_eq!(
        line(false),
        "refuse: /etc/kubernetes/pki/apiserver.key has mode 0644, so that others may have its \
         key: `stayput certs renew apiserver --force` makes a new one that is closed to them; to \
         keep this one, `chmod 0600 /etc/kubernetes/pki/apiserver.key`"
    );
    assert!(line(true).starts_with("renew: "), "{}", line(true));
    let plan = plan(&renew(&[], false), &wanted, &inventory, NOW);
    assert_eq!(
        changed(&plan),
        ["etcd-server", "kubelet.conf"],
        "a certificate is no secret"
    );
}

#[test]
fn a_certificate_of_the_future_stays() {
    let wanted = wanted();
    let mut inventory = complete(&wanted, FAR, LATER);
    present(&mut inventory, "apiserver").certificate.not_before = NOW + 1;
    assert_eq!(
        of(&renew(&[], false), &wanted, &inventory, "apiserver"),
        "keep: is valid only from 2026-01-01T00:00:01Z on: check this machine's clock"
    );
    let forced = of(
        &renew(&["apiserver"], true),
        &wanted,
        &inventory,
        "apiserver",
    );
    assert_eq!(forced, "renew: by order");
}

#[test]
fn an_authority_that_cannot_sign_is_told_only_when_it_has_to() {
    let wanted = wanted();
    for (ends, want) in [
        (
            LATER,
            "keep: not due: expires in 300d4h; `stayput certs renew apiserver --force` renews it now",
        ),
        (
            SOON,
            "refuse: its authority ca has no key on this machine: issue it where the key is kept, \
             and copy it here",
        ),
    ] {
        let mut inventory = complete(&wanted, FAR, ends);
        present(&mut inventory, "ca").key = KeyState::Absent;
        assert_eq!(
            of(&renew(&[], false), &wanted, &inventory, "apiserver"),
            want
        );
        assert_eq!(
            changed(&plan(&renew(&[], false), &wanted, &inventory, NOW)).is_empty(),
            ends == LATER
        );
    }
    let mut inventory = complete(&wanted, NOW - 1, SOON);
    let line = of(&renew(&[], false), &wanted, &inventory, "apiserver");
    assert!(
        line.starts_with("refuse: its authority ca EXPIRED at 2025-12-31T23:59:59Z"),
        "{line}"
    );
    inventory.found.remove("ca");
    present(&mut inventory, "apiserver").signer = Signer::Unknown;
    let line = of(&renew(&[], false), &wanted, &inventory, "apiserver");
    assert!(
        line.starts_with("refuse: its authority ca is missing"),
        "{line}"
    );
}

#[test]
fn near_the_authoritys_end_nothing_is_renewed_in_vain() {
    let wanted = wanted();
    let ends = NOW + 20 * DAY;
    for (leaf, want) in [
        (
            ends - 1,
            "renew: due: expires in 19d23h; the new one ends with its authority, at \
             2026-01-21T00:00:00Z",
        ),
        (
            ends,
            "keep: its authority ends at 2026-01-21T00:00:00Z: renewing gains nothing; the cluster \
             needs a new authority",
        ),
    ] {
        let inventory = complete(&wanted, ends, leaf);
        assert_eq!(
            of(&renew(&[], false), &wanted, &inventory, "apiserver"),
            want
        );
    }
    let inventory = complete(&wanted, ends, ends);
    assert_eq!(
        of(
            &renew(&["apiserver"], true),
            &wanted,
            &inventory,
            "apiserver"
        ),
        "renew: due: expires in 20d0h; the new one ends with its authority, at 2026-01-21T00:00:00Z"
    );
}

#[test]
fn a_shorter_validity_cuts_nothing_short() {
    let mut wanted = wanted();
    wanted.renew_before = 3 * 365 * 86_400;
    named(&mut wanted, "apiserver").validity = 86_400;
    let mut inventory = complete(&wanted, FAR, SOON);
    assert_eq!(
        of(&renew(&[], false), &wanted, &inventory, "apiserver"),
        "keep: a new one would end at 2026-01-02T00:00:00Z: renewing gains nothing"
    );
    present(&mut inventory, "apiserver").certificate.not_after = NOW + DAY - 1;
    let line = of(&renew(&[], false), &wanted, &inventory, "apiserver");
    assert_eq!(line, "renew: due: expires in 23h59m");
}
