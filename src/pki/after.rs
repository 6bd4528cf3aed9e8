//! What is done after a renewal: only what does not read its files again by itself is restarted.
//!
//! Steps come from `certificates.afterRenew`, in its order, one after the other: static pods by the
//! kubelet ([`static_pod`]), the operator's programs ([`hooks`]). One that fails does not hold the
//! next. The new certificates are in their places already and stay there whatever happens here.
//!
//! A step that fails is owed ([`mod@owed`]): the next run does all steps of those items again.
//!
//! A signal to end (SIGTERM, SIGINT, SIGHUP) is taken while this works: the pod's manifest is put
//! back first, a program is killed, and the steps that are left are told to be left.

pub mod hooks;
pub mod owed;
pub mod processes;
pub mod static_pod;

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::path::Path;
use std::task::Poll;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::catalogue::Reload;
use super::wanted::Item;
use crate::config::cluster::{AfterRenew, Hook};
use crate::report::milliseconds;
use crate::root::Root;
use processes::Processes;
use static_pod::{Limits, Restarted};

pub use owed::{owe, owed};
pub use static_pod::{Recovered, recover};

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
}

impl StepResult {
    /// The word that tables and JSON show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Nothing => "nothing",
            Self::Failed => "failed",
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

/// Does what the cluster file asks for after these items were renewed, now or by an earlier run that
/// still [owes](owed()) it. What fails is owed then. For whoever holds the
/// certificates' lock. Needs a runtime with timers and I/O; from here on the process takes
/// SIGTERM, SIGINT and SIGHUP itself, until it ends.
pub async fn after_renew(root: &Root, steps: &[AfterRenew], renewed: &[Item]) -> Vec<Outcome> {
    let machine = Machine {
        root,
        processes: Processes::new(Path::new("/proc")),
        limits: Limits::default(),
    };
    machine.pay(steps, renewed, &mut Stop::listen()).await
}

/// The static pods that have to be restarted, each once, in the order of the items.
pub fn pods<'a>(renewed: &'a [Item]) -> Vec<&'a str> {
    let mut pods: Vec<&'a str> = Vec::new();
    for user in renewed.iter().flat_map(|item| &item.users) {
        if user.reload == Reload::StaticPod && !pods.contains(&user.process.as_str()) {
            pods.push(&user.process);
        }
    }
    pods
}

/// The ids of the items for which a static pod is restarted.
fn users_of<'a>(pod: &str, renewed: &'a [Item]) -> Vec<&'a str> {
    let for_it = |item: &&Item| pods(std::slice::from_ref(*item)).contains(&pod);
    renewed
        .iter()
        .filter(for_it)
        .map(|item| item.id.as_str())
        .collect()
}

/// Where the steps are done.
struct Machine<'a> {
    root: &'a Root,
    processes: Processes,
    limits: Limits,
}

impl Machine<'_> {
    /// All steps, and on disk what is left of them, should this run die meanwhile.
    async fn pay(&self, steps: &[AfterRenew], renewed: &[Item], stop: &mut Stop) -> Vec<Outcome> {
        let (begun, ids) = (Instant::now(), renewed.iter().map(|item| item.id.as_str()));
        let owed = owed::owe(self.root, ids);
        let (mut outcomes, left) = self.carry_out(steps, renewed, stop).await;
        let mut all = owed::owed(self.root);
        all.retain(|id| renewed.iter().all(|item| item.id != *id));
        all.extend(left);
        let paid = owed.and_then(|()| owed::set(self.root, &all));
        if let Err(error) = paid {
            let error = format!("cannot remember what is left to be done: {error}");
            outcomes.push(told("remember", begun, Err(error)));
        }
        outcomes
    }

    /// What came of the steps, and the ids of the items for which one failed.
    async fn carry_out(
        &self,
        steps: &[AfterRenew],
        renewed: &[Item],
        stop: &mut Stop,
    ) -> (Vec<Outcome>, BTreeSet<String>) {
        let all: Vec<&str> = renewed.iter().map(|item| item.id.as_str()).collect();
        let (mut outcomes, mut left) = (Vec::new(), BTreeSet::new());
        let mut end = |outcome: Outcome, ids: &[&str]| {
            if outcome.result == StepResult::Failed {
                left.extend(ids.iter().map(ToString::to_string));
            }
            outcomes.push(outcome);
        };
        for step in steps {
            match step {
                AfterRenew::StaticPods => {
                    for pod in pods(renewed) {
                        let begun = Instant::now();
                        let ended = self.pod(pod, stop).await;
                        let again = ended.is_err();
                        let ids = if again {
                            users_of(pod, renewed)
                        } else {
                            Vec::new()
                        };
                        end(told(pod, begun, ended), &ids);
                    }
                }
                AfterRenew::Program(hook) => {
                    let ids = hooks::concerns(hook, &all);
                    if !ids.is_empty() {
                        let begun = Instant::now();
                        let name = hook.command.first().map_or("", String::as_str);
                        let outcome = told(name, begun, self.program(hook, &ids, stop).await);
                        end(outcome, &ids);
                    }
                }
            }
        }
        (outcomes, left)
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

/// Whether this process was told to end.
struct Stop {
    signals: Vec<Signal>,
    asked: bool,
}

impl Stop {
    /// Where a signal cannot be taken, it ends the process as ever, and the next run puts right what
    /// this one leaves.
    fn listen() -> Self {
        let kinds = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        ];
        Self {
            signals: kinds
                .into_iter()
                .filter_map(|kind| signal(kind).ok())
                .collect(),
            asked: false,
        }
    }

    /// Ends when it is told to.
    async fn asked(&mut self) {
        if self.asked {
            return;
        }
        poll_fn(|context| {
            let mut polled = self
                .signals
                .iter_mut()
                .map(|signal| signal.poll_recv(context));
            if polled.any(|signal| signal.is_ready()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        self.asked = true;
    }

    fn check(&self) -> Result<(), String> {
        if self.asked {
            return Err("left undone, because stayput was told to end".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
