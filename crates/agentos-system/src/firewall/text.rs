//! nft's own text (`nft --handle list ruleset`): which words belong to which rule.
//!
//! A rule is one line, or several where an anonymous set is wrapped, and ends with `# handle` and its number.

use std::collections::HashMap;

/// Where a rule stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) family: String,
    pub(super) table: String,
    pub(super) chain: String,
    pub(super) handle: u64,
}

/// The text of each rule.
pub(super) fn rules(listing: &str) -> HashMap<Place, String> {
    let mut rules = HashMap::new();
    let mut table = None;
    let mut chain = None;
    let mut pending = String::new();
    for line in listing.lines() {
        let (words, handle) = without_handle(line.trim());
        let mut first = words.split_whitespace();
        match (first.next(), &table, &chain) {
            (Some("table"), None, _) => {
                table =
                    first.next().zip(first.next()).map(|(family, name)| (family.to_owned(), name.to_owned()));
            }
            (Some("chain"), Some(_), None) => chain = first.next().map(str::to_owned),
            (Some("}"), Some(_), None) if is_indented(line, 0) => table = None,
            (Some("}"), _, Some(_)) if pending.is_empty() => chain = None,
            (Some(_), Some((family, table)), Some(chain)) => {
                if !pending.is_empty() {
                    pending.push(' ');
                }
                pending.push_str(words);
                if let Some(handle) = handle {
                    let place =
                        Place { family: family.clone(), table: table.clone(), chain: chain.clone(), handle };
                    rules.insert(place, std::mem::take(&mut pending));
                } else if words.starts_with("type ") && words.ends_with(';') || words.starts_with("comment ")
                {
                    // What a chain is, not one of its rules.
                    pending.clear();
                }
            }
            _ => {}
        }
    }
    rules
}

/// Whether a line begins with exactly so many tabs: sets hold closing braces too.
fn is_indented(line: &str, tabs: usize) -> bool {
    line.bytes().take_while(|&byte| byte == b'\t').count() == tabs
}

/// Takes the last `# handle 7` off.
fn without_handle(line: &str) -> (&str, Option<u64>) {
    let Some((words, number)) = line.rsplit_once("# handle ") else { return (line, None) };
    match number.parse() {
        Ok(handle) => (words.trim_end(), Some(handle)),
        Err(_) => (line, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LISTING: &str = "table inet filter { # handle 1
\tset bad { # handle 3
\t\ttype ipv4_addr
\t\telements = { 1.2.3.4,
\t\t\t     10.0.0.0/8 }
\t}

\tchain input { # handle 1
\t\ttype filter hook input priority filter; policy drop;
\t\tiif \"lo\" accept comment \"local # handle 9\" # handle 5
\t\ttcp dport { 22,
\t\t\t    80 } accept # handle 7
\t}

\tchain other { # handle 2
\t\tcounter packets 0 bytes 0 drop # handle 10
\t}
}
table ip other { # handle 2
\tchain c { # handle 1
\t\tdrop # handle 5
\t}
}
";

    fn text<'r>(
        rules: &'r HashMap<Place, String>,
        family: &str,
        table: &str,
        chain: &str,
        handle: u64,
    ) -> &'r str {
        &rules[&Place { family: family.to_owned(), table: table.to_owned(), chain: chain.to_owned(), handle }]
    }

    #[test]
    fn each_rule_has_its_words() {
        let rules = rules(LISTING);
        assert_eq!(rules.len(), 4);
        assert_eq!(
            text(&rules, "inet", "filter", "input", 5),
            r#"iif "lo" accept comment "local # handle 9""#
        );
        assert_eq!(text(&rules, "inet", "filter", "input", 7), "tcp dport { 22, 80 } accept");
        assert_eq!(text(&rules, "inet", "filter", "other", 10), "counter packets 0 bytes 0 drop");
        assert_eq!(text(&rules, "ip", "other", "c", 5), "drop");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(listing in "(table |chain |\\{|\\}|\\n|\\t|# handle [0-9]{1,3}|\\PC){0,80}") {
            for rule in rules(&listing).values() {
                prop_assert!(rule.len() <= listing.len() * 2);
            }
        }
    }
}
