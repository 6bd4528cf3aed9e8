//! Kubeconfigs: read whoever made them, written as kubeadm does, and renewed by changing nothing but
//! the certificate and the key in their text.
//!
//! Only the current context counts, as for the processes that are given the file. Rules of what wins
//! over what are client-go's: data over file, the first of two entries of one name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

use super::certificate::Certificate;
use super::key::PrivateKey;
use crate::yaml::{self, Spot, Tree};

/// kubeadm's name of the cluster.
const CLUSTER: &str = "kubernetes";

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

fn authorities(cluster: &Entry<'_>) -> Result<Authorities, Error> {
    if let Some(data) = cluster.text("certificate-authority-data") {
        let pem = decoded("certificate-authority-data", data)?;
        let read = Certificate::parse_pem(&pem);
        return read
            .map(Authorities::Embedded)
            .map_err(|error| unusable(format!("its certificate-authority-data {error}")));
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

const CERTIFICATE: &str = "client-certificate-data";
const KEY: &str = "client-key-data";

/// Base64 as Go reads it: line breaks within are nothing.
fn decoded(field: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let text: Zeroizing<String> = Zeroizing::new(text.split_ascii_whitespace().collect());
    let bytes = STANDARD.decode(text.as_bytes());
    bytes
        .map(Zeroizing::new)
        .map_err(|_| unusable(format!("its {field} is not base64")))
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
    let document = Document::read(text)?;
    let user = document.current()?.user;
    let new_certificate = STANDARD.encode(certificate);
    let new_key = Zeroizing::new(STANDARD.encode(key));
    let changes = [
        user.change(CERTIFICATE, &new_certificate)?,
        user.change(KEY, &new_key)?,
    ];
    let changed = document.with(&changes)?;
    let Client::Embedded { certificates, key } = parse(changed.as_bytes())?.client else {
        return Err(Error::Unchangeable("no certificate is within it".into()));
    };
    if certificates[0].public_key != key.public_key() {
        let reason = "the new key does not belong to the new certificate";
        return Err(Error::Unchangeable(reason.into()));
    }
    Ok(changed)
}

/// The same text with another server of the current context's cluster; every other byte stays.
pub fn with_server(text: &str, server: &str) -> Result<Zeroizing<String>, Error> {
    let document = Document::read(text)?;
    let change = document.current()?.cluster.change("server", server)?;
    document.with(&[change])
}

/// A text and its tree.
struct Document<'a> {
    text: &'a str,
    tree: Wiped,
}

/// A tree that may hold keys.
struct Wiped(Tree);

/// The current context's entries.
struct Current<'a> {
    cluster: Entry<'a>,
    user: Entry<'a>,
}

/// A mapping within the tree, and where it is.
struct Entry<'a> {
    fields: &'a [(String, Tree)],
    spot: Spot,
}

/// A text that takes another's place.
struct Change<'a> {
    field: &'static str,
    spot: Spot,
    old: &'a str,
    new: &'a str,
}

impl<'a> Document<'a> {
    fn read(text: &'a str) -> Result<Self, Error> {
        let tree = yaml::parse(text).map_err(|error| {
            // The message may quote the text: only its place is told.
            let place = error.location;
            let place =
                place.map(|place| format!(" (line {}, column {})", place.line, place.column));
            unusable(format!("it is no YAML{}", place.unwrap_or_default()))
        })?;
        Ok(Self {
            text,
            tree: Wiped(tree),
        })
    }

    fn current(&self) -> Result<Current<'_>, Error> {
        let Tree::Mapping(fields) = &self.tree.0 else {
            return Err(unusable("it is no mapping"));
        };
        let top = Entry {
            fields,
            spot: Spot::default(),
        };
        let name = top.text("current-context");
        let name = name.ok_or_else(|| unusable("it has no current-context"))?;
        let context = top.named("contexts", name, "context")?;
        let entry = |list, field, inner| {
            let name = context.text(field);
            let name = name.ok_or_else(|| unusable(format!("its context names no {field}")))?;
            top.named(list, name, inner)
        };
        Ok(Current {
            cluster: entry("clusters", "cluster", "cluster")?,
            user: entry("users", "user", "user")?,
        })
    }

    /// The text with these changes, where they are all that changes.
    fn with(&self, changes: &[Change<'_>]) -> Result<Zeroizing<String>, Error> {
        let mut places = Vec::new();
        let mut wanted = Wiped(self.tree.0.clone());
        for change in changes {
            let place = self.place(change);
            places.push((place.ok_or_else(|| not_one_piece(change))?, change));
            if let Some(value) = wanted.0.at_mut(&change.spot) {
                wipe(value);
                *value = Tree::String(change.new.to_owned());
            }
        }
        places.sort_by_key(|((start, _), _)| *start);
        let room = changes.iter().map(|change| change.new.len()).sum::<usize>();
        let mut changed = Zeroizing::new(String::with_capacity(self.text.len() + room));
        let mut copied = 0;
        for ((start, end), change) in places {
            // Two that overlap (an alias) leave nothing between them.
            let between = self.text.get(copied..start);
            changed.push_str(between.ok_or_else(|| not_one_piece(change))?);
            changed.push_str(change.new);
            copied = end;
        }
        changed.push_str(&self.text[copied..]);
        let mut outcome = Document::read(&changed)?;
        for change in changes {
            // A block scalar has a line break behind its value.
            match outcome.tree.0.at_mut(&change.spot) {
                Some(Tree::String(text)) if text.trim_end() == change.new => {
                    text.truncate(change.new.len());
                }
                _ => return Err(not_one_piece(change)),
            }
        }
        if wanted.0 != outcome.tree.0 {
            let reason = "other values would change with it (an anchor?)";
            return Err(Error::Unchangeable(reason.into()));
        }
        Ok(changed)
    }

    /// From where to where a value stands in the text. It may be quoted, or go over several lines.
    fn place(&self, change: &Change<'_>) -> Option<(usize, usize)> {
        let mark = self.text.len() - self.text.trim_start_matches('\u{feff}').len();
        let location = yaml::locate(self.text, &change.spot)?;
        let from = mark + yaml::offset(&self.text[mark..], location)?;
        let rest = &self.text[from..];
        let start = match rest.chars().next()? {
            '"' | '\'' => 1,
            '|' | '>' => rest.find('\n')? + 1,
            _ => 0,
        };
        let lead = rest[start..].len() - rest[start..].trim_start().len();
        let start = from + start + lead;
        // Base64 has no spaces: what is between its parts are line breaks and indentation.
        let mut wanted = change
            .old
            .chars()
            .filter(|c| !c.is_ascii_whitespace())
            .peekable();
        for (offset, found) in self.text[start..].char_indices() {
            if wanted.peek().is_none() {
                return Some((start, start + offset));
            }
            if !found.is_ascii_whitespace() && wanted.next() != Some(found) {
                return None;
            }
        }
        wanted.peek().is_none().then_some((start, self.text.len()))
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(tree: &mut Tree) {
    match tree {
        Tree::String(text) => text.zeroize(),
        Tree::Sequence(items) => items.iter_mut().for_each(wipe),
        Tree::Mapping(entries) => entries.iter_mut().for_each(|(_, value)| wipe(value)),
        Tree::Null | Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_) => {}
    }
}

fn not_one_piece(change: &Change<'_>) -> Error {
    let field = change.field;
    Error::Unchangeable(format!("its {field} is not one piece of text"))
}

impl<'a> Entry<'a> {
    fn find(&self, field: &str) -> Option<(usize, &'a Tree)> {
        let mut entries = self.fields.iter().enumerate();
        let (index, (_, value)) = entries.find(|(_, (key, _))| key == field)?;
        Some((index, value))
    }

    /// A text that is not empty: client-go takes an empty one for none.
    fn text(&self, field: &str) -> Option<&'a str> {
        match self.find(field)?.1 {
            Tree::String(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The `inner` mapping of a list's entry by its name.
    fn named(&self, list: &str, name: &str, inner: &str) -> Result<Entry<'a>, Error> {
        let found = || {
            let (at, Tree::Sequence(items)) = self.find(list)? else {
                return None;
            };
            let spot = self.spot.child(at);
            let mut entries = items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| match item {
                    Tree::Mapping(fields) => Some(Entry {
                        fields,
                        spot: spot.child(index),
                    }),
                    _ => None,
                });
            let entry = entries.find(|entry| entry.text("name") == Some(name))?;
            let (at, Tree::Mapping(fields)) = entry.find(inner)? else {
                return None;
            };
            Some(Entry {
                fields,
                spot: entry.spot.child(at),
            })
        };
        found().ok_or_else(|| unusable(format!("'{name}' is not among its {list}")))
    }

    fn change<'b>(&self, field: &'static str, new: &'b str) -> Result<Change<'b>, Error>
    where
        'a: 'b,
    {
        let missing = || Error::Unchangeable(format!("it has no {field}"));
        let old = self.text(field).ok_or_else(missing)?;
        let (index, _) = self.find(field).ok_or_else(missing)?;
        Ok(Change {
            field,
            spot: self.spot.child(index),
            old,
            new,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::authority::Authority;
    use super::super::issue::{self, Validity};
    use super::super::key::KeyType;
    use super::super::profile::Profile;
    use super::*;

    const VALIDITY: Validity = Validity {
        not_before: 1_800_000_000,
        not_after: 1_900_000_000,
    };

    fn profile(common_name: &str) -> Profile {
        Profile {
            common_name: common_name.into(),
            ..Profile::default()
        }
    }

    fn authority() -> Authority {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let pem = issue::authority(&profile("kubernetes"), &key, VALIDITY).unwrap();
        let bundle = Certificate::parse_pem(pem.as_bytes()).unwrap();
        Authority {
            certificate: bundle[0].clone(),
            bundle,
            pem: pem.into_bytes(),
            key: Some(key),
        }
    }

    /// Certificate and key as PEM.
    fn pair(authority: &Authority, user: &str) -> (String, Zeroizing<String>) {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let pem = issue::leaf(authority, &profile(user), &key, VALIDITY, true).unwrap();
        (pem, key.to_pem().unwrap())
    }

    fn rendered(user: &str, server: &str) -> (Authority, String) {
        let authority = authority();
        let (certificate, key) = pair(&authority, user);
        let text = New {
            server,
            authority: &authority.pem,
            user,
            certificate: &certificate,
            key: &key,
        }
        .render();
        (authority, text.to_string())
    }

    #[test]
    fn what_is_written_is_read_again() {
        for user in [
            "system:node:master-1",
            "1234",
            "true",
            "a: b #c",
            "x:",
            "m\u{fc} \"q\"\n",
        ] {
            for server in ["https://api.k8s.internal:8443", "https://[::1]:6443"] {
                let (authority, text) = rendered(user, server);
                let read = parse(text.as_bytes()).unwrap();
                assert_eq!(read.server, server, "{text}");
                let Client::Embedded { certificates, key } = read.client else {
                    panic!("{text}")
                };
                assert_eq!(certificates[0].profile.common_name, user);
                assert_eq!(certificates[0].public_key, key.public_key());
                let Authorities::Embedded(read) = read.authorities else {
                    panic!("{text}")
                };
                assert_eq!(read, authority.bundle);
            }
        }
    }

    #[test]
    fn is_written_as_client_go_writes_it() {
        let new = New {
            server: "https://api.k8s.internal:8443",
            authority: b"a",
            user: "kubernetes-admin",
            certificate: "c",
            key: "k",
        };
        let want = "apiVersion: v1\n\
            clusters:\n\
            - cluster:\n    certificate-authority-data: YQ==\n    server: https://api.k8s.internal:8443\n  name: kubernetes\n\
            contexts:\n\
            - context:\n    cluster: kubernetes\n    user: kubernetes-admin\n  name: kubernetes-admin@kubernetes\n\
            current-context: kubernetes-admin@kubernetes\n\
            kind: Config\n\
            preferences: {}\n\
            users:\n\
            - name: kubernetes-admin\n  user:\n    client-certificate-data: Yw==\n    client-key-data: aw==\n";
        assert_eq!(*new.render(), want);
        assert!(!format!("{new:?}").contains("aw"));
    }

    /// The two values of a text, and what it is apart from them.
    fn values(text: &str) -> (String, String, String) {
        let value = |field: &str| {
            let start = text.find(field).unwrap() + field.len() + 2;
            let end = start + text[start..].find('\n').unwrap();
            text[start..end].to_owned()
        };
        let (certificate, key) = (value(CERTIFICATE), value(KEY));
        let rest = text.replace(&certificate, "C").replace(&key, "K");
        (certificate, key, rest)
    }

    #[test]
    fn a_renewal_changes_two_values_and_no_other_byte() {
        let (authority, text) = rendered("admin", "https://api.k8s.internal:8443");
        let (old_certificate, old_key, frame) = values(&text);
        let lines = |value: &str, indent: &str| {
            let lines = value.as_bytes().chunks(76);
            let lines = lines.map(|line| std::str::from_utf8(line).unwrap());
            lines.collect::<Vec<_>>().join(indent)
        };
        let block =
            |style: &str, value: &str| format!("{style}\n        {}", lines(value, "\n        "));
        let (certificate, key) = pair(&authority, "admin");
        let (new_certificate, new_key) = (STANDARD.encode(&certificate), STANDARD.encode(&*key));
        let fill = |frame: &str, c: &str, k: &str| {
            frame
                .replace("-data: C", &format!("-data: {c}"))
                .replace("-data: K", &format!("-data: {k}"))
        };
        let commented = format!("# a note: \u{fc}\n{frame}extra: {{a: [1,  2], b: 'x'}} # end");
        let windows = frame.replace('\n', "\r\n");
        let marked = format!("\u{feff}{frame}");
        for frame in [&frame, &commented, &windows, &marked] {
            for quote in ["", "\"", "'"] {
                let quoted = |value: &str| format!("{quote}{value}{quote}");
                let text = fill(frame, &quoted(&old_certificate), &quoted(&old_key));
                let want = fill(frame, &quoted(&new_certificate), &quoted(&new_key));
                let changed = renewed(&text, &certificate, &key);
                assert_eq!(*changed.unwrap(), want, "{text}");
            }
        }
        for style in ["|", ">", "|-", ">-"] {
            let old = fill(
                &frame,
                &block(style, &old_certificate),
                &block(style, &old_key),
            );
            let single = |value: &str| format!("{style}\n        {value}");
            let want = fill(&frame, &single(&new_certificate), &single(&new_key));
            assert_eq!(*renewed(&old, &certificate, &key).unwrap(), want, "{old}");
        }
        // A plain scalar over several lines.
        let old = fill(&frame, &lines(&old_certificate, "\n      "), &old_key);
        let want = fill(&frame, &new_certificate, &new_key);
        assert_eq!(*renewed(&old, &certificate, &key).unwrap(), want);
    }

    #[test]
    fn json_is_renewed_too() {
        let (authority, text) = rendered("admin", "https://api.k8s.internal:8443");
        let (old_certificate, old_key, _) = values(&text);
        let frame = "{\"current-context\":\"x\",\"contexts\":[{\"name\":\"x\",\"context\":{\"user\":\"u\",\"cluster\":\"c\"}}],\
            \"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"https://a:1\"}}],\
            \"users\":[{\"name\":\"u\",\"user\":{\"client-certificate-data\":\"C\",\"client-key-data\":\"K\"}}]}";
        let fill = |c: &str, k: &str| {
            frame
                .replace("\"C\"", &format!("\"{c}\""))
                .replace("\"K\"", &format!("\"{k}\""))
        };
        let (certificate, key) = pair(&authority, "admin");
        let changed = renewed(&fill(&old_certificate, &old_key), &certificate, &key).unwrap();
        let want = fill(&STANDARD.encode(&certificate), &STANDARD.encode(&*key));
        assert_eq!(*changed, want);
        let moved = with_server(&want, "https://127.0.0.1:6443").unwrap();
        assert_eq!(
            *moved,
            want.replace("https://a:1", "https://127.0.0.1:6443")
        );
    }

    #[test]
    fn refuses_to_change_more_than_it_should() {
        let (authority, text) = rendered("admin", "https://api.k8s.internal:8443");
        let (old_certificate, old_key, _) = values(&text);
        let (certificate, key) = pair(&authority, "admin");
        let shared =
            text.replace(&old_key, "&k\n      ") + &format!("copy: &c {old_certificate}\n");
        let alias = text.replace(&old_certificate, "*c");
        let alias = format!("before: &c {old_certificate}\n{alias}");
        let escaped = text.replace(
            &old_key,
            &format!("\"\\x{:x}{}\"", old_key.as_bytes()[0], &old_key[1..]),
        );
        for (what, text) in [("shared", shared), ("alias", alias), ("escaped", escaped)] {
            let error = renewed(&text, &certificate, &key).unwrap_err().to_string();
            assert!(!error.contains(&old_key[..10]), "{what}: {error}");
        }
        let (other, _) = pair(&authority, "admin");
        let error = renewed(&text, &other, &key).unwrap_err().to_string();
        assert!(error.contains("does not belong"), "{error}");
    }

    #[test]
    fn tells_why_a_kubeconfig_is_of_no_use() {
        let (_, text) = rendered("admin", "https://a:1");
        let (certificate, key, _) = values(&text);
        let half = text.replace(&format!("    {KEY}: {key}\n"), "");
        let mixed = text.replace(&format!("{KEY}: {key}"), "client-key: /a");
        for (text, want) in [
            (String::new(), "no mapping"),
            ("[".to_owned(), "no YAML (line"),
            (
                text.replace("current-context: admin", "current-context: x"),
                "'x@kubernetes' is not among its contexts",
            ),
            (
                text.replace("current-context", "current"),
                "no current-context",
            ),
            (
                text.replace("server: https://a:1", "server: ''"),
                "no server",
            ),
            (text.replace(&certificate, "'%'"), "not base64"),
            (text.replace(&certificate, "AAAA"), "holds no certificate"),
            (text.replace(&key, "AAAA"), "holds no usable private key"),
            (half, "a certificate and no key"),
            (mixed, "the other in a file"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(want), "{want}: {error}");
            assert!(!error.contains(&key[..10]), "{error}");
        }
    }

    #[test]
    fn files_and_tokens_are_told_apart() {
        let frame = "current-context: x\ncontexts: [{name: x, context: {user: u, cluster: c}}]\n\
            clusters: [{name: c, cluster: {server: 'https://a', certificate-authority: pki/ca.crt}}]\n\
            users: [{name: u, user: {U}}]\n";
        let file = frame.replace("{U}", "{client-certificate: /a, client-key: b}");
        let read = parse(file.as_bytes()).unwrap();
        assert!(
            matches!(read.client, Client::Files { certificate, key } if certificate == "/a" && key == "b")
        );
        assert!(matches!(read.authorities, Authorities::File(path) if path == "pki/ca.crt"));
        let token = frame.replace("{U}", "{token: abc}");
        assert!(matches!(
            parse(token.as_bytes()).unwrap().client,
            Client::Other
        ));
    }
}
