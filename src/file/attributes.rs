//! What belongs to a file besides its bytes: owner, mode, extended attributes.
//!
//! A replacement that lacked them would lock out who may read the old file, or let in who may not,
//! and a file without its `SELinux` label is closed to confined programs.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use rustix::fs::{Mode, Stat, XattrFlags};
use rustix::io::{Errno, Result};

/// The kernel makes these from the contents (IMA, EVM); a copy would be wrong.
const OF_THE_CONTENTS: [&CStr; 2] = [c"security.ima", c"security.evm"];

/// Gives `new` the owner, mode and extended attributes of `old`.
pub(super) fn copy(old: impl AsFd, stat: &Stat, new: impl AsFd) -> Result<()> {
    let fresh = rustix::fs::fstat(&new)?;
    if (fresh.st_uid, fresh.st_gid) != (stat.st_uid, stat.st_gid) {
        let owner = rustix::fs::Uid::from_raw(stat.st_uid);
        let group = rustix::fs::Gid::from_raw(stat.st_gid);
        rustix::fs::fchown(&new, Some(owner), Some(group))?;
    }
    rustix::fs::fchmod(&new, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let wanted = read_all(old)?;
    let found = read_all(&new)?;
    // A folder's default ACL is on the new file though the old one has none.
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        if !name.to_bytes().starts_with(b"security.") {
            rustix::fs::fremovexattr(&new, name.as_c_str())?;
        }
    }
    for (name, value) in &wanted {
        if found.get(name) != Some(value) {
            rustix::fs::fsetxattr(&new, name.as_c_str(), value, XattrFlags::empty())?;
        }
    }
    Ok(())
}

/// All extended attributes that make sense on a copy; none where the filesystem has none.
fn read_all(fd: impl AsFd) -> Result<BTreeMap<CString, Vec<u8>>> {
    // Linux keeps lists and values at 64 KiB at most (xattr(7)).
    let mut list = vec![0; 1 << 16];
    let length = match rustix::fs::flistxattr(&fd, list.as_mut_slice()) {
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(BTreeMap::new()),
        other => other?,
    };
    list.truncate(length);
    let mut all = BTreeMap::new();
    for name in list.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if OF_THE_CONTENTS.contains(&name) {
            continue;
        }
        let mut value = vec![0; 1 << 16];
        let length = rustix::fs::fgetxattr(&fd, name, value.as_mut_slice())?;
        value.truncate(length);
        all.insert(name.to_owned(), value);
    }
    Ok(all)
}
