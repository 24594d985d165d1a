//! `POST /v1/reserve` and `POST /v1/reserve/batch`.

use std::time::Duration;

use axum::http::{StatusCode, Uri};
use axum::response::Response;
use futures_util::future::join_all;

use super::Api;
use super::answer::answer;
use super::asked::{Asked, ReportedKeys, denied_status};
use super::batch::{BatchItem, commands, rejects};
use super::carried_out::hung_up;
use super::denied_status::{status_of, with_retry_after};
use super::guard::{Authorized, ToReserve};
use super::json::{Body, parse};
use super::reject::{RETRY_AFTER_MS, Reject};
use super::request_log::record;
use crate::ledger::Ledger;
use crate::limiter::LimiterError;
use crate::protocol::{
    BACKEND_ERROR, CommandOutcome, LimitReport, Reserve, ReserveAnswer, ReserveBody, ReserveCommand,
    ReserveOutcome,
};
use crate::server::Metrics;
use crate::server::metrics::Route;
use crate::telemetry::Counter;

/// `POST /v1/reserve`
pub(super) async fn one<L: Ledger>(
    authorized: Authorized<L, ToReserve>,
    uri: Uri,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Reserve);
    let denied = denied_status(&uri)?;
    let asked = Asked::new(parse::<ReserveBody>(body)?).map_err(Reject::Invalid)?;
    authorized.check_keys(asked.command.keys())?;
    let decided = match decide(api, &asked.command).await {
        Ok(decided) => decided,
        Err(reject) => return Ok(reject.into_response_or(ReserveAnswer::unknown())),
    };
    let limits = match (asked.report || api.answers.report) && !decided.without_ledger {
        // Boxed, so that it does not add to the future of every reserve.
        true => Box::pin(api.report(&asked.command.keys().collect::<Vec<_>>())).await,
        false => None,
    };
    let served_by = served_by(api, &asked.command, &decided.outcome);
    Ok(decided.respond(denied, limits, served_by))
}

/// The outcome of what a reserve asks for, and who decided it.
pub(in crate::server) struct Decided {
    pub(in crate::server) outcome: CommandOutcome,
    /// Whether the service granted it by itself, because the ledger did not answer.
    pub(super) without_ledger: bool,
}

impl Decided {
    /// The answer. `denied` is the status of a denial.
    fn respond(
        self,
        denied: StatusCode,
        limits: Option<Vec<LimitReport>>,
        served_by: Option<String>,
    ) -> Response {
        let outcome = match self.outcome {
            CommandOutcome::Reserved(outcome) | CommandOutcome::Looked(outcome) => outcome,
            looked @ CommandOutcome::LookedFree { .. } => {
                return answer(StatusCode::OK, ReserveAnswer { limits, ..ReserveAnswer::from(looked) });
            }
        };
        let status = if denied == StatusCode::OK { status(&outcome) } else { status_of(&outcome, denied) };
        let body = match self.without_ledger {
            true => ReserveAnswer::without_ledger(outcome.clone()),
            false => ReserveAnswer { limits, served_by, ..ReserveAnswer::from(outcome.clone()) },
        };
        let response = answer(status, body);
        if denied == StatusCode::OK { response } else { with_retry_after(response, &outcome) }
    }
}

/// Carries out what a reserve asks for. While the ledger does not answer, without it, if the limits allow that.
pub(in crate::server) async fn decide<L: Ledger>(
    api: &Api<L>,
    command: &ReserveCommand,
) -> Result<Decided, Reject> {
    let (wait, carried_out) = (longest_wait(command), api.engine.limiter().carry_out(command));
    let carried_out = match wait.is_zero() {
        true => api.in_time(carried_out).await,
        false => api.in_time_after(wait, unless_hung_up(carried_out)).await,
    };
    match carried_out {
        Ok(outcome) => {
            count_command(api, &outcome);
            let Reserve { lease, job_id, .. } = command.reserve();
            match &outcome {
                CommandOutcome::Reserved(reserved) => record(*lease, job_id, command.keys(), reserved),
                CommandOutcome::Looked(_) | CommandOutcome::LookedFree { .. } => {
                    record(*lease, job_id, command.keys(), &outcome);
                }
            }
            Ok(Decided { outcome, without_ledger: false })
        }
        Err(reject) => match grant_in_emergency(api, &reject, command) {
            Some(outcome) => Ok(Decided { outcome: CommandOutcome::Reserved(outcome), without_ledger: true }),
            None => {
                api.metrics.reserves.unknown.inc();
                Err(reject)
            }
        },
    }
}

/// `POST /v1/reserve/batch`
pub(super) async fn batch<L: Ledger>(
    authorized: Authorized<L, ToReserve>,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::ReserveBatch);
    let check = |asked: &Asked| authorized.check_keys(asked.command.keys());
    let items = commands(body, api.batch_requests_max, Asked::new, check)?;
    let reported = ReportedKeys::of(&items, api.answers.report);
    let wait = items.iter().flatten().map(|asked| longest_wait(&asked.command)).max().unwrap_or_default();
    let run = async |asked: &[Asked]| {
        let commands: Vec<&ReserveCommand> = asked.iter().map(|asked| &asked.command).collect();
        match wait.is_zero() {
            true => rejects(api.engine.limiter().carry_out_batch(&commands).await),
            // In their order, and together, so that all of them share one time-out.
            false => join_all(commands.into_iter().map(|command| carry_out_item(api, command))).await,
        }
    };
    let conclude = |asked: &Asked, outcome| {
        count_command(api, &outcome);
        let served_by = served_by(api, &asked.command, &outcome);
        ReserveAnswer { served_by, ..ReserveAnswer::from(outcome) }
    };
    let without_ledger = |asked: &Asked, reject: &Reject| {
        grant_in_emergency(api, reject, &asked.command).map(ReserveAnswer::without_ledger)
    };
    let mut results = api.answer_items(wait, items, run, conclude, without_ledger).await;
    reported.report(api, &mut results).await;
    Ok(api.answer_batch(results))
}

/// Carries out an item of a batch in which some wait.
async fn carry_out_item<L: Ledger>(api: &Api<L>, command: &ReserveCommand) -> Result<CommandOutcome, Reject> {
    let carried_out = api.engine.limiter().carry_out(command);
    match longest_wait(command).is_zero() {
        true => carried_out.await.map_err(Reject::from),
        false => unless_hung_up(carried_out).await,
    }
}

/// Waits for an outcome, until the caller hangs up. An attempt that is under way is carried out.
async fn unless_hung_up<T>(outcome: impl Future<Output = Result<T, LimiterError>>) -> Result<T, Reject> {
    tokio::select! {
        biased;
        () = hung_up() => Err(Reject::HungUp),
        outcome = outcome => outcome.map_err(Reject::from),
    }
}

/// The URL of this replica, if it granted a part of the lease from an allotment.
fn served_by<L: Ledger>(api: &Api<L>, command: &ReserveCommand, outcome: &CommandOutcome) -> Option<String> {
    match outcome {
        CommandOutcome::Reserved(ReserveOutcome::Granted { .. }) => api.served_by(command.reserve().lease),
        CommandOutcome::Reserved(_) | CommandOutcome::Looked(_) | CommandOutcome::LookedFree { .. } => None,
    }
}

/// How long a command may wait for room.
fn longest_wait(command: &ReserveCommand) -> Duration {
    Duration::from_millis(command.reserve().wait().max_ms())
}

/// The outcome of a command to which the ledger gave no answer, if its limits grant without it.
fn grant_in_emergency<L: Ledger>(
    api: &Api<L>,
    reject: &Reject,
    command: &ReserveCommand,
) -> Option<ReserveOutcome> {
    let reserve = match command {
        ReserveCommand::Take(reserve) => reserve,
        ReserveCommand::TakeIfFree { take, .. } => take,
        // The claim of an emergency grant excludes an ordinary reserve, and not every attempt of a forced one.
        ReserveCommand::Force(_) | ReserveCommand::Look(_) => return None,
    };
    let outcome = reject.is_emergency().then(|| api.engine.limiter().grant_in_emergency(reserve))??;
    count(api, &outcome);
    record(reserve.lease, &reserve.job_id, command.keys(), &outcome);
    Some(outcome)
}

fn count_command<L: Ledger>(api: &Api<L>, outcome: &CommandOutcome) {
    match outcome {
        CommandOutcome::Reserved(outcome) => count(api, outcome),
        CommandOutcome::Looked(_) | CommandOutcome::LookedFree { .. } => api.metrics.reserves.count_look(),
    }
}

/// Counts an outcome, and the limit that denied it. For a limit that was never made it is the template: made-up keys must not
/// displace the limits that deny.
fn count<L: Ledger>(api: &Api<L>, outcome: &ReserveOutcome) {
    let counts = &api.metrics.reserves;
    counts.count(outcome);
    if let Some(key) = outcome.denied_by() {
        let template = api.engine.registry().template_without_limit(key);
        counts.recent_denials.count(template.as_ref().unwrap_or(key));
    }
}

/// The answer to a reserve or an extend, with its status.
pub(super) fn respond(outcome: ReserveOutcome) -> Response {
    answer(status(&outcome), ReserveAnswer::from(outcome))
}

fn status(outcome: &ReserveOutcome) -> StatusCode {
    match outcome {
        ReserveOutcome::LeaseConflict | ReserveOutcome::LeaseSettled | ReserveOutcome::LeaseExpired => {
            StatusCode::CONFLICT
        }
        ReserveOutcome::Granted { .. }
        | ReserveOutcome::NoRoom { .. }
        | ReserveOutcome::Decreasing { .. }
        | ReserveOutcome::ExceedsCapacity { .. }
        | ReserveOutcome::UnknownKey { .. }
        | ReserveOutcome::TooManyInstances { .. } => StatusCode::OK,
    }
}

impl BatchItem for ReserveAnswer {
    fn failed(error: &str) -> Self {
        ReserveAnswer::failed(error)
    }

    fn unknown() -> Self {
        Self { retry_after_ms: RETRY_AFTER_MS, ..Self::failed(BACKEND_ERROR) }
    }

    fn is_unknown(&self) -> bool {
        self.error == BACKEND_ERROR
    }

    fn unknown_counter(metrics: &Metrics) -> &Counter {
        &metrics.reserves.unknown
    }
}
