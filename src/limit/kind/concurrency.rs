//! Concurrency: slots in use at once.

use serde::{Deserialize, Serialize};

use super::{KindFields, seconds_in_range};
use crate::limit::DefinitionError;

/// A complete releases each reservation. If no complete arrives, the reservation expires `timeout_seconds` after it was made.
/// At each moment at most the capacity is held; over time there is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    timeout_seconds: u32,
}

/// The fields as the ledger stores them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Encoded {
    timeout_seconds: u32,
}

impl Concurrency {
    pub(super) const FIELD_NAMES: &[&str] = &["timeout_seconds"];

    /// A timeout of 1 to [`SECONDS_MAX`](super::SECONDS_MAX) seconds.
    pub fn new(timeout_seconds: u64) -> Result<Self, DefinitionError> {
        Ok(Self { timeout_seconds: seconds_in_range("timeout_seconds", timeout_seconds)? })
    }

    pub(super) fn from_fields(fields: &KindFields) -> Result<Self, DefinitionError> {
        Self::new(fields.timeout_seconds)
    }

    pub(super) fn fields(self) -> KindFields {
        KindFields { timeout_seconds: self.timeout_seconds.into(), ..KindFields::default() }
    }

    /// The longest time that a reservation is held, in seconds.
    pub fn timeout_seconds(self) -> u32 {
        self.timeout_seconds
    }
}

impl From<Concurrency> for Encoded {
    fn from(concurrency: Concurrency) -> Self {
        Self { timeout_seconds: concurrency.timeout_seconds }
    }
}

impl From<Encoded> for KindFields {
    fn from(encoded: Encoded) -> Self {
        Self { timeout_seconds: encoded.timeout_seconds.into(), ..Self::default() }
    }
}
