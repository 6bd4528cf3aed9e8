//! Certificates of several masters, as docs/certificates.md tells it.

use crate::node::Node;
use crate::support::{STAYPUT, run};

const BUNDLE: &str = "etc/stayput/bundle.tar";

/// The first makes the cluster, the others get what they share.
pub(crate) fn issue(masters: &[Node]) {
    // `$0` is the program.
    let shell =
        |node: &Node, line: &str| run(node.command("sh").args(["-c", line, STAYPUT])).good();
    let (first, others) = masters.split_first().unwrap();
    first.stayput(&["certs", "init", "--new-cluster"]).good();
    shell(first, &format!("\"$0\" certs bundle > /{BUNDLE}"));
    for node in others {
        std::fs::copy(first.path(BUNDLE), node.path(BUNDLE)).unwrap();
        shell(node, &format!("\"$0\" certs unbundle < /{BUNDLE}"));
        node.stayput(&["certs", "init"]).good();
        node.stayput(&["certs", "verify"]).good();
    }
}
