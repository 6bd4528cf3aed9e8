//! The cluster's authority, by which HAProxy knows a master from a stranger.
//!
//! kubeadm puts it at the same place on masters and, by `kubeadm join`, on workers. HAProxy reads
//! the file once, when it starts, and one that it cannot read fails its whole configuration. So the
//! file's digest stands in the configuration: a changed authority changes the bytes and is loaded,
//! and a damaged one is noticed before HAProxy meets it.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::root::Root;

/// Where kubeadm keeps it.
pub const PATH: &str = "/etc/kubernetes/pki/ca.crt";

/// A bundle of hundreds of certificates still fits.
const LIMIT: u64 = 1024 * 1024;

/// An authority that HAProxy can check masters against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The file as HAProxy sees it: the host's path, also in a sandbox.
    pub path: String,
    /// SHA-256 of the file, 64 lower-case hexadecimal digits.
    pub digest: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No file: a worker before its join.
    Missing,
    /// One or more certificates.
    Good(Authority),
    /// A file that HAProxy would not take.
    Damaged {
        /// The file as HAProxy sees it.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Found {
    /// Looks at the file below `root`.
    pub fn look(root: &Root) -> Self {
        let path = match root.host_path(Path::new(PATH)) {
            Ok(path) => path.display().to_string(),
            Err(_) => PATH.to_owned(),
        };
        match root.read(Path::new(PATH), LIMIT) {
            Ok(None) => Self::Missing,
            Ok(Some(bytes)) => match defect(&bytes) {
                None => Self::Good(Authority {
                    path,
                    digest: hexadecimal(&Sha256::digest(&bytes)),
                }),
                Some(reason) => Self::Damaged {
                    path,
                    reason: reason.to_owned(),
                },
            },
            Err(error) => Self::Damaged {
                path,
                reason: format!("cannot be read: {error}"),
            },
        }
    }

    /// The authority to render. A damaged file leaves the one whose digest was rendered last, if
    /// any: HAProxy still has it in memory, and the other changes go on.
    pub fn usable(&self, rendered: Option<&str>) -> Option<Authority> {
        match self {
            Self::Missing => None,
            Self::Good(authority) => Some(authority.clone()),
            Self::Damaged { path, .. } => rendered.map(|digest| Authority {
                path: path.clone(),
                digest: digest.to_owned(),
            }),
        }
    }
}

/// What is wrong with a PEM file of certificates (RFC 7468); `None` where nothing is. The
/// certificates themselves are judged by HAProxy.
fn defect(bytes: &[u8]) -> Option<&'static str> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Some("is not PEM");
    };
    let mut blocks = text.split(BEGIN).skip(1).peekable();
    if blocks.peek().is_none() {
        return Some("holds no PEM certificate");
    }
    for block in blocks {
        let Some((body, _)) = block.split_once(END) else {
            return Some("ends within a certificate");
        };
        let mut body = body.bytes().filter(|b| !b.is_ascii_whitespace()).peekable();
        let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
        if body.peek().is_none() || !body.all(base64) {
            return Some("holds a certificate that is not base64");
        }
    }
    None
}

/// Lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB+/8=\n-----END CERTIFICATE-----\n";

    #[test]
    fn tells_certificates_from_damage() {
        for (text, want) in [
            (PEM.to_owned(), None),
            (format!("a comment\n{PEM}{PEM}"), None),
            (PEM.replace('\n', "\r\n"), None),
            (String::new(), Some("no PEM certificate")),
            ("nonsense".into(), Some("no PEM certificate")),
            (PEM[..40].to_owned(), Some("ends within")),
            (format!("{PEM}{}", &PEM[..40]), Some("ends within")),
            (PEM.replace("MIIB", "M?IB"), Some("not base64")),
            (PEM.replace("MIIB+/8=", ""), Some("not base64")),
        ] {
            match (defect(text.as_bytes()), want) {
                (None, None) => {}
                (Some(got), Some(want)) => assert!(got.contains(want), "{text:?}: {got}"),
                (got, want) => panic!("{text:?}: {got:?}, wanted {want:?}"),
            }
        }
        assert!(defect(b"\xff\xfe").is_some());
    }

    #[test]
    fn a_damaged_file_keeps_the_digest_that_was_rendered() {
        let damaged = Found::Damaged {
            path: PATH.into(),
            reason: "is not PEM".into(),
        };
        assert_eq!(damaged.usable(None), None);
        assert_eq!(damaged.usable(Some("abc")).unwrap().digest, "abc");
        assert_eq!(Found::Missing.usable(Some("abc")), None);
    }

    #[test]
    fn looks_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(Found::look(&root), Found::Missing);
        let file = dir.path().join("etc/kubernetes/pki/ca.crt");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        assert_eq!(Found::look(&root), Found::Missing);
        std::fs::write(&file, PEM).unwrap();
        let Found::Good(authority) = Found::look(&root) else {
            panic!("not found");
        };
        let real = std::fs::canonicalize(&file).unwrap();
        assert_eq!(Path::new(&authority.path), real);
        assert_eq!(authority.digest.len(), 64);
        std::fs::write(&file, &PEM[..40]).unwrap();
        assert!(matches!(Found::look(&root), Found::Damaged { .. }));
    }
}
