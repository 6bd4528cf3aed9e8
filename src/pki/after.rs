//! What is done after a renewal: only what does not read its files again by itself is restarted.
//!
//! Steps come from `certificates.afterRenew`, in its order, one after the other: static pods by the
//! kubelet ([`crate::static_pod`]), the operator's programs ([`hooks`]). One that fails does not hold the
//! next. The new certificates are in their places already and stay there whatever happens here.
//!
//! A step that fails is owed ([`owed`]): the next run does it again, and only it.
//!
//! A signal to end (SIGTERM, SIGINT, SIGHUP) is taken while this works: the pod's manifest is put
//! back first, a program is killed, and the steps that are left are told to be left.

pub mod hooks;
pub mod owed;
mod steps;

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::wanted::Item;
use crate::config::cluster::{AfterRenew, Hook};
use crate::report::milliseconds;
use crate::root::Root;
use crate::static_pod::processes::Processes;
use crate::static_pod::stop::Stop;
use crate::static_pod::{self, Limits, Restarted};
use owed::Owed;
use steps::What;

pub use steps::{Step, outstanding, pods};

/// How much of what a program said is shown, in characters.
const SHOWN: usize = 500;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepResult {
    /// It was done.
    Done,
    /// There was nothing to be done.
    Nothing,
    /// It failed. A person, or the step's next run, has to do it.
    Failed,
    /// It would be done.
    Planned,
}

impl StepResult {
    /// The word that tables and JSON show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Nothing => "nothing",
            Self::Failed => "failed",
            Self::Planned => "planned",
        }
    }
}

/// What came of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// A static pod's name, or a program's path.
    pub step: String,
    /// How it ended.
    pub result: StepResult,
    /// For people: what was done, or what went wrong and what to do.
    pub detail: String,
    /// How long it took.
    pub milliseconds: f64,
}

/// Does what the cluster file asks for and is owed for some of these items, of a renewal now or by an
/// earlier run. What fails stays owed, on disk too. For whoever holds the certificates' lock. Needs a
/// runtime with timers and I/O; `say` hears of each step before it begins. From here on the process takes SIGTERM, SIGINT and SIGHUP itself,
/// until it ends.
pub async fn after_renew(
    root: &Root,
    steps: &[AfterRenew],
    items: &[Item],
    owed: &mut Owed,
    say: fn(&str),
) -> Vec<Outcome> {
    let machine = Machine {
        root,
        say,
        processes: Processes::new(Path::new("/proc")),
        limits: Limits::default(),
    };
    machine.pay(steps, items, owed, &mut Stop::listen()).await
}

/// Where the steps are done.
struct Machine<'a> {
    root: &'a Root,
    /// Where a person reads what is being done: a restart takes seconds, at worst minutes.
    say: fn(&str),
    processes: Processes,
    limits: Limits,
}

impl Machine<'_> {
    /// What came of all steps that are owed, and on disk, after each one, what is left of them.
    async fn pay(
        &self,
        steps: &[AfterRenew],
        items: &[Item],
        owed: &mut Owed,
        stop: &mut Stop,
    ) -> Vec<Outcome> {
        let begun = Instant::now();
        let mut outcomes = Vec::new();
        let mut noted = self.note(steps, items, owed);
        // What cannot be noted as done would be done by every run.
        if noted.is_ok() {
            for Step { what, ids } in outstanding(steps, items, owed) {
                let begun = Instant::now();
                (self.say)(&what.doing());
                let ended = match what {
                    What::Pod(pod) => self.pod(pod, stop).await,
                    What::Program(hook) => self.program(hook, &ids, stop).await,
                };
                if ended.is_ok() {
                    owed.settle(&what.key(), &ids);
                    noted = self.note(steps, items, owed);
                }
                outcomes.push(told(what.name(), begun, ended));
            }
        }
        if let Err(error) = noted {
            outcomes.push(told("remember", begun, Err(error.to_string())));
        }
        outcomes
    }

    /// Keeps what is owed, less the items for which all is done.
    fn note(
        &self,
        steps: &[AfterRenew],
        items: &[Item],
        owed: &mut Owed,
    ) -> Result<(), owed::Error> {
        let left = outstanding(steps, items, owed);
        let left = left.iter().flat_map(|step| &step.ids);
        owed.keep(&left.map(ToString::to_string).collect());
        owed.save(self.root)
    }

    /// An error where the next run has to do it again.
    async fn pod(&self, pod: &str, stop: &mut Stop) -> Result<(StepResult, String), String> {
        stop.check()?;
        let restarted =
            static_pod::restart(self.root, &self.processes, pod, &self.limits, stop.asked()).await;
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        // It has ended, and whenever it comes back, it reads the new files: once more would only
        // lengthen the kubelet's back-off.
        if let Err(error @ static_pod::Error::NotBack { .. }) = &restarted {
            return Ok((StepResult::Failed, error.to_string()));
        }
        match restarted.map_err(|error| error.to_string())? {
            Restarted::NoManifest => {
                let text = format!("this node has no {}/{pod}.yaml", static_pod::MANIFESTS);
                Ok((StepResult::Nothing, text))
            }
            Restarted::NotRunning => Ok((
                StepResult::Nothing,
                "it does not run; it reads the new files when it starts".to_owned(),
            )),
            Restarted::Done { gone, back } => {
                let text = format!(
                    "restarted: gone after {}, back after {} more",
                    seconds(gone),
                    seconds(back)
                );
                Ok((StepResult::Done, text))
            }
        }
    }

    async fn program(
        &self,
        hook: &Hook,
        ids: &[&str],
        stop: &mut Stop,
    ) -> Result<(StepResult, String), String> {
        stop.check()?;
        let said = tokio::select! {
            said = hooks::run(self.root, hook, ids) => said.map_err(|error| error.to_string())?,
            () = stop.asked() => return Err("killed, because stayput was told to end".to_owned()),
        };
        Ok((StepResult::Done, last_characters(said.trim())))
    }
}

fn told(step: &str, begun: Instant, ended: Result<(StepResult, String), String>) -> Outcome {
    let (result, detail) = ended.unwrap_or_else(|error| (StepResult::Failed, error));
    if result == StepResult::Failed {
        tracing::error!(step, "after the renewal: {detail}");
    } else {
        tracing::info!(step, "after the renewal: {detail}");
    }
    Outcome {
        step: step.to_owned(),
        result,
        detail,
        milliseconds: milliseconds(begun.elapsed()),
    }
}

fn last_characters(text: &str) -> String {
    let surplus = text.chars().count().saturating_sub(SHOWN);
    let shown: String = text.chars().skip(surplus).collect();
    if surplus > 0 {
        format!("…{shown}")
    } else {
        shown
    }
}

#[cfg(test)]
mod tests;
