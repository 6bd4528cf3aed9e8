//! The stages of the serving certificates: names in first of all, addresses out last of all.

use super::Run;
use crate::kubeadm::unpin::certificates::Serving;
use crate::kubeadm::unpin::error::Error;
use crate::kubeadm::unpin::well;
use crate::pki::moment::Moment;
use crate::pki::session::{Did as Issued, Renewal, Session};

impl Run<'_> {
    /// Adds names; nothing that is there goes.
    pub(super) async fn certificates(
        &mut self,
        serving: &[Serving],
        healthy: &[String],
    ) -> Result<(), Error> {
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
    pub(super) async fn addresses(
        &mut self,
        serving: &[Serving],
        healthy: &[String],
    ) -> Result<(), Error> {
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
    pub(super) async fn etcd_again(
        &mut self,
        issued: &[&Serving],
        healthy: &[String],
    ) -> Result<(), Error> {
        if issued.iter().any(|it| it.id.starts_with("etcd")) {
            let took = well::etcd(&self.watch, self.site, healthy).await?;
            self.tell("etcd is healthy", took);
        }
        Ok(())
    }

    pub(super) async fn renew(
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
        let moment = Moment::read(&self.site.here.root, self.options.trust_clock)?;
        // It is held wherever something is changed.
        let hold = self.hold.as_mut().ok_or(Error::Stopped)?;
        let session = Session::open(hold, &self.site.here.cluster, &self.site.here.node)?;
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
}
