//! kubeadm's files as far as the agent is concerned: it sees that they changed, and that kube-apiserver
//! advertises an address that is not this master's any more, and starts the program that does something
//! about it.
//!
//! That program is `stayput kubeadm follow`, started by the cluster file's `kubeadm.follow`: the agent may
//! not write manifests, nor read kubeconfigs. One run at a time; what changes meanwhile means one more.
//! A reason to start one is
//!
//! - the agent's own start,
//! - a change in the folder of static pods, or of kubelet.conf: `kubeadm upgrade` puts pins back,
//! - an address of this master that is new in the book, or has just come up on an interface, while
//!   kube-apiserver advertises another.
//!
//! Restarting kube-apiserver is not free, so a run that failed, or left the address as it was, is tried
//! again after pauses that grow, whatever happens to the files; only a new address comes sooner. An address
//! that comes and goes is followed once in [`REST`].

use std::future::Future;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::Agent;
use crate::clock;
use crate::kubeadm::follow::present;
use crate::kubeadm::outlook::{self, Known, Own};
use crate::process::{Error, Finished, Program};
use crate::source::interface::Snapshot;
use crate::status::{FollowRuns, KubeadmStatus};

/// How the kubelet reaches kube-apiserver. The agent watches it, and cannot read it.
pub(super) const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
/// How long the disk may take to read what there is.
const PATIENCE: Duration = Duration::from_secs(5);
/// From a change of a file until the run: what belongs together has then been written.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a run may take: kube-apiserver that does not end, and one that does not come.
const RUN: Duration = Duration::from_mins(15);
/// How long a run may take to end once it is asked to; shorter than the agent's own patience.
const GRACE: Duration = Duration::from_secs(3);
/// From a change of what is advertised until the next one at the soonest.
const REST: Duration = Duration::from_mins(1);
/// After a run that came to nothing, the first time and at most.
const PAUSE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_mins(30);

/// What the agent knows of kubeadm's files, and what it does about them.
#[derive(Default)]
pub(super) struct Kubeadm {
    /// Program and arguments; empty where no run is ever started.
    command: Vec<String>,
    own: Own,
    /// Those of its own addresses that are on this machine's interfaces.
    here: Vec<IpAddr>,
    known: Known,
    /// What the manifest told last, and when that became another address.
    advertised: Option<IpAddr>,
    changed: Option<Instant>,
    turn: Turn,
    /// How often in a row a run has failed, or has left the address behind.
    vain: u32,
    failures: u32,
    last_error: Option<String>,
}

#[derive(Default)]
enum Turn {
    /// There is no reason for a run.
    #[default]
    Idle,
    /// The next one starts at this moment, also told in Unix time.
    Waits(Instant, u64),
    Runs {
        ended: Pin<Box<dyn Future<Output = Result<Finished, Error>>>>,
        /// Dropped, it asks the run to end.
        stop: oneshot::Sender<()>,
        /// Something has changed since it started.
        again: bool,
    },
}

impl Kubeadm {
    /// What status shows now.
    pub(super) fn status(&self) -> Option<KubeadmStatus> {
        let runs = (!self.command.is_empty()).then(|| FollowRuns {
            running: matches!(self.turn, Turn::Runs { .. }),
            next: match &self.turn {
                Turn::Waits(_, unix) => Some(clock::rfc3339(*unix)),
                Turn::Idle | Turn::Runs { .. } => None,
            },
            failures: self.failures,
            last_error: self.last_error.clone(),
        });
        self.known.status(runs)
    }

    /// A file of kubeadm's may be another one.
    pub(super) fn files_changed(&mut self) {
        // A run that fails may have changed them itself.
        if self.vain == 0 {
            self.want(SETTLE);
        }
    }

    /// There is a reason for a run, after this time at the latest.
    fn want(&mut self, wait: Duration) {
        if self.command.is_empty() {
            return;
        }
        let next = Instant::now() + wait;
        match &mut self.turn {
            Turn::Waits(at, _) if *at <= next => {}
            Turn::Idle | Turn::Waits(..) => {
                self.turn = Turn::Waits(next, clock::unix_now() + wait.as_secs());
            }
            Turn::Runs { again, .. } => *again = true,
        }
    }

    /// Ends when a run has started or ended. May be cancelled.
    pub(super) async fn turn(&mut self) {
        match &mut self.turn {
            Turn::Idle => std::future::pending().await,
            Turn::Waits(at, _) => {
                tokio::time::sleep_until(*at).await;
                match self.rest() {
                    Some(rest) => {
                        self.turn = Turn::Idle;
                        self.want(rest);
                    }
                    None => self.start(),
                }
            }
            Turn::Runs { ended, again, .. } => {
                let ended = ended.await;
                let again = *again;
                self.turn = Turn::Idle;
                self.note(ended, again);
            }
        }
    }

    /// How long a run that would change the manifest has to wait, because it was changed just now.
    fn rest(&self) -> Option<Duration> {
        let over = self.changed.filter(|_| self.known.is_behind())? + REST;
        let rest = over.saturating_duration_since(Instant::now());
        (!rest.is_zero()).then_some(rest)
    }

    /// What a look has found. While a manifest is out of its place it tells nothing.
    fn learn(&mut self, known: Known) {
        if let Some(now) = known.advertises() {
            let before = self.advertised.replace(now);
            if before.is_some_and(|before| before != now) {
                self.changed = Some(Instant::now());
            }
        }
        self.known = known;
    }

    fn start(&mut self) {
        self.turn = Turn::Idle;
        let Some((program, arguments)) = self.command.split_first() else {
            return;
        };
        let program = match Program::new(Path::new(program), RUN) {
            Ok(program) => program.args(arguments),
            Err(error) => return self.note(Err(error), false),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = Box::pin(async move {
            // The other end is only ever dropped.
            let stopped = async { drop(stopped.await) };
            program.run_until(stopped, GRACE).await
        });
        let again = false;
        self.turn = Turn::Runs { ended, stop, again };
    }

    fn note(&mut self, ended: Result<Finished, Error>, again: bool) {
        match ended {
            Ok(_) => {
                self.failures = 0;
                self.last_error = None;
                self.vain = 0;
                if again {
                    self.want(SETTLE);
                }
            }
            Err(error) => {
                let text = error.to_string();
                self.failures = self.failures.saturating_add(1);
                let wait = self.wait_in_vain();
                if self.last_error.as_ref() != Some(&text) {
                    warn!(
                        "looking after kubeadm's files has failed; the next try is in {}: {text}",
                        clock::age(wait.as_secs())
                    );
                }
                self.last_error = Some(text);
            }
        }
    }

    /// Tries again after a pause that grows.
    fn wait_in_vain(&mut self) -> Duration {
        self.vain = self.vain.saturating_add(1);
        let wait = pause(self.vain);
        self.want(wait);
        wait
    }

    /// Another command, or none any more.
    fn obey(&mut self, command: &[String]) {
        if self.command == command {
            return;
        }
        self.command = command.to_vec();
        if self.command.is_empty() && matches!(self.turn, Turn::Waits(..)) {
            self.turn = Turn::Idle;
        }
        (self.vain, self.failures, self.last_error) = (0, 0, None);
        self.want(SETTLE);
    }

    /// Asks a run that is in progress to end, and waits for it.
    pub(super) async fn close(self) {
        if let Turn::Runs { ended, stop, .. } = self.turn {
            drop(stop);
            if let Err(error) = ended.await {
                warn!("looking after kubeadm's files was ended with the agent: {error}");
            }
        }
    }
}

fn pause(vain: u32) -> Duration {
    let doubled = PAUSE.saturating_mul(1 << vain.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE)
}

impl Agent {
    /// At the agent's start.
    pub(super) async fn begin_kubeadm(&mut self) {
        self.notice_kubeadm().await;
        self.look_at_kubeadm().await;
    }

    /// Whether the settings or this master's address have changed.
    pub(super) async fn notice_kubeadm(&mut self) {
        let view = self.engine.view();
        self.kubeadm.obey(&view.cluster.kubeadm.follow);
        if !self.kubeadm.own.differs(&view) {
            return;
        }
        self.kubeadm.own = Own::of(&view);
        self.look_at_kubeadm().await;
        if self.kubeadm.known.is_behind() {
            info!("kube-apiserver advertises an address that is not this master's any more");
            self.kubeadm.vain = 0;
            self.kubeadm.want(Duration::ZERO);
        }
    }

    /// Whether an address has come up that was waited for.
    pub(super) fn kubeadm_sees(&mut self, snapshot: &Snapshot) {
        let mut here = present(snapshot);
        here.retain(|address| self.kubeadm.own.addresses.contains(address));
        if here != self.kubeadm.here && self.kubeadm.known.is_behind() {
            self.kubeadm.vain = 0;
            self.kubeadm.want(Duration::ZERO);
        }
        self.kubeadm.here = here;
    }

    /// A run has started or ended.
    pub(super) async fn kubeadm_ran(&mut self) {
        if matches!(self.kubeadm.turn, Turn::Runs { .. }) {
            return;
        }
        self.look_at_kubeadm().await;
        // It had nothing to set yet: the address is not on an interface.
        if self.kubeadm.failures == 0 && self.kubeadm.known.is_behind() {
            self.kubeadm.wait_in_vain();
        }
    }

    /// Looks at the manifest, and at what the last run has left.
    pub(super) async fn look_at_kubeadm(&mut self) {
        let (root, own) = (self.settings.root.clone(), self.kubeadm.own.clone());
        let look = move || outlook::look(&root, &own);
        // A disk that hangs leaves what was known.
        if let Ok(Ok(known)) = timeout(PATIENCE, self.engine.writer().run(look)).await {
            self.kubeadm.learn(known);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node::APISERVER_MANIFEST;
    use crate::root::Root;

    fn wait(kubeadm: &Kubeadm) -> Option<Duration> {
        match kubeadm.turn {
            Turn::Waits(at, _) => Some(at.saturating_duration_since(Instant::now())),
            Turn::Idle | Turn::Runs { .. } => None,
        }
    }

    #[test]
    fn pauses_grow_and_end_growing() {
        assert_eq!(pause(1), PAUSE);
        assert_eq!(pause(2), 2 * PAUSE);
        assert_eq!(pause(5), 16 * PAUSE);
        for vain in [8, 9, 64, u32::MAX] {
            assert_eq!(pause(vain), LONGEST_PAUSE);
        }
    }

    /// An address that comes and goes does not restart kube-apiserver each time.
    #[tokio::test]
    async fn between_two_changes_there_is_a_rest() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let path = dir.path().join(&APISERVER_MANIFEST[1..]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let seen = |manifest: &str, own: &str| {
            let text =
                format!("spec: {{containers: [{{command: [a, --advertise-address={manifest}]}}]}}");
            std::fs::write(&path, text).unwrap();
            let addresses = vec![own.parse().unwrap()];
            let stable = None;
            outlook::look(&root, &Own { addresses, stable })
        };
        let mut kubeadm = Kubeadm::default();
        kubeadm.learn(seen("10.0.0.1", "10.0.0.2"));
        assert_eq!(kubeadm.rest(), None, "the first change is made at once");
        kubeadm.learn(Known::default());
        kubeadm.learn(seen("10.0.0.2", "10.0.0.2"));
        assert_eq!(kubeadm.rest(), None, "nothing would be changed");
        kubeadm.learn(seen("10.0.0.2", "10.0.0.1"));
        let rest = kubeadm.rest().unwrap();
        assert!(rest <= REST && rest > REST / 2, "{rest:?}");
        kubeadm.obey(&["/bin/true".to_owned()]);
        kubeadm.want(Duration::ZERO);
        kubeadm.turn().await;
        assert!(wait(&kubeadm).unwrap() > SETTLE);
        kubeadm.changed = Instant::now().checked_sub(REST);
        kubeadm.want(Duration::ZERO);
        kubeadm.turn().await;
        assert!(matches!(kubeadm.turn, Turn::Runs { .. }));
    }

    /// A run that fails may change files itself, and would be its own reason for the next one.
    #[tokio::test]
    async fn after_a_failure_files_are_no_reason_and_an_address_is() {
        let mut kubeadm = Kubeadm::default();
        kubeadm.files_changed();
        assert_eq!(wait(&kubeadm), None, "nothing is started without a command");
        kubeadm.obey(&["/bin/false".to_owned()]);
        assert!(wait(&kubeadm).unwrap() <= SETTLE);
        kubeadm.want(Duration::ZERO);
        kubeadm.turn().await;
        kubeadm.files_changed();
        kubeadm.turn().await;
        let runs = kubeadm.status().unwrap().runs.unwrap();
        assert_eq!((runs.failures, runs.running), (1, false));
        kubeadm.files_changed();
        assert!(wait(&kubeadm).unwrap() > SETTLE);
        kubeadm.want(Duration::ZERO);
        assert_eq!(wait(&kubeadm), Some(Duration::ZERO));
        // Another command begins anew, and none ends it.
        kubeadm.obey(&["/bin/true".to_owned()]);
        kubeadm.turn().await;
        kubeadm.files_changed();
        kubeadm.turn().await;
        assert!(
            wait(&kubeadm).is_some(),
            "what changed meanwhile means one more"
        );
        assert_eq!(kubeadm.status().unwrap().runs.unwrap().failures, 0);
        kubeadm.obey(&[]);
        assert_eq!(wait(&kubeadm), None);
        assert_eq!(kubeadm.status(), None);
    }
}
