//! Files of `Key: value` lines: `/proc/meminfo`, `/proc/PID/status`, and `key value` ones: `cpu.stat`, `/proc/vmstat`.

use super::decimal;

/// The lines of `content` as key and value, both without surrounding blanks. A line without a separator is left out.
pub(crate) fn lines(content: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    content.split(|&byte| byte == b'\n').filter_map(|line| {
        let separator = line.iter().position(|byte| matches!(byte, b':' | b' ' | b'\t'))?;
        let value = line.get(separator + 1..)?;
        Some((line.get(..separator)?, value.trim_ascii()))
    })
}

/// The value of `key`.
pub(crate) fn value<'c>(content: &'c [u8], key: &str) -> Option<&'c [u8]> {
    lines(content).find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
}

/// The value of `key` as a number.
pub(crate) fn number(content: &[u8], key: &str) -> Option<u64> {
    decimal(value(content, key)?)
}

/// The value of `key`, printed as `1234 kB`, in bytes. The kernel's kB are 1,024 bytes.
pub(crate) fn bytes(content: &[u8], key: &str) -> Option<u64> {
    kibibytes(value(content, key)?)
}

/// `1234 kB` in bytes; a bare number is bytes already.
pub(crate) fn kibibytes(value: &[u8]) -> Option<u64> {
    match value.strip_suffix(b" kB") {
        Some(number) => decimal(number.trim_ascii())?.checked_mul(1024),
        None => decimal(value),
    }
}

/// The value of `key` as text.
pub(crate) fn text(content: &[u8], key: &str) -> Option<String> {
    value(content, key).map(|value| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn meminfo_values_are_bytes() {
        let meminfo = b"MemTotal:       24684096 kB\nMemFree:         1 kB\nHugePages_Total:       3\n";
        assert_eq!(bytes(meminfo, "MemTotal"), Some(24_684_096 * 1024));
        assert_eq!(bytes(meminfo, "HugePages_Total"), Some(3));
        assert_eq!(bytes(meminfo, "Mem"), None);
    }

    #[test]
    fn both_separators_are_understood() {
        assert_eq!(number(b"usage_usec 17\nuser_usec 4\n", "user_usec"), Some(4));
        assert_eq!(text(b"Name:\tmy program\n", "Name").unwrap(), "my program");
    }

    #[test]
    fn a_number_that_does_not_fit_is_none() {
        assert_eq!(bytes(b"A: 99999999999999999999 kB\n", "A"), None);
        assert_eq!(bytes(b"A: 18446744073709551615 kB\n", "A"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(content: Vec<u8>) {
            for (key, value) in lines(&content) {
                prop_assert!(key.len() + value.len() < content.len());
            }
        }

        #[test]
        fn what_was_written_is_read_back(pairs in proptest::collection::btree_map("[A-Za-z_]{1,12}", 0u64..1 << 50, 0..20)) {
            let lines: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}:  {value} kB")).collect();
            let content = lines.join("\n");
            for (key, value) in &pairs {
                prop_assert_eq!(bytes(content.as_bytes(), key), Some(value * 1024));
            }
        }
    }
}
