//! Sliding window: each segment boundary refills what the oldest segment spent.

use serde::{Deserialize, Serialize};

use super::window_length::WindowLength;
use super::{KindFields, Steps, Tick, in_range};
use crate::limit::DefinitionError;

/// The most segments of a window: their accounts must fit into one chain when a new schedule replaces them.
pub const SEGMENTS_MAX: u32 = 60;

/// A window that advances by one segment at a time. What callers spend in a segment is refilled when that segment leaves the
/// window. Segments are counted from the Unix epoch.
///
/// No interval as long as the window without one segment sees more than the capacity. One as long as the window may see 2 x the
/// capacity: what was spent at the end of the oldest segment is refilled when that segment leaves.
///
/// If `auto_replenish` is false, a segment ends on request, and not before its length has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingWindow {
    length: WindowLength,
    segments: u32,
    auto_replenish: bool,
}

/// The fields of a window of whole seconds whose segments time ends, as the ledger stores them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Encoded {
    window_seconds: u32,
    segments: u32,
}

/// The fields of any other window, as the ledger stores them.
#[derive(Serialize, Deserialize)]
pub(crate) struct EncodedMs {
    window_ms: u64,
    segments: u32,
    auto_replenish: bool,
}

impl SlidingWindow {
    pub(super) const FIELD_NAMES: &[&str] = &["window_seconds", "window_ms", "segments", "auto_replenish"];

    pub(super) fn from_fields(fields: &KindFields) -> Result<Self, DefinitionError> {
        let length = WindowLength::from_fields(fields)?;
        // A segment has at least a millisecond.
        let segments = in_range("segments", fields.segments, 1, length.ms().min(SEGMENTS_MAX.into()))?;
        // The upper bound fits 32 bits.
        Ok(Self { length, segments: segments as u32, auto_replenish: fields.auto_replenish.unwrap_or(true) })
    }

    pub(super) fn fields(self) -> KindFields {
        KindFields {
            segments: self.segments.into(),
            auto_replenish: (!self.auto_replenish).then_some(false),
            ..self.length.fields()
        }
    }

    /// The length of the window, in milliseconds.
    pub fn window_ms(self) -> u64 {
        self.length.ms()
    }

    /// The number of segments in the window.
    pub fn segments(self) -> u32 {
        self.segments
    }

    /// The length of a segment, in milliseconds, rounded up.
    pub(super) fn segment_ms(self) -> u64 {
        self.length.ms().div_ceil(self.segments.into())
    }

    /// Whether time ends a segment; otherwise it ends on request, once its length has passed.
    pub fn auto_replenish(self) -> bool {
        self.auto_replenish
    }

    /// One step is one segment. `None` if segments end on request.
    pub(super) fn steps(self) -> Option<Steps> {
        self.auto_replenish.then(|| Steps {
            anchor_ns: 0,
            span_ms: self.length.ms(),
            per_span: self.segments,
            tick: Tick::Millisecond,
        })
    }

    pub(super) fn encode(self) -> Result<Encoded, EncodedMs> {
        match self.length.whole_seconds() {
            Some(window_seconds) if self.auto_replenish => {
                Ok(Encoded { window_seconds, segments: self.segments })
            }
            Some(_) | None => Err(EncodedMs {
                window_ms: self.length.ms(),
                segments: self.segments,
                auto_replenish: self.auto_replenish,
            }),
        }
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

impl From<EncodedMs> for KindFields {
    fn from(encoded: EncodedMs) -> Self {
        Self {
            window_ms: encoded.window_ms,
            segments: encoded.segments.into(),
            auto_replenish: Some(encoded.auto_replenish),
            ..Self::default()
        }
    }
}
