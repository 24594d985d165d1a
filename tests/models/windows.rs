//! The model of windows: when windows and segments begin and end, counted from the Unix epoch.

use ledger_limiter::limit::{KindFields, TimeZoneName};

/// When the fixed window after the one of a moment begins: at a boundary `align + n * window`.
pub fn next_boundary_ms(window_ms: u64, align_ms: u64, at_ms: u64) -> u64 {
    let whole_windows = (at_ms - align_ms) / window_ms;
    align_ms + (whole_windows + 1) * window_ms
}

/// When the calendar day after the one of a moment begins, in a time zone whose clocks never change.
pub fn next_calendar_day_ms(fields: &KindFields, at_ms: u64) -> u64 {
    const HOUR_MS: u64 = 3_600_000;
    let midnight_ms = match fields.time_zone.map(TimeZoneName::as_str) {
        Some("UTC") => 0,
        Some("Asia/Kolkata") => 18 * HOUR_MS + HOUR_MS / 2,
        zone => panic!("not in the model: {zone:?}"),
    };
    next_boundary_ms(24 * HOUR_MS, (midnight_ms + fields.starts_at * HOUR_MS) % (24 * HOUR_MS), at_ms)
}

/// When a segment begins, rounded up to whole milliseconds.
fn segment_begins_ms(window_ms: u64, segments: u64, nth: u64) -> u64 {
    (nth * window_ms).div_ceil(segments)
}

/// The segment of a moment.
fn segment_of(window_ms: u64, segments: u64, at_ms: u64) -> u64 {
    // The segments of whole windows first, then one by one.
    let mut segment = at_ms / window_ms * segments;
    while segment_begins_ms(window_ms, segments, segment + 1) <= at_ms {
        segment += 1;
    }
    segment
}

/// When the next segment begins.
pub fn next_segment_ms(window_ms: u64, segments: u64, at_ms: u64) -> u64 {
    segment_begins_ms(window_ms, segments, segment_of(window_ms, segments, at_ms) + 1)
}

/// When the segment of a moment leaves the window: after as many segments as the window has.
pub fn leaves_ms(window_ms: u64, segments: u64, at_ms: u64) -> u64 {
    segment_begins_ms(window_ms, segments, segment_of(window_ms, segments, at_ms) + segments)
}
