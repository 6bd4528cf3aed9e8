//! kube-apiserver: objects as JSON values, with the rights of a kubeconfig.
//!
//! Paths are those of the API, such as `/api/v1/namespaces/kube-system/configmaps/kube-proxy`
//! (Kubernetes API concepts: verbs, `resourceVersion`, `Status`).

mod error;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use hyper::Method;
use serde_json::Value;

pub use self::error::Error;
use super::directory::Directory;
use super::https::{Https, Identity, Place};
use super::identity;
use crate::config::Cluster;
use crate::pki::kubeconfig::{self, Authorities, Client, Kubeconfig};
use crate::root::Root;

/// kubeadm's kubeconfig of people: it may do everything.
pub const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// The kubelet's, which every node has: its own Node object and pods, Services, Endpoints to read.
pub const KUBELET: &str = "/etc/kubernetes/kubelet.conf";
/// A name that kubeadm and stayput put into every kube-apiserver's certificate, whatever else is in it.
const SERVICE: &str = "kubernetes";

/// A kube-apiserver, and who asks it.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    https: Https,
    as_of: PathBuf,
}

impl Kubernetes {
    /// By a kubeconfig, to the server that it names: where that is, the book says.
    pub fn from_kubeconfig(root: &Root, path: &Path, directory: &Directory) -> Result<Self, Error> {
        let config = read(root, path)?;
        let place = directory.place(&config.server);
        let place = place.map_err(|source| Error::Server {
            path: path.to_owned(),
            source,
        })?;
        Self::new(root, path, config, place)
    }

    /// By a kubeconfig, but to this machine's own kube-apiserver, whatever server it names.
    pub fn local_apiserver(root: &Root, path: &Path, cluster: &Cluster) -> Result<Self, Error> {
        let config = read(root, path)?;
        let port = cluster.kubernetes.api_port;
        let place = Place {
            addresses: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))],
            names: vec![Ipv4Addr::LOCALHOST.to_string()],
            port,
        };
        Self::new(root, path, config, place)
    }

    fn new(root: &Root, path: &Path, config: Kubeconfig, mut place: Place) -> Result<Self, Error> {
        let unusable = |reason: &str| Error::Kubeconfig {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        // Relative paths start at the kubeconfig's folder.
        let beside = |file: &str| path.parent().unwrap_or(Path::new("/")).join(file);
        let authorities = match config.authorities {
            Authorities::Embedded(authorities) => authorities,
            Authorities::File(file) => identity::certificates(root, &beside(&file))?,
            Authorities::System => {
                return Err(unusable(
                    "it names no certificate authority, so that the server cannot be verified",
                ));
            }
        };
        let identity = match config.client {
            Client::Embedded { certificates, key } => Identity {
                certificates,
                key: *key,
            },
            Client::Files { certificate, key } => {
                identity::identity(root, &beside(&certificate), &beside(&key))?
            }
            Client::Other => {
                return Err(unusable(
                    "its user has no client certificate; tokens and programs are not used here",
                ));
            }
        };
        if !place.names.iter().any(|name| name == SERVICE) {
            place.names.push(SERVICE.to_owned());
        }
        let whom = format!("kube-apiserver at {}", config.server);
        let whom = match place.addresses.first() {
            Some(address) if place.addresses.len() == 1 => format!("kube-apiserver at {address}"),
            _ => whom,
        };
        Ok(Self {
            https: Https::new(&whom, place, &authorities, Some(&identity))?,
            as_of: path.to_owned(),
        })
    }

    /// An object; `None` where there is none of that name.
    pub async fn get(&self, path: &str) -> Result<Option<Value>, Error> {
        match self.ask(Method::GET, path, None).await {
            Err(Error::NotFound { .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// The objects of a list.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, Error> {
        let mut list = self.ask(Method::GET, path, None).await?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            // An empty list, as Go writes one that was never filled.
            Some(Value::Null) => Ok(Vec::new()),
            _ => Err(self.malformed(path, "it is no list")),
        }
    }

    /// Makes an object in a collection; one of that name that is there already is
    /// [`Error::Conflict`].
    pub async fn create(&self, collection: &str, object: &Value) -> Result<Value, Error> {
        let body = ("application/json", object.to_string());
        self.ask(Method::POST, collection, Some(body)).await
    }

    /// Puts a whole object in the old one's place. Carries it the `resourceVersion` that was read, a
    /// change by another since then is [`Error::Conflict`]: read, decide and write again.
    pub async fn replace(&self, path: &str, object: &Value) -> Result<Value, Error> {
        let body = ("application/json", object.to_string());
        self.ask(Method::PUT, path, Some(body)).await
    }

    /// Changes fields of an object (RFC 7396: `null` removes one).
    pub async fn merge_patch(&self, path: &str, changes: &Value) -> Result<Value, Error> {
        let body = ("application/merge-patch+json", changes.to_string());
        self.ask(Method::PATCH, path, Some(body)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, String)>,
    ) -> Result<Value, Error> {
        let asked = format!("{method} {path}");
        let body = body.map(|(kind, text)| (kind, text.into_bytes()));
        let answer = self.https.request(method, path, body).await?;
        if (200..300).contains(&answer.status) {
            let value = serde_json::from_slice(&answer.body);
            return value.map_err(|error| self.malformed(path, &error.to_string()));
        }
        let reason = error::status_message(&answer.body);
        Err(error::meaning(
            self.https.whom(),
            &self.as_of,
            asked,
            answer.status,
            reason,
        ))
    }

    fn malformed(&self, path: &str, reason: &str) -> Error {
        Error::Malformed {
            whom: self.https.whom().to_owned(),
            asked: path.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

fn read(root: &Root, path: &Path) -> Result<Kubeconfig, Error> {
    let bytes = identity::bytes(root, path)?;
    kubeconfig::parse(&bytes).map_err(|error| Error::Kubeconfig {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
