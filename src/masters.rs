//! The masters that count: those of the cluster file, without the ones that signed records have taken
//! out, and with the ones that only their own signed records name.
//!
//! This is made once, where a [`View`] is: every surface and command sees these masters.

use std::sync::Arc;

use crate::book::{Book, Origin, Rejection};
use crate::clock;
use crate::config::Cluster;
use crate::config::cluster::Master;
use crate::config::routes::Mode;
use crate::name::Name;
use crate::view::View;

/// The cluster file as signed records have changed it. Added masters follow those of the file, in the
/// order of names; they have neither a stable address nor aliases.
pub fn effective(file: &Arc<Cluster>, book: &Book) -> Arc<Cluster> {
    let is_removed = |master: &Master| book.is_removed(&master.name);
    let mut added = added(file, book).peekable();
    if added.peek().is_none() && !file.masters.iter().any(is_removed) {
        return file.clone();
    }
    let mut cluster = Cluster::clone(file);
    cluster.masters.retain(|master| !is_removed(master));
    cluster.add(added);
    Arc::new(cluster)
}

/// Refuses a book that leaves nobody: who is added under a name that cannot be a master's is none.
pub fn must_remain(file: &Arc<Cluster>, book: &Book) -> Result<(), Rejection> {
    if effective(file, book).masters.is_empty() {
        return Err(Rejection::AllRemoved);
    }
    Ok(())
}

fn added<'a>(file: &'a Cluster, book: &'a Book) -> impl Iterator<Item = &'a Name> {
    let strangers = book.added().filter(|name| file.master(name).is_none());
    strangers.filter(|name| file.refuses(name).is_none())
}

/// What signed records say that cannot be followed, or that is about this node itself; one line each.
pub fn problems(view: &View) -> Vec<String> {
    let cluster = &view.cluster;
    let refused = view.book.added().filter_map(|name| {
        let why = cluster.refuses(name)?;
        Some(format!("a signed record of {name} adds no master: {why}"))
    });
    let own = view.node.master().filter(|own| view.book.is_removed(own));
    let removed = own.map(|own| {
        format!(
            "this node's own master {own} was removed by a signed record, and is in no node's book any more; for a new machine of that name run `stayput replace {}` on another master",
            own.label()
        )
    });
    let direct = cluster.routes.mode == Mode::Direct;
    let added = cluster.masters.iter().filter(|master| {
        direct && master.stable.is_none() && !view.book.declared.contains(&master.name)
    });
    let unstable = added.map(|master| {
        format!(
            "{} was added by its signed record and has no stable address on this node: add its line, with `stable`, to this node's cluster file",
            master.name
        )
    });
    refused.chain(removed).chain(unstable).collect()
}

/// That what an operator said of a master is an override, and until when; `None` where it is none.
pub fn overridden(book: &Book, master: &Name) -> Option<String> {
    let label = master.label();
    let current = book.records.get(master)?;
    if let (Origin::Override, Some(signed)) = (current.origin, book.signed.get(master)) {
        let (since, said) = (
            clock::rfc3339(signed.version),
            book.signed_addresses(master)?,
        );
        let said: Vec<String> = said.iter().map(ToString::to_string).collect();
        return Some(format!(
            "{label} is overridden on this node only, until it speaks for itself: its signed record of {since} says {}",
            said.join(" ")
        ));
    }
    // Where nobody signs, an event is all that there is.
    let unsigned = current.origin == Origin::Event && !book.signed.is_empty();
    unsigned.then(|| {
        format!(
            "{label} has no signed record: this is an override on this node only, until it has one"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{Event, Says, Signed, reduce};
    use crate::config::node::Role;
    use crate::sample;

    fn name(label: &str) -> Name {
        Name::parse(&format!("{label}.k8s.internal")).unwrap()
    }

    /// Three masters of the file, and records of these masters by full name; "" says that it was removed.
    fn recorded(records: &[(&str, &str)]) -> View {
        let view = sample::three([1, 2, 3]);
        let records = records.iter().map(|(name, address)| {
            let says = match *address {
                "" => Says::Removed,
                address => Says::At(sample::ips(&[address])),
            };
            (Name::parse(name).unwrap(), Signed { version: 7, says })
        });
        let event = Event::Recorded {
            records: records.collect(),
            own: None,
        };
        let book = reduce(&view.book, &event, sample::TOLD).unwrap();
        View::new(view.cluster, view.node, book.into(), false)
    }

    fn names(view: &View) -> Vec<&str> {
        let masters = view.cluster.masters.iter();
        masters.map(|master| master.name.label()).collect()
    }

    #[test]
    fn records_add_masters_behind_those_of_the_file_and_take_them_out() {
        let view = recorded(&[
            ("b.k8s.internal", "10.77.0.9"),
            ("a.zone.k8s.internal", "10.77.0.8"),
            ("master-2.k8s.internal", ""),
            ("master-3.k8s.internal", "10.77.0.33"),
            ("gone.k8s.internal", ""),
        ]);
        assert_eq!(names(&view), ["master-1", "master-3", "a", "b"]);
        assert_eq!(view.addresses(&name("b")), sample::ips(&["10.77.0.9"]));
        assert_eq!(
            view.addresses(&name("master-3")),
            sample::ips(&["10.77.0.33"])
        );
        assert!(
            view.entries()
                .iter()
                .all(|entry| entry.name != name("master-2"))
        );
        assert_eq!(problems(&view), [""; 0]);
    }

    #[test]
    fn without_records_the_cluster_file_is_taken_as_it_is() {
        let view = sample::three([1, 2, 3]);
        let cluster = effective(&view.cluster, &view.book);
        assert!(Arc::ptr_eq(&cluster, &view.cluster));
        let view = recorded(&[("master-1.k8s.internal", "10.77.0.1")]);
        assert_eq!(names(&view), ["master-1", "master-2", "master-3"]);
    }

    #[test]
    fn a_name_that_is_taken_is_refused_and_told() {
        for (taken, why) in [
            ("api.k8s.internal", "is the endpoint's name"),
            ("old.k8s.internal", "as an alias of master-1.k8s.internal"),
            ("ns.k8s.internal", "is the responder's own name"),
            (
                "localhost.k8s.internal",
                "has its own meaning in every hosts file",
            ),
            ("m.example.com", "is not below k8s.internal"),
            ("k8s.internal", "is not below k8s.internal"),
        ] {
            let view = recorded(&[(taken, "10.77.0.9")]);
            assert_eq!(
                names(&view),
                ["master-1", "master-2", "master-3"],
                "{taken}"
            );
            let told = problems(&view);
            assert_eq!(told.len(), 1, "{taken}");
            assert!(told[0].contains(why) && told[0].contains(taken), "{told:?}");
            let shown = view.entries().into_iter().map(|entry| entry.addresses);
            assert!(
                !shown
                    .flatten()
                    .any(|it| it == sample::ips(&["10.77.0.9"])[0])
            );
        }
    }

    #[test]
    fn who_cannot_be_a_master_is_not_the_last_one() {
        let removed = ["master-1", "master-2", "master-3"].map(|it| format!("{it}.k8s.internal"));
        for (last, remains) in [("api.k8s.internal", false), ("master-4.k8s.internal", true)] {
            let mut records: Vec<_> = removed.iter().map(|name| (name.as_str(), "")).collect();
            records.push((last, "10.77.0.9"));
            let file = sample::three([1, 2, 3]).cluster;
            let view = recorded(&records);
            assert_eq!(must_remain(&file, &view.book).is_ok(), remains, "{last}");
            // Made from a view's cluster it is the same again.
            assert_eq!(effective(&view.cluster, &view.book), view.cluster);
        }
    }

    #[test]
    fn a_removed_master_says_so_itself_and_is_not_complete_any_more() {
        let view = recorded(&[("master-2.k8s.internal", "")]);
        let mut node = crate::config::Node::clone(&view.node);
        node.role = Role::Master(name("master-2"));
        let view = View::new(view.cluster.clone(), node.into(), view.book.clone(), true);
        assert!(!view.provisioned);
        let told = problems(&view);
        assert!(told[0].contains("stayput replace master-2"), "{told:?}");
        // Its HAProxy leads to the others, as a worker's does.
        let servers = crate::surface::haproxy::render::servers(&view);
        let servers: Vec<_> = servers.iter().map(|server| server.label.as_str()).collect();
        assert_eq!(servers, ["master-1", "master-3"]);
    }

    #[test]
    fn with_direct_routes_an_added_master_without_a_stable_address_is_told() {
        let mut view = recorded(&[("b.k8s.internal", "10.77.0.9")]);
        assert_eq!(problems(&view), [""; 0]);
        let mut cluster = Cluster::clone(&view.cluster);
        cluster.routes.mode = Mode::Direct;
        view.cluster = cluster.into();
        let told = problems(&view);
        // Those of the file are checked when it is read.
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("b.k8s.internal was added"), "{told:?}");
        assert!(told[0].contains("`stable`"), "{told:?}");
    }

    #[test]
    fn an_override_says_until_when() {
        let view = recorded(&[("master-3.k8s.internal", "10.77.0.33")]);
        let told = |label: &str, address: &str| {
            let event = Event::Told {
                name: name(label),
                addresses: sample::ips(&[address]),
            };
            let book = reduce(&view.book, &event, sample::TOLD).unwrap();
            overridden(&book, &name(label)).unwrap_or_default()
        };
        assert_eq!(
            told("master-3", "10.77.0.99"),
            "master-3 is overridden on this node only, until it speaks for itself: its signed record of 1970-01-01T00:00:07Z says 10.77.0.33"
        );
        assert!(told("master-1", "10.77.0.99").contains("until it has one"));
        // It says what the record says.
        assert_eq!(told("master-3", "10.77.0.33"), "");
    }
}
