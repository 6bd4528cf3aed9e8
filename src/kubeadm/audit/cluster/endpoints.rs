//! Where pods are sent that ask for the Service `kubernetes`.
//!
//! Each kube-apiserver puts its own advertise address there (`pkg/controlplane/reconcilers`), so one that
//! is current is no pin of its own: what sets it is the flag. One that is no master's is stale.

use serde_json::Value;

use super::addresses::{Saying, is_a_masters};
use crate::kubeadm::pin::{Pin, Severity};
use crate::view::View;

/// `Endpoints default/kubernetes`: addresses that are no master's.
pub fn endpoints(object: &Value, view: &View) -> Vec<Pin> {
    let subsets = list(&object["subsets"]);
    let addresses = subsets.flat_map(|subset| list(&subset["addresses"]));
    let texts = addresses.filter_map(|address| address["ip"].as_str());
    stale("Endpoints default/kubernetes", texts, view)
}

/// An `EndpointSlice` of the same Service.
pub fn endpoint_slice(object: &Value, view: &View) -> Vec<Pin> {
    let name = object["metadata"]["name"].as_str().unwrap_or("kubernetes");
    let endpoints = list(&object["endpoints"]);
    let addresses = endpoints.flat_map(|endpoint| list(&endpoint["addresses"]));
    let texts = addresses.filter_map(Value::as_str);
    stale(&format!("EndpointSlice default/{name}"), texts, view)
}

fn stale<'a>(place: &str, texts: impl Iterator<Item = &'a str>, view: &View) -> Vec<Pin> {
    let pin = |text: &str| {
        let address = text.parse().ok()?;
        let saying = Saying {
            severity: Severity::Degraded,
            place: place.to_owned(),
            what: "address".to_owned(),
            breaks: "pods that ask the API are sent to an address that is no master's",
            instead: "a master's current address, by its kube-apiserver's --advertise-address"
                .to_owned(),
        };
        (!is_a_masters(address, view)).then(|| saying.with(text, address))
    };
    texts.filter_map(pin).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
