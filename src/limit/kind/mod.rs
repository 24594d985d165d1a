//! The kinds of limits: how reserved capacity becomes available again. A kind owns its fields, their encoding in the ledger,
//! and its schedule; this file holds the enums that dispatch to them.
//!
//! | file | kind | capacity becomes available again |
//! | --- | --- | --- |
//! | `rolling.rs` | rolling window (exact log) | each reservation expires after the window |
//! | `concurrency.rs` | concurrency | on complete, or after the timeout |
//! | `token_bucket.rs` | token bucket | by refills at fixed intervals, or by hand |
//! | `fixed_window.rs` | fixed window | all at once, at each boundary |
//! | `sliding_window.rs` | sliding window | segment by segment |
//! | `calendar.rs`, `time_zone.rs` | calendar window | all at once, at each boundary of a calendar |
//! | `bucket_rate.rs`, `refill_rate.rs` | how fast time refills a bucket | |
//! | `scheduled.rs` | the kinds with a schedule | |
//! | `steps.rs` | the moments of a schedule | |
//! | `window_length.rs` | the length of a window: seconds or milliseconds | |
//!
//! The most that is granted within any interval, which `tests/models/guarantees.rs` reaches and does not exceed:
//!
//! | kind | interval | at most |
//! | --- | --- | --- |
//! | rolling | the window | the capacity |
//! | concurrency | any | no bound over time; the capacity at each moment |
//! | token bucket | T | the capacity, and each refill that is due within T |
//! | fixed window | the window | 2 x the capacity |
//! | calendar window | the window | 2 x the capacity |
//! | sliding window | the window | 2 x the capacity |
//! | sliding window | the window without one segment | the capacity |

mod bucket_rate;
mod calendar;
mod concurrency;
mod fixed_window;
mod refill_rate;
mod rolling;
mod scheduled;
mod sliding_window;
mod steps;
mod time_zone;
mod token_bucket;
mod window_length;

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

pub use bucket_rate::{BucketRate, RateChange};
pub use calendar::{CalendarWindow, Period};
pub use concurrency::Concurrency;
pub use fixed_window::FixedWindow;
pub use refill_rate::{REFILL_INTERVAL_MS_MAX, RefillRate, RefillRateError};
pub use rolling::Rolling;
pub(crate) use scheduled::{Refill, ScheduledKind};
pub use sliding_window::{SEGMENTS_MAX, SlidingWindow};
pub(crate) use steps::{Steps, Tick};
pub use time_zone::TimeZoneName;
pub use token_bucket::TokenBucket;

use super::{DefinitionError, KindName};

/// The longest window or timeout of a limit, in seconds: 366 days.
pub const SECONDS_MAX: u32 = 31_622_400;

/// How reserved capacity becomes available again, with the fields of that kind and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Each reservation expires after the window.
    Rolling(Rolling),
    /// Each reservation is released by its complete, or expires after a timeout.
    Concurrency(Concurrency),
    /// Refills add tokens at fixed intervals, for all callers together.
    TokenBucket(TokenBucket),
    /// Each boundary refills the whole capacity.
    FixedWindow(FixedWindow),
    /// Each boundary refills what the oldest segment spent.
    SlidingWindow(SlidingWindow),
    /// Each boundary of a calendar refills the whole capacity.
    Calendar(CalendarWindow),
}

/// The fields of all kinds by name; 0 or `None` where a field is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KindFields {
    /// For rolling limits and windows: the length of the window.
    pub window_seconds: u64,
    /// For fixed and sliding windows whose length is not given in seconds: in milliseconds.
    pub window_ms: u64,
    /// For concurrency limits: the longest time that a reservation is held.
    pub timeout_seconds: u64,
    /// For fixed windows: a window begins this many seconds after a multiple of its length.
    pub align: u64,
    /// For sliding windows: the number of segments.
    pub segments: u64,
    /// For buckets: the tokens that one refill adds.
    pub refill_amount: u64,
    /// For buckets: the time between two refills, or of `refills_per_interval` of them.
    pub refill_interval_ms: u64,
    /// For buckets: the refills in an interval, evenly spread; 1 if left out.
    pub refills_per_interval: u64,
    /// For buckets, fixed and sliding windows: whether time refills them; true if left out.
    pub auto_replenish: Option<bool>,
    /// For calendar windows: the period.
    pub period: Option<Period>,
    /// For calendar windows: the time zone.
    pub time_zone: Option<TimeZoneName>,
    /// For calendar windows: where in the period a window begins.
    pub starts_at: u64,
}

/// A kind as the ledger stores it, in postcard's encoding. Variants may only be added at the end.
#[derive(Serialize, Deserialize)]
pub(crate) enum EncodedKind {
    Rolling(rolling::Encoded),
    Concurrency(concurrency::Encoded),
    TokenBucket(token_bucket::Encoded),
    FixedWindow(fixed_window::Encoded),
    SlidingWindow(sliding_window::Encoded),
    SpreadTokenBucket(token_bucket::EncodedSpread),
    Calendar(calendar::Encoded),
    FixedWindowMs(fixed_window::EncodedMs),
    SlidingWindowMs(sliding_window::EncodedMs),
}

impl Kind {
    /// Builds a rolling or concurrency kind; the time that the kind does not use must be 0.
    pub fn new(name: KindName, window_seconds: u64, timeout_seconds: u64) -> Result<Self, DefinitionError> {
        Self::from_fields(name, &KindFields { window_seconds, timeout_seconds, ..KindFields::default() })
    }

    /// Builds a kind from its fields; the fields that the kind does not use must be left out.
    pub fn from_fields(name: KindName, fields: &KindFields) -> Result<Self, DefinitionError> {
        fields.check_unused(name)?;
        match name {
            KindName::Rolling => Rolling::from_fields(fields).map(Kind::Rolling),
            KindName::Concurrency => Concurrency::from_fields(fields).map(Kind::Concurrency),
            KindName::TokenBucket => TokenBucket::from_fields(fields).map(Kind::TokenBucket),
            KindName::FixedWindow => FixedWindow::from_fields(fields).map(Kind::FixedWindow),
            KindName::SlidingWindow => SlidingWindow::from_fields(fields).map(Kind::SlidingWindow),
            KindName::Calendar => CalendarWindow::from_fields(fields).map(Kind::Calendar),
        }
    }

    /// The fields that build this kind again.
    pub fn fields(self) -> KindFields {
        match self {
            Kind::Rolling(rolling) => rolling.fields(),
            Kind::Concurrency(concurrency) => concurrency.fields(),
            Kind::TokenBucket(bucket) => bucket.fields(),
            Kind::FixedWindow(window) => window.fields(),
            Kind::SlidingWindow(window) => window.fields(),
            Kind::Calendar(window) => window.fields(),
        }
    }

    /// The kind's name.
    pub fn name(self) -> KindName {
        match self {
            Kind::Rolling(_) => KindName::Rolling,
            Kind::Concurrency(_) => KindName::Concurrency,
            Kind::TokenBucket(_) => KindName::TokenBucket,
            Kind::FixedWindow(_) => KindName::FixedWindow,
            Kind::SlidingWindow(_) => KindName::SlidingWindow,
            Kind::Calendar(_) => KindName::Calendar,
        }
    }

    /// The refill schedule; `None` for rolling and concurrency limits, whose reservations expire one by one.
    pub(crate) fn scheduled(self) -> Option<ScheduledKind> {
        match self {
            Kind::Rolling(_) | Kind::Concurrency(_) => None,
            Kind::TokenBucket(bucket) => Some(ScheduledKind::TokenBucket(bucket)),
            Kind::FixedWindow(window) => Some(ScheduledKind::FixedWindow(window)),
            Kind::SlidingWindow(window) => Some(ScheduledKind::SlidingWindow(window)),
            Kind::Calendar(window) => Some(ScheduledKind::Calendar(window)),
        }
    }
}

impl From<Kind> for EncodedKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Rolling(rolling) => Self::Rolling(rolling.into()),
            Kind::Concurrency(concurrency) => Self::Concurrency(concurrency.into()),
            Kind::TokenBucket(bucket) if bucket.refill().per_interval() == NonZeroU32::MIN => {
                Self::TokenBucket(bucket.into())
            }
            Kind::TokenBucket(bucket) => Self::SpreadTokenBucket(bucket.into()),
            Kind::FixedWindow(window) => window.encode().map_or_else(Self::FixedWindowMs, Self::FixedWindow),
            Kind::SlidingWindow(window) => {
                window.encode().map_or_else(Self::SlidingWindowMs, Self::SlidingWindow)
            }
            Kind::Calendar(window) => Self::Calendar(window.into()),
        }
    }
}

impl TryFrom<EncodedKind> for Kind {
    type Error = DefinitionError;

    fn try_from(encoded: EncodedKind) -> Result<Self, DefinitionError> {
        let (name, fields) = match encoded {
            EncodedKind::Rolling(rolling) => (KindName::Rolling, rolling.into()),
            EncodedKind::Concurrency(concurrency) => (KindName::Concurrency, concurrency.into()),
            EncodedKind::TokenBucket(bucket) => (KindName::TokenBucket, bucket.into()),
            EncodedKind::FixedWindow(window) => (KindName::FixedWindow, window.into()),
            EncodedKind::SlidingWindow(window) => (KindName::SlidingWindow, window.into()),
            EncodedKind::FixedWindowMs(window) => (KindName::FixedWindow, window.into()),
            EncodedKind::SlidingWindowMs(window) => (KindName::SlidingWindow, window.into()),
            EncodedKind::SpreadTokenBucket(bucket) => (KindName::TokenBucket, bucket.into()),
            EncodedKind::Calendar(window) => return CalendarWindow::decode(&window).map(Kind::Calendar),
        };
        Kind::from_fields(name, &fields)
    }
}

impl KindFields {
    /// Refuses fields that the kind does not use.
    fn check_unused(&self, kind: KindName) -> Result<(), DefinitionError> {
        let numbers = [
            ("timeout_seconds", self.timeout_seconds),
            ("window_seconds", self.window_seconds),
            ("window_ms", self.window_ms),
            ("align", self.align),
            ("segments", self.segments),
            ("refill_amount", self.refill_amount),
            ("refill_interval_ms", self.refill_interval_ms),
            ("refills_per_interval", self.refills_per_interval),
            ("starts_at", self.starts_at),
        ];
        let used = field_names(kind);
        if let Some((field, _)) = numbers.iter().find(|(field, number)| *number != 0 && !used.contains(field))
        {
            return Err(DefinitionError::Unused { field, kind });
        }
        let choices = [
            ("auto_replenish", self.auto_replenish.is_some()),
            ("period", self.period.is_some()),
            ("time_zone", self.time_zone.is_some()),
        ];
        match choices.into_iter().find(|(field, is_given)| *is_given && !used.contains(field)) {
            Some((field, _)) => Err(DefinitionError::UnusedChoice { field, kind }),
            None => Ok(()),
        }
    }
}

/// The names of the fields that a kind uses.
fn field_names(kind: KindName) -> &'static [&'static str] {
    match kind {
        KindName::Rolling => Rolling::FIELD_NAMES,
        KindName::Concurrency => Concurrency::FIELD_NAMES,
        KindName::TokenBucket => TokenBucket::FIELD_NAMES,
        KindName::FixedWindow => FixedWindow::FIELD_NAMES,
        KindName::SlidingWindow => SlidingWindow::FIELD_NAMES,
        KindName::Calendar => CalendarWindow::FIELD_NAMES,
    }
}

/// Checks a window or timeout: 1 to [`SECONDS_MAX`] seconds.
fn seconds_in_range(field: &'static str, seconds: u64) -> Result<u32, DefinitionError> {
    // The upper bound fits 32 bits.
    in_range(field, seconds, 1, SECONDS_MAX.into()).map(|seconds| seconds as u32)
}

/// Checks a number of a definition against its range.
fn in_range(field: &'static str, found: u64, min: u64, max: u64) -> Result<u64, DefinitionError> {
    if (min..=max).contains(&found) {
        Ok(found)
    } else {
        Err(DefinitionError::OutOfRange { field, min, max, found })
    }
}

#[cfg(test)]
mod tests;
