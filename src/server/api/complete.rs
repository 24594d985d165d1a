//! `POST /v1/complete` and `POST /v1/complete/batch`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Api;
use super::answer::answer;
use super::batch::BatchItem;
use super::json::{Body, parse, parse_batch};
use super::reject::{RETRY_AFTER_MS, Reject};
use super::request_log::record;
use crate::ledger::Ledger;
use crate::protocol::{
    BACKEND_ERROR, Complete, CompleteAnswer, CompleteBody, CompleteOutcome, INVALID_REQUEST,
};
use crate::server::Metrics;
use crate::server::metrics::Route;
use crate::telemetry::Counter;

/// `POST /v1/complete`
pub(super) async fn one<L: Ledger>(State(api): State<Arc<Api<L>>>, body: Body) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::Complete);
    let command = parse::<CompleteBody>(body)?.into_command().map_err(Reject::Invalid)?;
    match api.in_time(api.engine.limiter().complete(&command)).await {
        Ok(outcome) => {
            conclude(&api.metrics, &command, &outcome).map_err(Reject::Invalid)?;
            Ok(answer(StatusCode::OK, CompleteAnswer::settled()))
        }
        Err(reject) => {
            api.metrics.completes.unknown.inc();
            Ok(reject.into_response_or(CompleteAnswer::unknown()))
        }
    }
}

/// `POST /v1/complete/batch`
pub(super) async fn batch<L: Ledger>(State(api): State<Arc<Api<L>>>, body: Body) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::CompleteBatch);
    let items = parse_batch(body, api.batch_requests_max)?;
    let items = items.into_iter().map(|item| item.and_then(CompleteBody::into_command)).collect();
    let run = async |commands: &[Complete]| api.engine.limiter().complete_batch(commands).await;
    let conclude = |command: &Complete, outcome| match conclude(&api.metrics, command, &outcome) {
        Ok(()) => CompleteAnswer::settled(),
        Err(message) => CompleteAnswer::invalid(&message),
    };
    Ok(api.answer_batch(items, run, conclude).await)
}

/// Counts and logs an outcome.
///
/// # Errors
///
/// The message to the caller if the command names a key that is not in the lease.
fn conclude(metrics: &Metrics, command: &Complete, outcome: &CompleteOutcome) -> Result<(), String> {
    metrics.completes.count(outcome);
    record(command.lease, &command.job_id, command.actuals().iter().map(|actual| &actual.key), outcome);
    outcome.settled()
}

impl BatchItem for CompleteAnswer {
    fn invalid(message: &str) -> Self {
        Self::failed(&format!("{INVALID_REQUEST}: {message}"))
    }

    fn unknown() -> Self {
        Self { retry_after_ms: Some(RETRY_AFTER_MS), ..Self::failed(BACKEND_ERROR) }
    }

    fn is_unknown(&self) -> bool {
        self.error == BACKEND_ERROR
    }

    fn unknown_counter(metrics: &Metrics) -> &Counter {
        &metrics.completes.unknown
    }
}
