//! What was done, what is left, and who is next. The JSON form is stable: fields are added, never
//! renamed or removed.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::begin::Obstacle;
use super::error::Error;
use super::guard;
use super::look::Look;
use super::plan::{Change, Plan, Stand, State, Wait};
use super::stage::Stage;
use crate::kubeadm::pin::Pin;
use crate::name::Name;

/// A run, or what one would do.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The name of this node's Node object.
    pub node: String,
    /// This master's name; none on a worker.
    pub master: Option<Name>,
    /// Nothing was to be changed.
    pub dry_run: bool,
    /// This node's stages, in order, as they stand now.
    pub stages: Vec<Row>,
    /// What was done now, in order.
    pub did: Vec<Did>,
    /// Where nothing is left to do here: who has still to do what.
    pub elsewhere: Vec<Wait>,
    /// What pins here, and is to be changed by hand; all of it once no stage is left.
    pub by_hand: Vec<Pin>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// What nobody mends, and what else is worth knowing.
    pub notices: Vec<String>,
    /// Where everything is that was changed now, as it was.
    pub backups: Option<PathBuf>,
    /// Why it stopped before its time.
    pub failure: Option<String>,
    /// Nothing is left to do, here and elsewhere, and nothing that is left to a person stops this node.
    pub complete: bool,
    /// What kind of failure it was.
    #[serde(skip)]
    pub error: Option<Error>,
}

/// A stage.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Which.
    pub stage: Stage,
    /// `done`, `ready`, `waits` or `stuck`; `unknown` while the cluster cannot be asked.
    pub state: &'static str,
    /// What is stuck.
    pub reason: Option<String>,
    /// Who comes first.
    pub waits_for: Vec<Wait>,
    /// What is left to change.
    pub changes: Vec<Change>,
}

/// Something that was done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Did {
    /// The stage.
    pub stage: Stage,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// It stopped there.
    pub failed: bool,
}

impl Report {
    /// What would be done.
    pub fn of(look: &Look, plan: &Plan) -> Self {
        let mut report = Self {
            dry_run: true,
            ..Self::default()
        };
        report.see(look, plan);
        report
    }

    /// What this node's files tell, while nothing is known of the rest.
    pub(super) fn without_api(look: &Look, obstacle: &Obstacle) -> Self {
        let mut report = Self::of(look, &Plan::default());
        let stands = &look.facts.stands;
        let has_etcd = stands.contains_key(&Stage::Etcd);
        let is_ours = |stage: &Stage| match stage {
            _ if look.facts.master.is_none() => stage.is_for_workers(),
            Stage::Etcd | Stage::Peer => has_etcd,
            _ => true,
        };
        let stages = Stage::ALL.into_iter().filter(is_ours);
        report.stages = stages
            .map(|stage| {
                let mut row = Row {
                    stage,
                    state: "unknown",
                    reason: None,
                    waits_for: Vec::new(),
                    changes: Vec::new(),
                };
                match stands.get(&stage) {
                    None => {}
                    Some(Stand::Done) => row.state = "done",
                    Some(Stand::Open(changes)) => row.changes.clone_from(changes),
                    Some(Stand::Bad(reason)) => {
                        row.state = "stuck";
                        row.reason = Some(reason.clone());
                    }
                }
                row
            })
            .collect();
        report.failure = Some(obstacle.to_string());
        report.complete = false;
        report
    }

    /// What is seen now takes the place of what was seen before.
    pub(super) fn see(&mut self, look: &Look, plan: &Plan) {
        self.node.clone_from(&look.facts.node);
        self.master.clone_from(&look.facts.master);
        self.stages = plan.steps.iter().map(row).collect();
        self.elsewhere.clone_from(&plan.elsewhere);
        self.warnings.clone_from(&plan.warnings);
        self.warnings.extend(look.warnings.iter().cloned());
        self.by_hand.clone_from(&look.by_hand);
        self.complete = plan.is_complete() && !guard::is_fatal(&look.by_hand);
        for notice in &look.notices {
            if !self.notices.contains(notice) {
                self.notices.push(notice.clone());
            }
        }
    }

    /// It stopped.
    pub(super) fn fail(&mut self, error: Option<Error>) {
        self.failure = error.as_ref().map(ToString::to_string);
        self.complete &= error.is_none();
        self.error = error;
    }

    /// Whether anything is to be changed here now.
    pub fn is_ready(&self) -> bool {
        let next = self.stages.iter().find(|row| row.state != "done");
        next.is_some_and(|row| row.state == "ready")
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.stages {
            // Writing into a text does not fail.
            let _ = writeln!(text, "{:<14}{}", row.stage.as_str(), self.word(row));
            for change in &row.changes {
                let _ = writeln!(text, "    {}", change.place);
                for line in change.diff.lines() {
                    let _ = writeln!(text, "        {line}");
                }
            }
        }
        for pin in &self.by_hand {
            let line = pin
                .line
                .map_or(String::new(), |line| format!(", line {line}"));
            let _ = writeln!(
                text,
                "\nby hand ({}): {}{line}: {} {}\n    breaks: {}\n    instead: {}",
                pin.severity.as_str(),
                shown(&pin.place),
                shown(&pin.what),
                shown(&pin.value),
                pin.breaks,
                pin.instead
            );
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "\nwarning: {warning}");
        }
        for notice in &self.notices {
            let _ = writeln!(text, "\nnote: {notice}");
        }
        if let Some(folder) = &self.backups {
            let _ = writeln!(
                text,
                "\nWhat was changed is kept as it was in {0}; remove that folder when all is well: it holds keys.",
                folder.display()
            );
        }
        text.push_str(&self.ending());
        text
    }

    fn word(&self, row: &Row) -> String {
        let did = self
            .did
            .iter()
            .find(|did| did.stage == row.stage && !did.failed);
        match (row.state, did, &row.reason) {
            ("done", Some(did), _) => format!("done now, in {:.1} s", did.seconds),
            ("ready", ..) if !self.dry_run => "not done".to_owned(),
            ("ready", ..) => "to do".to_owned(),
            ("unknown", ..) if row.changes.is_empty() => "not known".to_owned(),
            ("unknown", ..) => "to do; when is not known".to_owned(),
            ("stuck", _, Some(reason)) => format!("stuck: {reason}"),
            ("waits", ..) => format!("waits for {}", waits(&row.waits_for)),
            (state, ..) => state.to_owned(),
        }
    }

    /// What is next.
    fn ending(&self) -> String {
        if self.dry_run && self.failure.is_some() {
            return "\nThis is what this node's files tell. The rest is not known while the cluster cannot be asked.\n".to_owned();
        }
        if let Some(failure) = &self.failure {
            let back = self.backups.as_ref().map_or_else(String::new, |folder| {
                format!(
                    "\nTo go back, copy what was changed from {} to its place (a manifest: out of the kubelet's folder first, and in when its container is gone), and restart its reader.",
                    folder.display()
                )
            });
            return format!("\nStopped: {failure}{back}\n");
        }
        if self.complete {
            return match self.master {
                Some(_) => "\nNothing is left to do, here or elsewhere.\n".to_owned(),
                None => "\nNothing is left to do here.\n".to_owned(),
            };
        }
        let next = self.stages.iter().find(|row| row.state != "done");
        let waits_for = match next {
            Some(row) if row.state == "waits" => &row.waits_for,
            Some(_) => return String::new(),
            None if self.elsewhere.is_empty() => {
                return "\nNext: what is to be changed by hand, above.\n".to_owned();
            }
            None => &self.elsewhere,
        };
        let mut nodes: Vec<&str> = waits_for.iter().map(|it| it.node.as_str()).collect();
        nodes.dedup();
        let again = if next.is_some() {
            ", and then here again"
        } else {
            ""
        };
        format!(
            "\nNext: `stayput kubeadm unpin` on {}{again} (or with --wait, which waits for the others).\n",
            nodes.join(", ")
        )
    }
}

/// Control characters of files do not reach the terminal.
fn shown(text: &str) -> String {
    let safe = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(safe).collect()
}

fn row(step: &super::plan::Step) -> Row {
    let (state, reason, waits_for) = match &step.state {
        State::Done => ("done", None, Vec::new()),
        State::Ready => ("ready", None, Vec::new()),
        State::Waits(waits) => ("waits", None, waits.clone()),
        State::Stuck(reason) => ("stuck", Some(reason.clone()), Vec::new()),
    };
    Row {
        stage: step.stage,
        state,
        reason,
        waits_for,
        changes: step.changes.clone(),
    }
}

fn waits(waits: &[Wait]) -> String {
    let waits = waits.iter().map(|it| format!("{} ({})", it.node, it.stage));
    waits.collect::<Vec<String>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubeadm::pin::Severity;
    use crate::kubeadm::unpin::plan::plan;

    #[test]
    fn what_is_left_to_a_person_is_told_and_nothing_is_complete_while_it_is_fatal() {
        let see = |severity| {
            let pin = Pin {
                severity,
                place: "/etc/kubernetes/manifests/kube-apiserver.yaml".to_owned(),
                line: Some(7),
                what: "--etcd-servers".to_owned(),
                value: "https://10.77.0.11:2379\u{1b}".to_owned(),
                addresses: Vec::new(),
                breaks: "etcd is not found".to_owned(),
                instead: "names".to_owned(),
            };
            let look = Look {
                by_hand: vec![pin],
                ..Look::default()
            };
            Report::of(&look, &plan(&look.facts))
        };
        let fatal = see(Severity::Fatal);
        assert!(!fatal.complete);
        let text = fatal.text();
        assert!(text.contains(
            "kube-apiserver.yaml, line 7: --etcd-servers https://10.77.0.11:2379\u{fffd}"
        ));
        assert!(
            text.contains("Next: what is to be changed by hand"),
            "{text}"
        );
        let degraded = see(Severity::Degraded);
        assert!(degraded.complete);
        assert!(degraded.text().contains("by hand (degraded)"));
    }
}
