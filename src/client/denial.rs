//! Why limits deny, and why waiting for them ends without a lease.

use std::time::Duration;

use super::{CallError, ErrorKind, LimitKey, RetryAfterSource};

/// Why nothing was granted. Nothing is reserved then, of any limit.
///
/// A denied attempt is over: the next one takes a new lease id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// The limit has no room now.
    #[error("limit {key} has no room; try again in {retry_after:?}")]
    NoRoom {
        /// The limit without room.
        key: LimitKey,
        /// When room is expected, from now.
        retry_after: Duration,
        /// Whether the amount is known to fit then.
        retry_after_source: RetryAfterSource,
    },
    /// The limit grants nothing while its capacity is being lowered.
    #[error("the capacity of limit {key} is being lowered; try again in {retry_after:?}")]
    Decreasing {
        /// The limit.
        key: LimitKey,
        /// When to ask again, from now.
        retry_after: Duration,
    },
    /// The amount is above the limit's capacity: it can never be granted.
    #[error("the amount is above the capacity of limit {key}; ask for less or raise the capacity")]
    ExceedsCapacity {
        /// The limit.
        key: LimitKey,
    },
    /// No limit has this key, and no template matches it.
    #[error("there is no limit {key}")]
    UnknownKey {
        /// The key asked for.
        key: LimitKey,
    },
    /// The template of this key has reached its `max_instances`.
    #[error("limit {key} cannot be created: its template has reached max_instances")]
    TooManyInstances {
        /// The key asked for.
        key: LimitKey,
    },
}

impl Denial {
    /// The limit that denied, or one of them if several did.
    pub fn key(&self) -> &LimitKey {
        match self {
            Self::NoRoom { key, .. }
            | Self::Decreasing { key, .. }
            | Self::ExceedsCapacity { key }
            | Self::UnknownKey { key }
            | Self::TooManyInstances { key } => key,
        }
    }

    /// When to ask again, from the moment of the denial; `None` if waiting does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoRoom { retry_after, .. } | Self::Decreasing { retry_after, .. } => Some(*retry_after),
            Self::ExceedsCapacity { .. } | Self::UnknownKey { .. } | Self::TooManyInstances { .. } => None,
        }
    }

    /// Whether the amount is known to fit then; `None` if waiting does not help.
    pub fn retry_after_source(&self) -> Option<RetryAfterSource> {
        match self {
            Self::NoRoom { retry_after_source, .. } => Some(*retry_after_source),
            Self::Decreasing { .. } => Some(RetryAfterSource::Estimate),
            Self::ExceedsCapacity { .. } | Self::UnknownKey { .. } | Self::TooManyInstances { .. } => None,
        }
    }

    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoRoom { .. } => ErrorKind::NoRoom,
            Self::Decreasing { .. } => ErrorKind::Decreasing,
            Self::ExceedsCapacity { .. } => ErrorKind::ExceedsCapacity,
            Self::UnknownKey { .. } => ErrorKind::UnknownKey,
            Self::TooManyInstances { .. } => ErrorKind::TooManyInstances,
        }
    }
}

/// Why waiting ended without a lease.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// There was no room before the deadline.
    #[error("there was no room before the deadline")]
    DeadlinePassed(#[source] Denial),
    /// Waiting does not help.
    #[error("the request can never be granted")]
    Never(#[source] Denial),
    /// The call has no answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl AcquireError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::DeadlinePassed(_) => ErrorKind::DeadlinePassed,
            Self::Never(denial) => denial.kind(),
            Self::Call(error) => error.kind(),
        }
    }
}
