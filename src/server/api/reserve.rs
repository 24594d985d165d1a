//! `POST /v1/reserve` and `POST /v1/reserve/batch`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::batch::BatchItem;
use super::json::{Body, answer, parse, parse_batch};
use super::reject::Reject;
use super::{Api, record};
use crate::ledger::Ledger;
use crate::protocol::Reserve;
use crate::protocol::ReserveOutcome;
use crate::protocol::{BACKEND_ERROR, ReserveAnswer, ReserveBody};
use crate::server::metrics::{Metrics, Route};
use crate::telemetry::Counter;

/// `POST /v1/reserve`
pub(super) async fn one<L: Ledger>(State(api): State<Arc<Api<L>>>, body: Body) -> Response {
    let _in_flight = api.metrics.request(Route::Reserve);
    let command = match parse(body).and_then(|body: ReserveBody| body.into_command().map_err(Reject::Invalid))
    {
        Ok(command) => command,
        Err(reject) => return reject.into_response(),
    };
    match api.in_time(api.engine.limiter().reserve(&command)).await {
        Ok(reservation) => {
            api.metrics.reserves.count(&reservation);
            log(&command, &reservation);
            respond(reservation)
        }
        Err(reject) => {
            api.metrics.reserves.unknown.inc();
            reject.into_reserve_response()
        }
    }
}

/// The answer to an outcome, with its status.
pub(super) fn respond(reservation: ReserveOutcome) -> Response {
    let status = match reservation {
        ReserveOutcome::LeaseConflict | ReserveOutcome::LeaseSettled => StatusCode::CONFLICT,
        ReserveOutcome::Granted { .. }
        | ReserveOutcome::NoRoom { .. }
        | ReserveOutcome::Decreasing { .. }
        | ReserveOutcome::ExceedsCapacity { .. }
        | ReserveOutcome::UnknownKey { .. }
        | ReserveOutcome::TooManyInstances { .. } => StatusCode::OK,
    };
    answer(status, ReserveAnswer::from(reservation))
}

/// `POST /v1/reserve/batch`
pub(super) async fn batch<L: Ledger>(State(api): State<Arc<Api<L>>>, body: Body) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::ReserveBatch);
    let items = parse_batch(body, api.batch_requests_max)?;
    let items = items.into_iter().map(|item| item.and_then(ReserveBody::into_command)).collect();
    let run = async |commands: &[Reserve]| api.engine.limiter().reserve_batch(commands).await;
    let conclude = |_: &Reserve, reservation| {
        api.metrics.reserves.count(&reservation);
        ReserveAnswer::from(reservation)
    };
    Ok(api.answer_batch(items, run, conclude).await)
}

impl BatchItem for ReserveAnswer {
    fn invalid(message: &str) -> Self {
        Self::failed(message)
    }

    fn unknown() -> Self {
        Self::failed(BACKEND_ERROR)
    }

    fn is_unknown(&self) -> bool {
        self.error == BACKEND_ERROR
    }

    fn unknowns(metrics: &Metrics) -> &Counter {
        &metrics.reserves.unknown
    }
}

fn log(command: &Reserve, reservation: &ReserveOutcome) {
    let keys = command.requirements().iter().map(|requirement| &requirement.key);
    record(command.lease, &command.job_id, keys, reservation);
}
