//! A lane: one surface, one task, one view after the other.
//!
//! The task that owns the book hands a view over and goes on; whoever wants to know waits for the
//! report. So a surface that hangs, or an HAProxy that is being reloaded, holds neither the others nor
//! the next event. Views that arrive meanwhile are shown as one: the newest.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::report::{Surface, SurfaceReport};
use crate::surface::Applied;
use crate::surface::haproxy::{self, Observation};
use crate::view::View;

/// What a lane's surface can do.
pub(super) trait Shows: Send + 'static {
    /// Makes the outside world equal to the view.
    fn show(&mut self, view: &View) -> impl Future<Output = Result<Applied, String>> + Send;

    /// Looks without changing anything, where there is something to be seen.
    fn look(&mut self, _view: &View) -> impl Future<Output = Option<Seen>> + Send {
        std::future::ready(None)
    }
}

/// What was seen of HAProxy and of this master's API server.
#[derive(Debug)]
pub struct Seen {
    /// HAProxy's servers, or why they cannot be told.
    pub observation: Result<Observation, haproxy::Error>,
    /// Whether kube-apiserver's manifest is there; `None` where that cannot be told now.
    pub manifest: Option<bool>,
}

/// What a lane tells the engine, besides whoever waits.
#[derive(Debug)]
pub enum News {
    /// A surface was brought to a view, or could not be.
    Report(SurfaceReport),
    /// HAProxy was looked at.
    Seen(Seen),
}

enum Order {
    Show(View, oneshot::Sender<SurfaceReport>),
    Look(View, oneshot::Sender<()>),
}

/// A handle to the task.
#[derive(Debug)]
pub(super) struct Lane {
    surface: Surface,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl Lane {
    /// Starts the task. One pass may take `patience`.
    pub(super) fn start(
        surface: Surface,
        patience: Duration,
        shows: impl Shows,
        news: mpsc::UnboundedSender<News>,
    ) -> Self {
        let (orders, received) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(surface, patience, shows, received, news));
        Self {
            surface,
            orders,
            task,
        }
    }

    /// Hands a view over; the report follows.
    pub(super) fn show(&self, view: View) -> Awaited {
        let (reply, report) = oneshot::channel();
        // A task that has ended drops the reply; that is told where it is awaited.
        let _ = self.orders.send(Order::Show(view, reply));
        Awaited {
            surface: self.surface,
            report,
        }
    }

    /// Asks for a look; what was seen comes as news. Ends when that is done.
    pub(super) fn look(&self, view: View) -> oneshot::Receiver<()> {
        let (reply, done) = oneshot::channel();
        let _ = self.orders.send(Order::Look(view, reply));
        done
    }

    /// Finishes what was handed over, at most until `patience` is over.
    pub(super) async fn close(self, patience: Duration) {
        drop(self.orders);
        let _ = timeout(patience, self.task).await;
    }
}

/// A report that is on its way.
#[derive(Debug)]
pub(super) struct Awaited {
    surface: Surface,
    report: oneshot::Receiver<SurfaceReport>,
}

impl Awaited {
    pub(super) async fn report(self) -> SurfaceReport {
        let ended = || {
            let text = "the surface's task has ended".to_owned();
            SurfaceReport::failed(self.surface, text, Duration::ZERO)
        };
        self.report.await.unwrap_or_else(|_| ended())
    }
}

async fn run(
    surface: Surface,
    patience: Duration,
    mut shows: impl Shows,
    mut orders: mpsc::UnboundedReceiver<Order>,
    news: mpsc::UnboundedSender<News>,
) {
    while let Some(first) = orders.recv().await {
        let (mut wanted, mut waiting, mut lookers) = (None, Vec::new(), Vec::new());
        let mut latest = None;
        for order in std::iter::once(first).chain(std::iter::from_fn(|| orders.try_recv().ok())) {
            match order {
                Order::Show(view, reply) => {
                    wanted = Some(view);
                    waiting.push(reply);
                }
                Order::Look(view, reply) => {
                    latest = Some(view);
                    lookers.push(reply);
                }
            }
        }
        if let Some(view) = &wanted {
            let report = timed(surface, patience, shows.show(view)).await;
            // Nobody listens any more: the work is done all the same.
            let _ = news.send(News::Report(report.clone()));
            for reply in waiting {
                let _ = reply.send(report.clone());
            }
        }
        // What has just been changed is looked at, so that status does not show what was before.
        if let Some(view) = wanted.or(latest)
            && let Ok(Some(seen)) = timeout(patience, shows.look(&view)).await
        {
            let _ = news.send(News::Seen(seen));
        }
        for reply in lookers {
            let _ = reply.send(());
        }
    }
}

async fn timed(
    surface: Surface,
    patience: Duration,
    work: impl Future<Output = Result<Applied, String>>,
) -> SurfaceReport {
    let started = Instant::now();
    // A surface that panics fails like any other; its task goes on.
    let work = AssertUnwindSafe(work).catch_unwind();
    match timeout(patience, work).await {
        Ok(Ok(Ok(applied))) => SurfaceReport::done(surface, applied, started.elapsed()),
        Ok(Ok(Err(error))) => SurfaceReport::failed(surface, error, started.elapsed()),
        Ok(Err(_)) => {
            let error = "it ended unexpectedly; please report this".to_owned();
            SurfaceReport::failed(surface, error, started.elapsed())
        }
        Err(_) => {
            let seconds = patience.as_secs();
            let error =
                format!("not done within {seconds} seconds: the disk, HAProxy or the kernel hangs");
            SurfaceReport::failed(surface, error, started.elapsed())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::Outcome;

    /// Fails, panics and works in turn.
    struct Moody(u32);

    impl Shows for Moody {
        async fn show(&mut self, _view: &View) -> Result<Applied, String> {
            self.0 += 1;
            assert!(self.0 != 2, "the second time");
            if self.0 == 1 {
                return Err("the first time".to_owned());
            }
            Ok(Applied {
                outcome: Outcome::Updated,
                detail: format!("time {}", self.0),
                notices: Vec::new(),
            })
        }
    }

    /// Never comes back.
    struct Stuck;

    impl Shows for Stuck {
        async fn show(&mut self, _view: &View) -> Result<Applied, String> {
            std::future::pending().await
        }
    }

    fn view() -> View {
        let text = "domain: k8s.internal\nendpoint: {name: api}\n\
                    masters: [{name: m1, address: 10.0.0.1}]\n";
        let file = std::path::Path::new("cluster.yaml");
        let rules = crate::address::Loopback::Refused;
        let cluster = crate::config::Cluster::parse(text, file, rules).unwrap();
        let settings = crate::config::NodeSettings::default();
        let node = crate::config::Node::determine(settings, "worker-1", &cluster, false).unwrap();
        View {
            cluster: cluster.into(),
            node: node.into(),
            book: crate::book::Book::default().into(),
            provisioned: false,
        }
    }

    #[tokio::test]
    async fn a_surface_that_fails_or_panics_goes_on() {
        let (sender, mut news) = mpsc::unbounded_channel();
        let minute = Duration::from_mins(1);
        let lane = Lane::start(Surface::Hosts, minute, Moody(0), sender);
        let mut details = Vec::new();
        for _ in 0..3 {
            details.push(lane.show(view()).report().await.detail);
            assert!(matches!(news.recv().await, Some(News::Report(_))));
        }
        assert_eq!(details[0], "the first time");
        assert!(details[1].contains("unexpectedly"), "{details:?}");
        assert_eq!(details[2], "time 3");
    }

    #[tokio::test]
    async fn views_that_wait_are_shown_as_one() {
        let (sender, mut news) = mpsc::unbounded_channel();
        let lane = Lane::start(Surface::Hosts, Duration::from_mins(1), Moody(2), sender);
        // The task has not run yet: all five are there when it does.
        let awaited: Vec<Awaited> = (0..5).map(|_| lane.show(view())).collect();
        for awaited in awaited {
            assert_eq!(awaited.report().await.detail, "time 3");
        }
        lane.close(Duration::from_mins(1)).await;
        assert!(news.recv().await.is_some());
        assert!(news.recv().await.is_none(), "one pass, one report");
    }

    #[tokio::test(start_paused = true)]
    async fn a_surface_that_hangs_is_a_failure_in_the_end() {
        let (sender, _news) = mpsc::unbounded_channel();
        let lane = Lane::start(Surface::Hosts, Duration::from_secs(5), Stuck, sender);
        let report = lane.show(view()).report().await;
        assert!(
            report.detail.contains("not done within 5 seconds"),
            "{report:?}"
        );
    }
}
