//! A bundle as a tar. What arrives was made by another machine, or by nobody knows whom: it is read
//! whole, within limits, before anything is made of it.

use std::io::{Read, Write};

use tar::{Archive, Builder, Entry, EntryType, Header};
use zeroize::Zeroizing;

use super::{Bundle, Error, Pair, mode};

/// How many bytes an archive may have; a usual one has 20,000.
pub const LIMIT: u64 = 1 << 20;

/// A tar ends with two blocks of zeros (POSIX, pax, "ustar Interchange Format").
const END: [u8; 1024] = [0; 1024];

impl Bundle {
    /// Reads an archive to its end. Regular files of the expected names only, each once; the folders
    /// that they lie in are passed over.
    pub fn read(input: impl Read, pairs: Vec<Pair>) -> Result<Self, Error> {
        let bytes = read_bounded(input)?;
        if !bytes.ends_with(&END) {
            return Err(Error::CutOff);
        }
        let mut bundle = Self::empty(pairs);
        let mut archive = Archive::new(bytes.as_slice());
        for entry in archive.entries().map_err(Error::archive("read"))? {
            let mut entry = entry.map_err(Error::archive("read"))?;
            if is_folder(&entry, &bundle.pairs) {
                continue;
            }
            let name = expected(&entry, &bundle.pairs)?;
            let room = usize::try_from(entry.size()).map_or(0, |size| size.min(bytes.len()));
            let mut contents = Zeroizing::new(Vec::with_capacity(room));
            let read = entry.read_to_end(&mut contents);
            read.map_err(Error::archive("read"))?;
            if bundle.files.insert(name, contents).is_some() {
                return Err(unexpected(&entry, "twice"));
            }
        }
        Ok(bundle)
    }

    /// Writes the archive: modes as kubeadm's, no times and no owners, so that the same files always
    /// make the same bytes.
    pub fn write(&self, output: impl Write) -> Result<(), Error> {
        let mut archive = Builder::new(output);
        let names = self.pairs.iter().flat_map(Pair::names);
        let files = names.filter_map(|name| Some((name, self.files.get(name)?)));
        let written = files.into_iter().try_for_each(|(name, bytes)| {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(mode(name));
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, name, bytes.as_slice())
        });
        written
            .and_then(|()| archive.finish())
            .and_then(|()| archive.get_mut().flush())
            .map_err(Error::archive("write"))
    }
}

/// All of the input, in one buffer that is wiped: one that grew would leave copies behind.
fn read_bounded(input: impl Read) -> Result<Zeroizing<Vec<u8>>, Error> {
    let room = usize::try_from(LIMIT + 1).map_err(|_| Error::TooLarge)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let read = input.take(LIMIT + 1).read_to_end(&mut bytes);
    read.map_err(Error::archive("read"))?;
    if bytes.len() as u64 > LIMIT {
        return Err(Error::TooLarge);
    }
    Ok(bytes)
}

/// The folders of the files; tar adds them where it is given folders.
fn is_folder(entry: &Entry<'_, impl Read>, pairs: &[Pair]) -> bool {
    let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let folder = format!("{}/", path.trim_end_matches('/'));
    let mut names = pairs.iter().flat_map(Pair::names);
    let known = names.any(|name| name.starts_with(&folder));
    known && entry.header().entry_type() == EntryType::Directory
}

/// Which of the files it is. Nothing but the very name will do, so there is no path to be careful with.
fn expected(entry: &Entry<'_, impl Read>, pairs: &[Pair]) -> Result<String, Error> {
    let path = entry.path_bytes();
    let mut names = pairs.iter().flat_map(Pair::names);
    let name = names.find(|name| name.as_bytes() == &*path);
    let name = name.ok_or_else(|| unexpected(entry, "which does not belong there"))?;
    let name = name.to_owned();
    if entry.header().entry_type() == EntryType::Regular {
        Ok(name)
    } else {
        Err(unexpected(entry, "which is no regular file"))
    }
}

fn unexpected(entry: &Entry<'_, impl Read>, what: &'static str) -> Error {
    // Whoever made the archive chose the name; it must not move the cursor of a terminal.
    let name = String::from_utf8_lossy(&entry.path_bytes())
        .escape_debug()
        .to_string();
    Error::Unexpected { name, what }
}
