//! Scopes: what a caller may do, by the kind of request.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The right to make one kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Reserve, extend, complete, and take or release tokens of objects.
    Reserve,
    /// See limits, their usage and history, and the state of objects.
    Read,
    /// Create, change, delete and refill limits.
    Admin,
    /// Read the metrics.
    Metrics,
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Reserve, Self::Read, Self::Admin, Self::Metrics];

    /// The name in files, tokens and errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Read => "read",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }

    /// The scope of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    fn bit(self) -> u8 {
        match self {
            Self::Reserve => 1,
            Self::Read => 2,
            Self::Admin => 4,
            Self::Metrics => 8,
        }
    }
}

impl Scopes {
    /// Every scope.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether the set holds a scope.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether the set holds no scope.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Scope::ALL.into_iter().filter(|scope| self.contains(*scope))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_the_scopes_that_it_was_made_of() {
        for scope in Scope::ALL {
            let only: Scopes = [scope].into_iter().collect();
            for other in Scope::ALL {
                assert_eq!(only.contains(other), other == scope, "{scope} {other}");
                assert!(Scopes::all().contains(other));
                assert!(!Scopes::default().contains(other));
            }
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        for unknown in ["", "Reserve", "reserve ", "write"] {
            assert_eq!(Scope::parse(unknown), None, "{unknown}");
        }
    }
}
