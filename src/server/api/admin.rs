//! `/v1/admin/limits`: create, change, delete and show limits.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::Api;
use super::json::{Body, answer, parse, parse_or_default};
use super::reject::Reject;
use crate::decide::definition_codec::DefinitionVersion;
use crate::ledger::Ledger;
use crate::limit::json::{DefinitionJson, StatusJson};
use crate::limit::{LimitKey, Status};
use crate::protocol::{
    ChangeAnswer, DeleteAnswer, HistoryAnswer, LimitAnswer, LimitInfo, LimitsAnswer, ReplenishAnswer,
    ReplenishBody, UsageBody, VersionBody,
};
use crate::registry::{AdminError, LimitUsage};
use crate::server::metrics::Route;
use crate::time::unix_ms;

const HISTORY: &str = "/history";
const REPLENISH: &str = "/replenish";

/// The rest of a path: a key, perhaps with a suffix. It is an error if it is not valid UTF-8.
pub(super) type KeyPath = Result<Path<String>, PathRejection>;

/// `PUT /v1/admin/limits`
pub(super) async fn put<L: Ledger>(State(api): State<Arc<Api<L>>>, body: Body) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::Admin);
    let body: DefinitionJson = parse(body)?;
    let definition = body.into_definition().map_err(|error| Reject::Invalid(error.to_string()))?;
    let status = api.in_time(api.engine.admin().put(&definition)).await?;
    let (status, _) = StatusJson::of(status);
    Ok(answer(StatusCode::OK, ChangeAnswer { ok: true, status }))
}

/// `GET /v1/admin/limits`
pub(super) async fn list<L: Ledger>(State(api): State<Arc<Api<L>>>) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::Admin);
    let limits = api.in_time(api.engine.admin().list()).await?.iter().map(LimitInfo::from).collect();
    Ok(answer(StatusCode::OK, LimitsAnswer { limits }))
}

/// `GET /v1/admin/limits/{key}` and `GET /v1/admin/limits/{key}/history`. Keys may hold slashes, so a limit whose key is the
/// whole path comes before the history of the key without `/history`.
pub(super) async fn get_or_history<L: Ledger>(
    State(api): State<Arc<Api<L>>>,
    path: KeyPath,
) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::Admin);
    let path = path?.0;
    let limit = match parse_key(&path) {
        Ok(key) => api.in_time(api.engine.admin().get(&key)).await,
        Err(reject) => Err(reject),
    };
    match (limit, path.strip_suffix(HISTORY)) {
        (Ok(limit), _) => Ok(answer(StatusCode::OK, LimitAnswer { limit: LimitInfo::from(&limit) })),
        (Err(Reject::Admin(AdminError::UnknownKey(_)) | Reject::Invalid(_)), Some(key)) => {
            let versions = api.in_time(api.engine.admin().history(&parse_key(key)?)).await?;
            let versions = versions.iter().map(VersionBody::from).collect();
            Ok(answer(StatusCode::OK, HistoryAnswer { versions }))
        }
        (Err(reject), _) => Err(reject),
    }
}

/// `DELETE /v1/admin/limits/{key}`
pub(super) async fn delete<L: Ledger>(
    State(api): State<Arc<Api<L>>>,
    path: KeyPath,
) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::Admin);
    api.in_time(api.engine.admin().delete(&parse_key(&path?.0)?)).await?;
    Ok(answer(StatusCode::OK, DeleteAnswer { ok: true }))
}

/// `POST /v1/admin/limits/{key}/replenish`; the body is optional.
pub(super) async fn replenish<L: Ledger>(
    State(api): State<Arc<Api<L>>>,
    path: KeyPath,
    body: Body,
) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::Admin);
    let path = path?.0;
    let key = path.strip_suffix(REPLENISH).ok_or(Reject::WrongMethod)?;
    let body: ReplenishBody = parse_or_default(body)?;
    let id = body.into_id().map_err(Reject::Invalid)?;
    let replenished = api.in_time(api.engine.admin().replenish(&parse_key(key)?, id)).await?;
    Ok(answer(StatusCode::OK, ReplenishAnswer { ok: true, replenished }))
}

fn parse_key(text: &str) -> Result<LimitKey, Reject> {
    LimitKey::parse_name(text).map_err(|error| Reject::Invalid(format!("key {error}")))
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
        }
    }
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
            },
            definition: DefinitionJson::from(&state.definition),
            pending_decrease_to,
        }
    }
}
