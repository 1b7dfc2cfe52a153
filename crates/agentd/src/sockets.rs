//! The listening sockets: passed in by systemd, or made here; and removed again only if they are ours.
//!
//! agentd runs as root, so a path is never removed because it looks stale. What agentd made is written down (device and
//! inode) beside the agent's socket; only a socket that is written down there, and on which nobody listens any more, is
//! taken away. Not in the state directory: where that is evidence, or full, the sockets must still be made.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Group, Socket};
use crate::principal::Role;

/// The longest record of sockets that is read, in bytes.
const MAX_RECORD_BYTES: u64 = 1 << 16;

/// A listening socket and the principal that is behind whoever connects to it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) role: Role,
    pub(crate) socket: UnixListener,
}

/// All listening sockets. Dropping this leaves them; [`Sockets::remove`] takes away those that were made here.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) listeners: Vec<Listener>,
    record: Record,
}

/// Why a socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error(
        "{path} exists and is not a socket that agentd made; move it away, or set sockets.*.path to another one"
    )]
    Occupied { path: PathBuf },
    #[error("somebody listens on {path} already; stop it, or set sockets.*.path to another one")]
    InUse { path: PathBuf },
    #[error("there is no group \"{name}\"; make it with: groupadd --system {name}")]
    NoGroup { name: String },
    #[error("cannot listen on {path}")]
    Bind { path: PathBuf, source: io::Error },
    #[error("cannot keep the record of sockets in {path}")]
    Record { path: PathBuf, source: io::Error },
    #[error(
        "systemd passed a socket named \"{name}\"; the names are \"agent\" and \"operator\" (FileDescriptorName=)"
    )]
    UnknownName { name: String },
    #[error("systemd passed a descriptor that is not a listening Unix socket")]
    NotASocket { source: io::Error },
}

/// What a socket file was when agentd made it. Inode numbers are used again, so the time of birth is part of it where
/// the file system keeps one; owner and mode are not, an administrator may change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    device: u64,
    inode: u64,
    born_nanoseconds: Option<u128>,
}

/// The socket files that agentd made. An entry without an identity was about to be made when agentd stopped.
#[derive(Debug, Default)]
struct Record {
    file: PathBuf,
    made: BTreeMap<PathBuf, Option<Identity>>,
}

impl Sockets {
    /// Takes the sockets systemd passed (`sd_listen_fds(3)`), or makes those of the configuration.
    ///
    /// The process's umask must deny others everything: a socket has that mode until it gets its own.
    ///
    /// # Errors
    /// [`SocketError`] names the path and what helps. Nothing that agentd did not make is touched.
    pub(crate) fn open(config: &Config) -> Result<Self, SocketError> {
        let mut record = Record::load(config.sockets.agent.path.with_file_name("agentd-sockets.json"))?;
        let passed = passed_by_systemd()?;
        let mut listeners = passed;
        for (role, socket) in
            [(Role::Agent, &config.sockets.agent), (Role::Operator, &config.sockets.operator)]
        {
            if !listeners.iter().any(|listener| listener.role == role) {
                let socket = bind(socket, &mut record)?;
                listeners.push(Listener { role, socket });
            }
        }
        Ok(Self { listeners, record })
    }

    /// Removes the socket files that were made here and are still the same files.
    pub(crate) fn remove(mut self) {
        self.listeners.clear();
        for path in self.record.made.keys().cloned().collect::<Vec<_>>() {
            if let Err(error) = self.record.remove_stale(&path) {
                tracing::warn!(path = %path.display(), %error, "the socket stays");
            }
        }
        if self.record.made.is_empty() {
            // It says nothing any more; should it stay, the next agentd reads it all the same.
            let _ = std::fs::remove_file(&self.record.file);
        }
    }
}

fn passed_by_systemd() -> Result<Vec<Listener>, SocketError> {
    use std::os::fd::FromRawFd;

    let mut listeners = Vec::new();
    let Ok(descriptors) = sd_notify::listen_fds_with_names() else { return Ok(listeners) };
    for (descriptor, name) in descriptors {
        let role = match name.as_str() {
            "agent" => Role::Agent,
            "operator" => Role::Operator,
            _ => return Err(SocketError::UnknownName { name }),
        };
        // SAFETY: sd_listen_fds(3) hands this descriptor to this process alone, it is open, and it is taken only once.
        let socket = unsafe { UnixListener::from_raw_fd(descriptor) };
        socket
            .local_addr()
            .and_then(|_| socket.set_nonblocking(true))
            .map_err(|source| SocketError::NotASocket { source })?;
        listeners.push(Listener { role, socket });
    }
    Ok(listeners)
}

fn bind(socket: &Socket, record: &mut Record) -> Result<UnixListener, SocketError> {
    let path = &socket.path;
    let failed = |source: io::Error| SocketError::Bind { path: path.clone(), source };
    let group = socket.group.as_ref().map(group_id).transpose()?;
    for directory in [path, &record.file].into_iter().filter_map(|path| path.parent()) {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    record.clear_the_way(path)?;
    // Written before the file exists, so that a crash between the two leaves nothing that nobody owns up to.
    record.insert(path, None)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    if let Some(group) = group {
        rustix::fs::chownat(CWD, path, None, Some(group), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(errno.into()))?;
    }
    let mode = Mode::from_raw_mode(socket.mode.bits());
    rustix::fs::chmodat(CWD, path, mode, AtFlags::empty()).map_err(|errno| failed(errno.into()))?;
    let identity = Identity::of(path).map_err(failed)?;
    record.insert(path, identity)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn group_id(group: &Group) -> Result<Gid, SocketError> {
    match group {
        Group::Number(number) => Ok(Gid::from_raw(*number)),
        Group::Name(name) => nix::unistd::Group::from_name(name)
            .ok()
            .flatten()
            .map(|group| Gid::from_raw(group.gid.as_raw()))
            .ok_or_else(|| SocketError::NoGroup { name: name.clone() }),
    }
}

impl Identity {
    /// The identity of the socket file at `path`; `None` if there is something else, or nothing.
    fn of(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if metadata.file_type().is_socket() => Ok(Some(Self {
                device: metadata.dev(),
                inode: metadata.ino(),
                born_nanoseconds: metadata
                    .created()
                    .ok()
                    .and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok())
                    .map(|since| since.as_nanos()),
            })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The record, if it is a file that only agentd's user can have written; of anybody else's nothing is believed.
fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let mut file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0;
    if !metadata.is_file() || !ours {
        return Ok(Vec::new());
    }
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(MAX_RECORD_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Record {
    fn load(file: PathBuf) -> Result<Self, SocketError> {
        match read_own(&file) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(made) => Ok(Self { file, made }),
                // A torn record owns up to nothing: sockets that are still there are then named, not removed.
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "the record of sockets is not readable");
                    Ok(Self { file, made: BTreeMap::new() })
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { file, made: BTreeMap::new() }),
            Err(source) => Err(SocketError::Record { path: file, source }),
        }
    }

    fn insert(&mut self, path: &Path, identity: Option<Identity>) -> Result<(), SocketError> {
        self.made.insert(path.to_owned(), identity);
        self.save()
    }

    fn save(&self) -> Result<(), SocketError> {
        let failed = |source: io::Error| SocketError::Record { path: self.file.clone(), source };
        let bytes = serde_json::to_vec(&self.made).map_err(|error| failed(error.into()))?;
        let next = self.file.with_extension("json.new");
        // Whatever stands there is not written through: it may be a link that somebody put into a shared directory.
        match std::fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let write = || {
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
            file.write_all(&bytes)?;
            std::fs::rename(&next, &self.file)
        };
        write().map_err(failed)
    }

    /// Makes `path` free for a new socket, if what is there is ours and nobody listens on it.
    fn clear_the_way(&mut self, path: &Path) -> Result<(), SocketError> {
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(SocketError::Bind { path: path.to_owned(), source }),
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(SocketError::Occupied { path: path.to_owned() });
            }
            Ok(_) => {}
        }
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(source) => return Err(SocketError::Bind { path: path.to_owned(), source }),
            Ok(_) => return Err(SocketError::InUse { path: path.to_owned() }),
        }
        if self.remove_stale(path)? { Ok(()) } else { Err(SocketError::Occupied { path: path.to_owned() }) }
    }

    /// Removes the socket file at `path` if it is the one written down. Tells whether it did.
    fn remove_stale(&mut self, path: &Path) -> Result<bool, SocketError> {
        let Some(recorded) = self.made.get(path).copied() else { return Ok(false) };
        let failed = |source: io::Error| SocketError::Bind { path: path.to_owned(), source };
        let Some(present) = Identity::of(path).map_err(failed)? else { return Ok(false) };
        if recorded.is_some_and(|recorded| recorded != present) {
            return Ok(false);
        }
        std::fs::remove_file(path).map_err(failed)?;
        self.made.remove(path);
        self.save()?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(directory: &Path) -> Config {
        let socket = |name: &str| Socket {
            path: directory.join(name),
            group: None,
            mode: "0660".to_owned().try_into().unwrap(),
        };
        Config {
            state_directory: directory.to_owned(),
            sockets: crate::config::Sockets {
                agent: socket("agent.sock"),
                operator: socket("operator.sock"),
            },
            ..Config::default()
        }
    }

    #[test]
    fn a_socket_is_made_with_its_mode_and_removed_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        let sockets = Sockets::open(&config).unwrap();
        let path = &config.sockets.agent.path;
        assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, 0o660);
        UnixStream::connect(path).unwrap();
        sockets.remove();
        assert!(!path.exists());
    }

    #[test]
    fn our_own_stale_socket_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        drop(Sockets::open(&config).unwrap());
        assert!(config.sockets.agent.path.exists(), "as after a crash");
        Sockets::open(&config).unwrap();
    }

    #[test]
    fn a_socket_in_use_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        let first = Sockets::open(&config).unwrap();
        assert!(matches!(Sockets::open(&config), Err(SocketError::InUse { .. })));
        UnixStream::connect(&config.sockets.agent.path).unwrap();
        first.remove();
    }

    #[test]
    fn what_agentd_did_not_make_is_never_removed() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        let path = &config.sockets.agent.path;
        std::fs::write(path, "precious").unwrap();
        assert!(matches!(Sockets::open(&config), Err(SocketError::Occupied { .. })));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "precious");
        std::fs::remove_file(path).unwrap();
        // Somebody else's stale socket looks like ours, but is not written down.
        drop(UnixListener::bind(path).unwrap());
        assert!(matches!(Sockets::open(&config), Err(SocketError::Occupied { .. })));
        assert!(path.exists());
    }

    #[test]
    fn a_stale_socket_that_somebody_replaced_is_never_removed() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        drop(Sockets::open(&config).unwrap());
        let path = &config.sockets.agent.path;
        std::fs::remove_file(path).unwrap();
        drop(UnixListener::bind(path).unwrap());
        assert!(matches!(Sockets::open(&config), Err(SocketError::Occupied { .. })));
    }
}
