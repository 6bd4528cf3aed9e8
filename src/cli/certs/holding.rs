//! What every command does that changes certificates.

use crate::cli::context::Failure;
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
    let mut hold = Hold::take(root)?;
    let put_back = hold.put_back_manifests().map_err(Failure::from);
    let done = put_back.and_then(|()| work(&mut hold));
    if let Err(failure) = &done {
        if record {
            hold.note_failure(&failure.message);
        }
        for notice in hold.notices() {
            eprintln!("stayput: {notice}");
        }
    }
    done
}
