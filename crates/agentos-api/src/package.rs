//! Names and versions of Debian packages, as arguments (Debian policy, 5.6.1 and 5.6.12).

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name, in bytes. Debian's own stay below 100.
pub const MAX_NAME_BYTES: usize = 128;
/// Longest version, in bytes.
pub const MAX_VERSION_BYTES: usize = 128;

/// Why a text names no package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPackage {
    /// The name breaks the grammar.
    #[error(
        "must be a package's name: two or more of a-z, 0-9, +, - and ., beginning with a letter or digit and not ending \
         in -; for another architecture `name:i386`"
    )]
    Name,
    /// The version breaks the grammar.
    #[error("must have a version behind the =: 1.2-3, 2:1.0~rc1-1; digits, letters, . + ~ - and :")]
    Version,
}

/// The name of a package: `nginx`, `g++`, `libc6:i386`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName(String);

impl PackageName {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the architecture.
    pub fn base(&self) -> &str {
        self.0.split_once(':').map_or(self.0.as_str(), |(base, _)| base)
    }
}

impl std::str::FromStr for PackageName {
    type Err = InvalidPackage;

    fn from_str(text: &str) -> Result<Self, InvalidPackage> {
        let (base, architecture) = match text.split_once(':') {
            Some((base, architecture)) => (base, Some(architecture)),
            None => (text, None),
        };
        let part = |text: &str, others: &[u8], shortest: usize| {
            let bytes = text.as_bytes();
            bytes.len() >= shortest
                && bytes.first().is_some_and(|first| is_lower(*first))
                && bytes.iter().all(|byte| is_lower(*byte) || others.contains(byte))
                // apt-get(8) takes a hyphen at the end for "remove it".
                && bytes.last() != Some(&b'-')
        };
        let well = text.len() <= MAX_NAME_BYTES
            && part(base, b"+-.", 2)
            && architecture.is_none_or(|architecture| part(architecture, b"-", 1));
        if well { Ok(Self(text.to_owned())) } else { Err(InvalidPackage::Name) }
    }
}

const fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Whether a text is a version: `[EPOCH:]UPSTREAM[-REVISION]`, of which the upstream version begins with a digit or letter.
pub fn is_version(text: &str) -> bool {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) => (Some(epoch), rest),
        None => (None, text),
    };
    text.len() <= MAX_VERSION_BYTES
        && epoch.is_none_or(|epoch| !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit()))
        && rest.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+~-:".contains(&byte))
}

/// A package, or a certain version of one: `nginx`, `nginx=1.22.1-9`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageSpec {
    /// The package.
    pub name: PackageName,
    /// The version; without it the one that apt would take.
    pub version: Option<String>,
}

impl std::str::FromStr for PackageSpec {
    type Err = InvalidPackage;

    fn from_str(text: &str) -> Result<Self, InvalidPackage> {
        let Some((name, version)) = text.split_once('=') else {
            return Ok(Self { name: text.parse()?, version: None });
        };
        if !is_version(version) {
            return Err(InvalidPackage::Version);
        }
        Ok(Self { name: name.parse()?, version: Some(version.to_owned()) })
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for PackageSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(formatter, "{}={version}", self.name),
            None => write!(formatter, "{}", self.name),
        }
    }
}

/// Both are strings on the wire.
macro_rules! as_text {
    ($type:ident, $name:literal, $longest:expr, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "maxLength": $longest, "pattern": $pattern })
            }
        }
    };
}

as_text!(PackageName, "PackageName", MAX_NAME_BYTES, r"^[a-z0-9][a-z0-9+.:-]+$");
as_text!(
    PackageSpec,
    "PackageSpec",
    MAX_NAME_BYTES + 1 + MAX_VERSION_BYTES,
    r"^[a-z0-9][a-z0-9+.:-]+(=[0-9A-Za-z][0-9A-Za-z.+~:-]*)?$"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_archive_are_names() {
        for name in
            ["nginx", "g++", "libstdc++6", "0ad", "libc6:i386", "x11-common", "python3.11", "a2:arm64"]
        {
            assert_eq!(name.parse::<PackageName>().map(|name| name.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn what_apt_would_take_for_something_else_is_no_name() {
        for name in [
            "",
            "a",
            "-y",
            "--purge",
            "nginx-",
            "nginx*",
            "ngin?",
            "^nginx",
            "nginx/stable",
            "./nginx.deb",
            "/x.deb",
            "~nnginx",
            "a b",
            "Nginx",
            "a:",
            ":a",
            "aa:-x",
            "aa:b:c",
            "aa\n",
            "?installed",
            "aa;id",
            "+aa",
            "..",
        ] {
            assert_eq!(name.parse::<PackageName>(), Err(InvalidPackage::Name), "{name}");
        }
    }

    #[test]
    fn a_version_stands_behind_the_name() {
        let spec: PackageSpec = "g++=4:12.2.0-3~bpo+1".parse().unwrap();
        assert_eq!((spec.name.as_str(), spec.version.as_deref()), ("g++", Some("4:12.2.0-3~bpo+1")));
        for version in ["aa=", "aa=*", "aa=1 2", "aa=x:1", "aa=:1", "aa=1/2", "aa=1=2", "aa=-1"] {
            assert_eq!(version.parse::<PackageSpec>(), Err(InvalidPackage::Version), "{version}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_never_an_option_nor_a_pattern(text in "\\PC{0,12}|[-a-z0-9+.:=~*?/^ ]{0,12}") {
            if let Ok(name) = text.parse::<PackageName>() {
                prop_assert!(!text.starts_with('-') && !text.ends_with('-'));
                prop_assert!(!text.contains(|c: char| "=/*?^~ $[]()|\\\n".contains(c)));
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn a_package_is_read_back_as_it_was_written(name in "[a-z0-9][a-z0-9+.-]{0,8}[a-z0-9+.]", version in proptest::option::of("([0-9]{1,2}:)?[0-9A-Za-z][0-9A-Za-z.+~-]{0,8}")) {
            let spec = PackageSpec { name: name.parse().unwrap(), version };
            prop_assert_eq!(spec.to_string().parse::<PackageSpec>(), Ok(spec));
        }
    }
}
