use std::error::Error;
use std::sync::Arc;

use crate::client::{CallError, LimitKey};
use crate::registry::AdminError;

/// Why there is no lease, not even a failed one. Nothing is taken, and nothing is counted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PermitError {
    /// More is wanted than the limit ever has.
    #[error("{permits} permits are more than the {capacity} that limit {key} has")]
    ExceedsCapacity {
        /// The limit.
        key: LimitKey,
        /// How many were wanted.
        permits: u64,
        /// How many there are.
        capacity: u64,
    },
    /// There is no such limit.
    #[error("there is no limit {key}")]
    UnknownLimit {
        /// What was asked for.
        key: LimitKey,
    },
    /// A template would make the limit, but may make no more.
    #[error("limit {key} cannot be made: its template has made as many as it may")]
    TooManyInstances {
        /// What was asked for.
        key: LimitKey,
    },
    /// The limiter was shut down.
    #[error("the limiter is shut down")]
    ShutDown,
    /// The caller gave up.
    #[error("the wait was cancelled")]
    Cancelled,
    /// The partition could not be made. The next use tries again.
    #[error("the partition could not be made")]
    Partition(#[source] Arc<dyn Error + Send + Sync>),
    /// A call has no answer.
    #[error(transparent)]
    Call(CallError),
}

impl From<AdminError> for PermitError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::UnknownKey(key) => Self::UnknownLimit { key },
            AdminError::TooManyInstances(key) => Self::TooManyInstances { key },
            AdminError::KindChange(_) | AdminError::Registry(_) | AdminError::Contended(_) => {
                Self::Call(CallError::unknown(error))
            }
        }
    }
}

impl From<CallError> for PermitError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Closed => Self::ShutDown,
            CallError::Unknown(_) | CallError::Refused { .. } => Self::Call(error),
        }
    }
}
