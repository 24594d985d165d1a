//! Reads and writes a cluster id: a number, or a string if it is too large for a number of TOML.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(id: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    match i64::try_from(*id) {
        Ok(small) => serializer.serialize_i64(small),
        Err(_) => serializer.serialize_str(&id.to_string()),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    deserializer.deserialize_any(ClusterId)
}

struct ClusterId;

impl Visitor<'_> for ClusterId {
    type Value = u128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 to 2^128-1, as a string if it is over 2^63-1")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u128, E> {
        u128::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u128, E> {
        Ok(number.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u128, E> {
        text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}
