//! Which steps follow the renewal of which items, less what is done already.

use std::fmt;

use super::owed::Owed;
use super::{Outcome, StepResult, hooks};
use crate::config::cluster::{AfterRenew, Hook};
use crate::pki::catalogue::Reload;
use crate::pki::wanted::Item;

/// One thing to do, and what for.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    pub(super) what: What<'a>,
    /// The ids of renewed items, in their order.
    pub(super) ids: Vec<&'a str>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum What<'a> {
    Pod(&'a str),
    Program(&'a Hook),
}

/// The steps that are owed for some of these items, in the cluster file's order, each pod once.
pub fn outstanding<'a>(steps: &'a [AfterRenew], items: &'a [Item], owed: &Owed) -> Vec<Step<'a>> {
    let all: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
    let mut outstanding = Vec::new();
    let mut add = |what: What<'a>, mut ids: Vec<&'a str>| {
        let key = what.key();
        ids.retain(|id| owed.owes(&key, id));
        if !ids.is_empty() {
            outstanding.push(Step { what, ids });
        }
    };
    for step in steps {
        match step {
            AfterRenew::StaticPods => {
                for pod in pods(items) {
                    add(What::Pod(pod), users_of(pod, items));
                }
            }
            AfterRenew::Program(hook) => add(What::Program(hook), hooks::concerns(hook, &all)),
        }
    }
    outstanding
}

impl What<'_> {
    /// A static pod's name, or a program's path.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Pod(pod) => pod,
            Self::Program(hook) => hook.command.first().map_or("", String::as_str),
        }
    }

    /// For a person who waits.
    pub(super) fn doing(&self) -> String {
        match self {
            Self::Pod(pod) => format!("the new certificate is in its place; restarting {pod}"),
            Self::Program(_) => format!("running {}", self.name()),
        }
    }

    /// What tells it from all others, in this run and the next. An argument may hold anything.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Pod(pod) => format!("pod {pod}"),
            Self::Program(hook) => format!("program {:?}", hook.command),
        }
    }
}

impl Step<'_> {
    /// What a plan shows of it.
    pub fn planned(&self) -> Outcome {
        Outcome {
            step: self.what.name().to_owned(),
            result: StepResult::Planned,
            detail: format!("for {}", self.ids.join(", ")),
            milliseconds: 0.0,
        }
    }
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.what.name(), self.ids.join(", "))
    }
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
