//! Rows of the catalogue: those of the built-in list and the operator's are read and judged alike.

use std::fmt::Display;
use std::path::{Component, Path, PathBuf};

use super::certificates;
use super::read::{Fields, Value};
use super::report::{Located, Place, Report};
use super::scalar;
use crate::name::Name;
use crate::pki::catalogue::{Reload, Row, RowKind, Server, User};
use crate::pki::profile::Usages;
use crate::pki::template;

/// The keys of a row.
const KEYS: [&str; 14] = [
    "id",
    "path",
    "kind",
    "authority",
    "commonName",
    "organizations",
    "usages",
    "names",
    "server",
    "keyType",
    "since",
    "until",
    "newClusterOnly",
    "users",
];
/// Ids go into the names of files that stayput keeps.
const MAX_ID: usize = 64;

/// A row with the places of what is checked against other settings.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) row: Row,
    pub(super) names: Vec<Located<String>>,
    pub(super) id: Place,
    pub(super) common_name: Place,
    pub(super) organizations: Place,
    pub(super) path: Place,
    pub(super) authority: Place,
}

/// Reads rows, each by itself.
pub(super) fn entries(list: &Value<'_>, report: &mut Report) -> Option<Vec<Entry>> {
    let of = "rows, such as {id: metrics, path: pki/metrics, kind: leaf, authority: ca, commonName: metrics, usages: [server]}";
    let items = list.list(of, report)?;
    let entries: Vec<Option<Entry>> = items.iter().map(|item| entry(item, report)).collect();
    entries.into_iter().collect()
}

fn entry(item: &Value<'_>, report: &mut Report) -> Option<Entry> {
    let fields = item.fields(&KEYS, report)?;
    let id = fields.required("id", "write a short name such as metrics", report);
    let id = id.and_then(|value| value.parsed_by(self::id, report));
    let shape = shape(&fields, report);
    let path = fields.required("path", "write one such as pki/metrics", report);
    let path = shape.zip(path).and_then(|(shape, value)| {
        let parse = match shape {
            Shape::Kubeconfig => kubeconfig_path,
            Shape::Authority | Shape::Leaf | Shape::KeyPair => pair_path,
        };
        value.parsed_by(parse, report)
    });
    let kind = shape.and_then(|shape| kind(shape, &fields, report));
    let subject = shape.and_then(|shape| subject(shape, &fields, report));
    let release = |key, report: &mut Report| {
        fields.or(
            key,
            || None,
            report,
            |value, report| scalar::minor(value, report).map(Some),
        )
    };
    let (since, until) = (release("since", report)?, release("until", report)?);
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        let message = format!("1.{until} is before since, 1.{since}; swap them");
        report.add(&fields.at("until"), message);
    }
    let key_type = fields.or(
        "keyType",
        || None,
        report,
        |value, report| {
            value
                .parsed_by(|text| certificates::key_type(text, None), report)
                .map(Some)
        },
    );
    let new_cluster_only = fields.or("newClusterOnly", || false, report, Value::flag);
    let users = fields.or("users", Vec::new, report, users);
    let subject = subject?;
    let names = subject.names;
    Some(Entry {
        row: Row {
            id: id?,
            path: path?,
            kind: kind?,
            common_name: subject.common_name,
            organizations: subject.organizations,
            usages: subject.usages,
            names: names.iter().map(|name| name.value.clone()).collect(),
            since,
            until,
            key_type: key_type?,
            new_cluster_only: new_cluster_only?,
            users: users?,
        },
        names,
        id: fields.at("id"),
        common_name: fields.at("commonName"),
        organizations: fields.at("organizations"),
        path: fields.at("path"),
        authority: fields.at("authority"),
    })
}

/// A kind by its word; the other keys depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Authority,
    Leaf,
    Kubeconfig,
    KeyPair,
}

/// The kind, and a note of each key that no row of this kind has.
fn shape(fields: &Fields<'_>, report: &mut Report) -> Option<Shape> {
    let help = "write authority, leaf, kubeconfig or keyPair";
    let value = fields.required("kind", help, report)?;
    let (shape, foreign): (_, &[&str]) = value.parsed_by(
        |text| match text {
            "authority" => Ok((Shape::Authority, &["authority", "usages", "server"][..])),
            "leaf" => Ok((Shape::Leaf, &["server"][..])),
            "kubeconfig" => Ok((Shape::Kubeconfig, &[][..])),
            "keyPair" => Ok((Shape::KeyPair, &KEY_PAIR_LACKS[..])),
            other => Err(format!("'{other}' is not a kind; {help}")),
        },
        report,
    )?;
    for key in foreign.iter().filter(|key| fields.get(key).is_some()) {
        let place = fields.at(key).key_itself();
        report.add(&place, "has no meaning for this kind; remove it");
    }
    Some(shape)
}

const KEY_PAIR_LACKS: [&str; 6] = [
    "authority",
    "commonName",
    "organizations",
    "usages",
    "names",
    "server",
];

fn kind(shape: Shape, fields: &Fields<'_>, report: &mut Report) -> Option<RowKind> {
    let mut authority = || {
        let value = fields.required("authority", "write the id of one, such as ca", report)?;
        value.text(report).map(str::to_owned)
    };
    match shape {
        Shape::Authority => Some(RowKind::Authority),
        Shape::KeyPair => Some(RowKind::KeyPair),
        Shape::Leaf => authority().map(|authority| RowKind::Leaf { authority }),
        Shape::Kubeconfig => {
            let authority = authority();
            let help = "write endpoint or local";
            let server = fields.required("server", help, report);
            let server = server.and_then(|value| {
                value.parsed_by(
                    |text| match text {
                        "endpoint" => Ok(Server::Endpoint),
                        "local" => Ok(Server::Local),
                        other => Err(format!("'{other}' is not a server; {help}")),
                    },
                    report,
                )
            });
            Some(RowKind::Kubeconfig {
                authority: authority?,
                server: server?,
            })
        }
    }
}

/// What the certificate says.
#[derive(Debug, Default)]
struct Subject {
    common_name: String,
    organizations: Vec<String>,
    usages: Usages,
    names: Vec<Located<String>>,
}

fn subject(shape: Shape, fields: &Fields<'_>, report: &mut Report) -> Option<Subject> {
    if shape == Shape::KeyPair {
        return Some(Subject::default());
    }
    let help = "write the subject's CN: to Kubernetes, the user";
    let common_name = fields.required("commonName", help, report);
    let common_name =
        common_name.and_then(|value| templated(value, template::check_subject, report));
    let organizations = fields.or("organizations", Vec::new, report, |list, report| {
        let items = list.list("texts, such as [\"system:nodes\"]", report)?;
        let check = template::check_subject;
        let texts: Vec<_> = items.iter().map(|i| templated(i, check, report)).collect();
        texts.into_iter().collect()
    });
    let names = fields.or("names", Vec::new, report, |list, report| {
        names(list, report)?.into_iter().collect()
    });
    let usages = match shape {
        Shape::Authority | Shape::KeyPair => Some(Usages::default()),
        Shape::Leaf | Shape::Kubeconfig => {
            let help = "write [server], [client] or [server, client]";
            let list = fields.required("usages", help, report);
            list.and_then(|list| usages(list, shape, report))
        }
    };
    Some(Subject {
        common_name: common_name?,
        organizations: organizations?,
        usages: usages?,
        names: names?,
    })
}

fn usages(list: &Value<'_>, shape: Shape, report: &mut Report) -> Option<Usages> {
    let mut usages = Usages::default();
    for item in list.list("usages, such as [server, client]", report)? {
        match item.text(report)? {
            "server" => usages.server = true,
            "client" => usages.client = true,
            other => {
                let message = format!("'{other}' is not a usage; use server or client");
                report.add(&item.place, message);
                return None;
            }
        }
    }
    let message = match shape {
        Shape::Kubeconfig if !usages.client => {
            "lacks client; a kubeconfig's certificate is a client's"
        }
        _ if usages == Usages::default() => "is empty; write server, client or both",
        _ => return Some(usages),
    };
    report.add(&list.place, message);
    None
}

/// Names and addresses for certificates, as templates; nothing in the place of a wrong one.
pub(super) fn names(list: &Value<'_>, report: &mut Report) -> Option<Vec<Option<Located<String>>>> {
    let items = list.list("names and addresses, such as [api.example.com]", report)?;
    let name = |item: &Value<'_>| {
        let name = templated(item, template::check_name, report)?;
        Some(item.located(name))
    };
    Some(items.iter().map(name).collect())
}

fn templated<E: Display>(
    value: &Value<'_>,
    check: impl FnOnce(&str) -> Result<(), E>,
    report: &mut Report,
) -> Option<String> {
    value.parsed_by(|text| check(text).map(|()| text.to_owned()), report)
}

fn users(list: &Value<'_>, report: &mut Report) -> Option<Vec<User>> {
    let of = "users, such as {process: nginx, reload: itself}";
    let items = list.list(of, report)?;
    let users: Vec<Option<User>> = items.iter().map(|item| user(item, report)).collect();
    users.into_iter().collect()
}

fn user(item: &Value<'_>, report: &mut Report) -> Option<User> {
    let fields = item.fields(&["process", "reload"], report)?;
    let help = "write itself, staticPod or nextRun";
    let reload = fields.required("reload", help, report);
    let reload = reload.and_then(|value| {
        value.parsed_by(
            |text| match text {
                "itself" => Ok(Reload::Itself),
                "staticPod" => Ok(Reload::StaticPod),
                "nextRun" => Ok(Reload::NextRun),
                other => Err(format!("'{other}' is not a way; {help}")),
            },
            report,
        )
    });
    let process = fields.required("process", "write one such as nginx", report)?;
    let process = match reload? {
        // It becomes the name of a manifest's file.
        Reload::StaticPod => process.parsed_by(Name::parse, report)?.to_string(),
        Reload::Itself | Reload::NextRun => process.text(report)?.to_owned(),
    };
    Some(User {
        process,
        reload: reload?,
    })
}

/// An id: what can be typed, and stand in a file's name, without quotes.
fn id(text: &str) -> Result<String, String> {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let later = |c: char| first(c) || "-.".contains(c);
    if text.starts_with(first) && text.chars().all(later) && text.len() <= MAX_ID {
        return Ok(text.to_owned());
    }
    Err(format!(
        "'{text}' is not an id; use up to {MAX_ID} lower-case letters, digits, hyphens and dots, such as metrics"
    ))
}

/// A pair's path, without its endings.
fn pair_path(text: &str) -> Result<PathBuf, String> {
    let path = plain(text)?;
    if !path.starts_with("pki") || path.components().count() < 2 {
        return Err(format!(
            "'{text}' is not below pki; write one such as pki/metrics"
        ));
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    if let Some(ending @ ("crt" | "key" | "pub" | "pem")) = ending {
        return Err(format!(
            "'{text}' ends in .{ending}; leave the ending out, there are two files"
        ));
    }
    Ok(path)
}

/// A kubeconfig's path.
fn kubeconfig_path(text: &str) -> Result<PathBuf, String> {
    let path = plain(text)?;
    let ending = path.extension().and_then(|ending| ending.to_str());
    if ending != Some("conf") || path.components().count() != 1 {
        return Err(format!(
            "'{text}' is not a kubeconfig's path; write one such as viewer.conf"
        ));
    }
    Ok(path)
}

/// A relative path of plain names. A hidden one could be one of stayput's own.
fn plain(text: &str) -> Result<PathBuf, String> {
    let path: PathBuf = Path::new(text).components().collect();
    let part = |part: Component<'_>| match part {
        Component::Normal(part) => !part.to_string_lossy().starts_with('.'),
        _ => false,
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if path.as_os_str() != text || !path.components().all(part) || !text.chars().all(allowed) {
        return Err(format!(
            "'{text}' is not a plain path below /etc/kubernetes; write letters, digits and . _ - +, no hidden part and no leading slash"
        ));
    }
    Ok(path)
}
