use super::{
    Amount, AmountError, Concurrency, FixedWindow, INSTANCES_MAX_DEFAULT, KeyError, KeyTemplate, LimitKey,
    Rolling, SECONDS_MAX, Scheduled, SlidingWindow, Texts, TokenBucket,
};

/// What an operator says of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The limit's name.
    pub key: LimitKey,
    /// How reservations come back.
    pub kind: Kind,
    /// How much may be reserved at once.
    pub capacity: Amount,
    /// What it says to people.
    pub texts: Texts,
    /// What becomes of an actual amount above the reserved one.
    pub overage: Overage,
    /// Of a template, how many limits it may make. `None` of a limit.
    pub instances_max: Option<Amount>,
}

/// How reservations of a limit come back, with the times that this kind has and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// After a fixed time.
    Rolling(Rolling),
    /// On complete, or after a timeout.
    Concurrency(Concurrency),
    /// By refills, whoever spent.
    TokenBucket(TokenBucket),
    /// All together at each boundary.
    FixedWindow(FixedWindow),
    /// Segment by segment.
    SlidingWindow(SlidingWindow),
}

/// The name of a [`Kind`], without its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindName {
    /// See [`Kind::Rolling`].
    Rolling,
    /// See [`Kind::Concurrency`].
    Concurrency,
    /// See [`Kind::TokenBucket`].
    TokenBucket,
    /// See [`Kind::FixedWindow`].
    FixedWindow,
    /// See [`Kind::SlidingWindow`].
    SlidingWindow,
}

/// What a definition says of its kind, each under the name of its field; 0 or `None` where it is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KindFields {
    /// Of rolling limits and windows.
    pub window_seconds: u64,
    /// Of concurrency limits.
    pub timeout_seconds: u64,
    /// Of fixed windows, in seconds.
    pub align: u64,
    /// Of sliding windows.
    pub segments: u64,
    /// Of buckets.
    pub refill_amount: u64,
    /// Of buckets.
    pub refill_interval_ms: u64,
    /// Of buckets; true if it is left out.
    pub auto_replenish: Option<bool>,
}

/// What becomes of an actual amount above the reserved one that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overage {
    /// It is posted to the limit's debt account.
    #[default]
    Debt,
    /// It is only counted and logged.
    Deny,
}

/// Why a definition was refused. The text begins with the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The key is none.
    #[error("key {0}")]
    Key(#[from] KeyError),
    /// The capacity is out of range.
    #[error("capacity {0}")]
    Capacity(AmountError),
    /// Another amount is out of range.
    #[error("{field} {error}")]
    Amount {
        /// The field's name.
        field: &'static str,
        /// Why.
        error: AmountError,
    },
    /// A number that the kind needs is out of range.
    #[error("{field} must be between {min} and {max}, not {found}")]
    OutOfRange {
        /// The field's name.
        field: &'static str,
        /// The least it may be.
        min: u64,
        /// The most it may be.
        max: u64,
        /// What it was.
        found: u64,
    },
    /// A number that the kind does not have was given.
    #[error("{field} must be 0 for kind {}", .kind.as_str())]
    Unused {
        /// The field's name.
        field: &'static str,
        /// The kind that does not have it.
        kind: KindName,
    },
    /// A choice that the kind does not have was made.
    #[error("{field} must be left out for kind {}", .kind.as_str())]
    UnusedChoice {
        /// The field's name.
        field: &'static str,
        /// The kind that does not have it.
        kind: KindName,
    },
    /// Only templates make limits.
    #[error("max_instances must be 0 for a key without placeholders")]
    NoTemplate,
    /// A text is too long.
    #[error("{field} must be at most {bytes_max} bytes long, not {bytes}")]
    TextTooLong {
        /// The field's name.
        field: &'static str,
        /// The longest it may be.
        bytes_max: usize,
        /// How long it was.
        bytes: usize,
    },
}

impl Definition {
    /// Checks the free texts; the other fields are valid by their types.
    pub fn new(
        key: LimitKey,
        kind: Kind,
        capacity: Amount,
        unit: &str,
        description: &str,
        overage: Overage,
    ) -> Result<Self, DefinitionError> {
        let texts = Texts::new(unit, description)?;
        let default = || Amount::new(INSTANCES_MAX_DEFAULT).ok();
        let instances_max = KeyTemplate::of(&key).and_then(|_| default());
        Ok(Self { key, kind, capacity, texts, overage, instances_max })
    }

    /// The same, for a template of so many limits; 0 is the default.
    pub fn with_instances_max(self, instances_max: u64) -> Result<Self, DefinitionError> {
        match (instances_max, self.instances_max) {
            (0, _) => Ok(self),
            (_, None) => Err(DefinitionError::NoTemplate),
            (instances_max, Some(_)) => {
                let amount = Amount::new(instances_max);
                let instances_max =
                    amount.map_err(|error| DefinitionError::Amount { field: "max_instances", error })?;
                Ok(Self { instances_max: Some(instances_max), ..self })
            }
        }
    }

    /// The definition that a template gives to a key that matches it.
    pub fn for_instance(&self, key: LimitKey) -> Self {
        Self { key, instances_max: None, ..self.clone() }
    }
}

impl Kind {
    /// Builds a kind from both times, of which exactly the one that the kind has may be other than zero.
    pub fn new(name: KindName, window_seconds: u64, timeout_seconds: u64) -> Result<Self, DefinitionError> {
        Self::from_fields(name, &KindFields { window_seconds, timeout_seconds, ..KindFields::default() })
    }

    /// Builds a kind from its fields; those that the kind does not have must be left out.
    pub fn from_fields(name: KindName, fields: &KindFields) -> Result<Self, DefinitionError> {
        fields.check_unused(name)?;
        match name {
            KindName::Rolling => Rolling::new(fields.window_seconds).map(Kind::Rolling),
            KindName::Concurrency => Concurrency::new(fields.timeout_seconds).map(Kind::Concurrency),
            KindName::TokenBucket => TokenBucket::from_fields(fields).map(Kind::TokenBucket),
            KindName::FixedWindow => FixedWindow::from_fields(fields).map(Kind::FixedWindow),
            KindName::SlidingWindow => SlidingWindow::from_fields(fields).map(Kind::SlidingWindow),
        }
    }

    /// The fields that build it again.
    pub fn fields(self) -> KindFields {
        match self {
            Kind::Rolling(rolling) => {
                KindFields { window_seconds: rolling.window_seconds().into(), ..KindFields::default() }
            }
            Kind::Concurrency(slots) => {
                KindFields { timeout_seconds: slots.timeout_seconds().into(), ..KindFields::default() }
            }
            Kind::TokenBucket(bucket) => bucket.fields(),
            Kind::FixedWindow(window) => window.fields(),
            Kind::SlidingWindow(window) => window.fields(),
        }
    }

    /// Which kind it is.
    pub fn name(self) -> KindName {
        match self {
            Kind::Rolling(_) => KindName::Rolling,
            Kind::Concurrency(_) => KindName::Concurrency,
            Kind::TokenBucket(_) => KindName::TokenBucket,
            Kind::FixedWindow(_) => KindName::FixedWindow,
            Kind::SlidingWindow(_) => KindName::SlidingWindow,
        }
    }

    /// The schedule by which everything that was spent comes back; `None` if each reservation comes back by itself.
    pub fn scheduled(self) -> Option<Scheduled> {
        match self {
            Kind::Rolling(_) | Kind::Concurrency(_) => None,
            Kind::TokenBucket(bucket) => Some(Scheduled::TokenBucket(bucket)),
            Kind::FixedWindow(window) => Some(Scheduled::FixedWindow(window)),
            Kind::SlidingWindow(window) => Some(Scheduled::SlidingWindow(window)),
        }
    }
}

impl KindFields {
    fn check_unused(&self, kind: KindName) -> Result<(), DefinitionError> {
        let numbers = [
            ("timeout_seconds", self.timeout_seconds),
            ("window_seconds", self.window_seconds),
            ("align", self.align),
            ("segments", self.segments),
            ("refill_amount", self.refill_amount),
            ("refill_interval_ms", self.refill_interval_ms),
        ];
        let unused = |(field, number): &(&'static str, u64)| *number != 0 && !kind.fields().contains(field);
        if let Some((field, _)) = numbers.into_iter().find(unused) {
            return Err(DefinitionError::Unused { field, kind });
        }
        match self.auto_replenish {
            Some(_) if kind != KindName::TokenBucket => {
                Err(DefinitionError::UnusedChoice { field: "auto_replenish", kind })
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl KindName {
    /// The numbers that it has.
    fn fields(self) -> &'static [&'static str] {
        match self {
            KindName::Rolling => &["window_seconds"],
            KindName::Concurrency => &["timeout_seconds"],
            KindName::TokenBucket => &["refill_amount", "refill_interval_ms"],
            KindName::FixedWindow => &["window_seconds", "align"],
            KindName::SlidingWindow => &["window_seconds", "segments"],
        }
    }

    /// The name as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            KindName::Rolling => "rolling",
            KindName::Concurrency => "concurrency",
            KindName::TokenBucket => "token_bucket",
            KindName::FixedWindow => "fixed_window",
            KindName::SlidingWindow => "sliding_window",
        }
    }
}

/// Narrows a time to the range that every kind shares.
pub(super) fn seconds_in_range(field: &'static str, seconds: u64) -> Result<u32, DefinitionError> {
    // It is below a number of 32 bits.
    in_range(field, seconds, 1, SECONDS_MAX.into()).map(|seconds| seconds as u32)
}

/// Checks a number of a definition.
pub(super) fn in_range(field: &'static str, found: u64, min: u64, max: u64) -> Result<u64, DefinitionError> {
    if (min..=max).contains(&found) {
        Ok(found)
    } else {
        Err(DefinitionError::OutOfRange { field, min, max, found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_its_own_fields_and_no_other() {
        let none = KindFields::default();
        let cases = [
            (KindName::Rolling, KindFields { window_seconds: 60, ..none }, None),
            (KindName::Concurrency, KindFields { timeout_seconds: 300, ..none }, None),
            (KindName::FixedWindow, KindFields { window_seconds: 86_400, align: 18_000, ..none }, None),
            (KindName::SlidingWindow, KindFields { window_seconds: 60, segments: 6, ..none }, None),
            (
                KindName::Rolling,
                KindFields { window_seconds: 60, timeout_seconds: 1, ..none },
                Some("timeout_seconds must be 0 for kind rolling"),
            ),
            (
                KindName::Concurrency,
                KindFields { window_seconds: 1, timeout_seconds: 60, ..none },
                Some("window_seconds must be 0 for kind concurrency"),
            ),
            (KindName::Rolling, none, Some("window_seconds must be between 1 and 31622400, not 0")),
            (
                KindName::Rolling,
                KindFields { window_seconds: 31_622_401, ..none },
                Some("window_seconds must be between 1 and 31622400, not 31622401"),
            ),
            (
                KindName::Concurrency,
                KindFields { timeout_seconds: u64::MAX, ..none },
                Some("timeout_seconds must be between 1 and 31622400, not 18446744073709551615"),
            ),
            (
                KindName::FixedWindow,
                KindFields { window_seconds: 60, align: 60, ..none },
                Some("align must be between 0 and 59, not 60"),
            ),
            (
                KindName::SlidingWindow,
                KindFields { window_seconds: 60, ..none },
                Some("segments must be between 1 and 60, not 0"),
            ),
            (
                KindName::FixedWindow,
                KindFields { window_seconds: 60, segments: 2, ..none },
                Some("segments must be 0 for kind fixed_window"),
            ),
            (
                KindName::TokenBucket,
                KindFields { refill_interval_ms: 1, ..none },
                Some("refill_amount must be at least 1"),
            ),
            (
                KindName::TokenBucket,
                KindFields { refill_amount: 1, ..none },
                Some("refill_interval_ms must be between 1 and 31622400000, not 0"),
            ),
            (
                KindName::Rolling,
                KindFields { window_seconds: 1, auto_replenish: Some(false), ..none },
                Some("auto_replenish must be left out for kind rolling"),
            ),
        ];
        for (name, fields, expected) in cases {
            let kind = Kind::from_fields(name, &fields);
            assert_eq!(
                kind.as_ref().err().map(ToString::to_string).as_deref(),
                expected,
                "{name:?} {fields:?}"
            );
            if let Ok(kind) = kind {
                assert_eq!(kind.fields(), fields, "a kind tells its fields again");
            }
        }
    }

    #[test]
    fn a_bucket_is_refilled_by_time_unless_it_says_otherwise() {
        let fields = KindFields { refill_amount: 5, refill_interval_ms: 100, ..KindFields::default() };
        let told = |auto_replenish| KindFields { auto_replenish, ..fields };
        for (auto_replenish, kept) in [(None, true), (Some(true), true), (Some(false), false)] {
            let kind = Kind::from_fields(KindName::TokenBucket, &told(auto_replenish)).expect("valid");
            assert_eq!(kind.fields(), told(Some(kept)));
        }
    }
}
