//! The other commands, and what machines read of them.

use std::process::Command;

use serde_json::Value;

use crate::sandbox::{FOREIGN, Sandbox, crash};
use crate::support::{Process, STAYPUT, here, run, until};

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn status_as_json_has_the_documented_keys() {
    let sandbox = Sandbox::new("master-1");
    let agent = sandbox.agent();
    let status = sandbox.status();
    let top = [
        "agent",
        "certificates",
        "configurationProblems",
        "conflicts",
        "degraded",
        "domain",
        "endpoint",
        "generation",
        "kubeadm",
        "masters",
        "node",
        "removed",
        "rescue",
        "servers",
        "surfaces",
        "version",
    ];
    assert_eq!(keys(&status), top);
    assert_eq!(keys(&status["agent"]), ["pid", "since"]);
    assert_eq!(
        keys(&status["node"]),
        ["kubernetesName", "name", "provisioned", "role"]
    );
    let master = [
        "added",
        "addresses",
        "ageSeconds",
        "changed",
        "fileAddresses",
        "follows",
        "name",
        "origin",
        "record",
        "upstreamError",
        "version",
    ];
    assert_eq!(keys(&status["masters"][0]), master);
    let surface = [
        "at",
        "condition",
        "detail",
        "lastError",
        "notices",
        "surface",
    ];
    assert_eq!(keys(&status["surfaces"][0]), surface);
    let names = status["surfaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["surface"].as_str().unwrap());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["state", "hosts", "dns", "haproxy", "pods", "routes"]
    );
    // The same keys where no agent runs.
    drop(agent);
    let status = sandbox.status();
    assert_eq!(keys(&status), top);
    assert_eq!(status["surfaces"][1]["condition"], "unknown");
    let text = sandbox.stayput(&["status"]).good();
    assert!(text.contains("no agent runs on this node"), "{text}");
}

#[test]
fn status_begins_with_what_is_degraded() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let heading = || {
        let text = sandbox.stayput(&["status"]).good();
        let heading = text.lines().take_while(|line| !line.is_empty());
        let degraded = heading.filter_map(|line| line.strip_prefix("degraded: "));
        degraded.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(sandbox.status()["degraded"], false);
    assert!(heading().is_empty());

    let [first, second, _] = crate::sandbox::MASTERS;
    sandbox.stayput(&["event", "master-2", first]).good();
    assert_eq!(sandbox.status()["degraded"], true);
    assert_eq!(heading(), ["1 conflict"]);
    sandbox.write("etc/stayput/node.yaml", "nam: x\n");
    sandbox.shows("the bad file", |status| {
        status["configurationProblems"] != serde_json::json!([])
    });
    assert_eq!(heading(), ["1 conflict, 1 configuration problem"]);
    std::fs::remove_file(sandbox.path("etc/stayput/node.yaml")).unwrap();
    sandbox.stayput(&["event", "master-2", second]).good();
    sandbox.shows("all is well", |status| status["degraded"] == false);
    assert!(heading().is_empty());
}

#[test]
fn status_is_shown_again_when_something_changes() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let mut command = sandbox.command(&["status", "--watch"]);
    let watch = Process::start(&mut command, &sandbox.path("watch.log"));
    until("the first picture", || watch.log().contains("127.77.0.12"));
    sandbox
        .stayput(&["event", "master-2", "127.77.0.32"])
        .good();
    until("the second picture", || watch.log().contains("127.77.0.32"));
}

#[test]
fn apply_does_it_once() {
    let sandbox = Sandbox::worker();
    let said = sandbox.stayput(&["apply"]).good();
    assert!(said.contains("4 lines in /etc/hosts"), "{said}");
    let first = sandbox.written();
    let said = sandbox.stayput(&["apply"]).good();
    let unchanged = |surface| {
        said.lines()
            .any(|l| l.starts_with(surface) && l.contains("unchanged"))
    };
    assert!(unchanged("state") && unchanged("hosts"), "{said}");
    assert_eq!(sandbox.written(), first);
}

#[test]
fn what_would_be_written_is_what_is_written() {
    let sandbox = Sandbox::worker();
    let hosts = sandbox.stayput(&["hosts", "show"]).good();
    let haproxy = sandbox.stayput(&["haproxy", "show"]).good();
    assert_eq!(sandbox.hosts(), FOREIGN, "nothing was written");
    assert!(!sandbox.path("srv").exists() && !sandbox.path("var").exists());
    let _agent = sandbox.agent();
    assert_eq!(sandbox.hosts(), FOREIGN.to_owned() + &hosts);
    assert_eq!(sandbox.read("srv/haproxy.cfg"), haproxy);
}

#[test]
fn resolve_shows_what_each_surface_says() {
    if !here(false, &["haproxy"]) {
        return;
    }
    let sandbox = Sandbox::worker();
    sandbox.write_cluster(&sandbox.cluster(
        &crate::sandbox::MASTERS,
        "aliases: {k8s.example.com: api, old-name: master-1}\n",
    ));
    let _agent = sandbox.agent();
    let _haproxy = sandbox.haproxy();
    for (name, address) in [
        ("master-1", "127.77.0.11"),
        ("master-1.prod.k8s.internal", "127.77.0.11"),
        ("old-name", "127.77.0.11"),
        ("k8s.example.com", "127.0.0.1"),
        ("api", "127.0.0.1"),
    ] {
        let json = sandbox
            .stayput(&["resolve", name, "--output", "json"])
            .good();
        let said: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(said["agrees"], true);
        let row = &said["names"][0];
        assert_eq!(said["names"].as_array().unwrap().len(), 1);
        assert_eq!(row["book"][0], address, "{row}");
        assert_eq!(row["hosts"]["addresses"][0], address, "{row}");
        if name != "k8s.example.com" {
            assert_eq!(row["dns"]["addresses"][0], address, "{row}");
        }
    }
    let said = sandbox.stayput(&["resolve", "www.example.com"]).refused(65);
    assert!(
        said.contains("'www.example.com' is no name of this cluster; the names are"),
        "{said}"
    );
}

#[test]
fn check_says_that_the_responder_is_silent() {
    if !here(false, &["haproxy"]) {
        return;
    }
    let sandbox = Sandbox::worker();
    let agent = sandbox.agent();
    let _haproxy = sandbox.haproxy();
    sandbox.stayput(&["check"]).good();
    crash(agent);
    let said = sandbox.stayput(&["check"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out
            .contains("master-1.prod.k8s.internal: dns at 127.0.0.1:"),
        "{}",
        said.out
    );
    assert!(!said.out.contains("hosts says"), "{}", said.out);
}

#[test]
fn the_agent_is_asked_and_not_the_file_that_it_saved() {
    let sandbox = Sandbox::new("master-1");
    let _agent = sandbox.agent();
    sandbox
        .stayput(&["event", "master-2", "127.77.0.97"])
        .good();
    sandbox.stayput(&["provisioned"]).good();
    // As after a disk that refused; nobody reads it while the agent runs.
    sandbox.write("var/lib/stayput/state.json", "?");
    let hosts = sandbox.stayput(&["hosts", "show"]).good();
    assert_eq!(sandbox.hosts(), FOREIGN.to_owned() + &hosts);
    let haproxy = sandbox.stayput(&["haproxy", "show"]).good();
    assert_eq!(sandbox.read("srv/haproxy.cfg"), haproxy);
    let said = sandbox.stayput(&["resolve", "master-2", "--output", "json"]);
    let said: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(said["names"][0]["book"][0], "127.77.0.97");
    assert_eq!(said["agrees"], true, "{said:#}");
}

#[test]
fn check_names_the_listener_that_says_something_else() {
    let other = Sandbox::worker();
    other.write_cluster(&other.cluster(&["127.77.0.51", "127.77.0.12", "127.77.0.13"], ""));
    let _other = other.agent();
    let sandbox = Sandbox::worker();
    let (foreign, own) = (other.dns_port(), sandbox.dns_port());
    let both = format!("listen: [\"127.0.0.1:{foreign}\", \"127.0.0.1:{own}\"]");
    let cluster = sandbox.cluster(&crate::sandbox::MASTERS, "");
    let one = format!("listen: [\"127.0.0.1:{own}\"]");
    assert!(cluster.contains(&one));
    sandbox.write_cluster(&cluster.replace(&one, &both));
    let _agent = sandbox.agent();
    let said = sandbox.stayput(&["resolve", "master-1"]);
    assert_eq!(said.code, 1, "{said:?}");
    let line = format!("dns at 127.0.0.1:{foreign} says 127.77.0.51, not 127.77.0.11");
    assert!(said.out.contains(&line), "{}", said.out);
    assert!(!said.out.contains(&format!("dns at 127.0.0.1:{own}")));
    sandbox.stayput(&["resolve", "master-2"]).good();
}

#[test]
fn completions_for_each_shell() {
    for (shell, want) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef stayput"),
        ("fish", "complete -c stayput"),
    ] {
        let script = run(Command::new(STAYPUT).args(["completions", shell])).good();
        assert!(
            script.contains(want) && script.contains("provisioned"),
            "{shell}:\n{script}"
        );
    }
    run(Command::new(STAYPUT).args(["completions", "tcsh"])).refused(2);
}

#[test]
fn help_says_what_each_command_does() {
    for (command, want) in [
        ("", "Exit codes: 0 all is well"),
        ("run", "Run the agent in the foreground"),
        ("event", "Tell that a master has moved"),
        ("apply", "Do the agent's work once"),
        ("status", "Show the book with origin and age"),
        ("check", "show where they disagree"),
        ("resolve", "Show what each surface says for a name"),
        ("hosts", "Show the block that belongs into the hosts file"),
        ("haproxy", "Show the configuration that belongs to HAProxy"),
        ("provisioned", "its HAProxy points to itself only"),
        ("demo", "Show all of it in a scratch folder, without root"),
        ("completions", "Print a completion script"),
    ] {
        let arguments: Vec<&str> = [command, "--help"]
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect();
        let help = run(Command::new(STAYPUT).args(arguments).env("COLUMNS", "200")).good();
        assert!(help.contains(want), "{command}:\n{help}");
    }
}
