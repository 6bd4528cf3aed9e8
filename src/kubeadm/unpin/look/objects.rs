//! The cluster's own objects.

use serde_json::Value;

use super::{Look, open};
use crate::kubeadm::unpin::error::Error;
use crate::kubeadm::unpin::objects::{self, Map, Masters};
use crate::kubeadm::unpin::plan::{Change, Stand};
use crate::kubeadm::unpin::rollout::{DAEMON_SET, PODS, Rollout, rollout};
use crate::kubeadm::unpin::site::Site;
use crate::kubeadm::unpin::stage::Stage;

impl Look {
    /// The cluster's objects; gives kubeadm's `ConfigMap`.
    pub(super) async fn objects(&mut self, site: &Site) -> Result<Value, Error> {
        let mut changes = Vec::new();
        let mut bad = None;
        let mut kubeadm = Value::Null;
        let mut proxy = None;
        for map in Map::ALL {
            let Some(found) = site.api.get(&map.path()).await? else {
                continue;
            };
            let masters = Masters {
                known: &self.masters,
                places: &self.places,
            };
            match objects::config_map(map, &found, masters, &site.here.ways) {
                Ok(Some(mend)) => {
                    changes.push(mend.change.clone());
                    self.work.maps.push(mend);
                }
                Ok(None) => {}
                Err(error) => bad = Some(format!("{} {error}", map.place())),
            }
            match map {
                Map::Kubeadm => kubeadm = found,
                Map::KubeProxy => proxy = Some(found),
                Map::ClusterInfo => {}
            }
        }
        let set = site.api.get(DAEMON_SET).await?;
        let pods = site.api.list(PODS).await?;
        let rollout = rollout(proxy.as_ref(), set.as_ref(), &pods, &site.here.without);
        let diff = match &rollout {
            Rollout::Done => None,
            Rollout::Patch(_) => {
                Some("+restart: its pods read their ConfigMap when they start\n".into())
            }
            Rollout::Waits(nodes) => Some(format!("+restart: on {}\n", nodes.join(", "))),
        };
        changes.extend(diff.map(|diff| Change {
            place: "DaemonSet kube-system/kube-proxy".to_owned(),
            diff,
        }));
        self.work.rollout = Some(rollout);
        self.stand(
            Stage::Cluster,
            bad.map_or_else(|| open(changes), Stand::Bad),
        );
        Ok(kubeadm)
    }
}
