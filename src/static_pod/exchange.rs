//! The old manifest out, a new one in.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::time::Instant;

use super::command::{LIMIT, command_in};
use super::places::{FOLDER, Places, Recovered};
use super::processes::{Id, Processes};
use super::wait::{back, gone};
use super::{Error, Limits, Restarted, restart};
use crate::file::{self, remove_empty_folder, replaceable, write_like};
use crate::root::Root;

/// A manifest's bytes as they are, and as they are to be.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What the new one was made of. Where the file holds anything else when it is taken out, it goes
    /// back, and that is an error: somebody's change would be lost otherwise.
    pub from: &'a [u8],
    /// The new one.
    pub to: &'a [u8],
}

/// Puts a new manifest in the place of `POD.yaml`, when the old one's container is gone, and waits until
/// a new container runs, or until `stop`. Where `from` and `to` are the same, the pod is restarted.
///
/// Where the container does not go in time, and at `stop` before it has gone, the old manifest goes
/// back. Where the new one's container does not come, the new one stays, and the old one is kept in
/// [`FOLDER`] for a person, as `POD.yaml.replaced`, until the next exchange, or until a process is seen
/// ([`unproven`](super::unproven())). A pod that does not run is not waited for, unless such a file says
/// that it was to run.
///
/// With other bytes the kubelet takes it for another pod (its UID is a digest of the manifest), so that
/// no back-off of the old one applies.
pub async fn exchange(
    root: &Root,
    processes: &Processes,
    pod: &str,
    change: Change<'_>,
    limits: &Limits,
    stop: impl Future<Output = ()>,
) -> Result<Restarted, Error> {
    if change.from == change.to {
        return restart(root, processes, pod, limits, stop).await;
    }
    let exchange = Exchange::prepare(root, processes, pod, change)?;
    let Some(exchange) = exchange else {
        return Ok(Restarted::NoManifest);
    };
    let mut stop = std::pin::pin!(stop);
    let left = Instant::now();
    let waited = tokio::select! {
        waited = gone(processes, &exchange.old, &exchange.before, limits) => waited,
        () = &mut stop => Err(Error::Stopped(pod.to_owned())),
    };
    let gone = left.elapsed();
    let others = exchange.finish(root, waited, limits)?;
    if exchange.before.is_empty() && !exchange.unproven {
        exchange.forget(root);
        return Ok(Restarted::NotRunning);
    }
    let known = exchange.known.union(&others).copied().collect();
    let returned = Instant::now();
    let runs = tokio::select! {
        runs = back(processes, &exchange.new, &known, limits) => runs?,
        () = &mut stop => return Err(Error::Stopped(pod.to_owned())),
    };
    if runs.is_none() {
        let (pod, limit) = (pod.to_owned(), limits.back);
        let kept = exchange.places.replaced;
        return Err(Error::NotUp { pod, limit, kept });
    }
    exchange.forget(root);
    let back = returned.elapsed();
    Ok(Restarted::Done { gone, back })
}

/// One that has begun: the old manifest is out.
struct Exchange {
    places: Places,
    /// The commands, by which the containers' processes are recognised.
    old: Vec<String>,
    new: Vec<String>,
    /// What ran of the old one when it went.
    before: BTreeSet<Id>,
    /// An earlier exchange's container has not been seen, so that nothing runs is no state of rest.
    unproven: bool,
    /// What ran then that could be taken for the new one.
    known: BTreeSet<Id>,
}

impl Exchange {
    /// Writes the new manifest beside, and takes the old one out; `None` where there is none.
    fn prepare(
        root: &Root,
        processes: &Processes,
        pod: &str,
        change: Change<'_>,
    ) -> Result<Option<Self>, Error> {
        let places = Places::of(pod)?;
        let new = command_in(change.to).map_err(|reason| Error::New {
            pod: pod.to_owned(),
            reason,
        })?;
        let old = command_in(change.from).map_err(|reason| {
            let path = places.manifest.clone();
            Error::Manifest { path, reason }
        })?;
        let Some(file) = replaceable(root, &places.manifest).map_err(Error::Prepare)? else {
            return Ok(None);
        };
        // What a run that died has left; the one that lies in its place now is newer.
        places.put_back(root)?;
        let unproven = places.exists(root, &places.replaced)?;
        Places::make(root)
            .and_then(|()| write_like(root, &file, &places.new, change.to))
            .map_err(Error::Prepare)?;
        let running = |command: &[String]| {
            processes.running(command).or_else(|error| {
                places.put_back(root)?;
                Err(Error::from(error))
            })
        };
        let mut before = running(&old)?;
        if !places.take_out(root)? {
            places.put_back(root)?;
            return Ok(None);
        }
        let taken = root.read(&places.aside, LIMIT);
        if !matches!(&taken, Ok(Some(bytes)) if bytes == change.from) {
            places.put_back(root)?;
            let path = places.manifest;
            return Err(Error::Changed { path });
        }
        // It may have started since.
        if before.is_empty() {
            before = running(&old)?;
        }
        let known = before.union(&running(&new)?).copied().collect();
        Ok(Some(Self {
            places,
            old,
            new,
            before,
            unproven,
            known,
        }))
    }

    /// Whatever came of the wait, first of all a manifest goes in. Gives what else runs.
    fn finish(
        &self,
        root: &Root,
        waited: Result<Option<BTreeSet<Id>>, Error>,
        limits: &Limits,
    ) -> Result<BTreeSet<Id>, Error> {
        let is_gone = matches!(waited, Ok(Some(_)));
        let done = if is_gone {
            self.places.put_in(root)?
        } else {
            self.places.put_back(root)?
        };
        if let Some(Recovered::Displaced { manifest, kept }) = done {
            return Err(Error::Displaced { manifest, kept });
        }
        waited?.ok_or_else(|| {
            let (pod, limit) = (self.places.pod.clone(), limits.gone);
            Error::StillRuns { pod, limit }
        })
    }

    /// The old manifest is needed no more. One that stays is in nobody's way.
    fn forget(&self, root: &Root) {
        let _ = file::remove(root, &self.places.replaced);
        let _ = remove_empty_folder(root, Path::new(FOLDER));
    }
}
