//! Writes a file that is to take another one's place later, with all that belongs to that one.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{Error, Old, attributes, failed, sync_folder};
use crate::root::Root;

/// Writes `path`, durably, with the owner, mode and extended attributes of `old`. Under its name it is
/// complete at every moment; one of that name is replaced. For one writer at a time.
pub fn write_like(root: &Root, old: &Old, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let place = root.resolve(path).map_err(Error::io("find", path))?;
    let folder = &place.folder;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(&place.name);
    temporary.push(".stayput");
    // What a run that was killed has left.
    match rustix::fs::unlinkat(folder, &temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed("clear the way for", path)(errno)),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Closed to all but us until it has the old file's owner.
    let made = rustix::fs::openat(folder, &temporary, flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(made.map_err(failed("make", path))?);
    let written = attributes::copy(&old.fd, &old.stat, &file)
        .map_err(failed("keep owner, mode and attributes in", path))
        .and_then(|()| file.write_all(bytes).map_err(Error::io("write", path)))
        .and_then(|()| file.sync_all().map_err(Error::io("sync", path)))
        .and_then(|()| {
            rustix::fs::renameat(folder, &temporary, folder, &place.name)
                .map_err(failed("name", path))
        });
    if written.is_err() {
        // Nothing more can be done about a failure here; the next run tries again.
        let _ = rustix::fs::unlinkat(folder, &temporary, AtFlags::empty());
    }
    written?;
    sync_folder(folder, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::replaceable;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn it_has_the_other_one_s_mode_and_attributes() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "old").unwrap();
        std::fs::set_permissions(&a, std::fs::Permissions::from_mode(0o640)).unwrap();
        // A run that died.
        std::fs::write(dir.path().join(".b.stayput"), "half").unwrap();
        let labelled =
            rustix::fs::setxattr(&a, c"user.label", b"x", rustix::fs::XattrFlags::empty());
        let old = replaceable(&root, Path::new("/a")).unwrap().unwrap();
        for text in ["new", "newer"] {
            write_like(&root, &old, Path::new("/b"), text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&b).unwrap(), text);
            let (was, is) = (a.metadata().unwrap(), b.metadata().unwrap());
            assert_eq!(is.mode(), was.mode());
            assert_eq!((is.uid(), is.gid()), (was.uid(), was.gid()));
            if labelled.is_ok() {
                let mut value = [0; 8];
                let length = rustix::fs::getxattr(&b, c"user.label", &mut value[..]).unwrap();
                assert_eq!(&value[..length], b"x");
            }
        }
        assert!(!dir.path().join(".b.stayput").exists());
        assert_eq!(std::fs::read_to_string(&a).unwrap(), "old");
    }
}
