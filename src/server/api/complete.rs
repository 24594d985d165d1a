//! `POST /v1/complete` and `POST /v1/complete/batch`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::batch::BatchItem;
use super::json::{Body, answer, parse, parse_batch};
use super::reject::Reject;
use super::{Api, record};
use crate::ledger::Ledger;
use crate::protocol::Complete;
use crate::protocol::CompleteOutcome;
use crate::protocol::{BACKEND_ERROR, CompleteAnswer, CompleteBody, INVALID_REQUEST};
use crate::server::metrics::{Metrics, Route};
use crate::telemetry::Counter;

/// `POST /v1/complete`
pub(super) async fn one<L: Ledger>(State(api): State<Arc<Api<L>>>, body: Body) -> Response {
    let _in_flight = api.metrics.request(Route::Complete);
    let command =
        match parse(body).and_then(|body: CompleteBody| body.into_command().map_err(Reject::Invalid)) {
            Ok(command) => command,
            Err(reject) => return reject.into_response(),
        };
    match api.in_time(api.engine.limiter().complete(&command)).await {
        Ok(completion) => match conclude(&api.metrics, &command, &completion) {
            Ok(()) => answer(StatusCode::OK, CompleteAnswer::settled()),
            Err(message) => Reject::Invalid(message).into_response(),
        },
        Err(reject) => {
            api.metrics.completes.unknown.inc();
            reject.into_complete_response()
        }
    }
}

/// `POST /v1/complete/batch`
pub(super) async fn batch<L: Ledger>(State(api): State<Arc<Api<L>>>, body: Body) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::CompleteBatch);
    let items = parse_batch(body, api.batch_requests_max)?;
    let items = items.into_iter().map(|item| item.and_then(CompleteBody::into_command)).collect();
    let run = async |commands: &[Complete]| api.engine.limiter().complete_batch(commands).await;
    let conclude = |command: &Complete, completion| match conclude(&api.metrics, command, &completion) {
        Ok(()) => CompleteAnswer::settled(),
        Err(message) => CompleteAnswer::invalid(&format!("{INVALID_REQUEST}: {message}")),
    };
    Ok(api.answer_batch(items, run, conclude).await)
}

impl BatchItem for CompleteAnswer {
    fn invalid(message: &str) -> Self {
        Self { ok: false, error: message.to_owned() }
    }

    fn unknown() -> Self {
        Self { ok: false, error: BACKEND_ERROR.to_owned() }
    }

    fn is_unknown(&self) -> bool {
        self.error == BACKEND_ERROR
    }

    fn unknowns(metrics: &Metrics) -> &Counter {
        &metrics.completes.unknown
    }
}

/// Counts and logs the outcome. `Ok` if the lease is settled; otherwise what is wrong with the command.
fn conclude(metrics: &Metrics, command: &Complete, completion: &CompleteOutcome) -> Result<(), String> {
    metrics.completes.count(completion);
    record(command.lease, &command.job_id, command.actuals().iter().map(|actual| &actual.key), completion);
    completion.settled()
}
