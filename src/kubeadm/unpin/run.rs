//! Carries the plan out: one stage after the other, one component at a time, each waited for until it is
//! well. Everything is looked at anew before each stage.

mod certificates;
mod cluster;
mod files;
mod kubeconfigs;
mod pods;

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::backup::Backup;
use super::begin::Obstacle;
use super::error::Error;
use super::look::{Look, files, look};
use super::plan::{Plan, State, done, plan};
use super::report::{Did, Report};
use super::site::{Here, Site};
use super::stage::{ANNOTATION, Record, Stage};
use super::well::Watch;
use super::{begin, known};
use crate::lock;
use crate::pki::session::{self, Hold};
use crate::process::Program;

/// How often others are looked at while they are waited for.
const PAUSE: Duration = Duration::from_secs(5);

/// How long another run of stayput on this node is waited for: it may restart a static pod, behind the
/// kubelet's back-off.
const TURN: Duration = Duration::from_mins(10);

/// What the operator asks for.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long other nodes are waited for; not at all if `None`.
    pub wait: Option<Duration>,
    /// Restarts the kubelet.
    pub kubelet: Program,
    /// Issue although the clock went back.
    pub trust_clock: bool,
}

/// What there is to do, without doing it.
pub async fn preview(site: &Site) -> Result<Report, Error> {
    let look = look(site).await.map_err(|error| match error {
        Error::Api(error) => begin::obstacle(error, &site.here.cluster, &site.here.node),
        other => other,
    })?;
    Ok(Report::of(&look, &plan(&look.facts)))
}

/// What this node's files alone tell that there is to do, where the cluster cannot be asked because of
/// `obstacle`.
pub async fn preview_of_files(here: &Here, obstacle: &Obstacle) -> Result<Report, Error> {
    let look = files(here).await?;
    Ok(Report::without_api(&look, obstacle))
}

/// Does all that can be done here, under the certificates' lock, which others may have while this waits
/// for other nodes. The report tells what was done also where it ends early. `say` hears
/// of each thing before it is done. From here on the process takes SIGTERM, SIGINT and SIGHUP itself.
pub async fn run(site: &Site, options: &Options, say: fn(&str)) -> Report {
    let mut run = Run {
        site,
        hold: None,
        options,
        say,
        backup: Backup::new(&site.here.root),
        watch: Watch::new(say),
        report: Report::default(),
    };
    let failure = run.all().await.err();
    run.release();
    let mut report = run.report;
    report.backups = run.backup.folder().map(Path::to_owned);
    report.fail(failure);
    report
}

struct Run<'a> {
    site: &'a Site,
    hold: Option<Hold>,
    options: &'a Options,
    say: fn(&str),
    backup: Backup,
    watch: Watch,
    report: Report,
}

impl Run<'_> {
    async fn all(&mut self) -> Result<(), Error> {
        let deadline = self.options.wait.map(|wait| Instant::now() + wait);
        let mut last = None;
        let mut told = String::new();
        loop {
            if self.watch.is_over() {
                return Err(Error::Stopped);
            }
            let patient = deadline.is_some_and(|deadline| Instant::now() < deadline);
            let look = match look(self.site).await {
                // A master that is waited for restarts what is asked here.
                Err(Error::Api(_) | Error::Etcd(_)) if patient && !told.is_empty() => {
                    self.pause().await?;
                    continue;
                }
                look => look?,
            };
            let plan = plan(&look.facts);
            self.report.see(&look, &plan);
            let waits = match plan.next() {
                Some(step) if step.state == State::Ready => {
                    let stage = step.stage;
                    if last.replace(stage) == Some(stage) {
                        return Err(Error::Undone(stage));
                    }
                    if self.hold.is_none() {
                        let mut hold = self.turn().await?;
                        hold.put_back_manifests()?;
                        self.hold = Some(hold);
                        // What was put back, or changed by another, was not seen yet.
                        last = None;
                        continue;
                    }
                    known::save(&self.site.here.root, &look.masters)?;
                    self.record(&look, Some(stage)).await?;
                    match self.claimed(stage, look).await? {
                        Some(look) => {
                            self.step(stage, look).await?;
                            continue;
                        }
                        None => true,
                    }
                }
                next => {
                    self.record(&look, None).await?;
                    next.is_some_and(|step| matches!(step.state, State::Waits(_)))
                        || (next.is_none() && !plan.is_complete())
                }
            };
            if !waits || !patient {
                return Ok(());
            }
            self.release();
            last = None;
            let waiting = waiting(&plan);
            if waiting != told {
                (self.say)(&waiting);
                told = waiting;
            }
            self.pause().await?;
        }
    }

    /// Two may have found their turn at once: once this node has said that it is at a stage in which one
    /// alone may be, it looks again, and gives way to any other that says so too. Of two that give way
    /// the first in the cluster file goes on, since the other then waits for it.
    async fn claimed(&mut self, stage: Stage, first: Look) -> Result<Option<Look>, Error> {
        if first.facts.master.is_none() || !stage.is_one_at_a_time() {
            return Ok(Some(first));
        }
        let look = look(self.site).await?;
        let plan = plan(&look.facts);
        self.report.see(&look, &plan);
        if goes_on(&plan, stage) {
            return Ok(Some(look));
        }
        self.record(&look, None).await?;
        Ok(None)
    }

    /// The right to change certificates and manifests here, once another that has it is done: the agent
    /// may be exchanging kube-apiserver's manifest right now.
    async fn turn(&self) -> Result<Hold, Error> {
        let begun = Instant::now();
        let mut told = false;
        loop {
            match Hold::take_within(&self.site.here.root, self.say, Duration::ZERO) {
                Err(session::Error::Lock(lock::Error::Held { .. })) if begun.elapsed() < TURN => {
                    if !std::mem::replace(&mut told, true) {
                        (self.say)("waiting for another stayput that is at work on this node");
                    }
                    self.pause().await?;
                }
                held => return Ok(held?),
            }
        }
    }

    async fn pause(&self) -> Result<(), Error> {
        tokio::select! {
            () = sleep(PAUSE) => Ok(()),
            () = self.watch.stop.clone() => Err(Error::Stopped),
        }
    }

    /// Gives the lock back; what it has to tell goes into the report.
    fn release(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.report.notices.extend(hold.notices().iter().cloned());
        }
    }

    /// Says how far this node is, where that is news.
    async fn record(&self, look: &Look, at: Option<Stage>) -> Result<(), Error> {
        let record = Record {
            master: look.facts.master.clone(),
            done: done(&look.facts.stands),
            at,
        };
        if look.said.as_ref() == Some(&record) {
            return Ok(());
        }
        let text = record.text();
        let change = json!({"metadata": {"annotations": {ANNOTATION: text}}});
        self.site
            .api
            .merge_patch(&self.site.here.node_path(), &change)
            .await?;
        Ok(())
    }

    async fn step(&mut self, stage: Stage, look: Look) -> Result<(), Error> {
        (self.say)(&format!("{stage}"));
        let begun = Instant::now();
        let healthy = look.facts.members.iter().filter(|it| it.healthy);
        let healthy: Vec<String> = healthy.map(|it| it.name.clone()).collect();
        let work = look.work;
        let result = match stage {
            // Nothing of it is ever open.
            Stage::Agent => Ok(()),
            Stage::Certificates => self.certificates(&work.serving, &healthy).await,
            Stage::Kubeconfigs => self.kubeconfigs(work.groups).await,
            Stage::Etcd => self.exchange("etcd", work.etcd, &healthy).await,
            Stage::Apiserver => {
                self.exchange("kube-apiserver", work.apiserver, &healthy)
                    .await
            }
            Stage::Peer => self.peer(work.peer, &healthy).await,
            Stage::Cluster => self.cluster(work.maps, work.rollout).await,
            Stage::Addresses => self.addresses(&work.serving, &healthy).await,
        };
        let took = begun.elapsed();
        if result.is_ok() {
            (self.say)(&format!("{stage}: done in {:.1} s", took.as_secs_f64()));
        }
        self.report.did.push(Did {
            stage,
            seconds: took.as_secs_f64(),
            failed: result.is_err(),
        });
        result
    }

    fn tell(&self, what: &str, took: Duration) {
        (self.say)(&format!("{what} ({:.1} s)", took.as_secs_f64()));
    }
}

/// Whether a stage is still the next one, and may be begun.
fn goes_on(plan: &Plan, stage: Stage) -> bool {
    let next = plan.next();
    next.is_some_and(|step| step.stage == stage && step.state == State::Ready)
}

fn waiting(plan: &Plan) -> String {
    let waits = plan
        .next()
        .map_or(&plan.elsewhere, |step| match &step.state {
            State::Waits(waits) => waits,
            _ => &plan.elsewhere,
        });
    let waits: Vec<String> = waits
        .iter()
        .map(|it| format!("{}: {}", it.node, it.stage))
        .collect();
    format!("waiting for {}", waits.join(", "))
}
