use super::*;
use proptest::prelude::*;

const NOW: i64 = 1_764_000_000;

fn moment(clock: i64, seen: i64, synchronised: Synchronised, trusted: bool) -> Moment {
    Moment {
        clock,
        seen,
        synchronised,
        trusted,
    }
}

fn sandbox() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

fn kept(root: &Root) -> Option<String> {
    let bytes = root.read(Path::new(PATH), LIMIT).unwrap();
    bytes.map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn who_may_issue() {
    use Synchronised::{No, Unknown, Yes};
    let behind = Err("--trust-clock");
    // clock − seen, synchronised, trusted; what a person, then a timer, is told.
    let table = [
        (0, Yes, false, Ok(()), Ok(())),
        (7200, Yes, false, Ok(()), Ok(())),
        (7200, No, false, Ok(()), Err("not synchronised")),
        (7200, Unknown, false, Ok(()), Err("adjtimex(2)")),
        (-TOLERANCE, Yes, false, Ok(()), Ok(())),
        (-TOLERANCE - 1, Yes, false, behind, behind),
        (-7200, No, false, behind, behind),
        // A person's word is for the person's own run.
        (-7200, No, true, Ok(()), behind),
        (-7200, Yes, true, Ok(()), behind),
        (0, No, true, Ok(()), Err("not synchronised")),
    ];
    for (ahead, synchronised, trusted, person, timer) in table {
        let moment = moment(NOW + ahead, NOW, synchronised, trusted);
        for (attended, want) in [(true, person), (false, timer)] {
            let said = moment.may_issue(attended).map_err(|e| e.to_string());
            match want {
                Ok(()) => assert_eq!(said, Ok(()), "{moment:?}"),
                Err(part) => assert!(said.unwrap_err().contains(part), "{moment:?}"),
            }
        }
    }
    let refusal = moment(NOW - 86_400, NOW, Yes, false).may_issue(true);
    let text = refusal.unwrap_err().to_string();
    assert!(text.contains("says 2025-11-23T16:00:00Z"), "{text}");
    assert!(text.contains("seen 2025-11-24T16:00:00Z"), "{text}");
}

#[test]
fn only_a_good_clock_is_remembered() {
    let (_dir, root) = sandbox();
    for synchronised in [Synchronised::No, Synchronised::Unknown] {
        let moment = moment(NOW, 0, synchronised, false);
        assert!(!moment.remember(&root, false).unwrap());
    }
    assert_eq!(kept(&root), None);
    let issued = moment(NOW, 0, Synchronised::No, false);
    assert!(issued.remember(&root, true).unwrap());
    assert_eq!(kept(&root).unwrap(), format!("{NOW}\n"));
    // A look that finds little news writes nothing; issuing does.
    let soon = moment(NOW + 60, NOW, Synchronised::Yes, false);
    assert!(!soon.remember(&root, false).unwrap());
    assert!(soon.remember(&root, true).unwrap());
    let later = moment(NOW + 7200, NOW, Synchronised::Yes, false);
    assert!(later.remember(&root, false).unwrap());
    assert_eq!(Moment::read(&root, false).unwrap().seen, NOW + 7200);
    // A run that began earlier and ends later does not set it back.
    assert!(!issued.remember(&root, true).unwrap());
    assert_eq!(Moment::read(&root, false).unwrap().seen, NOW + 7200);
}

#[test]
fn a_person_can_set_it_back() {
    let (_dir, root) = sandbox();
    let far = moment(LAST_SECOND - 1, 0, Synchronised::Yes, false);
    far.remember(&root, false).unwrap();
    let refused = Moment::read(&root, false).unwrap();
    assert_eq!(refused.judged(), LAST_SECOND - 1);
    assert!(matches!(
        refused.may_issue(true),
        Err(Refusal::Behind { .. })
    ));
    let trusted = Moment::read(&root, true).unwrap();
    assert_eq!(trusted.judged(), trusted.clock);
    trusted.may_issue(true).unwrap();
    trusted.remember(&root, false).unwrap();
    Moment::read(&root, false).unwrap().may_issue(true).unwrap();
}

#[test]
fn a_damaged_file_is_not_taken_for_none() {
    for damaged in ["", "\n", "0", "-5", "17e8", "\u{0}\u{0}", "253402300800"] {
        let (_dir, root) = sandbox();
        root.create_folders(folder(), 0o700).unwrap();
        file::replace(&root, Path::new(PATH), damaged.as_bytes(), 0o600).unwrap();
        let text = Moment::read(&root, false).unwrap_err().to_string();
        assert!(
            text.contains("is damaged") && text.contains(PATH),
            "{damaged:?}: {text}"
        );
        let now = moment(NOW, 0, Synchronised::Yes, false);
        now.remember(&root, true).unwrap_err();
        assert_eq!(kept(&root).unwrap(), damaged);
        let trusted = Moment::read(&root, true).unwrap();
        trusted.may_issue(true).unwrap();
        assert!(trusted.remember(&root, false).unwrap());
        let again = Moment::read(&root, false).unwrap();
        assert_eq!(again.seen, trusted.clock);
    }
}

#[test]
fn only_root_sees_the_folder() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, root) = sandbox();
    let now = moment(NOW, 0, Synchronised::Yes, false);
    now.remember(&root, false).unwrap();
    for (path, want) in [("", 0o755), ("certificates", 0o700)] {
        let path = dir.path().join("var/lib/stayput").join(path);
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, want);
    }
}

#[test]
fn the_kernels_word() {
    let table = [
        (Ok(0), Synchronised::Yes),
        (Ok(15_999_999), Synchronised::Yes),
        (Ok(16_000_000), Synchronised::No),
        (
            Err(io::ErrorKind::PermissionDenied.into()),
            Synchronised::Unknown,
        ),
    ];
    for (answer, want) in table {
        assert_eq!(synchronised(&answer), want, "{answer:?}");
    }
    // Whatever this machine says, it is asked without harm.
    let _ = synchronised(&maximum_error());
}

proptest! {
    #[test]
    fn time_never_goes_back_by_itself(
        clocks in proptest::collection::vec((1..LAST_SECOND, any::<bool>()), 1..20),
    ) {
        let mut kept = None;
        for (clock, issued) in clocks {
            let now = moment(clock, kept.unwrap_or(0), Synchronised::Yes, false);
            prop_assert!(now.judged() >= clock.max(now.seen));
            // What is issued at all is valid by this clock at once.
            if now.may_issue(true).is_ok() {
                prop_assert!(now.judged() - BACKDATED <= clock);
            }
            let new = now.worth_keeping(kept, issued).or(kept);
            prop_assert!(new >= kept);
            prop_assert!(new.unwrap() > clock - WORTH_A_WRITE);
            kept = new;
        }
    }
}
