//! `DELETE /v1/admin/limits/{key}`: deletes a limit.

use axum::http::StatusCode;
use axum::response::Response;

use super::{ChangeQueryPart, expected_version};
use crate::ledger::Ledger;
use crate::protocol::DeleteAnswer;
use crate::server::api::answer::answer;
use crate::server::api::guard::{Authorized, ToAdminister};
use crate::server::api::path::{KeyPath, parse_name};
use crate::server::api::reject::Reject;
use crate::server::metrics::Route;

pub(crate) async fn delete<L: Ledger>(
    authorized: Authorized<L, ToAdminister>,
    path: KeyPath,
    query: ChangeQueryPart,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Admin);
    let key = parse_name(&path?.0)?;
    let expected = expected_version(query)?;
    authorized.change("delete", &key, api.engine.admin().delete_version(&key, expected)).await?;
    Ok(answer(StatusCode::OK, DeleteAnswer { ok: true }))
}
