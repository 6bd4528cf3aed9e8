//! The local HAProxy: the endpoint's name leads to it, and it leads to a healthy master.
//!
//! It has a configuration and a unit of its own, beside whatever HAProxy the operator runs. Two
//! kinds of change are told apart:
//!
//! - A master's *address* goes over the Runtime API into the running process: within a
//!   millisecond, without a reload, with the old address's sessions closed. The file follows.
//! - Everything else is *structure*: `haproxy -c` judges a candidate, the file is replaced, HAProxy
//!   is reloaded, and the work is done when the new process says which structure it runs.
//!
//! Addresses go first and on their own, so that a master that moves is followed also while a
//! structure is refused. HAProxy not being there is a state, not a failure: the file is written all
//! the same and waits for it. A process that holds its socket or a port of its and does not answer
//! is a failure, and so is a structure that is written and does not run.
//!
//! After a reload the old process lives on for the sessions that it has, for an hour at most, and
//! is out of the Runtime API's reach: its sessions to a master that moves then end by keepalives
//! and `TCP_USER_TIMEOUT`, within half a minute of the last answer.
//!
//! ```text
//! view ─▶ render ─▶ text, structure, servers
//!                     │        │        └─▶ plan::changes ─▶ Runtime API, read back, sessions closed
//!                     │        └─▶ same as `show info` says? otherwise: candidate, -c, replace, reload
//!                     └─▶ file
//! ```

pub mod answers;
pub mod authority;
mod disk;
mod error;
mod observe;
pub mod plan;
pub mod port;
mod reload;
pub mod render;
pub mod runtime;

use std::collections::BTreeSet;
use std::time::Duration;

use self::answers::Info;
use self::disk::{Disk, Trust};
pub use self::error::Error;
pub use self::observe::{Observation, ObservedServer};
use self::plan::{Change, changes};
use self::reload::{Reloaded, Validated};
use self::render::{Rendering, Server};
use self::runtime::RuntimeApi;
use super::{Applied, Outcome};
use crate::config::cluster;
use crate::root::Root;
use crate::view::View;
use crate::writer::Writer;

/// How long all commands of one change may take. They take milliseconds.
const TALK_LIMIT: Duration = Duration::from_secs(3);

/// Within this time [`Haproxy::apply`] comes to its end, however much hangs but the disk.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// What HAProxy said.
#[derive(Debug)]
struct Talk {
    /// The process that answers, if there is one.
    running: Option<Info>,
    /// What was changed in it.
    moved: Result<Vec<Change>, Error>,
}

/// The surface: keeps one HAProxy true to the view.
#[derive(Debug)]
pub struct Haproxy {
    root: Root,
    writer: Writer,
    /// Servers that have moved and whose sessions to the old address are not closed yet.
    unclosed: BTreeSet<String>,
    /// Whether the cluster's authority was there and is not any more.
    lost_trust: bool,
}

impl Haproxy {
    /// A surface below `root`. HAProxy itself and the reload command are the machine's own.
    pub fn new(root: Root, writer: Writer) -> Self {
        Self {
            root,
            writer,
            unclosed: BTreeSet::new(),
            lost_trust: false,
        }
    }

    /// Makes file and running process equal to the view. Equal ones are left alone, but what runs
    /// is asked all the same: HAProxy may have been restarted, or have missed a change.
    ///
    /// Addresses come first, and need no disk: one that hangs does not hold them. A HAProxy that
    /// hangs is a failure when the file is written: a reload would not make it answer.
    pub async fn apply(&mut self, view: &View) -> Result<Applied, Error> {
        let talk = self.talk(view).await;
        let disk = self.prepare(view).await?;
        let wanted = disk.render(view)?;
        let mut notices: Vec<String> = disk.notice().into_iter().collect();
        notices.extend(self.trust_in(disk.trust()));
        let (running, moved) = match talk {
            Ok(Talk { running, moved }) => (running, moved),
            Err(unanswered) => {
                self.install(view, &disk, &wanted, &mut notices).await?;
                return Err(unanswered);
            }
        };
        if let Err(error) = &moved {
            notices.push(format!(
                "the Runtime API failed, so HAProxy is reloaded: {error}"
            ));
        }
        let live = |info: &Info| info.structure.as_ref() == Some(&wanted.structure);
        match (&running, moved) {
            (Some(info), Ok(moved)) if live(info) && disk.has_structure_of(&wanted) => {
                let written = self.write(view, &wanted).await?;
                Ok(Applied {
                    outcome: if written || !moved.is_empty() {
                        Outcome::Updated
                    } else {
                        Outcome::Unchanged
                    },
                    detail: told(&moved, written),
                    notices,
                })
            }
            _ => {
                self.restructure(view, &disk, &wanted, running.as_ref(), notices)
                    .await
            }
        }
    }

    /// Follows whether there is an authority, and what an operator should know of it.
    fn trust_in(&mut self, trust: Trust) -> Option<String> {
        self.lost_trust = match trust {
            Trust::There => false,
            Trust::None => self.lost_trust,
            Trust::JustLost => true,
        };
        trust.notice(self.lost_trust)
    }

    /// What would be written.
    pub async fn show(&self, view: &View) -> Result<String, Error> {
        Ok(self.look(view).await?.render(view)?.text)
    }

    /// Replaces the file and has it loaded.
    async fn restructure(
        &mut self,
        view: &View,
        disk: &Disk,
        wanted: &Rendering,
        before: Option<&Info>,
        mut notices: Vec<String>,
    ) -> Result<Applied, Error> {
        let written = self.install(view, disk, wanted, &mut notices).await?;
        let path = view.cluster.haproxy.config.display();
        let file = if written { "written" } else { "unchanged" };
        let outdated = disk.could_run_otherwise(wanted);
        let (outcome, detail) = match self.reload(view, wanted, before, outdated).await? {
            Reloaded::Live(info) => {
                // It has read the file a moment ago; a master may have moved since.
                self.talk(view).await?.moved?;
                let detail = format!("{path} {file}, reloaded, runs as pid {}", info.pid);
                (Outcome::Updated, detail)
            }
            Reloaded::Absent(why) => {
                notices.splice(0..0, why);
                (
                    Outcome::Absent,
                    format!("{path} {file}, HAProxy is not running"),
                )
            }
        };
        Ok(Applied {
            outcome,
            detail,
            notices,
        })
    }

    /// Replaces the file, if HAProxy takes the new one; tells whether its bytes differed.
    async fn install(
        &self,
        view: &View,
        disk: &Disk,
        wanted: &Rendering,
        notices: &mut Vec<String>,
    ) -> Result<bool, Error> {
        if !disk.holds(wanted) {
            match self.validate(&view.cluster.haproxy, wanted).await? {
                Validated::Good => {}
                Validated::Unjudged(why) => notices.push(why),
                Validated::Refused(words) => {
                    self.keep_structure(view, disk).await?;
                    let path = view.cluster.haproxy.config.clone();
                    return Err(Error::Refused { path, words });
                }
            }
        }
        self.write(view, wanted).await
    }

    /// A refused structure leaves the old one in place, but where the authority alone was refused,
    /// the old structure still gets the new addresses, so that a restart of HAProxy finds them.
    async fn keep_structure(&self, view: &View, disk: &Disk) -> Result<(), Error> {
        let Some(earlier) = disk.render_with_earlier_authority(view)? else {
            return Ok(());
        };
        if disk.has_structure_of(&earlier) {
            self.write(view, &earlier).await?;
        }
        Ok(())
    }

    /// Asks what runs and, where that is ours, brings its servers to the view's addresses. An error
    /// means that somebody holds the socket and does not answer as HAProxy does: it hangs, mostly.
    async fn talk(&mut self, view: &View) -> Result<Talk, Error> {
        let api = self.api(view);
        let talk = tokio::time::timeout(TALK_LIMIT, async {
            let running = match api.info().await {
                Ok(info) => Some(info),
                Err(error) if error.is_dead() => None,
                // Somebody holds the socket who hangs, hangs up, or is no HAProxy.
                Err(error) => return Err(error.into()),
            };
            let moved = match &running {
                Some(info) if info.structure.is_some() => {
                    self.move_servers(&api, &render::servers(view)).await
                }
                _ => Ok(Vec::new()),
            };
            match moved {
                Err(error) if error.is_silent() => Err(error),
                moved => Ok(Talk { running, moved }),
            }
        });
        talk.await.unwrap_or_else(|_| Err(api.silent().into()))
    }

    /// Brings the running servers to their addresses, reads back that they are there, and closes
    /// the sessions to where they were: HAProxy itself lets those live on.
    async fn move_servers(
        &mut self,
        api: &RuntimeApi,
        servers: &[Server],
    ) -> Result<Vec<Change>, Error> {
        let plan = changes(&api.servers().await?, servers);
        let mut answers = Vec::new();
        for change in &plan {
            if let Some(ready) = change.ready {
                answers.push(api.set_ready(&change.label, ready).await?);
            }
            if change.from != change.to {
                self.unclosed.insert(change.label.clone());
                answers.push(api.set_address(&change.label, change.to).await?);
            }
        }
        if !plan.is_empty()
            && let Some(left) = changes(&api.servers().await?, servers).first()
        {
            answers.retain(|answer| !answer.is_empty());
            return Err(Error::NotTaken {
                label: left.label.clone(),
                from: left.from,
                to: left.to,
                answers: answers.join("; "),
            });
        }
        while let Some(label) = self.unclosed.first() {
            api.shutdown_sessions(label).await?;
            self.unclosed.pop_first();
        }
        Ok(plan)
    }

    fn api(&self, view: &View) -> RuntimeApi {
        RuntimeApi::new(self.root.clone(), &view.cluster.haproxy.socket)
    }

    /// Looks at the disk, as [`Disk::look`], makes the folders that are missing, and clears away
    /// what a run left that was cut short.
    async fn prepare(&self, view: &View) -> Result<Disk, Error> {
        self.on_disk(view, |root, settings| {
            // Not before it is known that the folder's files are ours to touch, and also where a
            // full disk has no room for a folder.
            Disk::look(root, settings)?;
            disk::remove_candidate(root, settings);
            disk::create_folders(root, settings)?;
            Disk::look(root, settings)
        })
        .await
    }

    async fn look(&self, view: &View) -> Result<Disk, Error> {
        self.on_disk(view, Disk::look).await
    }

    async fn write(&self, view: &View, wanted: &Rendering) -> Result<bool, Error> {
        let text = wanted.text.clone();
        self.on_disk(view, move |root, settings| {
            disk::write(root, &settings.config, &text)
        })
        .await
    }

    /// Runs a job on the writing thread.
    async fn on_disk<T: Send + 'static>(
        &self,
        view: &View,
        job: impl FnOnce(&Root, &cluster::Haproxy) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (root, cluster) = (self.root.clone(), view.cluster.clone());
        self.writer
            .run(move || job(&root, &cluster.haproxy))
            .await?
    }
}

/// One line on an address change.
fn told(moved: &[Change], written: bool) -> String {
    let one = |change: &Change| format!("{} {} → {}", change.label, change.from, change.to);
    let all = moved.iter().map(one).collect::<Vec<_>>().join(", ");
    match (moved.is_empty(), written) {
        (true, false) => "file and running process show this view".to_owned(),
        (true, true) => "the file follows the running process".to_owned(),
        (false, false) => format!("{all} over the Runtime API"),
        (false, true) => format!("{all} over the Runtime API, the file follows"),
    }
}
