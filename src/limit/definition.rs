use super::{Amount, AmountError, Concurrency, KeyError, LimitKey, Rolling, SECONDS_MAX};

/// The longest unit, in bytes.
pub const UNIT_BYTES_MAX: usize = 64;
/// The longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;

/// What an operator says of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The limit's name.
    pub key: LimitKey,
    /// How reservations come back.
    pub kind: Kind,
    /// How much may be reserved at once.
    pub capacity: Amount,
    /// What one unit is, for people: `tokens`.
    pub unit: String,
    /// Free text for people.
    pub description: String,
    /// What becomes of an actual amount above the reserved one.
    pub overage: Overage,
}

/// How reservations of a limit come back, with the times that this kind has and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// After a fixed time.
    Rolling(Rolling),
    /// On complete, or after a timeout.
    Concurrency(Concurrency),
}

/// The name of a [`Kind`], without its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindName {
    /// See [`Kind::Rolling`].
    Rolling,
    /// See [`Kind::Concurrency`].
    Concurrency,
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
    /// A time that the kind needs is out of range.
    #[error("{field} must be between 1 and {SECONDS_MAX}, not {seconds}")]
    SecondsOutOfRange {
        /// The field's name.
        field: &'static str,
        /// What it was.
        seconds: u64,
    },
    /// A time that the kind does not have was given.
    #[error("{field} must be 0 for kind {}", .kind.as_str())]
    SecondsUnused {
        /// The field's name.
        field: &'static str,
        /// The kind that does not have it.
        kind: KindName,
    },
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
        unit: String,
        description: String,
        overage: Overage,
    ) -> Result<Self, DefinitionError> {
        text_in_range("unit", &unit, UNIT_BYTES_MAX)?;
        text_in_range("description", &description, DESCRIPTION_BYTES_MAX)?;
        Ok(Self { key, kind, capacity, unit, description, overage })
    }
}

impl Kind {
    /// Builds a kind from both times, of which exactly the one that the kind has may be other than zero.
    pub fn new(name: KindName, window_seconds: u64, timeout_seconds: u64) -> Result<Self, DefinitionError> {
        let unused = |field, seconds| match seconds {
            0 => Ok(()),
            _ => Err(DefinitionError::SecondsUnused { field, kind: name }),
        };
        match name {
            KindName::Rolling => {
                unused("timeout_seconds", timeout_seconds)?;
                Rolling::new(window_seconds).map(Kind::Rolling)
            }
            KindName::Concurrency => {
                unused("window_seconds", window_seconds)?;
                Concurrency::new(timeout_seconds).map(Kind::Concurrency)
            }
        }
    }

    /// Which kind it is.
    pub fn name(self) -> KindName {
        match self {
            Kind::Rolling(_) => KindName::Rolling,
            Kind::Concurrency(_) => KindName::Concurrency,
        }
    }

    /// The window of a rolling limit in seconds, 0 for others.
    pub fn window_seconds(self) -> u32 {
        match self {
            Kind::Rolling(rolling) => rolling.window_seconds(),
            Kind::Concurrency(_) => 0,
        }
    }

    /// The timeout of a concurrency limit in seconds, 0 for others.
    pub fn timeout_seconds(self) -> u32 {
        match self {
            Kind::Rolling(_) => 0,
            Kind::Concurrency(concurrency) => concurrency.timeout_seconds(),
        }
    }

    /// The longest that a reservation is held, in seconds.
    pub fn hold_seconds(self) -> u32 {
        match self {
            Kind::Rolling(rolling) => rolling.window_seconds(),
            Kind::Concurrency(concurrency) => concurrency.timeout_seconds(),
        }
    }
}

impl KindName {
    /// The name as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            KindName::Rolling => "rolling",
            KindName::Concurrency => "concurrency",
        }
    }
}

/// Narrows a time to the range that every kind shares.
pub(super) fn seconds_in_range(field: &'static str, seconds: u64) -> Result<u32, DefinitionError> {
    match u32::try_from(seconds) {
        Ok(narrow @ 1..=SECONDS_MAX) => Ok(narrow),
        Ok(_) | Err(_) => Err(DefinitionError::SecondsOutOfRange { field, seconds }),
    }
}

fn text_in_range(field: &'static str, text: &str, bytes_max: usize) -> Result<(), DefinitionError> {
    let bytes = text.len();
    if bytes > bytes_max { Err(DefinitionError::TextTooLong { field, bytes_max, bytes }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_its_own_time_and_no_other() {
        let error =
            |name, window, timeout| Kind::new(name, window, timeout).map_err(|e| e.to_string()).unwrap_err();
        assert_eq!(Kind::new(KindName::Rolling, 60, 0).map(Kind::hold_seconds), Ok(60));
        assert_eq!(Kind::new(KindName::Concurrency, 0, 300).map(Kind::hold_seconds), Ok(300));
        assert_eq!(error(KindName::Rolling, 60, 1), "timeout_seconds must be 0 for kind rolling");
        assert_eq!(error(KindName::Concurrency, 1, 60), "window_seconds must be 0 for kind concurrency");
        assert_eq!(error(KindName::Rolling, 0, 0), "window_seconds must be between 1 and 31622400, not 0");
        assert_eq!(
            error(KindName::Rolling, 31_622_401, 0),
            "window_seconds must be between 1 and 31622400, not 31622401"
        );
        assert_eq!(
            error(KindName::Concurrency, 0, u64::MAX),
            "timeout_seconds must be between 1 and 31622400, not 18446744073709551615"
        );
    }
}
