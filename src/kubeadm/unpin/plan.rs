//! What may be done on this node now, and whom the rest waits for. Pure.
//!
//! Old and new ways live side by side until nobody uses the old one: names go into certificates before
//! anybody dials by name, and addresses go out of them after the last one has stopped dialling by address.
//! The order across nodes:
//!
//! ```text
//! every master: certificates ─┐
//! every node:   agent ────────┴▶ masters one by one: kubeconfigs, etcd, apiserver, peer ─┐
//!                                workers: kubeconfigs ───────────────────────────────────┴▶ cluster ─▶ masters one by one: addresses
//! ```
//!
//! It is kept by what nodes say of themselves ([`Record`]). A node that says nothing has done nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::stage::{Record, Stage};
use crate::name::Name;

/// What is known, all of it at one time.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The name of this node's Node object.
    pub node: String,
    /// This master's name; none on a worker.
    pub master: Option<Name>,
    /// All masters of the cluster file, in its order, this one too.
    pub masters: Vec<Other>,
    /// All other nodes, but for this one. A worker, which may not look at other nodes, knows none.
    pub workers: Vec<Other>,
    /// How it stands with each stage here. One that is not named is none of this node's business.
    pub stands: BTreeMap<Stage, Stand>,
    /// etcd's members other than this master's; empty where etcd is not run by static pods.
    pub members: Vec<Member>,
}

/// A node, as far as others know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Other {
    /// What people call it.
    pub name: String,
    /// What it says of itself.
    pub record: Option<Record>,
    /// The operator says that it is not to be waited for.
    pub without: bool,
    /// Whether its kube-apiserver serves a certificate with the names, where that was looked at: by
    /// workers, which cannot read the masters' records.
    pub serves_names: Option<bool>,
}

/// One of etcd's members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// What people call it.
    pub name: String,
    /// Whether it answers and has a leader.
    pub healthy: bool,
    /// The operator says that it is not to be waited for.
    pub without: bool,
}

/// How it stands with a stage on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    /// Nothing is left to do.
    Done,
    /// These changes are.
    Open(Vec<Change>),
    /// It cannot be done, and a person has to look.
    Bad(String),
}

/// One thing that is to be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// A file's path, or an object such as `ConfigMap kube-system/kube-proxy`.
    pub place: String,
    /// The change in lines that begin with `-` and `+`. Holds no secret.
    pub diff: String,
}

/// The stages of this node, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// One for each that is this node's business.
    pub steps: Vec<Step>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// Who has still to do what, where nothing is left to do here.
    pub elsewhere: Vec<Wait>,
}

/// A stage of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub stage: Stage,
    /// Whether it can be done.
    pub state: State,
    /// What it changes; nothing where it is done.
    pub changes: Vec<Change>,
}

/// Whether a stage can be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is done.
    Done,
    /// It can be, once all before it are.
    Ready,
    /// Others come first.
    Waits(Vec<Wait>),
    /// A person comes first.
    Stuck(String),
}

/// Somebody who comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// The node on which `stayput kubeadm unpin` is to be run.
    pub node: String,
    /// The stage that it has not done yet.
    pub stage: Stage,
}

impl Plan {
    /// The one step that is next, if there is any left.
    pub fn next(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.state != State::Done)
    }

    /// Whether nothing is left to do, here or elsewhere.
    pub fn is_complete(&self) -> bool {
        self.next().is_none() && self.elsewhere.is_empty()
    }
}

/// The plan.
pub fn plan(facts: &Facts) -> Plan {
    let step = |(stage, stand): (&Stage, &Stand)| {
        let (state, changes) = match stand {
            Stand::Done => (State::Done, Vec::new()),
            Stand::Bad(reason) => (State::Stuck(reason.clone()), Vec::new()),
            Stand::Open(changes) => (facts.open(*stage), changes.clone()),
        };
        Step {
            stage: *stage,
            state,
            changes,
        }
    };
    let steps: Vec<Step> = facts.stands.iter().map(step).collect();
    let here = steps.iter().all(|step| step.state == State::Done);
    Plan {
        elsewhere: if here { facts.unfinished() } else { Vec::new() },
        warnings: facts.warnings(),
        steps,
    }
}

/// The last stage up to which nothing is left to do on this node.
pub fn done(stands: &BTreeMap<Stage, Stand>) -> Option<Stage> {
    let stages = Stage::ALL.into_iter();
    // The last two need all nodes; a worker's part ends before them.
    let is_mine = |stage: &Stage| *stage < Stage::Cluster || stands.contains_key(stage);
    stages
        .take_while(|stage| is_mine(stage) && stands.get(stage).is_none_or(|it| *it == Stand::Done))
        .last()
}

impl Facts {
    /// Whether a stage in which something is left to do may be begun.
    fn open(&self, stage: Stage) -> State {
        let waits = self.waits(stage);
        if !waits.is_empty() {
            return State::Waits(waits);
        }
        match self.doubt_of_etcd(stage) {
            Some(doubt) => State::Stuck(doubt),
            None => State::Ready,
        }
    }

    /// Who comes first.
    fn waits(&self, stage: Stage) -> Vec<Wait> {
        let mut waits = match stage {
            Stage::Agent | Stage::Certificates => Vec::new(),
            Stage::Kubeconfigs | Stage::Etcd | Stage::Apiserver | Stage::Peer => {
                let mut waits = self.lacking(Stage::Certificates, Stage::Agent);
                waits.extend(self.before_me(Stage::Peer));
                waits
            }
            Stage::Cluster => self.lacking(Stage::Peer, Stage::Peer),
            Stage::Addresses => {
                let mut waits = self.lacking(Stage::Peer, Stage::Peer);
                waits.extend(self.before_me(Stage::Addresses));
                waits
            }
        };
        waits.sort();
        waits.dedup_by(|later, earlier| later.node == earlier.node);
        waits
    }

    /// Masters and workers that are not past a stage. This node itself does its own in order.
    fn lacking(&self, masters: Stage, workers: Stage) -> Vec<Wait> {
        let lacks = |others: &[Other], stage: Stage| -> Vec<Wait> {
            let lacking = others.iter().filter(|other| !other.is_past(stage));
            lacking.map(|other| other.wait(stage)).collect()
        };
        let others: Vec<Other> = self.other_masters().cloned().collect();
        let mut waits = lacks(&others, masters);
        waits.extend(lacks(&self.workers, workers));
        waits
    }

    /// On a master: the masters before it in the cluster file that are not past `stage`, and any at all
    /// that is in the middle of something.
    fn before_me(&self, stage: Stage) -> Vec<Wait> {
        let Some(me) = &self.master else {
            return Vec::new();
        };
        let before = self.masters.iter().take_while(|it| it.name != me.as_str());
        let before = before.filter(|it| !it.is_past(stage));
        let before = before.map(|it| it.wait(stage));
        let busy = self.other_masters().filter_map(|it| {
            let at = it.record.as_ref()?.at?;
            (at.is_one_at_a_time() && !it.without).then(|| it.wait(at))
        });
        before.chain(busy).collect()
    }

    fn other_masters(&self) -> impl Iterator<Item = &Other> {
        let me = self.master.as_ref();
        let is_me = move |it: &&Other| me.is_some_and(|me| it.name == me.as_str());
        self.masters.iter().filter(move |it| !is_me(it))
    }

    /// Why etcd could not bear it that this master's part of it, or what uses it, is restarted or
    /// changed now.
    fn doubt_of_etcd(&self, stage: Stage) -> Option<String> {
        if !matches!(
            stage,
            Stage::Etcd | Stage::Apiserver | Stage::Peer | Stage::Addresses
        ) {
            return None;
        }
        let sick = |it: &&Member| !it.healthy && !it.without;
        let sick: Vec<&str> = self
            .members
            .iter()
            .filter(sick)
            .map(|it| it.name.as_str())
            .collect();
        if !sick.is_empty() {
            return Some(format!(
                "etcd's member {} does not answer or has no leader; bring it back first, or take it out of etcd \
                 (`stayput kubeadm leave-etcd --name NAME`), or go on without it (--without NAME)",
                sick.join(" and ")
            ));
        }
        let all = self.members.len() + 1;
        let healthy = 1 + self.members.iter().filter(|it| it.healthy).count();
        // Alone, or one of two, a member cannot be restarted without a pause anyway.
        let rest = if stage == Stage::Peer || all < 3 {
            healthy
        } else {
            healthy - 1
        };
        (rest < all / 2 + 1).then(|| {
            format!(
                "etcd would lose its quorum: {healthy} of its {all} members are healthy; bring another one \
                 back first, or take the dead ones out of etcd"
            )
        })
        .filter(|_| all > 2 || stage == Stage::Peer)
    }

    /// Who has still to do what, where this node has nothing left to do.
    fn unfinished(&self) -> Vec<Wait> {
        if self.master.is_none() {
            return Vec::new();
        }
        self.lacking(Stage::Addresses, Stage::Peer)
    }

    fn warnings(&self) -> Vec<String> {
        let left_out = self.masters.iter().chain(&self.workers);
        left_out
            .filter(|it| it.without)
            .map(|it| {
                format!(
                    "{0} is left out: what it pins breaks, or breaks others, when it comes back; run `stayput kubeadm unpin` there first of all",
                    it.name
                )
            })
            .collect()
    }
}

impl Other {
    fn is_past(&self, stage: Stage) -> bool {
        if self.without {
            return true;
        }
        match self.serves_names {
            Some(serves) if stage <= Stage::Certificates => serves,
            _ => self.record.as_ref().is_some_and(|it| it.is_past(stage)),
        }
    }

    fn wait(&self, stage: Stage) -> Wait {
        Wait {
            node: self.name.clone(),
            stage,
        }
    }
}

#[cfg(test)]
mod tests;
