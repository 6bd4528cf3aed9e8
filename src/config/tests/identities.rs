//! Nothing in a cluster file gets a name by which a master speaks, or a group of those names.

use std::path::Path;

use super::{parse, problems, with};
use crate::address::Loopback;
use crate::config::{Cluster, Node, NodeSettings};
use crate::name::Name;

const RESERVED: &str = "is among the names by which masters speak to nodes; choose another one";

#[test]
fn no_name_of_the_file_lies_among_them() {
    for (from, to, place, name) in [
        (
            "{name: api}",
            "{name: stayput}",
            "2:18: endpoint.name",
            "stayput",
        ),
        (
            "{name: api}",
            "{name: api.stayput.prod.k8s.internal}",
            "2:18: endpoint.name",
            "api.stayput",
        ),
        (
            "name: m1",
            "name: stayput",
            "4:12: masters[0].name",
            "stayput",
        ),
        (
            "name: m1",
            "name: m1.stayput.prod.k8s.internal",
            "4:12: masters[0].name",
            "m1.stayput",
        ),
        (
            "10.0.0.1}\n",
            "10.0.0.1}\naliases: {stayput: m1}\n",
            "5:11: aliases.stayput",
            "stayput",
        ),
        (
            "10.0.0.1}\n",
            "10.0.0.1}\naliases: {M2.Stayput.prod.k8s.internal: m1}\n",
            "5:11: aliases.M2.Stayput.prod.k8s.internal",
            "m2.stayput",
        ),
    ] {
        let text = with("").replacen(from, to, 1);
        let want = format!("{place}: '{name}.prod.k8s.internal' {RESERVED}");
        assert_eq!(problems(&text), [want], "{text}");
    }
    let good =
        "aliases: {stayput-1: m1, stayput.example.com: m1, stayput.m1.prod.k8s.internal: api}";
    assert_eq!(problems(&with(good)), [""; 0]);
}

#[test]
fn no_certificate_of_the_operator_s_does() {
    let masters = "masters:\n  - {name: ay.prod.k8s.internal, address: 10.0.0.2}\n";
    let row = |what: &str| {
        format!(
            "certificates: {{extra: [{{id: x, path: pki/x, kind: leaf, authority: ca, usages: [client], {what}}}]}}"
        )
    };
    let names = |names: &str| format!("certificates: {{extraNames: {{apiserver: [{names}]}}}}");
    for (more, said) in [
        (
            names("m1.stayput.prod.k8s.internal"),
            "'m1.stayput.prod.k8s.internal' is among",
        ),
        (
            names("'*.stayput.prod.k8s.internal'"),
            "'*.stayput.prod.k8s.internal' is among",
        ),
        (
            names("'{label}.stayput.{domain}'"),
            "'ay.stayput.prod.k8s.internal' is among",
        ),
        // A master's label makes it one.
        (
            names("'m1.st{label}put.{domain}'"),
            "'m1.stayput.prod.k8s.internal' is among",
        ),
        (
            names("Stayput.prod.k8s.internal"),
            "'Stayput.prod.k8s.internal' is among",
        ),
        (
            row("commonName: m1.stayput.prod.k8s.internal"),
            "'m1.stayput.prod.k8s.internal' is among",
        ),
        (
            row("commonName: '{label}.stayput.{domain}'"),
            "'ay.stayput.prod.k8s.internal' is among",
        ),
        (
            row("commonName: x, names: [m9.stayput.prod.k8s.internal]"),
            "'m9.stayput.prod.k8s.internal' is among",
        ),
        (
            row("commonName: x, organizations: ['stayput:masters']"),
            "'stayput:masters' is a group of stayput's own",
        ),
        (
            row("commonName: x, organizations: ['st{label}put:anything']"),
            "'stayput:anything' is a group of stayput's own",
        ),
        (
            "certificates: {extraNames: {stayput: [a.example.com]}}".into(),
            "certificates.extraNames.stayput: has exactly one name, by which the master speaks; remove it",
        ),
        (
            row("commonName: x").replace("id: x", "id: stayput"),
            "'stayput' is built in; choose another id",
        ),
        (
            row("commonName: x").replace("pki/x", "pki/stayput"),
            "pki/stayput belongs to 'stayput'; choose another path",
        ),
    ] {
        let text = with(&more).replace("masters:\n", masters);
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{more}: {found:?}");
        assert!(found[0].contains(said), "{more}: {found:?}");
        assert!(found[0].contains("certificates.extra"), "{found:?}");
    }
    for good in [
        names("'*.{domain}', 'stayput.{master}', stayput.example.com"),
        row("commonName: 'stayput', organizations: [stayput]"),
    ] {
        assert_eq!(problems(&with(&good)), [""; 0], "{good}");
    }
}

#[test]
fn no_node_is_called_so() {
    let plain = parse(&with("")).unwrap();
    let templates = "certificates: {extraNames: {apiserver: ['m2.stayput.prod.{node}']}, extra: [{id: x, path: pki/x, kind: leaf, authority: ca, commonName: x, usages: [client], organizations: ['{node}:masters']}]}";
    let open = parse(&with(templates)).unwrap();
    for (cluster, master, called, want) in [
        (
            &plain,
            "m1",
            "m2.stayput.prod.k8s.internal",
            Some("is among the names"),
        ),
        (
            &plain,
            "worker",
            "m2.stayput.prod.k8s.internal",
            Some("is among the names"),
        ),
        (
            &plain,
            "m1",
            "stayput.prod.k8s.internal",
            Some("is among the names"),
        ),
        (&plain, "m1", "stayput", None),
        (
            &open,
            "m1",
            "k8s.internal",
            Some("'m2.stayput.prod.k8s.internal' is among the names"),
        ),
        (
            &open,
            "m1",
            "stayput",
            Some("would be in 'stayput:masters'"),
        ),
        (&open, "m1", "node-1", None),
        // A worker is issued nothing.
        (&open, "worker", "stayput", None),
    ] {
        let settings = NodeSettings {
            name: Some(Name::parse(master).unwrap()),
            kubernetes_name: Some(Name::parse(called).unwrap()),
            ..NodeSettings::default()
        };
        let node = Node::determine(settings, "host", cluster, false);
        match (want, node) {
            (None, Ok(_)) => {}
            (Some(want), Err(error)) => {
                let error = error.to_string();
                let start = format!("the node cannot be called {called} in Kubernetes: ");
                assert!(error.starts_with(&start) && error.contains(want), "{error}");
                assert!(
                    error.ends_with("; set 'kubernetesName' in the node file"),
                    "{error}"
                );
            }
            (want, node) => panic!("{called}: {node:?}, not {want:?}"),
        }
    }
}

/// What a master speaks by is longer than its name.
#[test]
fn a_master_s_name_leaves_room() {
    // 253 characters are a name's most, and `.stayput` takes eight of them.
    for (length, fits) in [(245, true), (246, false), (253, false)] {
        let domain = "prod.k8s.internal";
        let label = "a".repeat(59);
        let mut name = format!("{label}.{label}.{label}.{domain}");
        while name.len() + 2 <= length {
            name = format!("b.{name}");
        }
        if name.len() < length {
            name = format!("c{name}");
        }
        assert_eq!(name.len(), length);
        let text = with("").replace("m1,", &format!("{name},"));
        let cluster = Cluster::parse(&text, Path::new("F"), Loopback::Refused);
        assert_eq!(cluster.is_ok(), fits, "{length}");
        if let Err(problems) = cluster {
            let told = problems.to_string();
            assert!(
                told.contains("masters[0].name: is too long; a master speaks as"),
                "{told}"
            );
            assert!(!told.contains('\n'), "{told}");
        }
    }
}
