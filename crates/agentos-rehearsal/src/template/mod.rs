//! The small language in which a scenario says what it found. It reads values and formats them; it cannot loop without
//! an end, grow without a bound, or fail on a value it did not expect: what is not there is said as `unknown`.
//!
//! ```text
//! {{ processes/total | count }}                     a value: a name, then a JSON Pointer (RFC 6901), then filters
//! {% for row in processes/processes limit 5 %}      each element, at most 5
//! {% if errors/units %} … {% elif x > 3 %} … {% else %} … {% end %}
//! ```

mod filter;
mod parse;
mod render;

pub(crate) use parse::is_name;

use serde_json::Value;

pub use filter::Filter;
pub use render::{MAX_OUTPUT_BYTES, Scope};

/// Longest template that is read, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 16 * 1024;
/// Deepest nesting of `for` and `if`.
pub const MAX_DEPTH: usize = 8;
/// How many elements a `for` without `limit` shows.
pub const DEFAULT_LIMIT: usize = 20;
/// The largest `limit` a `for` may have.
pub const MAX_LIMIT: usize = 200;

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct TemplateError {
    /// Byte offset into the template.
    pub offset: usize,
    /// What is wrong, in one sentence.
    pub reason: String,
}

/// A template that was read and found well formed.
#[derive(Clone, Debug)]
pub struct Template {
    nodes: Vec<Node>,
}

/// One piece of a template.
#[derive(Clone, Debug)]
pub enum Node {
    /// Copied as it stands.
    Text(String),
    /// A value, formatted.
    Show(Expression),
    /// The body once for each element of a list.
    For {
        /// The name an element has inside the body.
        variable: String,
        /// The list.
        list: Expression,
        /// At most this many elements are shown.
        limit: usize,
        /// What is rendered for each.
        body: Vec<Node>,
    },
    /// The first branch whose condition holds, or else the last part.
    If {
        /// Condition and body, in order.
        branches: Vec<(Condition, Vec<Node>)>,
        /// What is rendered when no condition holds.
        otherwise: Vec<Node>,
    },
}

/// A value and what is done with it.
#[derive(Clone, Debug)]
pub struct Expression {
    /// Where the value comes from.
    pub operand: Operand,
    /// Applied from left to right.
    pub filters: Vec<Filter>,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Operand {
    /// Looked up in the scope.
    Path(Path),
    /// Written in the template.
    Literal(Value),
}

/// A name in the scope and a JSON Pointer below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The name: a call, a loop variable, or one of the built-in names.
    pub root: String,
    /// A JSON Pointer (RFC 6901): empty, or `/` and the first member's name, and so on.
    pub pointer: String,
}

/// What decides a branch.
#[derive(Clone, Debug)]
pub struct Condition {
    /// `not` stood in front.
    pub negated: bool,
    /// The value that is tested.
    pub expression: Expression,
    /// What it is compared with; without it, whether the value is there and not false, zero or empty.
    pub comparison: Option<(Comparison, Value)>,
}

/// How a value is compared with a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Where the text is not a well-formed template, or is larger or deeper than the limits above.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        parse::parse(text).map(|nodes| Self { nodes })
    }

    /// The pieces, for those who check a template without rendering it.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The text, with values from `scope`; at most [`MAX_OUTPUT_BYTES`], and it says so when it was cut.
    pub fn render(&self, scope: &Scope) -> String {
        render::render(&self.nodes, scope)
    }

    /// The value itself, when the template is one expression and nothing else; its text otherwise.
    ///
    /// An argument `pid = "{{ processes/processes/0/pid }}"` is the number, as the tool expects it.
    pub fn value(&self, scope: &Scope) -> Value {
        if let [Node::Show(expression)] = self.nodes.as_slice() {
            return render::evaluate(expression, scope).into_owned();
        }
        Value::String(self.render(scope))
    }

    /// Every name the template reads from outside: not its loop variables.
    pub fn roots(&self) -> Vec<&str> {
        let mut found = Vec::new();
        collect_roots(&self.nodes, &mut Vec::new(), &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn collect_roots<'a>(nodes: &'a [Node], bound: &mut Vec<&'a str>, found: &mut Vec<&'a str>) {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Show(expression) => expression_roots(expression, bound, found),
            Node::For { variable, list, body, .. } => {
                expression_roots(list, bound, found);
                bound.push(variable);
                collect_roots(body, bound, found);
                bound.pop();
            }
            Node::If { branches, otherwise } => {
                for (condition, body) in branches {
                    expression_roots(&condition.expression, bound, found);
                    collect_roots(body, bound, found);
                }
                collect_roots(otherwise, bound, found);
            }
        }
    }
}

fn expression_roots<'a>(expression: &'a Expression, bound: &[&'a str], found: &mut Vec<&'a str>) {
    let filter_paths = expression.filters.iter().filter_map(Filter::path);
    let own = match &expression.operand {
        Operand::Path(path) => Some(path),
        Operand::Literal(_) => None,
    };
    found.extend(
        own.into_iter()
            .chain(filter_paths)
            .map(|path| path.root.as_str())
            .filter(|root| !bound.contains(root)),
    );
}

#[cfg(test)]
mod tests;
