//! The folder below which every path hangs.
//!
//! `--root DIR` turns the whole program into a sandbox: each path is looked up below `DIR`, and no
//! symlink in it, absolute or through `..`, leads out (openat2(2), `RESOLVE_IN_ROOT`). On a node the
//! root is `/` and the same code runs.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::address::Loopback;

/// Where all paths are looked up. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Root {
    fd: Arc<OwnedFd>,
    path: PathBuf,
}

/// A path with its symlinks resolved: an open folder and a name in it that is no symlink.
#[derive(Debug)]
pub struct Place {
    /// The folder, opened for reading, so that it can be locked, listed and fsynced.
    pub folder: OwnedFd,
    /// The last component; it may not exist.
    pub name: OsString,
}

/// How many symlinks a path may pass through, as in `path_resolution(7)`.
const MAX_SYMLINKS: usize = 40;

impl Root {
    /// Opens the root folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let path = std::fs::canonicalize(path)?;
        Ok(Self {
            fd: Arc::new(fd),
            path,
        })
    }

    /// Whether this is the machine's own root, not a sandbox.
    pub fn is_system(&self) -> bool {
        self.path == Path::new("/")
    }

    /// Which addresses a master may have below this root: a sandbox's masters are pretend ones.
    pub fn loopback(&self) -> Loopback {
        if self.is_system() {
            Loopback::Refused
        } else {
            Loopback::Allowed
        }
    }

    /// The root's own path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what `path` leads to, below the root. `mode` is for files that the flags create.
    pub fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        loop {
            match rustix::fs::openat2(
                &*self.fd,
                below(path),
                flags,
                mode,
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            ) {
                // A rename elsewhere raced with the look-up of `..`; openat2(2) says to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other.map_err(io::Error::from),
            }
        }
    }

    /// The contents of a file of at most `limit` bytes; `None` where there is no such file.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let fd = match self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(fd) => fd,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        read_regular(fd, limit).map(Some)
    }

    /// Whether `path` leads to anything. An error means that this is not known: only a missing
    /// name, or a file where a folder should be, is a no.
    pub fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.open_at(path, OFlags::PATH, Mode::empty()) {
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Follows every symlink, the last one too, and gives the folder and name of what is behind.
    pub fn resolve(&self, path: &Path) -> io::Result<Place> {
        let mut path = path.to_owned();
        for _ in 0..MAX_SYMLINKS {
            let name = path.file_name().ok_or_else(not_a_file)?.to_owned();
            let parent = path.parent().unwrap_or(Path::new("")).to_owned();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let folder = self.open_at(&parent, flags, Mode::empty())?;
            match rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                    let target = rustix::fs::readlinkat(&folder, &name, Vec::new())?;
                    // An absolute target replaces the parent; `..` is left to the kernel.
                    path = parent.join(OsString::from_vec(target.into_bytes()));
                }
                Ok(_) | Err(Errno::NOENT) => return Ok(Place { folder, name }),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::LOOP.into())
    }

    /// Makes a folder and those above it, where they are missing.
    pub fn create_folders(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut so_far = PathBuf::from("/");
        for component in path.components() {
            let Component::Normal(name) = component else {
                continue;
            };
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let folder = self.open_at(&so_far, flags, Mode::empty())?;
            so_far.push(name);
            match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(mode)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The path by which a program that knows nothing of the root reaches the same place: the
    /// folder's real path with the last component behind it.
    pub fn host_path(&self, path: &Path) -> io::Result<PathBuf> {
        let place = self.resolve(path)?;
        Ok(real_path(&place.folder)?.join(place.name))
    }

    /// A short path to the same place that stays valid while `Place` lives, for Unix sockets, whose
    /// paths end at 108 bytes.
    pub fn socket_path(place: &Place) -> PathBuf {
        Path::new("/proc/self/fd")
            .join(place.folder.as_raw_fd().to_string())
            .join(&place.name)
    }
}

/// Reads an open regular file of at most `limit` bytes.
pub fn read_regular(fd: OwnedFd, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let file = std::fs::File::from(fd);
    if !file.metadata()?.is_file() {
        return Err(not_a_file());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("larger than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

fn real_path(folder: &OwnedFd) -> io::Result<PathBuf> {
    std::fs::read_link(Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()))
}

/// openat2 wants a path that is not empty; an absolute one starts at the root anyway.
fn below(path: &Path) -> &OsStr {
    if path.as_os_str().is_empty() {
        OsStr::new("/")
    } else {
        path.as_os_str()
    }
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn sandbox() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/real"), "inside").unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn symlinks_stay_inside_the_root() {
        let (dir, root) = sandbox();
        symlink("/etc/real", dir.path().join("etc/absolute")).unwrap();
        symlink("../../../../etc/real", dir.path().join("etc/upwards")).unwrap();
        for link in ["/etc/absolute", "/etc/upwards", "etc/absolute"] {
            let bytes = root.read(Path::new(link), 100).unwrap().unwrap();
            assert_eq!(bytes, b"inside", "{link}");
            let real = root.host_path(Path::new(link)).unwrap();
            assert_eq!(real, root.path().join("etc/real"), "{link}");
        }
        assert!(
            root.read(Path::new("/etc/hostname"), 100)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_loop_of_symlinks_is_an_error() {
        let (dir, root) = sandbox();
        symlink("/etc/b", dir.path().join("etc/a")).unwrap();
        symlink("/etc/a", dir.path().join("etc/b")).unwrap();
        assert!(root.resolve(Path::new("/etc/a")).is_err());
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_taken_for_missing() {
        let (dir, root) = sandbox();
        symlink("/etc/b", dir.path().join("etc/a")).unwrap();
        symlink("/etc/a", dir.path().join("etc/b")).unwrap();
        assert!(root.exists(Path::new("/etc/real")).unwrap());
        for missing in ["/etc/none", "/none/real", "/etc/real/below"] {
            assert!(!root.exists(Path::new(missing)).unwrap(), "{missing}");
        }
        assert!(root.exists(Path::new("/etc/a")).is_err());
    }

    #[test]
    fn reads_no_more_than_the_limit_and_only_files() {
        let (dir, root) = sandbox();
        assert!(root.read(Path::new("/etc/real"), 5).is_err());
        assert!(root.read(Path::new("/etc"), 100).is_err());
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("etc/fifo"), Mode::RUSR).unwrap();
        assert!(root.read(Path::new("/etc/fifo"), 100).is_err());
    }

    #[test]
    fn makes_folders() {
        let (dir, root) = sandbox();
        root.create_folders(Path::new("/var/lib/stayput"), 0o700)
            .unwrap();
        assert!(dir.path().join("var/lib/stayput").is_dir());
    }
}
