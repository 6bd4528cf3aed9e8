//! A kubeconfig for a machine outside of the cluster, such as a laptop.
//!
//! admin.conf points to the endpoint name, which is loopback on every node and nothing at all
//! elsewhere. So the laptop gets a context for each master, with a server that it can reach, and
//! `tls-server-name` says which name of the certificate is to be checked, because an address that can
//! change is in none. The address may change; then the file is made again, or made with names.
//!
//! Pure: the certificate and key of admin.conf are carried over as they stand in it.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::certificate::Certificate;
use super::key::PrivateKey;
use crate::name::Name;
use crate::yaml::{self, Tree};

/// A master as a laptop sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// Fully qualified; its kube-apiserver has a certificate for it.
    pub name: Name,
    /// Its address, where the address book has one.
    pub address: Option<IpAddr>,
    /// Whether its kube-apiserver was seen to answer; a first guess at which context is of use.
    pub reachable: bool,
}

/// What the file is to say, beside the certificate and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The cluster's domain; contexts are called `master-1@DOMAIN`, so that files of several clusters
    /// can be merged (kubeadm calls every cluster `kubernetes`).
    pub domain: Name,
    /// kube-apiserver's port on the masters.
    pub port: u16,
    /// A context for each.
    pub masters: Vec<Master>,
    /// Servers are the masters' names, for a laptop that can resolve them. A master whose address is
    /// not known is named in any case.
    pub by_name: bool,
}

/// Why no kubeconfig can be made of this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not YAML.
    #[error("is no YAML: {0}")]
    Yaml(#[from] yaml::Error),
    /// Something that a kubeconfig has is missing.
    #[error("has no {0}")]
    Lacks(&'static str),
    /// A laptop has no use for files of this machine.
    #[error(
        "has no {0} within it; a kubeconfig that points to files or programs cannot be carried elsewhere"
    )]
    NotEmbedded(&'static str),
    /// What is within it is of no use.
    #[error("holds a {what} that cannot be used: {reason}")]
    Unusable {
        /// The field.
        what: &'static str,
        /// Why not; nothing of the contents.
        reason: String,
    },
    /// A cluster without masters.
    #[error("there is no master to make a context for")]
    NoMaster,
}

const AUTHORITY: &str = "certificate-authority-data";
const CERTIFICATE: &str = "client-certificate-data";
const KEY: &str = "client-key-data";

/// The kubeconfig's text, made of admin.conf's. It holds a key: whoever has it is an administrator.
pub fn render(admin: &str, wanted: &Wanted) -> Result<Zeroizing<String>, Error> {
    let who = Identity::of(admin)?;
    let first = wanted.masters.first().ok_or(Error::NoMaster)?;
    let current = wanted.masters.iter().find(|m| m.reachable).unwrap_or(first);
    let user = quoted(&format!("{}@{}", who.user, wanted.domain.as_str()));

    let masters = wanted.masters.len() * (who.authority.len() + 2048);
    let room = masters + who.certificate.len() + who.key.len() + 2048;
    // Never grown: a copy that was too short would stay in memory, with the key in it.
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str("apiVersion: v1\nkind: Config\nclusters:\n");
    for master in &wanted.masters {
        let (name, server) = (
            quoted(master.name.as_str()),
            quoted(&server(master, wanted)),
        );
        put(
            &mut text,
            format_args!("- name: {name}\n  cluster:\n    server: {server}\n"),
        );
        put(&mut text, format_args!("    tls-server-name: {name}\n"));
        put(
            &mut text,
            format_args!("    {AUTHORITY}: {}\n", *who.authority),
        );
    }
    text.push_str("contexts:\n");
    for master in &wanted.masters {
        let (context, cluster) = (context(master, wanted), quoted(master.name.as_str()));
        put(
            &mut text,
            format_args!("- name: {context}\n  context:\n    cluster: {cluster}\n"),
        );
        put(&mut text, format_args!("    user: {user}\n"));
    }
    put(
        &mut text,
        format_args!("current-context: {}\n", context(current, wanted)),
    );
    put(&mut text, format_args!("users:\n- name: {user}\n  user:\n"));
    put(
        &mut text,
        format_args!("    {CERTIFICATE}: {}\n", *who.certificate),
    );
    put(&mut text, format_args!("    {KEY}: {}\n", *who.key));
    Ok(text)
}

fn server(master: &Master, wanted: &Wanted) -> String {
    match master.address {
        Some(address) if !wanted.by_name => {
            format!("https://{}", SocketAddr::from((address, wanted.port)))
        }
        _ => format!("https://{}:{}", master.name.as_str(), wanted.port),
    }
}

fn context(master: &Master, wanted: &Wanted) -> String {
    let name = &master.name;
    let short = name.relative_to(&wanted.domain).unwrap_or(name.as_str());
    quoted(&format!("{short}@{}", wanted.domain.as_str()))
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a text cannot fail.
    let _ = text.write_fmt(what);
}

/// A text in double quotes. What JSON makes of it YAML reads the same (YAML 1.2, 1.3).
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Base64 without white space.
type Base64 = Zeroizing<String>;

/// Who admin.conf says one is.
struct Identity {
    user: String,
    authority: Base64,
    certificate: Base64,
    key: Base64,
}

impl Identity {
    /// Of the current context.
    fn of(kubeconfig: &str) -> Result<Self, Error> {
        let tree = yaml::parse(kubeconfig)?;
        let current = text(&tree, "current-context").ok_or(Error::Lacks("current-context"))?;
        let context = named(&tree, "contexts", current, "context").ok_or(Error::Lacks(
            "context of the name that current-context says",
        ))?;
        let part = |inner, list| named(&tree, list, text(context, inner)?, inner);
        let cluster = part("cluster", "clusters")
            .ok_or(Error::Lacks("cluster of the name that its context says"))?;
        let user =
            part("user", "users").ok_or(Error::Lacks("user of the name that its context says"))?;

        let (authority, pem) = embedded(cluster, AUTHORITY)?;
        certificate(&pem, AUTHORITY)?;
        let (chain, pem) = embedded(user, CERTIFICATE)?;
        let leaf = certificate(&pem, CERTIFICATE)?;
        let (key, pem) = embedded(user, KEY)?;
        let pair = PrivateKey::from_pem(&pem).map_err(|error| unusable(KEY, error.to_string()))?;
        if leaf.public_key != pair.public_key() {
            let reason = format!("it is not the key of {CERTIFICATE}");
            return Err(unusable(KEY, reason));
        }
        Ok(Self {
            user: leaf.profile.common_name,
            authority,
            certificate: chain,
            key,
        })
    }
}

/// The value of a key of a mapping. Of one that is given twice kubectl takes the last.
fn value<'a>(tree: &'a Tree, key: &str) -> Option<&'a Tree> {
    let Tree::Mapping(entries) = tree else {
        return None;
    };
    let entry = entries.iter().rfind(|(name, _)| name == key);
    entry.map(|(_, value)| value)
}

fn text<'a>(tree: &'a Tree, key: &str) -> Option<&'a str> {
    match value(tree, key) {
        Some(Tree::String(text)) => Some(text),
        _ => None,
    }
}

/// Of the list `list`, the part `inner` of the entry that is called `name`.
fn named<'a>(tree: &'a Tree, list: &str, name: &str, inner: &str) -> Option<&'a Tree> {
    let Some(Tree::Sequence(entries)) = value(tree, list) else {
        return None;
    };
    let entry = entries
        .iter()
        .find(|entry| text(entry, "name") == Some(name));
    value(entry?, inner)
}

/// A value that is base64: as text without white space, and decoded.
fn embedded(tree: &Tree, key: &'static str) -> Result<(Base64, Zeroizing<Vec<u8>>), Error> {
    let text = text(tree, key).ok_or(Error::NotEmbedded(key))?;
    let mut bare = Zeroizing::new(String::with_capacity(text.len()));
    bare.extend(text.chars().filter(|c| !c.is_ascii_whitespace()));
    let mut bytes = Zeroizing::new(vec![0; bare.len()]);
    match STANDARD.decode_slice(bare.as_bytes(), &mut bytes) {
        Ok(length) => bytes.truncate(length),
        Err(_) => return Err(unusable(key, "it is not base64".into())),
    }
    Ok((bare, bytes))
}

/// The first certificate of a text of which all can be read.
fn certificate(pem: &[u8], what: &'static str) -> Result<Certificate, Error> {
    let all = Certificate::parse_pem(pem).map_err(|error| unusable(what, error.to_string()))?;
    let first = all.into_iter().next();
    first.ok_or_else(|| unusable(what, "it holds no certificate".into()))
}

fn unusable(what: &'static str, reason: String) -> Error {
    Error::Unusable { what, reason }
}
