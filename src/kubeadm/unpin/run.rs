//! Carries the plan out: one stage after the other, one component at a time, each waited for until it is
//! well. Everything is looked at anew before each stage.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::backup::Backup;
use super::certificates::Serving;
use super::error::Error;
use super::groups::{Group, KUBELET_FLAGS, NewFile, Restart};
use super::look::{Look, NewManifest, Peer, internal_addresses, look};
use super::objects::{Map, Mend};
use super::plan::{Plan, State, done, plan};
use super::report::{Did, Report};
use super::rollout::{DAEMON_SET, Rollout};
use super::site::Site;
use super::stage::{ANNOTATION, Record, Stage};
use super::well::Watch;
use super::{known, owed, well};
use crate::api::etcd::Etcd;
use crate::pki::moment::Moment;
use crate::pki::session::{self, Did as Issued, Hold, Renewal, Session};
use crate::process::Program;
use crate::static_pod::processes::Processes;
use crate::static_pod::{self, Limits, Restarted};
use crate::{file, lock};

/// How often others are looked at while they are waited for.
const PAUSE: Duration = Duration::from_secs(5);

/// How long another run of stayput on this node is waited for: it may restart a static pod, behind the
/// kubelet's back-off.
const TURN: Duration = Duration::from_mins(10);

/// How often the cluster's objects are looked at again where others change them at the same time.
const TRIES: u32 = 3;

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
        Error::Api(error) if error.is_absent() => Error::Dead(error),
        other => other,
    })?;
    Ok(Report::of(&look, &plan(&look.facts)))
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
        backup: Backup::new(&site.root),
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
                    known::save(&self.site.root, &look.masters)?;
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
            match Hold::take_within(&self.site.root, self.say, Duration::ZERO) {
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
            .merge_patch(&self.site.node_path(), &change)
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
            Stage::Etcd => self.etcd(work.etcd, &healthy).await,
            Stage::Apiserver => self.apiserver(work.apiserver, &healthy).await,
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

    /// Adds names; nothing that is there goes.
    async fn certificates(&mut self, serving: &[Serving], healthy: &[String]) -> Result<(), Error> {
        let lacking = serving.iter().filter(|it| !it.lacks.is_empty());
        let lacking: Vec<&Serving> = lacking.collect();
        if !lacking.is_empty() {
            let names = lacking.iter().map(|it| it.id.clone()).collect();
            self.renew(&lacking, names, Vec::new()).await?;
            self.etcd_again(&lacking, healthy).await?;
        }
        self.tell(
            "kube-apiserver serves it",
            well::served(&self.watch, self.site).await?,
        );
        well::api(&self.watch, self.site).await?;
        Ok(())
    }

    /// Leaves the old addresses out.
    async fn addresses(&mut self, serving: &[Serving], healthy: &[String]) -> Result<(), Error> {
        for one in serving.iter().filter(|it| !it.old.is_empty()) {
            let drop = one.old.iter().map(ToString::to_string).collect();
            self.renew(&[one], vec![one.id.clone()], drop).await?;
            self.etcd_again(&[one], healthy).await?;
        }
        self.tell(
            "kube-apiserver serves it",
            well::served(&self.watch, self.site).await?,
        );
        well::api(&self.watch, self.site).await?;
        Ok(())
    }

    /// etcd serves what was issued, and the others take it.
    async fn etcd_again(&mut self, issued: &[&Serving], healthy: &[String]) -> Result<(), Error> {
        if issued.iter().any(|it| it.id.starts_with("etcd")) {
            let took = well::etcd(&self.watch, self.site, healthy).await?;
            self.tell("etcd is healthy", took);
        }
        Ok(())
    }

    async fn renew(
        &mut self,
        serving: &[&Serving],
        names: Vec<String>,
        drop: Vec<String>,
    ) -> Result<(), Error> {
        for path in serving.iter().flat_map(|it| [&it.path, &it.key]) {
            self.keep(path)?;
        }
        let renewal = Renewal {
            names,
            force: true,
            drop,
            unattended: false,
        };
        let moment = Moment::read(&self.site.root, self.options.trust_clock)?;
        // It is held wherever something is changed.
        let hold = self.hold.as_mut().ok_or(Error::Stopped)?;
        let session = Session::open(hold, &self.site.cluster, &self.site.node)?;
        let done = session.renew(&renewal, &moment).await?;
        let bad = done.items.iter().filter(|row| row.did != Issued::Renewed);
        let bad: Vec<String> = bad
            .map(|row| format!("{}: {}", row.id, row.reason))
            .collect();
        self.report.notices.extend(done.notices);
        if bad.is_empty() {
            Ok(())
        } else {
            Err(Error::NotIssued(bad.join("; ")))
        }
    }

    async fn kubeconfigs(&mut self, groups: Vec<Group>) -> Result<(), Error> {
        // HAProxy looks at the masters' certificates every few seconds.
        let took = well::endpoint(&self.watch, self.site).await?;
        self.tell("the endpoint leads to a kube-apiserver", took);
        for group in groups {
            let reader = group.restart.as_str();
            let restarts = group.restart != Restart::Nobody;
            for new in &group.files {
                self.keep_bytes(Path::new(new.path), &new.from)?;
            }
            if restarts {
                owed::add(&self.site.root, reader)?;
            }
            for new in &group.files {
                self.write(Path::new(new.path), &new.from, &new.to)?;
            }
            match group.restart {
                Restart::Pod(pod) => self.restart(pod).await?,
                Restart::Kubelet => self.restart_kubelet(&group.files).await?,
                Restart::Nobody => {}
            }
            if restarts {
                owed::strike(&self.site.root, reader)?;
            }
        }
        Ok(())
    }

    async fn restart(&mut self, pod: &str) -> Result<(), Error> {
        let before = well::container(self.site, pod).await;
        (self.say)(&format!("restarting {pod}"));
        let limits = Limits::default();
        let stop = self.watch.stop.clone();
        let restarted =
            static_pod::restart(&self.site.root, &processes(), pod, &limits, stop).await?;
        self.back(pod, &restarted, before).await
    }

    /// Waits until a pod that was restarted is well.
    async fn back(
        &mut self,
        pod: &str,
        restarted: &Restarted,
        before: Option<String>,
    ) -> Result<(), Error> {
        match restarted {
            Restarted::NoManifest => return Ok(()),
            Restarted::NotRunning => {}
            Restarted::Done { gone, back } => (self.say)(&format!(
                "{pod}: gone after {:.1} s, started again after {:.1} s",
                gone.as_secs_f64(),
                back.as_secs_f64()
            )),
        }
        let took = well::pod(&self.watch, self.site, pod, before.as_deref()).await?;
        self.tell(&format!("{pod} is ready"), took);
        Ok(())
    }

    /// Restarts the kubelet. Where it has lost its `--node-ip`, it has to find the same address itself.
    async fn restart_kubelet(&mut self, files: &[NewFile]) -> Result<(), Error> {
        let flags = files.iter().find(|it| it.path == KUBELET_FLAGS);
        let node = self.site.api.get(&self.site.node_path()).await?;
        let before = internal_addresses(&node.unwrap_or_default());
        let heartbeat = well::heartbeat(self.site).await;
        self.kubelet_again().await?;
        let Some(flags) = flags else { return Ok(()) };
        let after = well::addresses(&self.watch, self.site, heartbeat.as_deref()).await?;
        // What a rescue has given back is on this machine, and is not to be its address again.
        let rescue = &self.site.cluster.routes.rescue;
        let rescued = |address: IpAddr| rescue.values().any(|it| *it == address);
        let stays = |address| is_here(address) && !rescued(address);
        let Some(lost) = lost(&before, &after, stays) else {
            return Ok(());
        };
        self.write(Path::new(flags.path), &flags.to, &flags.from)?;
        self.kubelet_again().await?;
        owed::strike(&self.site.root, Restart::Kubelet.as_str())?;
        let after: Vec<String> = after.iter().map(ToString::to_string).collect();
        Err(Error::NodeIp {
            before: lost.to_string(),
            after: after.join(" and "),
        })
    }

    async fn kubelet_again(&mut self) -> Result<(), Error> {
        (self.say)("restarting the kubelet");
        self.options.kubelet.run().await.map_err(Error::Kubelet)?;
        let before = well::lease(self.site).await;
        let took = well::kubelet(&self.watch, self.site, before.as_deref()).await?;
        self.tell("the kubelet tells of itself", took);
        Ok(())
    }

    async fn etcd(&mut self, new: Option<NewManifest>, healthy: &[String]) -> Result<(), Error> {
        self.exchange("etcd", new, healthy).await
    }

    async fn apiserver(
        &mut self,
        new: Option<NewManifest>,
        healthy: &[String],
    ) -> Result<(), Error> {
        self.exchange("kube-apiserver", new, healthy).await
    }

    async fn exchange(
        &mut self,
        pod: &str,
        new: Option<NewManifest>,
        healthy: &[String],
    ) -> Result<(), Error> {
        let Some(new) = new else { return Ok(()) };
        let path = Path::new(static_pod::MANIFESTS).join(format!("{pod}.yaml"));
        let copy = self.keep_bytes(&path, new.from.as_bytes())?;
        let before = well::container(self.site, pod).await;
        (self.say)(&format!(
            "exchanging the manifest of {pod}; {copy} is the old one"
        ));
        let change = static_pod::Change {
            from: new.from.as_bytes(),
            to: new.to.as_bytes(),
        };
        let (limits, stop) = (Limits::default(), self.watch.stop.clone());
        let root = &self.site.root;
        let restarted =
            static_pod::exchange(root, &processes(), pod, change, &limits, stop).await?;
        if root
            .exists(Path::new("/etc/kubernetes/manifests/etcd.yaml"))
            .unwrap_or(true)
        {
            self.tell(
                "etcd is healthy",
                well::etcd(&self.watch, self.site, healthy).await?,
            );
        }
        self.tell(
            "kube-apiserver answers",
            well::api(&self.watch, self.site).await?,
        );
        self.back(pod, &restarted, before).await?;
        // While etcd or kube-apiserver was away, they may have lost their leases and ended.
        for other in [
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
        ] {
            if static_pod::is_here(root, other) {
                let took = well::pod(&self.watch, self.site, other, None).await?;
                self.tell(&format!("{other} is ready"), took);
            }
        }
        Ok(())
    }

    async fn peer(&mut self, peer: Option<Peer>, healthy: &[String]) -> Result<(), Error> {
        let Some(peer) = peer else { return Ok(()) };
        let old = peer.from.join(",");
        self.backup
            .keep_object(&format!("etcd-member-{:x}", peer.id), &format!("{old}\n"))?;
        let etcd = Etcd::local(&self.site.root)?;
        etcd.update(peer.id, &peer.to).await?;
        self.tell(
            "etcd is healthy",
            well::etcd(&self.watch, self.site, healthy).await?,
        );
        Ok(())
    }

    async fn cluster(&mut self, maps: Vec<Mend>, rollout: Option<Rollout>) -> Result<(), Error> {
        let mut maps = maps;
        let mut tries = TRIES;
        while let Some(contended) = self.write_maps(&maps).await? {
            tries -= 1;
            if tries == 0 {
                return Err(Error::Contended(contended.place()));
            }
            (self.say)(&format!(
                "{} was changed by another meanwhile: looking again",
                contended.place()
            ));
            maps = look(self.site).await?.work.maps;
        }
        // What was just written may be what asks for it.
        let rollout = match rollout {
            Some(Rollout::Done) | None => look(self.site).await?.work.rollout,
            known => known,
        };
        if let Some(Rollout::Patch(patch)) = rollout {
            (self.say)("replacing kube-proxy's pods");
            self.site.api.merge_patch(DAEMON_SET, &patch).await?;
        }
        self.tell(
            "kube-proxy's pods are ready",
            well::proxies(&self.watch, self.site).await?,
        );
        Ok(())
    }

    /// Writes them; gives the one that somebody else has changed since it was read.
    async fn write_maps(&mut self, maps: &[Mend]) -> Result<Option<Map>, Error> {
        for mend in maps {
            let name = mend.map.path().replace('/', "_");
            let old = serde_json::to_string_pretty(&mend.old).unwrap_or_default();
            self.backup
                .keep_object(&format!("{}.json", name.trim_matches('_')), &old)?;
            (self.say)(&format!("writing {}", mend.map.place()));
            match self.site.api.replace(&mend.map.path(), &mend.new).await {
                Err(error) if error.is_conflict() => return Ok(Some(mend.map)),
                written => written?,
            };
        }
        Ok(None)
    }

    fn keep(&mut self, path: &Path) -> Result<(), Error> {
        const LIMIT: u64 = 1 << 20;
        let bytes = self
            .site
            .root
            .read(path, LIMIT)
            .map_err(super::backup::Error::Folder)?;
        if let Some(bytes) = bytes.map(zeroize::Zeroizing::new) {
            self.backup.keep(path, &bytes)?;
        }
        Ok(())
    }

    /// Keeps a file as it was read; gives the copy's path.
    fn keep_bytes(&mut self, path: &Path, bytes: &[u8]) -> Result<String, Error> {
        let copy = self.backup.keep(path, bytes)?;
        Ok(copy.map_or_else(|| "nothing".to_owned(), |copy| copy.display().to_string()))
    }

    /// Writes a file that still holds what it was made of.
    fn write(&self, path: &Path, from: &[u8], to: &[u8]) -> Result<(), Error> {
        const LIMIT: u64 = 1 << 20;
        let changed = || Error::Changed(path.to_owned());
        file::update(&self.site.root, path, LIMIT, 0o600, |old| match old {
            Some(old) if old == from => Ok(Some(to.to_vec())),
            Some(old) if old == to => Ok(None),
            _ => Err(changed()),
        })?;
        Ok(())
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

/// Whether an address is one of this machine's: nothing else can be bound.
fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Of addresses that a node had, one that it has no more although the machine has it.
fn lost(before: &[IpAddr], after: &[IpAddr], is_here: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let gone = before.iter().copied().filter(|it| !after.contains(it));
    gone.into_iter().find(|it| is_here(*it))
}

fn processes() -> Processes {
    Processes::new(Path::new("/proc"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_lost_where_the_machine_still_has_it() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (old, new) = ([ip("10.77.0.11")], [ip("192.0.2.7")]);
        assert_eq!(lost(&old, &new, |_| true), Some(old[0]));
        assert_eq!(lost(&old, &new, |_| false), None);
        assert_eq!(lost(&old, &old, |_| true), None);
        assert_eq!(lost(&[], &new, |_| true), None);
        // Nothing told is nothing kept.
        assert_eq!(lost(&old, &[], |_| true), Some(old[0]));
        assert!(is_here(ip("127.0.0.1")));
        assert!(
            !is_here(ip("192.0.2.7")),
            "an address of no machine (RFC 5737)"
        );
    }
}
