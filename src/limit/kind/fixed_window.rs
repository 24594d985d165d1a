//! Fixed window: each boundary refills the whole capacity.

use serde::{Deserialize, Serialize};

use super::{KindFields, Steps, Tick, in_range, seconds_in_range};
use crate::limit::DefinitionError;

/// Boundaries are `window_seconds` apart, counted from the Unix epoch, so that 86,400 is the day in UTC. `align` moves them
/// later by that many seconds, for example to a tenant's midnight.
///
/// An interval as long as the window may see 2 x the capacity: all of it before a boundary, and all of it after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedWindow {
    window_seconds: u32,
    align_seconds: u32,
}

/// The fields as the ledger stores them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Encoded {
    window_seconds: u32,
    align: u32,
}

impl FixedWindow {
    pub(super) const FIELD_NAMES: &[&str] = &["window_seconds", "align"];

    pub(super) fn from_fields(fields: &KindFields) -> Result<Self, DefinitionError> {
        let window_seconds = seconds_in_range("window_seconds", fields.window_seconds)?;
        let align = in_range("align", fields.align, 0, u64::from(window_seconds) - 1)?;
        // It is below the window's length, which fits 32 bits.
        Ok(Self { window_seconds, align_seconds: align as u32 })
    }

    pub(super) fn fields(self) -> KindFields {
        KindFields {
            window_seconds: self.window_seconds.into(),
            align: self.align_seconds.into(),
            ..KindFields::default()
        }
    }

    /// The length of a window, in seconds.
    pub fn window_seconds(self) -> u32 {
        self.window_seconds
    }

    /// A window begins this many seconds after a multiple of its length.
    pub fn align_seconds(self) -> u32 {
        self.align_seconds
    }

    /// One step is one window.
    pub(super) fn steps(self) -> Steps {
        Steps {
            anchor_ns: u64::from(self.align_seconds) * 1_000_000_000,
            span_ms: u64::from(self.window_seconds) * 1_000,
            per_span: 1,
            tick: Tick::Millisecond,
        }
    }
}

impl From<FixedWindow> for Encoded {
    fn from(window: FixedWindow) -> Self {
        Self { window_seconds: window.window_seconds, align: window.align_seconds }
    }
}

impl From<Encoded> for KindFields {
    fn from(encoded: Encoded) -> Self {
        Self { window_seconds: encoded.window_seconds.into(), align: encoded.align.into(), ..Self::default() }
    }
}
