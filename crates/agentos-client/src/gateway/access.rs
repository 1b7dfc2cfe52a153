//! Where the gateway listens and the token it wants, as the file for the operators says.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Largest file that is read. It holds an address and a token.
const MOST_BYTES: u64 = 64 << 10;
/// Longest token that is sent.
const LONGEST_TOKEN: usize = 4096;

/// The gateway's address on loopback and its token.
#[derive(Clone)]
pub struct Access {
    address: SocketAddr,
    token: String,
}

/// What cannot be an [`Access`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAccess {
    /// Not the JSON that is expected.
    #[error("it is not {{\"url\": \"http://127.0.0.1:PORT\", \"token\": \"…\"}}")]
    Json(#[source] serde_json::Error),
    /// Another address than one of this machine.
    #[error(
        "the gateway's address {0:?} is not http:// with a loopback address and a port; the token goes nowhere else"
    )]
    Address(String),
    /// The token is empty, too long, or cannot stand in a header.
    #[error("the gateway's token is not of 1 to {LONGEST_TOKEN} printable ASCII characters")]
    Token,
}

/// Why there is no [`Access`] in a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// There is no such file.
    #[error("the gateway is not set up: there is no {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// This user may not read it.
    #[error("your user may not talk to the agent: only root and a group may read {}", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It can be read, and says nothing usable.
    #[error("{} does not say how to reach the gateway", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidAccess,
    },
}

impl AccessError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { .. } => {
                "Run `sudo agentos-setup`, which installs the gateway; or name the file of another one."
                    .to_owned()
            }
            Self::Denied { path } => {
                format!("Join the group that owns it (`stat -c %G {}`) and log in again.", path.display())
            }
            Self::Unreadable { .. } => {
                "Name a file of at most 64 KiB with the gateway's address and token.".to_owned()
            }
            Self::Unusable { .. } => "Run `sudo agentos-setup` again: it writes the file anew.".to_owned(),
        }
    }
}

#[derive(Deserialize)]
struct Document {
    url: String,
    token: String,
}

impl Access {
    /// The gateway at `address` and what it wants to be told.
    ///
    /// # Errors
    /// [`InvalidAccess`] when the address is not this machine's own, or the token cannot be sent.
    pub fn new(address: SocketAddr, token: impl Into<String>) -> Result<Self, InvalidAccess> {
        if !address.ip().is_loopback() {
            return Err(InvalidAccess::Address(format!("http://{address}")));
        }
        let token = token.into();
        let sendable =
            (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
        if sendable { Ok(Self { address, token }) } else { Err(InvalidAccess::Token) }
    }

    /// What a file's content says.
    ///
    /// # Errors
    /// [`InvalidAccess`] when it says anything else than a loopback address and a token.
    pub fn parse(content: &[u8]) -> Result<Self, InvalidAccess> {
        let document: Document = serde_json::from_slice(content).map_err(InvalidAccess::Json)?;
        // An address and nothing but: a name is whatever its resolver says, and a user or a path has no place here.
        let address = document.url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        match address.and_then(|address| address.parse().ok()) {
            Some(address) => Self::new(address, document.token),
            None => Err(InvalidAccess::Address(document.url)),
        }
    }

    /// What the file at `path` says.
    ///
    /// # Errors
    /// [`AccessError`]: it is not there, not for this user, not readable, or says nothing usable.
    pub fn read(path: &Path) -> Result<Self, AccessError> {
        let content = content(path).map_err(|source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::NotFound => AccessError::Missing { path },
                io::ErrorKind::PermissionDenied => AccessError::Denied { path },
                _ => AccessError::Unreadable { path, source },
            }
        })?;
        Self::parse(&content).map_err(|source| AccessError::Unusable { path: path.to_owned(), source })
    }

    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret.
        formatter.debug_struct("Access").field("address", &self.address).finish_non_exhaustive()
    }
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    // A named pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MOST_BYTES {
        return Err(io::Error::other("it is larger than 64 KiB"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document(url: &str) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({ "url": url, "token": "secret" })).unwrap()
    }

    #[test]
    fn a_loopback_address_is_taken() {
        for (url, address) in [
            ("http://127.0.0.1:18789", "127.0.0.1:18789"),
            ("http://127.9.9.9:1/", "127.9.9.9:1"),
            ("http://[::1]:18789", "[::1]:18789"),
        ] {
            assert_eq!(Access::parse(&document(url)).unwrap().address().to_string(), address);
        }
    }

    #[test]
    fn the_token_goes_to_no_other_machine_and_over_no_other_protocol() {
        for url in [
            "http://192.0.2.1:18789",
            "http://0.0.0.0:18789",
            "http://[2001:db8::1]:1",
            "http://[::ffff:192.0.2.1]:1",
            "http://localhost:18789",
            "http://127.0.0.1",
            "http://127.0.0.1:1@192.0.2.1:2",
            "http://user@127.0.0.1:1",
            "http://127.0.0.1:1/elsewhere",
            "http://127.0.0.1.example:1",
            "https://127.0.0.1:1",
            "unix:/run/gateway.sock",
            "127.0.0.1:1",
            "",
        ] {
            let error = Access::parse(&document(url)).unwrap_err();
            assert!(matches!(&error, InvalidAccess::Address(shown) if shown == url), "{url}: {error:?}");
        }
    }

    #[test]
    fn a_token_cannot_smuggle_a_header() {
        let address = "127.0.0.1:1".parse().unwrap();
        for bad in ["", "a b", "a\r\nx: y", "é", &"a".repeat(LONGEST_TOKEN + 1)] {
            assert!(matches!(Access::new(address, bad), Err(InvalidAccess::Token)), "{bad:?}");
        }
    }

    #[test]
    fn the_token_is_not_shown() {
        assert!(!format!("{:?}", Access::parse(&document("http://127.0.0.1:1")).unwrap()).contains("secret"));
    }

    #[test]
    fn each_file_that_is_of_no_use_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("operator.json");
        assert!(matches!(Access::read(&path), Err(AccessError::Missing { .. })));
        fs::write(&path, "{}").unwrap();
        let error = Access::read(&path).unwrap_err();
        assert!(
            matches!(error, AccessError::Unusable { .. }) && error.hint().contains("agentos-setup"),
            "{error:?}"
        );
        fs::write(&path, " ".repeat(usize::try_from(MOST_BYTES).unwrap() + 1)).unwrap();
        assert!(matches!(Access::read(&path), Err(AccessError::Unreadable { .. })));
        assert!(matches!(Access::read(folder.path()), Err(AccessError::Unreadable { .. })));
    }

    proptest! {
        #[test]
        fn no_content_gives_an_address_of_another_machine(
            content in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..100),
                "(https?://)?[0-9a-z.:\\[\\]@/]{0,30}".prop_map(|url| document(&url)),
                any::<SocketAddr>().prop_map(|address| document(&format!("http://{address}"))),
            ],
        ) {
            if let Ok(access) = Access::parse(&content) {
                prop_assert!(access.address().ip().is_loopback());
            }
        }
    }
}
