//! Just enough markdown to cut a file well: which lines are headings, which are code.
//!
//! Lines are looked at one by one, so the cost is linear in the file whatever it holds. Headings are ATX headings and
//! code is fenced code (`CommonMark` 0.31, 4.2 and 4.5); everything else is text.

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineKind<'t> {
    /// Only white space.
    Blank,
    /// `#` to `######` and a title.
    Heading { level: usize, title: &'t str },
    /// A line of a fenced code block, the fences included.
    Code,
    /// Anything else.
    Text,
}

/// An open code fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fence {
    marker: u8,
    length: usize,
    indent: usize,
}

/// Reads lines in order and says what each is.
#[derive(Clone, Debug, Default)]
pub(crate) struct LineReader {
    open: Option<Fence>,
}

impl LineReader {
    /// What `line` is, given all lines before it.
    pub(crate) fn next<'t>(&mut self, line: &'t str) -> LineKind<'t> {
        if let Some(open) = self.open {
            if closes(line, open) {
                self.open = None;
            }
            return LineKind::Code;
        }
        if line.trim().is_empty() {
            return LineKind::Blank;
        }
        if let Some(fence) = opening_fence(line) {
            self.open = Some(fence);
            return LineKind::Code;
        }
        match heading(line) {
            Some((level, title)) => LineKind::Heading { level, title },
            None => LineKind::Text,
        }
    }

    /// The line that closes the code block still open, if one is.
    pub(crate) fn closing_line(&self) -> Option<String> {
        self.open.map(|fence| {
            let marker = if fence.marker == b'~' { "~" } else { "`" };
            format!("{}{}\n", " ".repeat(fence.indent), marker.repeat(fence.length))
        })
    }
}

/// The line that closes the code block left open at the end of `text`, if one is.
pub(crate) fn unclosed_fence(text: &str) -> Option<String> {
    let mut reader = LineReader::default();
    for line in text.split_inclusive('\n') {
        reader.next(line);
    }
    reader.closing_line()
}

/// Indentation in columns, and the rest of the line, when it is not so deep that the line is indented code.
fn shallow_indent(line: &str) -> Option<(usize, &str)> {
    let rest = line.trim_start_matches(' ');
    let indent = line.len() - rest.len();
    (indent <= 3).then_some((indent, rest))
}

fn opening_fence(line: &str) -> Option<Fence> {
    let (indent, rest) = shallow_indent(line)?;
    let marker = *rest.as_bytes().first().filter(|byte| matches!(byte, b'`' | b'~'))?;
    let length = rest.bytes().take_while(|&byte| byte == marker).count();
    let info = rest.get(length..)?;
    let is_fence = length >= 3 && !(marker == b'`' && info.contains('`'));
    // A closing fence is written with this length, so an absurd one is text.
    (is_fence && length <= 256).then_some(Fence { marker, length, indent })
}

fn closes(line: &str, open: Fence) -> bool {
    let Some((_, rest)) = shallow_indent(line) else { return false };
    let rest = rest.trim_end();
    rest.len() >= open.length && rest.bytes().all(|byte| byte == open.marker)
}

/// Level and title of an ATX heading.
pub(crate) fn heading(line: &str) -> Option<(usize, &str)> {
    let (_, rest) = shallow_indent(line)?;
    let level = rest.bytes().take_while(|&byte| byte == b'#').count();
    if !(1..=6).contains(&level) {
        return None;
    }
    let title = rest.get(level..)?;
    if !title.is_empty() && !title.starts_with([' ', '\t', '\n', '\r']) {
        return None;
    }
    let title = title.trim();
    let without_closing = title.trim_end_matches('#');
    let title = if without_closing.is_empty() || without_closing.ends_with([' ', '\t']) {
        without_closing.trim_end()
    } else {
        title
    };
    Some((level, title))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> String {
        let mut reader = LineReader::default();
        text.split_inclusive('\n')
            .map(|line| match reader.next(line) {
                LineKind::Blank => '.',
                LineKind::Heading { .. } => '#',
                LineKind::Code => 'c',
                LineKind::Text => 't',
            })
            .collect()
    }

    #[test]
    fn headings_are_recognised_and_look_alikes_are_not() {
        assert_eq!(heading("## Two words ##\n"), Some((2, "Two words")));
        assert_eq!(heading("# C#\n"), Some((1, "C#")));
        assert_eq!(heading("#\n"), Some((1, "")));
        assert_eq!(heading("### ###"), Some((3, "")));
        for text in ["#tag", "####### seven", "    # code", "text # no", "#!/bin/sh"] {
            assert_eq!(heading(text), None, "{text}");
        }
    }

    #[test]
    fn a_heading_inside_a_fence_is_code() {
        assert_eq!(kinds("a\n```sh\n# comment\n\n```\n# b\n"), "tcccc#");
        assert_eq!(kinds("~~~~\n~~~\n```\n~~~~~\n# b"), "cccc#");
        assert_eq!(kinds("```not `a` fence\n# b"), "t#");
    }

    #[test]
    fn an_unclosed_fence_is_closed_by_a_line_of_its_own_kind() {
        assert_eq!(unclosed_fence("a\n  ~~~~\ncode"), Some("  ~~~~\n".into()));
        assert_eq!(unclosed_fence("```\ncode\n```\n"), None);
        for text in ["```\nx\n", "   `````\n```\n"] {
            let closed = format!("{text}{}", unclosed_fence(text).unwrap());
            assert_eq!(unclosed_fence(&closed), None);
        }
    }
}
