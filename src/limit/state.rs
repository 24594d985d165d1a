//! The state of a limit: its definition, and whether it takes reservations.

use super::{Capacity, Definition, LimitKey, ScheduledKind};

/// A definition with its live state. While a decrease waits to be applied, `definition.capacity` is the current capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitState {
    /// The definition.
    pub definition: Definition,
    /// Whether it takes reservations.
    pub status: Status,
    /// For an instance that no operator has changed since: the template that made it.
    pub origin: Option<Box<Origin>>,
    /// The versions that gave the limit a new account, oldest first. Empty while it has its first one.
    pub accounts_since: Box<[u64]>,
}

/// The template version that made an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The template's key.
    pub template: LimitKey,
    /// The template's version.
    pub version: u64,
}

impl LimitState {
    /// The refill schedule of its kind, if it has one. A template has none, because nothing is reserved on it.
    pub(crate) fn scheduled(&self) -> Option<ScheduledKind> {
        self.definition.kind.scheduled().filter(|_| self.definition.instances_max.is_none())
    }

    /// Whether this version starts a new schedule instead of continuing that of the version before: it has another kind or
    /// new accounts. An instance that an
    /// operator takes over starts a new one: the log that every replica follows does not hold the instance's versions.
    pub(crate) fn starts_new_schedule(&self, earlier: Option<&LimitState>) -> bool {
        earlier.is_none_or(|earlier| {
            earlier.definition.kind != self.definition.kind
                || earlier.accounts_since != self.accounts_since
                || earlier.origin.is_some() && self.origin.is_none()
        })
    }

    /// Whether the version with this number gave the limit new accounts.
    pub(crate) fn has_accounts_since(&self, version: u64) -> bool {
        self.accounts_since.last() == Some(&version)
    }

    /// A limit as an operator defined it.
    pub fn active(definition: Definition) -> Self {
        Self { definition, status: Status::Active, origin: None, accounts_since: Box::default() }
    }
}

/// Whether a limit takes reservations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The limit takes reservations.
    Active,
    /// A lower capacity waits to be applied; until then the limit takes no reservations.
    Decreasing {
        /// The capacity that waits, below the current one.
        to: Capacity,
    },
    /// The limit was deleted. Its account stays, closed, so that leases on it can be settled.
    Deleted,
    /// An idle instance that gave its place back to its template. Its account stays, closed, until the next use of the key makes
    /// the instance again.
    Retired,
}

impl Status {
    /// Whether callers do not see the limit: it is deleted or retired.
    pub(crate) fn is_gone(self) -> bool {
        match self {
            Self::Active | Self::Decreasing { .. } => false,
            Self::Deleted | Self::Retired => true,
        }
    }
}
