//! `POST /v1/extend`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::Api;
use super::batch::BatchItem;
use super::json::{Body, parse};
use super::reject::Reject;
use super::request_log::record;
use super::reserve::respond;
use crate::ledger::Ledger;
use crate::protocol::{ExtendBody, ReserveAnswer};
use crate::server::metrics::Route;

/// `POST /v1/extend`
pub(super) async fn one<L: Ledger>(State(api): State<Arc<Api<L>>>, body: Body) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::Extend);
    let command = parse::<ExtendBody>(body)?.into_command().map_err(Reject::Invalid)?;
    match api.in_time(api.engine.limiter().extend(&command)).await {
        Ok(outcome) => {
            record(command.lease, "", std::iter::once(&command.requirement.key), &outcome);
            Ok(respond(outcome.answered().map_err(Reject::Invalid)?))
        }
        Err(reject) => Ok(reject.into_response_or(ReserveAnswer::unknown())),
    }
}
