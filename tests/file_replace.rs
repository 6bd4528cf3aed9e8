//! Files are replaced whole, with all that belongs to them, or not at all.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{FlockOperation, XattrFlags, flock, getxattr, setxattr};
use stayput::file::{self, Error, InPlace};
use stayput::root::Root;

#[expect(dead_code, reason = "each test file uses a part of it")]
mod hosts_sample;
mod sample;
use hosts_sample::{have, in_mount_namespace, inner_dir};

const HOSTS: &str = "/etc/hosts";

struct Sandbox {
    dir: tempfile::TempDir,
    root: Root,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        Self { dir, root }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    fn replace(&self, text: &str) -> Result<bool, Error> {
        file::replace(&self.root, Path::new(HOSTS), text.as_bytes(), 0o644)
    }

    fn names(&self, folder: &str) -> Vec<String> {
        names_in(&self.path(folder))
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn makes_a_file_and_leaves_it_alone_when_nothing_changes() {
    let sandbox = Sandbox::new();
    assert!(sandbox.replace("one\n").unwrap());
    let before = fs::metadata(sandbox.path(HOSTS)).unwrap();
    assert_eq!(
        before.permissions().mode() & 0o7777,
        0o644,
        "whatever the umask"
    );
    assert!(!sandbox.replace("one\n").unwrap());
    let after = fs::metadata(sandbox.path(HOSTS)).unwrap();
    assert_eq!(
        (before.ino(), before.ctime_nsec()),
        (after.ino(), after.ctime_nsec())
    );
    assert!(sandbox.replace("two\n").unwrap());
    assert_eq!(fs::read_to_string(sandbox.path(HOSTS)).unwrap(), "two\n");
    assert!(sandbox.replace("").unwrap(), "a shorter one, too");
    assert_eq!(sandbox.names("etc"), ["hosts"]);
}

#[test]
fn keeps_owner_mode_attributes_and_acl() {
    let sandbox = Sandbox::new();
    let path = sandbox.path(HOSTS);
    sandbox.replace("one\n").unwrap();
    let label = setxattr(&path, "user.label", b"secret", XattrFlags::empty()).is_ok();
    if !have("a filesystem with user attributes", label) {
        return;
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let root = rustix::process::geteuid().is_root();
    if have("root", root) {
        std::os::unix::fs::chown(&path, Some(65534), Some(65533)).unwrap();
        setxattr(
            &path,
            "security.test",
            b"\x00label\xff",
            XattrFlags::empty(),
        )
        .unwrap();
    }
    let acl = Command::new("setfacl")
        .args(["-m", "u:1:r"])
        .arg(&path)
        .status();
    let acl = have("setfacl", acl.is_ok_and(|status| status.success()));
    let before = fs::metadata(&path).unwrap();
    assert!(sandbox.replace("two\n").unwrap());
    let after = fs::metadata(&path).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!(
        (before.uid(), before.gid(), before.mode()),
        (after.uid(), after.gid(), after.mode())
    );
    let attribute = |name: &str| {
        let mut value = vec![0; 100];
        let length = getxattr(&path, name, value.as_mut_slice()).unwrap();
        value.truncate(length);
        value
    };
    assert_eq!(attribute("user.label"), b"secret");
    if root {
        assert_eq!(attribute("security.test"), b"\x00label\xff");
    }
    if acl {
        let shown = Command::new("getfacl")
            .arg("-c")
            .arg(&path)
            .output()
            .unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(
            shown.contains(":r--\n") && shown.contains("mask::r--"),
            "{shown}"
        );
        assert!(
            shown.contains("user:daemon:r--") || shown.contains("user:1:r--"),
            "{shown}"
        );
    }
}

#[test]
fn a_default_acl_of_the_folder_does_not_open_the_file() {
    let sandbox = Sandbox::new();
    sandbox.replace("one\n").unwrap();
    let acl = Command::new("setfacl")
        .args(["-d", "-m", "u:1:rwx"])
        .arg(sandbox.path("etc"))
        .status();
    if !have("setfacl", acl.is_ok_and(|status| status.success())) {
        return;
    }
    sandbox.replace("two\n").unwrap();
    let shown = Command::new("getfacl")
        .arg("-c")
        .arg(sandbox.path(HOSTS))
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown.trim(), "user::rw-\ngroup::r--\nother::r--");
}

#[test]
fn a_symlink_stays_one_and_leads_nowhere_outside() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("data")).unwrap();
    fs::write(sandbox.path("data/real"), "old").unwrap();
    symlink("/data/real", sandbox.path(HOSTS)).unwrap();
    assert!(sandbox.replace("new").unwrap());
    assert!(sandbox.path(HOSTS).is_symlink());
    assert_eq!(
        fs::read_to_string(sandbox.path("data/real")).unwrap(),
        "new"
    );
    assert!(file::remove(&sandbox.root, Path::new(HOSTS)).unwrap());
    assert!(!file::remove(&sandbox.root, Path::new(HOSTS)).unwrap());
    assert!(sandbox.names("data").is_empty());
}

#[test]
fn what_is_no_file_is_left_alone() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path(HOSTS)).unwrap();
    let error = sandbox.replace("x").unwrap_err().to_string();
    assert_eq!(error, "/etc/hosts is not a regular file; it is left alone");
    let missing = file::replace(&sandbox.root, Path::new("/no/such/file"), b"x", 0o600);
    let error = missing.unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot write /no/such/file: its folder does not exist; create it first"
    );
}

#[test]
fn the_leftover_of_a_killed_run_goes_away() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("etc/.hosts.stayput"), "half of a fi").unwrap();
    assert!(sandbox.replace("whole\n").unwrap());
    assert_eq!(sandbox.names("etc"), ["hosts"]);
    // Not even if it is a trap.
    symlink("/etc/hosts", sandbox.path("etc/.hosts.stayput")).unwrap();
    assert!(sandbox.replace("again\n").unwrap());
    assert_eq!(sandbox.names("etc"), ["hosts"]);
    assert_eq!(fs::read_to_string(sandbox.path(HOSTS)).unwrap(), "again\n");
}

#[test]
fn a_change_by_somebody_else_is_read_again() {
    let sandbox = Sandbox::new();
    let path = sandbox.path(HOSTS);
    fs::write(&path, "one\n").unwrap();
    let mut asked = 0;
    let append_ours = |old: Option<&[u8]>| {
        asked += 1;
        if asked == 1 {
            fs::write(&path, "one\nforeign\n").unwrap();
        }
        Ok::<_, Error>(Some([old.unwrap_or_default(), b"ours\n"].concat()))
    };
    assert!(file::update(&sandbox.root, Path::new(HOSTS), 1000, 0o644, append_ours).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\nforeign\nours\n");
    assert_eq!(asked, 2);

    let always = |_: Option<&[u8]>| {
        asked += 1;
        fs::write(&path, format!("{asked}")).unwrap();
        Ok::<_, Error>(Some(b"ours\n".to_vec()))
    };
    let error = file::update(&sandbox.root, Path::new(HOSTS), 1000, 0o644, always).unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{asked}"));
    assert_eq!(sandbox.names("etc"), ["hosts"]);
}

#[test]
fn a_file_that_appears_meanwhile_is_not_overwritten_unread() {
    let sandbox = Sandbox::new();
    let path = sandbox.path(HOSTS);
    let decide = |old: Option<&[u8]>| {
        if old.is_none() {
            fs::write(&path, "foreign\n").unwrap();
        }
        Ok::<_, Error>(Some([old.unwrap_or_default(), b"ours\n"].concat()))
    };
    file::update(&sandbox.root, Path::new(HOSTS), 1000, 0o644, decide).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "foreign\nours\n");
}

#[test]
fn a_stranger_who_locks_the_folder_delays_but_does_not_stop() {
    let sandbox = Sandbox::new();
    sandbox.replace("one\n").unwrap();
    let folder = fs::File::open(sandbox.path("etc")).unwrap();
    flock(folder.as_fd(), FlockOperation::LockExclusive).unwrap();
    assert!(sandbox.replace("two\n").unwrap());
    assert_eq!(fs::read_to_string(sandbox.path(HOSTS)).unwrap(), "two\n");
    assert_eq!(sandbox.names("etc"), ["hosts"]);
}

#[test]
fn writers_at_the_same_time_leave_a_whole_file() {
    let sandbox = Sandbox::new();
    let texts: Vec<String> = (0..4).map(|i| format!("{i}\n").repeat(10_000)).collect();
    sandbox.replace(&texts[0]).unwrap();
    std::thread::scope(|scope| {
        for text in &texts {
            let sandbox = &sandbox;
            scope.spawn(move || {
                for _ in 0..20 {
                    match sandbox.replace(text) {
                        Ok(_) | Err(Error::Changed { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        for _ in 0..200 {
            let seen = fs::read_to_string(sandbox.path(HOSTS)).unwrap();
            assert!(texts.contains(&seen));
        }
    });
    assert_eq!(sandbox.names("etc"), ["hosts"]);
}

#[test]
fn a_damaged_file_is_set_aside() {
    let sandbox = Sandbox::new();
    let path = Path::new("/etc/book.json");
    assert_eq!(
        file::set_aside(&sandbox.root, path, ".damaged").unwrap(),
        None
    );
    for text in ["first", "second"] {
        file::replace(&sandbox.root, path, text.as_bytes(), 0o600).unwrap();
        let aside = file::set_aside(&sandbox.root, path, ".damaged").unwrap();
        assert_eq!(aside.as_deref(), Some(Path::new("/etc/book.json.damaged")));
    }
    assert_eq!(sandbox.names("etc"), ["book.json.damaged"]);
    assert_eq!(
        fs::read(sandbox.path("etc/book.json.damaged")).unwrap(),
        b"second"
    );
}

#[test]
fn in_place_changes_only_what_it_knows() {
    let sandbox = Sandbox::new();
    let path = sandbox.path(HOSTS);
    assert!(
        InPlace::open(&sandbox.root, Path::new(HOSTS), 100)
            .unwrap()
            .is_none()
    );
    fs::write(&path, "0123456789").unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let mut file = InPlace::open(&sandbox.root, Path::new(HOSTS), 100)
        .unwrap()
        .unwrap();
    file.overwrite(2, b"ab").unwrap();
    file.append(b"!").unwrap();
    file.sync().unwrap();
    assert_eq!(file.bytes(), b"01ab456789!");
    assert_eq!(fs::read(&path).unwrap(), b"01ab456789!");
    assert!(file.overwrite(10, b"xx").is_err(), "beyond the end");

    fs::write(&path, "01AB456789!").unwrap();
    assert!(matches!(
        file.overwrite(3, b"c"),
        Err(Error::Changed { .. })
    ));
    fs::write(&path, "0").unwrap();
    assert!(matches!(
        file.overwrite(4, b"c"),
        Err(Error::Changed { .. })
    ));
    assert!(matches!(file.append(b"c"), Err(Error::Changed { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"0");
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    drop(file);
    fs::write(&path, "x".repeat(101)).unwrap();
    let error = InPlace::open(&sandbox.root, Path::new(HOSTS), 100).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/etc/hosts is larger than 100 bytes; it is left alone"
    );
}

#[test]
fn in_place_never_writes_into_another_file_of_the_same_name() {
    let sandbox = Sandbox::new();
    let path = sandbox.path(HOSTS);
    fs::write(&path, "01234").unwrap();
    let open = || {
        InPlace::open(&sandbox.root, Path::new(HOSTS), 100)
            .unwrap()
            .unwrap()
    };
    for replaced in [true, false] {
        let mut file = open();
        fs::rename(&path, sandbox.path("etc/old")).unwrap();
        if replaced {
            fs::write(&path, "01234").unwrap();
        }
        for result in [file.overwrite(0, b"x"), file.append(b"x")] {
            assert!(matches!(result, Err(Error::Changed { .. })), "{result:?}");
        }
        assert_eq!(fs::read(sandbox.path("etc/old")).unwrap(), b"01234");
        if replaced {
            assert_eq!(fs::read(&path).unwrap(), b"01234");
        }
    }
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    let sandbox = Sandbox::new();
    let script = "mount -t tmpfs -o size=64k none \"$DIR\"/etc\n\
        echo old > \"$DIR\"/etc/hosts\n\
        inner inner_full_disk";
    in_mount_namespace(sandbox.dir.path(), script);
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_full_disk() {
    let dir = inner_dir();
    let root = Root::open(&dir).unwrap();
    let large = vec![b'x'; 1 << 17];
    let error = file::replace(&root, Path::new(HOSTS), &large, 0o644).unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    let mut file = InPlace::open(&root, Path::new(HOSTS), 100)
        .unwrap()
        .unwrap();
    let error = file.append(&large).unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!(names_in(&dir.join("etc")), ["hosts"]);
    assert_eq!(fs::read_to_string(dir.join("etc/hosts")).unwrap(), "old\n");
}

#[test]
fn a_file_that_cannot_be_renamed_says_so_and_is_unharmed() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path(HOSTS), "old\n").unwrap();
    let script = "mount --bind \"$DIR\"/etc/hosts \"$DIR\"/etc/hosts\n\
        inner inner_cannot_rename\n\
        umount \"$DIR\"/etc/hosts\n\
        mount --bind \"$DIR\"/etc \"$DIR\"/etc\n\
        mount -o remount,bind,ro \"$DIR\"/etc\n\
        inner inner_read_only";
    in_mount_namespace(sandbox.dir.path(), script);
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_cannot_rename() {
    let dir = inner_dir();
    let root = Root::open(&dir).unwrap();
    assert!(!file::replace(&root, Path::new(HOSTS), b"old\n", 0o644).unwrap());
    let error = file::replace(&root, Path::new(HOSTS), b"new\n", 0o644).unwrap_err();
    assert!(matches!(error, Error::CannotRename { .. }), "{error}");
    assert_eq!(names_in(&dir.join("etc")), ["hosts"]);
    assert_eq!(fs::read_to_string(dir.join("etc/hosts")).unwrap(), "old\n");
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_read_only() {
    let dir = inner_dir();
    let root = Root::open(&dir).unwrap();
    for path in [HOSTS, "/etc/new"] {
        let error = file::replace(&root, Path::new(path), b"new\n", 0o644).unwrap_err();
        assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
    }
    assert_eq!(names_in(&dir.join("etc")), ["hosts"]);
}
