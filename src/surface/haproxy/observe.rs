//! How the running HAProxy is doing, for `status` and `check`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::answers::{Info, ServerStatus};
use super::reload::taken;
use super::render::{Rendering, Server, authority_of};
use super::{Error, Haproxy};
use crate::name::Name;
use crate::view::View;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The process that answers; `None` while HAProxy is not running.
    pub running: Option<Info>,
    /// Whether that process runs the structure of this view.
    pub current: bool,
    /// Whether the file is what this view renders to.
    pub file_current: bool,
    /// Whether health is checked over TLS by the masters' names; otherwise by a TCP connection.
    pub by_name: bool,
    /// The servers of the view, in the order of the cluster file; empty while HAProxy is not
    /// running.
    pub servers: Vec<ObservedServer>,
    /// What is wrong, one line each.
    pub notices: Vec<String>,
}

/// One server of the view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedServer {
    /// The master.
    pub name: Name,
    /// Whether it is this node's own apiserver.
    pub local: bool,
    /// Where the view has it, with its port; `None` while that is not known.
    pub expected: Option<SocketAddr>,
    /// Whether HAProxy has it there.
    pub agrees: bool,
    /// What HAProxy says of it; `None` where it does not have it at all.
    pub status: Option<ServerStatus>,
}

impl Observation {
    /// Whether this node's own apiserver has just answered `/readyz` under the master's name. A
    /// plain TCP check does not count, nor does HAProxy's first guess before any check.
    pub fn local_ready(&self) -> bool {
        let proven = |s: &ObservedServer| s.status.as_ref().is_some_and(ServerStatus::is_proven);
        self.current && self.by_name && self.servers.iter().any(|s| s.local && proven(s))
    }

    /// Whether every surface reader would find HAProxy in agreement with the view.
    pub fn agrees(&self) -> bool {
        self.running.is_some()
            && self.current
            && self.file_current
            && self.servers.iter().all(|server| server.agrees)
    }
}

impl Haproxy {
    /// Looks at file and process and changes nothing. A HAProxy that is not there is no error.
    pub async fn observe(&self, view: &View) -> Result<Observation, Error> {
        let disk = self.look(view).await?;
        let wanted = disk.render(view)?;
        let api = self.api(view);
        let mut notices: Vec<String> = disk.notice().into_iter().collect();
        let (running, statistics) = match api.info().await {
            Ok(info) if info.structure.is_none() => {
                let socket = view.cluster.haproxy.socket.display();
                notices.push(format!(
                    "the HAProxy that answers on {socket} does not run stayput's configuration"
                ));
                (Some(info), Vec::new())
            }
            Ok(info) => (Some(info), api.statistics().await?),
            Err(error) => {
                notices.push(error.to_string());
                // One that hangs has the port itself.
                if error.is_dead() {
                    let other = self.in_the_way(view, None).await?;
                    notices.extend(other.map(|(wanted, holder)| taken(wanted, &holder)));
                }
                (None, Vec::new())
            }
        };
        if running.is_some() {
            notices.extend(disk.trust().notice(self.lost_trust));
        }
        let structure = running.as_ref().and_then(|info| info.structure.as_ref());
        Ok(Observation {
            current: structure == Some(&wanted.structure),
            file_current: disk.holds(&wanted),
            by_name: authority_of(&wanted.text).is_some(),
            servers: match running {
                Some(_) => observed(&wanted, &statistics),
                None => Vec::new(),
            },
            running,
            notices,
        })
    }
}

fn observed(wanted: &Rendering, statistics: &[ServerStatus]) -> Vec<ObservedServer> {
    let observed = |server: &Server| {
        let status = statistics.iter().find(|s| s.label == server.label).cloned();
        let rendered = server.socket_address();
        let there = status.as_ref().map(|s| s.address.parse::<SocketAddr>());
        ObservedServer {
            name: server.name.clone(),
            local: server.place.is_local(),
            expected: server.address.map(|_| rendered),
            agrees: there.is_some_and(|there| there == Ok(rendered)),
            status,
        }
    };
    wanted.servers.iter().map(observed).collect()
}
