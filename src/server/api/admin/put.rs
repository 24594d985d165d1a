//! `PUT /v1/admin/limits`: creates or changes a limit.

use axum::http::StatusCode;
use axum::response::Response;

use super::{ChangeQueryPart, expected_version};
use crate::ledger::Ledger;
use crate::limit::json::{DefinitionJson, StatusJson};
use crate::protocol::ChangeAnswer;
use crate::server::api::answer::answer;
use crate::server::api::guard::{Authorized, ToAdminister};
use crate::server::api::json::{Body, parse};
use crate::server::api::reject::Reject;
use crate::server::metrics::Route;

pub(crate) async fn put<L: Ledger>(
    authorized: Authorized<L, ToAdminister>,
    query: ChangeQueryPart,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Admin);
    let expected = expected_version(query)?;
    let body: DefinitionJson = parse(body)?;
    let definition = body.into_definition().map_err(|error| Reject::Invalid(error.to_string()))?;
    let change = api.engine.admin().put_over(&definition, expected);
    let (status, _) = StatusJson::of(authorized.change("put", &definition.key, change).await?);
    Ok(answer(StatusCode::OK, ChangeAnswer { ok: true, status }))
}
