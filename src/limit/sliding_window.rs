use super::Steps;
use super::definition::{DefinitionError, KindFields, in_range, seconds_in_range};

/// The most segments of a window: as many accounts as fit into one chain when they are replaced.
pub const SEGMENTS_MAX: u32 = 60;

/// A window that moves on by a segment at a time: what was taken in a segment comes back when that segment leaves the
/// window. Segments are counted from the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingWindow {
    window_seconds: u32,
    segments: u32,
}

impl SlidingWindow {
    pub(super) fn from_fields(fields: &KindFields) -> Result<Self, DefinitionError> {
        let window_seconds = seconds_in_range("window_seconds", fields.window_seconds)?;
        let segments = in_range("segments", fields.segments, 1, SEGMENTS_MAX.into())?;
        // It is below a number of 32 bits.
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

    /// How many segments it has.
    pub fn segments(self) -> u32 {
        self.segments
    }

    pub(super) fn steps(self) -> Steps {
        Steps { anchor_ms: 0, span_ms: u64::from(self.window_seconds) * 1_000, per_span: self.segments }
    }
}
