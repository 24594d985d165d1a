//! `POST /v1/extend`.

use std::time::Duration;

use axum::response::Response;

use super::batch::BatchItem;
use super::carried_out::hung_up;
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
    let body = parse::<ExtendBody>(body)?;
    let wait = body.wait().map_err(Reject::Invalid)?;
    let command = body.into_command().map_err(Reject::Invalid)?;
    let key = &command.requirement.key;
    authorized.check_keys([key])?;
    let extended = async {
        if !authorized.may_use_lease(command.lease, [key]).await? {
            return Ok::<_, LimiterError>(None);
        }
        api.engine.limiter().extend_in_turn(&command, wait).await.map(Some)
    };
    let extended = api.in_time_after(Duration::from_millis(wait.max_ms()), extended);
    let extended = match wait.max_ms() {
        0 => extended.await,
        // Who hangs up does not wait any longer. An extend that is under way is carried out.
        _ => tokio::select! {
            biased;
            () = hung_up() => return Err(Reject::HungUp),
            extended = extended => extended,
        },
    };
    match extended {
        Ok(Some(outcome)) => {
            record(command.lease, "", std::iter::once(key), &outcome);
            Ok(respond(outcome.answered().map_err(Reject::Invalid)?))
        }
        Ok(None) => Err(Forbidden::Lease.into()),
        Err(reject) => Ok(reject.into_response_or(ReserveAnswer::unknown())),
    }
}
