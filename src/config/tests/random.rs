//! Random files: no panic, and a place for every problem.

use std::fmt::Write;
use std::path::Path;

use proptest::prelude::*;

use super::{parse, problems, with};
use crate::config::NodeSettings;
use crate::yaml::{Location, Tree};

/// Values of every kind at keys that exist, so that random files get past the first check.
fn tree() -> impl Strategy<Value = Tree> {
    let texts = prop_oneof![
        Just("api"),
        Just("m1"),
        Just("10.0.0.1"),
        Just("fd77::1"),
        Just("127.0.0.1:53"),
        Just("/etc/hosts"),
        Just("a.example.com"),
        Just("prod.k8s.internal"),
        Just("1.34"),
        Just("30d"),
        Just("apiserver"),
        Just("{stable}"),
        Just("leaf"),
        Just("pki/metrics"),
        Just("staticPods"),
        Just(""),
    ]
    .prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        any::<i64>().prop_map(|n| Tree::Integer(n.into())),
        (0..70_000_i128).prop_map(Tree::Integer),
        texts.prop_map(Tree::String),
        "[ -~ü\n\t]{0,12}".prop_map(Tree::String),
    ];
    let key = prop_oneof![
        Just("domain"),
        Just("endpoint"),
        Just("masters"),
        Just("aliases"),
        Just("dns"),
        Just("name"),
        Just("address"),
        Just("addresses"),
        Just("follow"),
        Just("listen"),
        Just("kubernetes"),
        Just("haproxy"),
        Just("reload"),
        Just("hosts"),
        Just("path"),
        Just("stable"),
        Just("certificates"),
        Just("validity"),
        Just("extraNames"),
        Just("apiserver"),
        Just("extra"),
        Just("id"),
        Just("kind"),
        Just("names"),
        Just("users"),
        Just("afterRenew"),
        Just("command"),
        Just("peers"),
        Just("seeds"),
        Just("mode"),
        Just("keyType"),
        Just("a.example.com"),
    ]
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::Sequence),
            prop::collection::vec((key.clone(), inner), 0..8).prop_map(Tree::Mapping),
        ]
    })
}

/// A tree as YAML in flow style (JSON is YAML), with repeated keys kept.
fn flow(tree: &Tree) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    match tree {
        Tree::Null => "null".into(),
        Tree::Bool(value) => value.to_string(),
        Tree::Integer(value) => value.to_string(),
        Tree::Float(value) => format!("{value:?}"),
        Tree::String(text) => quoted(text),
        Tree::Sequence(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Tree::Mapping(entries) => {
            let entry = |(key, value): &(String, Tree)| format!("{}: {}", quoted(key), flow(value));
            let entries: Vec<String> = entries.iter().map(entry).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

proptest! {
    #[test]
    fn random_text_never_panics(text in "\\PC{0,200}|[-{}\\[\\]:,#&*!|>'\"%@` \n\ta-z0-9]{0,120}") {
        let _ = parse(&text);
        let _ = NodeSettings::parse(&text, Path::new("F"));
    }

    #[test]
    fn a_random_tree_is_good_or_every_problem_has_its_place(tree in tree()) {
        let text = flow(&tree);
        prop_assert_eq!(crate::yaml::parse(&text).unwrap(), tree.clone());
        if let Err(problems) = parse(&text) {
            prop_assert!(problems.iter().count() > 0);
            for problem in &problems {
                prop_assert!(matches!(problem.location, Some(Location { line: 1, .. })), "{} in {}", problem, text);
                prop_assert!(!problem.to_string().contains('\n'));
            }
        }
    }

    #[test]
    fn a_random_section_is_good_or_every_problem_has_its_place(tree in tree()) {
        let text = with(&format!("certificates: {}", flow(&tree)));
        if let Err(problems) = parse(&text) {
            for problem in &problems {
                prop_assert!(matches!(problem.location, Some(Location { line: 5, .. })), "{} in {}", problem, text);
            }
        }
    }

    #[test]
    fn a_random_section_of_peers_is_good_or_every_problem_has_its_place(tree in tree()) {
        let text = with(&format!("peers: {}", flow(&tree)));
        if let Err(problems) = parse(&text) {
            for problem in &problems {
                prop_assert!(matches!(problem.location, Some(Location { line: 5, .. })), "{} in {}", problem, text);
            }
        }
    }

    /// What is wrong in one master is told at its line, wherever it stands.
    #[test]
    fn the_line_is_the_mistake_s(before in 0_usize..20, after in 0_usize..20) {
        let mut text = String::from("domain: a.internal\nendpoint: {name: api}\nmasters:\n");
        for n in 0..before {
            writeln!(text, "  - name: m{n}\n    address: 10.1.0.{n}").unwrap();
        }
        writeln!(text, "  - name: bad\n    address: 10.1.0.300").unwrap();
        for n in 0..after {
            writeln!(text, "  - name: n{n}\n    address: 10.2.0.{n}").unwrap();
        }
        let line = 3 + 2 * before + 2;
        let want = format!("{line}:14: masters[{before}].address: '10.1.0.300' is not");
        let found = problems(&text);
        prop_assert_eq!(found.len(), 1);
        prop_assert!(found[0].starts_with(&want), "{:?}", found);
    }
}
