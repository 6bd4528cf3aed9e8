//! The stage of the cluster's own objects.

use super::Run;
use crate::kubeadm::unpin::error::Error;
use crate::kubeadm::unpin::look::look;
use crate::kubeadm::unpin::objects::{Map, Mend};
use crate::kubeadm::unpin::rollout::{DAEMON_SET, Rollout};
use crate::kubeadm::unpin::well;

/// How often the cluster's objects are looked at again where others change them at the same time.
const TRIES: u32 = 3;

impl Run<'_> {
    pub(super) async fn cluster(
        &mut self,
        maps: Vec<Mend>,
        rollout: Option<Rollout>,
    ) -> Result<(), Error> {
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
    pub(super) async fn write_maps(&mut self, maps: &[Mend]) -> Result<Option<Map>, Error> {
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
}
