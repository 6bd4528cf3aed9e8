//! The stages of static pods: restarted, or their manifests exchanged; and etcd's member.

use std::path::Path;

use super::Run;
use crate::api::etcd::Etcd;
use crate::kubeadm::unpin::error::Error;
use crate::kubeadm::unpin::look::{NewManifest, Peer};
use crate::kubeadm::unpin::well;
use crate::static_pod::processes::Processes;
use crate::static_pod::{self, Limits, Restarted};

impl Run<'_> {
    pub(super) async fn restart(&mut self, pod: &str) -> Result<(), Error> {
        let before = well::container(self.site, pod).await;
        (self.say)(&format!("restarting {pod}"));
        let limits = Limits::default();
        let stop = self.watch.stop.clone();
        let restarted =
            static_pod::restart(&self.site.here.root, &processes(), pod, &limits, stop).await?;
        self.back(pod, &restarted, before).await
    }

    pub(super) async fn exchange(
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
        let root = &self.site.here.root;
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

    /// Waits until a pod that was restarted is well.
    pub(super) async fn back(
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

    pub(super) async fn peer(
        &mut self,
        peer: Option<Peer>,
        healthy: &[String],
    ) -> Result<(), Error> {
        let Some(peer) = peer else { return Ok(()) };
        let old = peer.from.join(",");
        self.backup
            .keep_object(&format!("etcd-member-{:x}", peer.id), &format!("{old}\n"))?;
        let etcd = Etcd::local(&self.site.here.root)?;
        etcd.update(peer.id, &peer.to).await?;
        self.tell(
            "etcd is healthy",
            well::etcd(&self.watch, self.site, healthy).await?,
        );
        Ok(())
    }
}

fn processes() -> Processes {
    Processes::new(Path::new("/proc"))
}
