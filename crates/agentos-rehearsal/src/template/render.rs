//! From [`Node`]s and values to text, within bounds: of bytes written and of steps taken.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::{Comparison, Condition, Expression, Node, Operand, Path};

/// Longest text a template gives, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 32 * 1024;
/// What stands at the end of a text that was cut.
const CUT: &str = "\n… (cut here: the answer is longer than what is shown)";
/// Nodes visited and elements looped over at most: nested loops multiply, and each may write nothing.
const MAX_STEPS: usize = 20_000;

/// The names a template can read.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    values: BTreeMap<String, Value>,
}

impl Scope {
    /// An empty scope.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `name` a value, in place of an older one.
    pub fn set(&mut self, name: impl Into<String>, value: Value) {
        self.values.insert(name.into(), value);
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }
}

pub(super) fn render(nodes: &[Node], scope: &Scope) -> String {
    let mut writer = Writer { text: String::new(), steps: 0, cut: false };
    // Loop variables are set in a scope of the rendering's own.
    let mut scope = scope.clone();
    writer.nodes(nodes, &mut scope);
    if writer.cut {
        writer.text.push_str(CUT);
    }
    writer.text
}

struct Writer {
    text: String,
    steps: usize,
    cut: bool,
}

impl Writer {
    fn nodes(&mut self, nodes: &[Node], scope: &mut Scope) {
        for node in nodes {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                self.cut = true;
            }
            if self.cut {
                return;
            }
            match node {
                Node::Text(text) => self.push(text),
                Node::Show(expression) => {
                    let text = text_of(&evaluate(expression, scope));
                    self.push(&printable(&text));
                }
                Node::For { variable, list, limit, body } => {
                    let items = match evaluate(list, scope).as_ref() {
                        Value::Array(items) => items.iter().take(*limit).cloned().collect::<Vec<_>>(),
                        _ => Vec::new(),
                    };
                    let shadowed = scope.values.remove(variable);
                    for item in items {
                        // An element is a step even when nothing is written for it: it was copied.
                        self.steps += 1;
                        scope.set(variable.as_str(), item);
                        self.nodes(body, scope);
                        self.cut |= self.steps > MAX_STEPS;
                        if self.cut {
                            break;
                        }
                    }
                    scope.values.remove(variable);
                    if let Some(value) = shadowed {
                        scope.set(variable.as_str(), value);
                    }
                }
                Node::If { branches, otherwise } => {
                    let chosen = branches.iter().find(|(condition, _)| holds(condition, scope));
                    self.nodes(chosen.map_or(otherwise, |(_, body)| body), scope);
                }
            }
        }
    }

    fn push(&mut self, text: &str) {
        let room = (MAX_OUTPUT_BYTES - CUT.len()).saturating_sub(self.text.len());
        let fits = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
        self.text.push_str(fits);
        self.cut |= fits.len() < text.len();
    }
}

pub(super) fn evaluate<'a>(expression: &'a Expression, scope: &'a Scope) -> Cow<'a, Value> {
    let value = match &expression.operand {
        Operand::Literal(value) => Cow::Borrowed(value),
        Operand::Path(path) => Cow::Borrowed(look_up(path, scope)),
    };
    expression.filters.iter().fold(value, |value, filter| filter.apply(value, scope))
}

pub(super) fn look_up<'a>(path: &Path, scope: &'a Scope) -> &'a Value {
    scope.get(&path.root).and_then(|value| value.pointer(&path.pointer)).unwrap_or(&Value::Null)
}

/// Whether a value counts as true: it is there and not false, zero or empty.
pub(super) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

fn holds(condition: &Condition, scope: &Scope) -> bool {
    let value = evaluate(&condition.expression, scope);
    let plain = match &condition.comparison {
        None => truthy(&value),
        Some((comparison, literal)) => compare(&value, *comparison, literal),
    };
    plain != condition.negated
}

fn compare(value: &Value, comparison: Comparison, literal: &Value) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let ordering = match (value, literal) {
        (Value::Number(left), Value::Number(right)) => {
            left.as_f64().zip(right.as_f64()).and_then(|(left, right)| left.partial_cmp(&right))
        }
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    };
    match comparison {
        Comparison::Equal => ordering.map_or(value == literal, |ordering| ordering == Equal),
        Comparison::NotEqual => ordering.map_or(value != literal, |ordering| ordering != Equal),
        // A value that cannot be ordered is neither less nor greater.
        Comparison::Less => ordering == Some(Less),
        Comparison::LessOrEqual => matches!(ordering, Some(Less | Equal)),
        Comparison::Greater => ordering == Some(Greater),
        Comparison::GreaterOrEqual => matches!(ordering, Some(Greater | Equal)),
    }
}

/// A value as it stands in a sentence.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_array() && !item.is_object()) => {
            items.iter().take(super::MAX_LIMIT).map(text_of).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// Without control characters: a process name or a log line must not move a terminal's cursor.
fn printable(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(harmful) { Cow::Owned(text.replace(harmful, "\u{fffd}")) } else { Cow::Borrowed(text) }
}
