//! What a worker sees when API servers die.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::components::possible;
use crate::lab::Lab;
use crate::measured::measured;
use crate::node::Node;
use crate::one_at_a_time;
use crate::support::{Process, run};
use crate::way::{DOMAIN, MASTERS, Way};

/// Longer than the slowest finding of HAProxy's checks (4.5 s), and shorter than what would end a dead
/// session without them (keepalives: 30 s).
const BY_CHECKS: Duration = Duration::from_secs(15);

/// A connection that is closed at once, on a slow machine; one that waited for a master would take as
/// long as the retries of HAProxy, and a client's patience is longer still.
const AT_ONCE: Duration = Duration::from_secs(1);

/// `kubectl get --watch` on the worker, which has shown a change that was made while it ran.
fn watch(lab: &mut Lab, name: &str) -> Process {
    let log = lab.worker.path(&format!("watch-{name}.log"));
    let mut command = lab.worker.kubectl();
    command.args(["get", "configmaps", "--watch", "--output-watch-events"]);
    let watch = Process::start(&mut command, &log);
    let shown = |what: &str| {
        let (watch, what) = (&watch, what.to_owned());
        move |_: &Lab| {
            watch
                .log()
                .contains(&what)
                .then_some(())
                .ok_or_else(|| watch.log())
        }
    };
    lab.until("the watch has begun", shown("ADDED"));
    lab.until("a change is made", |lab| lab.worker.writes(name));
    lab.until("the watch shows a change", shown("MODIFIED"));
    watch
}

/// The master whose API server the worker's only session is with.
fn serving(lab: &mut Lab) -> usize {
    lab.until("one server has the session", |lab| {
        let sessions = sessions(&lab.worker)?;
        let mut serving = sessions
            .iter()
            .enumerate()
            .filter(|(_, server)| server.1 > 0);
        match (serving.next(), serving.next()) {
            (Some((index, _)), None) => Ok(index),
            _ => Err(format!("{sessions:?}")),
        }
    })
}

/// HAProxy's servers in the masters' order: status and current sessions.
fn sessions(node: &Node) -> Result<Vec<(String, u32)>, String> {
    let mut csv = String::new();
    // Straight from HAProxy: what the agent shows may be a moment old.
    let asked =
        UnixStream::connect(node.path("run/stayput/haproxy.sock")).and_then(|mut stream| {
            stream.write_all(b"show stat\n")?;
            stream.read_to_string(&mut csv)
        });
    asked.map_err(|error| error.to_string())?;
    let mut lines = csv.lines();
    let head = lines.next().ok_or("HAProxy says nothing")?;
    let column = |name: &str| {
        head.trim_start_matches("# ")
            .split(',')
            .position(|it| it == name)
    };
    let columns = [column("svname"), column("status"), column("scur")];
    let [Some(server), Some(status), Some(current)] = columns else {
        return Err(csv);
    };
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let servers = MASTERS.map(|master| {
        let row = rows.iter().find(|row| row.get(server) == Some(&master))?;
        Some((
            (*row.get(status)?).to_owned(),
            row.get(current)?.parse().ok()?,
        ))
    });
    let servers = servers.into_iter().collect::<Option<_>>();
    servers.ok_or(csv)
}

/// The watch ends, and the retry is served by another master.
fn passes_to_another(lab: &mut Lab, mut watched: Process, dead: usize, what: &str) {
    let died = Instant::now();
    watched.end();
    let ended = died.elapsed();
    measured(&format!("{what}, until its watch ends"), ended);
    assert!(ended < BY_CHECKS, "{ended:?}");
    lab.until("a write is taken", |lab| lab.worker.writes(what));
    measured(
        &format!("{what}, until the worker writes again"),
        died.elapsed(),
    );
    let again = watch(lab, "again");
    let other = serving(lab);
    assert_ne!(other, dead);
    drop(again);
}

#[test]
fn a_worker_whose_api_server_dies_goes_on_with_another() {
    let _turn = one_at_a_time();
    if !possible() {
        return;
    }
    let mut lab = Lab::start(Way::Names, false);

    let watched = watch(&mut lab, "killed");
    let dead = serving(&mut lab);
    lab.masters[dead].kill_apiserver();
    passes_to_another(&mut lab, watched, dead, "the worker's API server is killed");
    lab.start_apiservers();

    let watched = watch(&mut lab, "unplugged");
    let dead = serving(&mut lab);
    lab.masters[dead].node.namespace.unplug();
    passes_to_another(&mut lab, watched, dead, "the worker's master is unplugged");
    lab.plug_in(dead);

    for master in &mut lab.masters {
        master.kill_apiserver();
    }
    lab.until("HAProxy sees that all are down", |lab| {
        let sessions = sessions(&lab.worker)?;
        let down = sessions.iter().all(|(status, _)| status == "DOWN");
        down.then_some(()).ok_or_else(|| format!("{sessions:?}"))
    });
    // curl's own measure: its start on a busy machine is not HAProxy's.
    let mut curl = lab.worker.command("curl");
    let url = format!("https://api.{DOMAIN}:8443/readyz");
    curl.args([
        "-sk",
        "-m",
        "60",
        "--noproxy",
        "*",
        "-w",
        "%{exitcode} %{time_total}",
        &url,
    ]);
    let said = run(&mut curl);
    let (code, time) = said.out.split_once(' ').unwrap();
    // Reset before the connection is there, or ended in the handshake; not 28, which is waiting in vain.
    assert!(["7", "35"].contains(&code), "{said:?}");
    let closed = Duration::from_secs_f64(time.parse().unwrap());
    measured(
        "no API server is there, until a connection is closed",
        closed,
    );
    assert!(closed < AT_ONCE, "{closed:?}");

    let started = Instant::now();
    lab.start_apiservers();
    lab.until("a write is taken", |lab| lab.worker.writes("all are back"));
    measured(
        "all API servers are started, until the worker writes",
        started.elapsed(),
    );
    lab.everyone_writes_and_reads();
    lab.must_run();
}
