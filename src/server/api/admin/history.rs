//! `GET /v1/admin/limits/{key}/history`: every definition version of a limit, oldest first.

use axum::http::StatusCode;
use axum::response::Response;

use crate::decide::definition_codec::DefinitionVersion;
use crate::ledger::Ledger;
use crate::limit::json::{DefinitionJson, StatusJson};
use crate::limit::{LimitKey, Status};
use crate::protocol::{HistoryAnswer, VersionBody};
use crate::server::api::Api;
use crate::server::api::answer::answer;
use crate::server::api::reject::Reject;
use crate::time::unix_ms;

/// The suffix of the path after the key.
pub(super) const HISTORY: &str = "/history";

pub(super) async fn history<L: Ledger>(api: &Api<L>, key: &LimitKey) -> Result<Response, Reject> {
    let versions = api.in_time(api.engine.admin().history(key)).await?;
    let versions = versions.iter().map(VersionBody::from).collect();
    Ok(answer(StatusCode::OK, HistoryAnswer { versions }))
}

impl From<&DefinitionVersion> for VersionBody {
    fn from(version: &DefinitionVersion) -> Self {
        let state = &version.state;
        let (_, pending_decrease_to) = StatusJson::of(state.status);
        Self {
            version: version.number,
            at_unix_ms: unix_ms(version.timestamp_ns),
            status: match state.status {
                Status::Active => "active".to_owned(),
                Status::Decreasing { .. } => "decreasing".to_owned(),
                Status::Deleted => "deleted".to_owned(),
                Status::Retired => "retired".to_owned(),
            },
            definition: DefinitionJson::from(&state.definition),
            pending_decrease_to,
        }
    }
}
