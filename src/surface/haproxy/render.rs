//! HAProxy's whole configuration, as a pure function of a view.
//!
//! Invariants:
//!
//! - Equal inputs give equal bytes.
//! - The file falls into addresses and *structure*: everything else. The structure's digest stands
//!   in the file as HAProxy's `description`, and `show info` tells it back. So it is known, not
//!   guessed, whether the running process needs a reload or only addresses.
//! - Every master has a server line from the start. One whose address is not known yet is disabled
//!   and has the discard address [`UNKNOWN`]; when its address arrives, that is an address change.
//!
//! The directives are those of HAProxy 2.4 or later; 2.6 is the one in the tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use askama::Template;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::authority::{Authority, hexadecimal};
use crate::name::Name;
use crate::view::{ENDPOINT_ADDRESS, View};

/// How every file of ours begins, up to the domain. A file that begins otherwise is not ours.
pub const MARK: &str = "# Written by stayput for ";

/// What precedes the structure's digest in HAProxy's `description`.
pub const DESCRIPTION: &str = "stayput ";

/// The frontend that the endpoint's name leads to.
pub const FRONTEND: &str = "endpoint";

/// The backend that holds the masters.
pub const BACKEND: &str = "masters";

/// The address of a master that has none yet: of the discard-only prefix (RFC 6666), so that no
/// machine can have it.
pub const UNKNOWN: IpAddr = IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0));

const SERVER: &str = "    server ";
const DISABLED: &str = " disabled";
const AUTHORITY: &str = "# Authority: sha256:";

/// A configuration, ready to be compared and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendering {
    /// The file's bytes.
    pub text: String,
    /// Digest of everything but the addresses, 16 hexadecimal digits.
    pub structure: String,
    /// The servers, in the order of the file.
    pub servers: Vec<Server>,
}

/// One line of the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// HAProxy's name for it: the master's name relative to the domain.
    pub label: String,
    /// The master.
    pub name: Name,
    /// Where it is; `None` while that is not known.
    pub address: Option<IpAddr>,
    /// kube-apiserver's port.
    pub port: u16,
    /// Its part in the backend.
    pub place: Place,
}

/// A server's part in the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Another master.
    Remote,
    /// This node itself, one among all masters while it is not provisioned.
    Local,
    /// This node itself, provisioned: it takes everything, and takes it back from the backups.
    Only,
    /// Another master, used while this provisioned node's own apiserver is down.
    Backup,
}

impl Place {
    /// Whether the server is this node's own apiserver.
    pub fn is_local(self) -> bool {
        matches!(self, Self::Local | Self::Only)
    }
}

/// Why a view cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// HAProxy's file is lines of text; there is no way to write such a path.
    #[error("{} cannot stand in HAProxy's configuration; use a path of printable UTF-8", .0.display())]
    Path(std::path::PathBuf),
    /// The template failed.
    #[error("cannot render HAProxy's configuration: {0}; please report this")]
    Template(#[from] askama::Error),
}

#[derive(Template)]
#[template(path = "haproxy.cfg", escape = "none")]
struct Configuration<'a> {
    domain: &'a Name,
    authority: Option<AuthorityLines<'a>>,
    structure: &'a str,
    socket: &'a str,
    user: Option<&'a str>,
    endpoint: SocketAddr,
    endpoint_name: &'a Name,
    servers: &'a [Server],
    stats: SocketAddr,
}

impl Configuration<'_> {
    /// The file. The template engine drops the last line's end, without which HAProxy takes a file
    /// for a truncated one.
    fn text(&self) -> Result<String, askama::Error> {
        let mut text = self.render()?;
        text.push('\n');
        Ok(text)
    }
}

#[derive(Clone, Copy)]
struct AuthorityLines<'a> {
    digest: &'a str,
    file: &'a str,
}

/// Renders a view. `socket` is the Runtime API's socket as HAProxy sees it: the host's path, also
/// in a sandbox.
pub fn render(
    view: &View,
    authority: Option<&Authority>,
    socket: &Path,
) -> Result<Rendering, Error> {
    let cluster = &view.cluster;
    let servers = servers(view);
    let socket = quoted(socket)?;
    let user = cluster.haproxy.user.as_deref().map(Path::new);
    let user = user.map(quoted).transpose()?;
    let file = authority.map(|a| quoted(Path::new(&a.path))).transpose()?;
    let mut configuration = Configuration {
        domain: &cluster.domain,
        authority: authority
            .zip(file.as_deref())
            .map(|(a, file)| AuthorityLines {
                digest: &a.digest,
                file,
            }),
        structure: "",
        socket: &socket,
        user: user.as_deref(),
        endpoint: SocketAddr::new(ENDPOINT_ADDRESS, cluster.endpoint.port),
        endpoint_name: &cluster.endpoint.name,
        servers: &servers,
        stats: cluster.haproxy.stats,
    };
    let structure = digest(&configuration.text()?);
    configuration.structure = &structure;
    let text = configuration.text()?;
    Ok(Rendering {
        text,
        structure,
        servers,
    })
}

impl Rendering {
    /// Whether a file differs from this one in nothing but addresses.
    pub fn has_structure_of(&self, file: &str) -> bool {
        without_addresses(&self.text) == without_addresses(file)
    }
}

impl Server {
    /// Address and port as the file and the Runtime API have them; [`UNKNOWN`] stands for none.
    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address.unwrap_or(UNKNOWN), self.port)
    }
}

/// Whether stayput may overwrite this file: it wrote it, or there is nothing in it.
pub fn is_ours(file: &[u8]) -> bool {
    file.starts_with(MARK.as_bytes()) || file.iter().all(u8::is_ascii_whitespace)
}

/// The digest of the authority that a file of ours was rendered with.
pub fn authority_of(file: &str) -> Option<&str> {
    file.lines().find_map(|line| line.strip_prefix(AUTHORITY))
}

/// The masters that this node's HAProxy passes connections to.
///
/// A worker, and a master on its way in: all of them. A provisioned master: itself only, because
/// during an upgrade its kubelet must not be newer than the apiserver it talks to (Kubernetes'
/// version skew policy); the others at most as backups, where the operator wants that.
pub fn servers(view: &View) -> Vec<Server> {
    let own = view.node.master();
    let provisioned = own.is_some() && view.provisioned;
    let cluster = &view.cluster;
    let place = |name: &Name| match (own == Some(name), provisioned) {
        (true, true) => Some(Place::Only),
        (true, false) => Some(Place::Local),
        (false, true) => cluster.haproxy.fallback.then_some(Place::Backup),
        (false, false) => Some(Place::Remote),
    };
    let server = |name: &Name, place: Place| Server {
        label: name
            .relative_to(&cluster.domain)
            .unwrap_or(name.as_str())
            .to_owned(),
        name: name.clone(),
        // A server has one address: the first that was told.
        address: if place.is_local() {
            Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
        } else {
            view.addresses(name).first().copied()
        },
        port: cluster.kubernetes.api_port,
        place,
    };
    let names = cluster.masters.iter().map(|master| &master.name);
    names
        .filter_map(|name| Some(server(name, place(name)?)))
        .collect()
}

/// A text as one word of HAProxy's configuration. Within strong quotes nothing is special but the
/// quote itself (configuration manual, 2.2 "Quoting and escaping").
fn quoted(path: &Path) -> Result<String, Error> {
    let text = path
        .to_str()
        .filter(|text| !text.contains(char::is_control));
    let text = text.ok_or_else(|| Error::Path(path.to_owned()))?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

fn digest(text: &str) -> String {
    hexadecimal(&Sha256::digest(without_addresses(text))[..8])
}

/// A file with every server's address, and whether it is disabled for want of one, taken out.
fn without_addresses(file: &str) -> String {
    let lines = file.split_inclusive('\n').map(|line| {
        let server = line.strip_prefix(SERVER).and_then(|rest| {
            let (label, rest) = rest.split_once(' ')?;
            let options = rest.trim_end_matches('\n');
            let options = options.split_once(' ').map_or("", |(_, options)| options);
            let options = options
                .strip_suffix(DISABLED.trim_start())
                .unwrap_or(options);
            Some(format!("{SERVER}{label} {}\n", options.trim_end()))
        });
        server.unwrap_or_else(|| line.to_owned())
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node::Role;
    use crate::sample;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// Three masters; `addresses` are those that are known.
    fn view(role: Role, addresses: &[(&str, &str)]) -> View {
        let masters = ["master-1", "master-2", "m.zone-a"];
        let cluster = sample::cluster("prod.k8s.internal", masters, &[]);
        let known = addresses.iter().map(|(label, addresses)| {
            let addresses: Vec<&str> = addresses.split(' ').collect();
            (*label, sample::ips(&addresses))
        });
        let mut view = sample::worker(cluster, known);
        Arc::make_mut(&mut view.node).role = role;
        view
    }

    fn master(label: &str) -> Role {
        Role::Master(name(&format!("{label}.prod.k8s.internal")))
    }

    fn authority(digest: &str) -> Authority {
        Authority {
            path: "/etc/kubernetes/pki/ca.crt".into(),
            digest: digest.repeat(64),
        }
    }

    fn rendered(view: &View, authority: Option<&Authority>) -> Rendering {
        render(view, authority, Path::new("/run/stayput/haproxy.sock")).unwrap()
    }

    fn server_lines(rendering: &Rendering) -> Vec<&str> {
        let lines = rendering.text.lines();
        lines.filter_map(|line| line.strip_prefix(SERVER)).collect()
    }

    const ALL: &[(&str, &str)] = &[
        ("master-1", "10.77.0.11"),
        ("master-2", "fd77::12 10.77.0.12"),
        ("m.zone-a", "10.77.0.13"),
    ];

    #[test]
    fn a_node_leads_to_the_masters_that_it_should() {
        let worker = view(Role::Worker, ALL);
        let joining = view(master("master-2"), ALL);
        let mut provisioned = joining.clone();
        provisioned.provisioned = true;
        let mut fallback = provisioned.clone();
        Arc::make_mut(&mut fallback.cluster).haproxy.fallback = true;
        let mut strange = worker.clone();
        strange.provisioned = true;
        for (view, want) in [
            (
                &worker,
                vec![
                    "master-1 10.77.0.11:6443",
                    "master-2 [fd77::12]:6443",
                    "m.zone-a 10.77.0.13:6443",
                ],
            ),
            // A worker is never provisioned.
            (
                &strange,
                vec![
                    "master-1 10.77.0.11:6443",
                    "master-2 [fd77::12]:6443",
                    "m.zone-a 10.77.0.13:6443",
                ],
            ),
            (
                &joining,
                vec![
                    "master-1 10.77.0.11:6443",
                    "master-2 127.0.0.1:6443",
                    "m.zone-a 10.77.0.13:6443",
                ],
            ),
            (
                &provisioned,
                vec!["master-2 127.0.0.1:6443 on-marked-up shutdown-backup-sessions"],
            ),
            (
                &fallback,
                vec![
                    "master-1 10.77.0.11:6443 backup",
                    "master-2 127.0.0.1:6443 on-marked-up shutdown-backup-sessions",
                    "m.zone-a 10.77.0.13:6443 backup",
                ],
            ),
        ] {
            assert_eq!(server_lines(&rendered(view, None)), want);
        }
    }

    #[test]
    fn health_is_by_name_once_there_is_an_authority() {
        let view = view(master("master-2"), ALL);
        let by_name = rendered(&view, Some(&authority("a")));
        assert_eq!(
            server_lines(&by_name)[1],
            "master-2 127.0.0.1:6443 verifyhost master-2.prod.k8s.internal \
             check-sni master-2.prod.k8s.internal"
        );
        let check = "check-ssl verify required ca-file '/etc/kubernetes/pki/ca.crt'";
        assert!(by_name.text.contains(check), "{}", by_name.text);
        assert_eq!(authority_of(&by_name.text), Some(&*"a".repeat(64)));
        let plain = rendered(&view, None);
        assert!(!plain.text.contains("ssl") && !plain.text.contains("httpchk"));
        assert_eq!(authority_of(&plain.text), None);
        // A changed authority has to be loaded.
        let changed = rendered(&view, Some(&authority("b")));
        assert!(!changed.has_structure_of(&by_name.text));
        assert_ne!(changed.structure, by_name.structure);
    }

    #[test]
    fn a_master_without_an_address_waits_for_it_without_a_reload() {
        let before = rendered(&view(Role::Worker, &ALL[..2]), None);
        assert_eq!(server_lines(&before)[2], "m.zone-a [100::]:6443 disabled");
        let after = rendered(&view(Role::Worker, ALL), None);
        assert_ne!(before.text, after.text);
        assert_eq!(before.structure, after.structure);
        assert!(after.has_structure_of(&before.text));
    }

    #[test]
    fn whatever_else_changes_is_structure() {
        let view = view(Role::Worker, ALL);
        let reference = rendered(&view, None);
        let changed = |change: fn(&mut View)| {
            let mut view = view.clone();
            change(&mut view);
            rendered(&view, None)
        };
        for (what, other) in [
            (
                "a master less",
                changed(|v| drop(Arc::make_mut(&mut v.cluster).masters.pop())),
            ),
            (
                "the order",
                changed(|v| Arc::make_mut(&mut v.cluster).masters.reverse()),
            ),
            (
                "the port",
                changed(|v| Arc::make_mut(&mut v.cluster).endpoint.port = 9443),
            ),
            (
                "the user",
                changed(|v| Arc::make_mut(&mut v.cluster).haproxy.user = Some("haproxy".into())),
            ),
        ] {
            assert_ne!(other.structure, reference.structure, "{what}");
            assert!(!other.has_structure_of(&reference.text), "{what}");
        }
        let edited = reference.text.replace("fall 2", "fall 200");
        assert!(!reference.has_structure_of(&edited));
        let added = format!("{}\n    server evil 10.0.0.1:6443\n", reference.text);
        assert!(!reference.has_structure_of(&added));
        assert!(!reference.has_structure_of(""));
    }

    #[test]
    fn knows_its_own_files() {
        assert!(is_ours(
            rendered(&view(Role::Worker, ALL), None).text.as_bytes()
        ));
        assert!(is_ours(b"") && is_ours(b"\n"));
        assert!(!is_ours(b"global\n    daemon\n"));
        assert!(!is_ours(b"\n# Written by stayput for x"));
    }

    #[test]
    fn paths_are_words() {
        for (path, want) in [
            ("/run/a b$HOME", Some("'/run/a b$HOME'")),
            ("/run/it's", Some(r"'/run/it'\''s'")),
            ("/run/a\n    stats enable", None),
        ] {
            assert_eq!(quoted(Path::new(path)).ok().as_deref(), want);
        }
    }

    proptest! {
        #[test]
        fn addresses_are_never_structure(
            one in proptest::collection::vec(any::<IpAddr>(), 0..3),
            other in proptest::collection::vec(any::<IpAddr>(), 0..3),
            provisioned: bool,
            local in proptest::option::of(0..3_usize),
        ) {
            let labels = ["master-1", "master-2", "m.zone-a"];
            let role = local.map_or(Role::Worker, |at| master(labels[at]));
            let render_with = |addresses: &[IpAddr]| {
                let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                let known: Vec<(&str, &str)> =
                    labels.into_iter().zip(texts.iter().map(String::as_str)).collect();
                let mut view = view(role.clone(), &known);
                view.provisioned = provisioned;
                Arc::make_mut(&mut view.cluster).haproxy.fallback = true;
                rendered(&view, None)
            };
            let (one, other) = (render_with(&one), render_with(&other));
            prop_assert_eq!(&one.structure, &other.structure);
            prop_assert!(one.has_structure_of(&other.text));
            prop_assert_eq!(one.servers == other.servers, one.text == other.text);
        }
    }
}
