use std::collections::BTreeSet;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use super::*;
use crate::pki::catalogue::Reload;
use crate::pki::catalogue::User;
use crate::pki::wanted::Kind;

fn item(id: &str, users: &[(&str, Reload)]) -> Item {
    let user = |(process, reload): &(&str, Reload)| User {
        process: (*process).to_owned(),
        reload: *reload,
    };
    Item {
        id: id.to_owned(),
        kind: Kind::KeyPair {
            key: PathBuf::new(),
            public: PathBuf::new(),
        },
        profile: crate::pki::profile::Profile::default(),
        key_type: crate::pki::key::KeyType::default(),
        validity: 0,
        new_cluster_only: false,
        users: users.iter().map(user).collect(),
    }
}

fn renewed() -> Vec<Item> {
    vec![
        item("apiserver", &[("kube-apiserver", Reload::Itself)]),
        item(
            "controller-manager.conf",
            &[("kube-controller-manager", Reload::StaticPod)],
        ),
        item(
            "scheduler.conf",
            &[
                ("kube-scheduler", Reload::StaticPod),
                ("kubectl", Reload::NextRun),
            ],
        ),
        item(
            "other.conf",
            &[("kube-controller-manager", Reload::StaticPod)],
        ),
    ]
}

fn program(name: &str, certificates: &[&str]) -> AfterRenew {
    AfterRenew::Program(Hook {
        command: vec![name.to_owned()],
        certificates: certificates
            .iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>(),
        limit: 60,
    })
}

/// A sandbox with programs `/NAME` that run these scripts.
fn sandbox(programs: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    for (name, script) in programs {
        hooks::tests::program(&dir.path().join(name), script);
    }
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

/// What comes of everything that is owed for all items.
async fn outcomes(
    root: &Root,
    steps: &[AfterRenew],
    stop: &mut Stop,
) -> Vec<(String, StepResult, String)> {
    let items = renewed();
    let mut owed = Owed::everything(items.iter().map(|item| item.id.as_str()));
    pay(root, steps, &mut owed, stop).await
}

async fn pay(
    root: &Root,
    steps: &[AfterRenew],
    owed: &mut Owed,
    stop: &mut Stop,
) -> Vec<(String, StepResult, String)> {
    let machine = Machine {
        say: |_| {},
        root,
        processes: Processes::new(Path::new("/proc")),
        limits: Limits::default(),
    };
    let outcomes = machine.pay(steps, &renewed(), owed, stop).await;
    let failed = |o: &Outcome| o.result == StepResult::Failed;
    assert_eq!(&Owed::read(root).unwrap(), owed);
    assert_eq!(!owed.is_empty(), outcomes.iter().any(failed));
    outcomes
        .into_iter()
        .map(|o| (o.step, o.result, o.detail))
        .collect()
}

#[test]
fn each_pod_that_needs_it_is_restarted_once() {
    assert_eq!(
        pods(&renewed()),
        ["kube-controller-manager", "kube-scheduler"]
    );
    assert_eq!(pods(&renewed()[..1]), [""; 0]);
}

#[tokio::test]
async fn steps_keep_their_order_and_a_failure_holds_nobody() {
    let (_dir, root) = sandbox(&[("bad", "echo broken; exit 1"), ("good", "echo \"$@\"")]);
    let steps = [
        program("/bad", &[]),
        AfterRenew::StaticPods,
        program("/none-of-its-business", &["sa"]),
        program("/good", &["apiserver", "scheduler.conf"]),
    ];
    let outcomes = outcomes(&root, &steps, &mut Stop::listen()).await;
    let short: Vec<_> = outcomes
        .iter()
        .map(|(step, result, _)| (step.as_str(), *result))
        .collect();
    assert_eq!(
        short,
        [
            ("/bad", StepResult::Failed),
            ("kube-controller-manager", StepResult::Nothing),
            ("kube-scheduler", StepResult::Nothing),
            ("/good", StepResult::Done),
        ]
    );
    assert!(outcomes[0].2.contains("broken"), "{outcomes:?}");
    assert!(
        outcomes[1].2.contains("kube-controller-manager.yaml"),
        "{outcomes:?}"
    );
    assert_eq!(outcomes[3].2, "apiserver scheduler.conf");
}

#[tokio::test]
async fn what_is_left_when_it_is_told_to_end_is_told() {
    let (dir, root) = sandbox(&[
        ("slow", "kill -USR2 $PPID; sleep 100"),
        ("next", "touch ran"),
    ]);
    let steps = [
        program("/slow", &[]),
        program("/next", &[]),
        AfterRenew::StaticPods,
    ];
    // A signal that no other test in this process listens to.
    let mut stop = Stop {
        signals: vec![signal(SignalKind::user_defined2()).unwrap()],
        asked: false,
    };
    let outcomes = outcomes(&root, &steps, &mut stop).await;
    assert!(
        outcomes
            .iter()
            .all(|(_, result, _)| *result == StepResult::Failed),
        "{outcomes:?}"
    );
    assert!(outcomes[0].2.contains("killed"), "{outcomes:?}");
    assert!(outcomes[1].2.contains("left undone"), "{outcomes:?}");
    assert_eq!(outcomes.len(), 4);
    assert!(!dir.path().join("ran").exists());
}

#[tokio::test]
async fn only_what_failed_is_done_again() {
    let (dir, root) = sandbox(&[
        ("some", "exit 1"),
        ("all", "echo \"$@\" >> \"${0%/*}/said\""),
    ]);
    let steps = [
        program("/all", &[]),
        AfterRenew::StaticPods,
        program("/some", &["apiserver", "other.conf"]),
    ];
    let ends = |outcomes: Vec<(String, StepResult, String)>| -> Vec<(String, StepResult)> {
        let short = outcomes.into_iter().map(|(step, result, _)| (step, result));
        short.collect()
    };
    assert_eq!(outcomes(&root, &steps, &mut Stop::listen()).await.len(), 4);
    let failed = [("/some".to_owned(), StepResult::Failed)];
    for _ in 0..2 {
        let mut owed = Owed::read(&root).unwrap();
        let outcomes = pay(&root, &steps, &mut owed, &mut Stop::listen()).await;
        assert_eq!(ends(outcomes), failed);
        let left = outstanding(&steps, &renewed(), &owed)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        assert_eq!(left, ["/some for apiserver, other.conf"]);
    }
    hooks::tests::program(&dir.path().join("some"), ":");
    let mut owed = Owed::read(&root).unwrap();
    let outcomes = pay(&root, &steps, &mut owed, &mut Stop::listen()).await;
    assert_eq!(ends(outcomes), [("/some".to_owned(), StepResult::Done)]);
    let said = std::fs::read_to_string(dir.path().join("said")).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test]
async fn a_program_in_the_failed_one_s_place_is_owed_and_one_that_is_gone_is_not() {
    let (_dir, root) = sandbox(&[("bad", "exit 1"), ("good", "echo \"$@\"")]);
    outcomes(
        &root,
        &[program("/bad", &["apiserver"])],
        &mut Stop::listen(),
    )
    .await;
    let owed = Owed::read(&root).unwrap();
    let steps = [program("/good", &[])];
    let outcomes = pay(&root, &steps, &mut owed.clone(), &mut Stop::listen()).await;
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].2, "apiserver");
    owed.save(&root).unwrap();
    assert_eq!(
        pay(&root, &[], &mut owed.clone(), &mut Stop::listen()).await,
        []
    );
}

#[test]
fn much_output_is_cut() {
    let text = last_characters(&"ü".repeat(10_000));
    assert_eq!(text.chars().count(), SHOWN + 1);
    assert_eq!(last_characters("short"), "short");
}
