//! `/v1/admin/limits`: changes limits and shows them.

mod delete;
mod get;
mod history;
mod list;
mod post;
mod put;
mod replenish;
mod reset;

pub(super) use delete::delete;
pub(super) use get::get;
pub(super) use list::list;
pub(super) use post::post;
pub(super) use put::put;

use crate::limit::json::{DefinitionJson, StatusJson};
use crate::protocol::{LimitInfo, UsageBody};
use crate::registry::LimitUsage;

impl From<&LimitUsage> for LimitInfo {
    fn from(usage: &LimitUsage) -> Self {
        let state = usage.state();
        let (status, pending_decrease_to) = StatusJson::of(state.status);
        Self {
            definition: DefinitionJson::from(&state.definition),
            status,
            pending_decrease_to,
            usage: UsageBody { available: usage.available, reserved: usage.reserved, debt: usage.debt },
        }
    }
}
