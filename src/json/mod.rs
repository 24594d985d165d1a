//! Reads JSON that people and programs of any language write: the bodies of requests and the registry file.
//!
//! | rule | example |
//! | --- | --- |
//! | an object is an object | an array of its values is refused |
//! | `null` is an absent field | `{"job_id": null}` is `{}`; a required field must not be `null` |
//! | a whole number has any spelling | `5`, `5.0` and `0.5e1` are 5; `5.5` and `-1` are refused |
//! | an error speaks of JSON | `requirements[0].amount must be a whole number, not 5.5` |
//!
//! | file | what it holds |
//! | --- | --- |
//! | `objects_only.rs` | the first attempt: serde's reading, which refuses arrays in the place of objects |
//! | `value.rs` | the second attempt, slower: every rule, and the errors |
//! | `number.rs` | whole numbers in any spelling |
//! | `error.rs` | what is wrong, and where |
//!
//! Nearly every text passes the first attempt, which costs what serde costs. A text that it accepts means the same in
//! both attempts.

mod error;
mod number;
mod objects_only;
#[cfg(test)]
mod tests;
mod value;

use serde::Deserialize;

pub(crate) use error::JsonError;
use objects_only::ObjectsOnly;

/// Reads the whole of `text` as a `T`.
///
/// Types that serde buffers (`flatten`, `untagged`) are read without the rules.
///
/// # Errors
///
/// The text is not JSON, or it is not a `T`: the error names the place.
pub(crate) fn read<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    match T::deserialize(ObjectsOnly(&mut reader)) {
        Ok(value) if reader.end().is_ok() => Ok(value),
        Ok(_) | Err(_) => value::read(text),
    }
}
