//! One attempt at a call, and its answer for the state.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::error::ScheduleError;
use super::event::{CompleteAnswer, ReserveAnswer};
use crate::client::{AttemptResult, CallError, Complete, Reserve, Transport};
use crate::telemetry::Occurrences;

static REFUSED_COMPLETES: Occurrences = Occurrences::new();

#[derive(Debug, thiserror::Error)]
#[error("the transport panicked")]
struct TransportPanicked;

pub(super) async fn reserve(transport: &impl Transport, command: &Reserve) -> ReserveAnswer {
    match catch_panic(transport.reserve(command)).await {
        Ok(AttemptResult::Granted { .. }) => ReserveAnswer::Granted,
        Ok(AttemptResult::Denied(denial)) => match denial.retry_after() {
            Some(retry_after) => ReserveAnswer::Denied { key: denial.key().clone(), retry_after },
            None => ReserveAnswer::Refused(ScheduleError::Never(denial)),
        },
        Ok(AttemptResult::LeaseExpired) => {
            // Other parts of the lease may still be held; the next attempt takes a lease of its own.
            complete(transport, &Complete::of_unused(command)).await;
            ReserveAnswer::TooLate
        }
        Ok(AttemptResult::LeaseConflict | AttemptResult::LeaseSettled) => ReserveAnswer::TooLate,
        Err(error @ CallError::Unknown { .. }) => ReserveAnswer::Unknown(error),
        Err(error @ (CallError::Refused { .. } | CallError::Closed)) => ReserveAnswer::Refused(error.into()),
    }
}

pub(super) async fn complete(transport: &impl Transport, command: &Complete) -> CompleteAnswer {
    match catch_panic(transport.complete(command)).await {
        Ok(()) => CompleteAnswer::Settled,
        Err(CallError::Unknown { .. }) => CompleteAnswer::Unknown,
        Err(error @ (CallError::Refused { .. } | CallError::Closed)) => {
            if let Some(times) = REFUSED_COMPLETES.count() {
                tracing::warn!(
                    times, lease_id = %command.lease, %error,
                    "the limiter refused to complete a lease; what the lease holds expires"
                );
            }
            CompleteAnswer::Refused
        }
    }
}

/// The outcome of a call that panics is unknown.
async fn catch_panic<R>(call: impl Future<Output = Result<R, CallError>>) -> Result<R, CallError> {
    let outcome = AssertUnwindSafe(call).catch_unwind().await;
    outcome.unwrap_or_else(|_| Err(CallError::unknown(TransportPanicked)))
}
