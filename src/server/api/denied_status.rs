//! Statuses of denials, for callers that read statuses and no bodies.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::protocol::ReserveOutcome;

/// The status of an outcome, where a denial by a limit has the status `denied`.
pub(super) fn status_of(outcome: &ReserveOutcome, denied: StatusCode) -> StatusCode {
    match outcome {
        ReserveOutcome::Granted { .. } => StatusCode::OK,
        ReserveOutcome::NoRoom { .. }
        | ReserveOutcome::Decreasing { .. }
        | ReserveOutcome::ExceedsCapacity { .. }
        | ReserveOutcome::TooManyInstances { .. } => denied,
        ReserveOutcome::UnknownKey { .. } => StatusCode::NOT_FOUND,
        ReserveOutcome::LeaseConflict | ReserveOutcome::LeaseSettled | ReserveOutcome::LeaseExpired => {
            StatusCode::CONFLICT
        }
    }
}

/// The whole seconds after which a denied call is worth a repetition; `None` if a wait does not help.
pub(super) fn retry_after_seconds(outcome: &ReserveOutcome) -> Option<u64> {
    match outcome {
        ReserveOutcome::NoRoom { retry_after_ms, .. } | ReserveOutcome::Decreasing { retry_after_ms, .. } => {
            Some(retry_after_ms.div_ceil(1_000))
        }
        ReserveOutcome::Granted { .. }
        | ReserveOutcome::ExceedsCapacity { .. }
        | ReserveOutcome::TooManyInstances { .. }
        | ReserveOutcome::UnknownKey { .. }
        | ReserveOutcome::LeaseConflict
        | ReserveOutcome::LeaseSettled
        | ReserveOutcome::LeaseExpired => None,
    }
}

/// Adds the header `Retry-After` of a denial that a wait helps against.
pub(super) fn with_retry_after(mut response: Response, outcome: &ReserveOutcome) -> Response {
    if let Some(seconds) = retry_after_seconds(outcome) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
