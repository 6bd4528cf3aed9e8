//! The link to the agent, which keeps the book: where its master is comes from there, and what counts by
//! signed records goes there.
//!
//! The agent may be away for as long as it likes; what is told it next is everything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::de::IgnoredAny;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::book::Signed;
use crate::control::client::{self, Error};
use crate::control::published::Watched;
use crate::name::Name;
use crate::peers::allowance::{Allowance, Rate};
use crate::request;
use crate::root::Root;

/// The first pause before it is tried again, and what it grows to.
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(2);
/// The agent answers when all surfaces have shown a change. What is newer waits for it no longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is told. Each time it writes files: whoever signs faster, with a key that was stolen or by a
/// script that runs wild, is shown as he was last, and delays others no longer than this.
const PACE: Rate = Rate {
    burst: 10,
    every: Duration::from_secs(1),
};

/// What the agent refuses it is shown again after this long: what it refused it for may have changed.
const REFUSED: Duration = Duration::from_secs(30);

/// What counts, by master.
type Counting = BTreeMap<Name, Signed>;

/// What comes from the agent.
#[derive(Debug)]
pub(super) enum News {
    /// Where the masters are by its book.
    Book(Watched),
    /// It does not answer.
    Gone,
}

/// The link, until it is dropped.
#[derive(Debug)]
pub(super) struct Link {
    news: mpsc::Receiver<News>,
    /// What to tell, and how often the agent has come: then it is told again.
    tell: watch::Sender<Option<(u64, Counting)>>,
    told: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Link {
    /// Begins to listen to the agent below a root.
    pub(super) fn start(root: &Root) -> Self {
        let (sender, news) = mpsc::channel(4);
        let (tell, telling) = watch::channel(None);
        let told = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(root.clone(), sender));
        let root = root.clone();
        let post = move |records: request::Records| {
            let root = root.clone();
            async move {
                let posted = client::post::<IgnoredAny>(&root, "/v1/records", &records).await;
                posted.map(drop)
            }
        };
        tasks.spawn(talk(post, telling, Arc::clone(&told)));
        Self {
            news,
            tell,
            told,
            _tasks: tasks,
        }
    }

    /// What comes next. May be cancelled.
    pub(super) async fn next(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    /// Tells the agent what counts, if it is another thing than before.
    pub(super) fn tell(&self, counting: Counting) {
        self.tell.send_if_modified(|last| match last {
            Some((_, said)) if *said == counting => false,
            Some((_, said)) => {
                *said = counting;
                true
            }
            None => {
                *last = Some((0, counting));
                true
            }
        });
    }

    /// The agent has come, or come back: it is told all again.
    pub(super) fn again(&self) {
        self.tell.send_if_modified(|last| {
            last.as_mut().is_some_and(|(times, _)| {
                *times += 1;
                true
            })
        });
    }

    /// How often it was told.
    pub(super) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }
}

async fn listen(root: Root, news: mpsc::Sender<News>) {
    let mut known = None;
    let mut pause = FIRST;
    let mut gone = false;
    loop {
        let path = match known {
            Some(generation) => format!("/v1/watch?generation={generation}"),
            None => "/v1/watch".to_owned(),
        };
        let sent = match client::get::<Watched>(&root, &path).await {
            Ok(watched) => {
                let is_new = known != Some(watched.generation);
                known = Some(watched.generation);
                (pause, gone) = (FIRST, false);
                if !is_new {
                    continue;
                }
                news.send(News::Book(watched)).await
            }
            Err(error) => {
                known = None;
                let sent = if gone {
                    Ok(())
                } else {
                    gone = true;
                    say(&error, "the agent is not followed");
                    news.send(News::Gone).await
                };
                sleep(pause).await;
                pause = (pause * 2).min(LAST);
                sent
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Posts what is to be told until it is taken, or until there is something newer.
async fn talk<P, F>(
    post: P,
    mut telling: watch::Receiver<Option<(u64, Counting)>>,
    told: Arc<AtomicU64>,
) where
    P: Fn(request::Records) -> F,
    F: Future<Output = Result<(), Error>>,
{
    let mut said = false;
    let mut refused = None;
    let begun = Instant::now();
    let mut allowance = Allowance::default();
    while telling.changed().await.is_ok() {
        let mut pause = FIRST;
        loop {
            sleep(allowance.wait(PACE, begun.elapsed())).await;
            allowance.take(1, PACE, begun.elapsed());
            // The newest: what came meanwhile goes with it.
            let Some((_, records)) = telling.borrow_and_update().clone() else {
                break;
            };
            let posting = post(request::Records { records });
            tokio::pin!(posting);
            let overtaken = async {
                sleep(PATIENCE).await;
                // Its sender is gone when all of this ends.
                let _ = telling.changed().await;
            };
            let outcome = tokio::select! {
                outcome = &mut posting => outcome,
                // It was read long ago, and is being shown.
                () = overtaken => {
                    telling.mark_changed();
                    told.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            };
            match outcome {
                Ok(()) => {
                    told.fetch_add(1, Ordering::Relaxed);
                    (said, refused) = (false, None);
                    break;
                }
                Err(Error::Refused(why)) => {
                    if refused.as_ref() != Some(&why) {
                        tracing::warn!("the agent refuses the signed records: {why}");
                        refused = Some(why);
                    }
                    tokio::select! {
                        _ = telling.changed() => {}
                        () = sleep(REFUSED) => {}
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        say(&error, "the agent is not told of signed records");
                    }
                    tokio::select! {
                        _ = telling.changed() => {}
                        () = sleep(pause) => pause = (pause * 2).min(LAST),
                    }
                }
            }
        }
    }
}

fn say(error: &Error, what: &str) {
    if error.is_absent() {
        tracing::info!("{what} for the moment: {error}");
    } else {
        tracing::warn!("{what}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each post as the list says, and tells when it came; after the list it takes everything.
    fn scripted(
        answers: Vec<Result<(), Error>>,
    ) -> (
        impl Fn(request::Records) -> std::future::Ready<Result<(), Error>>,
        mpsc::UnboundedReceiver<Instant>,
    ) {
        let (came, times) = mpsc::unbounded_channel();
        let answers = std::sync::Mutex::new(answers.into_iter());
        let post = move |_| {
            let _ = came.send(Instant::now());
            std::future::ready(answers.lock().unwrap().next().unwrap_or(Ok(())))
        };
        (post, times)
    }

    fn refusal() -> Result<(), Error> {
        Err(Error::Refused("too many".into()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_shown_again_until_it_is_taken() {
        let (post, mut times) = scripted(vec![refusal(), refusal()]);
        let (tell, telling) = watch::channel(None);
        let told = Arc::new(AtomicU64::new(0));
        let _task = tokio::spawn(talk(post, telling, Arc::clone(&told)));
        tell.send_replace(Some((0, Counting::new())));
        let first = times.recv().await.unwrap();
        for round in 1..=2 {
            assert_eq!(times.recv().await.unwrap() - first, REFUSED * round);
        }
        let more = tokio::time::timeout(REFUSED * 3, times.recv()).await;
        assert!(more.is_err(), "what was taken is not told again");
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_signs_fast_is_shown_at_a_pace_and_the_last_word_is_shown() {
        let versions = Arc::new(std::sync::Mutex::new(Vec::new()));
        let posted = Arc::clone(&versions);
        let post = move |records: request::Records| {
            let version = records.records.values().next().map(|it| it.version);
            posted.lock().unwrap().extend(version);
            std::future::ready(Ok(()))
        };
        let (tell, telling) = watch::channel(None);
        let told = Arc::new(AtomicU64::new(0));
        let _task = tokio::spawn(talk(post, telling, Arc::clone(&told)));
        let begun = Instant::now();
        let name = crate::peers::sample::master("m1");
        for version in 0..1000 {
            let says = crate::book::Says::Removed;
            let signed = Signed { version, says };
            tell.send_replace(Some((0, Counting::from([(name.clone(), signed)]))));
            sleep(Duration::from_millis(10)).await;
        }
        sleep(PACE.every * 2).await;
        let seconds = begun.elapsed().as_secs();
        let versions = versions.lock().unwrap();
        assert_eq!(versions.last(), Some(&999));
        assert_eq!(versions[..9], [0, 1, 2, 3, 4, 5, 6, 7, 8], "some at once");
        let most = u64::from(PACE.burst) + seconds;
        assert!(versions.len() as u64 <= most, "{}", versions.len());
        assert!(versions.len() as u64 >= seconds, "{}", versions.len());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_newer_does_not_wait_for_what_was_refused() {
        let (post, mut times) = scripted(vec![refusal()]);
        let (tell, telling) = watch::channel(None);
        let _task = tokio::spawn(talk(post, telling, Arc::default()));
        tell.send_replace(Some((0, Counting::new())));
        let first = times.recv().await.unwrap();
        tell.send_replace(Some((1, Counting::new())));
        assert!(times.recv().await.unwrap() - first < REFUSED);
    }
}
