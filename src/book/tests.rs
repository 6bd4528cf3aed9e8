use super::*;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn ips(text: &str) -> Vec<IpAddr> {
    text.split_whitespace()
        .map(|t| t.parse().unwrap())
        .collect()
}

fn declared(pairs: &[(&str, &str)]) -> Event {
    Event::Declared(pairs.iter().map(|(n, a)| (name(n), ips(a))).collect())
}

fn told(n: &str, a: &str) -> Event {
    Event::Told {
        name: name(n),
        addresses: ips(a),
    }
}

fn observed(origin: Origin, n: &str, a: &str) -> Event {
    Event::Observed {
        origin,
        name: name(n),
        addresses: ips(a),
    }
}

fn after(events: &[Event]) -> Book {
    events.iter().fold(Book::default(), |book, event| {
        reduce(&book, event, 1000).unwrap_or(book)
    })
}

#[test]
fn a_stale_file_that_is_rendered_again_moves_nothing() {
    let file = declared(&[("m1.x", "10.0.0.1")]);
    let book = after(&[file.clone(), told("m1.x", "10.0.0.9"), file]);
    assert_eq!(book.addresses(&name("m1.x")), ips("10.0.0.9"));
    assert_eq!(book.records[&name("m1.x")].origin, Origin::Event);
}

#[test]
fn a_file_that_says_something_new_is_an_event() {
    let book = after(&[
        declared(&[("m1.x", "10.0.0.1")]),
        told("m1.x", "10.0.0.9"),
        declared(&[("m1.x", "10.0.0.2")]),
    ]);
    assert_eq!(book.addresses(&name("m1.x")), ips("10.0.0.2"));
}

#[test]
fn sources_are_told_apart() {
    let book = after(&[
        declared(&[("m1.x", "10.0.0.1")]),
        observed(Origin::Interface, "m1.x", "10.0.0.2"),
        told("m1.x", "10.0.0.3"),
        observed(Origin::Interface, "m1.x", "10.0.0.2"),
    ]);
    assert_eq!(book.addresses(&name("m1.x")), ips("10.0.0.3"));
}

#[test]
fn a_master_taken_out_and_put_back_is_declared_anew() {
    let both = declared(&[("m1.x", "10.0.0.1"), ("m2.x", "10.0.0.2")]);
    let one = declared(&[("m1.x", "10.0.0.1")]);
    assert!(
        after(&[both.clone(), one.clone()])
            .addresses(&name("m2.x"))
            .is_empty()
    );
    let book = after(&[both.clone(), one, both]);
    assert_eq!(book.addresses(&name("m2.x")), ips("10.0.0.2"));
}

#[test]
fn a_master_that_turns_to_following_keeps_its_addresses() {
    let book = after(&[declared(&[("m1.x", "10.0.0.1")]), declared(&[("m1.x", "")])]);
    assert_eq!(book.addresses(&name("m1.x")), ips("10.0.0.1"));
}

#[test]
fn nothing_empties_the_book() {
    let book = after(&[declared(&[("m1.x", "10.0.0.1")])]);
    for event in [
        declared(&[]),
        told("m1.x", ""),
        observed(Origin::Upstream, "m1.x", ""),
    ] {
        assert!(reduce(&book, &event, 1).is_err(), "{event:?}");
    }
}

#[test]
fn versions_grow_without_a_clock() {
    let first = reduce(&Book::default(), &told("m1.x", "10.0.0.1"), 5000).unwrap();
    let second = reduce(&first, &told("m1.x", "10.0.0.2"), 0).unwrap();
    assert_eq!(second.records[&name("m1.x")].version, 5001);
    assert_eq!(second.generation, 5001);
}

#[test]
fn saying_what_is_known_is_no_change() {
    let book = after(&[declared(&[("m1.x", "10.0.0.1")])]);
    let same = reduce(&book, &told("m1.x", "10.0.0.1 10.0.0.1"), 9999).unwrap();
    assert_eq!(same.generation, book.generation);
    assert!(same.moves_since(&book).is_empty());
}

#[test]
fn shared_addresses_are_seen() {
    let book = after(&[declared(&[("m1.x", "10.0.0.1"), ("m2.x", "10.0.0.1")])]);
    assert_eq!(
        book.shared_addresses()[&"10.0.0.1".parse::<IpAddr>().unwrap()].len(),
        2
    );
}

/// The set of all signed records: an address each, or "removed".
fn recorded(set: &[(&str, &str, u64)]) -> Event {
    recorded_on("", set)
}

/// The same on the node of a master.
fn recorded_on(own: &str, set: &[(&str, &str, u64)]) -> Event {
    let signed = set.iter().map(|(n, a, version)| {
        let says = match *a {
            "removed" => Says::Removed,
            addresses => Says::At(ips(addresses)),
        };
        let version = *version;
        (name(n), Signed { version, says })
    });
    Event::Recorded {
        records: signed.collect(),
        own: (!own.is_empty()).then(|| name(own)),
    }
}

fn moved(n: &str, a: &str) -> Event {
    Event::Moved {
        name: name(n),
        addresses: ips(a),
    }
}

/// Addresses and origin of a master, as text; empty where it has no entry.
fn entry(book: &Book, n: &str) -> String {
    let record = book.records.get(&name(n));
    record.map_or_else(String::new, |record| {
        let addresses: Vec<_> = record.addresses.iter().map(ToString::to_string).collect();
        format!("{} {}", addresses.join(" "), record.origin.as_str())
    })
}

#[test]
fn a_signed_record_goes_before_what_others_say() {
    let file = declared(&[("m1.x", "10.0.0.1"), ("m2.x", "10.0.0.2")]);
    let record = recorded(&[("m1.x", "10.0.0.5", 500)]);
    // What happens, and where m1 is then.
    for (events, want) in [
        (vec![], "10.0.0.5 record"),
        (vec![declared(&[("m1.x", "10.0.0.7")])], "10.0.0.5 record"),
        (vec![declared(&[("m2.x", "10.0.0.2")])], "10.0.0.5 record"),
        (
            vec![observed(Origin::Upstream, "m1.x", "10.0.0.7")],
            "10.0.0.5 record",
        ),
        (vec![told("m1.x", "10.0.0.9")], "10.0.0.9 override"),
        // An override stays until the master speaks for itself, not until its record comes again.
        (
            vec![told("m1.x", "10.0.0.9"), record.clone()],
            "10.0.0.9 override",
        ),
        (
            vec![
                told("m1.x", "10.0.0.9"),
                recorded(&[("m1.x", "10.0.0.4", 499)]),
            ],
            "10.0.0.9 override",
        ),
        (
            vec![
                told("m1.x", "10.0.0.9"),
                recorded(&[("m1.x", "10.0.0.4", 501)]),
            ],
            "10.0.0.4 record",
        ),
        // It says the same again, anew: it has spoken.
        (
            vec![
                told("m1.x", "10.0.0.9"),
                recorded(&[("m1.x", "10.0.0.5", 501)]),
            ],
            "10.0.0.5 record",
        ),
        (
            vec![told("m1.x", "10.0.0.9"), declared(&[("m1.x", "10.0.0.7")])],
            "10.0.0.9 override",
        ),
        // Taken back by telling what the record says.
        (
            vec![told("m1.x", "10.0.0.9"), told("m1.x", "10.0.0.5")],
            "10.0.0.5 record",
        ),
        (
            vec![recorded(&[("m1.x", "10.0.0.5 10.0.0.6 10.0.0.5", 501)])],
            "10.0.0.5 10.0.0.6 record",
        ),
    ] {
        let history = [vec![file.clone(), record.clone()], events].concat();
        assert_eq!(entry(&after(&history), "m1.x"), want, "{history:?}");
    }
}

#[test]
fn an_event_before_the_first_record_lasts_until_that() {
    let book = after(&[declared(&[("m1.x", "10.0.0.1")]), told("m1.x", "10.0.0.9")]);
    assert_eq!(entry(&book, "m1.x"), "10.0.0.9 event");
    let book = reduce(&book, &recorded(&[("m1.x", "10.0.0.5", 5)]), 1000).unwrap();
    assert_eq!(entry(&book, "m1.x"), "10.0.0.5 record");
    assert_eq!(book.records[&name("m1.x")].version, 5);
}

#[test]
fn what_sources_say_beside_a_record_is_remembered() {
    let file = declared(&[("m1.x", "10.0.0.1")]);
    let book = after(&[
        file.clone(),
        recorded(&[("m1.x", "10.0.0.5", 5), ("m9.x", "10.0.0.99", 5)]),
        declared(&[("m1.x", "10.0.0.7")]),
        recorded(&[("m9.x", "10.0.0.99", 5)]),
        declared(&[("m1.x", "10.0.0.7")]),
    ]);
    // The record is not known any more; the file says what it has said before.
    assert_eq!(entry(&book, "m1.x"), "10.0.0.5 record");
    let book = reduce(&book, &file, 1000).unwrap();
    assert_eq!(entry(&book, "m1.x"), "10.0.0.1 cluster-file");
}

#[test]
fn a_master_that_signs_itself_is_added_and_goes_with_its_record() {
    let file = declared(&[("m1.x", "10.0.0.1")]);
    let record = recorded(&[("m4.x", "10.0.0.4", 7)]);
    let book = after(&[file.clone(), record.clone()]);
    assert_eq!(entry(&book, "m4.x"), "10.0.0.4 record");
    assert_eq!(book.added().collect::<Vec<_>>(), [&name("m4.x")]);
    assert_eq!(
        entry(
            &after(&[file.clone(), record.clone(), file.clone()]),
            "m4.x"
        ),
        "10.0.0.4 record"
    );
    // Overridden, and found in the file.
    let book = after(&[file.clone(), record.clone(), told("m4.x", "10.0.0.9")]);
    assert_eq!(entry(&book, "m4.x"), "10.0.0.9 override");
    let both = declared(&[("m1.x", "10.0.0.1"), ("m4.x", "10.0.0.44")]);
    let book = after(&[file.clone(), record.clone(), both]);
    assert_eq!(
        (entry(&book, "m4.x").as_str(), book.added().count()),
        ("10.0.0.4 record", 0)
    );
    for gone in [recorded(&[]), recorded(&[("m4.x", "removed", 8)])] {
        let book = after(&[file.clone(), record.clone(), told("m4.x", "10.0.0.9"), gone]);
        assert_eq!(
            (entry(&book, "m4.x").as_str(), book.added().count()),
            ("", 0)
        );
        assert_eq!(entry(&book, "m1.x"), "10.0.0.1 cluster-file");
    }
}

#[test]
fn a_removal_outranks_everything_until_it_is_lifted() {
    let file = declared(&[("m1.x", "10.0.0.1"), ("m2.x", "10.0.0.2")]);
    let removal = recorded(&[("m2.x", "removed", 7)]);
    let book = after(&[file.clone(), removal.clone()]);
    for event in [
        file.clone(),
        declared(&[("m1.x", "10.0.0.1"), ("m2.x", "10.0.0.22")]),
        observed(Origin::Upstream, "m2.x", "10.0.0.23"),
        observed(Origin::Interface, "m2.x", "10.0.0.24"),
    ] {
        let next = reduce(&book, &event, 2000).unwrap();
        assert_eq!(entry(&next, "m2.x"), "", "{event:?}");
    }
    for event in [told("m2.x", "10.0.0.9"), moved("m2.x", "10.0.0.9")] {
        assert_eq!(
            reduce(&book, &event, 2000),
            Err(Rejection::Removed(name("m2.x")))
        );
    }
    // Lifted: by a new machine's word, or before that by what the nearest source said meanwhile.
    let anew = recorded(&[("m2.x", "10.0.0.8", 8)]);
    assert_eq!(
        entry(&after(&[file.clone(), removal.clone(), anew]), "m2.x"),
        "10.0.0.8 record"
    );
    let lifted = recorded(&[]);
    for (source, want) in [
        (file.clone(), "10.0.0.2 cluster-file"),
        (
            observed(Origin::Upstream, "m2.x", "10.0.0.23"),
            "10.0.0.23 upstream",
        ),
        (
            observed(Origin::Interface, "m2.x", "10.0.0.24"),
            "10.0.0.24 interface",
        ),
    ] {
        let history = [file.clone(), removal.clone(), source, lifted.clone()];
        assert_eq!(entry(&after(&history), "m2.x"), want);
    }
}

#[test]
fn nothing_takes_the_last_master_out() {
    let file = declared(&[("m1.x", "10.0.0.1"), ("m2.x", "10.0.0.2")]);
    let all = recorded(&[("m1.x", "removed", 7), ("m2.x", "removed", 7)]);
    let book = after(std::slice::from_ref(&file));
    assert_eq!(reduce(&book, &all, 1), Err(Rejection::AllRemoved));
    // A third that has signed is left.
    let third = recorded(&[
        ("m1.x", "removed", 7),
        ("m2.x", "removed", 7),
        ("m3.x", "10.0.0.3", 7),
    ]);
    let book = reduce(&book, &third, 1).unwrap();
    assert_eq!(book.records.len(), 1);
    assert_eq!(reduce(&book, &all, 1), Err(Rejection::AllRemoved));
    // Nor does a cluster file with none but removed ones.
    let book = after(&[file, recorded(&[("m1.x", "removed", 7)])]);
    let file = declared(&[("m1.x", "10.0.0.1")]);
    assert_eq!(reduce(&book, &file, 1), Err(Rejection::AllRemoved));
    let empty = recorded(&[("m2.x", "", 9)]);
    assert_eq!(
        reduce(&book, &empty, 1),
        Err(Rejection::NoAddress(name("m2.x")))
    );
}

#[test]
fn of_its_own_master_a_node_knows_better_than_a_record() {
    let file = declared(&[("m1.x", "10.0.0.1"), ("m2.x", "10.0.0.2")]);
    let seen = |a| observed(Origin::Interface, "m1.x", a);
    let signed = |a, version| recorded_on("m1.x", &[("m1.x", a, version)]);
    for (events, want) in [
        // Nobody here has said where it is.
        (vec![signed("10.0.0.5", 5)], "10.0.0.5 record"),
        // It was seen, and is signed afterwards.
        (
            vec![seen("10.0.0.3"), signed("10.0.0.3", 5)],
            "10.0.0.3 record",
        ),
        // It has moved on while its record was on the way.
        (
            vec![seen("10.0.0.3"), seen("10.0.0.4"), signed("10.0.0.3", 5)],
            "10.0.0.4 interface",
        ),
        (
            vec![moved("m1.x", "10.0.0.4"), signed("10.0.0.3", 5)],
            "10.0.0.4 event",
        ),
        (
            vec![signed("10.0.0.5", 5), moved("m1.x", "10.0.0.4")],
            "10.0.0.4 event",
        ),
        (
            vec![signed("10.0.0.5", 5), seen("10.0.0.4")],
            "10.0.0.4 interface",
        ),
        // A clone of this machine, or what it signed before its disk was restored.
        (
            vec![
                seen("10.0.0.3"),
                signed("10.0.0.3", 5),
                signed("10.0.0.8", 2000),
            ],
            "10.0.0.3 interface",
        ),
        (
            vec![
                moved("m1.x", "10.0.0.3"),
                signed("10.0.0.3", 5),
                signed("10.0.0.8", 2000),
            ],
            "10.0.0.3 event",
        ),
        (
            vec![
                seen("10.0.0.3"),
                signed("10.0.0.3", 5),
                signed("10.0.0.8", 2000),
                signed("10.0.0.3", 2001),
            ],
            "10.0.0.3 record",
        ),
        // Removed, moved meanwhile, and put back by an older word of its own.
        (
            vec![
                signed("removed", 5),
                seen("10.0.0.3"),
                signed("10.0.0.5", 6),
            ],
            "10.0.0.3 interface",
        ),
    ] {
        let history = [vec![file.clone()], events].concat();
        assert_eq!(entry(&after(&history), "m1.x"), want, "{history:?}");
    }
}

#[test]
fn what_its_file_or_upstream_says_anew_moves_a_nodes_own_master_and_no_other() {
    let file = |a| declared(&[("m1.x", a), ("m2.x", "10.0.0.2")]);
    let up = |a| observed(Origin::Upstream, "m1.x", a);
    let signed = |a, version| recorded_on("m1.x", &[("m1.x", a, version), ("m2.x", "10.0.0.2", 5)]);
    let record = signed("10.0.0.5", 5);
    for (events, want) in [
        // The file as it was.
        (vec![record.clone(), file("10.0.0.1")], "10.0.0.5 record"),
        (
            vec![record.clone(), file("10.0.0.5 fd00::5")],
            "10.0.0.5 fd00::5 cluster-file",
        ),
        // It stays where it is until that is signed, also when the old record comes again.
        (
            vec![record.clone(), file("10.0.0.7"), record.clone()],
            "10.0.0.7 cluster-file",
        ),
        (
            vec![record.clone(), file("10.0.0.7"), signed("10.0.0.7", 2000)],
            "10.0.0.7 record",
        ),
        (
            vec![
                record.clone(),
                file("10.0.0.7"),
                signed("10.0.0.7", 2000),
                file("10.0.0.7"),
            ],
            "10.0.0.7 record",
        ),
        // An upstream name: what it said last is no news, nor is its first word beside a record.
        (
            vec![up("10.0.0.6"), record.clone(), up("10.0.0.6")],
            "10.0.0.5 record",
        ),
        (vec![record.clone(), up("10.0.0.6")], "10.0.0.5 record"),
        (
            vec![up("10.0.0.6"), record.clone(), up("10.0.0.7")],
            "10.0.0.7 upstream",
        ),
        (
            vec![
                up("10.0.0.6"),
                record.clone(),
                up("10.0.0.7"),
                record.clone(),
            ],
            "10.0.0.7 upstream",
        ),
    ] {
        let history = [vec![file("10.0.0.1")], events].concat();
        let book = after(&history);
        assert_eq!(entry(&book, "m1.x"), want, "{history:?}");
        let (entry, signed) = (&book.records[&name("m1.x")], &book.signed[&name("m1.x")]);
        assert!(entry.origin == Origin::Record || entry.version > signed.version);
    }
    // Of others it only takes notice.
    let book = after(&[
        file("10.0.0.1"),
        record,
        declared(&[("m1.x", "10.0.0.1"), ("m2.x", "10.0.0.22")]),
    ]);
    assert_eq!(entry(&book, "m2.x"), "10.0.0.2 record");
    assert_eq!(entry(&book, "m1.x"), "10.0.0.5 record");
}

#[test]
fn whoever_waits_learns_that_a_record_contradicts_its_master() {
    let book = after(&[
        declared(&[("m1.x", "10.0.0.1")]),
        observed(Origin::Interface, "m1.x", "10.0.0.3"),
        recorded_on("m1.x", &[("m1.x", "10.0.0.3", 1500)]),
    ]);
    let foreign = recorded_on("m1.x", &[("m1.x", "10.0.0.8", 1501)]);
    let next = reduce(&book, &foreign, 1000).unwrap();
    assert!(next.generation > book.generation);
    assert!(next.records[&name("m1.x")].version > 1500);
    assert!(next.moves_since(&book).is_empty());
}

fn any_addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    prop::collection::vec((1..5u8).prop_map(|n| IpAddr::from([10, 0, 0, n])), 0..3)
}

fn any_master() -> impl Strategy<Value = Name> {
    (1..5u8).prop_map(|n| name(&format!("m{n}.x")))
}

/// As the node of m1 hears them.
fn any_records() -> impl Strategy<Value = Event> {
    let says = prop_oneof![
        3 => any_addresses().prop_map(Says::At),
        1 => Just(Says::Removed),
    ];
    let signed = (says, 0..3000u64).prop_map(|(says, version)| Signed { version, says });
    let records = prop::collection::btree_map(any_master(), signed, 0..5);
    records.prop_map(|records| Event::Recorded {
        records,
        own: Some(name("m1.x")),
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let masters = prop::collection::btree_map(any_master(), any_addresses(), 0..4);
    prop_oneof![
        masters.prop_map(Event::Declared),
        (any_master(), any_addresses()).prop_map(|(name, addresses)| if name.label() == OWN {
            Event::Moved { name, addresses }
        } else {
            Event::Told { name, addresses }
        }),
        any_records(),
        any_addresses().prop_map(|addresses| Event::Observed {
            origin: Origin::Interface,
            name: name("m1.x"),
            addresses,
        }),
        (any_master(), any_addresses()).prop_map(|(name, addresses)| Event::Observed {
            origin: Origin::Upstream,
            name,
            addresses,
        }),
    ]
}

/// The master of the node whose book it is.
const OWN: &str = "m1";

/// Who is a master by this book: its cluster file's and those that sign, without the removed ones.
fn roster(book: &Book) -> BTreeSet<&Name> {
    let named = book.declared.iter().chain(book.signed.keys());
    named.filter(|name| !book.is_removed(name)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn any_history_keeps_the_invariants(
        history in prop::collection::vec((any_event(), 0..3000u64), 0..30),
    ) {
        let mut book = Book::default();
        for (event, now) in history {
            let Ok(next) = reduce(&book, &event, now) else { continue };
            if next.records != book.records {
                prop_assert!(next.generation > book.generation);
            } else if roster(&next) == roster(&book) && next.declared == book.declared {
                prop_assert_eq!(next.generation, book.generation);
            }
            if !next.declared.is_empty() {
                prop_assert!(!roster(&next).is_empty(), "a cluster without masters");
            }
            for (name, record) in &next.records {
                prop_assert!(!record.addresses.is_empty());
                prop_assert!(!next.is_removed(name), "{} was removed", name);
                let old = book.records.get(name);
                if old == Some(record) { continue }
                match record.origin {
                    Origin::Record => {
                        prop_assert_eq!(Some(&record.addresses), next.signed_addresses(name));
                        prop_assert_eq!(record.version, next.signed[name].version);
                    }
                    _ => prop_assert!(old.is_none_or(|old| record.version > old.version)),
                }
                let by_record = matches!(event, Event::Recorded { .. });
                if name.label() == OWN && by_record
                    && let Some(old) = old
                    && (book.signed_addresses(name).is_some()
                        || !matches!(old.origin, Origin::ClusterFile | Origin::Upstream))
                {
                    prop_assert_eq!(&record.addresses, &old.addresses, "moved by a record");
                }
            }
            for (name, signed) in &next.signed {
                let Says::At(addresses) = &signed.says else { continue };
                let Some(record) = next.records.get(name) else {
                    panic!("{name} has signed and has no entry");
                };
                if name.label() == OWN { continue }
                match record.origin {
                    Origin::Record => prop_assert_eq!(&record.addresses, addresses),
                    origin => prop_assert_eq!(origin, Origin::Override),
                }
            }
            // A master that was known keeps an address, unless the file or a record takes it out.
            for name in book.records.keys().filter(|name| roster(&next).contains(*name)) {
                prop_assert!(next.records.contains_key(name), "{} is lost", name);
            }
            prop_assert_eq!(&reduce(&next, &event, now).unwrap(), &next, "an event said twice");
            book = next;
        }
    }

    /// The same set of records leads to the same entries of all other masters, whatever was before,
    /// unless an operator has overridden one.
    #[test]
    fn records_lead_all_nodes_to_the_same(
        histories in prop::collection::vec(prop::collection::vec(any_event(), 0..20), 2),
        last in any_records(),
    ) {
        let books: Vec<Book> = histories.iter().filter_map(|history| {
            let history = history.iter().filter(|it| !matches!(it, Event::Told { .. }));
            let events: Vec<Event> = history.cloned().collect();
            reduce(&after(&events), &last, 1000).ok()
        }).collect();
        let signed = |book: &Book| -> Vec<(Name, Record)> {
            let signed = book.records.iter().filter(|(name, _)| book.signed.contains_key(*name));
            let others = signed.filter(|(name, _)| name.label() != OWN);
            others.map(|(name, record)| (name.clone(), record.clone())).collect()
        };
        if let [one, other] = books.as_slice() {
            prop_assert_eq!(signed(one), signed(other));
        }
    }
}
