//! Who counts as healthy, and what happens to the others.

use std::net::Ipv4Addr;

use stayput::surface::Outcome;
use tokio::io::AsyncReadExt;

use crate::lab::{Lab, haproxy_is_here, in_time};
use crate::masters::Authority;

#[tokio::test]
async fn strangers_are_down_and_clients_refuse_them() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    let others = Authority::new("kubernetes");
    let _master = lab.master("master-1", 1).await;
    // Another cluster's machine has the old address of master-2, under the same name.
    let _stranger = lab.stranger(&others, "master-2", lab.address(2)).await;
    // Another master of this cluster has the old address of master-3.
    let _other = lab.master("master-1", 3).await;
    lab.start().await;
    lab.statuses(&[
        ("master-1", "UP"),
        ("master-2", "DOWN"),
        ("master-3", "DOWN"),
    ])
    .await;
    let observation = lab.observe().await;
    for server in &observation.servers[1..] {
        let status = server.status.as_ref().unwrap();
        assert_eq!(status.check, "L6RSP", "{status:?}");
        assert!(status.check_text.contains("SSL"), "{status:?}");
    }
    for _ in 0..10 {
        let name = lab.client.ask(lab.endpoint()).await.unwrap();
        assert_eq!(name, "master-1.prod.k8s.internal");
    }

    // Until its next check HAProxy takes a moved server for healthy; clients do not.
    let _there = lab.stranger(&others, "master-1", lab.address(11)).await;
    lab.tell("master-1", lab.address(11));
    lab.apply().await.unwrap();
    let error = lab
        .client
        .ask(lab.endpoint())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("certificate") || error.contains("eof"),
        "{error}"
    );
    lab.statuses(&[("master-1", "DOWN")]).await;
}

#[tokio::test]
async fn an_apiserver_that_does_not_let_anonymous_requests_in_is_up() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    let master = lab.master("master-1", 1).await;
    lab.start().await;
    for (status, want) in [
        (500, "DOWN"),
        (401, "UP"),
        (404, "DOWN"),
        (403, "UP"),
        (302, "DOWN"),
        (200, "UP"),
        (503, "DOWN"),
    ] {
        master.set_readyz(status);
        lab.statuses(&[("master-1", want)]).await;
    }
    let observation = lab.observe().await;
    let status = observation.servers[0].status.as_ref().unwrap();
    assert_eq!(status.check_code, Some(503), "{status:?}");
}

#[tokio::test]
async fn without_a_master_a_connection_is_closed_at_once() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    lab.statuses(&[
        ("master-1", "DOWN"),
        ("master-2", "DOWN"),
        ("master-3", "DOWN"),
    ])
    .await;
    let refused = async {
        // The reset may come before the connection is used for the first time.
        let mut stream = tokio::net::TcpStream::connect(lab.endpoint()).await?;
        stream.read(&mut [0]).await
    };
    let read = in_time("the connection is closed", refused).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    // Refused by the rule, before any server was looked for.
    let statistics = lab.ask("show stat endpoint 1 -1 typed");
    let denied = statistics
        .lines()
        .find(|line| line.contains(".dcon."))
        .unwrap();
    assert!(denied.ends_with(":1"), "{denied}");
}

#[tokio::test]
async fn a_server_that_goes_down_loses_its_sessions() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    let master = lab.master("master-1", 1).await;
    lab.start().await;
    lab.statuses(&[("master-2", "DOWN"), ("master-3", "DOWN")])
        .await;
    let mut session = lab.client.connect(lab.endpoint()).await.unwrap();
    session.ask().await.unwrap();
    // It still answers, but says itself that it is not ready.
    master.set_readyz(500);
    in_time("the session ends", session.closed()).await;
}

#[tokio::test]
async fn the_authority_makes_checks_by_name_when_it_appears() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::before_join(Authority::new("kubernetes"));
    let others = Authority::new("kubernetes");
    let _stranger = lab.stranger(&others, "master-1", lab.address(1)).await;
    let _master = lab.master("master-2", 2).await;
    lab.start().await;
    // TCP is all that there is to check.
    lab.statuses(&[("master-1", "UP"), ("master-2", "UP"), ("master-3", "DOWN")])
        .await;
    let unverified = "no /etc/kubernetes/pki/ca.crt yet: health is a TCP connection only";
    let observation = lab.observe().await;
    assert!(!observation.by_name);
    assert!(
        observation.notices[0].starts_with(unverified),
        "{observation:?}"
    );
    let applied = lab.apply().await.unwrap();
    assert!(applied.notices[0].starts_with(unverified), "{applied:?}");

    let pem = lab.authority.pem();
    lab.write("etc/kubernetes/pki/ca.crt", pem.as_bytes());
    let applied = lab.apply().await.unwrap();
    assert_eq!(applied.outcome, Outcome::Updated, "{applied:?}");
    lab.statuses(&[("master-1", "DOWN"), ("master-2", "UP")])
        .await;
    assert!(lab.observe().await.by_name);
    let applied = lab.apply().await.unwrap();
    assert_eq!(applied.outcome, Outcome::Unchanged);
    assert_eq!(applied.notices, [""; 0]);

    // A bundle with the next authority: loaded, without anybody saying so.
    let bundle = format!("{pem}{}", others.pem());
    lab.write("etc/kubernetes/pki/ca.crt", bundle.as_bytes());
    lab.apply().await.unwrap();
    lab.statuses(&[("master-1", "UP"), ("master-2", "UP")])
        .await;
}

#[tokio::test]
async fn an_authority_that_is_lost_is_told_until_it_is_back() {
    let mut lab = Lab::new();
    lab.cluster().haproxy.binary = "/nonexistent/haproxy".into();
    let told = async |lab: &mut Lab| lab.apply().await.unwrap().notices.join("\n");
    assert!(!told(&mut lab).await.contains("ca.crt"));
    std::fs::remove_file(lab.path("etc/kubernetes/pki/ca.crt")).unwrap();
    for _ in 0..2 {
        let notices = told(&mut lab).await;
        assert!(
            notices.contains("/etc/kubernetes/pki/ca.crt is gone"),
            "{notices}"
        );
        assert!(lab.file().contains("# Authority: none on this node"));
    }
    lab.write("etc/kubernetes/pki/ca.crt", lab.authority.pem().as_bytes());
    assert!(!told(&mut lab).await.contains("ca.crt"));
}

#[tokio::test]
async fn a_damaged_authority_changes_nothing_and_holds_nothing_up() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    let _master = lab.master("master-1", 1).await;
    lab.start().await;
    lab.statuses(&[("master-1", "UP")]).await;
    let (file, pid) = (lab.file(), lab.pid());
    lab.write(
        "etc/kubernetes/pki/ca.crt",
        b"-----BEGIN CERTIFICATE-----\nMII",
    );
    let applied = lab.apply().await.unwrap();
    assert_eq!(applied.outcome, Outcome::Unchanged, "{applied:?}");
    assert!(
        applied.notices[0].contains("ends within a certificate"),
        "{applied:?}"
    );
    assert_eq!(lab.file(), file);
    // Masters still move.
    lab.tell("master-2", lab.address(12));
    lab.apply().await.unwrap();
    assert!(lab.file().contains(&format!("{}:", lab.address(12))));
    assert_eq!(lab.pid(), pid);
    lab.statuses(&[("master-1", "UP")]).await;
}

#[tokio::test]
async fn this_node_s_own_apiserver_is_seen_ready_by_name_only() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::before_join(Authority::new("kubernetes"));
    lab.be_master("master-2");
    let master = lab
        .stranger(&lab.authority, "master-2", Ipv4Addr::LOCALHOST.into())
        .await;
    master.set_readyz(500);
    lab.start().await;
    lab.statuses(&[("master-2", "UP"), ("master-1", "DOWN")])
        .await;
    assert!(
        !lab.observe().await.local_ready(),
        "a TCP check is no proof"
    );

    let pem = lab.authority.pem();
    lab.write("etc/kubernetes/pki/ca.crt", pem.as_bytes());
    lab.apply().await.unwrap();
    assert!(!lab.observe().await.local_ready());
    lab.statuses(&[("master-2", "DOWN")]).await;
    master.set_readyz(200);
    lab.eventually("the local apiserver is ready", async |lab| {
        lab.observe().await.local_ready()
    })
    .await;
}
