//! Addresses: into the running process, without a reload.

use stayput::surface::Outcome;

use crate::lab::{self, Lab, haproxy_is_here, in_time};

#[tokio::test]
async fn a_master_moves_without_a_reload() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    let left_behind = lab.master("master-1", 1).await;
    lab.start().await;
    lab.statuses(&[
        ("master-1", "UP"),
        ("master-2", "DOWN"),
        ("master-3", "DOWN"),
    ])
    .await;
    let mut session = lab.client.connect(lab.endpoint()).await.unwrap();
    assert_eq!(session.ask().await.unwrap(), "master-1.prod.k8s.internal");
    let pid = lab.pid();

    // The old machine still answers at the old address: its sessions end all the same.
    let moved = lab.master("master-1", 11).await;
    lab.tell("master-1", lab.address(11));
    let applied = lab.apply().await.unwrap();
    assert_eq!(applied.outcome, Outcome::Updated);
    assert!(
        applied.detail.contains(&lab.address(11).to_string()),
        "{applied:?}"
    );
    in_time("the old session ends", session.closed()).await;
    drop(left_behind);
    let name = lab.client.ask(lab.endpoint()).await.unwrap();
    assert_eq!(name, "master-1.prod.k8s.internal");
    assert_eq!(lab.pid(), pid, "HAProxy was reloaded");
    assert!(
        lab.file()
            .contains(&format!("server master-1 {}:", lab.address(11)))
    );
    assert!(!lab.file().contains(&format!("{}:", lab.address(1))));

    let again = lab.apply().await.unwrap();
    assert_eq!(again.outcome, Outcome::Unchanged, "{again:?}");
    assert!(lab.observe().await.agrees());
    drop(moved);
}

#[tokio::test]
async fn a_master_moves_also_while_the_disk_hangs() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    let (repaired, broken) = std::sync::mpsc::channel::<()>();
    let writer = lab.writer.clone();
    let mut hanging = std::pin::pin!(writer.run(move || broken.recv()));
    let (old, new) = (lab.address(2).to_string(), lab.address(12).to_string());
    lab.tell("master-2", lab.address(12));
    let socket = lab.socket();
    let mut applying = Box::pin(lab.surface.apply(&lab.view));
    let moved = async {
        while !lab::ask(&socket, "show servers state masters").contains(&new) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    in_time("the address arrives", async {
        tokio::select! {
            biased;
            done = &mut hanging => panic!("{done:?}"),
            done = &mut applying => panic!("{done:?}"),
            () = moved => {}
        }
    })
    .await;
    drop(repaired);
    let applied = in_time("the disk works again", &mut applying)
        .await
        .unwrap();
    drop(applying);
    assert!(applied.detail.ends_with("the file follows"), "{applied:?}");
    assert!(lab.file().contains(&new) && !lab.file().contains(&format!("{old}:")));
}

#[tokio::test]
async fn masters_that_swap_addresses_are_followed() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    let before = [
        lab.master("master-1", 1).await,
        lab.master("master-2", 2).await,
    ];
    lab.start().await;
    lab.statuses(&[("master-1", "UP"), ("master-2", "UP")])
        .await;
    drop(before);
    lab.statuses(&[("master-1", "DOWN"), ("master-2", "DOWN")])
        .await;
    let _after = [
        lab.master("master-1", 2).await,
        lab.master("master-2", 1).await,
    ];
    let pid = lab.pid();
    lab.tell("master-1", lab.address(2));
    lab.tell("master-2", lab.address(1));
    lab.apply().await.unwrap();
    lab.statuses(&[("master-1", "UP"), ("master-2", "UP")])
        .await;
    assert_eq!(lab.pid(), pid);
}

#[tokio::test]
async fn the_first_address_of_a_master_arrives_without_a_reload() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    let book = std::sync::Arc::make_mut(&mut lab.view.book);
    book.records.retain(|name, _| name.label() == "master-1");
    lab.start().await;
    assert_eq!(lab.status("master-2"), "MAINT");
    let pid = lab.pid();
    let _master = lab.master("master-2", 2).await;
    lab.tell("master-2", lab.address(2));
    lab.apply().await.unwrap();
    lab.statuses(&[("master-2", "UP"), ("master-3", "MAINT")])
        .await;
    assert_eq!(lab.pid(), pid);
    assert_eq!(lab.apply().await.unwrap().outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn a_change_that_haproxy_missed_is_repaired() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    let file = lab.file();
    lab.ask("set server masters/master-2 addr 127.0.0.9");
    assert!(!lab.observe().await.agrees());
    let applied = lab.apply().await.unwrap();
    assert_eq!(applied.outcome, Outcome::Updated, "{applied:?}");
    assert!(
        lab.ask("show servers state masters")
            .contains(&lab.address(2).to_string())
    );
    assert_eq!(lab.file(), file);
    assert_eq!(lab.apply().await.unwrap().outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn a_file_that_was_lost_is_written_again_without_a_reload_of_what_runs_right() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    let file = lab.file();
    // Old addresses, as from a backup.
    let old = file.replace(&lab.address(2).to_string(), "127.0.0.9");
    lab.write("var/lib/stayput/haproxy.cfg", old.as_bytes());
    let pid = lab.pid();
    assert_eq!(lab.apply().await.unwrap().outcome, Outcome::Updated);
    assert_eq!(lab.file(), file);
    assert_eq!(lab.pid(), pid);
}

#[tokio::test]
async fn an_operator_s_maintenance_is_respected() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    lab.ask("set server masters/master-2 state maint");
    assert_eq!(lab.apply().await.unwrap().outcome, Outcome::Unchanged);
    lab.tell("master-2", lab.address(12));
    lab.apply().await.unwrap();
    assert_eq!(lab.status("master-2"), "MAINT");
}

#[tokio::test]
async fn an_address_of_the_other_family() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    let pid = lab.pid();
    lab.tell("master-2", "fd77::12".parse().unwrap());
    lab.apply().await.unwrap();
    assert!(lab.ask("show servers state masters").contains(" fd77::12 "));
    assert!(lab.observe().await.agrees());
    // A restart reads the same from the file.
    lab.stop_haproxy();
    lab.start_haproxy();
    lab.eventually("HAProxy is back", async |lab| lab.observe().await.agrees())
        .await;
    assert_ne!(lab.pid(), pid);
    assert_eq!(lab.apply().await.unwrap().outcome, Outcome::Unchanged);
}
