//! The demo's scratch folder: a pretend node with its cluster file and free ports.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::DirBuilder;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::{BEFORE, Failure, exit};
use crate::control::client;
use crate::file;
use crate::name::Name;
use crate::query;
use crate::root::Root;
use crate::status::Status;

const DOMAIN: &str = "prod.k8s.internal";
/// The node of the tour has the folder itself.
pub(super) const WORKER: &str = "";
/// The first master's name, and its folder within.
pub(super) const MASTER: &str = "master-1";
/// A hosts file with lines of its own, which stay as they are.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n192.0.2.7\tnas.home\n";

/// The scratch folder; removed at the end unless it was asked for by name.
pub(super) struct Sandbox {
    path: PathBuf,
    keep: bool,
    endpoint: u16,
    api: u16,
    stats: u16,
    dns: SocketAddr,
}

impl Sandbox {
    pub(super) fn new(dir: Option<PathBuf>) -> Result<Self, Failure> {
        let keep = dir.is_some();
        let free = || free_port().map_err(|error| Failure::new(exit::OS_ERROR, error));
        let sandbox = Self {
            keep,
            endpoint: free()?,
            api: free()?,
            stats: free()?,
            dns: SocketAddr::from((Ipv4Addr::LOCALHOST, free()?)),
            path: match dir {
                Some(dir) => own_folder(&dir)?,
                None => scratch_folder()?,
            },
        };
        sandbox.write(Path::new("etc/hosts"), HOSTS)?;
        sandbox.write(Path::new("etc/hostname"), "worker-1\n")?;
        sandbox.write_cluster(WORKER, &BEFORE, None)?;
        Ok(sandbox)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn api_port(&self) -> u16 {
        self.api
    }

    pub(super) fn endpoint_port(&self) -> u16 {
        self.endpoint
    }

    pub(super) fn dns(&self) -> SocketAddr {
        self.dns
    }

    /// Arguments that make any command work in this folder.
    pub(super) fn arguments(&self) -> Vec<String> {
        vec!["--root".to_owned(), self.path.display().to_string()]
    }

    /// Writes the cluster file of the node in a folder: [`WORKER`] or [`MASTER`].
    pub(super) fn write_cluster(
        &self,
        root: &str,
        addresses: &[&str; 3],
        reload: Option<Vec<String>>,
    ) -> Result<(), Failure> {
        let quoted = reload
            .unwrap_or_default()
            .into_iter()
            .map(|word| format!("\"{word}\""));
        let reload = quoted.collect::<Vec<_>>().join(", ");
        let [first, second, third] = addresses;
        let (endpoint, api, stats, dns) = (self.endpoint, self.api, self.stats, self.dns);
        let text = format!(
            r#"domain: {DOMAIN}
endpoint: {{name: api, port: {endpoint}}}
masters:
  - {{name: master-1, address: {first}}}
  - {{name: master-2, address: {second}}}
  - {{name: master-3, address: {third}}}
aliases: {{k8s.example.com: api, old-name: master-1}}
kubernetes: {{version: "1.34", apiPort: {api}}}
dns: {{listen: ["{dns}"]}}
haproxy: {{reload: [{reload}], stats: "127.0.0.1:{stats}"}}
"#
        );
        self.write(&Path::new(root).join("etc/stayput/cluster.yaml"), &text)
    }

    /// Runs a command of this program in the sandbox and gives what it prints.
    pub(super) async fn stayput(&self, arguments: &[&str]) -> Result<String, Failure> {
        self.run(self.arguments(), arguments).await
    }

    /// The same on a master, which has a folder of its own.
    pub(super) async fn on_master(&self, arguments: &[&str]) -> Result<String, Failure> {
        let root = self.path.join(MASTER).display().to_string();
        let own = [
            "--node",
            MASTER,
            "--kubernetes-name",
            MASTER,
            "--root",
            &root,
        ];
        self.run(own.map(str::to_owned).to_vec(), arguments).await
    }

    async fn run(&self, own: Vec<String>, arguments: &[&str]) -> Result<String, Failure> {
        let exe = std::env::current_exe();
        let output = Command::new(exe.map_err(|error| Failure::new(exit::OS_ERROR, error))?)
            .args(own)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .output()
            .await;
        let output = output.map_err(|error| {
            Failure::new(exit::OS_ERROR, format!("cannot run {arguments:?}: {error}"))
        })?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether the agent's control socket answers.
    pub(super) async fn agent_answers(&self) -> bool {
        let Ok(root) = Root::open(&self.path) else {
            return false;
        };
        let status: Result<Status, _> = client::get(&root, "/v1/status").await;
        status.is_ok_and(|status| status.masters.len() == BEFORE.len() && status.generation > 0)
    }

    /// The hosts file, indented.
    pub(super) fn hosts(&self) -> Result<String, Failure> {
        let path = self.path.join("etc/hosts");
        let bytes = std::fs::read(&path).map_err(|error| cannot("read", &path, &error))?;
        let text = String::from_utf8_lossy(&bytes);
        let indented = text.lines().flat_map(|line| ["  ", line, "\n"]);
        Ok(indented.collect())
    }

    /// What the responder says for a name, in one line.
    pub(super) async fn ask(&self, label: &str) -> Result<String, Failure> {
        let name = Name::parse(&format!("{label}.{DOMAIN}"))
            .map_err(|error| Failure::new(exit::UNAVAILABLE, error))?;
        let addresses = query::addresses(self.dns, name.as_str(), Duration::from_secs(2)).await;
        let addresses = addresses.map_err(|error| Failure::new(exit::UNAVAILABLE, error))?;
        Ok(format!("{name}  {}", super::output::addresses(&addresses)))
    }

    /// Connects through HAProxy until every master has answered once, at most for `patience`; gives
    /// the different answers.
    pub(super) async fn connect(&self, patience: Duration) -> Result<BTreeSet<String>, Failure> {
        let deadline = Instant::now() + patience;
        let mut answers = BTreeSet::new();
        while answers.len() < BEFORE.len() && Instant::now() < deadline {
            match request(self.endpoint).await {
                Ok(answer) if !answer.is_empty() => {
                    answers.insert(answer);
                }
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        if answers.is_empty() {
            let text = format!("nobody answers on 127.0.0.1:{}", self.endpoint);
            return Err(Failure::new(exit::UNAVAILABLE, text));
        }
        Ok(answers)
    }

    /// Commands to try.
    pub(super) fn suggestions(&self, haproxy: bool) -> String {
        let root = self.path.display();
        let exe = std::env::current_exe().map_or("stayput".into(), |p| p.display().to_string());
        let (endpoint, port) = (self.endpoint, self.dns.port());
        let mut text = format!(
            "  export STAYPUT_ROOT={root}\n  \
             {exe} status --watch\n  \
             {exe} event master-3 127.77.0.33\n  \
             {exe} resolve master-2\n  \
             dig @127.0.0.1 -p {port} master-2.{DOMAIN}\n  \
             curl --unix-socket {root}/run/stayput/stayput.sock http://stayput/v1/status\n  \
             sed -i /master-1/d {root}/etc/hosts      # and see it repaired\n"
        );
        if haproxy {
            let _ = writeln!(text, "  curl http://127.0.0.1:{endpoint}/");
        }
        text
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), Failure> {
        let path = Path::new("/").join(path);
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(exit::OS_ERROR, format!("cannot set up the demo: {error}"))
        };
        let root = Root::open(&self.path).map_err(|error| failed(&error))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        root.create_folders(folder, 0o755)
            .map_err(|error| failed(&error))?;
        file::replace(&root, &path, text.as_bytes(), 0o644).map_err(|error| failed(&error))?;
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.keep {
            // What is left in the system's scratch folder harms nobody.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A new folder of this user's own. The program that reloads HAProxy stands in a file below it, so
/// nobody else may be able to put one there: the name is not to be guessed, the mode is 0700, and
/// where the name is taken (mkdir(2), EEXIST) it is an error.
fn scratch_folder() -> Result<PathBuf, Failure> {
    // Keyed with randomness of the operating system, for want of a plainer source in std.
    let random = RandomState::new().hash_one(std::process::id());
    let path = std::env::temp_dir().join(format!("stayput-demo-{random:016x}"));
    let describe = |error| cannot("make", &path, &error);
    let mut builder = DirBuilder::new();
    builder.mode(0o700).create(&path).map_err(describe)?;
    path.canonicalize().map_err(describe)
}

/// The folder that was asked for: made if it is missing, else empty, this user's, and writable by
/// nobody else.
fn own_folder(dir: &Path) -> Result<PathBuf, Failure> {
    let describe = |error| cannot("use", dir, &error);
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(dir).map_err(describe)?;
    let path = dir.canonicalize().map_err(describe)?;
    let metadata = path.metadata().map_err(describe)?;
    let unfit = |why| {
        let text = format!("the demo does not use {}: {why}", path.display());
        Err(Failure::new(exit::UNAVAILABLE, text))
    };
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return unfit("it belongs to somebody else; name a folder of your own");
    }
    if metadata.mode() & 0o022 != 0 {
        return unfit("others may write to it; take that from them (chmod go-w)");
    }
    if path.read_dir().map_err(describe)?.next().is_some() {
        return unfit("it is not empty; name an empty folder");
    }
    Ok(path)
}

/// A port that is free now, over TCP and UDP.
fn free_port() -> std::io::Result<u16> {
    for _ in 0..100 {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = tcp.local_addr()?.port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(std::io::Error::other("no port is free on 127.0.0.1"))
}

/// One HTTP request through HAProxy; gives the last line of the answer.
async fn request(port: u16) -> std::io::Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.lines().last().unwrap_or_default().to_owned())
    };
    tokio::time::timeout(Duration::from_secs(2), exchange).await?
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        exit::OS_ERROR,
        format!("cannot {what} {}: {error}", path.display()),
    )
}
