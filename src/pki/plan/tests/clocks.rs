//! Random clocks, lifetimes and windows.

use proptest::prelude::*;

use super::{changed, renew, renew_without};
use crate::pki::inventory::Found;
use crate::pki::issue::Validity;
use crate::pki::plan::model::{DAY, HOUR, NOW, YEAR, carry_out, complete, present, wanted};
use crate::pki::plan::{Action, plan};
use crate::pki::profile::{Names, Profile, Usages};
use crate::pki::wanted::Wanted;

/// Any time that a certificate can name, and beyond; often one near [`NOW`].
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => NOW - 2 * YEAR..NOW + 2 * YEAR,
        2 => NOW - 600..NOW + 600,
        1 => Just(-631_152_000),
        1 => Just(253_402_300_799),
        1 => any::<i64>(),
    ]
}

/// Seconds as the cluster file gives them: an hour to a hundred years.
fn seconds() -> impl Strategy<Value = u64> {
    prop_oneof![
        3_600..86_400_u64,
        86_400..40_000_000_u64,
        86_400..3_200_000_000_u64
    ]
}

fn with(validity: u64, renew_before: u64) -> Wanted {
    let mut wanted = wanted();
    wanted.renew_before = renew_before;
    for item in &mut wanted.items {
        item.validity = validity;
    }
    wanted
}

proptest! {
    /// Kept while the window's seconds remain; renewed after, if that gains time.
    #[test]
    fn renewed_exactly_within_the_window(
        begins in time(),
        ends in time(),
        authority in time(),
        renew_before in prop_oneof![seconds(), any::<u64>()],
        validity in prop_oneof![seconds(), any::<u64>()],
        now in time(),
    ) {
        let wanted = with(validity, renew_before);
        let mut inventory = complete(&wanted, authority, ends);
        present(&mut inventory, "apiserver").certificate.not_before = begins;
        present(&mut inventory, "ca").certificate.not_before = i64::MIN;
        let decisions = plan(&renew(&["apiserver"], false), &wanted, &inventory, now);
        let remaining = i128::from(ends) - i128::from(now);
        let lifetime = (i128::from(ends) - i128::from(begins)).max(0);
        let window = (lifetime.min(i128::from(i64::MAX)) / 2).min(i128::from(renew_before));
        let due = remaining < window && (remaining < 0 || now >= begins);
        let end = Validity::starting(now, validity).not_after.min(authority);
        match &decisions[0].action {
            Action::Keep => prop_assert!(!due || end <= ends, "{decisions:?}"),
            Action::Renew { validity, profile, .. } => {
                prop_assert!(due, "{decisions:?}");
                prop_assert!(validity.not_after > ends, "gains time");
                prop_assert!(validity.not_after <= authority, "within its authority");
                prop_assert!(validity.not_before <= now);
                prop_assert_eq!(profile, &wanted.items[3].profile);
            }
            Action::Refuse => prop_assert!(due && authority < now, "{decisions:?}"),
            action => prop_assert!(false, "{action:?}"),
        }
    }

    /// A renewal keeps the subject and the usages, and leaves no name out.
    #[test]
    fn a_renewal_keeps_what_the_old_one_said(
        common_name in "[a-z:]{0,12}",
        organizations in prop::collection::vec("[a-z:]{1,8}", 0..3),
        usages in any::<(bool, bool)>(),
        dns in prop::collection::btree_set("[a-d*.]{1,4}|kubernetes", 0..6),
        addresses in prop::collection::vec(any::<std::net::IpAddr>(), 0..4),
        dropped in prop::collection::btree_set("[a-d*.]{1,4}", 0..3),
        force in any::<bool>(),
    ) {
        let wanted = wanted();
        let mut inventory = complete(&wanted, NOW + 9 * YEAR, NOW + DAY);
        let old = Profile {
            common_name,
            organizations,
            usages: Usages { server: usages.0, client: usages.1 },
            names: Names { dns, addresses, ..Names::default() },
            ..Profile::default()
        };
        present(&mut inventory, "apiserver").certificate.profile = old.clone();
        let drop = Names { dns: dropped, ..Names::default() };
        let order = renew_without(&["apiserver"], force, drop.clone());
        let decisions = plan(&order, &wanted, &inventory, NOW);
        let Action::Renew { profile, adds, drops, .. } = &decisions[0].action else {
            panic!("{decisions:?}");
        };
        prop_assert_eq!(&profile.common_name, &old.common_name);
        prop_assert_eq!(&profile.organizations, &old.organizations);
        prop_assert_eq!(profile.usages, old.usages);
        prop_assert!(profile.names.lacks(&wanted.items[3].profile.names).is_empty());
        prop_assert_eq!(&profile.names.lacks(&old.names), drops);
        prop_assert!(drop.lacks(drops).is_empty(), "only what was to be left out");
        prop_assert!(drop.lacks(&profile.names) == profile.names, "all that was to be left out");
        prop_assert_eq!(&old.names.lacks(&profile.names), adds);
        let first_ones = old.names.addresses.first();
        prop_assert!(first_ones.is_none_or(|first| profile.names.addresses[0] == *first));
    }

    /// What was just renewed is not due, however short authority and validity are.
    #[test]
    fn no_second_renewal(
        ends in NOW - YEAR..NOW + 40 * DAY,
        authority in prop_oneof![NOW..NOW + 2 * HOUR, NOW..NOW + 60 * DAY, NOW..NOW + 20 * YEAR],
        renew_before in prop_oneof![seconds(), any::<u64>()],
        validity in seconds(),
        later in prop_oneof![Just(0), 0..HOUR / 2],
    ) {
        let wanted = with(validity, renew_before);
        let mut inventory = complete(&wanted, authority, ends);
        let first = plan(&renew(&[], false), &wanted, &inventory, NOW);
        carry_out(&wanted, &mut inventory, &first);
        let now = (NOW + later).min(authority);
        let second = plan(&renew(&[], false), &wanted, &inventory, now);
        let again: Vec<_> = changed(&second)
            .into_iter()
            .filter(|id| changed(&first).contains(id))
            .collect();
        prop_assert!(again.is_empty(), "{first:?}\n{second:?}");
        if later == 0 {
            prop_assert!(changed(&second).is_empty(), "{second:?}");
        }
    }

    /// `now` is the later of the clock and the newest time seen: a clock that jumps back changes
    /// nothing that was decided.
    #[test]
    fn a_clock_that_jumps_back_changes_nothing(
        ends in NOW..NOW + YEAR,
        clocks in prop::collection::vec(-(20 * YEAR)..DAY, 1..40),
    ) {
        let wanted = wanted();
        let mut inventory = complete(&wanted, NOW + 9 * YEAR, ends);
        let mut seen = NOW;
        for jump in clocks {
            let now = seen.max(seen + jump);
            let at_best = plan(&renew(&[], false), &wanted, &inventory, seen);
            let decisions = plan(&renew(&[], false), &wanted, &inventory, now);
            if jump <= 0 {
                prop_assert_eq!(&decisions, &at_best);
            }
            carry_out(&wanted, &mut inventory, &decisions);
            for found in inventory.found.values() {
                if let Found::Present(present) = found {
                    prop_assert!(present.certificate.not_before <= now);
                }
            }
            seen = now;
        }
    }
}
