//! Limits as the client library shows them.

use crate::limit::{Capacity, Definition, Status};
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
        let UsageBody { available, reserved, debt } = body;
        Self { available, reserved, debt }
    }
}

impl LimitInfo {
    pub(super) fn of(usage: &LimitUsage) -> Self {
        let state = &usage.entry.limit.state;
        let (definition, status) = (state.definition.clone(), LimitStatus::of(state.status));
        Self { definition, status, usage: Usage::of(usage) }
    }
}
