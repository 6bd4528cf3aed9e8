//! Members come, learn, get their vote, are renamed and go; etcdctl sees the same.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use stayput::api::etcd::{Error, Etcd};

use crate::files::Files;
use crate::member::{Addresses, etcdctl, full, peer, start};
use crate::support::{PATIENCE, here};

/// Asks again until it is so.
async fn until<T, E: std::fmt::Debug>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(seen) => return seen,
            Err(error) => assert!(Instant::now() < deadline, "never: {what}: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn members_come_learn_and_go() {
    if !here(false, &["etcd", "etcdctl"]) {
        return;
    }
    let files = Files::new();
    let addresses = Addresses::new(2);
    let first = [peer(&addresses, 1)];
    let _first = start(&files, &addresses, 1, &first, "new");
    let url = format!("https://{}:2379", full(1));
    let etcd = Etcd::at(&files.root(), &url, &addresses.directory()).unwrap();

    until("etcd is healthy", async || etcd.healthy().await).await;
    let members = etcd.members().await.unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(
        (members[0].name.as_str(), members[0].is_learner),
        ("master-1", false)
    );
    assert_eq!(members[0].client_urls, std::slice::from_ref(&url));
    let status = etcd.status().await.unwrap();
    assert_eq!((status.id, status.leader), (members[0].id, members[0].id));
    assert!(status.version.starts_with("3."), "{status:?}");
    assert!(
        status.raft_index > 0 && status.errors.is_empty(),
        "{status:?}"
    );

    // A learner that does not run yet: it is listed, is not in sync, and is the only one.
    let second = format!("https://{}:2380", addresses.0[1]);
    let learner = etcd.add_learner(&second).await.unwrap();
    assert!(learner.is_learner && learner.name.is_empty(), "{learner:?}");
    assert_eq!(learner.peer_urls, std::slice::from_ref(&second));
    let early = etcd.promote(learner.id).await.unwrap_err();
    assert!(matches!(early, Error::NotInSync { .. }), "{early:?}");
    let another = etcd
        .add_learner("https://127.0.0.9:2380")
        .await
        .unwrap_err();
    assert!(
        matches!(another, Error::TooManyLearners { .. }),
        "{another:?}"
    );
    let same = etcd.add_learner(&second).await.unwrap_err();
    assert!(!same.is_absent(), "{same:?}");

    let both = [peer(&addresses, 1), peer(&addresses, 2)];
    let running = start(&files, &addresses, 2, &both, "existing");
    until("the learner is promoted", async || {
        etcd.promote(learner.id).await
    })
    .await;
    let seen = etcdctl(&files, &addresses, &["member", "list"]).good();
    let line = format!(
        "{:x}, started, master-2, {second}, https://{}:2379, false",
        learner.id,
        full(2)
    );
    assert!(seen.contains(&line), "{seen}");

    // Another URL, by name; then without it there is no majority.
    let named = [format!("https://{}:2380", full(2))];
    etcd.update(learner.id, &named).await.unwrap();
    let seen = etcdctl(&files, &addresses, &["member", "list"]).good();
    assert!(seen.contains(&named[0]), "{seen}");
    running.signal(Signal::KILL);
    let error = until("etcd misses its majority", async || {
        match etcd.healthy().await {
            Ok(()) => Err("it is healthy"),
            Err(error) => Ok(error),
        }
    });
    let error = error.await;
    assert!(error.is_absent(), "{error:?}");
    assert_eq!(etcd.members().await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_etcd_refuses_is_told_in_its_words() {
    if !here(false, &["etcd"]) {
        return;
    }
    let files = Files::new();
    // The addresses of the other test but for the last number.
    let addresses = Addresses(Addresses::new(9).0.split_off(8));
    let _first = start(&files, &addresses, 1, &[peer(&addresses, 1)], "new");
    let url = format!("https://{}:2379", full(1));
    let etcd = Etcd::at(&files.root(), &url, &addresses.directory()).unwrap();
    until("etcd is healthy", async || etcd.healthy().await).await;
    let error = etcd.remove(7).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("etcd at {url} refuses cluster/member/remove")),
        "{text}"
    );
    assert!(text.contains("member not found"), "{text}");
}

#[tokio::test]
async fn an_old_gateway_is_told() {
    use crate::server::{Manner, serve};
    let files = Files::new();
    let server = serve(
        &files,
        &["127.0.0.1"],
        Manner::answer(404, "404 page not found\n"),
    )
    .await;
    let url = format!("https://127.0.0.1:{}", server.port());
    let etcd = Etcd::at(&files.root(), &url, &Addresses::new(1).directory()).unwrap();
    let error = etcd.members().await.unwrap_err();
    assert!(
        error.to_string().contains("needs etcd 3.4 or later"),
        "{error}"
    );
    let asked = server.asked();
    assert!(
        asked[0].starts_with("post /v3/cluster/member/list http/1.1\r\n"),
        "{asked:?}"
    );
    assert!(asked[0].ends_with("\r\n\r\n{}"), "{asked:?}");
}

#[tokio::test]
async fn what_is_missing_on_this_machine_is_told() {
    let files = Files::new();
    let at = |files: &Files| {
        Etcd::at(
            &files.root(),
            "https://127.0.0.1:1",
            &Addresses::new(1).directory(),
        )
    };
    at(&files).unwrap();
    for pair in ["healthcheck-client.crt", "ca.crt"] {
        std::fs::remove_file(files.pki().join(pair)).unwrap();
        let error = at(&files).unwrap_err();
        assert!(error.to_string().contains("is not there"), "{error}");
        assert!(!error.is_absent(), "{error:?}");
    }
}
