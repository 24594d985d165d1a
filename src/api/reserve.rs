use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::json::{Body, answer, parse, parse_batch};
use super::reject::{BACKEND_ERROR, Reject, unavailable};
use crate::decide::command::Reserve;
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::limiter::Reservation;
use crate::telemetry::with_sources;
use crate::wire::{BatchAnswer, ReserveAnswer, ReserveBody};

/// `POST /v1/reserve`
pub(super) async fn one<L: Ledger>(State(api): State<Arc<Api<L>>>, body: Body) -> Response {
    let command = match parse(body).and_then(|body: ReserveBody| body.into_command().map_err(Reject::Invalid))
    {
        Ok(command) => command,
        Err(reject) => return reject.into_response(),
    };
    match api.in_time(api.limiter.reserve(&command)).await {
        Ok(reservation) => {
            log(&command, &reservation);
            let status = match reservation {
                Reservation::LeaseConflict | Reservation::LeaseSettled => StatusCode::CONFLICT,
                Reservation::Granted { .. }
                | Reservation::NoRoom { .. }
                | Reservation::Decreasing { .. }
                | Reservation::ExceedsCapacity { .. }
                | Reservation::UnknownKey { .. } => StatusCode::OK,
            };
            answer(status, ReserveAnswer::from(reservation))
        }
        Err(reject) => reject.into_reserve_response(),
    }
}

/// `POST /v1/reserve/batch`
pub(super) async fn batch<L: Ledger>(State(api): State<Arc<Api<L>>>, body: Body) -> Result<Response, Reject> {
    let items = parse_batch(body, api.batch_requests_max)?;
    let items: Vec<Result<Reserve, String>> =
        items.into_iter().map(|item| item.and_then(ReserveBody::into_command)).collect();
    let commands: Vec<Reserve> = items.iter().flatten().cloned().collect();
    let answers = api.in_time(async { Ok::<_, Reject>(api.limiter.reserve_batch(&commands).await) }).await;
    let unknown = || ReserveAnswer::failed(BACKEND_ERROR);
    let mut answers = match answers {
        Ok(answers) => answers.into_iter(),
        Err(Reject::TimedOut) => Vec::new().into_iter(),
        Err(reject) => return Err(reject),
    };
    let mut results = Vec::with_capacity(items.len());
    for item in &items {
        results.push(match item {
            Err(message) => ReserveAnswer::failed(&format!("invalid_request: {message}")),
            Ok(command) => match answers.next() {
                Some(Ok(reservation)) => {
                    log(command, &reservation);
                    ReserveAnswer::from(reservation)
                }
                Some(Err(error)) => {
                    tracing::warn!(lease_id = %command.lease, error = with_sources(&error), "no answer");
                    unknown()
                }
                None => unknown(),
            },
        });
    }
    if results.iter().all(|result| result.error == BACKEND_ERROR) {
        return Ok(unavailable(answer(StatusCode::SERVICE_UNAVAILABLE, BatchAnswer { results })));
    }
    Ok(answer(StatusCode::OK, BatchAnswer { results }))
}

fn log(command: &Reserve, reservation: &Reservation) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        let keys: Vec<_> =
            command.requirements().iter().map(|requirement| requirement.key.as_str()).collect();
        tracing::debug!(lease_id = %command.lease, job_id = command.job_id, ?keys, ?reservation, "reserve");
    }
}

impl ReserveAnswer {
    /// Not allowed, for a reason that no waiting ends.
    pub fn failed(error: &str) -> Self {
        Self {
            allowed: false,
            retry_after_ms: 0,
            reserved_at_unix_ms: 0,
            error: error.to_owned(),
            limiting_key: None,
        }
    }

    fn denied(key: &LimitKey, retry_after_ms: u64, error: String) -> Self {
        Self {
            allowed: false,
            retry_after_ms,
            reserved_at_unix_ms: 0,
            error,
            limiting_key: Some(key.as_str().to_owned()),
        }
    }
}

impl From<Reservation> for ReserveAnswer {
    fn from(reservation: Reservation) -> Self {
        match reservation {
            Reservation::Granted { reserved_at_unix_ms } => Self {
                allowed: true,
                retry_after_ms: 0,
                reserved_at_unix_ms,
                error: String::new(),
                limiting_key: None,
            },
            Reservation::NoRoom { key, retry_after_ms } => Self::denied(&key, retry_after_ms, String::new()),
            Reservation::Decreasing { key, retry_after_ms } => {
                Self::denied(&key, retry_after_ms, format!("limit_decreasing:{key}"))
            }
            Reservation::ExceedsCapacity { key } => Self::denied(&key, 0, format!("exceeds_capacity:{key}")),
            Reservation::UnknownKey { key } => Self::denied(&key, 0, format!("unknown_limit_key:{key}")),
            Reservation::LeaseConflict => Self::failed("lease_conflict"),
            Reservation::LeaseSettled => Self::failed("lease_settled"),
        }
    }
}
