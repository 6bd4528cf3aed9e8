//! What HAProxy's Runtime API answers, parsed (management guide, section 9.3).
//!
//! Fields are found by their names, so that columns which a later release adds change nothing.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::render::DESCRIPTION;

/// `show info`: the running process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// HAProxy's release, such as `2.6.12-1+deb12u4`.
    pub version: String,
    /// The worker that answers.
    pub pid: u32,
    /// Seconds since the worker was started.
    pub uptime: u64,
    /// The digest of the structure that it was started with; `None` where it runs a configuration
    /// that is not stayput's.
    pub structure: Option<String>,
}

/// A line of `show servers state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerState {
    /// The server's name.
    pub label: String,
    /// Where it is now.
    pub address: SocketAddr,
    /// Taken out of use by an administrator, by `disabled` in the file or over the Runtime API.
    pub maintenance: bool,
}

/// A server in `show stat`: its health and its load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// The server's name.
    pub label: String,
    /// Address and port, as HAProxy writes them.
    pub address: String,
    /// `UP`, `DOWN`, `MAINT`, `no check`; with a counter while it changes: `UP 1/2`.
    pub status: String,
    /// The last check in HAProxy's word: `L7OK`, `L4CON`, `L6RSP`; empty before the first one.
    pub check: String,
    /// The status code of the last check's HTTP answer.
    pub check_code: Option<u16>,
    /// The last check for people; empty before the first one.
    pub check_text: String,
    /// Sessions open now.
    pub sessions: u64,
    /// Seconds since the status changed.
    pub since: u64,
}

impl ServerStatus {
    /// Whether new connections are passed to it.
    pub fn is_up(&self) -> bool {
        self.status.starts_with("UP") || self.status == "no check"
    }

    /// Whether it has been seen healthy by an HTTP check, not merely been taken for healthy as it
    /// is before its first check.
    pub fn is_proven(&self) -> bool {
        self.is_up() && self.check.trim_start_matches("* ") == "L7OK"
    }
}

/// An answer that could not be understood: the field that is missing or odd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field '{0}' is missing or not as expected")]
pub struct Unexpected(pub &'static str);

/// Parses the answer to `show info`: a name, a colon and a value per line.
pub fn info(answer: &str) -> Result<Info, Unexpected> {
    let fields: HashMap<&str, &str> = answer
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let text = |name: &'static str| fields.get(name).copied().ok_or(Unexpected(name));
    let description = fields.get("description").copied();
    Ok(Info {
        version: text("Version")?.to_owned(),
        pid: text("Pid")?.parse().map_err(|_| Unexpected("Pid"))?,
        uptime: text("Uptime_sec")?
            .parse()
            .map_err(|_| Unexpected("Uptime_sec"))?,
        structure: description
            .and_then(|d| d.strip_prefix(DESCRIPTION))
            .map(str::to_owned),
    })
}

/// Parses the answer to `show servers state BACKEND`: a version, a line of column names behind a
/// hash, then a line per server, separated by blanks. A backend without servers has no lines.
pub fn servers_state(answer: &str) -> Result<Vec<ServerState>, Unexpected> {
    /// Bits of `srv_admin_state` that keep a server out of use: forced, inherited, or for want of
    /// an address. (0x04 only remembers that the file had it disabled at the start.)
    const MAINTENANCE: u32 = 0x01 | 0x02 | 0x20;
    let header = answer.lines().find_map(|line| line.strip_prefix("# "));
    let columns: Vec<&str> = header.ok_or(Unexpected("# be_id"))?.split(' ').collect();
    let rows = answer
        .lines()
        .skip_while(|line| !line.starts_with("# "))
        .skip(1)
        .filter(|line| !line.trim().is_empty());
    rows.map(|row| {
        let values: Vec<&str> = row.split(' ').collect();
        let value = |name: &'static str| {
            let column = columns.iter().position(|column| *column == name);
            let value = column.and_then(|column| values.get(column));
            value.copied().ok_or(Unexpected(name))
        };
        let address: IpAddr = value("srv_addr")?
            .parse()
            .map_err(|_| Unexpected("srv_addr"))?;
        let port: u16 = value("srv_port")?
            .parse()
            .map_err(|_| Unexpected("srv_port"))?;
        let admin = value("srv_admin_state")?.parse::<u32>();
        let admin = admin.map_err(|_| Unexpected("srv_admin_state"))?;
        Ok(ServerState {
            label: value("srv_name")?.to_owned(),
            address: SocketAddr::new(address, port),
            maintenance: admin & MAINTENANCE != 0,
        })
    })
    .collect()
}

/// Parses the answer to `show stat BACKEND 4 -1 json`: a list of objects, each a list of fields.
pub fn statistics(answer: &str) -> Result<Vec<ServerStatus>, Unexpected> {
    let objects: Vec<Vec<Field>> =
        serde_json::from_str(answer).map_err(|_| Unexpected("the list of objects"))?;
    objects.into_iter().map(status).collect()
}

#[derive(Deserialize)]
struct Field {
    field: FieldName,
    value: FieldValue,
}

#[derive(Deserialize)]
struct FieldName {
    name: String,
}

#[derive(Deserialize)]
struct FieldValue {
    value: serde_json::Value,
}

fn status(object: Vec<Field>) -> Result<ServerStatus, Unexpected> {
    let fields: HashMap<String, serde_json::Value> = object
        .into_iter()
        .map(|field| (field.field.name, field.value.value))
        .collect();
    let text = |name: &str| Some(fields.get(name)?.as_str()?.to_owned());
    let number = |name: &str| fields.get(name)?.as_u64();
    // Servers in maintenance and servers before their first check have no fields of checks.
    let description = text("check_desc").unwrap_or_default();
    let details = text("last_chk").filter(|details| !details.is_empty());
    Ok(ServerStatus {
        label: text("svname").ok_or(Unexpected("svname"))?,
        address: text("addr").unwrap_or_default(),
        status: text("status").ok_or(Unexpected("status"))?,
        check: text("check_status").unwrap_or_default(),
        check_code: number("check_code").and_then(|code| u16::try_from(code).ok()),
        check_text: match details {
            Some(details) => format!("{description}: {details}"),
            None => description,
        },
        sessions: number("scur").ok_or(Unexpected("scur"))?,
        since: number("lastchg").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_answer_is_too_odd(answer: String, row in "[ -~]{0,80}") {
            let _ = info(&answer);
            let _ = statistics(&answer);
            let _ = servers_state(&answer);
            let _ = servers_state(&format!("{HEADER}{row}\n{answer}"));
        }
    }

    const HEADER: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n";

    #[test]
    fn reads_a_process() {
        let answer = "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 15853\nUptime: 0d 0h00m05s\nUptime_sec: 5\nnode: vm\ndescription: stayput 0123456789abcdef\n\n";
        let info = super::info(answer).unwrap();
        assert_eq!((info.pid, info.uptime), (15853, 5));
        assert_eq!(info.version, "2.6.12-1+deb12u4");
        assert_eq!(info.structure.as_deref(), Some("0123456789abcdef"));
        let foreign = answer.replace("stayput ", "edge ");
        assert_eq!(super::info(&foreign).unwrap().structure, None);
        assert_eq!(super::info("\n"), Err(Unexpected("Version")));
    }

    #[test]
    fn reads_servers() {
        let answer = format!(
            "{HEADER}3 masters 1 master-1 127.0.0.1 2 0 1 1 5 15 3 2 6 0 0 0 - 6443 - 0 0 - - 0\n\
             3 masters 2 master-2 100:: 0 5 1 1 5 1 0 0 14 0 0 0 - 6443 - 0 0 - - 0\n\
             3 masters 3 master-3 fd77::99 2 4 1 1 0 1 0 1 6 0 0 0 - 6443 - 0 0 - - 0\n\n"
        );
        let servers = servers_state(&answer).unwrap();
        let told: Vec<(&str, String, bool)> = servers
            .iter()
            .map(|s| (s.label.as_str(), s.address.to_string(), s.maintenance))
            .collect();
        assert_eq!(
            told,
            [
                ("master-1", "127.0.0.1:6443".into(), false),
                ("master-2", "[100::]:6443".into(), true),
                ("master-3", "[fd77::99]:6443".into(), false),
            ]
        );
        assert_eq!(servers_state(HEADER).unwrap(), []);
        assert!(servers_state("Can't find backend.\n\n").is_err());
        assert!(servers_state(&format!("{HEADER}3 masters 1 master-1 -\n")).is_err());
    }

    #[test]
    fn reads_statistics() {
        let field = |name: &str, value: &str| {
            format!(
                r#"{{"objType":"Server","field":{{"pos":1,"name":"{name}"}},"value":{{"type":"x","value":{value}}}}}"#
            )
        };
        let object = |fields: &[(&str, &str)]| {
            let fields: Vec<String> = fields.iter().map(|(n, v)| field(n, v)).collect();
            format!("[{}]", fields.join(","))
        };
        let down = object(&[
            ("svname", r#""master-1""#),
            ("status", r#""DOWN""#),
            ("check_status", r#""L6RSP""#),
            ("check_desc", r#""Layer6 invalid response""#),
            ("last_chk", r#""SSL handshake failure, \"name\"""#),
            ("scur", "3"),
            ("addr", r#""[fd77::12]:6443""#),
            ("lastchg", "7"),
        ]);
        let fresh = object(&[
            ("svname", r#""master-2""#),
            ("status", r#""UP""#),
            ("scur", "0"),
        ]);
        let proven = object(&[
            ("svname", r#""master-3""#),
            ("status", r#""UP""#),
            ("scur", "0"),
            ("check_status", r#""* L7OK""#),
            ("check_code", "401"),
        ]);
        let servers = statistics(&format!("[{down},{fresh},{proven}]")).unwrap();
        assert_eq!(
            servers[0].check_text,
            "Layer6 invalid response: SSL handshake failure, \"name\""
        );
        assert_eq!((servers[0].sessions, servers[0].since), (3, 7));
        assert!(!servers[0].is_up());
        assert!(servers[1].is_up() && !servers[1].is_proven());
        assert!(servers[2].is_proven());
        assert_eq!(servers[2].check_code, Some(401));
        assert!(statistics("No such proxy.").is_err());
    }
}
