//! How much a hint of a denial can be believed.

use serde::{Deserialize, Serialize};

/// What the wait that a denial names was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RetryAfterSource {
    /// Of what is reserved and of the schedule: the amount fits then, and not before, unless other callers release or take.
    Exact,
    /// Of the denials in a row.
    Estimate,
}

impl RetryAfterSource {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Estimate => "estimate",
        }
    }
}
