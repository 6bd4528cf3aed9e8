//! A new structure: judged by HAProxy before it replaces the old one, loaded, and seen to run.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::answers::Info;
use super::port::{self, Holder};
use super::render::Rendering;
use super::{Error, Haproxy, PATIENCE, TALK_LIMIT, disk, runtime};
use crate::config::cluster;
use crate::process::{self, Program};
use crate::view::{ENDPOINT_ADDRESS, View};
use crate::{file, process::Finished};

/// `haproxy -c` needs some 35 ms.
const VALIDATION_LIMIT: Duration = Duration::from_secs(3);

/// `systemctl reload` returns when the unit's own check and its signal are done.
const RELOAD_LIMIT: Duration = Duration::from_secs(4);

/// How long a reload that was ordered may take to show.
const LIVE_LIMIT: Duration = Duration::from_secs(4);

// Whoever waits for a change hears what went wrong, not that time is up.
const _: () = assert!(
    TALK_LIMIT.as_secs()
        + VALIDATION_LIMIT.as_secs()
        + RELOAD_LIMIT.as_secs()
        + LIVE_LIMIT.as_secs()
        < PATIENCE.as_secs()
);

/// How often the Runtime API is asked meanwhile.
const POLL: Duration = Duration::from_millis(20);

/// What HAProxy thinks of a candidate.
#[derive(Debug)]
pub(super) enum Validated {
    /// It takes it.
    Good,
    /// It could not be asked: why, for people.
    Unjudged(String),
    /// It does not: its words.
    Refused(String),
}

/// What came of a reload.
#[derive(Debug)]
pub(super) enum Reloaded {
    /// The new structure runs.
    Live(Info),
    /// HAProxy is not running and nobody is in its place: why, for people.
    Absent(Vec<String>),
}

impl Haproxy {
    /// Has `haproxy -c` judge a candidate file beside the configuration.
    pub(super) async fn validate(
        &self,
        settings: &cluster::Haproxy,
        wanted: &Rendering,
    ) -> Result<Validated, Error> {
        let check = Program::new(&settings.binary, VALIDATION_LIMIT)?;
        let candidate = disk::candidate(settings);
        let (root, path, text) = (self.root.clone(), candidate.clone(), wanted.text.clone());
        let write = move || match disk::write(&root, &path, &text) {
            Ok(_) => Ok(disk::host_path(&root, &path)),
            Err(error) => {
                // It may be there all the same, where only its folder could not be synced.
                let _ = file::remove(&root, &path);
                Err(error)
            }
        };
        let host_path = self.writer.run(write).await??;
        let verdict = check.args(["-c", "-f"]).arg(host_path).run().await;
        let root = self.root.clone();
        self.writer
            .run(move || file::remove(&root, &candidate))
            .await??;
        match verdict {
            Ok(_) => Ok(Validated::Good),
            Err(process::Error::Failed { output, .. }) => {
                Ok(Validated::Refused(complaints(&output)))
            }
            Err(error) if error.is_missing() => Ok(Validated::Unjudged(format!(
                "the configuration is not validated: {error}"
            ))),
            Err(error) => Err(error.into()),
        }
    }

    /// Has HAProxy read its file again, and waits until the new structure runs. `before` is the
    /// process that answered until now; `outdated` tells that one which does not answer on the
    /// socket may run the structure of an older file.
    pub(super) async fn reload(
        &self,
        view: &View,
        wanted: &Rendering,
        before: Option<&Info>,
        outdated: bool,
    ) -> Result<Reloaded, Error> {
        let settings = &view.cluster.haproxy;
        let missing = before.is_none() && !settings.binary.exists();
        // While the machine starts, a reload of a unit that waits for the agent would wait too.
        let waiting = before.is_none() && !outdated && self.in_the_way(view, None).await?.is_none();
        if missing || waiting {
            return self.not_running(view, None).await;
        }
        match (run_reload(&settings.reload).await, before) {
            (None, None) => return self.not_running(view, None).await,
            (None, Some(_)) => return Err(Error::NotInForce(settings.config.clone())),
            (Some(Err(error)), None) => return self.not_running(view, Some(error)).await,
            (Some(Err(error)), Some(_)) => return Err(error.into()),
            (Some(Ok(_)), _) => {}
        }
        match self.new_process(view, wanted, before).await {
            Ok(info) => Ok(Reloaded::Live(info)),
            Err(Some(error)) if error.is_dead() => self.not_running(view, None).await,
            Err(Some(error)) if error.is_silent() => Err(error.into()),
            Err(_) => {
                let hint = match self.in_the_way(view, before).await? {
                    Some((wanted, holder)) => taken(wanted, &holder),
                    None => "see `journalctl -u stayput-haproxy`".to_owned(),
                };
                Err(Error::NotLive { hint })
            }
        }
    }

    /// Polls until another process than before runs the wanted structure; otherwise what the last
    /// look met, if that was an error.
    async fn new_process(
        &self,
        view: &View,
        wanted: &Rendering,
        before: Option<&Info>,
    ) -> Result<Info, Option<runtime::Error>> {
        let api = self.api(view);
        let mut last = None;
        let polling = async {
            loop {
                match api.info().await {
                    Ok(info)
                        if info.structure.as_ref() == Some(&wanted.structure)
                            && before.is_none_or(|before| before.pid != info.pid) =>
                    {
                        return info;
                    }
                    look => last = look.err(),
                }
                tokio::time::sleep(POLL).await;
            }
        };
        timeout(LIVE_LIMIT, polling).await.map_err(|_| last)
    }

    /// What it means that nothing answers on the socket: HAProxy is not there, which is a state,
    /// or somebody is in its place, which is a failure. `reload` is what its command said.
    async fn not_running(
        &self,
        view: &View,
        reload: Option<process::Error>,
    ) -> Result<Reloaded, Error> {
        let settings = &view.cluster.haproxy;
        let socket = settings.socket.display();
        let in_the_way = self.in_the_way(view, None).await?;
        let binary = settings.binary.display();
        let mut words = match &in_the_way {
            // A reload hands the old sockets on, so it does not make a lost one again.
            Some((_, holder)) if holder.is_called("haproxy") => vec![format!(
                "{holder} does not answer on {socket}: if it is stayput's, restart \
                 stayput-haproxy; if not, give one of the two another port"
            )],
            Some((wanted, holder)) if holder.process.is_none() => vec![format!(
                "nothing answers on {socket}, and {}: restart stayput-haproxy; if that does not \
                 help, `ss -ltnp` names the process",
                taken(*wanted, holder)
            )],
            Some((wanted, holder)) => vec![format!(
                "{}: stop that program, or give one of the two another port, and start \
                 stayput-haproxy",
                taken(*wanted, holder)
            )],
            None if !settings.binary.exists() => {
                vec![format!("HAProxy is not installed: {binary} is not there")]
            }
            None => vec!["not running: start stayput-haproxy".to_owned()],
        };
        words.extend(reload.map(|error| format!("the reload command says: {error}")));
        match in_the_way {
            Some(_) => Err(Error::Held(words)),
            None => Ok(Reloaded::Absent(words)),
        }
    }

    /// Who is on a port that HAProxy needs, and the port: anybody while HAProxy does not answer,
    /// and only who is known to be another process while it does.
    pub(super) async fn in_the_way(
        &self,
        view: &View,
        running: Option<&Info>,
    ) -> Result<Option<(SocketAddr, Holder)>, Error> {
        let endpoint = SocketAddr::new(ENDPOINT_ADDRESS, view.cluster.endpoint.port);
        let stats = view.cluster.haproxy.stats;
        let own = running.map(|info| info.pid);
        let look = move || {
            let others = |holder: &Holder| own.is_none_or(|own| holder.is_not(own));
            [endpoint, stats].into_iter().find_map(|wanted| {
                let holder = port::holder(wanted).filter(others)?;
                Some((wanted, holder))
            })
        };
        Ok(self.writer.run(look).await?)
    }
}

/// A port that somebody has: another process, or one that cannot be told from HAProxy.
pub(super) fn taken(wanted: SocketAddr, holder: &Holder) -> String {
    match holder.process {
        Some(_) => format!("{wanted} is taken by {holder}; HAProxy cannot listen there"),
        None => format!("{wanted} is held by {holder}"),
    }
}

/// Runs the reload command; `None` where there is none.
async fn run_reload(command: &[String]) -> Option<Result<Finished, process::Error>> {
    let (program, arguments) = command.split_first()?;
    match Program::new(program.as_ref(), RELOAD_LIMIT) {
        Ok(program) => Some(program.args(arguments).run().await),
        Err(error) => Some(Err(error)),
    }
}

/// HAProxy's words without what is not a complaint.
fn complaints(output: &str) -> String {
    let lines = output.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("[NOTICE]"));
    lines.collect::<Vec<_>>().join("\n")
}
