//! Whose turn it is: where a whole site gets other addresses, its masters restart kube-apiserver one after
//! another, in the order of the cluster file.
//!
//! A master waits until those before it are done: the Service `default/kubernetes` has an address that is
//! theirs by the book, and their kube-apiserver takes connections there. An API that does not answer, and a
//! master that is off, are waited for only so long.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::api::directory::Directory;
use crate::api::kubernetes::{ADMIN, Kubernetes};
use crate::config::cluster::Master;
use crate::root::Root;
use crate::view::View;

/// What a restart of kube-apiserver takes: the kubelet sees it, the old one ends, the new one comes.
const RESTART: Duration = Duration::from_secs(45);
/// The longest wait, in any cluster.
const LONGEST: Duration = Duration::from_mins(4);
/// How often is looked, and how long an answer may take.
const PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(3);
/// Where kube-apiservers write what they advertise.
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints/kubernetes";

/// The masters before this one in the cluster file; none on a worker.
pub fn before(view: &View) -> Vec<Master> {
    let masters = &view.cluster.masters;
    let own = view.node.master();
    let place = masters.iter().position(|master| Some(&master.name) == own);
    masters[..place.unwrap_or(0)].to_vec()
}

/// How long so many masters are waited for.
pub fn limit(before: usize) -> Duration {
    let many = u32::try_from(before).unwrap_or(u32::MAX);
    RESTART.saturating_mul(many).min(LONGEST)
}

/// Waits until the masters before this one are done, or the time is up.
pub async fn wait(root: &Root, view: &View, before: &[Master], limit: Duration) {
    let until_done = async {
        while !done(root, view, before).await {
            sleep(PAUSE).await;
        }
    };
    // Who is late has to be lived without.
    let _ = timeout(limit, until_done).await;
}

async fn done(root: &Root, view: &View, before: &[Master]) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let api = Kubernetes::from_kubeconfig(root, Path::new(ADMIN), &Directory::of(view));
    let Ok(api) = api else {
        return false;
    };
    let Ok(Ok(Some(endpoints))) = tokio::time::timeout_at(deadline, api.get(ENDPOINTS)).await
    else {
        return false;
    };
    let Some(places) = advertised_by(view, before, &addresses(&endpoints)) else {
        return false;
    };
    for place in places {
        if !matches!(
            timeout(PATIENCE, TcpStream::connect(place)).await,
            Ok(Ok(_))
        ) {
            return false;
        }
    }
    true
}

/// Where each of these masters' kube-apiserver is by what is advertised; `None` while one of them has no
/// address of its own there.
fn advertised_by(
    view: &View,
    masters: &[Master],
    advertised: &BTreeSet<IpAddr>,
) -> Option<Vec<SocketAddr>> {
    let port = view.cluster.kubernetes.api_port;
    let place = |master: &Master| {
        let kept = view.cluster.routes.kept(master);
        let own = view
            .book
            .addresses(&master.name)
            .iter()
            .copied()
            .chain(kept);
        let mut own = own.filter(|address| advertised.contains(address));
        own.next().map(|address| (address, port).into())
    };
    masters.iter().map(place).collect()
}

/// The addresses of an Endpoints object.
fn addresses(endpoints: &Value) -> BTreeSet<IpAddr> {
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let subsets = items(&endpoints["subsets"]).into_iter();
    let all = subsets.flat_map(|subset| items(&subset["addresses"]));
    all.filter_map(|address| address["ip"].as_str()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample;

    #[test]
    fn the_first_goes_at_once_and_nobody_waits_for_ever() {
        assert_eq!(limit(0), Duration::ZERO);
        assert_eq!(limit(2), 2 * RESTART);
        assert_eq!(limit(usize::MAX), LONGEST);
        // The sample is master 1's.
        assert_eq!(before(&sample::three([11, 12, 13])), []);
    }

    #[test]
    fn a_master_is_done_when_its_address_by_the_book_is_advertised() {
        let view = sample::three([111, 112, 13]);
        let before = &view.cluster.masters[..2];
        let places = |addresses_there: &[&str]| {
            let ips: Vec<Value> = addresses_there.iter().map(|ip| json!({"ip": ip})).collect();
            let object = json!({"subsets": [{"addresses": ips}]});
            advertised_by(&view, before, &addresses(&object))
        };
        assert_eq!(places(&["10.77.0.11", "10.77.0.12", "10.77.0.13"]), None);
        assert_eq!(places(&["10.77.0.111", "10.77.0.12"]), None);
        let port = view.cluster.kubernetes.api_port;
        let want =
            ["10.77.0.111", "10.77.0.112"].map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
        assert_eq!(places(&["10.77.0.112", "10.77.0.111"]), Some(want.to_vec()));
        assert_eq!(addresses(&json!({"subsets": null})), BTreeSet::new());
    }
}
