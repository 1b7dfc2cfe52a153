//! An integer argument that cannot be out of range: the range is part of its type and of its JSON Schema.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

/// An integer from `MIN` to `MAX` inclusive; `DEFAULT` where the argument is left out.
///
/// A value outside is an error on deserialization rather than clamped: a caller that asked for a million rows and
/// silently got a thousand would draw wrong conclusions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Bounded<const MIN: u64, const MAX: u64, const DEFAULT: u64>(u64);

/// The value that was refused, and the range it had to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be from {min} to {max}, got {value}")]
pub struct OutOfBounds {
    /// The refused value.
    pub value: u64,
    /// Smallest allowed value.
    pub min: u64,
    /// Largest allowed value.
    pub max: u64,
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Bounded<MIN, MAX, DEFAULT> {
    /// The value.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The value as a length or count in memory.
    ///
    /// Saturates on machines whose `usize` is smaller than the value.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Takes `value` if it is in range.
    ///
    /// # Errors
    /// [`OutOfBounds`] names the value and the range.
    pub const fn new(value: u64) -> Result<Self, OutOfBounds> {
        if value < MIN || value > MAX {
            Err(OutOfBounds { value, min: MIN, max: MAX })
        } else {
            Ok(Self(value))
        }
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Default for Bounded<MIN, MAX, DEFAULT> {
    fn default() -> Self {
        const { assert!(MIN <= DEFAULT && DEFAULT <= MAX, "the default is in range") }
        Self(DEFAULT)
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> TryFrom<u64> for Bounded<MIN, MAX, DEFAULT> {
    type Error = OutOfBounds;

    fn try_from(value: u64) -> Result<Self, OutOfBounds> {
        Self::new(value)
    }
}

struct BoundedVisitor<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Visitor<'_> for BoundedVisitor<MIN, MAX> {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an integer from {MIN} to {MAX}")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        if (MIN..=MAX).contains(&value) {
            Ok(value)
        } else {
            Err(E::invalid_value(Unexpected::Unsigned(value), &self))
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }

    /// Models write `10.0` for `10`; only a whole number counts as one.
    fn visit_f64<E: Error>(self, value: f64) -> Result<u64, E> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and below 2^53, so exact"
        )]
        if value.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&value) {
            self.visit_u64(value as u64)
        } else {
            Err(E::invalid_value(Unexpected::Float(value), &self))
        }
    }
}

impl<'de, const MIN: u64, const MAX: u64, const DEFAULT: u64> Deserialize<'de>
    for Bounded<MIN, MAX, DEFAULT>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(BoundedVisitor::<MIN, MAX>).map(Self)
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> JsonSchema for Bounded<MIN, MAX, DEFAULT> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Integer{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Limit = Bounded<1, 1000, 50>;

    #[test]
    fn a_value_in_range_is_taken() {
        assert_eq!(serde_json::from_str::<Limit>("1000").unwrap().get(), 1000);
        assert_eq!(serde_json::from_str::<Limit>("10.0").unwrap().get(), 10);
    }

    #[test]
    fn a_value_out_of_range_is_refused_and_the_range_is_named() {
        for bad in ["-1", "0", "1001", "1000000000", "1.5", "1e300", "\"5\"", "null", "[]"] {
            let error = serde_json::from_str::<Limit>(bad).unwrap_err().to_string();
            assert!(error.contains("from 1 to 1000"), "{bad}: {error}");
        }
    }

    #[test]
    fn the_schema_holds_the_range() {
        let schema = schemars::schema_for!(Limit);
        assert_eq!(schema.get("maximum").unwrap(), 1000);
        assert_eq!(schema.get("minimum").unwrap(), 1);
    }
}
