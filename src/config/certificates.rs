//! The section `certificates`: how long, of which kind, with which names, and what is done afterwards.
//!
//! Names and rows of the operator's own are judged together with the built-in catalogue, so that an id
//! that is mistyped here is found now and not at the next renewal.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::catalogue::{self, listed};
use super::cluster::{AfterRenew, Certificates, Hook, Master};
use super::identities::Said;
use super::parse::command;
use super::read::{self, Fields, Value};
use super::report::{Located, Report};
use super::row::{self, Entry};
use super::scalar;
use crate::pki::catalogue::{Catalogue, Row};
use crate::pki::identity;
use crate::pki::key::KeyType;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// A hundred years: what lies beyond is a slip of the finger.
const FOREVER: u64 = 36_500 * DAY;

/// Of a certificate. It begins five minutes in the past, which must not be most of it.
const VALIDITY: RangeInclusive<u64> = HOUR..=FOREVER;
const RENEW_BEFORE: RangeInclusive<u64> = MINUTE..=FOREVER;
/// The timer runs once a day, and a day that fails must not be the last one.
const DAILY: u64 = 2 * DAY;
/// What ends earlier is a lab's, which has a timer of its own.
const LAB: u64 = 8 * DAY;
/// Of a program of the operator.
const TIMEOUT: RangeInclusive<u64> = 1..=HOUR;
const DEFAULT_TIMEOUT: u64 = 30;

/// The first release whose kubeadm makes P-384 keys.
const P384_SINCE: u32 = 34;

/// Reads the section. `masters` and `minor` are those of the same file, as far as they are good. What
/// certificates are to say by the operator's choice is noted in `said`.
pub(super) fn read(
    file: &Fields<'_>,
    masters: &[Master],
    minor: Option<u32>,
    said: &mut Said,
    report: &mut Report,
) -> Option<Certificates> {
    let known = [
        "renewBefore",
        "validity",
        "authorityValidity",
        "keyType",
        "extraNames",
        "extra",
        "afterRenew",
    ];
    let section = file.section("certificates", &known, report)?;
    let default = Certificates::default();
    let time = |key, default, bounds, example, report: &mut Report| {
        section.or(
            key,
            || default,
            report,
            |value, report| scalar::duration(value, bounds, example, report),
        )
    };
    let renew_before = time(
        "renewBefore",
        default.renew_before,
        RENEW_BEFORE,
        "30d",
        report,
    );
    let validity = time("validity", default.validity, VALIDITY, "365d", report);
    let authority_validity = default.authority_validity;
    let authority_validity = time(
        "authorityValidity",
        authority_validity,
        VALIDITY,
        "3650d",
        report,
    );
    if let (Some(leaf), Some(authority)) = (validity, authority_validity)
        && authority < leaf
    {
        check_lifetimes(&section, leaf, authority, report);
    }
    if let (Some(before), Some(leaf)) = (renew_before, validity)
        && before < DAILY
        && leaf >= LAB
    {
        let [before, least, lab] = [before, DAILY, LAB].map(scalar::written);
        let message = format!(
            "{before} is too short: renewals are tried once a day, and one day that fails must not be the last; use {least} or more (less is for labs, with a validity below {lab})"
        );
        report.add(&section.at("renewBefore"), message);
    }
    let key_type = section.or(
        "keyType",
        || default.key_type,
        report,
        |value, report| value.parsed_by(|text| key_type(text, minor), report),
    );
    let built_in = built_in(&section, report)?;
    let extra = section.or("extra", Vec::new, report, row::entries);
    for entry in extra.iter().flatten() {
        check_addresses(&entry.names, masters, report);
        note(entry, said);
    }
    catalogue::check(&built_in, extra.as_deref().unwrap_or_default(), report);
    // Without those rows their ids are unknown too: one mistake is told once.
    let extra: Vec<Row> = extra?.into_iter().map(|entry: Entry| entry.row).collect();
    let rows = || built_in.iter().chain(&extra);
    let renewed: Vec<&str> = rows()
        .filter(|row| row.authority().is_some())
        .map(|row| row.id.as_str())
        .collect();
    let extra_names = section.or("extraNames", BTreeMap::new, report, |value, report| {
        extra_names(value, &renewed, masters, said, report)
    });
    let after_renew = section.or(
        "afterRenew",
        || default.after_renew,
        report,
        |value, report| after_renew(value, &renewed, report),
    );
    Some(Certificates {
        renew_before: renew_before?,
        validity: validity?,
        authority_validity: authority_validity?,
        key_type: key_type?,
        extra_names: extra_names?,
        extra,
        after_renew: after_renew?,
    })
}

/// Notes what a row of the operator's says.
fn note(entry: &Entry, said: &mut Said) {
    said.names.extend(entry.names.iter().cloned());
    said.names.push(Located {
        value: entry.row.common_name.clone(),
        place: entry.common_name.clone(),
    });
    let organizations = entry.row.organizations.iter().map(|value| Located {
        value: value.clone(),
        place: entry.organizations.clone(),
    });
    said.organizations.extend(organizations);
}

/// The built-in rows, where something of the section depends on them.
fn built_in(section: &Fields<'_>, report: &mut Report) -> Option<Vec<Row>> {
    let dependent = ["extraNames", "extra", "afterRenew"];
    let Some(value) = dependent.iter().find_map(|key| section.get(key)) else {
        return Some(Vec::new());
    };
    let catalogue = report.take(&value.place, Catalogue::builtin())?;
    Some(catalogue.rows)
}

/// Complains about a lifetime that the operator wrote, not about a default.
fn check_lifetimes(section: &Fields<'_>, leaf: u64, authority: u64, report: &mut Report) {
    let (leaf, authority) = (scalar::written(leaf), scalar::written(authority));
    let own = section.at("authorityValidity");
    if own.given {
        let message = format!(
            "{authority} is shorter than validity, {leaf}; no certificate outlives its authority, so give it {leaf} or more"
        );
        report.add(&own, message);
    } else {
        let message = format!(
            "{leaf} is longer than authorityValidity, {authority} by default; no certificate outlives its authority"
        );
        report.add(&section.at("validity"), message);
    }
}

/// A kind of keys by its word; on which releases kubeadm knows it, where that matters.
pub(super) fn key_type(text: &str, minor: Option<u32>) -> Result<KeyType, String> {
    match text {
        "rsa-2048" => Ok(KeyType::Rsa2048),
        "rsa-3072" => Ok(KeyType::Rsa3072),
        "rsa-4096" => Ok(KeyType::Rsa4096),
        "ecdsa-p256" => Ok(KeyType::EcdsaP256),
        "ecdsa-p384" => match minor {
            Some(minor) if minor < P384_SINCE => Err(format!(
                "ecdsa-p384 is known to kubeadm from 1.{P384_SINCE} on, and kubernetes.version is 1.{minor}; use ecdsa-p256"
            )),
            _ => Ok(KeyType::EcdsaP384),
        },
        other => Err(format!(
            "'{other}' is not a type of key; use rsa-2048, rsa-3072, rsa-4096, ecdsa-p256 or ecdsa-p384"
        )),
    }
}

/// Id → more names.
fn extra_names(
    value: &Value<'_>,
    renewed: &[&str],
    masters: &[Master],
    said: &mut Said,
    report: &mut Report,
) -> Option<BTreeMap<String, Vec<String>>> {
    let mut all = BTreeMap::new();
    let mut complete = true;
    for (id, list) in value.entries("names, such as {apiserver: [k8s.example.com]}", report)? {
        let key = list.place.key_itself();
        if !renewed.contains(&id) {
            report.add(&key, unknown_id(id, renewed));
        } else if id == identity::ID {
            let message = "has exactly one name, by which the master speaks; remove it";
            report.add(&key, message);
        } else if all.contains_key(id) {
            report.add(&key, "is given twice; keep one");
        }
        let Some(names) = row::names(&list, report) else {
            complete = false;
            continue;
        };
        check_addresses(names.iter().flatten(), masters, report);
        complete &= names.iter().all(Option::is_some);
        said.names.extend(names.iter().flatten().cloned());
        let names = names.into_iter().flatten().map(|name| name.value);
        all.insert(id.to_owned(), names.collect());
    }
    complete.then_some(all)
}

/// An address that can change has no place in a certificate.
fn check_addresses<'a>(
    names: impl IntoIterator<Item = &'a Located<String>>,
    masters: &[Master],
    report: &mut Report,
) {
    for Located { value, place } in names {
        let Ok(address) = value.parse::<IpAddr>() else {
            continue;
        };
        let address = address.to_canonical();
        if let Some(master) = masters.iter().find(|m| m.addresses.contains(&address)) {
            let message = format!(
                "{address} is an address of {} that can change, and a certificate must not name it; use that master's name, or give it a 'stable' address",
                master.name
            );
            report.add(place, message);
        }
    }
}

fn unknown_id(id: &str, renewed: &[&str]) -> String {
    let known: BTreeSet<&str> = renewed.iter().copied().collect();
    let known: Vec<&str> = known.into_iter().collect();
    match read::nearest(id, &known) {
        Some(nearest) => format!("'{id}' is not issued; did you mean '{nearest}'?"),
        None => format!(
            "'{id}' is neither a leaf nor a kubeconfig; known: {}",
            listed(known)
        ),
    }
}

/// What is done after a renewal, in the order of the file.
fn after_renew(list: &Value<'_>, renewed: &[&str], report: &mut Report) -> Option<Vec<AfterRenew>> {
    let of = "steps, such as staticPods or {command: [/usr/local/sbin/tell, renewed]}";
    let mut steps = Vec::new();
    for item in list.list(of, report)? {
        let step = if item.is_mapping() {
            hook(&item, renewed, report).map(AfterRenew::Program)
        } else {
            item.parsed_by(built_in_step, report)
        };
        if step == Some(AfterRenew::StaticPods) && steps.contains(&step) {
            report.add(&item.place, "is given twice; keep one");
        }
        steps.push(step);
    }
    steps.into_iter().collect()
}

fn built_in_step(text: &str) -> Result<AfterRenew, String> {
    match text {
        "staticPods" => Ok(AfterRenew::StaticPods),
        other => Err(format!(
            "'{other}' is not a step; write staticPods, or {{command: [/usr/local/sbin/tell, renewed]}}"
        )),
    }
}

fn hook(item: &Value<'_>, renewed: &[&str], report: &mut Report) -> Option<Hook> {
    let fields = item.fields(&["command", "certificates", "timeout"], report)?;
    let help = "write a program's absolute path and its arguments";
    let program = fields.required("command", help, report);
    if let Some(empty) = program.filter(|list| list.is_empty_list()) {
        report.add(&empty.place, format!("is empty; {help}"));
    }
    let program = program.and_then(|list| command(list, report));
    let certificates = fields.or("certificates", BTreeSet::new, report, |list, report| {
        ids(list, renewed, report)
    });
    let limit = fields.or(
        "timeout",
        || DEFAULT_TIMEOUT,
        report,
        |value, report| scalar::duration(value, TIMEOUT, "30s", report),
    );
    Some(Hook {
        command: program?,
        certificates: certificates?,
        limit: limit?,
    })
}

/// Ids of what is renewed. An empty list would mean all of them, and say none.
fn ids(list: &Value<'_>, renewed: &[&str], report: &mut Report) -> Option<BTreeSet<String>> {
    if list.is_empty_list() {
        let message = "is empty; name at least one, or leave it out for all";
        report.add(&list.place, message);
        return None;
    }
    let parse = |text: &str| {
        let known = renewed.contains(&text);
        known
            .then(|| text.to_owned())
            .ok_or_else(|| unknown_id(text, renewed))
    };
    let items = list.list("ids, such as [apiserver]", report)?;
    let ids: Vec<_> = items.iter().map(|i| i.parsed_by(parse, report)).collect();
    ids.into_iter().collect()
}
