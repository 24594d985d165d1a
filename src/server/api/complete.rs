//! `POST /v1/complete` and `POST /v1/complete/batch`.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::join_all;

use super::Api;
use super::answer::answer;
use super::batch::{BatchItem, commands, rejects};
use super::guard::{Authorized, ToReserve};
use super::hand_on::{Done, Hop, LeaseCall, take_served_by};
use super::json::{Body, parse};
use super::refusal::Forbidden;
use super::reject::{RETRY_AFTER_MS, Reject};
use super::request_log::record;
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::limiter::{EmergencyCompletion, LimiterError};
use crate::protocol::{BACKEND_ERROR, Complete, CompleteAnswer, CompleteBody, CompleteOutcome, ErrorBody};
use crate::server::Metrics;
use crate::server::metrics::Route;
use crate::server::peers::PeerAnswer;
use crate::telemetry::Counter;

/// A complete, and the replica that its caller says to serve the lease.
struct Addressed {
    command: Complete,
    served_by: Option<String>,
}

/// What became of a complete. `None` here if the lease holds a limit that the caller may not use.
type Settled = Done<Option<CompleteOutcome>>;

/// `POST /v1/complete`
pub(super) async fn one<L: Ledger>(
    authorized: Authorized<L, ToReserve>,
    hop: Hop,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Complete);
    let addressed = Addressed::of(parse(body)?).map_err(Reject::Invalid)?;
    authorized.check_keys(keys(&addressed.command))?;
    let here = settle(&authorized, &addressed.command);
    match settle_anywhere(api, &hop, &addressed, here).await {
        Ok(Done::Here(Some(outcome))) => {
            outcome.settled().map_err(Reject::Invalid)?;
            Ok(answer(StatusCode::OK, CompleteAnswer::settled()))
        }
        Ok(Done::Here(None)) => Err(Forbidden::Lease.into()),
        Ok(Done::There(answer)) => Ok(answer.into_response()),
        Ok(Done::NotThere(reject)) | Err(reject) => Ok(reject.into_response_or(CompleteAnswer::unknown())),
    }
}

/// Settles a lease where it is served. `here` settles it in this process.
async fn settle_anywhere<L: Ledger, E>(
    api: &Api<L>,
    hop: &Hop,
    addressed: &Addressed,
    here: impl Future<Output = Result<Option<CompleteOutcome>, E>>,
) -> Result<Settled, E> {
    let Addressed { command, served_by } = addressed;
    let body = || serde_json::to_string(&CompleteBody::from(command));
    let call = LeaseCall {
        path: "/v1/complete",
        lease: command.lease,
        served_by: served_by.as_deref(),
        keys: keys(command).collect(),
        body: &body,
        wait: Duration::ZERO,
    };
    let is_unknown = |outcome: &Option<CompleteOutcome>| *outcome == Some(CompleteOutcome::NothingToDo);
    api.carry_out_anywhere(hop, &call, here, is_unknown).await
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
    hop: Hop,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::CompleteBatch);
    let check = |addressed: &Addressed| authorized.check_keys(keys(&addressed.command));
    let items = commands(body, api.batch_requests_max, Addressed::of, check)?;
    // Together, so that look-ups and chains share requests to the ledger.
    let settle = async |addressed: &Addressed| {
        let here = async {
            match settle_in_emergency(&authorized, &addressed.command) {
                Some(settled) => Ok(settled),
                None => settle_by_ledger(&authorized, &addressed.command).await,
            }
        };
        settle_anywhere(api, &hop, addressed, here).await
    };
    let run = async |commands: &[Addressed]| rejects(join_all(commands.iter().map(settle)).await);
    let conclude = |addressed: &Addressed, settled: Settled| conclude(&api.metrics, addressed, settled);
    let without_ledger = |addressed: &Addressed, _: &Reject| {
        let settled = settle_in_emergency(&authorized, &addressed.command)?;
        Some(conclude(addressed, Done::Here(settled)))
    };
    Ok(api.answer_batch(api.answer_items(Duration::ZERO, items, run, conclude, without_ledger).await))
}

/// The answer to an item of a batch.
fn conclude(metrics: &Metrics, addressed: &Addressed, settled: Settled) -> CompleteAnswer {
    let outcome = match settled {
        Done::Here(Some(outcome)) => outcome,
        Done::Here(None) => return CompleteAnswer::forbidden(&Forbidden::Lease.to_string()),
        Done::There(answer) => return item_of(&answer),
        Done::NotThere(reject) => {
            reject.log();
            return CompleteAnswer::unknown();
        }
    };
    count_and_log(metrics, &addressed.command, &outcome);
    match outcome.settled() {
        Ok(()) => CompleteAnswer::settled(),
        Err(message) => CompleteAnswer::invalid(&message),
    }
}

/// What another replica answered, as an item of a batch.
fn item_of(answer: &PeerAnswer) -> CompleteAnswer {
    if answer.status.is_success() {
        return serde_json::from_slice(&answer.body).unwrap_or_else(|_| CompleteAnswer::unknown());
    }
    match serde_json::from_slice::<ErrorBody>(&answer.body) {
        Ok(ErrorBody { error, message }) if answer.status.is_client_error() => {
            CompleteAnswer::failed(&format!("{error}: {message}"))
        }
        Ok(_) | Err(_) => CompleteAnswer::unknown(),
    }
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

impl Addressed {
    /// Checks every field; the error begins with the name of the first bad one.
    fn of(mut body: CompleteBody) -> Result<Self, String> {
        let served_by = take_served_by(&mut body.served_by)?;
        Ok(Self { command: body.into_command()?, served_by })
    }
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
