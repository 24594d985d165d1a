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
pub(super) use post::{post, wrong_method};
pub(super) use put::put;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;

use crate::limit::ExpectedVersion;
use crate::limit::json::{DefinitionJson, StatusJson};
use crate::protocol::{ChangeQuery, LimitInfo, UsageBody};
use crate::registry::LimitUsage;
use crate::server::api::path::malformed_query;
use crate::server::api::reject::Reject;

/// The query of a change.
type ChangeQueryPart = Result<Query<ChangeQuery>, QueryRejection>;

fn expected_version(query: ChangeQueryPart) -> Result<ExpectedVersion, Reject> {
    let Query(query) = query.map_err(|rejection| malformed_query(&rejection))?;
    Ok(ExpectedVersion::from_number(query.if_version))
}

impl From<&LimitUsage> for LimitInfo {
    fn from(usage: &LimitUsage) -> Self {
        let state = usage.state();
        let (status, pending_decrease_to) = StatusJson::of(state.status);
        Self {
            definition: DefinitionJson::from(&state.definition),
            status,
            pending_decrease_to,
            usage: UsageBody { available: usage.available, reserved: usage.reserved, debt: usage.debt },
            version: usage.version(),
        }
    }
}
