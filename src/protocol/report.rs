//! What is left of limits, in the answer to a reserve.

use serde::{Deserialize, Serialize};

/// What is left of one limit after the decision, in its units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct LimitReport {
    /// The limit.
    pub key: String,
    /// The most that may be reserved at once.
    pub capacity: u64,
    /// What can be reserved now. Other callers may reserve it first.
    pub available: u128,
    /// The longest time until more becomes available, in milliseconds. Missing for a bucket that is refilled by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_ms: Option<u64>,
}
