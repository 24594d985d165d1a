//! `POST /v1/renew`.

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
use crate::protocol::{RenewBody, ReserveAnswer};
use crate::server::metrics::Route;

/// `POST /v1/renew`
pub(super) async fn one<L: Ledger>(
    authorized: Authorized<L, ToReserve>,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Renew);
    let command = parse::<RenewBody>(body)?.into_command().map_err(Reject::Invalid)?;
    let renewed = async {
        if !authorized.may_use_lease(command.lease, []).await? {
            return Ok::<_, LimiterError>(None);
        }
        api.engine.limiter().renew(&command).await.map(Some)
    };
    match api.in_time(renewed).await {
        Ok(Some(outcome)) => {
            record(command.lease, "", std::iter::empty(), &outcome);
            Ok(respond(outcome.answered().map_err(Reject::Invalid)?))
        }
        Ok(None) => Err(Forbidden::Lease.into()),
        Err(reject) => Ok(reject.into_response_or(ReserveAnswer::unknown())),
    }
}
