//! The stage of kubeconfigs and the kubelet's flags: written, and their readers restarted.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;

use super::Run;
use crate::kubeadm::unpin::error::Error;
use crate::kubeadm::unpin::groups::{Group, KUBELET_FLAGS, NewFile, Restart};
use crate::kubeadm::unpin::look::internal_addresses;
use crate::kubeadm::unpin::{owed, well};

impl Run<'_> {
    pub(super) async fn kubeconfigs(&mut self, groups: Vec<Group>) -> Result<(), Error> {
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
                owed::add(&self.site.here.root, reader)?;
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
                owed::strike(&self.site.here.root, reader)?;
            }
        }
        Ok(())
    }

    /// Restarts the kubelet. Where it has lost its `--node-ip`, it has to find the same address itself.
    pub(super) async fn restart_kubelet(&mut self, files: &[NewFile]) -> Result<(), Error> {
        let flags = files.iter().find(|it| it.path == KUBELET_FLAGS);
        let node = self.site.api.get(&self.site.here.node_path()).await?;
        let before = internal_addresses(&node.unwrap_or_default());
        let heartbeat = well::heartbeat(self.site).await;
        self.kubelet_again().await?;
        let Some(flags) = flags else { return Ok(()) };
        let after = well::addresses(&self.watch, self.site, heartbeat.as_deref()).await?;
        // What a rescue has given back is on this machine, and is not to be its address again.
        let rescue = &self.site.here.cluster.routes.rescue;
        let rescued = |address: IpAddr| rescue.values().any(|it| *it == address);
        let stays = |address| is_here(address) && !rescued(address);
        let Some(lost) = lost(&before, &after, stays) else {
            return Ok(());
        };
        self.write(Path::new(flags.path), &flags.to, &flags.from)?;
        self.kubelet_again().await?;
        owed::strike(&self.site.here.root, Restart::Kubelet.as_str())?;
        let after: Vec<String> = after.iter().map(ToString::to_string).collect();
        Err(Error::NodeIp {
            before: lost.to_string(),
            after: after.join(" and "),
        })
    }

    pub(super) async fn kubelet_again(&mut self) -> Result<(), Error> {
        (self.say)("restarting the kubelet");
        self.options.kubelet.run().await.map_err(Error::Kubelet)?;
        let before = well::lease(self.site).await;
        let took = well::kubelet(&self.watch, self.site, before.as_deref()).await?;
        self.tell("the kubelet tells of itself", took);
        Ok(())
    }
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
