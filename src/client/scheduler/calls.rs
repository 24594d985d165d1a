//! One attempt at a call, and what its outcome means to the scheduler.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use super::error::ScheduleError;
use super::state::{CompleteAnswer, ReserveAnswer};
use crate::client::{CallError, Complete, Reserve, ReserveOutcome, Transport};

#[derive(Debug, thiserror::Error)]
#[error("the transport panicked")]
struct TransportPanicked;

pub(super) async fn reserve(transport: &impl Transport, command: &Reserve) -> ReserveAnswer {
    match caught(transport.reserve(command)).await {
        Ok(ReserveOutcome::Granted { .. }) => ReserveAnswer::Granted,
        Ok(
            ReserveOutcome::NoRoom { key, retry_after_ms }
            | ReserveOutcome::Decreasing { key, retry_after_ms },
        ) => ReserveAnswer::Denied { key, retry_after: Duration::from_millis(retry_after_ms) },
        Ok(ReserveOutcome::ExceedsCapacity { key }) => {
            ReserveAnswer::Refused(ScheduleError::ExceedsCapacity { key })
        }
        Ok(ReserveOutcome::UnknownKey { key }) => ReserveAnswer::Refused(ScheduleError::UnknownKey { key }),
        Ok(ReserveOutcome::LeaseConflict) => ReserveAnswer::Refused(ScheduleError::LeaseConflict),
        Ok(ReserveOutcome::LeaseSettled) => ReserveAnswer::Settled,
        Err(error @ CallError::Unknown(_)) => ReserveAnswer::Unknown(error),
        Err(error @ (CallError::Refused { .. } | CallError::Closed)) => ReserveAnswer::Refused(error.into()),
    }
}

pub(super) async fn complete(transport: &impl Transport, command: &Complete) -> CompleteAnswer {
    match caught(transport.complete(command)).await {
        Ok(()) => CompleteAnswer::Settled,
        Err(CallError::Unknown(_)) => CompleteAnswer::Unknown,
        Err(error @ (CallError::Refused { .. } | CallError::Closed)) => {
            tracing::warn!(lease_id = %command.lease, %error, "a lease could not be completed");
            CompleteAnswer::Refused
        }
    }
}

/// A call that panics leaves its outcome unknown.
async fn caught<R>(call: impl Future<Output = Result<R, CallError>>) -> Result<R, CallError> {
    let outcome = AssertUnwindSafe(call).catch_unwind().await;
    outcome.unwrap_or_else(|_| Err(CallError::unknown(TransportPanicked)))
}
