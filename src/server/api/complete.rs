//! `POST /v1/complete` and `POST /v1/complete/batch`.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::join_all;

use super::answer::answer;
use super::batch::{BatchItem, commands, rejects};
use super::guard::{Authorized, ToReserve};
use super::json::{Body, parse};
use super::refusal::Forbidden;
use super::reject::{RETRY_AFTER_MS, Reject};
use super::request_log::record;
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::limiter::{EmergencyCompletion, LimiterError};
use crate::protocol::{BACKEND_ERROR, Complete, CompleteAnswer, CompleteBody, CompleteOutcome};
use crate::server::Metrics;
use crate::server::metrics::Route;
use crate::telemetry::Counter;

/// `POST /v1/complete`
pub(super) async fn one<L: Ledger>(
    authorized: Authorized<L, ToReserve>,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Complete);
    let command = parse::<CompleteBody>(body)?.into_command().map_err(Reject::Invalid)?;
    authorized.check_keys(keys(&command))?;
    match settle(&authorized, &command).await {
        Ok(Some(outcome)) => {
            outcome.settled().map_err(Reject::Invalid)?;
            Ok(answer(StatusCode::OK, CompleteAnswer::settled()))
        }
        Ok(None) => Err(Forbidden::Lease.into()),
        Err(reject) => Ok(reject.into_response_or(CompleteAnswer::unknown())),
    }
}

/// Settles a lease, wherever it was granted. `None` if it holds a limit that the caller may not use.
pub(in crate::server) async fn settle<L: Ledger>(
    authorized: &Authorized<L, ToReserve>,
    command: &Complete,
) -> Result<Option<CompleteOutcome>, Reject> {
    let api = authorized.api();
    let settled = match settle_in_emergency(authorized, command) {
        Some(settled) => Ok(settled),
        None => api.in_time(settle_by_ledger(authorized, command)).await,
    };
    match &settled {
        Ok(Some(outcome)) => count_and_log(&api.metrics, command, outcome),
        Ok(None) => {}
        Err(_) => {
            api.metrics.completes.unknown.inc();
        }
    }
    settled
}

/// `POST /v1/complete/batch`
pub(super) async fn batch<L: Ledger>(
    authorized: Authorized<L, ToReserve>,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::CompleteBatch);
    let check = |command: &_| authorized.check_keys(keys(command));
    let items = commands(body, api.batch_requests_max, CompleteBody::into_command, check)?;
    // Together, so that look-ups and chains share requests to the ledger.
    let settle = async |command: &Complete| match settle_in_emergency(&authorized, command) {
        Some(settled) => Ok(settled),
        None => settle_by_ledger(&authorized, command).await,
    };
    let run = async |commands: &[Complete]| rejects(join_all(commands.iter().map(settle)).await);
    let conclude = |command: &Complete, outcome: Option<CompleteOutcome>| {
        let Some(outcome) = outcome else { return CompleteAnswer::forbidden(&Forbidden::Lease.to_string()) };
        count_and_log(&api.metrics, command, &outcome);
        match outcome.settled() {
            Ok(()) => CompleteAnswer::settled(),
            Err(message) => CompleteAnswer::invalid(&message),
        }
    };
    let without_ledger = |command: &Complete, _: &Reject| {
        settle_in_emergency(&authorized, command).map(|settled| conclude(command, settled))
    };
    Ok(api.answer_batch(api.answer_items(Duration::ZERO, items, run, conclude, without_ledger).await))
}

/// Settles a lease that this service granted without the ledger. `Some(None)` if it holds a limit that the caller may not
/// use; `None` if it is a lease of the ledger.
fn settle_in_emergency<L: Ledger>(
    authorized: &Authorized<L, ToReserve>,
    command: &Complete,
) -> Option<Option<CompleteOutcome>> {
    let limiter = authorized.api().engine.limiter();
    match limiter.complete_in_emergency(command, |key| authorized.may_use(key)) {
        EmergencyCompletion::NotEmergency => None,
        EmergencyCompletion::Forbidden => Some(None),
        EmergencyCompletion::Outcome(outcome) => Some(Some(outcome)),
    }
}

/// Settles a lease. `None` if it holds a limit that the caller may not use.
async fn settle_by_ledger<L: Ledger>(
    authorized: &Authorized<L, ToReserve>,
    command: &Complete,
) -> Result<Option<CompleteOutcome>, LimiterError> {
    let limiter = authorized.api().engine.limiter();
    if !authorized.may_use_lease(command.lease, keys(command)).await? {
        return Ok(None);
    }
    limiter.complete(command).await.map(Some)
}

fn keys(command: &Complete) -> impl Iterator<Item = &LimitKey> {
    command.actuals().iter().map(|actual| &actual.key)
}

fn count_and_log(metrics: &Metrics, command: &Complete, outcome: &CompleteOutcome) {
    metrics.completes.count(outcome);
    record(command.lease, &command.job_id, keys(command), outcome);
}

impl BatchItem for CompleteAnswer {
    fn failed(error: &str) -> Self {
        CompleteAnswer::failed(error)
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
