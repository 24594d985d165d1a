//! `DELETE /v1/admin/limits/{key}`: deletes a limit; with `?purge=true` for good.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::limit::ExpectedVersion;
use crate::protocol::{DeleteAnswer, DeleteQuery};
use crate::server::api::answer::answer;
use crate::server::api::guard::{Authorized, ToAdminister};
use crate::server::api::path::{KeyPath, malformed_query, parse_name};
use crate::server::api::reject::Reject;
use crate::server::metrics::Route;

pub(crate) async fn delete<L: Ledger>(
    authorized: Authorized<L, ToAdminister>,
    path: KeyPath,
    query: Result<Query<DeleteQuery>, QueryRejection>,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Admin);
    let key = parse_name(&path?.0)?;
    let Query(DeleteQuery { purge, if_version }) = query.map_err(|rejection| malformed_query(&rejection))?;
    let (admin, expected) = (api.engine.admin(), ExpectedVersion::from_number(if_version));
    if purge {
        authorized.change("purge", &key, admin.purge(&key, expected)).await?;
    } else {
        authorized.change("delete", &key, admin.delete_version(&key, expected)).await?;
    }
    Ok(answer(StatusCode::OK, DeleteAnswer { ok: true }))
}
