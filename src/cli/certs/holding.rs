//! What every command does that changes certificates.

use std::io::Write;

use crate::cli::context::Failure;
use crate::cli::exit;
use crate::pki::session::Hold;
use crate::root::Root;

/// Works while no other run does. Static pods' manifests that an earlier run has left out are back
/// before anything else can fail. What a person should know is told also where the work fails.
pub(super) fn holding<T>(
    root: &Root,
    work: impl FnOnce(&mut Hold) -> Result<T, Failure>,
) -> Result<T, Failure> {
    on_record(root, false, work)
}

/// The same for a run whose failure is put on `record`.
pub(super) fn on_record<T>(
    root: &Root,
    record: bool,
    work: impl FnOnce(&mut Hold) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut hold = Hold::take(root, tell)?;
    let put_back = hold.put_back_manifests().map_err(Failure::from);
    put_back.and_then(|()| work(&mut hold)).map_err(|failure| {
        // A mistaken order, or one on a worker, is no failure of renewing.
        if record && failure.code != exit::BAD_DATA {
            hold.note_failure(&failure.message);
        }
        let notices = hold.notices().iter().cloned();
        let told: Vec<String> = notices.chain([failure.message]).collect();
        Failure::new(failure.code, told.join("\n"))
    })
}

/// A terminal that is gone stops nothing.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "stayput: {line}");
}
