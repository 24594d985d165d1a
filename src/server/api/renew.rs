//! `POST /v1/renew`.

use std::time::Duration;

use axum::response::Response;
use smallvec::SmallVec;

use super::batch::BatchItem;
use super::guard::{Authorized, ToReserve};
use super::hand_on::{Done, Hop, LeaseCall, take_served_by};
use super::json::{Body, parse};
use super::refusal::Forbidden;
use super::reject::Reject;
use super::request_log::record;
use super::reserve::respond;
use crate::ledger::Ledger;
use crate::limiter::LimiterError;
use crate::protocol::{RenewBody, RenewOutcome, ReserveAnswer, ReserveOutcome};
use crate::server::metrics::Route;

/// `POST /v1/renew`
pub(super) async fn one<L: Ledger>(
    authorized: Authorized<L, ToReserve>,
    hop: Hop,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Renew);
    let mut body = parse::<RenewBody>(body)?;
    let served_by = take_served_by(&mut body.served_by).map_err(Reject::Invalid)?;
    let command = body.into_command().map_err(Reject::Invalid)?;
    let renewed = api.in_time(async {
        if !authorized.may_use_lease(command.lease, []).await? {
            return Ok::<_, LimiterError>(None);
        }
        api.engine.limiter().renew(&command).await.map(Some)
    });
    let body = || serde_json::to_string(&RenewBody::from(&command));
    let call = LeaseCall {
        path: "/v1/renew",
        lease: command.lease,
        served_by: served_by.as_deref(),
        keys: SmallVec::new(),
        body: &body,
        wait: Duration::ZERO,
    };
    let is_unknown = |outcome: &Option<RenewOutcome>| {
        *outcome == Some(RenewOutcome::Answered(ReserveOutcome::LeaseSettled))
    };
    match api.carry_out_anywhere(&hop, &call, renewed, is_unknown).await {
        Ok(Done::Here(Some(outcome))) => {
            record(command.lease, "", std::iter::empty(), &outcome);
            Ok(respond(outcome.answered().map_err(Reject::Invalid)?))
        }
        Ok(Done::Here(None)) => Err(Forbidden::Lease.into()),
        Ok(Done::There(answer)) => Ok(answer.into_response()),
        Ok(Done::NotThere(reject)) | Err(reject) => Ok(reject.into_response_or(ReserveAnswer::unknown())),
    }
}
