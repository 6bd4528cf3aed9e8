//! The same manifest, out and in again.

use tokio::time::Instant;

use super::command::command_of;
use super::places::{Places, Recovered};
use super::processes::Processes;
use super::wait::{back, gone};
use super::{Error, Limits, Restarted};
use crate::root::Root;

/// Restarts the pod whose manifest is `POD.yaml`. Waits until it runs again, or until `stop`.
pub async fn restart(
    root: &Root,
    processes: &Processes,
    pod: &str,
    limits: &Limits,
    stop: impl Future<Output = ()>,
) -> Result<Restarted, Error> {
    let places = Places::of(pod)?;
    let Some(command) = command_of(root, &places.manifest)? else {
        return Ok(Restarted::NoManifest);
    };
    let before = processes.running(&command)?;
    if before.is_empty() {
        return Ok(Restarted::NotRunning);
    }
    // What a run that died has left; the one that lies in its place now is newer.
    places.put_back(root)?;
    if !places.take_out(root)? {
        return Ok(Restarted::NoManifest);
    }
    let mut stop = std::pin::pin!(stop);
    let left = Instant::now();
    let waited = tokio::select! {
        waited = gone(processes, &command, &before, limits) => waited,
        () = &mut stop => Err(Error::Stopped(pod.to_owned())),
    };
    // Whatever came of the wait, first of all the manifest goes back.
    let put_back = places.put_back(root)?;
    if let Some(Recovered::Displaced { manifest, kept }) = put_back {
        return Err(Error::Displaced { manifest, kept });
    }
    let gone = left.elapsed();
    let Some(others) = waited? else {
        let (pod, limit) = (pod.to_owned(), limits.gone);
        return Err(Error::StillRuns { pod, limit });
    };
    let known = before.union(&others).copied().collect();
    let returned = Instant::now();
    let runs = tokio::select! {
        runs = back(processes, &command, &known, limits) => runs?,
        () = &mut stop => return Err(Error::Stopped(pod.to_owned())),
    };
    if runs.is_none() {
        let (pod, limit) = (pod.to_owned(), limits.back);
        return Err(Error::NotBack { pod, limit });
    }
    let back = returned.elapsed();
    Ok(Restarted::Done { gone, back })
}
