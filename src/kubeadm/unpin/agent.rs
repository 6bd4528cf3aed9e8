//! Whether this node knows the names: its agent runs, its surfaces show the book, and the system's
//! resolver says the same. That the endpoint leads to a kube-apiserver too is known only when the
//! masters' certificates carry the names: before, HAProxy takes none of them for a master.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::plan::Stand;
use super::site::Here;
use crate::control::client;
use crate::pki::live;
use crate::report::Surface;
use crate::status::{Condition, Status};

/// How long a server may take.
const LIMIT: Duration = Duration::from_secs(5);

/// How it stands with the agent. Nothing of it is changed from here.
pub async fn stand(here: &Here) -> Stand {
    match look(here).await {
        Ok(()) => Stand::Done,
        Err(reason) => Stand::Bad(reason),
    }
}

async fn look(here: &Here) -> Result<(), String> {
    let status: Status = client::get(&here.root, "/v1/status")
        .await
        .map_err(|error| format!("{error}; start the agent (systemctl start stayput)"))?;
    judge(&status)?;
    if here.root.is_system() {
        resolves(here, &status).await?;
    }
    Ok(())
}

/// Whether all that this needs shows the book.
pub fn judge(status: &Status) -> Result<(), String> {
    let unknown = status.masters.iter().find(|it| it.addresses.is_empty());
    if let Some(master) = unknown {
        return Err(format!(
            "no address is known of {}; start its agent, or tell it with `stayput event`",
            master.name
        ));
    }
    for surface in &status.surfaces {
        let bad = match surface.surface {
            Surface::Hosts => surface.condition != Condition::Ok,
            Surface::Pods | Surface::Haproxy => matches!(
                surface.condition,
                Condition::Failed | Condition::Contested | Condition::Unknown
            ),
            Surface::State | Surface::Dns | Surface::Routes => false,
        };
        if bad {
            let name = surface.surface.as_str();
            let condition = surface.condition.as_str();
            return Err(format!(
                "{name}: {condition}: {}; see `stayput status`",
                surface.detail
            ));
        }
    }
    Ok(())
}

/// Whether programs of this machine find the same addresses.
async fn resolves(here: &Here, status: &Status) -> Result<(), String> {
    let endpoint = (
        &here.cluster.endpoint.name,
        vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
    );
    let masters = status.masters.iter();
    let masters = masters.map(|it| {
        // `routes.names` may have the stable one shown.
        let stable = here.cluster.master(&it.name).and_then(|it| it.stable);
        let addresses = it.addresses.iter().copied();
        (&it.name, addresses.chain(stable).collect())
    });
    for (name, wanted) in std::iter::once(endpoint).chain(masters) {
        let found = tokio::net::lookup_host((name.as_str(), 443)).await;
        let found = found.map_err(|error| {
            format!("{name} is not found by this machine's resolver: {error}; has hosts: in /etc/nsswitch.conf 'files'?")
        })?;
        let mut strange = found.map(|it| it.ip()).filter(|it| !wanted.contains(it));
        if let Some(strange) = strange.next() {
            return Err(format!(
                "this machine's resolver says {strange} for {name}, which is no address of it; see `stayput check`"
            ));
        }
    }
    Ok(())
}

/// Whether a kube-apiserver is behind the endpoint.
pub(super) async fn answers(here: &Here) -> Result<(), String> {
    let address = (Ipv4Addr::LOCALHOST, here.cluster.endpoint.port).into();
    // kubeadm has put this name into every one's certificate.
    let asked = move || live::ask(address, "kubernetes", LIMIT);
    let chain = tokio::task::spawn_blocking(asked).await;
    let chain = chain.map_err(|error| error.to_string())?;
    let chain = chain.map_err(|error| {
        format!(
            "the endpoint {} does not lead to a kube-apiserver: {error}; does HAProxy run?",
            here.cluster.endpoint.name
        )
    })?;
    let dns = chain.first().map(|it| &it.profile.names.dns);
    if dns.is_some_and(|dns| dns.contains("kubernetes")) {
        return Ok(());
    }
    Err(format!("what listens on {address} is no kube-apiserver"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(surfaces: &[(Surface, Condition)], addresses: &[&str]) -> Status {
        let surface = |(surface, condition): &(Surface, Condition)| {
            json!({
                "surface": surface, "condition": condition, "detail": "so it is",
                "at": null, "lastError": null, "notices": [],
            })
        };
        let surfaces: Vec<_> = surfaces.iter().map(surface).collect();
        let status = json!({
            "version": "0", "agent": null, "domain": "k8s.internal", "endpoint": "api.k8s.internal:8443",
            "node": {
                "role": "worker", "name": null, "kubernetesName": "worker-1", "provisioned": null,
            },
            "generation": 1,
            "masters": [{
                "name": "master-1.k8s.internal", "addresses": addresses, "version": null,
                "origin": null, "changed": null, "ageSeconds": null, "follows": null,
                "upstreamError": null,
            }],
            "surfaces": surfaces, "servers": [], "conflicts": [], "configurationProblems": [],
        });
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn what_the_mended_files_rely_on_has_to_show_the_book() {
        use Condition::{Absent, Contested, Failed, Ok as Good, Unknown};
        for (surface, condition, good) in [
            (Surface::Hosts, Good, true),
            (Surface::Hosts, Absent, false),
            (Surface::Hosts, Failed, false),
            (Surface::Hosts, Unknown, false),
            (Surface::Pods, Absent, true),
            (Surface::Pods, Contested, false),
            // A master may do without: its endpoint is then its own kube-apiserver.
            (Surface::Haproxy, Absent, true),
            (Surface::Haproxy, Failed, false),
            (Surface::Dns, Failed, true),
        ] {
            let judged = judge(&status(&[(surface, condition)], &["10.77.0.11"]));
            assert_eq!(judged.is_ok(), good, "{surface:?} {condition:?}");
        }
        assert!(judge(&status(&[], &[])).unwrap_err().contains("master-1"));
    }
}
