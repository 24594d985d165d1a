//! Why a definition is refused.

use super::{AmountError, KeyError, KindName};

/// Why a definition was refused. The text begins with the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The key is malformed.
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
        /// What is wrong with the amount.
        error: AmountError,
    },
    /// A number of the kind is out of range.
    #[error("{field} must be between {min} and {max}, not {found}")]
    OutOfRange {
        /// The field's name.
        field: &'static str,
        /// The smallest value allowed.
        min: u64,
        /// The largest value allowed.
        max: u64,
        /// The value found.
        found: u64,
    },
    /// A number was given that the kind does not use.
    #[error("{field} must be left out for kind {}", .kind.as_str())]
    Unused {
        /// The field's name.
        field: &'static str,
        /// The kind that does not use it.
        kind: KindName,
    },
    /// The length of a window was given twice.
    #[error("window_ms must be left out if window_seconds is given")]
    TwoWindowLengths,
    /// A field that the kind needs was left out.
    #[error("{field} is required for kind calendar")]
    Missing {
        /// The field's name.
        field: &'static str,
    },
    /// A time zone is not in the time zone data of this program.
    #[error(
        "time_zone \"{name}\" is not known; use a name of the IANA database such as Europe/Berlin, or a newer ratelimiterd"
    )]
    TimeZone {
        /// The name.
        name: String,
    },
    /// A choice was given that the kind does not use.
    #[error("{field} must be left out for kind {}", .kind.as_str())]
    UnusedChoice {
        /// The field's name.
        field: &'static str,
        /// The kind that does not use it.
        kind: KindName,
    },
    /// The share for emergencies is out of range.
    #[error("emergency.capacity_share must be above 0 and at most 1, with at most six decimals")]
    CapacityShare,
    /// `on_unavailable` is `allow`, and how much may be granted is not said.
    #[error("emergency is required with on_unavailable \"allow\"")]
    NoEmergency,
    /// A share for emergencies was given, and nothing may be granted in one.
    #[error("emergency must be left out unless on_unavailable is \"allow\"")]
    UnusedEmergency,
    /// Replicas cannot take allotments of limits of this kind.
    #[error("allotment must be left out for kind {}: only rolling and concurrency limits have allotments yet", .kind.as_str())]
    NoAllotments {
        /// The kind.
        kind: KindName,
    },
    /// `unit_micros` was given, and nothing says of what.
    #[error(
        "unit_micros needs a unit, such as \"USD\": it says what one unit of the limit is worth, in millionths of it"
    )]
    NoUnit,
    /// The thresholds of alerts are out of order or out of range, or too many.
    #[error("alerts must be at most 8 whole percents, 1 to 100, each larger than the one before")]
    Alerts,
    /// `max_instances` was given for a limit; only templates make instances.
    #[error("max_instances must be 0 for a key without placeholders")]
    NoTemplate,
    /// A text is too long.
    #[error("{field} must be at most {bytes_max} bytes long, not {bytes}")]
    TextTooLong {
        /// The field's name.
        field: &'static str,
        /// The longest length allowed.
        bytes_max: usize,
        /// The length found.
        bytes: usize,
    },
}
