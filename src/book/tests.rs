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

fn any_event() -> impl Strategy<Value = Event> {
    let master = (1..4u8).prop_map(|n| name(&format!("m{n}.x")));
    let addresses = prop::collection::vec((1..5u8).prop_map(|n| IpAddr::from([10, 0, 0, n])), 0..3);
    let masters = prop::collection::btree_map(master.clone(), addresses.clone(), 0..4);
    prop_oneof![
        masters.prop_map(Event::Declared),
        (master.clone(), addresses.clone())
            .prop_map(|(name, addresses)| Event::Told { name, addresses }),
        (master, addresses, any::<bool>()).prop_map(|(name, addresses, own)| Event::Observed {
            origin: if own {
                Origin::Interface
            } else {
                Origin::Upstream
            },
            name,
            addresses,
        }),
    ]
}

proptest! {
    #[test]
    fn any_history_keeps_the_invariants(
        history in prop::collection::vec((any_event(), 0..3000u64), 0..30),
    ) {
        let mut book = Book::default();
        for (event, now) in history {
            let Ok(next) = reduce(&book, &event, now) else { continue };
            let moved = next.records != book.records;
            prop_assert_eq!(next.generation > book.generation, moved);
            for (name, record) in &next.records {
                prop_assert!(!record.addresses.is_empty());
                if let Some(old) = book.records.get(name) {
                    prop_assert!(record == old || record.version > old.version);
                }
            }
            prop_assert_eq!(&reduce(&next, &event, now).unwrap(), &next, "an event said twice");
            book = next;
        }
    }
}
