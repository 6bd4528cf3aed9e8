//! A master's own entry brought up to date by its own kube-apiserver.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Error, KEY, Places, current};
use crate::api::kubernetes::{self, Kubernetes};

/// The `ConfigMap` that it is in.
const CONFIG_MAP: &str = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config";
/// How often a kube-apiserver that starts is asked.
const PAUSE: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The cluster has no `ClusterStatus`, as from 1.22 on.
    Absent,
    /// Nothing in it was to be changed.
    Current,
    /// It was written.
    Changed,
}

impl Outcome {
    /// The word that JSON shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Current => "current",
            Self::Changed => "changed",
        }
    }
}

/// Why it is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// kube-apiserver does not answer, or refuses.
    #[error(transparent)]
    Api(#[from] kubernetes::Error),
    /// It is written so that it cannot be changed.
    #[error("ClusterStatus in ConfigMap kube-system/kubeadm-config {0}")]
    Text(#[from] Error),
}

impl Failure {
    /// Whether another try may do better.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Api(error) if error.is_absent() || error.is_conflict())
    }
}

/// Writes the current addresses of these masters. A kube-apiserver that does not answer yet, or an object
/// that somebody else changes, is tried again for `limit`.
pub async fn bring_up(
    api: &Kubernetes,
    places: &Places,
    limit: Duration,
) -> Result<Outcome, Failure> {
    let deadline = Instant::now() + limit;
    loop {
        match once(api, places).await {
            Err(failure) if failure.may_pass() && Instant::now() < deadline => {}
            done => return done,
        }
        sleep(PAUSE).await;
    }
}

async fn once(api: &Kubernetes, places: &Places) -> Result<Outcome, Failure> {
    let Some(mut map) = api.get(CONFIG_MAP).await? else {
        return Ok(Outcome::Absent);
    };
    let Some(text) = map["data"][KEY].as_str() else {
        return Ok(Outcome::Absent);
    };
    let Some(new) = current(text, places)? else {
        return Ok(Outcome::Current);
    };
    map["data"][KEY] = new.into();
    api.replace(CONFIG_MAP, &map).await?;
    Ok(Outcome::Changed)
}
