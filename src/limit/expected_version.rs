//! What a change of a limit expects to find.

/// The version of a limit that a change replaces. The change is made only if the limit still has that version, so that two
/// operators do not overwrite each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpectedVersion {
    /// Whatever is there.
    #[default]
    Any,
    /// No operator has defined the limit: there is none, it was deleted, or a template made it.
    Undefined,
    /// The limit has this version.
    Is(u64),
}

impl ExpectedVersion {
    /// Reads the number of a request; versions count from 1, and 0 means [`Undefined`](Self::Undefined).
    pub fn from_number(number: Option<u64>) -> Self {
        match number {
            None => Self::Any,
            Some(0) => Self::Undefined,
            Some(version) => Self::Is(version),
        }
    }

    /// The number for a request; `None` if there is nothing to say.
    pub fn number(self) -> Option<u64> {
        match self {
            Self::Any => None,
            Self::Undefined => Some(0),
            Self::Is(version) => Some(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_tells_what_is_expected() {
        for (number, expected) in [
            (None, ExpectedVersion::Any),
            (Some(0), ExpectedVersion::Undefined),
            (Some(1), ExpectedVersion::Is(1)),
            (Some(u64::MAX), ExpectedVersion::Is(u64::MAX)),
        ] {
            assert_eq!(ExpectedVersion::from_number(number), expected);
            assert_eq!(expected.number(), number);
        }
    }
}
