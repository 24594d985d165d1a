use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::batch::BatchItem;
use super::json::{Body, answer, parse, parse_batch};
use super::reject::{BACKEND_ERROR, Reject};
use super::{Api, record};
use crate::decide::command::Reserve;
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::limiter::Reservation;
use crate::wire::{ReserveAnswer, ReserveBody};

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
    let items = items.into_iter().map(|item| item.and_then(ReserveBody::into_command)).collect();
    let run = async |commands: &[Reserve]| api.limiter.reserve_batch(commands).await;
    Ok(api.answer_batch(items, run, |_, reservation| ReserveAnswer::from(reservation)).await)
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
}

fn log(command: &Reserve, reservation: &Reservation) {
    let keys = command.requirements().iter().map(|requirement| &requirement.key);
    record(command.lease, &command.job_id, keys, reservation);
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
