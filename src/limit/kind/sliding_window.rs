//! Sliding window: each segment boundary refills what the oldest segment spent.

use serde::{Deserialize, Serialize};

use super::{KindFields, Steps, Tick, in_range, seconds_in_range};
use crate::limit::DefinitionError;

/// The most segments of a window: their accounts must fit into one chain when a new schedule replaces them.
pub const SEGMENTS_MAX: u32 = 60;

/// A window that advances by one segment at a time. What callers spend in a segment is refilled when that segment leaves the
/// window. Segments are counted from the Unix epoch.
///
/// No interval as long as the window without one segment sees more than the capacity. One as long as the window may see 2 x the
/// capacity: what was spent at the end of the oldest segment is refilled when that segment leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingWindow {
    window_seconds: u32,
    segments: u32,
}

/// The fields as the ledger stores them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Encoded {
    window_seconds: u32,
    segments: u32,
}

impl SlidingWindow {
    pub(super) const FIELD_NAMES: &[&str] = &["window_seconds", "segments"];

    pub(super) fn from_fields(fields: &KindFields) -> Result<Self, DefinitionError> {
        let window_seconds = seconds_in_range("window_seconds", fields.window_seconds)?;
        let segments = in_range("segments", fields.segments, 1, SEGMENTS_MAX.into())?;
        // The upper bound fits 32 bits.
        Ok(Self { window_seconds, segments: segments as u32 })
    }

    pub(super) fn fields(self) -> KindFields {
        KindFields {
            window_seconds: self.window_seconds.into(),
            segments: self.segments.into(),
            ..KindFields::default()
        }
    }

    /// The length of the window, in seconds.
    pub fn window_seconds(self) -> u32 {
        self.window_seconds
    }

    /// The number of segments in the window.
    pub fn segments(self) -> u32 {
        self.segments
    }

    /// One step is one segment.
    pub(super) fn steps(self) -> Steps {
        Steps {
            anchor_ns: 0,
            span_ms: u64::from(self.window_seconds) * 1_000,
            per_span: self.segments,
            tick: Tick::Millisecond,
        }
    }
}

impl From<SlidingWindow> for Encoded {
    fn from(window: SlidingWindow) -> Self {
        Self { window_seconds: window.window_seconds, segments: window.segments }
    }
}

impl From<Encoded> for KindFields {
    fn from(encoded: Encoded) -> Self {
        Self {
            window_seconds: encoded.window_seconds.into(),
            segments: encoded.segments.into(),
            ..Self::default()
        }
    }
}
