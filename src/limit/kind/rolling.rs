//! Rolling window: an exact sliding log.

use serde::{Deserialize, Serialize};

use super::{KindFields, seconds_in_range};
use crate::limit::DefinitionError;

/// Each reservation expires `window_seconds` after it was made. No interval as long as the window sees more than the capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rolling {
    window_seconds: u32,
}

/// The fields as the ledger stores them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Encoded {
    window_seconds: u32,
}

impl Rolling {
    pub(super) const FIELD_NAMES: &[&str] = &["window_seconds"];

    /// A window of 1 to [`SECONDS_MAX`](super::SECONDS_MAX) seconds.
    pub fn new(window_seconds: u64) -> Result<Self, DefinitionError> {
        Ok(Self { window_seconds: seconds_in_range("window_seconds", window_seconds)? })
    }

    pub(super) fn from_fields(fields: &KindFields) -> Result<Self, DefinitionError> {
        Self::new(fields.window_seconds)
    }

    pub(super) fn fields(self) -> KindFields {
        KindFields { window_seconds: self.window_seconds.into(), ..KindFields::default() }
    }

    /// The time until a reservation expires, in seconds.
    pub fn window_seconds(self) -> u32 {
        self.window_seconds
    }
}

impl From<Rolling> for Encoded {
    fn from(rolling: Rolling) -> Self {
        Self { window_seconds: rolling.window_seconds }
    }
}

impl From<Encoded> for KindFields {
    fn from(encoded: Encoded) -> Self {
        Self { window_seconds: encoded.window_seconds.into(), ..Self::default() }
    }
}
