//! Which process is a static pod's, by its manifest.

use std::path::Path;

use super::Error;
use crate::root::Root;
use crate::yaml::{self, Tree};

/// The largest manifest that is read, in bytes.
pub(super) const LIMIT: u64 = 1 << 20;

/// Command and arguments of a manifest's first container; `None` where there is no manifest.
pub(super) fn command_of(root: &Root, manifest: &Path) -> Result<Option<Vec<String>>, Error> {
    let path = manifest.to_owned();
    let bytes = match root.read(manifest, LIMIT) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(source) => return Err(Error::Read { path, source }),
    };
    command_in(&bytes)
        .map(Some)
        .map_err(|reason| Error::Manifest { path, reason })
}

/// Command and arguments of the first container; the error says what is wrong with the manifest.
pub(super) fn command_in(manifest: &[u8]) -> Result<Vec<String>, String> {
    let text = str::from_utf8(manifest).map_err(|error| error.to_string())?;
    let tree = yaml::parse(text).map_err(|error| error.to_string())?;
    process_of(&tree).map_err(str::to_owned)
}

/// How its process is recognised. One with a network of its own could be another cluster's, whose
/// control plane runs in pods of this one.
pub(super) fn process_of(manifest: &Tree) -> Result<Vec<String>, &'static str> {
    let spec = get(manifest, "spec");
    let network = spec.and_then(|spec| get(spec, "hostNetwork"));
    if !matches!(network, Some(Tree::Bool(true))) {
        return Err("it has no `hostNetwork: true`");
    }
    first_command(manifest).ok_or("its first container names no command")
}

pub(super) fn first_command(manifest: &Tree) -> Option<Vec<String>> {
    let containers = get(get(manifest, "spec")?, "containers")?;
    let Tree::Sequence(containers) = containers else {
        return None;
    };
    let container = containers.first()?;
    let mut command = texts(get(container, "command")?)?;
    if let Some(arguments) = get(container, "args") {
        command.extend(texts(arguments)?);
    }
    (!command.is_empty()).then_some(command)
}

fn get<'a>(tree: &'a Tree, key: &str) -> Option<&'a Tree> {
    let Tree::Mapping(entries) = tree else {
        return None;
    };
    entries
        .iter()
        .find(|(k, _)| k == key)
        .map(|(_, value)| value)
}

fn texts(tree: &Tree) -> Option<Vec<String>> {
    let Tree::Sequence(items) = tree else {
        return matches!(tree, Tree::Null).then(Vec::new);
    };
    let text = |item: &Tree| match item {
        Tree::String(text) => Some(text.clone()),
        _ => None,
    };
    items.iter().map(text).collect()
}
