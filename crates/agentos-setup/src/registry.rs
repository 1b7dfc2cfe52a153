//! A package registry's address. It may carry credentials: what is shown of it never does.

use std::fmt;

use crate::error::SetupError;

/// Longest address that is taken.
const LONGEST: usize = 2048;

/// The address of a registry or of a folder that is laid out as one.
#[derive(Clone, PartialEq, Eq)]
pub struct Registry {
    scheme: Scheme,
    /// Without a slash at its end.
    address: String,
}

/// How a registry is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Over TLS.
    Https,
    /// In the clear. The lock file's hashes still hold.
    Http,
    /// A folder of this machine.
    File,
}

impl Registry {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is not one that can be used; the message does not repeat it, for it may hold a password.
    pub fn parse(address: &str) -> Result<Self, SetupError> {
        let refuse = |why: &str| Err(SetupError::Registry(why.to_owned()));
        let address = address.trim();
        if address.len() > LONGEST {
            return refuse("it is too long");
        }
        if address.chars().any(|character| !character.is_ascii_graphic() || matches!(character, '"' | '\\')) {
            return refuse("it holds a blank, a quote, a backslash or a character that is not ASCII");
        }
        let (scheme, rest) = match address.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("file", rest)) => (Scheme::File, rest),
            Some(_) => return refuse("it begins with neither https://, http:// nor file:///"),
            None => return refuse("it has no scheme"),
        };
        if rest.contains(['?', '#']) {
            return refuse("it holds a query or a fragment");
        }
        let host = rest.split('/').next().unwrap_or_default();
        match scheme {
            Scheme::File if !host.is_empty() => {
                return refuse("a file address has three slashes: file:///folder");
            }
            Scheme::Https | Scheme::Http if host.rsplit('@').next().is_none_or(str::is_empty) => {
                return refuse("it has no host");
            }
            _ => {}
        }
        Ok(Self { scheme, address: address.trim_end_matches('/').to_owned() })
    }

    /// The registry that a `.npmrc` names.
    ///
    /// # Errors
    /// When it names one that cannot be used.
    pub fn of_npmrc(text: &str) -> Result<Option<Self>, SetupError> {
        let value = text.lines().rev().find_map(|line| {
            let (key, value) = line.trim().split_once('=')?;
            (key.trim() == "registry").then_some(value.trim())
        });
        value.map(Self::parse).transpose()
    }

    /// How it is reached.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The folder, where it is one. Percent signs are left to curl.
    pub(crate) fn folder(&self) -> Option<&str> {
        (self.scheme == Scheme::File).then(|| &self.address["file://".len()..])
    }

    /// The address of `file`, credentials and all: for curl's eyes only.
    pub(crate) fn address_of(&self, file: &str) -> String {
        format!("{}/{file}", self.address)
    }

    fn credentials(&self) -> Option<&str> {
        let (_, rest) = self.address.split_once("://")?;
        rest.split('/').next()?.rsplit_once('@').map(|(credentials, _)| credentials)
    }

    /// `text` without the credentials, should it hold them.
    pub(crate) fn redact(&self, text: &str) -> String {
        match self.credentials() {
            Some(credentials) => text.replace(&format!("{credentials}@"), "***@"),
            None => text.to_owned(),
        }
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.redact(&self.address))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Registry({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_shown_holds_no_credentials() {
        let registry = Registry::parse("https://me:pa%24s@registry.example:8443/npm/").unwrap();
        assert_eq!(registry.to_string(), "https://***@registry.example:8443/npm");
        assert!(!format!("{registry:?}").contains("pa%24s"));
        assert!(!registry.redact("cannot reach https://me:pa%24s@registry.example").contains("pa%24s"));
        assert_eq!(
            registry.address_of("a/-/a-1.tgz"),
            "https://me:pa%24s@registry.example:8443/npm/a/-/a-1.tgz"
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_repeating_it() {
        for address in [
            "registry.example",
            "ftp://secret@registry.example/",
            "https://",
            "https://secret@/",
            "file://secret/folder",
            "https://registry.example/?secret",
            "https://registry.example/\"secret",
            "https://registry.example/ secret",
            "https://registry.example/\nsecret",
        ] {
            let error = Registry::parse(address).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{address}: {error}");
        }
    }

    #[test]
    fn the_last_registry_of_an_npmrc_counts() {
        let text = "fund=false\nregistry=https://one.example/\n; registry=https://no.example\n registry = file:///two/ \n";
        assert_eq!(Registry::of_npmrc(text).unwrap().unwrap().to_string(), "file:///two");
        assert_eq!(Registry::of_npmrc("//one.example/:_authToken=x\n").unwrap(), None);
        assert!(Registry::of_npmrc("registry=nonsense").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "(https?|file)?(://)?\\PC{0,40}") {
            if let Ok(registry) = Registry::parse(&text) {
                let address = registry.address_of("x");
                prop_assert!(address.bytes().all(|byte| byte.is_ascii_graphic()) && !address.contains('"'));
                let _ = registry.to_string();
            }
        }
    }
}
