use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::json::{Body, answer, parse, parse_batch};
use super::reject::{BACKEND_ERROR, Reject, unavailable};
use crate::decide::command::Complete;
use crate::ledger::Ledger;
use crate::limit::Overage;
use crate::limiter::Completion;
use crate::wire::{BatchAnswer, CompleteAnswer, CompleteBody};

/// `POST /v1/complete`
pub(super) async fn one<L: Ledger>(State(api): State<Arc<Api<L>>>, body: Body) -> Response {
    let command =
        match parse(body).and_then(|body: CompleteBody| body.into_command().map_err(Reject::Invalid)) {
            Ok(command) => command,
            Err(reject) => return reject.into_response(),
        };
    match api.in_time(api.limiter.complete(&command)).await {
        Ok(completion) => match conclude(&command, &completion) {
            Ok(()) => answer(StatusCode::OK, CompleteAnswer::settled()),
            Err(message) => Reject::Invalid(message).into_response(),
        },
        Err(reject) => reject.into_complete_response(),
    }
}

/// `POST /v1/complete/batch`
pub(super) async fn batch<L: Ledger>(State(api): State<Arc<Api<L>>>, body: Body) -> Result<Response, Reject> {
    let items = parse_batch(body, api.batch_requests_max)?;
    let items: Vec<Result<Complete, String>> =
        items.into_iter().map(|item| item.and_then(CompleteBody::into_command)).collect();
    let settle = |item: Result<Complete, String>| async {
        let command =
            item.map_err(|message| CompleteAnswer::failed(format!("invalid_request: {message}")))?;
        let completion = api.in_time(api.limiter.complete(&command)).await.map_err(|reject| {
            tracing::warn!(lease_id = %command.lease, ?reject, "no answer");
            CompleteAnswer::failed(BACKEND_ERROR.to_owned())
        })?;
        conclude(&command, &completion)
            .map_err(|message| CompleteAnswer::failed(format!("invalid_request: {message}")))
    };
    // Together, so that their chains share the ledger's batches; each answers in its place.
    let settled = futures_util::future::join_all(items.into_iter().map(settle)).await;
    let results: Vec<CompleteAnswer> =
        settled.into_iter().map(|result| result.err().unwrap_or_else(CompleteAnswer::settled)).collect();
    if results.iter().all(|result| result.error == BACKEND_ERROR) {
        return Ok(unavailable(answer(StatusCode::SERVICE_UNAVAILABLE, BatchAnswer { results })));
    }
    Ok(answer(StatusCode::OK, BatchAnswer { results }))
}

/// Whether the lease is settled, or what is wrong with the command.
fn conclude(command: &Complete, completion: &Completion) -> Result<(), String> {
    let (lease_id, job_id) = (command.lease, &command.job_id);
    match completion {
        Completion::Settled { excesses } => {
            for excess in excesses {
                let (key, amount) = (&excess.key, excess.amount);
                let recorded = excess.overage == Overage::Debt;
                tracing::info!(%lease_id, job_id, %key, amount, recorded, "used more than could be reserved");
            }
            tracing::debug!(%lease_id, job_id, "complete");
            Ok(())
        }
        Completion::NothingToDo => {
            tracing::debug!(%lease_id, job_id, "complete of a lease that is over");
            Ok(())
        }
        Completion::NotInLease { index } => Err(format!("actuals[{index}].key is not in the lease")),
    }
}

impl CompleteAnswer {
    fn settled() -> Self {
        Self { ok: true, error: String::new() }
    }

    fn failed(error: String) -> Self {
        Self { ok: false, error }
    }
}
