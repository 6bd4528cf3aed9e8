//! `stayput kubeadm config`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use sha2::{Digest, Sha256};

use crate::cli::context::{Context, Failure, block_on};
use crate::cli::{exit, output, show};
use crate::config::{self, Node};
use crate::kubeadm::configuration::{self, Configuration, Error, Joining, Wanted};
use crate::kubeadm::patches;
use crate::pki::certificate::Certificate;
use crate::root::Root;

/// The cluster's authority.
const AUTHORITY: &str = "/etc/kubernetes/pki/ca.crt";
/// Far above any bundle of authorities, in bytes.
const LIMIT: u64 = 1 << 20;
/// A token has 23 bytes.
const TOKEN_LIMIT: u64 = 4096;

#[derive(Debug, Args)]
pub(in crate::cli) struct ConfigArgs {
    /// For `kubeadm join` [default: for `kubeadm init`]
    #[arg(long)]
    join: bool,
    /// The bootstrap token to join with; others on this machine see it in the list of processes
    #[arg(long, requires = "join", conflicts_with = "token_file")]
    token: Option<String>,
    /// The file that holds the token; - is standard input
    #[arg(long, requires = "join", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The digest of the cluster authority's key, sha256:HEX, as `kubeadm token create --print-join-command`
    /// on a master prints it [default: of /etc/kubernetes/pki/ca.crt]
    #[arg(long, requires = "join", value_name = "HASH")]
    ca_cert_hash: Vec<String>,
    /// Where this node's patches are, as `stayput kubeadm patches` writes them
    #[arg(long, value_name = "DIR", default_value = patches::FOLDER)]
    patches: PathBuf,
    /// The container runtime's socket [default: kubeadm looks for one]
    #[arg(long, value_name = "PATH")]
    cri_socket: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Worker => exit::BAD_DATA,
            Error::NoAddress(_) => exit::UNAVAILABLE,
            Error::NeedsStable { .. } | Error::Catalogue(_) | Error::Name(_) => exit::CONFIG,
        };
        Self::new(code, error)
    }
}

pub(super) fn config(context: &Context, args: ConfigArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    patches::check_folder(&args.patches)?;
    args.cri_socket.as_deref().map_or(Ok(()), check_socket)?;
    let view = block_on(show::in_force(context, &root))?;
    let node: &Node = &view.node;
    let addresses = node
        .master()
        .map_or(&[][..], |master| view.book.addresses(master));
    let wanted = Wanted {
        cluster: &view.cluster,
        node,
        addresses,
        patches: &args.patches,
        cri_socket: args.cri_socket.as_deref(),
    };
    let made = if args.join {
        let token = token(&root, &args)?;
        let hashes_are_given = !args.ca_cert_hash.is_empty();
        let hashes = hashes(&root, node.master().is_some(), args.ca_cert_hash)?;
        let joining = Joining {
            token: &token,
            hashes: &hashes,
            hashes_are_given,
        };
        configuration::join(&wanted, joining)?
    } else {
        configuration::init(&wanted)?
    };
    output::print(context.global.output, &made, |made: &Configuration| {
        made.text.clone()
    })?;
    Ok(exit::OK)
}

/// What kubeadm takes: a path, or one with a scheme.
fn check_socket(socket: &str) -> Result<(), Failure> {
    let path = socket.strip_prefix("unix://").unwrap_or(socket);
    let is_path = path.starts_with('/') && path.len() > 1 && !path.ends_with('/');
    let is_pipe = socket
        .strip_prefix("npipe://")
        .is_some_and(|pipe| !pipe.trim_matches('/').is_empty());
    let odd = |c: char| c.is_control() || c.is_whitespace();
    if (is_path || is_pipe) && !socket.contains(odd) {
        return Ok(());
    }
    let text = format!(
        "'{}' is no container runtime's socket; give its absolute path, such as /run/containerd/containerd.sock, also behind unix://",
        socket.escape_debug()
    );
    Err(Failure::new(exit::BAD_DATA, text))
}

fn token(root: &Root, args: &ConfigArgs) -> Result<String, Failure> {
    let unreadable = |what: &str, error: std::io::Error| {
        Failure::new(
            exit::OS_ERROR,
            format!("cannot read the token from {what}: {error}"),
        )
    };
    let token = match (&args.token, &args.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(path)) if path == Path::new("-") => {
            let mut text = String::new();
            let read = std::io::stdin()
                .lock()
                .take(TOKEN_LIMIT)
                .read_to_string(&mut text);
            read.map_err(|error| unreadable("standard input", error))?;
            text
        }
        (None, Some(path)) => {
            let read = root.read(path, TOKEN_LIMIT);
            let shown = path.display().to_string();
            let bytes = read.map_err(|error| unreadable(&shown, error))?;
            let hint = config::where_looked_up(path);
            let missing = || Failure::new(exit::BAD_DATA, format!("there is no {shown}{hint}"));
            String::from_utf8_lossy(&bytes.ok_or_else(missing)?).into_owned()
        }
        (None, None) => {
            let text = "to join needs a token: give --token-file - (or --token), from `kubeadm token create` on a master";
            return Err(Failure::new(exit::USAGE, text));
        }
    };
    let token = token.trim();
    if !is_token(token) {
        let text = "that is no bootstrap token; one looks like abcdef.0123456789abcdef (`kubeadm token create`)";
        return Err(Failure::new(exit::BAD_DATA, text));
    }
    Ok(token.to_owned())
}

/// As kubeadm has it: `[a-z0-9]{6}\.[a-z0-9]{16}`.
fn is_token(text: &str) -> bool {
    let plain = |part: &str, length| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        part.len() == length && part.bytes().all(allowed)
    };
    text.split_once('.')
        .is_some_and(|(id, secret)| plain(id, 6) && plain(secret, 16))
}

/// The digests that were given, or those of the authorities that are here.
fn hashes(root: &Root, is_master: bool, given: Vec<String>) -> Result<Vec<String>, Failure> {
    if !given.is_empty() {
        let wrong = given.iter().find(|hash| !is_hash(hash));
        return match wrong {
            None => Ok(given),
            Some(wrong) => {
                let text =
                    format!("'{wrong}' is no digest; one is sha256: and 64 hexadecimal digits");
                Err(Failure::new(exit::BAD_DATA, text))
            }
        };
    }
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(exit::OS_ERROR, format!("cannot read {AUTHORITY}: {error}"))
    };
    let read = root.read(Path::new(AUTHORITY), LIMIT);
    let Some(pem) = read.map_err(|error| failed(&error))? else {
        let or = if is_master {
            ", or bring the file by `stayput certs unbundle`"
        } else {
            ""
        };
        let text = format!(
            "there is no {AUTHORITY} to take the digest of; give --ca-cert-hash, which `kubeadm token create --print-join-command` on a master prints{or}"
        );
        return Err(Failure::new(exit::UNAVAILABLE, text));
    };
    let all = Certificate::parse_pem(&pem);
    let all = all.map_err(|error| failed(&error))?;
    Ok(all.iter().map(|one| digest(&one.public_key)).collect())
}

/// Of a `SubjectPublicKeyInfo`, as kubeadm writes it (RFC 7469, 2.4, in hexadecimal).
fn digest(public_key: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(public_key) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn is_hash(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}
