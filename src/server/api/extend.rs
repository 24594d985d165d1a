//! `POST /v1/extend`.

use axum::response::Response;

use super::batch::BatchItem;
use super::guard::{Authorized, ToReserve};
use super::json::{Body, parse};
use super::refusal::Forbidden;
use super::reject::Reject;
use super::request_log::record;
use super::reserve::respond;
use crate::ledger::Ledger;
use crate::limiter::LimiterError;
use crate::protocol::{ExtendBody, ReserveAnswer};
use crate::server::metrics::Route;

/// `POST /v1/extend`
pub(super) async fn one<L: Ledger>(
    authorized: Authorized<L, ToReserve>,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Extend);
    let command = parse::<ExtendBody>(body)?.into_command().map_err(Reject::Invalid)?;
    let key = &command.requirement.key;
    authorized.check_keys([key])?;
    let extended = async {
        if !authorized.may_use_lease(command.lease, [key]).await? {
            return Ok::<_, LimiterError>(None);
        }
        api.engine.limiter().extend(&command).await.map(Some)
    };
    match api.in_time(extended).await {
        Ok(Some(outcome)) => {
            record(command.lease, "", std::iter::once(key), &outcome);
            Ok(respond(outcome.answered().map_err(Reject::Invalid)?))
        }
        Ok(None) => Err(Forbidden::Lease.into()),
        Err(reject) => Ok(reject.into_response_or(ReserveAnswer::unknown())),
    }
}
