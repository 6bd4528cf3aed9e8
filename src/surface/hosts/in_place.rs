//! Carries plans out: writes, syncs and waits, on one file or on many at once.

use std::collections::VecDeque;
use std::time::Duration;

use super::slots::{Plan, Step};
use crate::file::{Error, InPlace};

/// How long readers that have begun get to come to their end. A look-up reads a hosts file within
/// microseconds; this leaves room for one that is not scheduled meanwhile. It is needed only when
/// slots are used again, once in some dozen changes.
pub(crate) const GRACE: Duration = Duration::from_millis(50);

/// A plan for a file and how far it is carried out.
pub(crate) struct Change {
    file: InPlace,
    steps: VecDeque<Step>,
    result: Result<(), Error>,
}

impl Change {
    /// Begins with the first step. The plan must have been made from the file's bytes.
    pub(crate) fn new(file: InPlace, plan: Plan) -> Self {
        Self {
            file,
            steps: plan.steps.into(),
            result: Ok(()),
        }
    }

    /// Goes on up to the next wait; tells whether there is one.
    fn advance(&mut self) -> bool {
        while let Some(step) = self.steps.pop_front() {
            let done = match step {
                Step::Append(bytes) => self.file.append(&bytes),
                Step::Write { offset, bytes } => self.file.overwrite(offset, &bytes),
                Step::Sync => self.file.sync(),
                Step::Wait => return true,
            };
            if let Err(error) = done {
                self.result = Err(error);
                self.steps.clear();
            }
        }
        false
    }
}

/// Carries all changes out side by side, so that they wait together. A file that fails is left
/// where it is, with all names readable, and does not hold the others.
pub(crate) fn carry_out(mut changes: Vec<Change>) -> Vec<Result<(), Error>> {
    loop {
        let waits = changes.iter_mut().map(Change::advance);
        if waits.filter(|waits| *waits).count() == 0 {
            break;
        }
        std::thread::sleep(GRACE);
    }
    changes.into_iter().map(|change| change.result).collect()
}
