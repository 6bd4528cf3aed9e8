//! Simulated time: a timer that asks every day, or every hour, for years.

use std::collections::BTreeMap;

use super::{changed, renew};
use crate::pki::inventory::{Found, Inventory};
use crate::pki::plan::model::{DAY, HOUR, NOW, YEAR, carry_out, complete, wanted};
use crate::pki::plan::plan;
use crate::pki::wanted::Wanted;

/// One renewal: when, and when the old one would have ended.
struct Renewed {
    at: i64,
    old_end: i64,
}

fn ends(inventory: &Inventory, id: &str) -> i64 {
    match &inventory.found[id] {
        Found::Present(present) => present.certificate.not_after,
        other => panic!("{id} is {other:?}"),
    }
}

/// Runs the timer `every` so many seconds until the authority ends or `span` is over, and checks
/// that nothing that it looks after ever expires.
fn run(
    wanted: &Wanted,
    mut inventory: Inventory,
    every: i64,
    span: i64,
) -> BTreeMap<String, Vec<Renewed>> {
    let mut renewals: BTreeMap<String, Vec<Renewed>> = BTreeMap::new();
    let authority = ends(&inventory, "ca");
    let untouched = format!("{:?}", [&inventory.found["ca"], &inventory.found["sa"]]);
    for now in (NOW..=(NOW + span).min(authority)).step_by(usize::try_from(every).unwrap()) {
        let decisions = plan(&renew(&[], false), wanted, &inventory, now);
        for id in changed(&decisions) {
            let old_end = ends(&inventory, id);
            let renewed = Renewed { at: now, old_end };
            renewals.entry(id.to_owned()).or_default().push(renewed);
        }
        carry_out(wanted, &mut inventory, &decisions);
        for id in ["apiserver", "etcd-server", "admin.conf", "kubelet.conf"] {
            assert!(ends(&inventory, id) >= now, "{id} expired before {now}");
            assert!(
                ends(&inventory, id) <= authority,
                "{id} outlives its authority"
            );
        }
    }
    assert_eq!(
        untouched,
        format!("{:?}", [&inventory.found["ca"], &inventory.found["sa"]])
    );
    renewals
}

fn days(renewed: &[Renewed]) -> Vec<i64> {
    renewed
        .iter()
        .map(|renewed| (renewed.at - NOW) / DAY)
        .collect()
}

#[test]
fn in_400_days_each_certificate_is_renewed_when_expiry_demands_it() {
    let wanted = wanted();
    let inventory = complete(&wanted, NOW + 9 * YEAR, NOW + YEAR);
    let renewals = run(&wanted, inventory, DAY, 400 * DAY);
    assert_eq!(renewals.len(), 4);
    for (id, renewed) in renewals {
        // At 335 days 30 remain, which is not yet less than the window.
        assert_eq!(days(&renewed), [336], "{id}");
    }
}

#[test]
fn in_11_years_a_certificate_is_renewed_each_336_days_until_its_authority_ends() {
    let wanted = wanted();
    let inventory = complete(&wanted, NOW + 10 * YEAR, NOW + YEAR);
    let renewals = run(&wanted, inventory, DAY, 11 * YEAR);
    for (id, renewed) in renewals {
        let want: Vec<i64> = (1..=10).map(|n| n * 336).collect();
        assert_eq!(days(&renewed), want, "{id}");
        for renewed in &renewed {
            assert!(renewed.old_end - renewed.at < 30 * DAY);
            assert!(renewed.old_end - renewed.at >= 29 * DAY);
        }
    }
}

#[test]
fn short_ones_are_renewed_at_half_of_their_time() {
    let mut wanted = wanted();
    for item in &mut wanted.items {
        item.validity = 86_400;
    }
    let inventory = complete(&wanted, NOW + 20 * DAY, NOW + YEAR / 50);
    let renewals = run(&wanted, inventory, HOUR, 30 * DAY);
    for (id, renewed) in renewals {
        for pair in renewed.windows(2) {
            // Half of a day and the five minutes that it began earlier, at the next full hour.
            assert_eq!(pair[1].at - pair[0].at, 12 * HOUR, "{id}");
        }
        let last = renewed.last().unwrap();
        assert!(
            last.at > NOW + 18 * DAY,
            "{id} is renewed until the authority ends"
        );
    }
}

#[test]
fn an_operator_who_never_set_the_window_right_has_no_storm() {
    for (validity, renew_before, every) in [
        (3_600, 30 * 86_400, 60),
        (86_400, u64::MAX, HOUR),
        (90 * 86_400, 365 * 86_400, DAY),
    ] {
        let mut wanted = wanted();
        wanted.renew_before = renew_before;
        for item in &mut wanted.items {
            item.validity = validity;
        }
        let span = 10 * i64::try_from(validity).unwrap();
        let inventory = complete(&wanted, NOW + 2 * span, NOW);
        for (id, renewed) in run(&wanted, inventory, every, span) {
            assert!(
                renewed.len() <= 22,
                "{id}: {} renewals in ten lifetimes",
                renewed.len()
            );
        }
    }
}
