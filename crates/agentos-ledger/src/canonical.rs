//! Canonical JSON (RFC 8785): one value has one text, so that a hash over the text is a hash over the value.
//!
//! Admitted is what keeps its meaning in every language's JSON reader: integers within ±(2⁵³−1), finite floats, objects
//! without repeated names. A larger integer is refused, not rounded: it belongs in a string.

use std::io::Write as _;

use serde::Serialize;
use serde_json::{Map, Number, Value};

/// Longest canonical text of an event's data, in bytes. With the repeated fields around it a payload stays under 64 KiB.
pub const MAX_DATA_BYTES: usize = 65_024;
/// Deepest nesting of arrays and objects.
const MAX_DEPTH: usize = 64;
/// 2⁵³−1: above it neighbouring integers are the same double (RFC 8785, section 3.2.2.3; RFC 7493, section 2.2).
const MAX_INTEGER: i64 = 9_007_199_254_740_991;

/// Why some data cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The value is not a JSON object.
    #[error("an event's data must be a JSON object, got {0}")]
    NotAnObject(&'static str),
    /// The text or the Rust value is not JSON.
    #[error("the event's data cannot be read as JSON")]
    NotJson(#[source] serde_json::Error),
    /// An integer that other JSON readers would round.
    #[error("the number {0} does not survive every JSON reader (beyond ±(2^53-1)); record it as a string")]
    Number(Number),
    /// Nested too deeply.
    #[error("the event's data is nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// Too long.
    #[error(
        "the event's data is longer than {MAX_DATA_BYTES} bytes in canonical form; record a digest or an excerpt"
    )]
    TooLarge,
}

/// A JSON object in canonical form, short enough to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalJson(String);

impl CanonicalJson {
    /// The canonical form of `value`, which must be an object.
    ///
    /// # Errors
    /// [`DataError`] when the value has no canonical form that every reader agrees on, or a too long one.
    pub fn from_value(value: &Value) -> Result<Self, DataError> {
        let Value::Object(object) = value else { return Err(DataError::NotAnObject(kind(value))) };
        let mut out = Vec::with_capacity(256);
        write_object(&mut out, object, 1)?;
        if out.len() > MAX_DATA_BYTES {
            return Err(DataError::TooLarge);
        }
        // What was written is text from `str`s and ASCII; the check costs less than carrying unsafe code.
        String::from_utf8(out).map(Self).map_err(|_| DataError::TooLarge)
    }

    /// The canonical form of anything that serializes to a JSON object.
    ///
    /// # Errors
    /// As [`CanonicalJson::from_value`].
    pub fn new<T: Serialize + ?Sized>(data: &T) -> Result<Self, DataError> {
        Self::from_value(&serde_json::to_value(data).map_err(DataError::NotJson)?)
    }

    /// The canonical form of JSON text.
    ///
    /// # Errors
    /// As [`CanonicalJson::from_value`].
    pub fn parse(text: &str) -> Result<Self, DataError> {
        Self::from_value(&serde_json::from_str(text).map_err(DataError::NotJson)?)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), DataError> {
    if out.len() > MAX_DATA_BYTES {
        return Err(DataError::TooLarge);
    }
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(out, number)?,
        Value::String(text) => write_string(out, text)?,
        Value::Array(items) => {
            deeper(depth)?;
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_value(out, item, depth + 1)?;
            }
            out.push(b']');
        }
        Value::Object(object) => write_object(out, object, depth + 1)?,
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<(), DataError> {
    if depth >= MAX_DEPTH { Err(DataError::TooDeep) } else { Ok(()) }
}

fn write_object(out: &mut Vec<u8>, object: &Map<String, Value>, depth: usize) -> Result<(), DataError> {
    deeper(depth)?;
    let mut names: Vec<(&String, &Value)> = object.iter().collect();
    // RFC 8785, section 3.2.3: by UTF-16 code units, which differs from UTF-8 order beyond the basic plane.
    names.sort_by(|(left, _), (right, _)| left.encode_utf16().cmp(right.encode_utf16()));
    out.push(b'{');
    for (position, (name, value)) in names.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_string(out, name)?;
        out.push(b':');
        write_value(out, value, depth)?;
    }
    out.push(b'}');
    Ok(())
}

/// `serde_json` escapes exactly what RFC 8785, section 3.2.2.2 asks for, in the form it asks for.
fn write_string(out: &mut Vec<u8>, text: &str) -> Result<(), DataError> {
    serde_json::to_writer(out, text).map_err(DataError::NotJson)
}

fn write_number(out: &mut Vec<u8>, number: &Number) -> Result<(), DataError> {
    let refused = || DataError::Number(number.clone());
    if let Some(integer) = number.as_i64() {
        if !(-MAX_INTEGER..=MAX_INTEGER).contains(&integer) {
            return Err(refused());
        }
        let _ = write!(out, "{integer}");
        return Ok(());
    }
    if number.is_u64() {
        return Err(refused());
    }
    let float = number.as_f64().filter(|float| float.is_finite()).ok_or_else(refused)?;
    // Written without an exponent it would read as an integer that is too large.
    if (9_007_199_254_740_992.0..1e21).contains(&float.abs()) {
        return Err(refused());
    }
    write_float(out, number, float);
    Ok(())
}

/// ECMAScript's `Number::toString` (ECMA-262, section 6.1.6.1.20), which RFC 8785 refers to.
fn write_float(out: &mut Vec<u8>, number: &Number, float: f64) {
    if float == 0.0 {
        out.push(b'0');
        return;
    }
    // The shortest digits that read back as the same double, and of those the nearest, an even one on a tie: ECMAScript
    // and `serde_json` agree on the digits, the standard library's printing does not on ties. Only the layout differs.
    let printed = number.to_string();
    let (mantissa, exponent) =
        printed.trim_start_matches('-').split_once('e').unwrap_or((printed.trim_start_matches('-'), "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    let leading = all.len() - significant.len();
    let digits = significant.trim_end_matches('0');
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let length = |text: &str| i32::try_from(text.len()).unwrap_or(i32::MAX);
    let point = length(whole) - i32::try_from(leading).unwrap_or(0) + exponent;
    let count = length(digits);
    if float < 0.0 {
        out.push(b'-');
    }
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let _ = if (count..=21).contains(&point) {
        write!(out, "{digits}{}", zeros(point - count))
    } else if (1..=21).contains(&point) {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
        write!(out, "{whole}.{fraction}")
    } else if (-5..=0).contains(&point) {
        write!(out, "0.{}{digits}", zeros(-point))
    } else {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        write!(out, "{first}{dot}{rest}e{:+}", point - 1)
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn canonical(value: &Value) -> String {
        CanonicalJson::from_value(value).unwrap().as_str().to_owned()
    }

    #[test]
    fn the_example_of_rfc_8785_comes_out_as_printed_there() {
        let value: Value = serde_json::from_str(
            r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
                "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
        )
        .unwrap();
        assert_eq!(
            canonical(&value),
            "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
             \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
        );
    }

    #[test]
    fn floats_are_laid_out_as_ecmascript_does() {
        for (given, expected) in [
            ("-1402193334033777.25", "-1402193334033777.2"),
            ("1e-7", "1e-7"),
            ("0.000001", "0.000001"),
            ("123e-20", "1.23e-18"),
            ("1e21", "1e+21"),
            ("1.5e300", "1.5e+300"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("100.0", "100"),
            ("0.5", "0.5"),
            ("-0.0", "0"),
            ("4503599627370495.5", "4503599627370495.5"),
        ] {
            let text = format!("{{\"n\":{given}}}");
            assert_eq!(CanonicalJson::parse(&text).unwrap().as_str(), format!("{{\"n\":{expected}}}"));
        }
    }

    #[test]
    fn names_are_sorted_by_utf_16_code_units() {
        let value =
            json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        let text = canonical(&value);
        let order: Vec<char> = text.chars().filter(char::is_ascii_digit).collect();
        // The name "1" itself holds a digit.
        assert_eq!(order, ['2', '1', '4', '6', '7', '1', '5', '3']);
    }

    #[test]
    fn what_readers_would_disagree_on_is_refused() {
        for bad in
            ["9007199254740992", "-9007199254740992", "18446744073709551615", "9007199254740992.0", "1e18"]
        {
            let text = format!("{{\"n\":{bad}}}");
            assert!(matches!(CanonicalJson::parse(&text), Err(DataError::Number(_))), "{bad}");
        }
        assert_eq!(
            CanonicalJson::parse("{\"n\":9007199254740991}").unwrap().as_str(),
            "{\"n\":9007199254740991}"
        );
        assert!(matches!(CanonicalJson::parse("[]"), Err(DataError::NotAnObject("an array"))));
        assert!(CanonicalJson::parse("{\"a\":NaN}").is_err());
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let long = json!({ "text": "x".repeat(MAX_DATA_BYTES) });
        assert!(matches!(CanonicalJson::from_value(&long), Err(DataError::TooLarge)));
        let mut deep = json!({});
        for _ in 0..100 {
            deep = json!({ "a": deep });
        }
        assert!(matches!(CanonicalJson::from_value(&deep), Err(DataError::TooDeep)));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-MAX_INTEGER..=MAX_INTEGER).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(".{0,6}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_independent_implementation_agrees(value in any_json()) {
            let value = json!({ "v": value });
            if let Ok(canonical) = CanonicalJson::from_value(&value) {
                prop_assert_eq!(canonical.as_str(), serde_json_canonicalizer::to_string(&value).unwrap());
            }
        }

        #[test]
        fn canonical_text_is_its_own_canonical_form(value in any_json()) {
            if let Ok(canonical) = CanonicalJson::from_value(&json!({ "v": value })) {
                let again = CanonicalJson::parse(canonical.as_str()).unwrap();
                prop_assert_eq!(again, canonical);
            }
        }

        #[test]
        fn any_text_is_refused_or_taken_without_a_panic(text in ".{0,64}") {
            let _ = CanonicalJson::parse(&text);
        }
    }
}
