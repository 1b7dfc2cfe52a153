//! Text from outside, made fit to show and to compare.

/// `haystack` holds `needle`, whatever the case of either. `needle` is already in lower case.
pub(crate) fn contains(haystack: &str, lower_needle: &str) -> bool {
    if haystack.is_ascii() {
        let needle = lower_needle.as_bytes();
        needle.is_empty()
            || haystack.as_bytes().windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
    } else {
        haystack.to_lowercase().contains(lower_needle)
    }
}

/// The first `most` characters of `text`, with an ellipsis as the last one where there were more.
pub(crate) fn shortened(mut text: String, most: usize) -> String {
    if let Some((cut, _)) = text.char_indices().nth(most) {
        let end = text.char_indices().nth(most.saturating_sub(1)).map_or(0, |(at, _)| at);
        debug_assert!(end <= cut);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Bytes as text; what is not UTF-8 is replaced.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// A page of `rows` from `offset`, and the offset of the next page where there is one.
pub(crate) fn page<T>(rows: Vec<T>, offset: usize, limit: usize) -> (Vec<T>, Option<u64>) {
    let end = offset.saturating_add(limit);
    let next = (end < rows.len()).then_some(end as u64);
    (rows.into_iter().skip(offset).take(limit).collect(), next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_is_ignored_beyond_ascii_too() {
        assert!(contains("/usr/sbin/NGINX -g", "nginx"));
        assert!(contains("Prüfung ÜBER", "über"));
        assert!(!contains("cron", "crond"));
        assert!(contains("x", ""));
    }

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        assert_eq!(shortened("abcdef".to_owned(), 4), "abc…");
        assert_eq!(shortened("abcd".to_owned(), 4), "abcd");
        assert_eq!(shortened("ééééé".to_owned(), 3), "éé…");
    }

    proptest! {
        #[test]
        fn pages_put_together_are_the_whole(rows in proptest::collection::vec(any::<u8>(), 0..50), limit in 1usize..9) {
            let (mut all, mut offset) = (Vec::new(), 0);
            loop {
                let (part, next) = page(rows.clone(), offset, limit);
                all.extend(part);
                match next {
                    Some(next) => offset = usize::try_from(next).unwrap(),
                    None => break,
                }
            }
            prop_assert_eq!(all, rows);
        }

        #[test]
        fn shortened_text_is_never_longer(text in "\\PC{0,30}", most in 1usize..20) {
            prop_assert!(shortened(text, most).chars().count() <= most);
        }
    }
}
