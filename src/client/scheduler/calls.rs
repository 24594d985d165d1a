//! One attempt at a call, and what its outcome means to the scheduler.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::error::ScheduleError;
use super::state::{CompleteAnswer, ReserveAnswer};
use crate::client::limiter::Verdict;
use crate::client::{CallError, Complete, Reserve, Transport};

#[derive(Debug, thiserror::Error)]
#[error("the transport panicked")]
struct TransportPanicked;

pub(super) async fn reserve(transport: &impl Transport, command: &Reserve) -> ReserveAnswer {
    match caught(transport.reserve(command)).await.map(Verdict::of) {
        Ok(Verdict::Granted { .. }) => ReserveAnswer::Granted,
        Ok(Verdict::Denied(denial)) => match denial.retry_after() {
            Some(retry_after) => ReserveAnswer::Denied { key: denial.key().clone(), retry_after },
            None => ReserveAnswer::Refused(ScheduleError::Never(denial)),
        },
        Ok(Verdict::TooLate) => ReserveAnswer::TooLate,
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
