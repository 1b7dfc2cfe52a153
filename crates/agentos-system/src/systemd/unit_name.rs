//! Names of systemd units (systemd.unit(5)): what a person writes, made whole, and nothing that could be an option.

use crate::QueryError;

/// Longest name of a unit (`UNIT_NAME_MAX`).
const MAX_LENGTH: usize = 255;

const SUFFIXES: [&str; 11] = [
    ".service",
    ".socket",
    ".target",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".timer",
    ".path",
    ".slice",
    ".scope",
];

/// The whole name: `nginx` is `nginx.service`; a name with a unit's suffix stays as it is.
///
/// # Errors
/// [`QueryError::InvalidArgument`] naming `field`.
pub(crate) fn normalise(field: &str, name: &str) -> Result<String, QueryError> {
    let known =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'.' | b'\\' | b'@');
    if name.is_empty() || name.len() > MAX_LENGTH || !name.bytes().all(known) {
        let reason =
            "is not a unit's name: 1 to 255 letters, digits and :-_.\\@, such as nginx or nginx.socket";
        return Err(QueryError::invalid(field, reason));
    }
    let whole = if SUFFIXES.iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix)) {
        name.to_owned()
    } else {
        format!("{name}.service")
    };
    // Only the root mount and the root slice begin with a hyphen.
    if whole.starts_with('-') && !matches!(whole.as_str(), "-.mount" | "-.slice") {
        return Err(QueryError::invalid(field, "is not a unit's name: it begins with a hyphen"));
    }
    if whole.len() > MAX_LENGTH || whole.starts_with('.') || whole.starts_with('@') {
        return Err(QueryError::invalid(field, "is not a unit's name"));
    }
    if let Some((_, instance)) = whole.split_once('@')
        && instance.starts_with('.')
    {
        return Err(QueryError::invalid(
            field,
            format!("{whole} is a template: name an instance, such as getty@tty1.service"),
        ));
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bare_name_is_a_service() {
        for (name, whole) in [
            ("nginx", "nginx.service"),
            ("nginx.socket", "nginx.socket"),
            ("getty@tty1", "getty@tty1.service"),
            ("php8.2-fpm", "php8.2-fpm.service"),
            ("-.mount", "-.mount"),
            ("dev-disk-by\\x2dlabel-root.device", "dev-disk-by\\x2dlabel-root.device"),
        ] {
            assert_eq!(normalise("unit", name).unwrap(), whole);
        }
    }

    #[test]
    fn what_cannot_be_a_unit_is_refused() {
        for name in [
            "", "-h", "--help", "--root=/", "a b", "a;b", "a\0b", "../x", "a/b", "grüße", "getty@",
            ".service", "@x",
        ] {
            assert!(normalise("unit", name).is_err(), "{name:?}");
        }
        assert!(normalise("unit", &"a".repeat(1 << 20)).is_err());
    }

    proptest! {
        #[test]
        fn a_whole_name_stays_as_it_is(name in "\\PC{0,30}|[a-z@.-]{1,20}") {
            if let Ok(whole) = normalise("unit", &name) {
                prop_assert!(!whole.starts_with('-') || whole.starts_with("-."));
                prop_assert_eq!(normalise("unit", &whole).unwrap(), whole);
            }
        }
    }
}
