//! The saved book: a full disk, a damaged file.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::sandbox::{MASTERS, Sandbox, surface};
use crate::support::{STAYPUT, here, until};

/// The folder of the state is a small file system of its own that only the agent sees.
const SMALL_DISK: &str = r#"
mount -t tmpfs -o size=64k tmpfs "$1/var/lib/stayput"
root=$1
shift
exec "$@" --root "$root" run
"#;

#[test]
fn a_full_disk_does_not_stop_a_change() {
    if !here(true, &["unshare", "mount"]) {
        return;
    }
    let sandbox = Sandbox::worker();
    std::fs::create_dir_all(sandbox.path("var/lib/stayput")).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-ec", SMALL_DISK, "sh"]);
    let mut agent = sandbox.ready(command.arg(sandbox.folder()).arg(STAYPUT));
    let disk = PathBuf::from(format!("/proc/{}/root", agent.pid()))
        .join(sandbox.path("var/lib/stayput").strip_prefix("/").unwrap());
    assert!(disk.join("state.json").exists());
    let mut filler = std::fs::File::create(disk.join("filler")).unwrap();
    while filler.write_all(&[0; 512]).is_ok() {}

    let said = sandbox.stayput(&["event", "master-2", "127.77.0.92"]);
    assert_eq!(said.code, 1, "{said:?}");
    let state = said
        .out
        .lines()
        .find(|line| line.starts_with("state"))
        .unwrap();
    assert!(
        state.contains("failed") && state.contains("No space left"),
        "{state}"
    );
    assert!(
        said.out
            .contains("the change is in force but would not survive a restart")
    );
    assert!(sandbox.hosts().contains("127.77.0.92 master-2."));
    assert!(sandbox.dns("master-2").contains("127.77.0.92"));
    assert!(sandbox.read("srv/haproxy.cfg").contains("127.77.0.92:"));
    let status = sandbox.status();
    assert_eq!(surface(&status, "state")["condition"], "failed");
    assert_eq!(surface(&status, "hosts")["condition"], "ok");

    std::fs::remove_file(disk.join("filler")).unwrap();
    drop(filler);
    let status = sandbox.shows("the state is saved", |status| {
        surface(status, "state")["condition"] == "ok"
    });
    assert!(
        surface(&status, "state")["lastError"]
            .to_string()
            .contains("No space left")
    );
    let saved = std::fs::read_to_string(disk.join("state.json")).unwrap();
    assert!(saved.contains("127.77.0.92"), "{saved}");
    agent.must_run();
}

#[test]
fn a_damaged_file_is_set_aside_and_the_book_rebuilt() {
    let sandbox = Sandbox::worker();
    let started = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    sandbox
        .stayput(&["event", "master-2", "127.77.0.93"])
        .good();
    let damage = "{\"format\": 1, \"book\": {\"gene";
    sandbox.write("var/lib/stayput/state.json", damage);
    let agent = sandbox.agent();
    assert!(agent.log().contains("was damaged"), "{}", agent.log());
    let status = sandbox.status();
    assert_eq!(status["masters"][1]["addresses"][0], MASTERS[1]);
    // Without a memory the clock keeps it growing.
    assert!(status["generation"].as_u64().unwrap() >= started);
    let notices = surface(&status, "state")["notices"].to_string();
    assert!(
        notices.contains("it lies in /var/lib/stayput/state.json.damaged now"),
        "{notices}"
    );
    assert!(
        notices.contains("the book was rebuilt from the cluster file"),
        "{notices}"
    );
    assert_eq!(sandbox.read("var/lib/stayput/state.json.damaged"), damage);
    assert!(
        sandbox
            .read("var/lib/stayput/state.json")
            .contains(MASTERS[1])
    );
}

#[test]
fn a_command_without_an_agent_sets_a_damaged_file_aside_too_but_a_reading_one_does_not() {
    let sandbox = Sandbox::worker();
    sandbox.write("var/lib/stayput/state.json", "?");
    sandbox.stayput(&["status"]).good();
    assert_eq!(sandbox.read("var/lib/stayput/state.json"), "?");
    let said = sandbox
        .stayput(&["event", "master-2", "127.77.0.94"])
        .good();
    assert!(said.contains("was damaged"), "{said}");
    until("it is saved", || {
        sandbox
            .read("var/lib/stayput/state.json")
            .contains("127.77.0.94")
    });
}

#[test]
fn a_state_that_cannot_be_read_stops_everyone_and_is_left_alone() {
    let sandbox = Sandbox::worker();
    sandbox
        .stayput(&["event", "master-2", "127.77.0.95"])
        .good();
    let state = sandbox.path("var/lib/stayput/state.json");
    let kept = sandbox.path("var/lib/stayput/kept.json");
    std::fs::rename(&state, &kept).unwrap();
    // ELOOP, also for root; as an input/output error it says nothing of the file behind it.
    std::os::unix::fs::symlink("state.json", &state).unwrap();
    let before = sandbox.hosts();
    for command in [
        &["run"][..],
        &["apply"],
        &["event", "master-1", "127.77.0.96"],
        &["status"],
        &["check"],
        &["resolve", "master-2"],
        &["hosts", "show"],
        &["haproxy", "show"],
    ] {
        let said = sandbox.stayput(command).refused(71);
        assert!(
            said.contains("cannot read /var/lib/stayput/state.json"),
            "{command:?}: {said}"
        );
    }
    assert!(state.is_symlink());
    assert_eq!(sandbox.hosts(), before);
    std::fs::rename(&kept, &state).unwrap();
    let _agent = sandbox.agent();
    assert_eq!(sandbox.addresses(2)[0], "127.77.0.95");
}

#[test]
fn a_reading_command_says_that_the_state_is_damaged() {
    let sandbox = Sandbox::worker();
    sandbox.write("var/lib/stayput/state.json", "?");
    let said = sandbox.stayput(&["hosts", "show"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.err
            .contains("/var/lib/stayput/state.json is damaged (")
    );
    assert!(said.out.contains(MASTERS[1]));
}
