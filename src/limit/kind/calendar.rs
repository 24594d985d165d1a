//! Calendar window: each boundary of a calendar refills the whole capacity: at midnight in Berlin, on the 15th of a month.

use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use super::time_zone::TimeZoneName;
use super::{KindFields, Tick, in_range};
use crate::limit::DefinitionError;

const NS_PER_MS: u64 = Tick::Millisecond.ns();

/// The days from the first Monday that a week of number 0 begins with to the Unix epoch, a Thursday.
const EPOCH_WEEKDAY: i64 = 3;
/// How far two tables of time zone rules may place the same boundary from each other without naming different windows.
const HOURS_APART_MAX: i64 = 6;
const SECONDS_PER_HOUR: i64 = 3_600;

/// A window of a period of the calendar in a time zone. The boundaries follow its clocks: a day may have 23 or 25 hours.
///
/// The window of a moment is found with the rules of this program's time zone data. In the ledger each window has a fixed end,
/// so that programs with other rules agree (`docs/calendar.md`).
///
/// An interval as long as the window may see 2 x the capacity: all of it before a boundary, and all of it after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CalendarWindow {
    period: Period,
    time_zone: TimeZoneName,
    starts_at: u8,
}

/// The period of a calendar window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub enum Period {
    /// A day, which begins at midnight or at the hour `starts_at`.
    Day,
    /// A week, which begins on Monday or on the weekday `starts_at`: 1 for Monday, 7 for Sunday.
    Week,
    /// A month, which begins on its first day or on the day `starts_at`. A shorter month begins on its last day then.
    Month,
    /// Three months. The first begin in January, or in the month `starts_at`: 2 for February, 3 for March.
    Quarter,
    /// A year, which begins in January or in the month `starts_at`.
    Year,
}

/// The fields as the ledger stores them. Variants of the period may only be added at the end.
#[derive(Serialize, Deserialize)]
pub(crate) struct Encoded {
    period: EncodedPeriod,
    time_zone: String,
    starts_at: u8,
}

#[derive(Serialize, Deserialize)]
enum EncodedPeriod {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Period {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// The least, the default and the greatest `starts_at`.
    fn starts(self) -> (u64, u8, u64) {
        match self {
            Self::Day => (0, 0, 23),
            Self::Week => (1, 1, 7),
            Self::Month => (1, 1, 31),
            Self::Quarter => (1, 1, 3),
            Self::Year => (1, 1, 12),
        }
    }
}

impl CalendarWindow {
    pub(super) const FIELD_NAMES: &[&str] = &["period", "time_zone", "starts_at"];

    pub(super) fn from_fields(fields: &KindFields) -> Result<Self, DefinitionError> {
        let missing = |field| DefinitionError::Missing { field };
        let period = fields.period.ok_or_else(|| missing("period"))?;
        let time_zone = fields.time_zone.ok_or_else(|| missing("time_zone"))?;
        let (min, default, max) = period.starts();
        let starts_at = match fields.starts_at {
            0 => default,
            // The upper bound fits 8 bits.
            starts_at => in_range("starts_at", starts_at, min, max)? as u8,
        };
        Ok(Self { period, time_zone, starts_at })
    }

    pub(super) fn fields(self) -> KindFields {
        let (_, default, _) = self.period.starts();
        KindFields {
            period: Some(self.period),
            time_zone: Some(self.time_zone),
            starts_at: if self.starts_at == default { 0 } else { self.starts_at.into() },
            ..KindFields::default()
        }
    }

    pub(super) fn decode(encoded: &Encoded) -> Result<Self, DefinitionError> {
        let period = match encoded.period {
            EncodedPeriod::Day => Period::Day,
            EncodedPeriod::Week => Period::Week,
            EncodedPeriod::Month => Period::Month,
            EncodedPeriod::Quarter => Period::Quarter,
            EncodedPeriod::Year => Period::Year,
        };
        let time_zone = Some(TimeZoneName::parse(&encoded.time_zone)?);
        let starts_at = encoded.starts_at.into();
        Self::from_fields(&KindFields { period: Some(period), time_zone, starts_at, ..KindFields::default() })
    }

    /// The period.
    pub fn period(self) -> Period {
        self.period
    }

    /// The time zone.
    pub fn time_zone(self) -> TimeZoneName {
        self.time_zone
    }

    /// Where in the period a window begins: an hour, a weekday, a day or a month, by the period.
    pub fn starts_at(self) -> u8 {
        self.starts_at
    }

    /// The longest that a window lasts, in seconds, rounded up to whole days.
    pub fn longest_seconds(self) -> u64 {
        let days = match self.period {
            Period::Day => 1,
            Period::Week => 7,
            Period::Month => 31,
            Period::Quarter => 92,
            Period::Year => 366,
        };
        days * 86_400
    }

    /// The first boundary after a moment, in milliseconds since the Unix epoch, by the rules of this program. Beyond the
    /// year 9999, in which the calendar ends, there is none: `u64::MAX`.
    pub(crate) fn ends_after_ms(self, unix_ns: u64) -> u64 {
        self.boundary_after_ms(unix_ns).unwrap_or(u64::MAX)
    }

    fn boundary_after_ms(self, unix_ns: u64) -> Option<u64> {
        let at = Timestamp::from_nanosecond(unix_ns.into()).ok()?;
        let number = self.number_of(self.time_zone.zone().to_datetime(at).date());
        // The period of a date has begun at its boundary, or the boundary comes later in it.
        let boundaries = (number..=number + 2).filter_map(|number| self.starts(number));
        let after = boundaries.map(Timestamp::as_nanosecond).find(|&ns| ns > at.as_nanosecond())?;
        // A boundary in the middle of a millisecond does not exist: zones are whole seconds apart.
        u64::try_from(after / i128::from(NS_PER_MS)).ok()
    }

    /// The number of the window that ends at this boundary; windows that follow each other have numbers that do, too. A
    /// boundary that rules of another version place some hours apart has the same number.
    pub(crate) fn number_of_boundary(self, ends_ms: u64) -> u64 {
        let hours = match self.period {
            Period::Day => HOURS_APART_MAX - i64::from(self.starts_at),
            Period::Week | Period::Month | Period::Quarter | Period::Year => HOURS_APART_MAX,
        };
        let ends_ms = i64::try_from(ends_ms).unwrap_or(i64::MAX);
        let within_ms = ends_ms.saturating_add(hours * SECONDS_PER_HOUR * 1_000);
        let Ok(within) = Timestamp::from_millisecond(within_ms) else { return 0 };
        self.number_of(self.time_zone.zone().to_datetime(within).date()).unsigned_abs()
    }

    /// The number of the period that contains a date. Periods are numbered as the calendar has them, whatever `starts_at` is.
    fn number_of(self, date: Date) -> i64 {
        let months = i64::from(date.year()) * 12 + i64::from(date.month()) - 1;
        match self.period {
            Period::Day => days_since_epoch(date),
            Period::Week => (days_since_epoch(date) + EPOCH_WEEKDAY).div_euclid(7),
            Period::Month => months,
            Period::Quarter => months.div_euclid(3),
            Period::Year => i64::from(date.year()),
        }
    }

    /// The boundary in the period of this number. A boundary that the clocks skip is at the moment of the change; one that they
    /// show twice is at the first of the two.
    fn starts(self, number: i64) -> Option<Timestamp> {
        let starts_at = i64::from(self.starts_at);
        let midnight = |date: Date| date.to_datetime(Time::midnight());
        let starts = match self.period {
            Period::Day => midnight(date_of_day(number)?).checked_add(starts_at.hours()).ok()?,
            Period::Week => midnight(date_of_day(number * 7 - EPOCH_WEEKDAY + starts_at - 1)?),
            Period::Month => {
                let first = first_of_month(number)?;
                let day = self.starts_at.min(u8::try_from(first.days_in_month()).ok()?);
                midnight(first).checked_add((i64::from(day) - 1).days()).ok()?
            }
            Period::Quarter => midnight(first_of_month(number * 3 + starts_at - 1)?),
            Period::Year => midnight(first_of_month(number * 12 + starts_at - 1)?),
        };
        self.moment_of(starts)
    }

    fn moment_of(self, civil: DateTime) -> Option<Timestamp> {
        self.time_zone.zone().to_ambiguous_timestamp(civil).compatible().ok()
    }
}

fn days_since_epoch(date: Date) -> i64 {
    let epoch = Date::constant(1970, 1, 1);
    date.duration_since(epoch).as_hours() / 24
}

fn date_of_day(day: i64) -> Option<Date> {
    Date::constant(1970, 1, 1).checked_add(day.days()).ok()
}

/// The first day of a month, counted from January of the year 0.
fn first_of_month(months: i64) -> Option<Date> {
    let year = i16::try_from(months.div_euclid(12)).ok()?;
    let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
    Date::new(year, month, 1).ok()
}

impl From<CalendarWindow> for Encoded {
    fn from(window: CalendarWindow) -> Self {
        let period = match window.period {
            Period::Day => EncodedPeriod::Day,
            Period::Week => EncodedPeriod::Week,
            Period::Month => EncodedPeriod::Month,
            Period::Quarter => EncodedPeriod::Quarter,
            Period::Year => EncodedPeriod::Year,
        };
        Self { period, time_zone: window.time_zone.as_str().to_owned(), starts_at: window.starts_at }
    }
}

#[cfg(test)]
mod tests;
