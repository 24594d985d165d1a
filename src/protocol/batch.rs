//! Batches: `POST /v1/reserve/batch` and `POST /v1/complete/batch`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The body of a batch. Each item is parsed by itself, so that a malformed item fails alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchBody<'a> {
    /// 1 to 256 by default.
    #[serde(borrow)]
    pub requests: Vec<&'a RawValue>,
}

/// The answers to a batch, in the order of its requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAnswer<T> {
    /// One for each request.
    pub results: Vec<T>,
}
