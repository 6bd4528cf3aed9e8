//! A client of HAProxy's Runtime API (management guide, section 9.3).
//!
//! One command per connection, the answer read to its end: HAProxy closes the connection behind it.
//! HAProxy often answers in prose, also where it refuses; so a change is believed when it is read
//! back, not when it is answered.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::answers::{self, Info, ServerState, ServerStatus, Unexpected};
use super::render::BACKEND;
use crate::root::Root;

/// HAProxy answers within a millisecond; one that needs longer hangs.
const LIMIT: Duration = Duration::from_secs(2);

/// More than the statistics of a thousand servers.
const LONGEST_ANSWER: u64 = 64 * 1024 * 1024;

/// The Runtime API behind one socket.
#[derive(Debug, Clone)]
pub struct RuntimeApi {
    root: Root,
    socket: PathBuf,
}

/// Why HAProxy did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens: HAProxy is not running, or has another socket.
    #[error("HAProxy does not answer on {}: {source}", socket.display())]
    Dead {
        /// The socket, below the root.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody listens but the talk failed.
    #[error("cannot ask HAProxy '{command}' on {}: {source}", socket.display())]
    Io {
        /// The command.
        command: String,
        /// The socket, below the root.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody listens and says nothing: HAProxy is stopped, stuck or starved.
    #[error(
        "HAProxy does not answer on {}: it is there but hangs; restart stayput-haproxy if that \
         lasts", socket.display()
    )]
    Silent {
        /// The socket, below the root.
        socket: PathBuf,
    },
    /// The answer is not what the management guide describes.
    #[error("HAProxy's answer to '{command}' is not understood: {source}: {answer}")]
    Answer {
        /// The command.
        command: String,
        /// The field.
        source: Unexpected,
        /// How the answer begins.
        answer: String,
    },
}

impl Error {
    /// Whether nobody listens at all.
    pub fn is_dead(&self) -> bool {
        matches!(self, Self::Dead { .. })
    }

    /// Whether somebody listens who does not answer in time.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Silent { .. })
    }
}

impl RuntimeApi {
    /// The API behind `socket`, a path below `root`.
    pub fn new(root: Root, socket: &Path) -> Self {
        Self {
            root,
            socket: socket.to_owned(),
        }
    }

    /// The running process.
    pub async fn info(&self) -> Result<Info, Error> {
        self.parsed("show info", answers::info).await
    }

    /// The masters' servers with their addresses.
    pub async fn servers(&self) -> Result<Vec<ServerState>, Error> {
        let command = format!("show servers state {BACKEND}");
        self.parsed(&command, answers::servers_state).await
    }

    /// The masters' servers with their health.
    pub async fn statistics(&self) -> Result<Vec<ServerStatus>, Error> {
        // 4: servers only; -1: all of them.
        let command = format!("show stat {BACKEND} 4 -1 json");
        self.parsed(&command, answers::statistics).await
    }

    /// Gives a server another address. Its open sessions stay: see [`Self::shutdown_sessions`].
    pub async fn set_address(&self, label: &str, to: SocketAddr) -> Result<String, Error> {
        let (address, port) = (to.ip(), to.port());
        let command = format!("set server {BACKEND}/{label} addr {address} port {port}");
        self.ask(&command).await
    }

    /// Puts a server into use, or takes it out.
    pub async fn set_ready(&self, label: &str, ready: bool) -> Result<String, Error> {
        let state = if ready { "ready" } else { "maint" };
        self.ask(&format!("set server {BACKEND}/{label} state {state}"))
            .await
    }

    /// Closes all sessions of a server. Its clients connect again.
    pub async fn shutdown_sessions(&self, label: &str) -> Result<String, Error> {
        self.ask(&format!("shutdown sessions server {BACKEND}/{label}"))
            .await
    }

    async fn parsed<T>(
        &self,
        command: &str,
        parse: fn(&str) -> Result<T, Unexpected>,
    ) -> Result<T, Error> {
        let answer = self.ask(command).await?;
        parse(&answer).map_err(|source| Error::Answer {
            command: command.to_owned(),
            source,
            answer: answer.trim().chars().take(200).collect(),
        })
    }

    /// One command, one answer, without the blank line that ends it.
    async fn ask(&self, command: &str) -> Result<String, Error> {
        let talk = tokio::time::timeout(LIMIT, async {
            match self.talk(command).await {
                // Whoever listened has ended with the command unread. Who listens now?
                Err(Error::Io { source, .. }) if hung_up(&source) => {
                    match self.talk(command).await {
                        Err(Error::Io { source, .. }) if hung_up(&source) => Err(self.dead(source)),
                        other => other,
                    }
                }
                other => other,
            }
        });
        let answer = talk.await.unwrap_or_else(|_| Err(self.silent()))?;
        Ok(answer.trim_end().to_owned())
    }

    async fn talk(&self, command: &str) -> Result<String, Error> {
        // The folder stays open while its path through /proc is used.
        let place = self.root.resolve(&self.socket).map_err(|e| self.dead(e))?;
        let path = Root::socket_path(&place);
        let stream = UnixStream::connect(path).await;
        let stream = stream.map_err(|e| match e.kind() {
            // The queue of connections is full, because nobody accepts them (unix(7)).
            io::ErrorKind::WouldBlock => self.silent(),
            _ => self.dead(e),
        })?;
        exchange(stream, command)
            .await
            .map_err(|e| self.failed(command, e))
    }

    /// The error that stands for an answer that did not come in time.
    pub fn silent(&self) -> Error {
        Error::Silent {
            socket: self.socket.clone(),
        }
    }

    fn dead(&self, source: io::Error) -> Error {
        Error::Dead {
            socket: self.socket.clone(),
            source,
        }
    }

    fn failed(&self, command: &str, source: io::Error) -> Error {
        Error::Io {
            command: command.to_owned(),
            socket: self.socket.clone(),
            source,
        }
    }
}

/// Whether the other end closed before it read what was sent: a process that stops closes its
/// listening socket with connections in the queue.
fn hung_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

async fn exchange(mut stream: UnixStream, command: &str) -> io::Result<String> {
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use tokio::net::UnixListener;

    fn sandbox() -> (tempfile::TempDir, RuntimeApi) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let api = RuntimeApi::new(root, Path::new("/haproxy.sock"));
        (dir, api)
    }

    #[tokio::test]
    async fn no_socket_and_a_deserted_one_are_dead() {
        let (dir, api) = sandbox();
        assert!(api.info().await.unwrap_err().is_dead());
        drop(UnixListener::bind(dir.path().join("haproxy.sock")).unwrap());
        let error = api.info().await.unwrap_err();
        assert!(error.is_dead(), "{error}");
        assert!(error.to_string().contains("/haproxy.sock"), "{error}");
    }

    /// Whether a connection waits to be accepted.
    fn has_a_connection(listener: &UnixListener) -> bool {
        let mut polled = [PollFd::new(listener, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::default())).unwrap() > 0
    }

    #[tokio::test]
    async fn one_that_stops_while_it_is_asked_is_dead() {
        let (dir, api) = sandbox();
        let listener = UnixListener::bind(dir.path().join("haproxy.sock")).unwrap();
        let stop = async {
            while !has_a_connection(&listener) {
                tokio::task::yield_now().await;
            }
            drop(listener);
        };
        let (answer, ()) = tokio::join!(api.info(), stop);
        let error = answer.unwrap_err();
        assert!(error.is_dead(), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_process_is_not_waited_for() {
        let (dir, api) = sandbox();
        let listener = UnixListener::bind(dir.path().join("haproxy.sock")).unwrap();
        // Every call leaves a connection behind that nobody accepts: the queue gets full.
        rustix::net::listen(&listener, 0).unwrap();
        let start = tokio::time::Instant::now();
        for _ in 0..3 {
            let error = api.info().await.unwrap_err();
            assert!(error.is_silent() && !error.is_dead(), "{error}");
            assert!(error.to_string().contains("does not answer"), "{error}");
        }
        assert!(start.elapsed() <= LIMIT * 3);
    }

    #[tokio::test]
    async fn an_odd_answer_is_shown() {
        let (dir, api) = sandbox();
        let listener = UnixListener::bind(dir.path().join("haproxy.sock")).unwrap();
        let other = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut command = [0; 10];
            stream.read_exact(&mut command).await.unwrap();
            assert_eq!(&command, b"show info\n");
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\n")
                .await
                .unwrap();
        };
        let (answer, ()) = tokio::join!(api.info(), other);
        let error = answer.unwrap_err().to_string();
        assert!(error.contains("400 Bad Request"), "{error}");
    }
}
