//! `POST /v1/extend`.

use std::time::Duration;

use axum::response::Response;
use smallvec::smallvec;

use super::batch::BatchItem;
use super::carried_out::hung_up;
use super::guard::{Authorized, ToReserve};
use super::hand_on::{Done, Hop, LeaseCall, take_served_by};
use super::json::{Body, parse};
use super::refusal::Forbidden;
use super::reject::Reject;
use super::request_log::record;
use super::reserve::respond;
use crate::ledger::Ledger;
use crate::limiter::LimiterError;
use crate::protocol::{Extend, ExtendBody, ExtendOutcome, ReserveAnswer, ReserveOutcome, Wait};
use crate::server::metrics::Route;

/// `POST /v1/extend`
pub(super) async fn one<L: Ledger>(
    authorized: Authorized<L, ToReserve>,
    hop: Hop,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Extend);
    let mut body = parse::<ExtendBody>(body)?;
    let served_by = take_served_by(&mut body.served_by).map_err(Reject::Invalid)?;
    let wait = body.wait().map_err(Reject::Invalid)?;
    let (max_wait_ms, priority) = (body.max_wait_ms, body.priority);
    let command = body.into_command().map_err(Reject::Invalid)?;
    let key = &command.requirement.key;
    authorized.check_keys([key])?;
    let body = || serde_json::to_string(&ExtendBody { max_wait_ms, priority, ..ExtendBody::from(&command) });
    let call = LeaseCall {
        path: "/v1/extend",
        lease: command.lease,
        served_by: served_by.as_deref(),
        keys: smallvec![key],
        body: &body,
        wait: Duration::from_millis(wait.max_ms()),
    };
    let is_unknown = |outcome: &Option<ExtendOutcome>| {
        *outcome == Some(ExtendOutcome::Answered(ReserveOutcome::LeaseSettled))
    };
    let here = extend_here(&authorized, &command, wait);
    match api.carry_out_anywhere(&hop, &call, here, is_unknown).await {
        Ok(Done::Here(Some(outcome))) => {
            record(command.lease, "", std::iter::once(key), &outcome);
            Ok(respond(outcome.answered().map_err(Reject::Invalid)?))
        }
        Ok(Done::Here(None)) => Err(Forbidden::Lease.into()),
        Ok(Done::There(answer)) => Ok(answer.into_response()),
        Ok(Done::NotThere(reject)) | Err(reject) => Ok(reject.into_response_or(ReserveAnswer::unknown())),
    }
}

/// Extends a lease in this process. `None` if it holds a limit that the caller may not use.
async fn extend_here<L: Ledger>(
    authorized: &Authorized<L, ToReserve>,
    command: &Extend,
    wait: Wait,
) -> Result<Option<ExtendOutcome>, Reject> {
    let api = authorized.api();
    let extended = async {
        if !authorized.may_use_lease(command.lease, [&command.requirement.key]).await? {
            return Ok::<_, LimiterError>(None);
        }
        api.engine.limiter().extend_in_turn(command, wait).await.map(Some)
    };
    let extended = api.in_time_after(Duration::from_millis(wait.max_ms()), extended);
    match wait.max_ms() {
        0 => extended.await,
        // Who hangs up does not wait any longer. An extend that is under way is carried out.
        _ => tokio::select! {
            biased;
            () = hung_up() => Err(Reject::HungUp),
            extended = extended => extended,
        },
    }
}
