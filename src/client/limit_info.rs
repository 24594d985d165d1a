//! Limits as the client library shows them.

use crate::limit::{Capacity, Definition, LimitKey, Status};
use crate::protocol::UsageBody;
use crate::registry::LimitUsage;

/// How much of a limit is used, in the limit's units, by all callers together.
///
/// Of a template: the instances that it may still create, those that it has created, and 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What can be reserved now.
    pub available: u128,
    /// What is reserved.
    pub reserved: u128,
    /// What was used without a reservation, ever: the overage that found no room.
    pub debt: u128,
}

/// A limit with its state and usage.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitInfo {
    /// The definition; its capacity is the current one.
    pub definition: Definition,
    /// Whether the limit grants reservations.
    pub status: LimitStatus,
    /// How much is used.
    pub usage: Usage,
    /// The units that callers wait for at the service that answers.
    pub waiting: u128,
    /// The number of the newest version of the definition, for [`ExpectedVersion::Is`](crate::limit::ExpectedVersion); 0 from
    /// a service that does not tell.
    pub version: u64,
}

/// Which limits to read; all limits and templates by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitsOf {
    /// Only keys that begin with this text.
    pub prefix: String,
    /// The instances of this template, instead of limits and templates.
    pub template: Option<LimitKey>,
}

/// One version that a limit had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitVersion {
    /// The number of the version; the first is 1.
    pub version: u64,
    /// When the version took effect, in milliseconds since the Unix epoch, by the clock of the ledger.
    pub at_unix_ms: u64,
    /// `active`, `decreasing`, `deleted` or `retired`.
    pub status: String,
    /// The definition; its capacity is the one in effect.
    pub definition: Definition,
    /// The lower capacity that waited to be applied, if one did.
    pub pending_decrease_to: Option<Capacity>,
}

/// Whether a limit grants reservations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitStatus {
    /// It does.
    Active,
    /// Its capacity is being lowered. It grants nothing until enough of it is free.
    Decreasing {
        /// The lower capacity.
        to: Capacity,
    },
}

impl LimitStatus {
    /// The lower capacity that waits to be applied, if one does.
    pub fn decreases_to(self) -> Option<Capacity> {
        match self {
            Self::Active => None,
            Self::Decreasing { to } => Some(to),
        }
    }

    /// A limit that is gone is never shown, so it needs no status here.
    pub(super) fn of(status: Status) -> Self {
        match status {
            Status::Active | Status::Deleted | Status::Retired => Self::Active,
            Status::Decreasing { to } => Self::Decreasing { to },
        }
    }
}

impl Usage {
    pub(super) fn of(usage: &LimitUsage) -> Self {
        let &LimitUsage { available, reserved, debt, .. } = usage;
        Self { available, reserved, debt }
    }

    pub(super) fn of_body(body: UsageBody) -> Self {
        let UsageBody { available, reserved, debt, waiting: _, allotted: _ } = body;
        Self { available, reserved, debt }
    }
}

impl LimitInfo {
    pub(super) fn of(usage: &LimitUsage) -> Self {
        let state = &usage.entry.limit.state;
        let (definition, status) = (state.definition.clone(), LimitStatus::of(state.status));
        let (waiting, version) = (usage.waiting, usage.version());
        Self { definition, status, usage: Usage::of(usage), waiting, version }
    }
}
