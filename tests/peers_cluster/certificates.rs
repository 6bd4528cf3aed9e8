//! Certificates of the masters, made once: keys take longer than what is tested with them.

use std::sync::OnceLock;

use crate::issue::issue;
use crate::node::Node;

/// What is made: certificates, and the newest time that was seen then.
const FOLDERS: [&str; 2] = ["etc/kubernetes", "var/lib/stayput"];

/// As [`issue`]; a later cluster of this process has the same.
pub(crate) fn issued(masters: &[Node]) {
    static MADE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        issue(masters);
        masters.iter().map(pack).collect()
    });
    for (master, packed) in masters.iter().zip(made) {
        let mut archive = tar::Archive::new(packed.as_slice());
        archive.set_preserve_permissions(true);
        archive.unpack(master.path("")).unwrap();
    }
}

fn pack(master: &Node) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    for folder in FOLDERS {
        builder.append_dir_all(folder, master.path(folder)).unwrap();
    }
    builder.into_inner().unwrap()
}
