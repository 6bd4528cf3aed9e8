//! Everything but addresses: judged, replaced, reloaded.

use std::net::Ipv4Addr;
use std::sync::Arc;

use stayput::surface::Outcome;
use stayput::surface::haproxy::{Error, PATIENCE};

use crate::lab::{self, HAPROXY, Lab, haproxy_is_here, in_time};

#[tokio::test]
async fn a_new_master_needs_a_reload_and_open_sessions_outlive_it() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    let _masters = [
        lab.master("master-1", 1).await,
        lab.master("master-4", 4).await,
    ];
    lab.start().await;
    lab.statuses(&[
        ("master-1", "UP"),
        ("master-2", "DOWN"),
        ("master-3", "DOWN"),
    ])
    .await;
    let mut logs = lab.client.connect(lab.endpoint()).await.unwrap();
    let pid = lab.pid();
    lab.cluster().masters.push(lab::master("master-4"));
    lab.tell("master-4", lab.address(4));
    let applied = lab.apply().await.unwrap();
    assert_eq!(applied.outcome, Outcome::Updated, "{applied:?}");
    assert_ne!(lab.pid(), pid);
    lab.statuses(&[("master-4", "UP")]).await;
    assert_eq!(logs.ask().await.unwrap(), "master-1.prod.k8s.internal");
    assert_eq!(lab.apply().await.unwrap().outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn the_candidate_of_a_run_that_was_cut_is_removed() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    lab.write("var/lib/stayput/haproxy.cfg.candidate", b"half a fi");
    assert_eq!(lab.apply().await.unwrap().outcome, Outcome::Unchanged);
    assert!(!lab.path("var/lib/stayput/haproxy.cfg.candidate").exists());
}

#[tokio::test]
async fn the_candidate_of_a_run_that_was_cut_is_removed_where_no_folder_can_be_made() {
    let mut lab = Lab::new();
    lab.write("var/lib/stayput/haproxy.cfg.candidate", b"half a fi");
    lab.write("run", b"no folder");
    let error = lab.apply().await.unwrap_err().to_string();
    assert!(error.contains("cannot create /run/stayput"), "{error}");
    assert!(!lab.path("var/lib/stayput/haproxy.cfg.candidate").exists());

    // Beside a file that is not ours nothing is removed.
    lab.write("var/lib/stayput/haproxy.cfg", b"global\n");
    lab.write("var/lib/stayput/haproxy.cfg.candidate", b"not ours");
    lab.apply().await.unwrap_err();
    assert!(lab.path("var/lib/stayput/haproxy.cfg.candidate").exists());
}

/// Time stands still while nothing but time is waited for, so limits are over at once.
#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_is_given_up_within_the_patience_and_leaves_nothing() {
    let mut lab = Lab::new();
    let script = lab.path("hanging");
    std::fs::write(&script, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    lab.cluster().haproxy.binary = script;
    let start = tokio::time::Instant::now();
    let error = lab.apply().await.unwrap_err().to_string();
    assert!(
        error.contains("was killed because it took longer"),
        "{error}"
    );
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert!(!lab.path("var/lib/stayput/haproxy.cfg.candidate").exists());
    assert!(!lab.path("var/lib/stayput/haproxy.cfg").exists());
}

#[tokio::test]
async fn a_refused_configuration_leaves_the_old_one_and_masters_still_move() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    let (file, pid) = (lab.file(), lab.pid());
    lab.cluster().haproxy.user = Some("no-such-user".into());
    lab.tell("master-2", lab.address(12));
    let error = lab.apply().await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("cannot find user id for 'no-such-user'"),
        "{error}"
    );
    assert_eq!(lab.file(), file);
    assert!(!lab.path("var/lib/stayput/haproxy.cfg.candidate").exists());
    assert_eq!(lab.pid(), pid);
    assert!(
        lab.ask("show servers state masters")
            .contains(&lab.address(12).to_string())
    );

    lab.cluster().haproxy.user = None;
    let applied = lab.apply().await.unwrap();
    assert_eq!(applied.outcome, Outcome::Updated);
    assert!(lab.file().contains(&lab.address(12).to_string()));
    assert_eq!(lab.pid(), pid);
}

#[tokio::test]
async fn an_authority_that_only_looks_good_is_refused_and_the_file_still_follows() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    let before = lab.file();
    lab.write(
        "etc/kubernetes/pki/ca.crt",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    lab.tell("master-2", lab.address(12));
    let error = lab.apply().await.unwrap_err().to_string();
    assert!(error.contains("ca.crt"), "{error}");
    let (old, new) = (lab.address(2).to_string(), lab.address(12).to_string());
    assert_eq!(
        lab.file(),
        before.replace(&format!("{old}:"), &format!("{new}:"))
    );
}

#[tokio::test]
async fn a_foreign_file_is_left_alone() {
    let mut lab = Lab::new();
    let foreign = b"global\n    daemon\n";
    lab.write("var/lib/stayput/haproxy.cfg", foreign);
    let error = lab.apply().await.unwrap_err();
    assert!(matches!(error, Error::Foreign(_)), "{error}");
    assert_eq!(lab.file().as_bytes(), foreign);

    lab.cluster().haproxy.config = "/etc/haproxy/haproxy.cfg".into();
    let error = lab.apply().await.unwrap_err();
    assert!(matches!(error, Error::Distribution), "{error}");
    assert!(!lab.path("etc/haproxy").exists());
}

#[tokio::test]
async fn a_hand_edit_is_undone_with_a_reload() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    let (file, pid) = (lab.file(), lab.pid());
    lab.write(
        "var/lib/stayput/haproxy.cfg",
        file.replace("fall 2", "fall 200").as_bytes(),
    );
    lab.apply().await.unwrap();
    assert_eq!(lab.file(), file);
    assert_ne!(lab.pid(), pid);
}

#[tokio::test]
async fn a_provisioned_master_leads_to_itself_only() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.be_master("master-2");
    let own = lab
        .stranger(&lab.authority, "master-2", Ipv4Addr::LOCALHOST.into())
        .await;
    let _other = lab.master("master-1", 1).await;
    lab.start().await;
    lab.statuses(&[("master-1", "UP"), ("master-2", "UP"), ("master-3", "DOWN")])
        .await;

    lab.view.provisioned = true;
    lab.apply().await.unwrap();
    lab.statuses(&[("master-1", "none"), ("master-2", "UP")])
        .await;
    for _ in 0..10 {
        let name = lab.client.ask(lab.endpoint()).await.unwrap();
        assert_eq!(name, "master-2.prod.k8s.internal");
    }
    own.set_readyz(500);
    lab.statuses(&[("master-2", "DOWN")]).await;
    assert!(lab.client.ask(lab.endpoint()).await.is_err());
}

#[tokio::test]
async fn fallback_keeps_the_others_as_backups() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.be_master("master-2");
    lab.view.provisioned = true;
    lab.cluster().haproxy.fallback = true;
    let own = lab
        .stranger(&lab.authority, "master-2", Ipv4Addr::LOCALHOST.into())
        .await;
    let _other = lab.master("master-1", 1).await;
    lab.start().await;
    lab.statuses(&[("master-1", "UP"), ("master-2", "UP"), ("master-3", "DOWN")])
        .await;
    for _ in 0..10 {
        let name = lab.client.ask(lab.endpoint()).await.unwrap();
        assert_eq!(name, "master-2.prod.k8s.internal");
    }
    own.set_readyz(500);
    lab.statuses(&[("master-2", "DOWN")]).await;
    let mut session = lab.client.connect(lab.endpoint()).await.unwrap();
    assert_eq!(session.ask().await.unwrap(), "master-1.prod.k8s.internal");
    own.set_readyz(200);
    lab.statuses(&[("master-2", "UP")]).await;
    in_time("the backup's session ends", session.closed()).await;
}

#[tokio::test]
async fn a_reload_that_fails_is_told() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    lab.cluster().masters.pop();
    lab.cluster().haproxy.reload = ["/bin/sh", "-c", "echo unit is masked >&2; exit 5"]
        .map(str::to_owned)
        .into();
    let error = lab.apply().await.unwrap_err().to_string();
    assert!(
        error.contains("/bin/sh") && error.contains("unit is masked"),
        "{error}"
    );
}

#[tokio::test]
async fn a_structure_that_nobody_reloads_is_a_failure_until_it_is_live() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    lab.cluster().haproxy.reload = Vec::new();
    lab.tell("master-2", lab.address(12));
    lab.apply()
        .await
        .expect("an address needs no reload command");
    lab.cluster().masters.pop();
    for _ in 0..2 {
        let error = lab.apply().await.unwrap_err();
        assert!(matches!(error, Error::NotInForce(_)), "{error}");
        assert!(error.to_string().contains("(haproxy.reload;"), "{error}");
        assert!(!lab.file().contains("server master-3 "));
        assert!(!lab.observe().await.current);
    }
    // The operator does it.
    lab.stop_haproxy();
    lab.start_haproxy();
    lab.eventually("HAProxy agrees", async |lab| lab.observe().await.agrees())
        .await;
    assert_eq!(lab.apply().await.unwrap().outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn a_reload_that_does_nothing_is_noticed() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    lab.cluster().masters.pop();
    lab.cluster().haproxy.reload = vec!["/bin/true".into()];
    let error = lab.apply().await.unwrap_err();
    assert!(matches!(error, Error::NotLive { .. }), "{error}");
}

#[tokio::test]
async fn statistics_are_served_on_loopback() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    let stats = lab.view.cluster.haproxy.stats;
    for (path, want) in [
        (
            "/metrics",
            "haproxy_server_status{proxy=\"masters\",server=\"master-1\"",
        ),
        ("/", "Statistics Report"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(stats).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        in_time("statistics", stream.read_to_string(&mut answer))
            .await
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(want), "{answer}");
    }
}

/// What HAProxy itself thinks of the configurations, without a word of complaint.
#[tokio::test]
async fn haproxy_takes_every_kind_of_configuration() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    for joined in [true, false] {
        if !joined {
            std::fs::remove_file(lab.path("etc/kubernetes/pki/ca.crt")).unwrap();
        }
        for (own, provisioned, fallback) in [
            (None, false, false),
            (Some("master-2"), false, false),
            (Some("master-2"), true, false),
            (Some("master-2"), true, true),
        ] {
            for (user, known) in [(None, true), (Some("haproxy"), false)] {
                let mut view = lab.view.clone();
                if let Some(own) = own {
                    lab.be_master(own);
                    view.node = lab.view.node.clone();
                }
                view.provisioned = provisioned;
                let settings = &mut Arc::make_mut(&mut view.cluster).haproxy;
                settings.fallback = fallback;
                settings.user = user.map(str::to_owned);
                if !known {
                    Arc::make_mut(&mut view.book).records.clear();
                }
                let text = lab.surface.show(&view).await.unwrap();
                lab.write("candidate", text.as_bytes());
                std::fs::create_dir_all(lab.path("run/stayput")).unwrap();
                let output = std::process::Command::new(HAPROXY)
                    .arg("-c")
                    .arg("-f")
                    .arg(lab.path("candidate"))
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{said}\n{text}");
                assert!(!said.contains("[WARNING]"), "{said}\n{text}");
            }
        }
    }
}
