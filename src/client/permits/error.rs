//! Why a call for permits has no lease, not even a failed one.

use std::error::Error;
use std::sync::Arc;

use crate::client::{CallError, ErrorKind, LimitKey};
use crate::registry::AdminError;

/// Why there is no lease, not even a failed one. Nothing is taken, and nothing is counted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PermitError {
    /// The call asks for more permits than the limit ever has.
    #[error("{permits} permits are above the capacity of limit {key}, {capacity}; ask for fewer or raise it")]
    ExceedsCapacity {
        /// The limit.
        key: LimitKey,
        /// The permits asked for.
        permits: u64,
        /// The capacity of the limit.
        capacity: u64,
    },
    /// No limit has this key, and no template matches it.
    #[error("there is no limit {key}")]
    UnknownLimit {
        /// The key asked for.
        key: LimitKey,
    },
    /// The template of this key has reached its `max_instances`.
    #[error("limit {key} cannot be created: its template has reached max_instances")]
    TooManyInstances {
        /// The key asked for.
        key: LimitKey,
    },
    /// The limiter was shut down or closed.
    #[error("the permit limiter is shut down")]
    ShutDown,
    /// The caller cancelled the call.
    #[error("the call for permits was cancelled")]
    Cancelled,
    /// The limiter of the partition could not be created. The next call tries again.
    #[error("the limiter of the partition could not be created; the next call tries again")]
    Partition(#[source] Arc<dyn Error + Send + Sync>),
    /// A call has no answer.
    #[error(transparent)]
    Call(CallError),
}

impl From<AdminError> for PermitError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::UnknownKey(key) | AdminError::Deleted(key) => Self::UnknownLimit { key },
            AdminError::TooManyInstances(key) => Self::TooManyInstances { key },
            AdminError::KindChange(_)
            | AdminError::IsTemplate(_)
            | AdminError::VersionConflict { .. }
            | AdminError::NotSaved(_)
            | AdminError::Registry(_)
            | AdminError::Contended(_) => Self::Call(CallError::unknown(error)),
        }
    }
}

impl From<CallError> for PermitError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Closed => Self::ShutDown,
            CallError::Unknown { .. } | CallError::Refused { .. } => Self::Call(error),
        }
    }
}

impl PermitError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ExceedsCapacity { .. } => ErrorKind::ExceedsCapacity,
            Self::UnknownLimit { .. } => ErrorKind::UnknownKey,
            Self::TooManyInstances { .. } => ErrorKind::TooManyInstances,
            Self::ShutDown => ErrorKind::Closed,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Partition(_) => ErrorKind::Other,
            Self::Call(error) => error.kind(),
        }
    }
}
