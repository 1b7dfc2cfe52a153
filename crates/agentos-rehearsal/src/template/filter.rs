//! What can be done with a value on its way into a text. A filter that meets a value of another type gives `null`, which
//! is shown as `unknown`.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

use super::render::{Scope, look_up, text_of, truthy};
use super::{Operand, Path};

/// One filter with its arguments.
#[derive(Clone, Debug)]
pub enum Filter {
    /// How many elements, members or characters.
    Count,
    /// The first element.
    First,
    /// The last element.
    Last,
    /// The element with the largest number at the pointer.
    MaxBy(String),
    /// The element with the smallest number at the pointer.
    MinBy(String),
    /// The sum of the numbers at the pointer.
    Sum(String),
    /// What stands at the pointer below the value.
    At(String),
    /// The elements at whose pointer this value stands.
    Where(String, Value),
    /// The elements at whose pointer another value stands.
    WhereNot(String, Value),
    /// The elements joined into a text.
    Join(String),
    /// A text of digits as the number that it means.
    Number,
    /// A number of bytes with the IEC unit that fits: `1.5 GiB`.
    Bytes,
    /// A number of bytes in GiB, with one decimal.
    Gib,
    /// A number of percent: `12.5 %`.
    Percent,
    /// The value as percent of another.
    PercentOf(Path),
    /// With so many decimals.
    Round(usize),
    /// A number of seconds: `3 d 4 h`.
    Duration,
    /// The first word for exactly one, the second otherwise.
    Plural(String, String),
    /// The first word when the value is there and not false, zero or empty; the second otherwise.
    Choose(String, String),
    /// The first so many lines of a text.
    Lines(usize),
    /// At most so many characters of a text, on one line.
    Clip(usize),
    /// This value when there is none.
    Default(Value),
}

impl Filter {
    /// The filter of that name with these arguments.
    pub(super) fn new(name: &str, arguments: Vec<Operand>) -> Result<Self, String> {
        let mut arguments = Arguments { name, remaining: arguments.into_iter() };
        let filter = match name {
            "count" => Self::Count,
            "first" => Self::First,
            "last" => Self::Last,
            "max_by" => Self::MaxBy(arguments.pointer()?),
            "min_by" => Self::MinBy(arguments.pointer()?),
            "sum" => Self::Sum(arguments.pointer()?),
            "at" => Self::At(arguments.pointer()?),
            "where" => Self::Where(arguments.pointer()?, arguments.literal()?),
            "where_not" => Self::WhereNot(arguments.pointer()?, arguments.literal()?),
            "join" => Self::Join(arguments.text()?),
            "number" => Self::Number,
            "bytes" => Self::Bytes,
            "gib" => Self::Gib,
            "percent" => Self::Percent,
            "percent_of" => Self::PercentOf(arguments.path()?),
            "round" => Self::Round(arguments.size(6)?),
            "duration" => Self::Duration,
            "plural" => Self::Plural(arguments.text()?, arguments.text()?),
            "choose" => Self::Choose(arguments.text()?, arguments.text()?),
            "lines" => Self::Lines(arguments.size(200)?),
            "clip" => Self::Clip(arguments.size(4096)?),
            "default" => Self::Default(arguments.literal()?),
            _ => return Err(format!("there is no filter `{name}`")),
        };
        match arguments.remaining.next() {
            None => Ok(filter),
            Some(_) => Err(format!("the filter `{name}` has too many arguments")),
        }
    }

    /// The path that the filter reads from the scope.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::PercentOf(path) => Some(path),
            _ => None,
        }
    }

    /// The value after this filter.
    pub(super) fn apply<'a>(&self, value: Cow<'a, Value>, scope: &'a Scope) -> Cow<'a, Value> {
        match self {
            Self::First => element(value, |items| if items.is_empty() { None } else { Some(0) }),
            Self::Last => element(value, |items| items.len().checked_sub(1)),
            Self::MaxBy(pointer) => element(value, |items| extreme(items, pointer, f64::total_cmp)),
            Self::MinBy(pointer) => element(value, |items| extreme(items, pointer, |a, b| b.total_cmp(a))),
            Self::At(pointer) => at(value, pointer),
            Self::Default(other) if value.is_null() => Cow::Owned(other.clone()),
            Self::Default(_) => value,
            _ => Cow::Owned(self.transform(&value, scope)),
        }
    }

    fn transform(&self, value: &Value, scope: &Scope) -> Value {
        let formatted = match self {
            Self::Count => return count(value),
            Self::Sum(pointer) => return sum(value, pointer),
            Self::Where(pointer, wanted) => {
                return keep(value, |item| item.pointer(pointer).unwrap_or(&Value::Null) == wanted);
            }
            Self::WhereNot(pointer, unwanted) => {
                return keep(value, |item| item.pointer(pointer).unwrap_or(&Value::Null) != unwanted);
            }
            Self::PercentOf(path) => {
                let whole = look_up(path, scope).as_f64().filter(|whole| *whole != 0.0);
                return value
                    .as_f64()
                    .zip(whole)
                    .map_or(Value::Null, |(part, whole)| Value::from(part / whole * 100.0));
            }
            Self::Number => {
                return value
                    .as_str()
                    .and_then(|text| text.parse::<u64>().ok())
                    .map_or(Value::Null, Value::from);
            }
            Self::Join(separator) => value.as_array().map(|items| join(items, separator)),
            Self::Bytes => value.as_f64().map(bytes),
            Self::Gib => value.as_f64().map(|number| format!("{:.1} GiB", number / 1_073_741_824.0)),
            Self::Percent => value.as_f64().map(|number| format!("{number:.1} %")),
            Self::Round(decimals) => value.as_f64().map(|number| format!("{number:.decimals$}")),
            Self::Duration => value.as_f64().map(duration),
            Self::Plural(one, many) => value
                .as_f64()
                .map(|number| if (number - 1.0).abs() < f64::EPSILON { one } else { many }.clone()),
            Self::Choose(yes, no) => Some(if truthy(value) { yes } else { no }.clone()),
            Self::Lines(limit) => value.as_str().map(|text| lines(text, *limit)),
            Self::Clip(limit) => (!value.is_null()).then(|| clip(&text_of(value), *limit)),
            Self::First | Self::Last | Self::MaxBy(_) | Self::MinBy(_) | Self::At(_) | Self::Default(_) => {
                None
            }
        };
        formatted.map_or(Value::Null, Value::String)
    }
}

struct Arguments<'a> {
    name: &'a str,
    remaining: std::vec::IntoIter<Operand>,
}

impl Arguments<'_> {
    fn next(&mut self) -> Result<Operand, String> {
        self.remaining.next().ok_or_else(|| format!("the filter `{}` needs another argument", self.name))
    }

    fn pointer(&mut self) -> Result<String, String> {
        match self.next()? {
            Operand::Path(Path { root, pointer }) if root.is_empty() => Ok(pointer),
            _ => Err(format!("the filter `{}` takes a JSON Pointer such as /name", self.name)),
        }
    }

    fn path(&mut self) -> Result<Path, String> {
        match self.next()? {
            Operand::Path(path) if !path.root.is_empty() => Ok(path),
            _ => Err(format!("the filter `{}` takes a name with a JSON Pointer behind it", self.name)),
        }
    }

    fn literal(&mut self) -> Result<Value, String> {
        match self.next()? {
            Operand::Literal(value) => Ok(value),
            Operand::Path(_) => Err(format!("the filter `{}` takes a literal value here", self.name)),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        match self.literal()? {
            Value::String(text) => Ok(text),
            _ => Err(format!("the filter `{}` takes a text in double quotes", self.name)),
        }
    }

    fn size(&mut self, largest: usize) -> Result<usize, String> {
        self.literal()?
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| *number <= largest)
            .ok_or_else(|| format!("the filter `{}` takes a whole number up to {largest}", self.name))
    }
}

fn element(value: Cow<'_, Value>, choose: impl Fn(&[Value]) -> Option<usize>) -> Cow<'_, Value> {
    let Some(index) = value.as_array().and_then(|items| choose(items)) else {
        return Cow::Owned(Value::Null);
    };
    match value {
        Cow::Borrowed(value) => value.get(index).map_or(Cow::Owned(Value::Null), Cow::Borrowed),
        Cow::Owned(mut value) => Cow::Owned(value.get_mut(index).map_or(Value::Null, Value::take)),
    }
}

fn extreme(
    items: &[Value],
    pointer: &str,
    compare: impl Fn(&f64, &f64) -> std::cmp::Ordering,
) -> Option<usize> {
    items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| Some((index, item.pointer(pointer)?.as_f64()?)))
        // The first of several equal ones: `max_by` alone would take the last.
        .max_by(|(left, a), (right, b)| compare(a, b).then(right.cmp(left)))
        .map(|(index, _)| index)
}

fn at<'a>(value: Cow<'a, Value>, pointer: &str) -> Cow<'a, Value> {
    match value {
        Cow::Borrowed(value) => value.pointer(pointer).map_or(Cow::Owned(Value::Null), Cow::Borrowed),
        Cow::Owned(mut value) => Cow::Owned(value.pointer_mut(pointer).map_or(Value::Null, Value::take)),
    }
}

fn count(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.len().into(),
        Value::Object(members) => members.len().into(),
        Value::String(text) => text.chars().count().into(),
        _ => Value::Null,
    }
}

fn sum(value: &Value, pointer: &str) -> Value {
    let Some(items) = value.as_array() else { return Value::Null };
    let numbers = items.iter().filter_map(|item| item.pointer(pointer));
    // Whole numbers stay whole; a sum that does not fit is given as a float.
    match numbers.clone().try_fold(0_u64, |total, number| total.checked_add(number.as_u64()?)) {
        Some(total) => total.into(),
        None => numbers.filter_map(Value::as_f64).sum::<f64>().into(),
    }
}

fn keep(value: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
    match value {
        Value::Array(items) => items.iter().filter(|item| wanted(item)).cloned().collect::<Vec<_>>().into(),
        _ => Value::Null,
    }
}

fn join(items: &[Value], separator: &str) -> String {
    items.iter().take(super::MAX_LIMIT).map(text_of).collect::<Vec<_>>().join(separator)
}

fn bytes(number: f64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number.abs() < 1024.0 {
        return format!("{number:.0} B");
    }
    let mut scaled = number;
    let mut unit = "B";
    for next in UNITS {
        // 1023.96 would be shown as 1024.0: the next unit says it better.
        if scaled.abs() < 1023.95 {
            break;
        }
        scaled /= 1024.0;
        unit = next;
    }
    format!("{scaled:.1} {unit}")
}

fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "unknown".to_owned();
    }
    if seconds < 60.0 {
        return format!("{seconds:.0} s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "finite, not negative, and saturating"
    )]
    let minutes = (seconds / 60.0) as u64;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn lines(text: &str, limit: usize) -> String {
    let mut all = text.lines();
    let mut shown = all.by_ref().take(limit).collect::<Vec<_>>().join("\n");
    let left = all.count();
    if left > 0 {
        // Writing to a `String` cannot fail.
        let _ = write!(shown, "\n… and {left} more lines");
    }
    shown
}

fn clip(text: &str, limit: usize) -> String {
    let mut characters = text.chars().map(|c| if c == '\n' || c == '\r' || c == '\t' { ' ' } else { c });
    let mut clipped: String = characters.by_ref().take(limit).collect();
    if characters.next().is_some() {
        clipped.push('…');
    }
    clipped
}
