//! HAProxy that is missing, stopped, hung, or kept from its port.

use std::net::TcpListener;

use stayput::surface::Outcome;

use crate::lab::{Lab, haproxy_is_here};

#[tokio::test]
async fn a_stopped_haproxy_is_a_state_and_finds_its_file_when_it_starts() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    lab.stop_haproxy();
    // The socket's file is still there, and nobody behind it.
    assert!(lab.path("run/stayput/haproxy.sock").exists());
    lab.tell("master-2", lab.address(12));
    let applied = lab.apply().await.unwrap();
    assert_eq!(applied.outcome, Outcome::Absent);
    assert!(
        applied.notices[0].contains("not running: start stayput-haproxy"),
        "{applied:?}"
    );
    let observation = lab.observe().await;
    assert_eq!(observation.running, None);
    assert!(observation.file_current && !observation.agrees());

    lab.start_haproxy();
    lab.eventually("HAProxy agrees", async |lab| lab.observe().await.agrees())
        .await;
    assert_eq!(lab.apply().await.unwrap().outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn a_lost_socket_is_told_from_a_stopped_haproxy() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    let pid = lab.pid();
    std::fs::remove_file(lab.path("run/stayput/haproxy.sock")).unwrap();
    let applied = lab.apply().await.unwrap();
    assert_eq!(applied.outcome, Outcome::Absent, "{applied:?}");
    let notices = applied.notices.join("\n");
    assert!(notices.contains("restart stayput-haproxy"), "{notices}");
    assert!(notices.contains("haproxy (pid "), "{notices}");
    assert!(
        !notices.contains(&format!("(pid {pid})")),
        "it was reloaded: {notices}"
    );

    lab.stop_haproxy();
    lab.start_haproxy();
    lab.eventually("HAProxy agrees", async |lab| lab.observe().await.agrees())
        .await;
}

#[tokio::test]
async fn without_a_haproxy_the_file_is_written_all_the_same() {
    let mut lab = Lab::new();
    lab.cluster().haproxy.binary = "/nonexistent/haproxy".into();
    let applied = lab.apply().await.unwrap();
    assert_eq!(applied.outcome, Outcome::Absent);
    let notices = applied.notices.join("\n");
    assert!(notices.contains("not validated"), "{notices}");
    assert!(
        notices.contains("/nonexistent/haproxy is not there"),
        "{notices}"
    );
    assert!(lab.file().contains("server master-1 "));
    assert!(!lab.path("var/lib/stayput/haproxy.cfg.candidate").exists());
}

#[tokio::test]
async fn whoever_has_the_port_is_named() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    let _squatter = TcpListener::bind(lab.endpoint()).unwrap();
    let applied = lab.apply().await.unwrap();
    assert_eq!(applied.outcome, Outcome::Absent);
    let notices = applied.notices.join("\n");
    let taken = format!("{} is taken by", lab.endpoint());
    assert!(notices.contains(&taken), "{notices}");
    assert!(
        notices.contains(&format!("(pid {})", std::process::id())),
        "{notices}"
    );
}

#[tokio::test]
async fn a_reload_that_meets_a_taken_port_is_told_with_the_holder() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    let squatter = TcpListener::bind("127.0.0.1:0").unwrap();
    let pid = lab.pid();
    lab.cluster().endpoint.port = squatter.local_addr().unwrap().port();
    let error = lab.apply().await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("(pid {})", std::process::id())),
        "{error}"
    );
    assert_eq!(lab.pid(), pid, "the old process goes on");

    // The port becomes free: the next look puts it right.
    drop(squatter);
    lab.apply().await.unwrap();
    assert!(lab.observe().await.agrees());
}

#[tokio::test]
async fn another_haproxy_behind_the_socket_is_left_alone() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.apply().await.unwrap();
    let foreign = lab
        .file()
        .replace("description stayput ", "description edge ");
    lab.write("var/lib/stayput/haproxy.cfg", foreign.as_bytes());
    lab.start_haproxy();
    lab.eventually("it runs", async |lab| lab.observe().await.running.is_some())
        .await;
    let observation = lab.observe().await;
    assert!(
        observation.notices[0].contains("does not run stayput's"),
        "{observation:?}"
    );
    lab.ask("set server masters/master-1 addr 127.0.0.9");
    lab.cluster().haproxy.reload = vec!["/bin/false".into()];
    lab.apply().await.unwrap_err();
    assert!(lab.ask("show servers state masters").contains("127.0.0.9"));
}
