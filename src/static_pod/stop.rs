//! A signal to end, taken while a manifest is out.

use std::future::poll_fn;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether this process was told to end.
#[derive(Debug)]
pub struct Stop {
    pub(crate) signals: Vec<Signal>,
    pub(crate) asked: bool,
}

impl Stop {
    /// Where a signal cannot be taken, it ends the process as ever, and the next run puts right what
    /// this one leaves.
    pub fn listen() -> Self {
        let kinds = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        ];
        Self {
            signals: kinds
                .into_iter()
                .filter_map(|kind| signal(kind).ok())
                .collect(),
            asked: false,
        }
    }

    /// Ends when it is told to.
    pub async fn asked(&mut self) {
        if self.asked {
            return;
        }
        poll_fn(|context| {
            let mut polled = self
                .signals
                .iter_mut()
                .map(|signal| signal.poll_recv(context));
            if polled.any(|signal| signal.is_ready()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        self.asked = true;
    }

    /// An error in words, once it was.
    pub fn check(&self) -> Result<(), String> {
        if self.asked {
            return Err("left undone, because stayput was told to end".to_owned());
        }
        Ok(())
    }
}
