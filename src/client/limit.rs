//! Definitions of limits in code.

use std::time::Duration;

use super::{ErrorKind, IntoLimitKey, Rate};
use crate::limit::{
    AlertThresholds, AllotmentPeriod, Capacity, Definition, DefinitionError, KeyError, Kind, KindFields,
    KindName, LimitKey, Overage, Period, Queueing, RefillRateError, TimeZoneName, UnitMicros,
};
use crate::time::{NS_PER_MS, saturating_ms};

/// A definition of a limit, step by step. What is wrong is told when the limit is used, or by [`define`](Self::define).
///
/// A key with placeholders, such as `calls:{user}`, makes a template: each key that matches it gets a limit of its own.
///
/// ```
/// use std::time::Duration;
///
/// use ledger_limiter::client::{Limit, Overage, Period, Rate};
///
/// let minute = Duration::from_secs(60);
/// let limits = [
///     Limit::rolling("tpm", 60_000).per(minute).unit("tokens"),
///     Limit::concurrency("slots", 10).timeout(Duration::from_secs(300)),
///     Limit::fixed_window("daily:{tenant}", 1_000_000).per(24 * 60 * minute).instances_max(50_000),
///     Limit::sliding_window("calls", 600).per(minute).segments(6),
///     Limit::fixed_window("frames", 2).per(Duration::from_millis(100)),
///     Limit::calendar("spend:{tenant}", 5_000, Period::Month, "Europe/Berlin").starts_at(15),
///     Limit::token_bucket("burst", 100).refill(10, Duration::from_secs(1)).overage(Overage::Deny),
///     Rate::per_second(10).burst(1).limit("paced"),
/// ];
/// for limit in limits {
///     limit.define().expect("it is valid");
/// }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a limit is defined only where it is used"]
pub struct Limit {
    key: Result<LimitKey, KeyError>,
    kind: KindName,
    capacity: u64,
    fields: KindFields,
    /// The first fault of a time or rate.
    fault: Option<LimitError>,
    unit: String,
    description: String,
    overage: Overage,
    instances_max: u64,
    enforce: bool,
    queueing: Queueing,
    allotment: Option<Duration>,
    unit_micros: Option<u64>,
    alerts: Vec<u64>,
}

/// Why a limit cannot be defined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// The rate is not above 0, or too low or high for a bucket.
    #[error("the rate {0}")]
    Rate(#[from] RefillRateError),
    /// The length of a rolling limit has a fraction of a second.
    #[error("a rolling limit must have whole seconds, not {0:?}; a sliding window may have milliseconds")]
    FractionOfSecond(Duration),
    /// The length of a window has a fraction of a millisecond.
    #[error("a window must be of whole milliseconds, not {0:?}")]
    FractionOfMillisecond(Duration),
    /// A field of the definition is not valid.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
}

impl LimitError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}

/// What a limit can be defined by: a [`Limit`], or a [`Definition`].
pub trait IntoDefinition {
    /// The definition.
    ///
    /// # Errors
    ///
    /// What is not valid in it.
    fn into_definition(self) -> Result<Definition, LimitError>;
}

impl IntoDefinition for Limit {
    fn into_definition(self) -> Result<Definition, LimitError> {
        self.define()
    }
}

impl IntoDefinition for Definition {
    fn into_definition(self) -> Result<Definition, LimitError> {
        Ok(self)
    }
}

impl IntoDefinition for &Definition {
    fn into_definition(self) -> Result<Definition, LimitError> {
        Ok(self.clone())
    }
}

impl Limit {
    /// At most `capacity` units in any window: a unit is available again one window after it was reserved. Needs
    /// [`per`](Self::per).
    pub fn rolling(key: impl IntoLimitKey, capacity: u64) -> Self {
        Self::of(key.into_definition_key(), KindName::Rolling, capacity)
    }

    /// At most `slots` units at the same time: a unit is available again when its lease is completed. Needs
    /// [`timeout`](Self::timeout).
    pub fn concurrency(key: impl IntoLimitKey, slots: u64) -> Self {
        Self::of(key.into_definition_key(), KindName::Concurrency, slots)
    }

    /// A bucket of `capacity` units, which starts full. Needs [`refill`](Self::refill); a [`Rate`] refills it evenly.
    pub fn token_bucket(key: impl IntoLimitKey, capacity: u64) -> Self {
        Self::of(key.into_definition_key(), KindName::TokenBucket, capacity)
    }

    /// `capacity` units in each window, all available again at its end. Needs [`per`](Self::per).
    pub fn fixed_window(key: impl IntoLimitKey, capacity: u64) -> Self {
        Self::of(key.into_definition_key(), KindName::FixedWindow, capacity)
    }

    /// `capacity` units in a window that moves by one segment at a time. Needs [`per`](Self::per) and
    /// [`segments`](Self::segments).
    pub fn sliding_window(key: impl IntoLimitKey, capacity: u64) -> Self {
        Self::of(key.into_definition_key(), KindName::SlidingWindow, capacity)
    }

    /// `capacity` units in each window of a calendar, such as a month in Berlin, all available again at its end. `time_zone` is
    /// a name of the IANA database. [`starts_at`](Self::starts_at) moves the beginning of the windows.
    pub fn calendar(key: impl IntoLimitKey, capacity: u64, period: Period, time_zone: &str) -> Self {
        let mut limit = Self::of(key.into_definition_key(), KindName::Calendar, capacity);
        limit.fields.period = Some(period);
        match TimeZoneName::parse(time_zone) {
            Ok(time_zone) => {
                limit.fields.time_zone = Some(time_zone);
                limit
            }
            Err(error) => limit.or_fault(error.into()),
        }
    }

    pub(super) fn at_rate(key: impl IntoLimitKey, rate: Rate) -> Self {
        let limit = Self::of(key.into_definition_key(), KindName::TokenBucket, rate.burst_units());
        match rate.refill() {
            // A capacity that is too large is told by the definition.
            Ok(refill) => {
                let burst = Capacity::new(limit.capacity).unwrap_or(Capacity::ZERO);
                Self { fields: Kind::TokenBucket(refill.bucket(burst)).fields(), ..limit }
            }
            Err(error) => limit.or_fault(error.into()),
        }
    }

    fn of(key: Result<LimitKey, KeyError>, kind: KindName, capacity: u64) -> Self {
        Self {
            key,
            kind,
            capacity,
            fields: KindFields::default(),
            fault: None,
            unit: String::new(),
            description: String::new(),
            overage: Overage::default(),
            instances_max: 0,
            enforce: true,
            queueing: Queueing::default(),
            allotment: None,
            unit_micros: None,
            alerts: Vec::new(),
        }
    }

    /// Sets the length of the window: up to 366 days, in whole milliseconds. That of a rolling limit has whole seconds.
    pub fn per(mut self, window: Duration) -> Self {
        if window.subsec_nanos() == 0 {
            (self.fields.window_seconds, self.fields.window_ms) = (window.as_secs(), 0);
            return self;
        }
        (self.fields.window_seconds, self.fields.window_ms) = (0, saturating_ms(window));
        if self.kind == KindName::Rolling {
            self.or_fault(LimitError::FractionOfSecond(window))
        } else if !u64::from(window.subsec_nanos()).is_multiple_of(NS_PER_MS) {
            self.or_fault(LimitError::FractionOfMillisecond(window))
        } else {
            self
        }
    }

    /// Sets after how long a slot is released if nobody completes its lease: 1 second to 366 days, rounded up to whole
    /// seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let has_fraction = timeout.subsec_nanos() > 0;
        self.fields.timeout_seconds = timeout.as_secs().saturating_add(has_fraction.into());
        self
    }

    /// Adds `amount` units each `interval`, a whole number of milliseconds.
    pub fn refill(mut self, amount: u64, interval: Duration) -> Self {
        self.fields.refill_amount = amount;
        self.fields.refill_interval_ms = saturating_ms(interval);
        self
    }

    /// Refills only on request. A bucket gets as many units as [`refill`](Self::refill) says; the present window, or segment of a
    /// sliding window, ends if its length has passed.
    pub fn refilled_by_hand(mut self) -> Self {
        self.fields.auto_replenish = Some(false);
        self
    }

    /// Begins fixed windows this long after a multiple of their length, counted from 1970; by default at a multiple.
    pub fn align(mut self, offset: Duration) -> Self {
        self.fields.align = offset.as_secs();
        self
    }

    /// Sets the number of segments of a sliding window.
    pub fn segments(mut self, segments: u64) -> Self {
        self.fields.segments = segments;
        self
    }

    /// Begins calendar windows at this hour of a day, weekday (1 for Monday), day of a month (a shorter month begins on its last
    /// day), or month of a quarter or year.
    pub fn starts_at(mut self, starts_at: u64) -> Self {
        self.fields.starts_at = starts_at;
        self
    }

    /// Names the unit, for people.
    pub fn unit(self, unit: impl Into<String>) -> Self {
        Self { unit: unit.into(), ..self }
    }

    /// Says what one unit is worth, in millionths of what [`unit`](Self::unit) names, for people: with `USD` and 1 the limit
    /// counts millionths of a dollar.
    pub fn unit_micros(self, micros: u64) -> Self {
        Self { unit_micros: Some(micros), ..self }
    }

    /// Describes the limit, for people.
    pub fn description(self, description: impl Into<String>) -> Self {
        Self { description: description.into(), ..self }
    }

    /// Sets what happens to usage above the reservation that finds no room; by default it is debt.
    pub fn overage(self, overage: Overage) -> Self {
        Self { overage, ..self }
    }

    /// Sets how callers wait for the limit at the service; by default the oldest first, without a bound of the limit's own.
    pub fn queueing(self, queueing: Queueing) -> Self {
        Self { queueing, ..self }
    }

    /// Sets the most limits that a template makes.
    pub fn instances_max(self, instances_max: u64) -> Self {
        Self { instances_max, ..self }
    }

    /// Sets whether the limit denies; by default it does. Without it, the limit is in shadow mode: it grants everything, what
    /// finds no room is debt, and each such lease tells that the limit [would deny](super::Lease::would_deny).
    pub fn enforce(self, enforce: bool) -> Self {
        Self { enforce, ..self }
    }

    /// Lets each process serve callers from a part of the capacity that it reserves for this time: 100 ms to 10 s. For
    /// rolling and concurrency limits that very many calls name.
    ///
    /// A lease id that is reserved by two processes may be granted by both; each is counted.
    pub fn allotment(self, period: Duration) -> Self {
        Self { allotment: Some(period), ..self }
    }

    /// Tells when the usage reaches these percents of the capacity: at most eight, 1 to 100, in ascending order.
    pub fn alerts(self, percents: &[u64]) -> Self {
        Self { alerts: percents.to_vec(), ..self }
    }

    /// The definition.
    ///
    /// # Errors
    ///
    /// The first field that is not valid.
    pub fn define(self) -> Result<Definition, LimitError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let key = self.key.map_err(DefinitionError::Key)?;
        let capacity = Capacity::new(self.capacity).map_err(DefinitionError::Capacity)?;
        let kind = Kind::from_fields(self.kind, &self.fields)?;
        let definition = Definition::new(key, kind, capacity, &self.unit, &self.description, self.overage)?;
        let definition = definition.with_instances_max(self.instances_max)?;
        let definition = match self.allotment {
            Some(period) => definition.with_allotment(AllotmentPeriod::new(saturating_ms(period))?)?,
            None => definition,
        };
        let definition = match self.unit_micros {
            Some(micros) => definition.with_unit_micros(UnitMicros::new(micros)?)?,
            None => definition,
        };
        let alerts = AlertThresholds::new(&self.alerts)?;
        Ok(Definition { enforce: self.enforce, queueing: self.queueing, alerts, ..definition })
    }

    fn or_fault(self, fault: LimitError) -> Self {
        Self { fault: self.fault.or(Some(fault)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn error_of(limit: Limit) -> String {
        limit.define().expect_err("it is not valid").to_string()
    }

    #[test]
    fn a_rate_is_a_bucket_that_is_refilled_unit_by_unit() {
        let ms = Duration::from_millis;
        for (rate, capacity, per_interval, interval_ms) in [
            (Rate::per_second(10), 10, 1, 100),
            (Rate::per_second(10).burst(1), 1, 1, 100),
            (Rate::per_second(0.1), 1, 1, 10_000),
            (Rate::per_second(2.5), 3, 1, 400),
            (Rate::per_minute(60).burst(10), 10, 1, 1_000),
            (Rate::per_minute(7), 7, 7, 60_000),
            (Rate::per_hour(1), 1, 1, 3_600_000),
            (Rate::every(ms(250)), 1, 1, 250),
            (Rate::every(Duration::from_secs(90)).burst(4), 4, 1, 90_000),
        ] {
            let definition = rate.limit("calls").define().expect("valid");
            let fields = definition.kind.fields();
            let found =
                (definition.capacity.get(), fields.refills_per_interval.max(1), fields.refill_interval_ms);
            assert_eq!(found, (capacity, per_interval, interval_ms), "{rate:?}");
            assert_eq!(fields.refill_amount, 1, "{rate:?}");
        }
    }

    #[test]
    fn what_is_not_valid_is_said() {
        for (limit, expected) in [
            (Rate::per_second(-1).limit("a"), "the rate must be a number above 0"),
            (Rate::per_second(f64::NAN).limit("a"), "the rate must be a number above 0"),
            (Rate::every(Duration::ZERO).limit("a"), "the rate must be a number above 0"),
            (Rate::per_hour(1e-9).limit("a"), "the rate must be at least 1 in 366 days"),
            (Rate::per_second(1).burst(u64::MAX).limit("a"), "capacity must be at most 9223372036854775807"),
            (Limit::rolling("a", 1), "window_seconds must be between 1 and 31622400, not 0"),
            (
                Limit::rolling("a", 1).per(Duration::from_millis(1_500)),
                "a rolling limit must have whole seconds, not 1.5s; a sliding window may have milliseconds",
            ),
            (
                Limit::fixed_window("a", 1).per(Duration::from_micros(1_500)),
                "a window must be of whole milliseconds, not 1.5ms",
            ),
            (
                Limit::sliding_window("a", 1).per(Duration::from_millis(2)).segments(3),
                "segments must be between 1 and 2, not 3",
            ),
            (
                Limit::fixed_window("a", 1).per(SECOND).align(SECOND).refilled_by_hand(),
                "align must be between 0 and 0, not 1",
            ),
            (Limit::rolling("a", 1).per(SECOND).segments(2), "segments must be left out for kind rolling"),
            (Limit::concurrency("a", 1), "timeout_seconds must be between 1 and 31622400, not 0"),
            (
                Limit::calendar("a", 1, Period::Day, "UTC").starts_at(24),
                "starts_at must be between 0 and 23, not 24",
            ),
            (
                Limit::concurrency("a", 1).timeout(SECOND).allotment(Duration::from_millis(99)),
                "allotment.period_ms must be between 100 and 10000, not 99",
            ),
            (
                Limit::fixed_window("a", 1).per(SECOND).allotment(SECOND),
                "allotment must be left out for kind fixed_window: only rolling and concurrency limits have allotments yet",
            ),
            (
                Limit::rolling("a", 1).per(SECOND).unit("USD").unit_micros(0),
                "unit_micros must be between 1 and 1000000000000, not 0",
            ),
            (
                Limit::rolling("a", 1).per(SECOND).unit_micros(1),
                "unit_micros needs a unit, such as \"USD\": it says what one unit of the limit is worth, in millionths of it",
            ),
            (Limit::sliding_window("a", 1).per(SECOND), "segments must be between 1 and 60, not 0"),
        ] {
            assert_eq!(error_of(limit), expected);
        }
        assert!(error_of(Limit::rolling(":a", 1).per(SECOND)).contains("key"));
        assert!(error_of(Limit::rolling("a", 1).per(SECOND).instances_max(2)).contains("max_instances"));
    }

    #[test]
    fn a_window_has_seconds_or_milliseconds() {
        for (ms, expected) in [(1, (0, 1)), (1_000, (1, 0)), (1_500, (0, 1_500)), (2_000, (2, 0))] {
            let window = Duration::from_millis(ms);
            for limit in [Limit::fixed_window("a", 1), Limit::sliding_window("a", 1).segments(1)] {
                let fields = limit.per(window).define().expect("valid").kind.fields();
                assert_eq!((fields.window_seconds, fields.window_ms), expected, "{ms} ms");
            }
        }
    }

    #[test]
    fn a_timeout_is_rounded_up_to_whole_seconds() {
        for (ms, seconds) in [(1, 1), (1_000, 1), (1_001, 2)] {
            let limit = Limit::concurrency("slots", 1).timeout(Duration::from_millis(ms));
            assert_eq!(limit.define().expect("valid").kind.fields().timeout_seconds, seconds);
        }
    }
}
