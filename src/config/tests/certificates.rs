//! The section `certificates`, and its mistakes in their exact words.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{parse, problems, with};
use crate::config::cluster::{AfterRenew, Hook};
use crate::config::{Node, NodeSettings};
use crate::pki::catalogue::{Catalogue, Reload, RowKind};
use crate::pki::key::KeyType;
use crate::pki::wanted::{Item, wanted};

#[test]
fn a_full_section_has_what_it_says() {
    let cluster = parse(&with(
        r#"certificates:
  renewBefore: 45d
  validity: 8760h0m0s
  authorityValidity: 7300d
  keyType: ecdsa-p384
  extraNames:
    apiserver: [K8s.example.com, "*.{endpoint}", "{stable}", "2001:DB8::1"]
    metrics: [metrics.internal]
  extra:
    - {id: metrics-ca, path: pki/metrics-ca, kind: authority, commonName: metrics-ca}
    - id: metrics
      path: pki/metrics
      kind: leaf
      authority: metrics-ca
      commonName: "metrics:{node}"
      organizations: [watchers, "{label}"]
      usages: [server, client]
      names: ["{master}"]
      since: "1.30"
      users: [{process: metrics, reload: staticPod}, {process: a person, reload: nextRun}]
    - {id: viewer.conf, path: viewer.conf, kind: kubeconfig, authority: ca, commonName: viewer, usages: [client], server: local}
    - {id: tokens, path: pki/tokens, kind: keyPair, newClusterOnly: true}
  afterRenew:
    - {command: [/usr/local/sbin/tell, renewed], certificates: [apiserver, metrics], timeout: 2m}
    - staticPods
    - {command: [/bin/true]}
"#,
    ))
    .unwrap();
    let certificates = &cluster.certificates;
    assert_eq!(certificates.renew_before, 45 * 86_400);
    assert_eq!(certificates.validity, 365 * 86_400);
    assert_eq!(certificates.authority_validity, 7300 * 86_400);
    assert_eq!(certificates.key_type, KeyType::EcdsaP384);
    let [authority, metrics, viewer, tokens] = &certificates.extra[..] else {
        panic!("{:?}", certificates.extra)
    };
    assert_eq!(authority.kind, RowKind::Authority);
    assert_eq!((metrics.since, metrics.until), (Some(30), None));
    assert_eq!(metrics.users[0].reload, Reload::StaticPod);
    assert!(viewer.usages.client && !viewer.usages.server);
    assert!(tokens.new_cluster_only && tokens.kind == RowKind::KeyPair);
    let hook = |command: &[&str], certificates: &[&str], limit| {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        AfterRenew::Program(Hook {
            command: owned(command),
            certificates: owned(certificates).into_iter().collect::<BTreeSet<_>>(),
            limit,
        })
    };
    assert_eq!(
        certificates.after_renew,
        [
            hook(
                &["/usr/local/sbin/tell", "renewed"],
                &["apiserver", "metrics"],
                120
            ),
            AfterRenew::StaticPods,
            hook(&["/bin/true"], &[], 30),
        ]
    );
}

/// What the operator added is wanted like the rest, an authority before what it signs.
#[test]
fn own_names_and_rows_are_wanted() {
    let text = with(
        r#"certificates:
  validity: 90d
  extraNames:
    apiserver: [K8s.Example.com., "*.Example.com", "x.{aliases}", "{stable}", "2001:DB8:0::1", "::ffff:192.0.2.1", 127.0.0.1]
  extra:
    - {id: m, path: pki/m, kind: leaf, authority: m-ca, commonName: "m:{node}", organizations: ["{label}"], usages: [server], names: ["{stable}"]}
    - {id: m-ca, path: pki/m-ca, kind: authority, commonName: m-ca}
    - {id: late, path: pki/late, kind: leaf, authority: ca, commonName: late, usages: [client], since: "1.35"}
aliases: {a.example.com: api, b.example.com: m1}
"#,
    )
    .replace("10.0.0.1}", "10.0.0.1, stable: 10.254.0.1}");
    let cluster = parse(&text).unwrap();
    let node = Node::determine(NodeSettings::default(), "m1", &cluster, true).unwrap();
    let all = wanted(&Catalogue::of(&cluster).unwrap(), &cluster, &node).items;
    let ids: Vec<&str> = all.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids[..4], ["ca", "etcd-ca", "front-proxy-ca", "m-ca"]);
    assert_eq!(ids[ids.len() - 2..], ["sa", "m"]);
    let item = |id: &str| -> &Item { all.iter().find(|item| item.id == id).unwrap() };
    let names = &item("apiserver").profile.names;
    for name in [
        "k8s.example.com",
        "*.example.com",
        "x.a.example.com",
        "x.b.example.com",
    ] {
        assert!(names.dns.contains(name), "{name}: {names}");
    }
    let addresses: Vec<String> = names.addresses.iter().map(ToString::to_string).collect();
    let want = [
        "10.96.0.1",
        "127.0.0.1",
        "::1",
        "10.254.0.1",
        "2001:db8::1",
        "192.0.2.1",
    ];
    assert_eq!(addresses, want);
    let own = item("m");
    assert_eq!(own.profile.common_name, "m:m1");
    assert_eq!(own.profile.organizations, ["m1"]);
    assert_eq!(own.profile.names.to_string(), "10.254.0.1");
    assert_eq!(own.validity, 90 * 86_400);
    assert_eq!(item("m-ca").validity, 3650 * 86_400);
}

/// certs/README.md, which is what an operator reads.
const GUIDE: &str = include_str!("../../../certs/README.md");

#[test]
fn the_guide_s_examples_are_good() {
    let mut examples: Vec<String> = Vec::new();
    let mut inside = false;
    for line in GUIDE.lines() {
        match line.strip_prefix("    ") {
            Some(code) if inside => {
                let example = examples.last_mut().unwrap();
                writeln!(example, "{code}").unwrap();
            }
            Some(code) => examples.push(format!("{code}\n")),
            None => {}
        }
        inside = line.starts_with("    ");
    }
    assert_eq!(examples.len(), 4);
    // The last example is about the row of the one before.
    let rows = examples[2].clone();
    examples[3] = rows + examples[3].strip_prefix("certificates:\n").unwrap();
    for example in examples {
        let text = match example.strip_prefix("masters:") {
            Some(masters) => with("").replace("masters:\n", &format!("masters:{masters}")),
            None => with(&example),
        };
        assert_eq!(problems(&text), [""; 0], "{text}");
    }
}

#[test]
fn the_guide_has_every_row_word_and_default() {
    for row in Catalogue::builtin().unwrap().rows {
        let first = format!("| `{}` |", row.id);
        assert!(
            GUIDE.contains(&first) || row.id == "sa",
            "no row of {}",
            row.id
        );
    }
    let unknown = crate::pki::template::check_name("{unknown}").unwrap_err();
    let words = unknown.to_string();
    for word in words.split("known: ").last().unwrap().split(", ") {
        assert!(GUIDE.contains(&format!("| `{word}` |")), "no row of {word}");
    }
    for (key, default) in [
        ("renewBefore", "30d"),
        ("validity", "365d"),
        ("authorityValidity", "3650d"),
        ("keyType", "rsa-2048"),
    ] {
        assert!(
            GUIDE.contains(&format!("| `{key}` | `{default}` |")),
            "{key}"
        );
        let spelled_out = with(&format!("certificates: {{{key}: {default}}}"));
        assert_eq!(parse(&spelled_out), parse(&with("")), "{key}");
    }
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let mut wrong = Vec::new();
    for (inner, want) in MISTAKES {
        let found = problems(&with(&format!("certificates: {{{inner}}}")));
        if found != [*want] {
            wrong.push(format!("{inner}\n  said {found:?}\n  want {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A good row, to be spoilt.
const ROW: &str = "id: x, path: pki/x, kind: leaf, authority: ca, commonName: x, usages: [client]";

#[test]
fn each_mistake_in_a_row_is_told_with_its_place() {
    assert_eq!(
        problems(&with(&format!("certificates: {{extra: [{{{ROW}}}]}}"))),
        [""; 0]
    );
    let mut wrong = Vec::new();
    for (from, to, want) in MISTAKES_IN_ROWS {
        let row = ROW.replacen(from, to, 1);
        assert_ne!(row, ROW, "{from}");
        let found = problems(&with(&format!("certificates:\n  extra:\n    - {{{row}}}")));
        if found != [*want] {
            wrong.push(format!("{row}\n  said {found:?}\n  want {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rows_are_checked_against_each_other() {
    let row = "kind: leaf, authority: ca, commonName: x, usages: [client]";
    for (rows, want) in [
        (
            format!("[{{id: x, path: pki/x, {row}}}, {{id: x, path: pki/x, {row}}}]"),
            "certificates.extra[1].id: 'x' is given twice for one release; choose another id, or since and until that do not overlap",
        ),
        (
            format!("[{{id: x, path: pki/x, {row}}}, {{id: y, path: pki/x, {row}}}]"),
            "certificates.extra[1].path: pki/x belongs to 'x'; choose another path",
        ),
        (
            format!("[{{id: x, path: pki/x, until: '1.30', {row}}}, {{id: x, path: pki/x, since: '1.31', {row}}}]"),
            "",
        ),
        (
            "[{id: x, path: pki/x, kind: leaf, authority: a, commonName: x, usages: [client]}, {id: a, path: pki/a, kind: authority, commonName: a, until: '1.30'}]".into(),
            "certificates.extra[0].authority: 'a' is not there in Kubernetes 1.31, and this row is; change since or until",
        ),
    ] {
        let found = problems(&with(&format!("certificates: {{extra: {rows}}}"))).join("\n");
        assert!(found.ends_with(want), "{rows}: {found}");
        assert_eq!(found.is_empty(), want.is_empty(), "{rows}: {found}");
    }
}

#[test]
fn an_unknown_id_is_told_with_those_that_are_known() {
    let found = problems(&with("certificates: {extraNames: {ca: [a.example.com]}}"));
    let found = found.join("\n");
    let want = "5:29: certificates.extraNames.ca: 'ca' is neither a leaf nor a kubeconfig; known: ";
    assert!(found.starts_with(want), "{found}");
    assert!(
        found.contains("apiserver, apiserver-etcd-client, "),
        "{found}"
    );
}

#[test]
fn one_mistake_in_the_section_hides_no_other() {
    let text = "certificates:
  renewBefore: 30
  extraNames:
    apiserver: [10.0.0.1, '{adress}']
    apisrver: [x.example.com]
  extra:
    - {id: x, path: pki/sa, kind: leaf, authority: cb, commonName: x, usages: [server]}
  afterRenew: [staticPods, {command: [tell], timeout: 5}]
";
    let found = problems(&with(text));
    let places: Vec<&str> = found
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "6:16", "8:17", "8:27", "9:5", "11:21", "11:52", "12:39", "12:55"
        ],
        "{found:#?}"
    );
}

#[test]
fn lifetimes_are_compared_where_the_operator_wrote_one() {
    for (inner, want) in [
        (
            "validity: 5000d",
            "5:26: certificates.validity: 5000d is longer than authorityValidity, 3650d by default; no certificate outlives its authority",
        ),
        (
            "authorityValidity: 30d",
            "5:35: certificates.authorityValidity: 30d is shorter than validity, 365d; no certificate outlives its authority, so give it 365d or more",
        ),
        (
            "authorityValidity: 90d, validity: 90d, renewBefore: 80d",
            "",
        ),
    ] {
        let found = problems(&with(&format!("certificates: {{{inner}}}"))).join("\n");
        assert_eq!(found, want);
    }
}

#[test]
fn a_daily_timer_has_to_meet_the_window() {
    let short = |span: &str| {
        format!(
            "5:29: certificates.renewBefore: {span} is too short: renewals are tried once a day, and one day that fails must not be the last; use 2d or more (less is for labs, with a validity below 8d)"
        )
    };
    for (inner, want) in [
        ("renewBefore: 1m", short("1m")),
        ("renewBefore: 47h59m", short("2879m")),
        ("renewBefore: 12h, validity: 8d", short("12h")),
        ("renewBefore: 2d", String::new()),
        ("renewBefore: 1m, validity: 191h", String::new()),
        ("validity: 1h", String::new()),
    ] {
        let found = problems(&with(&format!("certificates: {{{inner}}}"))).join("\n");
        assert_eq!(found, want);
    }
}

#[test]
fn p384_waits_for_its_release() {
    for (version, want) in [
        ("1.34", ""),
        (
            "1.33",
            "6:25: certificates.keyType: ecdsa-p384 is known to kubeadm from 1.34 on, and kubernetes.version is 1.33; use ecdsa-p256",
        ),
    ] {
        let text =
            format!("kubernetes: {{version: '{version}'}}\ncertificates: {{keyType: ecdsa-p384}}");
        assert_eq!(problems(&with(&text)).join("\n"), want);
    }
}

/// What stands within `certificates: {…}`, and all that is said about it.
const MISTAKES: &[(&str, &str)] = &[
    (
        "renewBefor: 30d",
        "5:16: certificates.renewBefor: is not a known key; did you mean 'renewBefore'?",
    ),
    (
        "renewBefore: 30",
        "5:29: certificates.renewBefore: is a number without a unit; write a time such as 30d",
    ),
    (
        "renewBefore: 1.5",
        "5:29: certificates.renewBefore: is a number without a unit; write a time such as 30d",
    ),
    (
        "renewBefore: a month",
        "5:29: certificates.renewBefore: 'a month' is not a time; write one such as 30d, with d, h, m or s behind whole numbers",
    ),
    (
        "renewBefore: 59s",
        "5:29: certificates.renewBefore: 59s is out of range; use 1m to 36500d",
    ),
    (
        "renewBefore: [30d]",
        "5:29: certificates.renewBefore: is a list; write text",
    ),
    (
        "validity: 59m",
        "5:26: certificates.validity: 59m is out of range; use 1h to 36500d",
    ),
    (
        "validity: 36501d",
        "5:26: certificates.validity: 36501d is out of range; use 1h to 36500d",
    ),
    (
        "keyType: ed25519",
        "5:25: certificates.keyType: 'ed25519' is not a type of key; use rsa-2048, rsa-3072, rsa-4096, ecdsa-p256 or ecdsa-p384",
    ),
    (
        "extraNames: [a.example.com]",
        "5:28: certificates.extraNames: is a list; write a mapping of names, such as {apiserver: [k8s.example.com]}",
    ),
    (
        "extraNames: {apiservr: [a.example.com]}",
        "5:29: certificates.extraNames.apiservr: 'apiservr' is not issued; did you mean 'apiserver'?",
    ),
    (
        "extraNames: {apiserver: [a.b], apiserver: [c.d]}",
        "5:47: certificates.extraNames.apiserver: is given twice; keep one",
    ),
    (
        "extraNames: {apiserver: a.example.com}",
        "5:40: certificates.extraNames.apiserver: is text; write a list of names and addresses, such as [api.example.com]",
    ),
    (
        "extraNames: {apiserver: [a_b]}",
        "5:41: certificates.extraNames.apiserver[0]: cannot stand in a certificate: 'a_b' is not a host name; use letters, digits and inner hyphens (RFC 1123)",
    ),
    (
        "extraNames: {apiserver: [10.9.9.9, 10.0.0.1]}",
        "5:51: certificates.extraNames.apiserver[1]: 10.0.0.1 is an address of m1.prod.k8s.internal that can change, and a certificate must not name it; use that master's name, or give it a 'stable' address",
    ),
    (
        "extraNames: {apiserver: ['{address}']}",
        "5:41: certificates.extraNames.apiserver[0]: {address} is not a word here; known: {master}, {label}, {node}, {domain}, {endpoint}, {aliases}, {dnsDomain}, {serviceAddress}, {stable}",
    ),
    (
        "afterRenew: staticPods",
        "5:28: certificates.afterRenew: is text; write a list of steps, such as staticPods or {command: [/usr/local/sbin/tell, renewed]}",
    ),
    (
        "afterRenew: [staticPod]",
        "5:29: certificates.afterRenew[0]: 'staticPod' is not a step; write staticPods, or {command: [/usr/local/sbin/tell, renewed]}",
    ),
    (
        "afterRenew: [staticPods, staticPods]",
        "5:41: certificates.afterRenew[1]: is given twice; keep one",
    ),
    (
        "afterRenew: [{timeout: 5s}]",
        "5:29: certificates.afterRenew[0].command: is missing; write a program's absolute path and its arguments",
    ),
    (
        "afterRenew: [{command: []}]",
        "5:39: certificates.afterRenew[0].command: is empty; write a program's absolute path and its arguments",
    ),
    (
        "afterRenew: [{command: [true-ish]}]",
        "5:40: certificates.afterRenew[0].command[0]: 'true-ish' is not an absolute path; start it with /",
    ),
    (
        "afterRenew: [{command: /bin/true}]",
        "5:39: certificates.afterRenew[0].command: is text; write a list of a program and its arguments",
    ),
    (
        "afterRenew: [{command: [/bin/true], timeout: 2h}]",
        "5:61: certificates.afterRenew[0].timeout: 2h is out of range; use 1s to 1h",
    ),
    (
        "afterRenew: [{command: [/bin/true], certificates: [etcd-pear]}]",
        "5:67: certificates.afterRenew[0].certificates[0]: 'etcd-pear' is not issued; did you mean 'etcd-peer'?",
    ),
    (
        "afterRenew: [{command: [/bin/true], certificates: []}]",
        "5:66: certificates.afterRenew[0].certificates: is empty; name at least one, or leave it out for all",
    ),
];

/// What is put in place of what in a good row, and all that is said about it.
const MISTAKES_IN_ROWS: &[(&str, &str, &str)] = &[
    (
        "id: x, ",
        "",
        "7:7: certificates.extra[0].id: is missing; write a short name such as metrics",
    ),
    (
        "id: x",
        "id: ../x",
        "7:12: certificates.extra[0].id: '../x' is not an id; use up to 64 lower-case letters, digits, hyphens and dots, such as metrics",
    ),
    (
        "id: x",
        "id: apiserver",
        "7:12: certificates.extra[0].id: 'apiserver' is built in; choose another id",
    ),
    (
        "path: pki/x",
        "path: pki/apiserver",
        "7:21: certificates.extra[0].path: pki/apiserver belongs to 'apiserver'; choose another path",
    ),
    (
        "path: pki/x",
        "path: pki/../x",
        "7:21: certificates.extra[0].path: 'pki/../x' is not a plain path below /etc/kubernetes; write letters, digits and . _ - +, no hidden part and no leading slash",
    ),
    (
        "path: pki/x",
        "path: /etc/kubernetes/pki/x",
        "7:21: certificates.extra[0].path: '/etc/kubernetes/pki/x' is not a plain path below /etc/kubernetes; write letters, digits and . _ - +, no hidden part and no leading slash",
    ),
    (
        "path: pki/x",
        "path: pki/.stayput/x",
        "7:21: certificates.extra[0].path: 'pki/.stayput/x' is not a plain path below /etc/kubernetes; write letters, digits and . _ - +, no hidden part and no leading slash",
    ),
    (
        "path: pki/x",
        "path: manifests/x",
        "7:21: certificates.extra[0].path: 'manifests/x' is not below pki; write one such as pki/metrics",
    ),
    (
        "path: pki/x",
        "path: pki",
        "7:21: certificates.extra[0].path: 'pki' is not below pki; write one such as pki/metrics",
    ),
    (
        "path: pki/x",
        "path: pki/x.crt",
        "7:21: certificates.extra[0].path: 'pki/x.crt' ends in .crt; leave the ending out, there are two files",
    ),
    (
        "kind: leaf",
        "kind: sheaf",
        "7:34: certificates.extra[0].kind: 'sheaf' is not a kind; write authority, leaf, kubeconfig or keyPair",
    ),
    (
        "authority: ca",
        "authority: cb",
        "7:51: certificates.extra[0].authority: 'cb' is not an authority; known: ca, etcd-ca, front-proxy-ca",
    ),
    (
        "authority: ca",
        "authority: apiserver",
        "7:51: certificates.extra[0].authority: 'apiserver' is not an authority; known: ca, etcd-ca, front-proxy-ca",
    ),
    (
        "authority: ca, ",
        "",
        "7:7: certificates.extra[0].authority: is missing; write the id of one, such as ca",
    ),
    (
        "commonName: x",
        "commonName: '{stable}'",
        "7:67: certificates.extra[0].commonName: {stable} may stand for none or several; a subject needs exactly one text",
    ),
    (
        "usages: [client]",
        "usages: []",
        "7:78: certificates.extra[0].usages: is empty; write server, client or both",
    ),
    (
        "usages: [client]",
        "usages: [code]",
        "7:79: certificates.extra[0].usages[0]: 'code' is not a usage; use server or client",
    ),
    (
        "usages: [client]",
        "usages: [client], server: local",
        "7:88: certificates.extra[0].server: has no meaning for this kind; remove it",
    ),
    (
        "usages: [client]",
        "usages: [client], names: [10.0.0.1]",
        "7:96: certificates.extra[0].names[0]: 10.0.0.1 is an address of m1.prod.k8s.internal that can change, and a certificate must not name it; use that master's name, or give it a 'stable' address",
    ),
    (
        "usages: [client]",
        "usages: [client], since: 1.30",
        "7:95: certificates.extra[0].since: is a number, which loses a final zero (1.30 is 1.3); put it in quotes, such as \"1.34\"",
    ),
    (
        "usages: [client]",
        "usages: [client], since: '1.30', until: '1.29'",
        "7:110: certificates.extra[0].until: 1.29 is before since, 1.30; swap them",
    ),
    (
        "usages: [client]",
        "usages: [client], users: [{process: ../x, reload: staticPod}]",
        "7:106: certificates.extra[0].users[0].process: '../x' has an empty label; write labels joined by single dots",
    ),
    (
        "usages: [client]",
        "usages: [client], users: [{process: x, reload: hup}]",
        "7:117: certificates.extra[0].users[0].reload: 'hup' is not a way; write itself, staticPod or nextRun",
    ),
    (
        "path: pki/x, kind: leaf",
        "path: pki/x, server: local, kind: kubeconfig",
        "7:21: certificates.extra[0].path: 'pki/x' is not a kubeconfig's path; write one such as viewer.conf",
    ),
    (
        "path: pki/x, kind: leaf",
        "path: x.conf, kind: kubeconfig",
        "7:7: certificates.extra[0].server: is missing; write endpoint or local",
    ),
    (
        "kind: leaf, authority: ca, commonName: x, usages: [client]",
        "kind: keyPair, names: [a.b]",
        "7:43: certificates.extra[0].names: has no meaning for this kind; remove it",
    ),
];
