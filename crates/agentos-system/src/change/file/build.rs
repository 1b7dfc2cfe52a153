//! Making something new under a name aside, so that it appears under its own name whole or not at all.

use std::fs::File;
use std::io::Write;

use agentos_objects::{ObjectError, Objects};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chmod, chownat, fsync,
    futimens, linkat, mkdirat, mknodat, openat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::attributes::Attributes;
use super::place::file_type;
use super::state::{Content, FileState, own_attributes};
use crate::change::error::ChangeError;
use crate::files::link_to;

/// Something new under a name aside. Dropping it removes it, unless it got its own name.
pub(super) struct Aside<'f> {
    pub(super) folder: &'f OwnedFd,
    pub(super) name: std::ffi::CString,
    /// It is gone from here already.
    pub(super) settled: bool,
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        if !self.settled {
            remove(self.folder, &self.name);
        }
    }
}

/// Removes a name, whatever it is of. A folder goes only where it is empty.
pub(super) fn remove(folder: &OwnedFd, name: &std::ffi::CStr) {
    if unlinkat(folder, name, AtFlags::empty()) == Err(Errno::ISDIR) {
        let _ = unlinkat(folder, name, AtFlags::REMOVEDIR);
    }
}

/// Makes what `state` says under the name `aside`, durably. Something that a cut left there is removed before.
///
/// # Errors
/// The kernel's; the store's, where its content is not kept any more.
pub(super) fn build<'f>(
    folder: &'f OwnedFd,
    aside: std::ffi::CString,
    state: &FileState,
    what: &str,
    objects: &Objects,
) -> Result<Aside<'f>, ChangeError> {
    remove(folder, &aside);
    let made = Aside { folder, name: aside, settled: false };
    let failed = |error: Errno| ChangeError::failed(what, std::io::Error::from(error));
    match state {
        FileState::Absent => {}
        FileState::File { attributes, content } => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            // Nobody else may open it before it has its owner and permissions.
            let descriptor = openat(folder, &made.name, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
            let mut file = File::from(descriptor);
            write(&mut file, attributes, content, what, objects)?;
            fsync(&file).map_err(failed)?;
        }
        FileState::Folder { attributes } => {
            mkdirat(folder, &made.name, Mode::RWXU).map_err(failed)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let descriptor = openat(folder, &made.name, flags, Mode::empty()).map_err(failed)?;
            give(&descriptor, attributes).map_err(failed)?;
            fsync(&descriptor).map_err(failed)?;
        }
        FileState::Link { target, uid, gid } => {
            symlinkat(FileState::target(target).map_err(failed)?, folder, &made.name).map_err(failed)?;
            own(folder, &made.name, FileType::Symlink, *uid, *gid).map_err(failed)?;
        }
        FileState::SameAs { of } => {
            let other = of.open_folder().map_err(failed)?;
            linkat(&other, of.name()?, folder, &made.name, AtFlags::empty()).map_err(failed)?;
        }
        FileState::Pipe { attributes } => {
            mknodat(folder, &made.name, FileType::Fifo, Mode::from_raw_mode(attributes.mode), 0)
                .map_err(failed)?;
            let pipe =
                own(folder, &made.name, FileType::Fifo, attributes.uid, attributes.gid).map_err(failed)?;
            // What this process takes from the permissions of all that it makes is given back.
            chmod(link_to(&pipe), Mode::from_raw_mode(attributes.mode)).map_err(failed)?;
        }
    }
    Ok(made)
}

/// Gives a new file its content and attributes. Nothing is synced.
///
/// # Errors
/// As [`build`].
pub(super) fn write(
    file: &mut File,
    attributes: &Attributes,
    content: &Content,
    what: &str,
    objects: &Objects,
) -> Result<(), ChangeError> {
    let failed = |error: Errno| ChangeError::failed(what, std::io::Error::from(error));
    fill(file, content, what, objects)?;
    give(&*file, attributes).map_err(failed)?;
    match content.modified {
        Some((seconds, nanoseconds)) => set_modified(file, seconds, nanoseconds).map_err(failed),
        None => Ok(()),
    }
}

fn fill(file: &mut File, content: &Content, what: &str, objects: &Objects) -> Result<(), ChangeError> {
    match objects.copy_to(&content.sha256, file) {
        Ok(_) => file.flush().map_err(|error| ChangeError::failed(what, error)),
        // The store names a failure to write as well; people want to know about the file.
        Err(ObjectError::Source(error)) => Err(ChangeError::failed(what, error)),
        Err(error) => Err(error.into()),
    }
}

fn give(descriptor: impl AsFd, attributes: &Attributes) -> Result<(), Errno> {
    let descriptor = descriptor.as_fd();
    let has = Attributes::read(Some(descriptor), &own_attributes(descriptor)?)?;
    attributes.write(descriptor, &has)
}

/// Gives a link or pipe its owner: what has the name is opened first, and is not something else.
fn own(
    folder: &OwnedFd,
    name: &std::ffi::CStr,
    kind: FileType,
    uid: u32,
    gid: u32,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let descriptor = openat(folder, name, flags, Mode::empty())?;
    if file_type(own_attributes(&descriptor)?.stx_mode) != kind {
        return Err(Errno::EXIST);
    }
    chownat(&descriptor, c"", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
    Ok(descriptor)
}

fn set_modified(file: &File, seconds: i64, nanoseconds: u32) -> Result<(), Errno> {
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    futimens(
        file,
        &Timestamps {
            last_access,
            last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
        },
    )
}
