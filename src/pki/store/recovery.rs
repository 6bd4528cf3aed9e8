//! How a change that was interrupted behind its commit point is completed. Pure.

use super::journal::Replacement;
use crate::file::Identity;

/// Which files are where, of one file that was to be replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// At the target's name.
    pub(super) target: Option<Identity>,
    /// Staged.
    pub(super) staged: Option<Identity>,
    /// Kept of the old one.
    pub(super) kept: Option<Identity>,
}

/// How one file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The target is the old one, the new one is staged.
    Staged,
    /// The target is the new one.
    Swapped {
        /// Whether the old one can come back.
        undoable: bool,
    },
    /// The target is the old one, and the new one is gone.
    Before,
    /// The target is neither: somebody else has been here.
    Foreign,
}

/// What is done with all files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// What is staged takes its place.
    Finish,
    /// What was swapped is swapped back.
    Undo,
    /// Neither can be; the files in the way, by their position.
    Doubt(Vec<usize>),
}

/// How a file stands that was to be replaced.
pub(super) fn standing(file: &Replacement, seen: &Seen) -> Standing {
    let is_new = |identity: Option<Identity>| identity.is_some() && identity == file.new;
    let is_same = |one: Option<Identity>, other: Option<Identity>| match (one, other) {
        (Some(one), Some(other)) => one.is_written_with(other),
        (one, other) => one == other,
    };
    // An undo from a copy has put that in the old one's place.
    let is_old = is_same(seen.target, file.old) || is_same(seen.target, file.kept);
    if is_new(seen.target) {
        let undoable = file.old.is_none() || is_same(seen.kept, file.kept);
        Standing::Swapped { undoable }
    } else if !is_old {
        Standing::Foreign
    } else if is_new(seen.staged) {
        Standing::Staged
    } else {
        Standing::Before
    }
}

/// What is done: forward if possible, else back.
pub(super) fn decide(standings: &[Standing]) -> Way {
    let places = |wanted: fn(&Standing) -> bool| -> Vec<usize> {
        let found = standings.iter().enumerate().filter(|(_, s)| wanted(s));
        found.map(|(place, _)| place).collect()
    };
    let foreign = places(|s| *s == Standing::Foreign);
    if !foreign.is_empty() {
        return Way::Doubt(foreign);
    }
    let gone = places(|s| *s == Standing::Before);
    if gone.is_empty() {
        return Way::Finish;
    }
    if places(|s| *s == Standing::Swapped { undoable: false }).is_empty() {
        Way::Undo
    } else {
        Way::Doubt(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(inode: u64) -> Identity {
        Identity {
            inode,
            // Two that are written within one tick of a coarse clock: the inode tells them apart.
            modified: i64::try_from(inode.max(2)).unwrap(),
            nanoseconds: 0,
        }
    }

    #[test]
    fn every_moment_has_its_standing() {
        let (new, old, copy, other) = (1, 2, 3, 4);
        let swapped = |undoable| Standing::Swapped { undoable };
        for (was, target, staged, kept, want) in [
            // A file that is replaced, from first to last.
            (Some((old, old)), old, new, old, Standing::Staged),
            (Some((old, old)), new, 0, old, swapped(true)),
            (Some((old, old)), new, 0, 0, swapped(false)),
            // Taken back.
            (Some((old, old)), old, 0, 0, Standing::Before),
            (Some((old, copy)), copy, 0, 0, Standing::Before),
            // Lost, restored from elsewhere, replaced by somebody else.
            (Some((old, old)), old, other, old, Standing::Before),
            (Some((old, old)), other, new, old, Standing::Foreign),
            (Some((old, old)), 0, new, old, Standing::Foreign),
            (Some((old, old)), new, 0, other, swapped(false)),
            // A file that is new.
            (None, 0, new, 0, Standing::Staged),
            (None, new, new, 0, swapped(true)),
            (None, new, 0, 0, swapped(true)),
            (None, 0, 0, 0, Standing::Before),
            (None, other, new, 0, Standing::Foreign),
        ] {
            let some = |inode| (inode != 0).then(|| identity(inode));
            let file = Replacement {
                path: "/x".into(),
                new: some(new),
                old: was.and_then(|(old, _)| some(old)),
                kept: was.and_then(|(_, kept)| some(kept)),
            };
            let seen = Seen {
                target: some(target),
                staged: some(staged),
                kept: some(kept),
            };
            assert_eq!(standing(&file, &seen), want, "{was:?} {seen:?}");
        }
    }

    #[test]
    fn forward_if_possible_else_back_else_not_at_all() {
        let (staged, before) = (Standing::Staged, Standing::Before);
        let (foreign, swapped) = (Standing::Foreign, Standing::Swapped { undoable: true });
        let forward_only = Standing::Swapped { undoable: false };
        for (standings, want) in [
            (vec![staged, staged], Way::Finish),
            (vec![swapped, staged], Way::Finish),
            (vec![forward_only, forward_only], Way::Finish),
            (vec![swapped, before], Way::Undo),
            (vec![before, staged], Way::Undo),
            (vec![before, before], Way::Undo),
            (vec![forward_only, before], Way::Doubt(vec![1])),
            (vec![swapped, staged, foreign], Way::Doubt(vec![2])),
        ] {
            assert_eq!(decide(&standings), want, "{standings:?}");
        }
    }
}
