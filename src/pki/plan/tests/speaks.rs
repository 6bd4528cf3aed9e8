//! The pair by which a master speaks: made where it is missing, and always exactly what is wanted.

use std::path::PathBuf;

use super::{INIT, lines, of, renew, renew_without};
use crate::pki::identity::ID;
use crate::pki::inventory::{Found, KeyState, Signer};
use crate::pki::issue::Validity;
use crate::pki::plan::model::{
    DAY, NOW, YEAR, carry_out, complete, names, present, wanted_to_speak,
};
use crate::pki::plan::{Action, plan};
use crate::pki::profile::Names;

const FAR: i64 = NOW + 9 * YEAR;
const LATER: i64 = NOW + 300 * DAY;
const SOON: i64 = NOW + 12 * DAY;

/// A master of before: a newer stayput's timer makes it without a person, and only it.
#[test]
fn where_it_is_missing_a_renewal_issues_it() {
    let wanted = wanted_to_speak();
    for order in [
        renew(&[], false),
        renew(&[ID], false),
        renew(&[ID], true),
        INIT,
    ] {
        let mut inventory = complete(&wanted, FAR, LATER);
        inventory.found.insert(ID.into(), Found::Absent);
        let decisions = plan(&order, &wanted, &inventory, NOW);
        let own = decisions.iter().find(|it| it.id == ID).unwrap();
        let item = wanted.items.iter().find(|item| item.id == ID).unwrap();
        let want = Action::Issue {
            profile: item.profile.clone(),
            validity: Validity::starting(NOW, item.validity),
        };
        assert_eq!(own.action, want, "{order:?}");
        assert_eq!(own.row().reason, "was missing");
        let others = decisions.iter().filter(|it| it.id != ID);
        assert!(others.map(|it| &it.action).all(|it| *it == Action::Keep));
        // And then there is nothing to do.
        carry_out(&wanted, &mut inventory, &decisions);
        let next = plan(&renew(&[], false), &wanted, &inventory, NOW);
        assert!(next.iter().all(|it| it.action == Action::Keep), "{next:?}");
    }
    // An order about another one is not about it.
    let mut inventory = complete(&wanted, FAR, LATER);
    inventory.found.insert(ID.into(), Found::Absent);
    let decisions = plan(&renew(&["apiserver"], true), &wanted, &inventory, NOW);
    assert_eq!(lines(&decisions), ["apiserver renew: by order"]);
}

#[test]
fn where_nobody_can_sign_it_that_is_said() {
    let wanted = wanted_to_speak();
    let away = "refuse: its authority ca has no key on this machine: issue it where the key is kept, and copy it here";
    let mut inventory = complete(&wanted, FAR, LATER);
    inventory.found.insert(ID.into(), Found::Absent);
    present(&mut inventory, "ca").key = KeyState::Absent;
    for order in [renew(&[], false), INIT] {
        assert_eq!(of(&order, &wanted, &inventory, ID), away);
        let decisions = plan(&order, &wanted, &inventory, NOW);
        let others = decisions.iter().filter(|it| it.id != ID);
        assert!(others.map(|it| &it.action).all(|it| *it == Action::Keep));
    }
    inventory.found.insert("ca".into(), Found::Absent);
    let line = of(&renew(&[], false), &wanted, &inventory, ID);
    assert_eq!(
        line,
        "refuse: its authority ca is missing: copy it from another master first"
    );
}

/// What is broken is looked at by a person, as of any other.
#[test]
fn half_a_pair_and_a_link_stay_what_they_are() {
    let wanted = wanted_to_speak();
    let mut inventory = complete(&wanted, FAR, LATER);
    inventory.found.insert(
        ID.into(),
        Found::Half {
            present: PathBuf::from("/etc/kubernetes/pki/stayput.key"),
            missing: PathBuf::from("/etc/kubernetes/pki/stayput.crt"),
        },
    );
    let line = of(&renew(&[], false), &wanted, &inventory, ID);
    assert!(
        line.starts_with("refuse: /etc/kubernetes/pki/stayput.key is there without"),
        "{line}"
    );
    assert_eq!(
        of(&renew(&[ID], true), &wanted, &inventory, ID),
        "renew: by order"
    );

    inventory.found.insert(ID.into(), Found::Absent);
    let linked = PathBuf::from("/etc/kubernetes/pki/stayput.crt");
    inventory.links.insert(ID.into(), linked);
    let line = of(&renew(&[], false), &wanted, &inventory, ID);
    assert!(
        line.starts_with("refuse: /etc/kubernetes/pki/stayput.crt is a symbolic link"),
        "{line}"
    );
}

/// Others keep what their old ones said. This one says one name, whatever the old one said.
#[test]
fn a_renewal_gives_it_exactly_what_is_wanted() {
    let wanted = wanted_to_speak();
    let item = wanted.items.iter().find(|item| item.id == ID).unwrap();
    for (ends, order) in [(SOON, renew(&[], false)), (LATER, renew(&[ID], true))] {
        for signer in [Signer::Ours, Signer::Foreign("CN=other".into())] {
            let mut inventory = complete(&wanted, FAR, ends);
            let due_and_foreign = ends == SOON && signer != Signer::Ours;
            let old = present(&mut inventory, ID);
            old.signer = signer;
            let said = &mut old.certificate.profile;
            said.common_name = "master-9.stayput.k8s.internal".into();
            said.organizations = vec!["system:masters".into()];
            said.names = names(&["master-9.stayput.k8s.internal", "10.0.0.7"]);
            said.usages.server = false;
            let decisions = plan(&order, &wanted, &inventory, NOW);
            let own = decisions.iter().find(|it| it.id == ID).unwrap();
            match &own.action {
                Action::Renew { profile, .. } => assert_eq!(*profile, item.profile),
                // Somebody else's on purpose, perhaps, as of any other.
                Action::Refuse if due_and_foreign => continue,
                other => panic!("{other:?}"),
            }
            let row = own.row();
            assert_eq!(row.adds, ["master-1.stayput.k8s.internal"]);
            assert_eq!(row.drops, ["master-9.stayput.k8s.internal", "10.0.0.7"]);
        }
    }
    let drop: Names = names(&["master-1.stayput.k8s.internal"]);
    let inventory = complete(&wanted, FAR, LATER);
    let line = of(&renew_without(&[ID], true, drop), &wanted, &inventory, ID);
    assert!(
        line.starts_with("refuse: cannot leave out master-1.stayput"),
        "{line}"
    );
}
