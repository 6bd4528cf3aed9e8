//! Templates of the catalogue: `kubernetes.default.svc.{dnsDomain}`.
//!
//! A word in braces stands for a fact of the cluster or of the node; `{aliases}` and `{stable}` may
//! stand for several or for none, and then so does the text around them. No word stands for an address
//! that can change.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::cluster::Cluster;
use crate::name::{Name, NameError};

/// Every word, with a sample of what it stands for.
const WORDS: [(&str, Sample); 9] = [
    ("master", Sample::Name),
    ("label", Sample::Name),
    ("node", Sample::Name),
    ("domain", Sample::Name),
    ("endpoint", Sample::Name),
    ("aliases", Sample::Names),
    ("dnsDomain", Sample::Name),
    ("serviceAddress", Sample::Address),
    ("stable", Sample::Addresses),
];

/// What kind of thing a word stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sample {
    /// Exactly one name.
    Name,
    /// Any number of names.
    Names,
    /// Exactly one address.
    Address,
    /// Any number of addresses.
    Addresses,
}

/// What the words stand for on one master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Vec<(&'static str, Vec<String>)>);

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A word that stands for nothing.
    #[error("{{{word}}} is not a word here; known: {}", known())]
    Unknown {
        /// The word, without its braces.
        word: String,
    },
    /// A brace that is not closed or not opened.
    #[error("'{0}' has a single brace; write words as {{master}}")]
    Brace(String),
    /// Nothing at all.
    #[error("is empty; write a text such as kube-apiserver or {{node}}")]
    Empty,
    /// A word that may stand for nothing or for several things, where one thing is wanted.
    #[error("{{{word}}} may stand for none or several; a subject needs exactly one text")]
    Several {
        /// The word, without its braces.
        word: &'static str,
    },
    /// An address with text around it.
    #[error("{{{word}}} is an address; write it by itself")]
    Address {
        /// The word, without its braces.
        word: &'static str,
    },
    /// What comes out is neither a name nor an address.
    #[error("cannot stand in a certificate: {0}")]
    Name(#[from] NameError),
}

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Word(&'a str),
}

/// Checks a template of a subject: whatever the node, it makes exactly one text.
pub fn check_subject(text: &str) -> Result<(), TemplateError> {
    if text.trim().is_empty() {
        return Err(TemplateError::Empty);
    }
    for (word, sample) in words(text)? {
        if matches!(sample, Sample::Names | Sample::Addresses) {
            return Err(TemplateError::Several { word });
        }
    }
    Ok(())
}

/// Checks a template of names: whatever the node, each text that it makes is an address or a DNS name,
/// maybe with a wildcard as its first label.
pub fn check_name(text: &str) -> Result<(), TemplateError> {
    let mut example = text.to_owned();
    for (word, sample) in words(text)? {
        let braced = format!("{{{word}}}");
        match sample {
            Sample::Name | Sample::Names => example = example.replace(&braced, "a.example"),
            Sample::Address | Sample::Addresses if text == braced => return Ok(()),
            Sample::Address | Sample::Addresses => return Err(TemplateError::Address { word }),
        }
    }
    if example.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let name = example.strip_prefix("*.").unwrap_or(&example);
    Name::parse(name)?;
    Ok(())
}

/// The known words of a text; an unknown one and a single brace are errors.
fn words(text: &str) -> Result<Vec<(&'static str, Sample)>, TemplateError> {
    let mut found = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(part) if part.contains(['{', '}']) => {
                return Err(TemplateError::Brace(text.to_owned()));
            }
            Piece::Text(_) => {}
            Piece::Word(word) => match WORDS.iter().find(|(known, _)| *known == word) {
                Some(known) => found.push(*known),
                None => return Err(TemplateError::Unknown { word: word.into() }),
            },
        }
    }
    Ok(found)
}

/// Splits a text at its words; a brace without its partner stays in the text.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((word, after)) = behind.split_once('}') else {
            break;
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        pieces.push(Piece::Word(word));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

fn known() -> String {
    let braced: Vec<String> = WORDS
        .iter()
        .map(|(word, _)| format!("{{{word}}}"))
        .collect();
    braced.join(", ")
}

impl Words {
    /// What the words stand for on the master of that name, which is `node` to Kubernetes.
    pub fn of(cluster: &Cluster, master: &Name, node: &Name) -> Self {
        let label = master.relative_to(&cluster.domain);
        let endpoint = &cluster.endpoint.name;
        let of_both = cluster
            .aliases_of(endpoint)
            .chain(cluster.aliases_of(master));
        let stable = cluster.master(master).and_then(|master| master.stable);
        let kubernetes = &cluster.kubernetes;
        let one = |text: &dyn ToString| vec![text.to_string()];
        Self(vec![
            ("master", one(master)),
            ("label", one(&label.unwrap_or(master.as_str()))),
            ("node", one(node)),
            ("domain", one(&cluster.domain)),
            ("endpoint", one(endpoint)),
            ("aliases", of_both.map(Name::to_string).collect()),
            ("dnsDomain", one(&kubernetes.dns_domain)),
            (
                "serviceAddress",
                one(&first_service_address(kubernetes.service_subnet)),
            ),
            ("stable", stable.iter().map(IpAddr::to_string).collect()),
        ])
    }

    /// Every text that a template makes. What [`check_subject`] and [`check_name`] refuse stays as it is
    /// written.
    pub fn fill(&self, template: &str) -> Vec<String> {
        let mut texts = vec![String::new()];
        for piece in pieces(template) {
            let choices = match piece {
                Piece::Text(text) => vec![text.to_owned()],
                Piece::Word(word) => self.value(word),
            };
            texts = texts
                .iter()
                .flat_map(|text| choices.iter().map(move |choice| format!("{text}{choice}")))
                .collect();
        }
        texts
    }

    fn value(&self, word: &str) -> Vec<String> {
        let found = self.0.iter().find(|(known, _)| *known == word);
        found.map_or_else(|| vec![format!("{{{word}}}")], |(_, value)| value.clone())
    }
}

/// kube-apiserver's own address in the Service range: the first behind the range's own (kubeadm's
/// `GetAPIServerVirtualIP`).
fn first_service_address(range: IpNet) -> IpAddr {
    match range {
        IpNet::V4(v4) => IpAddr::V4((u32::from(v4.network()).saturating_add(1)).into()),
        IpNet::V6(v6) => IpAddr::V6((u128::from(v6.network()).saturating_add(1)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_names_are_checked() {
        for good in [
            "{master}",
            "{aliases}",
            "{stable}",
            "x.{dnsDomain}",
            "{label}.corp.example.com",
            "*.example.com",
            "*.{endpoint}",
            "10.0.0.1",
            "::1",
            "API.example.com",
        ] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for (bad, want) in [
            (
                "{address}",
                "{address} is not a word here; known: {master}, {label}, {node}, {domain}, {endpoint}, {aliases}, {dnsDomain}, {serviceAddress}, {stable}",
            ),
            ("{}", "{} is not a word here"),
            (
                "{master",
                "'{master' has a single brace; write words as {master}",
            ),
            ("master}", "has a single brace"),
            ("{{master}", "{{master} is not a word here"),
            ("x-{stable}", "{stable} is an address; write it by itself"),
            ("a.*.example.com", "'a.*.example.com' is not a host name"),
            ("a_b", "'a_b' is not a host name"),
            ("10.0.0.300", "could be taken for an address"),
            ("10.0.0.0/8", "is not a host name"),
            ("", "has an empty label"),
        ] {
            let error = check_name(bad).unwrap_err().to_string();
            assert!(error.contains(want), "{bad}: {error}");
        }
    }

    #[test]
    fn templates_of_subjects_are_checked() {
        for good in ["system:node:{node}", "kube-apiserver", "{master}", "a b"] {
            assert_eq!(check_subject(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "{aliases}", "x {stable}", "{word}", "{"] {
            assert!(check_subject(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_with_several_values_make_several_texts_and_without_any_none() {
        let values = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let words = Words(vec![
            ("aliases", values(&["a", "b"])),
            ("stable", values(&[])),
            ("node", values(&["n1"])),
        ]);
        for (template, want) in [
            ("plain", &["plain"][..]),
            ("{node}", &["n1"]),
            ("x-{node}.y", &["x-n1.y"]),
            ("{aliases}.{node}", &["a.n1", "b.n1"]),
            ("{stable}", &[]),
            ("{what}-{node", &["{what}-{node"]),
        ] {
            assert_eq!(words.fill(template), want, "{template}");
        }
    }

    #[test]
    fn the_first_service_address_follows_the_range() {
        for (range, want) in [
            ("10.96.0.0/12", "10.96.0.1"),
            ("10.97.16.0/28", "10.97.16.1"),
            ("fd00:10:96::/112", "fd00:10:96::1"),
        ] {
            let first = first_service_address(range.parse().unwrap());
            assert_eq!(first.to_string(), want);
        }
    }
}
