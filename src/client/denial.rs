use std::time::Duration;

use super::{CallError, LimitKey};

/// Why nothing was granted. A denied attempt is over: the next one has a lease id of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// There is no room now.
    #[error("limit {key} has no room; come back in {retry_after:?}")]
    NoRoom {
        /// The limit.
        key: LimitKey,
        /// When to come back.
        retry_after: Duration,
    },
    /// The limit's capacity is being lowered, and it takes nothing until that is done.
    #[error("the capacity of limit {key} is being lowered; come back in {retry_after:?}")]
    Decreasing {
        /// The limit.
        key: LimitKey,
        /// When to come back.
        retry_after: Duration,
    },
    /// The amount is over the limit's capacity: it can never fit.
    #[error("the amount wanted of limit {key} is over its capacity")]
    ExceedsCapacity {
        /// The limit.
        key: LimitKey,
    },
    /// There is no such limit.
    #[error("there is no limit {key}")]
    UnknownKey {
        /// What was asked for.
        key: LimitKey,
    },
    /// A template would make the limit, but may make no more.
    #[error("limit {key} cannot be made: its template has made as many as it may")]
    TooManyInstances {
        /// What was asked for.
        key: LimitKey,
    },
}

impl Denial {
    /// The limit that denied.
    pub fn key(&self) -> &LimitKey {
        match self {
            Self::NoRoom { key, .. }
            | Self::Decreasing { key, .. }
            | Self::ExceedsCapacity { key }
            | Self::UnknownKey { key }
            | Self::TooManyInstances { key } => key,
        }
    }

    /// When to come back, `None` if no waiting helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoRoom { retry_after, .. } | Self::Decreasing { retry_after, .. } => Some(*retry_after),
            Self::ExceedsCapacity { .. } | Self::UnknownKey { .. } | Self::TooManyInstances { .. } => None,
        }
    }
}

/// Why there is no lease.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AcquireError {
    /// There was no room until the deadline.
    #[error("there was no room until the deadline")]
    DeadlinePassed(#[source] Denial),
    /// No waiting helps.
    #[error("it can never be granted")]
    Never(#[source] Denial),
    /// A call has no answer.
    #[error(transparent)]
    Call(#[from] CallError),
}
