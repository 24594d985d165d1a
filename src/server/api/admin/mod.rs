//! `/v1/admin/limits`: changes limits and shows them.

mod delete;
mod get;
mod history;
mod list;
mod put;
mod replenish;

pub(super) use delete::delete;
pub(super) use get::get;
pub(super) use list::list;
pub(super) use put::put;
pub(super) use replenish::replenish;

use crate::admin::LimitUsage;
use crate::wire::{DefinitionBody, LimitInfo, StatusBody, UsageBody};

impl From<&LimitUsage> for LimitInfo {
    fn from(usage: &LimitUsage) -> Self {
        let state = &usage.entry.limit.state;
        let (status, pending_decrease_to) = StatusBody::of(state.status);
        Self {
            definition: DefinitionBody::from(&state.definition),
            status,
            pending_decrease_to,
            usage: UsageBody { available: usage.available, reserved: usage.reserved, debt: usage.debt },
        }
    }
}
