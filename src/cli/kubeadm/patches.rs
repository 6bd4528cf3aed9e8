//! `stayput kubeadm patches`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::context::{Context, Failure};
use crate::cli::{exit, output};
use crate::kubeadm::configuration;
use crate::kubeadm::patches::{self, Error, FOLDER};

#[derive(Debug, Args)]
pub(in crate::cli) struct PatchesArgs {
    /// Where they go; the kubelet's folder of static pods is refused
    #[arg(default_value = FOLDER)]
    dir: PathBuf,
}

#[derive(Debug, Serialize)]
struct Written {
    needed: bool,
    files: Vec<File>,
}

#[derive(Debug, Serialize)]
struct File {
    path: PathBuf,
    written: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Manifests { .. } | Error::Path { .. } | Error::Unsafe { .. } => exit::BAD_DATA,
            Error::Folder { .. } | Error::File(_) => exit::OS_ERROR,
        };
        Self::new(code, error)
    }
}

pub(super) fn patches(context: &Context, args: PatchesArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    let (cluster, node) = context.load(&root)?;
    let master = node.master().ok_or_else(|| {
        let text = "this node is a worker and has no static pods; run this on a master";
        Failure::new(exit::BAD_DATA, text)
    })?;
    patches::check_folder(&args.dir)?;
    let needed = patches::needed(&cluster, master);
    if needed {
        configuration::check_release(&cluster, master)?;
    }
    let mut files = Vec::new();
    if needed {
        let all = patches::patches(master, &node.kubernetes_name);
        let written = patches::write(&root, &args.dir, &all)?;
        files.extend(
            written
                .into_iter()
                .map(|(path, written)| File { path, written }),
        );
    }
    output::print(context.global.output, &Written { needed, files }, text)?;
    Ok(exit::OK)
}

fn text(written: &Written) -> String {
    if !written.needed {
        return "This master has a stable address, so kubeadm needs no patches; nothing is written.\n"
            .to_owned();
    }
    let mut text = String::new();
    for File { path, written } in &written.files {
        let state = if *written { "written" } else { "unchanged" };
        let _ = writeln!(text, "{}: {state}", path.display());
    }
    text
}
