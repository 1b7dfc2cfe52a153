//! From text to [`Node`]s. Every refusal carries the byte offset at which it was noticed.

use serde_json::Value;

use super::{
    Comparison, Condition, DEFAULT_LIMIT, Expression, Filter, MAX_DEPTH, MAX_LIMIT, MAX_TEMPLATE_BYTES, Node,
    Operand, Path, TemplateError,
};

pub(super) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    if text.len() > MAX_TEMPLATE_BYTES {
        return Err(error(0, format!("the template is longer than {MAX_TEMPLATE_BYTES} bytes")));
    }
    let mut parser = Parser { text, at: 0 };
    let (nodes, stop) = parser.nodes(0)?;
    match stop {
        Stop::EndOfText => Ok(nodes),
        Stop::Tag(tag) => {
            Err(error(tag.offset, format!("`{}` without a `for` or `if` before it", tag.inner)))
        }
    }
}

fn error(offset: usize, reason: impl Into<String>) -> TemplateError {
    TemplateError { offset, reason: reason.into() }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

/// What is between `{{ }}` or `{% %}`, trimmed, and where it begins.
#[derive(Clone, Copy)]
struct Tag<'a> {
    inner: &'a str,
    offset: usize,
}

enum Stop<'a> {
    EndOfText,
    /// A tag that this level does not open itself: `elif`, `else`, `end`.
    Tag(Tag<'a>),
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn nodes(&mut self, depth: usize) -> Result<(Vec<Node>, Stop<'a>), TemplateError> {
        let mut nodes = Vec::new();
        loop {
            let rest = self.rest();
            let next_value = rest.find("{{");
            let next_statement = rest.find("{%");
            let (length, statement) = match (next_value, next_statement) {
                (None, None) => {
                    push_text(&mut nodes, rest);
                    self.at = self.text.len();
                    return Ok((nodes, Stop::EndOfText));
                }
                (Some(value), Some(statement)) if value < statement => (value, false),
                (Some(value), None) => (value, false),
                (_, Some(statement)) => (statement, true),
            };
            let (before, _) = rest.split_at(length);
            let start = self.at + length;
            let tag = self.tag(start, if statement { "%}" } else { "}}" })?;
            if !statement {
                push_text(&mut nodes, before);
                nodes.push(Node::Show(expression(tag)?));
                continue;
            }
            // A statement alone on its line takes the whole line with it, so that templates can be laid out.
            push_text(&mut nodes, self.without_own_line(before, start));
            let (word, _) = split_word(tag.inner);
            match word {
                "for" | "if" if depth >= MAX_DEPTH => {
                    return Err(error(tag.offset, format!("nested deeper than {MAX_DEPTH}")));
                }
                "for" => nodes.push(self.for_node(tag, depth)?),
                "if" => nodes.push(self.if_node(tag, depth)?),
                "elif" | "else" | "end" => return Ok((nodes, Stop::Tag(tag))),
                other => {
                    return Err(error(
                        tag.offset,
                        format!("`{other}` is not one of for, if, elif, else, end"),
                    ));
                }
            }
        }
    }

    /// Reads the tag at `start` up to `close`, and stands behind it.
    fn tag(&mut self, start: usize, close: &str) -> Result<Tag<'a>, TemplateError> {
        let body = start + 2;
        let after = self.text.get(body..).unwrap_or_default();
        let Some(length) = find_outside_quotes(after, close) else {
            return Err(error(start, format!("the tag that begins here is not closed with `{close}`")));
        };
        self.at = body + length + 2;
        let inner = after.get(..length).unwrap_or_default();
        Ok(Tag { inner: inner.trim(), offset: body + inner.len() - inner.trim_start().len() })
    }

    /// When the tag from `start` to the current position is alone on its line: skips the line's end and gives `before`
    /// without the line's indentation.
    fn without_own_line(&mut self, before: &'a str, start: usize) -> &'a str {
        let line_start =
            self.text.get(..start).unwrap_or_default().rfind('\n').map_or(0, |newline| newline + 1);
        let indentation = self.text.get(line_start..start).unwrap_or_default();
        let rest = self.rest();
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let ends_line = rest.get(blank..).is_some_and(|tail| tail.is_empty() || tail.starts_with('\n'));
        if !ends_line || !indentation.trim().is_empty() || indentation.len() > before.len() {
            return before;
        }
        self.at = (self.at + blank + 1).min(self.text.len());
        before.get(..before.len() - indentation.len()).unwrap_or(before)
    }

    fn for_node(&mut self, tag: Tag<'a>, depth: usize) -> Result<Node, TemplateError> {
        let usage = || error(tag.offset, "write `for NAME in LIST` or `for NAME in LIST limit N`");
        let (_, rest) = split_word(tag.inner);
        let (variable, rest) = split_word(rest);
        let (keyword, rest) = split_word(rest);
        if keyword != "in" || !is_name(variable) {
            return Err(usage());
        }
        let (list, limit) = match rest.rsplit_once(" limit ") {
            None => (rest, DEFAULT_LIMIT),
            Some((list, limit)) => {
                let limit: usize = limit.trim().parse().map_err(|_| usage())?;
                (list, limit)
            }
        };
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(error(tag.offset, format!("a limit is from 1 to {MAX_LIMIT}")));
        }
        let list = expression(Tag { inner: list.trim(), offset: tag.offset })?;
        let (body, stop) = self.nodes(depth + 1)?;
        match stop {
            Stop::Tag(end) if end.inner == "end" => {
                Ok(Node::For { variable: variable.to_owned(), list, limit, body })
            }
            Stop::Tag(other) => Err(error(other.offset, format!("expected `end`, found `{}`", other.inner))),
            Stop::EndOfText => Err(error(tag.offset, "this `for` has no `end`")),
        }
    }

    fn if_node(&mut self, tag: Tag<'a>, depth: usize) -> Result<Node, TemplateError> {
        let mut branches = Vec::new();
        let mut current = condition(tag)?;
        loop {
            let (body, stop) = self.nodes(depth + 1)?;
            branches.push((current, body));
            let Stop::Tag(next) = stop else {
                return Err(error(tag.offset, "this `if` has no `end`"));
            };
            match split_word(next.inner) {
                ("end", "") => return Ok(Node::If { branches, otherwise: Vec::new() }),
                ("elif", _) => current = condition(next)?,
                ("else", "") => break,
                _ => return Err(error(next.offset, format!("`{}` takes nothing after it", next.inner))),
            }
        }
        let (otherwise, stop) = self.nodes(depth + 1)?;
        match stop {
            Stop::Tag(end) if end.inner == "end" => Ok(Node::If { branches, otherwise }),
            Stop::Tag(other) => Err(error(other.offset, format!("expected `end`, found `{}`", other.inner))),
            Stop::EndOfText => Err(error(tag.offset, "this `if` has no `end`")),
        }
    }
}

fn push_text(nodes: &mut Vec<Node>, text: &str) {
    if !text.is_empty() {
        nodes.push(Node::Text(text.to_owned()));
    }
}

fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim())
}

pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Where `needle` begins in `text`, not counting what stands between double quotes.
fn find_outside_quotes(text: &str, needle: &str) -> Option<usize> {
    let mut quoted = false;
    for (index, character) in text.char_indices() {
        if character == '"' {
            quoted = !quoted;
        } else if !quoted && text.get(index..).is_some_and(|rest| rest.starts_with(needle)) {
            return Some(index);
        }
    }
    None
}

/// The parts of `text` between separators that stand outside of double quotes and parentheses.
fn split_outside(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut depth, mut start, mut parts) = (false, 0_usize, 0, Vec::new());
    for (index, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ if character == separator && !quoted && depth == 0 => {
                parts.push(text.get(start..index).unwrap_or_default());
                start = index + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

fn expression(tag: Tag<'_>) -> Result<Expression, TemplateError> {
    let parts = split_outside(tag.inner, '|');
    let (first, filters) = parts.split_first().map_or(("", &[] as &[&str]), |(first, rest)| (*first, rest));
    let operand = operand(first.trim()).map_err(|reason| error(tag.offset, reason))?;
    let filters = filters
        .iter()
        .map(|filter| {
            let filter = filter.trim();
            let (name, arguments) = match filter.split_once('(') {
                None => (filter, Vec::new()),
                Some((name, rest)) => {
                    let inside = rest.strip_suffix(')').ok_or_else(|| {
                        error(tag.offset, format!("the filter `{filter}` is not closed with `)`"))
                    })?;
                    let arguments = split_outside(inside, ',')
                        .into_iter()
                        .map(|argument| operand_or_pointer(argument.trim()))
                        .collect::<Result<_, _>>()
                        .map_err(|reason| error(tag.offset, reason))?;
                    (name.trim(), arguments)
                }
            };
            Filter::new(name, arguments).map_err(|reason| error(tag.offset, reason))
        })
        .collect::<Result<_, _>>()?;
    Ok(Expression { operand, filters })
}

/// An argument of a filter: a literal, a path, or a pointer relative to each element (it begins with `/`).
fn operand_or_pointer(text: &str) -> Result<Operand, String> {
    if text.starts_with('/') {
        return pointer(text).map(|pointer| Operand::Path(Path { root: String::new(), pointer }));
    }
    operand(text)
}

fn operand(text: &str) -> Result<Operand, String> {
    if let Some(literal) = literal(text) {
        return Ok(Operand::Literal(literal));
    }
    let (root, below) = text.find('/').map_or((text, ""), |slash| text.split_at(slash));
    if !is_name(root) {
        return Err(format!("`{text}` is neither a value nor a name with a JSON Pointer behind it"));
    }
    Ok(Operand::Path(Path { root: root.to_owned(), pointer: pointer(below)? }))
}

fn pointer(text: &str) -> Result<String, String> {
    let well_escaped = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || "{}()|\"".contains(c)) || !well_escaped
    {
        return Err(format!("`{text}` is not a JSON Pointer (RFC 6901)"));
    }
    Ok(text.to_owned())
}

/// A JSON scalar: a string, a number, `true`, `false` or `null`.
fn literal(text: &str) -> Option<Value> {
    serde_json::from_str::<Value>(text).ok().filter(|value| !value.is_array() && !value.is_object())
}

/// The comparisons; those of two characters come first: `<=` is not `<` followed by `=`.
const OPERATORS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

fn condition(tag: Tag<'_>) -> Result<Condition, TemplateError> {
    let (_, mut rest) = split_word(tag.inner);
    let negated = match split_word(rest) {
        ("not", after) => {
            rest = after;
            true
        }
        _ => false,
    };
    let found = OPERATORS.iter().find_map(|(symbol, comparison)| {
        find_outside_quotes(rest, symbol).map(|at| (at, *symbol, *comparison))
    });
    let (left, comparison) = match found {
        None => (rest, None),
        Some((at, symbol, comparison)) => {
            let (left, right) = rest.split_at(at);
            let right = right.strip_prefix(symbol).unwrap_or_default().trim();
            let value = literal(right).ok_or_else(|| {
                error(tag.offset, format!("`{right}` is not a number, a string, true, false or null"))
            })?;
            (left, Some((comparison, value)))
        }
    };
    let expression = expression(Tag { inner: left.trim(), offset: tag.offset })?;
    Ok(Condition { negated, expression, comparison })
}
