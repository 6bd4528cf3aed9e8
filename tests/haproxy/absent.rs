//! HAProxy that is missing, stopped, hung, or kept from its port.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use stayput::surface::Outcome;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::Instant;

use crate::lab::{HAPROXY, Lab, haproxy_is_here};

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
async fn a_hung_haproxy_is_told_and_not_reloaded_and_finds_its_file() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    let marker = lab.path("reloaded");
    let reload = ["/usr/bin/touch", marker.to_str().unwrap()];
    lab.cluster().haproxy.reload = reload.map(str::to_owned).into();
    let frozen = lab.freeze();
    lab.tell("master-2", lab.address(12));
    for _ in 0..2 {
        let error = lab.apply().await.unwrap_err().to_string();
        assert!(
            error.contains("does not answer on /run/stayput/"),
            "{error}"
        );
        assert!(lab.file().contains(&format!("{}:", lab.address(12))));
    }
    let observation = lab.observe().await;
    assert_eq!(observation.running, None);
    assert!(observation.notices[0].contains("hangs"), "{observation:?}");
    assert_eq!(observation.notices.len(), 1, "{observation:?}");

    drop(frozen);
    let applied = lab.apply().await.unwrap();
    assert_eq!(applied.outcome, Outcome::Updated, "{applied:?}");
    assert!(lab.observe().await.agrees());
    assert!(!marker.exists(), "it was reloaded");
}

/// A HAProxy that stops in the middle of a change. Time stands still while nothing but time is
/// waited for.
#[tokio::test(start_paused = true)]
async fn one_change_waits_three_seconds_at_most_for_a_haproxy_that_hangs() {
    let mut lab = Lab::new();
    lab.cluster().haproxy.binary = "/nonexistent/haproxy".into();
    lab.cluster().haproxy.reload = vec!["/nonexistent/reload".into()];
    lab.apply().await.unwrap();
    let structure = lab.file();
    let structure = structure
        .lines()
        .find_map(|line| line.trim().strip_prefix("description "))
        .unwrap()
        .to_owned();
    let listener = tokio::net::UnixListener::bind(lab.socket()).unwrap();
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut command = String::new();
            BufReader::new(&mut stream)
                .read_line(&mut command)
                .await
                .unwrap();
            if command == "show info\n" {
                let answer =
                    format!("Version: 2.6\nPid: 1\nUptime_sec: 1\ndescription: {structure}\n");
                tokio::time::sleep(Duration::from_millis(1900)).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
            } else {
                unanswered.push(stream);
            }
        }
    });
    lab.tell("master-2", lab.address(12));
    let start = Instant::now();
    let error = lab.apply().await.unwrap_err().to_string();
    assert!(error.contains("does not answer"), "{error}");
    let waited = start.elapsed();
    assert!(
        (Duration::from_millis(2900)..=Duration::from_millis(3100)).contains(&waited),
        "{waited:?}"
    );
    assert!(lab.file().contains(&format!("{}:", lab.address(12))));
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
    let error = lab.apply().await.unwrap_err().to_string();
    assert!(error.contains("restart stayput-haproxy"), "{error}");
    assert!(error.contains("haproxy (pid "), "{error}");
    assert!(
        !error.contains(&format!("(pid {pid})")),
        "it was reloaded: {error}"
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
async fn whoever_has_the_port_is_named_and_a_failure() {
    let mut lab = Lab::new();
    let reload = lab.cluster().haproxy.reload.clone();
    for (binary, reload) in [
        (HAPROXY, reload),
        (HAPROXY, Vec::new()),
        ("/nonexistent/haproxy", Vec::new()),
    ] {
        if binary == HAPROXY && !haproxy_is_here() {
            continue;
        }
        lab.cluster().haproxy.binary = binary.into();
        lab.cluster().haproxy.reload = reload;
        let squatter = Squatter::at(lab.endpoint());
        let error = lab.apply().await.unwrap_err().to_string();
        let taken = format!("{} is taken by", lab.endpoint());
        assert!(error.contains(&taken), "{error}");
        assert!(
            error.contains(&format!("(pid {})", squatter.process.id())),
            "{error}"
        );
        assert!(lab.file().contains("server master-1 "));
        drop(squatter);
        let applied = lab.apply().await.unwrap();
        assert_eq!(applied.outcome, Outcome::Absent, "{applied:?}");
    }
}

/// Somebody who takes connections on the socket and hangs up, or says something else.
#[tokio::test]
async fn who_holds_the_socket_and_is_no_haproxy_is_a_failure() {
    let mut lab = Lab::new();
    lab.cluster().haproxy.binary = "/nonexistent/haproxy".into();
    lab.apply().await.unwrap();
    let listener = tokio::net::UnixListener::bind(lab.socket()).unwrap();
    for words in ["", "220 mail.example.com ESMTP\n"] {
        let stranger = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut command = String::new();
            let mut reader = BufReader::new(&mut stream);
            reader.read_line(&mut command).await.unwrap();
            stream.write_all(words.as_bytes()).await.unwrap();
        };
        let (applied, ()) = tokio::join!(lab.apply(), stranger);
        let error = applied.unwrap_err().to_string();
        assert!(error.contains("'show info' is not understood"), "{error}");
        assert!(error.contains(words.trim()), "{error}");
    }
}

#[tokio::test]
async fn a_reload_that_meets_a_taken_port_is_told_with_the_holder() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    lab.start().await;
    let squatter = Squatter::at("127.0.0.1:0");
    let pid = lab.pid();
    lab.cluster().endpoint.port = squatter.address.port();
    let error = lab.apply().await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("(pid {})", squatter.process.id())),
        "{error}"
    );
    assert_eq!(lab.pid(), pid, "the old process goes on");

    // The port becomes free: the next look puts it right.
    drop(squatter);
    lab.apply().await.unwrap();
    assert!(lab.observe().await.agrees());
}

/// Another process that listens. This one's own sockets are seen in each process that some other
/// test is starting, too.
struct Squatter {
    address: SocketAddr,
    process: Child,
}

impl Squatter {
    fn at(address: impl ToSocketAddrs) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let mut program = Command::new("sleep");
        program.arg("infinity").stdin(OwnedFd::from(listener));
        let process = program.spawn().unwrap();
        Self { address, process }
    }
}

impl Drop for Squatter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Under the shipped unit the agent sees nobody's descriptors, HAProxy's neither.
#[tokio::test]
async fn a_holder_that_cannot_be_seen_is_not_called_another_process() {
    if !haproxy_is_here() {
        return;
    }
    let mut lab = Lab::new();
    let unseen = Unseen::listener(lab.endpoint());
    let error = lab.apply().await.unwrap_err().to_string();
    assert!(error.contains("possibly HAProxy itself"), "{error}");
    assert!(error.contains("restart stayput-haproxy"), "{error}");
    assert!(!error.contains("cannot listen there"), "{error}");
    drop(unseen);

    lab.start().await;
    let unseen = Unseen::listener("127.0.0.1:0");
    lab.cluster().endpoint.port = unseen.address.port();
    let error = lab.apply().await.unwrap_err().to_string();
    assert!(error.contains("journalctl -u stayput-haproxy"), "{error}");
    assert!(!error.contains("is taken by"), "{error}");
}

/// A socket that listens and is held by no process: its only descriptor is on its way through
/// another socket (unix(7), `SCM_RIGHTS`).
struct Unseen {
    address: SocketAddr,
    _on_its_way: [UnixStream; 2],
}

impl Unseen {
    fn listener(at: impl ToSocketAddrs) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        let (from, to) = UnixStream::pair().unwrap();
        let descriptors = [listener.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let bytes = [IoSlice::new(b"x")];
        sendmsg(&from, &bytes, &mut ancillary, SendFlags::empty()).unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            _on_its_way: [from, to],
        }
    }
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
