//! `/v1/admin/*`: changes limits and shows them, and shows the replicas.

mod delete;
mod denials;
mod get;
mod history;
mod list;
mod post;
mod put;
mod replenish;
mod replicas;
mod reset;

pub(super) use delete::delete;
pub(super) use denials::denials;
pub(super) use get::get;
pub(super) use list::list;
pub(super) use post::{post, wrong_method};
pub(super) use put::put;
pub(super) use replicas::replicas;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;

use crate::ledger::Ledger;
use crate::limit::ExpectedVersion;
use crate::limit::json::{DefinitionJson, StatusJson};
use crate::limiter::Limiter;
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

/// A `+` in a query means a space. No key holds a space, but it may hold a `+`.
fn key_text(text: &str) -> String {
    text.replace(' ', "+")
}

/// A limit as the API writes it, with what this process holds of it in allotments.
fn info<L: Ledger>(limiter: &Limiter<L>, usage: &LimitUsage) -> LimitInfo {
    let mut info = LimitInfo::from(usage);
    info.usage.allotted = limiter.allotted(usage.limit().account).into();
    info
}

impl From<&LimitUsage> for LimitInfo {
    /// The limit with nothing in allotments.
    fn from(usage: &LimitUsage) -> Self {
        let state = usage.state();
        let (status, pending_decrease_to) = StatusJson::of(state.status);
        let &LimitUsage { available, reserved, debt, waiting, .. } = usage;
        Self {
            definition: DefinitionJson::from(&state.definition),
            status,
            pending_decrease_to,
            usage: UsageBody { available, reserved, debt, waiting, allotted: 0 },
            version: usage.version(),
        }
    }
}
