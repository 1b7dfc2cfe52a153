//! The files of a process that are lists of text: arguments, environment, limits.

use agentos_api::query::process::Limit;

use crate::procfs::decimal;
use crate::text::lossy;

/// The arguments in `/proc/PID/cmdline`, each ended by a NUL, up to `most` bytes; and whether there are more.
pub(super) fn arguments(content: &[u8], most: usize) -> (Vec<String>, bool) {
    let truncated = content.len() > most;
    let content = content.get(..most).unwrap_or(content);
    let content = content.strip_suffix(b"\0").unwrap_or(content);
    if content.is_empty() {
        return (Vec::new(), truncated);
    }
    (content.split(|&byte| byte == 0).map(lossy).collect(), truncated)
}

/// The variables in `/proc/PID/environ`, by name. What has no `=` was put there by the program and is left out.
pub(super) fn environment(content: &[u8], most: usize) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = content
        .split(|&byte| byte == 0)
        .filter_map(|variable| {
            let separator = variable.iter().position(|&byte| byte == b'=')?;
            let (name, value) = (variable.get(..separator)?, variable.get(separator + 1..)?);
            (!name.is_empty()).then(|| (lossy(name), lossy(value)))
        })
        .take(most)
        .collect();
    variables.sort();
    variables
}

/// The width of the first column in `/proc/PID/limits` (the kernel's fs/proc/base.c).
const NAME_WIDTH: usize = 25;

/// The rows of `/proc/PID/limits` below its heading.
pub(super) fn limits(content: &[u8]) -> Vec<Limit> {
    content
        .split(|&byte| byte == b'\n')
        .skip(1)
        .filter_map(|line| {
            let (name, rest) = line.split_at_checked(NAME_WIDTH)?;
            let mut fields = rest.split(|&byte| byte == b' ').filter(|field| !field.is_empty());
            Some(Limit {
                name: lossy(name.trim_ascii_end()),
                soft: value(fields.next()?)?,
                hard: value(fields.next()?)?,
                unit: fields.next().map(lossy),
            })
        })
        .collect()
}

/// A number, or none for `unlimited`; nothing for anything else.
#[expect(clippy::option_option, reason = "no limit is a value, apart from what is no value")]
fn value(field: &[u8]) -> Option<Option<u64>> {
    if field == b"unlimited" { Some(None) } else { decimal(field).map(Some) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arguments_are_read_back(arguments in proptest::collection::vec("[^\0]{0,12}", 1..6)) {
            let content = arguments.join("\0") + "\0";
            prop_assume!(content != "\0");
            prop_assert_eq!(super::arguments(content.as_bytes(), 4096), (arguments, false));
        }

        #[test]
        fn variables_are_read_back(variables in proptest::collection::btree_map("[A-Z_]{1,8}", "[^\0]{0,12}", 0..6)) {
            let lines: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let content = lines.join("\0");
            prop_assert_eq!(environment(content.as_bytes(), 100), variables.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn limits_are_read_back(soft: Option<u64>, hard: Option<u64>) {
            let text = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
            let content = format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n{:<25} {:<20} {:<20} {:<10}\n{:<25} {:<20} {:<20} {:<10}\n",
                "Max open files", text(soft), text(hard), "files", "Max nice priority", text(soft), text(hard), "",
            );
            let limits = limits(content.as_bytes());
            prop_assert_eq!(limits.len(), 2);
            prop_assert_eq!((limits[0].name.as_str(), limits[0].soft, limits[0].hard), ("Max open files", soft, hard));
            prop_assert_eq!(limits[0].unit.as_deref(), Some("files"));
            prop_assert_eq!(limits[1].unit.as_deref(), None);
        }

        #[test]
        fn any_bytes_are_read_without_panic(content: Vec<u8>, most in 0usize..40) {
            let _ = (arguments(&content, most), environment(&content, most), limits(&content));
        }
    }

    #[test]
    fn a_cut_command_line_says_so() {
        assert_eq!(arguments(b"abcdef\0", 3), (vec!["abc".to_owned()], true));
        assert_eq!(arguments(b"", 3), (vec![], false));
    }
}
