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

use zeroize::Zeroizing;

use super::kubeconfig::{self, AUTHORITY, CERTIFICATE, Identity, KEY};
use crate::name::Name;

/// A master as a laptop sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// Fully qualified; its kube-apiserver has a certificate for it.
    pub name: Name,
    /// Its address, where the address book has one.
    pub address: Option<IpAddr>,
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
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be used, or not elsewhere.
    #[error(transparent)]
    Kubeconfig(#[from] kubeconfig::Error),
    /// A cluster without masters.
    #[error("there is no master to make a context for")]
    NoMaster,
}

/// The kubeconfig's text, made of admin.conf's. It holds a key: whoever has it is an administrator.
pub fn render(admin: &str, wanted: &Wanted) -> Result<Zeroizing<String>, Error> {
    let who = Identity::of(admin)?;
    let first = wanted.masters.first().ok_or(Error::NoMaster)?;
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
        format_args!("current-context: {}\n", context(first, wanted)),
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
