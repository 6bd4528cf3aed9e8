//! A new structure: judged by HAProxy before it replaces the old one, loaded, and seen to run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::answers::Info;
use super::render::Rendering;
use super::{Error, Haproxy, disk, port};
use crate::config::cluster;
use crate::process::{self, Program};
use crate::view::{ENDPOINT_ADDRESS, View};
use crate::{file, process::Finished};

/// `haproxy -c` needs some 35 ms.
const VALIDATION_LIMIT: Duration = Duration::from_secs(20);

/// `systemctl reload` returns when the new process has taken over.
const RELOAD_LIMIT: Duration = Duration::from_secs(30);

/// How long a reload that was ordered may take to show.
const LIVE_LIMIT: Duration = Duration::from_secs(10);

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
    /// No command is configured.
    ByHand,
    /// HAProxy is not running: why, for people.
    Absent(Vec<String>),
}

impl Haproxy {
    /// Has `haproxy -c` judge a candidate file beside the configuration.
    pub(super) async fn validate(
        &self,
        settings: &cluster::Haproxy,
        wanted: &Rendering,
    ) -> Result<Validated, Error> {
        let candidate = candidate(settings);
        let (root, path, text) = (self.root.clone(), candidate.clone(), wanted.text.clone());
        let host_path = self
            .writer
            .run(move || disk::write(&root, &path, &text).map(|_| disk::host_path(&root, &path)))
            .await??;
        let check = Program::new(&settings.binary, VALIDATION_LIMIT)?
            .args(["-c", "-f"])
            .arg(host_path);
        let verdict = check.run().await;
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
    /// process that answered until now.
    pub(super) async fn reload(
        &self,
        view: &View,
        wanted: &Rendering,
        before: Option<&Info>,
    ) -> Result<Reloaded, Error> {
        let settings = &view.cluster.haproxy;
        if before.is_none() && !settings.binary.exists() {
            let binary = settings.binary.display();
            return Ok(Reloaded::Absent(vec![format!(
                "HAProxy is not installed: {binary} is not there"
            )]));
        }
        match (run_reload(&settings.reload).await, before) {
            (None, None) => return Ok(Reloaded::Absent(self.not_running(view, before).await?)),
            (None, Some(_)) => return Ok(Reloaded::ByHand),
            (Some(Err(error)), None) => {
                let mut notices = self.not_running(view, before).await?;
                notices.push(format!("the reload command says: {error}"));
                return Ok(Reloaded::Absent(notices));
            }
            (Some(Err(error)), Some(_)) => return Err(error.into()),
            (Some(Ok(_)), _) => {}
        }
        if let Some(info) = self.new_process(view, wanted, before).await {
            return Ok(Reloaded::Live(info));
        }
        match self.api(view).info().await {
            Err(error) if error.is_dead() => {
                Ok(Reloaded::Absent(self.not_running(view, before).await?))
            }
            _ => {
                let log = "see `journalctl -u stayput-haproxy`".to_owned();
                let hint = self.in_the_way(view, before).await?.unwrap_or(log);
                Err(Error::NotLive { hint })
            }
        }
    }

    /// Polls until another process than before runs the wanted structure.
    async fn new_process(
        &self,
        view: &View,
        wanted: &Rendering,
        before: Option<&Info>,
    ) -> Option<Info> {
        let api = self.api(view);
        let deadline = Instant::now() + LIVE_LIMIT;
        while Instant::now() < deadline {
            if let Ok(info) = api.info().await
                && info.structure.as_ref() == Some(&wanted.structure)
                && before.is_none_or(|before| before.pid != info.pid)
            {
                return Some(info);
            }
            tokio::time::sleep(POLL).await;
        }
        None
    }

    async fn not_running(&self, view: &View, before: Option<&Info>) -> Result<Vec<String>, Error> {
        let mut notices = vec!["not running: start stayput-haproxy".to_owned()];
        notices.extend(self.in_the_way(view, before).await?);
        Ok(notices)
    }

    /// Another program on a port that HAProxy needs.
    pub(super) async fn in_the_way(
        &self,
        view: &View,
        running: Option<&Info>,
    ) -> Result<Option<String>, Error> {
        let endpoint = SocketAddr::new(ENDPOINT_ADDRESS, view.cluster.endpoint.port);
        let stats = view.cluster.haproxy.stats;
        let own = running.map(|info| info.pid);
        let look = move || {
            [endpoint, stats].into_iter().find_map(|wanted| {
                let holder = port::holder(wanted)?;
                let pid = holder.process.as_ref().map(|(pid, _)| *pid);
                (own.is_none() || pid != own)
                    .then(|| format!("{wanted} is taken by {holder}; HAProxy cannot listen there"))
            })
        };
        Ok(self.writer.run(look).await?)
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

fn candidate(settings: &cluster::Haproxy) -> PathBuf {
    let mut path = settings.config.clone().into_os_string();
    path.push(".candidate");
    path.into()
}
