use proptest::prelude::*;

use super::*;
use crate::kubeadm::annotations::APISERVER_ENDPOINT as ENDPOINT;

const APISERVER: &str =
    include_str!("../../../tests/kubeadm/golden/stock-1.20.2/manifests/kube-apiserver.yaml");
const ETCD: &str = include_str!("../../../tests/kubeadm/golden/stock-1.20.2/manifests/etcd.yaml");

fn read(text: &str) -> Manifest {
    Manifest::parse(text).unwrap()
}

fn flag(name: &str, value: &str) -> Edit {
    Edit::Flag {
        name: name.into(),
        value: value.into(),
    }
}

fn annotation(key: &str, value: &str) -> Edit {
    Edit::Annotation {
        key: key.into(),
        value: value.into(),
    }
}

fn probe(probe: &str, host: &str) -> Edit {
    Edit::ProbeHost {
        probe: probe.into(),
        host: host.into(),
    }
}

/// `value` and `line` of a place, as they are found.
#[expect(clippy::unnecessary_wraps, reason = "what is looked for is an Option")]
fn at(value: &str, line: usize) -> Option<Located> {
    Some(Located {
        value: value.into(),
        line,
    })
}

#[test]
fn kubeadm_s_manifests_say_what_they_say() {
    let apiserver = read(APISERVER);
    assert_eq!(apiserver.flag("advertise-address"), at("10.77.0.11", 16));
    assert_eq!(apiserver.flag("address"), None);
    assert_eq!(apiserver.annotation(ENDPOINT), at("10.77.0.11:6443", 5));
    assert_eq!(apiserver.image(), Some("k8s.gcr.io/kube-apiserver:v1.20.2"));
    let probes: Vec<_> = apiserver
        .probe_hosts()
        .into_iter()
        .map(|probe| (probe.probe, probe.host, probe.line))
        .collect();
    let host = || "10.77.0.11".to_owned();
    assert_eq!(
        probes,
        [
            ("livenessProbe", host(), 49),
            ("readinessProbe", host(), 60),
            ("startupProbe", host(), 72)
        ]
    );
    let etcd = read(ETCD);
    let listen = "https://127.0.0.1:2379,https://10.77.0.11:2379";
    assert_eq!(etcd.flag("listen-client-urls"), at(listen, 23));
    assert_eq!(etcd.env("no_proxy"), None);
}

/// A pod with these lines in its container.
fn pod(container: &str) -> String {
    format!("kind: Pod\nspec:\n  containers:\n  - name: x\n{container}")
}

#[test]
fn flags_are_read_as_go_reads_them() {
    for (container, want) in [
        ("    command: [etcd, --a=1]\n", at("1", 5)),
        ("    command: [etcd, --a, '1']\n", at("1", 5)),
        ("    command: [etcd, -a=1]\n", at("1", 5)),
        (
            "    command:\n    - etcd\n    - --a=1\n    - --a=2\n",
            at("2", 8),
        ),
        (
            "    command: [etcd, --a=1]\n    args: [--a=2]\n",
            at("2", 6),
        ),
        (
            "    args: [--a=2]\n    command: [etcd, --a=1]\n",
            at("2", 5),
        ),
        ("    args:\n    - --a\n    - \"1\"\n", at("1", 7)),
        ("    command: [etcd, --, --a=1]\n", None),
        ("    command: [etcd, --ab=1, --a-b=2, a=3]\n", None),
        ("    command: [--a=1]\n", None),
        ("    command: [etcd, --a]\n", None),
        ("    command: [etcd, --a=]\n", at("", 5)),
        ("    image: y\n", None),
    ] {
        assert_eq!(read(&pod(container)).flag("a"), want, "{container}");
    }
    // etcd passes over what stands there already.
    for (second, want) in [("x", "x,y"), ("z", "z"), ("x,y,z", "x,y,z")] {
        let text = format!(
            "    command: [etcd, '--listen-peer-urls=x,y', '--listen-peer-urls={second}']\n"
        );
        assert_eq!(read(&pod(&text)).flag("listen-peer-urls"), at(want, 5));
    }
    let underscored = pod("    command: [x, --advertise_address=1]\n");
    assert_eq!(read(&underscored).flag("advertise-address"), at("1", 5));
}

#[test]
fn the_environment_is_read() {
    let text = pod("    env:\n    - {name: a, value: x}\n    - name: b\n      value: y\n");
    assert_eq!(read(&text).env("b"), at("y", 8));
    assert_eq!(read(&text).env("c"), None);
}

#[test]
fn an_edit_changes_its_value_and_nothing_else() {
    let edits = [
        flag("advertise-address", "10.88.0.11"),
        annotation(ENDPOINT, "10.88.0.11:6443"),
        probe("livenessProbe", "10.88.0.11"),
        probe("readinessProbe", "10.88.0.11"),
        probe("startupProbe", "10.88.0.11"),
    ];
    let want = APISERVER.replace("10.77.0.11", "10.88.0.11");
    assert_eq!(read(APISERVER).with(&edits).unwrap(), want);
    assert_eq!(read(&want).with(&edits).unwrap(), want);
    assert_eq!(read(APISERVER).with(&[]).unwrap(), APISERVER);
}

#[test]
fn every_style_is_kept() {
    for (old, new) in [
        (
            "    command: [x, --a=1, --b=2] # why\n",
            "    command: [x, --a=9, --b=2] # why\n",
        ),
        (
            "    command: [x, \"--a=1\"]\n",
            "    command: [x, \"--a=9\"]\n",
        ),
        ("    command: [x, '--a=1']\n", "    command: [x, '--a=9']\n"),
        (
            "    command:\n    - x\n    -   --a=1   # one\n",
            "    command:\n    - x\n    -   --a=9   # one\n",
        ),
        (
            "    command:\n    - x\n    - '--b=it''s'\n    - --a\n    - '1'\n",
            "    command:\n    - x\n    - '--b=it''s'\n    - --a\n    - '9'\n",
        ),
        (
            "    command: [x, --a=1]\n    args: ['--a=1']\n",
            "    command: [x, --a=1]\n    args: ['--a=9']\n",
        ),
        (
            "    command:\r\n    - x\r\n    - --a=1\r\n",
            "    command:\r\n    - x\r\n    - --a=9\r\n",
        ),
        // Absent: behind the last word.
        (
            "    command:\n    - x # x\n    image: y\n",
            "    command:\n    - x # x\n    - --a=9\n    image: y\n",
        ),
        (
            "    command:\r\n      - \"x\"\r\n",
            "    command:\r\n      - \"x\"\r\n      - \"--a=9\"\r\n",
        ),
        (
            "    command:\n    - x",
            "    command:\n    - x\n    - --a=9",
        ),
        (
            "    command: [x, 'y']\n",
            "    command: [x, 'y', '--a=9']\n",
        ),
        ("    args: [--b=1]\n", "    args: [--b=1, --a=9]\n"),
    ] {
        let outcome = read(&pod(old)).with(&[flag("a", "9")]).unwrap();
        assert_eq!(outcome, pod(new));
    }
}

#[test]
fn a_value_that_its_style_cannot_hold_is_quoted() {
    let text = pod("    command: [x, --a=1]\n");
    let outcome = read(&text)
        .with(&[flag("a", "m=https://n:1,o=https://p:1")])
        .unwrap();
    assert_eq!(
        outcome,
        pod("    command: [x, \"--a=m=https://n:1,o=https://p:1\"]\n")
    );
}

#[test]
fn an_annotation_is_added_behind_the_others() {
    for (old, new) in [
        (
            "metadata:\n  annotations:\n    b: 'x'\n  name: y\n",
            "metadata:\n  annotations:\n    b: 'x'\n    a: '9'\n  name: y\n",
        ),
        (
            "metadata: {annotations: {b: x}}\n",
            "metadata: {annotations: {b: x, \"a\": \"9\"}}\n",
        ),
    ] {
        let text = |head: &str| format!("{head}{}", pod("    image: y\n"));
        let outcome = read(&text(old)).with(&[annotation("a", "9")]).unwrap();
        assert_eq!(outcome, text(new));
    }
}

#[test]
fn what_cannot_be_changed_alone_is_refused() {
    for (container, edit, want) in [
        (
            "    command: &c [x, --a=1]\n    args: *c\n",
            flag("a", "2"),
            "line 5: flag --a cannot be changed there",
        ),
        (
            "    command:\n    - x\n    - >-\n      --a=1\n",
            flag("a", "2"),
            "line 7: flag --a cannot",
        ),
        ("    image: y\n", flag("a", "2"), "has no flag --a"),
        (
            "    image: y\n",
            probe("livenessProbe", "h"),
            "has no livenessProbe.httpGet.host",
        ),
        (
            "    image: y\n",
            annotation("k", "v"),
            "has no annotation k",
        ),
    ] {
        let error = read(&pod(container)).with(&[edit]).unwrap_err().to_string();
        assert!(error.contains(want), "{container}: {error}");
    }
    for text in ["", "a: [", "kind: Pod\n", "spec: {containers: []}\n"] {
        Manifest::parse(text).unwrap_err();
    }
}

/// One of kubeadm's manifests, dressed up as people do: line ends, comments, quotes, a mark.
fn dressed(text: &str, crlf: bool, comments: bool, quotes: u8, mark: bool) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &mut lines {
        if let Some((lead, word)) = line.split_once("- --")
            && quotes > 0
        {
            let quote = if quotes == 1 { '\'' } else { '"' };
            *line = format!("{lead}- {quote}--{word}{quote}");
        }
        if comments && !line.ends_with('|') {
            line.push_str(" # 10.77.0.11 \"was\" 'here'");
        }
    }
    let text = lines.join(if crlf { "\r\n" } else { "\n" });
    format!("{}{text}\n", if mark { "\u{feff}" } else { "" })
}

proptest! {
    #[test]
    fn only_the_value_s_bytes_change(
        crlf: bool, comments: bool, quotes in 0..3_u8, mark: bool, etcd: bool,
        value in "[ -~]{0,30}|[0-9a-f.:]{1,20}",
    ) {
        let (text, name) = if etcd { (ETCD, "initial-cluster") } else { (APISERVER, "advertise-address") };
        let text = dressed(text, crlf, comments, quotes, mark);
        let manifest = read(&text);
        let old = manifest.flag(name).unwrap();
        let outcome = manifest.with(&[flag(name, &value)]).unwrap();
        let changed = read(&outcome);
        prop_assert_eq!(changed.flag(name), Some(Located { value: value.clone(), line: old.line }));
        // Every other line is the same, byte for byte, and the line keeps its ends.
        let lines = |text: &str| -> Vec<String> { text.split('\n').map(str::to_owned).collect() };
        let (before, behind) = (lines(&text), lines(&outcome));
        prop_assert_eq!(before.len(), behind.len());
        for (index, (one, other)) in before.iter().zip(&behind).enumerate() {
            if index + 1 == old.line {
                let tail = |line: &str| line.find(" # 10").map(|at| line[at..].to_owned());
                if comments {
                    prop_assert_eq!(tail(one), other.rfind(" # 10").map(|at| other[at..].to_owned()));
                }
                prop_assert_eq!(one.ends_with('\r'), other.ends_with('\r'));
            } else {
                prop_assert_eq!(one, other);
            }
        }
        // And back again.
        let back = changed.with(&[flag(name, &old.value)]).unwrap();
        prop_assert_eq!(yaml::parse(&back), yaml::parse(&text));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[ -~\n]{0,200}", value in ".{0,20}") {
        let text = pod(&format!("    command:\n    - x\n    - --a={text}\n"));
        if let Ok(manifest) = Manifest::parse(&text)
            && let Ok(outcome) = manifest.with(&[flag("a", &value)])
        {
            prop_assert_eq!(read(&outcome).flag("a").map(|found| found.value), Some(value));
        }
    }
}
