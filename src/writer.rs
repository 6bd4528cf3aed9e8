//! The one thread that touches files.
//!
//! File work blocks, sometimes for seconds on a failing disk, and must not hold timers, the control
//! socket or DNS. All of it runs here, one job after the other, so that two writes of the same
//! process never interleave.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A handle to the writing thread. The thread ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Writer(mpsc::Sender<Job>);

/// A job that did not come to an end.
#[derive(Debug, thiserror::Error)]
#[error("file work ended unexpectedly: {0}; please report this")]
pub struct Interrupted(String);

impl Writer {
    /// Starts the thread.
    pub fn start() -> std::io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || jobs.into_iter().for_each(|job| job()))?;
        Ok(Self(sender))
    }

    /// Runs a job on the thread and waits for its result. A job that was handed over is finished
    /// even if the caller stops waiting.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Interrupted> {
        let (reply, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(job)).map_err(panic_text);
            // Nobody waits any more: the work is done all the same.
            let _ = reply.send(outcome);
        });
        let gone = || Interrupted("the writing thread has ended".into());
        self.0.send(job).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?.map_err(Interrupted)
    }
}

fn panic_text(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_job_does_not_end_the_thread() {
        let writer = Writer::start().unwrap();
        let error = writer.run(|| panic!("boom")).await.map(|(): ()| ());
        assert!(error.unwrap_err().to_string().contains("boom"));
        assert_eq!(writer.run(|| 7).await.unwrap(), 7);
    }
}
