//! Kubeconfigs: read whoever made them, written as kubeadm does, and renewed by changing nothing but
//! the certificate and the key in their text.
//!
//! Only the current context counts, as for the processes that are given the file. Rules of what wins
//! over what are client-go's: data over file, the first of two entries of one name, the last of a field
//! that is given twice.

mod document;
mod identity;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use self::document::{Document, Entry};
pub(super) use self::identity::Identity;
use super::certificate::Certificate;
use super::key::PrivateKey;
use crate::yaml::{self, At, Tree};

/// kubeadm's name of the cluster.
const CLUSTER: &str = "kubernetes";

/// The fields of a cluster's authorities, and of a user's own certificate and key.
pub(super) const AUTHORITY: &str = "certificate-authority-data";
pub(super) const CERTIFICATE: &str = "client-certificate-data";
pub(super) const KEY: &str = "client-key-data";

/// What matters of a kubeconfig: the current context's cluster and user.
#[derive(Debug)]
pub struct Kubeconfig {
    /// The cluster's server URL.
    pub server: String,
    /// The cluster's authorities.
    pub authorities: Authorities,
    /// The user's certificate and key.
    pub client: Client,
}

/// Which authorities a kubeconfig trusts.
#[derive(Debug)]
pub enum Authorities {
    /// Those within the file; at least one.
    Embedded(Vec<Certificate>),
    /// Those of a file, by its path as written; a relative one starts at the kubeconfig's folder.
    File(String),
    /// Those of the machine, or none is asked for.
    System,
}

/// How a kubeconfig's user proves who it is.
#[derive(Debug)]
pub enum Client {
    /// Certificate (then its chain) and key are within the file.
    Embedded {
        /// The certificates; the first is the user's.
        certificates: Vec<Certificate>,
        /// Its key.
        key: Box<PrivateKey>,
    },
    /// They are in files of their own, such as the kubelet's, which renews them itself.
    Files {
        /// The certificate's path, as written.
        certificate: String,
        /// The key's path, as written.
        key: String,
    },
    /// A token, a program: none of stayput's business.
    Other,
}

/// Why a text is no kubeconfig that can be used. Nothing of a key is in any of the texts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not what a kubeconfig looks like.
    #[error("is no usable kubeconfig: {0}")]
    Unusable(String),
    /// What would be replaced cannot be found, or more than that would change.
    #[error("cannot be renewed in place: {0}; move it away and issue a new one")]
    Unchangeable(String),
    /// Another machine has no use for files of this one.
    #[error(
        "has no {0} within it; a kubeconfig that points to files or programs cannot be carried elsewhere"
    )]
    NotEmbedded(&'static str),
}

fn unusable(reason: impl Into<String>) -> Error {
    Error::Unusable(reason.into())
}

/// Reads a kubeconfig (YAML or JSON).
pub fn parse(bytes: &[u8]) -> Result<Kubeconfig, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| unusable("it is no UTF-8 text"))?;
    let document = Document::read(text)?;
    let current = document.current()?;
    let server = current
        .cluster
        .text("server")
        .ok_or_else(|| unusable("its cluster has no server"))?;
    Ok(Kubeconfig {
        server: server.to_owned(),
        authorities: authorities(&current.cluster)?,
        client: client(&current.user)?,
    })
}

/// A server that a kubeconfig names, whether its context is the current one or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The URL.
    pub url: String,
    /// The line in which it stands, from 1.
    pub line: Option<usize>,
    /// The PEM of the authorities within the file.
    pub authority: Option<Vec<u8>>,
}

/// The servers of all clusters of a kubeconfig, in their order.
pub fn servers(text: &str) -> Result<Vec<Server>, Error> {
    let document = Document::read(text)?;
    let server = |cluster: At<'_>| {
        let url = cluster.field("server")?;
        let data = cluster.field(AUTHORITY).and_then(|at| at.text());
        Some(Server {
            url: url.text()?.to_owned(),
            line: yaml::locate(text, &url.spot).map(|place| place.line),
            authority: data
                .and_then(|data| decoded(AUTHORITY, data).ok())
                .map(|pem| pem.to_vec()),
        })
    };
    Ok(document
        .clusters()?
        .into_iter()
        .filter_map(server)
        .collect())
}

fn authorities(cluster: &Entry<'_>) -> Result<Authorities, Error> {
    if let Some(data) = cluster.text(AUTHORITY) {
        let pem = decoded(AUTHORITY, data)?;
        let read = Certificate::parse_pem(&pem);
        return read
            .map(Authorities::Embedded)
            .map_err(|error| unusable(format!("its {AUTHORITY} {error}")));
    }
    let file = cluster.text("certificate-authority");
    Ok(file.map_or(Authorities::System, |path| {
        Authorities::File(path.to_owned())
    }))
}

fn client(user: &Entry<'_>) -> Result<Client, Error> {
    let half = |data: &str, file: &str| match (user.text(data), user.text(file)) {
        (Some(data), _) => Some((true, data.to_owned())),
        (None, file) => file.map(|path| (false, path.to_owned())),
    };
    let certificate = half(CERTIFICATE, "client-certificate");
    let key = half(KEY, "client-key").map(|(data, text)| (data, Zeroizing::new(text)));
    match (certificate, key) {
        (None, None) => Ok(Client::Other),
        (Some((true, certificate)), Some((true, key))) => {
            let pem = decoded(CERTIFICATE, &certificate)?;
            let certificates = Certificate::parse_pem(&pem)
                .map_err(|error| unusable(format!("its {CERTIFICATE} {error}")))?;
            let key = PrivateKey::from_pem(&decoded(KEY, &key)?)
                .map_err(|error| unusable(format!("its {KEY} {error}")))?;
            Ok(Client::Embedded {
                certificates,
                key: Box::new(key),
            })
        }
        (Some((false, certificate)), Some((false, key))) => Ok(Client::Files {
            certificate,
            key: key.to_string(),
        }),
        (Some(_), Some(_)) => Err(unusable(
            "of certificate and key one is within it and the other in a file",
        )),
        (Some(_), None) => Err(unusable("its user has a certificate and no key")),
        (None, Some(_)) => Err(unusable("its user has a key and no certificate")),
    }
}

/// Base64 as Go reads it: line breaks within are nothing.
fn decoded(field: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let bytes = STANDARD.decode(bare(text).as_bytes());
    bytes
        .map(Zeroizing::new)
        .map_err(|_| unusable(format!("its {field} is not base64")))
}

/// Base64 without white space.
fn bare(text: &str) -> Zeroizing<String> {
    // Never grown: a copy that was too short would stay in memory.
    let mut bare = Zeroizing::new(String::with_capacity(text.len()));
    bare.extend(text.chars().filter(|c| !c.is_ascii_whitespace()));
    bare
}

/// What a new kubeconfig says.
#[derive(Clone, Copy)]
pub struct New<'a> {
    /// The server's URL.
    pub server: &'a str,
    /// The authority's PEM.
    pub authority: &'a [u8],
    /// The user, as in the certificate's CN.
    pub user: &'a str,
    /// The certificate's PEM.
    pub certificate: &'a str,
    /// The key's PEM.
    pub key: &'a str,
}

impl New<'_> {
    /// The text, byte for byte as client-go writes it: keys in their order, one line for each value.
    pub fn render(&self) -> Zeroizing<String> {
        let user = scalar(self.user);
        let context = scalar(&format!("{}@{CLUSTER}", self.user));
        let server = scalar(self.server);
        let authority = STANDARD.encode(self.authority);
        let certificate = STANDARD.encode(self.certificate);
        let key = Zeroizing::new(STANDARD.encode(self.key));
        let mut text = Zeroizing::new(String::with_capacity(
            1024 + authority.len() + certificate.len() + key.len(),
        ));
        for part in [
            "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: ",
            &authority,
            "\n    server: ",
            &server,
            "\n  name: ",
            CLUSTER,
            "\ncontexts:\n- context:\n    cluster: ",
            CLUSTER,
            "\n    user: ",
            &user,
            "\n  name: ",
            &context,
            "\ncurrent-context: ",
            &context,
            "\nkind: Config\npreferences: {}\nusers:\n- name: ",
            &user,
            "\n  user:\n    client-certificate-data: ",
            &certificate,
            "\n    client-key-data: ",
            &key,
            "\n",
        ] {
            text.push_str(part);
        }
        text
    }
}

impl std::fmt::Debug for New<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("New")
            .field("server", &self.server)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A text as YAML: plain where it cannot be taken for anything else, else as JSON writes it.
fn scalar(text: &str) -> String {
    let plain = yaml::parse(text) == Ok(Tree::String(text.to_owned()))
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !text.ends_with(':')
        && !text.contains(['\n', '#'])
        && !text.contains(": ");
    if plain {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

/// The same text with another certificate and key (PEM) of the current context's user; every other
/// byte stays. Whatever else would change, it is refused.
pub fn renewed(text: &str, certificate: &str, key: &str) -> Result<Zeroizing<String>, Error> {
    changed(text, certificate, key, None)
}

/// The same text with the current context's server, authority, certificate and key as `new` has them;
/// every other byte stays. One in which they do not stand is written anew.
pub fn corrected(text: &str, new: &New<'_>) -> Result<Zeroizing<String>, Error> {
    match changed(text, new.certificate, new.key, Some(new)) {
        Err(Error::Unchangeable(_)) => Ok(new.render()),
        result => result,
    }
}

fn changed(
    text: &str,
    certificate: &str,
    key: &str,
    cluster: Option<&New<'_>>,
) -> Result<Zeroizing<String>, Error> {
    let document = Document::read(text)?;
    let current = document.current()?;
    let new_certificate = STANDARD.encode(certificate);
    let new_key = Zeroizing::new(STANDARD.encode(key));
    let mut changes = vec![
        current.user.change(CERTIFICATE, &new_certificate)?,
        current.user.change(KEY, &new_key)?,
    ];
    let new_authority = cluster.map(|new| STANDARD.encode(new.authority));
    if let (Some(new), Some(authority)) = (cluster, &new_authority) {
        changes.push(current.cluster.change(AUTHORITY, authority)?);
        changes.push(current.cluster.change("server", new.server)?);
    }
    let new = document.with(&changes)?;
    let Client::Embedded { certificates, key } = parse(new.as_bytes())?.client else {
        return Err(Error::Unchangeable("no certificate is within it".into()));
    };
    if certificates[0].public_key != key.public_key() {
        return Err(unusable(
            "the new key does not belong to the new certificate",
        ));
    }
    Ok(new)
}

#[cfg(test)]
mod tests;
