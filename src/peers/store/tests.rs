use super::*;
use crate::peers::sample::{DAY, NOW, VALIDITY, at, authority, issued, pair, profile, trust};
use crate::peers::statement::Says;
use crate::pki::issue::Validity;

fn sandbox() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

#[test]
fn what_was_accepted_stays_without_a_clock() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, root) = sandbox();
    let ca = authority("kubernetes");
    let mut trust = trust(&[&ca]);
    assert!(matches!(load(&root, &trust), Loaded::Fresh));
    let mut ledger = Ledger::default();
    let (m1, m2) = (pair(&ca, "m1"), pair(&ca, "m2"));
    ledger.offer(m1.verified(&ca, &at("m1", 300, "10.0.0.1")), 1_764_000_000);
    let removal = crate::peers::sample::statement("m3", 7, Says::Removed);
    ledger.offer(m2.verified(&ca, &removal), 5);
    assert!(save(&root, &ledger).unwrap());
    assert!(!save(&root, &ledger).unwrap());
    let path = dir.path().join("var/lib/stayput/peers/records");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    // Long after the certificate has ended, and in 1970.
    for time in [NOW + 9999 * DAY, 0] {
        trust.time = Time::At(time);
        let Loaded::Good {
            ledger: again,
            refused,
        } = load(&root, &trust)
        else {
            panic!("not loaded");
        };
        assert_eq!((&again, refused), (&ledger, Vec::new()));
        let received =
            |ledger: &Ledger| -> Vec<u64> { ledger.records().map(|held| held.received).collect() };
        assert_eq!(received(&again), received(&ledger));
    }
}

#[test]
fn what_is_not_the_authoritys_any_more_is_left_out() {
    let (_dir, root) = sandbox();
    let (ca, next) = (authority("kubernetes"), authority("kubernetes"));
    let mut ledger = Ledger::default();
    ledger.offer(pair(&ca, "m1").verified(&ca, &at("m1", 3, "10.0.0.1")), 1);
    ledger.offer(
        pair(&next, "m2").verified(&next, &at("m2", 4, "10.0.0.2")),
        1,
    );
    save(&root, &ledger).unwrap();
    let Loaded::Good { ledger, refused } = load(&root, &trust(&[&next])) else {
        panic!("not loaded");
    };
    let masters: Vec<_> = ledger.effective().into_keys().collect();
    assert_eq!(masters, [crate::peers::sample::master("m2")]);
    let [Refused::Chain { master, .. }] = &refused[..] else {
        panic!("{refused:?}");
    };
    assert_eq!(master.label(), "m1");
}

#[test]
fn a_damaged_file_is_set_aside_and_not_lost() {
    let (dir, root) = sandbox();
    let ca = authority("kubernetes");
    let trust = trust(&[&ca]);
    let mut ledger = Ledger::default();
    let validity = Validity {
        not_before: NOW - DAY,
        ..VALIDITY
    };
    let old = pair(&ca, "m1").verified(&ca, &at("m1", 9, "10.0.0.1"));
    let new = issued(&ca, &profile("m1"), validity).verified(&ca, &at("m1", 8, "10.0.0.2"));
    ledger.offer(old, 1);
    ledger.offer(new, 2);
    assert_eq!(ledger.records().count(), 2);
    save(&root, &ledger).unwrap();
    let path = dir.path().join("var/lib/stayput/peers/records");
    let good = std::fs::read(&path).unwrap();
    assert_eq!(parse(&good).unwrap().len(), 2);
    let with_digest = |body: &[u8]| {
        let whole = [FORMAT, body].concat();
        [&whole[..], &Digest::of(&whole).0].concat()
    };
    let twice: Vec<u8> = std::iter::repeat_n([1, 3, 0, 0, 0], ENTRIES + 1)
        .flatten()
        .collect();
    let mut bent = good.clone();
    bent[100] ^= 1;
    for (damaged, want) in [
        (good[..good.len() / 2].to_vec(), "digest"),
        (bent, "digest"),
        ([&good[..], b"x"].concat(), "digest"),
        (Vec::new(), "does not begin"),
        (b"stayput records 2\n".to_vec(), "does not begin"),
        (FORMAT.to_vec(), "digest"),
        (with_digest(&[1]), "record 1 cannot be read"),
        (with_digest(&[1, 4, 0, 0, 0, 0]), "record 1 cannot be read"),
        (
            with_digest(&[1, 3, 0, 0, 0, 1, 0xff]),
            "record 2 cannot be read",
        ),
        (with_digest(&twice), "more than"),
    ] {
        std::fs::write(&path, &damaged).unwrap();
        let seen = peek(&root, &trust);
        assert!(
            matches!(
                seen,
                Loaded::Damaged {
                    set_aside: None,
                    ..
                }
            ),
            "{seen:?}"
        );
        let Loaded::Damaged { reason, set_aside } = load(&root, &trust) else {
            panic!("loaded");
        };
        assert!(reason.contains(want), "{reason}");
        let aside = dir
            .path()
            .join(set_aside.unwrap().strip_prefix("/").unwrap());
        assert_eq!(std::fs::read(aside).unwrap(), damaged);
        assert!(matches!(load(&root, &trust), Loaded::Fresh));
    }
    assert_eq!(parse(&with_digest(&[])), Ok(Vec::new()));
}

#[test]
fn a_file_that_cannot_be_read_is_left_alone() {
    let (dir, root) = sandbox();
    let trust = trust(&[&authority("kubernetes")]);
    let path = dir.path().join("var/lib/stayput/peers/records");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Also for root: a symlink that leads to itself.
    std::os::unix::fs::symlink("records", &path).unwrap();
    let Loaded::Unreadable(unreadable) = load(&root, &trust) else {
        panic!("loaded");
    };
    assert!(unreadable.to_string().contains("symbolic links"));
    assert!(path.is_symlink());
    std::fs::remove_file(&path).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(SIZE + 1).unwrap();
    assert!(matches!(peek(&root, &trust), Loaded::Damaged { .. }));
}
