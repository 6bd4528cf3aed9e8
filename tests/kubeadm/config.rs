//! The configuration for each release, and what is refused.

use serde_json::Value;

use crate::machine::{MOVING, Machine, STABLE};

const TOKEN: &str = "abcdef.0123456789abcdef";

fn machine(masters: &str, version: &str) -> Machine {
    Machine::new(&format!(
        "{masters}kubernetes: {{version: \"{version}\", podSubnet: 10.244.0.0/16}}\n"
    ))
}

#[test]
fn the_configuration_by_which_the_golden_files_were_made() {
    let golden = include_str!("golden/names-1.20.2/init.yaml");
    let more = "aliases: {k8s.example.com: api}\n";
    let machine = machine(&format!("{MOVING}{more}"), "1.20.2");
    assert_eq!(machine.stayput(&["kubeadm", "config"]).good(), golden);
}

#[test]
fn each_release_has_its_own_api_and_flags() {
    for (masters, version, api, patches, init, upgrade) in [
        (
            MOVING,
            "1.21.9",
            "v1beta2",
            false,
            " --experimental-patches /etc/stayput/patches",
            " --experimental-patches /etc/stayput/patches",
        ),
        (
            MOVING,
            "1.22.1",
            "v1beta3",
            true,
            "",
            " --patches /etc/stayput/patches",
        ),
        (
            MOVING,
            "1.30.0",
            "v1beta3",
            true,
            "",
            " --patches /etc/stayput/patches",
        ),
        (
            MOVING,
            "1.32.0",
            "v1beta4",
            true,
            "",
            " --patches /etc/stayput/patches",
        ),
        (STABLE, "1.20.2", "v1beta2", false, "", ""),
        (STABLE, "1.34.2", "v1beta4", false, "", ""),
    ] {
        let machine = machine(masters, version);
        let json: Value =
            serde_json::from_str(&machine.stayput(&["kubeadm", "config", "-o", "json"]).good())
                .unwrap();
        let text = json["text"].as_str().unwrap();
        assert_eq!(json["apiVersion"], format!("kubeadm.k8s.io/{api}"));
        assert_eq!(
            text.matches(&format!("apiVersion: kubeadm.k8s.io/{api}\n"))
                .count(),
            2,
            "{text}"
        );
        assert_eq!(
            text.contains("\npatches:\n  directory: /etc/stayput/patches\n"),
            patches,
            "{text}"
        );
        let commands: Vec<&str> = json["commands"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert!(
            commands.contains(&format!("kubeadm init --config FILE{init}").as_str()),
            "{commands:?}"
        );
        assert_eq!(
            commands.contains(&"stayput kubeadm patches /etc/stayput/patches"),
            masters == MOVING
        );
        assert_eq!(
            json["upgrade"],
            serde_json::json!([
                format!("kubeadm upgrade apply VERSION --certificate-renewal=false{upgrade}"),
                format!("kubeadm upgrade node --certificate-renewal=false{upgrade}"),
            ])
        );
        for command in commands {
            assert!(text.contains(&format!("#   {command}\n")), "{text}");
        }
        let address = if masters == MOVING {
            "10.77.0.11"
        } else {
            "10.254.0.1"
        };
        assert!(
            text.contains(&format!("advertiseAddress: {address}\n")),
            "{text}"
        );
        assert_eq!(text.contains("0.0.0.0"), masters == MOVING, "{text}");
        let listed = text.contains("- name: listen-client-urls\n");
        assert_eq!(listed, masters == MOVING && api == "v1beta4", "{text}");
        assert!(
            text.contains(&format!("kubernetesVersion: v{version}\n")),
            "{text}"
        );
    }
}

#[test]
fn no_master_s_own_name_is_asked_of_the_others_certificates() {
    for masters in [
        MOVING,
        STABLE,
        "masters: [{name: master-1, address: 10.77.0.11, stable: 10.254.0.1}]\n",
    ] {
        let more =
            "certificates: {extraNames: {apiserver: [k8s.example.com, '{master}.example.com']}}\n";
        let text = machine(&format!("{masters}{more}"), "1.30.2")
            .stayput(&["kubeadm", "config"])
            .good();
        let shared = &text[text.find("kind: ClusterConfiguration").unwrap()..];
        assert!(
            shared.contains("- k8s.example.com\n") && shared.contains("- api.prod.k8s.internal\n"),
            "{shared}"
        );
        for own in ["master-1", "10.254.0.1", "10.77.0.11"] {
            assert!(!shared.contains(own), "{own}: {shared}");
        }
    }
}

#[test]
fn without_a_patch_release_the_version_is_left_to_kubeadm() {
    let text = machine(MOVING, "1.30")
        .stayput(&["kubeadm", "config"])
        .good();
    assert!(!text.contains("\nkubernetesVersion"), "{text}");
    assert!(
        text.contains("# left out: kubeadm asks dl.k8s.io"),
        "{text}"
    );
}

#[test]
fn joining_by_names_leaves_two_phases_to_stayput() {
    let machine = machine(MOVING, "1.30.2");
    machine.stayput(&["certs", "init", "--new-cluster"]).good();
    let text = machine
        .stayput(&["kubeadm", "config", "--join", "--token", TOKEN])
        .good();
    for want in [
        "#   kubeadm join --config FILE --skip-phases=control-plane-prepare/certs,control-plane-join/etcd\n",
        "#   stayput kubeadm join-etcd\n",
        "#   ssh master-2.prod.k8s.internal stayput certs bundle | stayput certs unbundle\n",
        "    apiServerEndpoint: api.prod.k8s.internal:8443\n    token: abcdef.0123456789abcdef\n",
        "controlPlane:\n  localAPIEndpoint:\n    advertiseAddress: 10.77.0.11\n",
        "patches:\n  directory: /etc/stayput/patches\n",
    ] {
        assert!(text.contains(want), "{want}: {text}");
    }
    assert_eq!(text.matches("- sha256:").count(), 1, "{text}");
    assert!(
        text.contains("# caCertHashes is of /etc/kubernetes/pki/ca.crt on this node;"),
        "{text}"
    );
    // With stable addresses kubeadm does all of it.
    let stable = self::machine(STABLE, "1.34.2");
    let hash = format!("sha256:{}", "0a".repeat(32));
    let arguments = [
        "kubeadm",
        "config",
        "--join",
        "--token",
        TOKEN,
        "--ca-cert-hash",
        &hash,
    ];
    let text = stable.stayput(&arguments).good();
    assert!(
        text.contains("#   kubeadm join --config FILE\n") && !text.contains("skip"),
        "{text}"
    );
    assert!(
        text.contains(&hash) && text.contains("advertiseAddress: 10.254.0.1\n"),
        "{text}"
    );
    // A worker has no control plane, in any release.
    let worker = [
        &["--node", "worker"][..],
        &arguments,
        &["--cri-socket", "/run/c.sock"],
    ]
    .concat();
    let text = self::machine(MOVING, "1.34.2").stayput(&worker).good();
    assert!(
        !text.contains("controlPlane") && !text.contains("patches"),
        "{text}"
    );
    assert!(text.contains("criSocket: unix:///run/c.sock\n"), "{text}");
    assert!(
        text.contains("# An upgrade, once the masters are done:\n#   kubeadm upgrade node\n"),
        "{text}"
    );
    assert!(
        text.contains("# caCertHashes is given by --ca-cert-hash.\n"),
        "{text}"
    );
}

#[test]
fn the_token_may_come_from_a_file() {
    let machine = machine(STABLE, "1.34.2");
    machine.write("/token", &format!("{TOKEN}\n"));
    let hash = format!("sha256:{}", "0a".repeat(32));
    let arguments = [
        "kubeadm",
        "config",
        "--join",
        "--ca-cert-hash",
        &hash,
        "--token-file",
    ];
    let text = machine
        .stayput(&[&arguments[..], &["/token"]].concat())
        .good();
    assert!(text.contains(&format!("token: {TOKEN}\n")), "{text}");
    let text = machine
        .stayput(&[&arguments[..], &["-"]].concat())
        .refused(65);
    assert!(text.contains("no bootstrap token"), "{text}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn what_cannot_work_is_refused_with_words() {
    let hash = format!("sha256:{}", "0a".repeat(32));
    let join = ["kubeadm", "config", "--join", "--ca-cert-hash", &hash];
    let with = |more: &[&'static str]| -> Vec<String> {
        join.iter()
            .chain(more)
            .map(|text| (*text).to_owned())
            .collect()
    };
    let plain =
        |words: &[&str]| -> Vec<String> { words.iter().map(|text| (*text).to_owned()).collect() };
    for (masters, version, arguments, code, want) in [
        (
            MOVING,
            "1.33.0",
            plain(&["kubeadm", "config"]),
            78,
            "has no stable address, and kubeadm from 1.33 on needs one",
        ),
        (
            MOVING,
            "1.34.2",
            with(&["--token", TOKEN]),
            78,
            "'stable' address",
        ),
        (
            MOVING,
            "1.33.0",
            plain(&["kubeadm", "patches"]),
            78,
            "has no stable address, and kubeadm from 1.33 on needs one",
        ),
        (
            MOVING,
            "1.30.0",
            plain(&["kubeadm", "config", "--patches", "/etc/a\nkubeadm reset"]),
            65,
            "control characters",
        ),
        (
            MOVING,
            "1.30.0",
            plain(&["--config", "c.yaml", "kubeadm", "config"]),
            78,
            "there is no cluster file c.yaml (a relative path is looked up below /, or --root; give an absolute path)",
        ),
        (
            MOVING,
            "1.30.0",
            plain(&["--config", "/c.yaml", "kubeadm", "config"]),
            78,
            "there is no cluster file /c.yaml; write it",
        ),
        (
            MOVING,
            "1.30.0",
            with(&["--token-file", "tok"]),
            65,
            "there is no tok (a relative path is looked up below /",
        ),
        (
            MOVING,
            "1.30.0",
            plain(&["--node", "w", "kubeadm", "config"]),
            65,
            "use --join",
        ),
        (MOVING, "1.30.0", with(&[]), 2, "needs a token"),
        (
            MOVING,
            "1.30.0",
            with(&["--token", "ABCDEF.0123456789abcdef"]),
            65,
            "no bootstrap token",
        ),
        (
            MOVING,
            "1.30.0",
            with(&["--token", TOKEN, "--ca-cert-hash", "sha256:12"]),
            65,
            "'sha256:12' is no digest",
        ),
        (
            MOVING,
            "1.30.0",
            plain(&["kubeadm", "config", "--join", "--token", TOKEN]),
            69,
            "--ca-cert-hash",
        ),
        (
            MOVING,
            "1.30.0",
            plain(&[
                "kubeadm",
                "config",
                "--patches",
                "/etc/kubernetes/manifests",
            ]),
            65,
            "every file is a pod",
        ),
        (
            MOVING,
            "1.30.0",
            plain(&["kubeadm", "patches", "/etc/kubernetes/manifests"]),
            65,
            "every file is a pod",
        ),
        (
            MOVING,
            "1.30.0",
            plain(&["--node", "w", "kubeadm", "patches"]),
            65,
            "is a worker",
        ),
        (
            "masters: [{name: master-1, follow: a.example.com}]\n",
            "1.30.0",
            plain(&["kubeadm", "config"]),
            69,
            "is not known",
        ),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let text = machine(masters, version).stayput(&arguments).refused(code);
        assert!(text.contains(want), "{arguments:?}: {text}");
    }
}

#[test]
fn a_socket_is_a_path_or_has_a_scheme() {
    let machine = machine(STABLE, "1.34.2");
    let config = |socket| machine.stayput(&["kubeadm", "config", "--cri-socket", socket]);
    for (socket, written) in [
        ("/run/c.sock", "unix:///run/c.sock"),
        ("unix:///run/c.sock", "unix:///run/c.sock"),
        ("npipe:////./pipe/c", "npipe:////./pipe/c"),
    ] {
        let text = config(socket).good();
        assert!(text.contains(&format!("criSocket: {written}\n")), "{text}");
    }
    for socket in [
        "",
        "bogus",
        "run/c.sock",
        "/",
        "unix://",
        "unix://run/c.sock",
        "npipe://",
        "http:///run/c.sock",
        "/run/a b",
        "/run/a\nb: c",
    ] {
        let text = config(socket).refused(65);
        assert!(text.contains("is no container runtime's socket"), "{text}");
    }
}

#[test]
fn a_folder_is_one_word_of_a_command() {
    let folder = "/my patches; $(reboot)";
    for (version, flag) in [("1.20.2", "experimental-patches"), ("1.30.2", "patches")] {
        let machine = machine(MOVING, version);
        let config = ["kubeadm", "config", "--patches", folder, "-o", "json"];
        let json: Value = serde_json::from_str(&machine.stayput(&config).good()).unwrap();
        let commands = json["commands"].as_array().unwrap();
        let want = format!("stayput kubeadm patches '{folder}'");
        assert!(commands.contains(&want.clone().into()), "{json}");
        let text = json["text"].as_str().unwrap();
        assert!(text.contains(&format!("#   {want}\n")), "{text}");
        let upgrade = json["upgrade"][0].as_str().unwrap();
        let want = format!("--certificate-renewal=false --{flag} '{folder}'");
        assert!(upgrade.ends_with(&want), "{upgrade}");
        machine.stayput(&["kubeadm", "patches", folder]).good();
        machine.read(&format!("{folder}/etcd+strategic.yaml"));
    }
}

#[test]
fn patches_are_not_needed_with_a_stable_address_in_any_release() {
    let text = machine(STABLE, "1.34.2")
        .stayput(&["kubeadm", "patches"])
        .good();
    assert!(text.contains("needs no patches"), "{text}");
    // What the patches say does not depend on where the master is.
    let followed = "masters: [{name: master-1, follow: a.example.com}]\n";
    let text = machine(followed, "1.30.0")
        .stayput(&["kubeadm", "patches"])
        .good();
    assert!(text.contains("written"), "{text}");
}
