use crate::client::CallError;
use crate::limit::LimitKey;

/// Why a job was not run, or not to its end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ScheduleError {
    /// As many jobs wait as may.
    #[error("the queue is full")]
    QueueFull,
    /// The scheduler was shut down before the job could start.
    #[error("the scheduler is shut down")]
    ShutDown,
    /// The job wants more of a limit than there can ever be.
    #[error("the job wants more than the whole capacity of {key}")]
    ExceedsCapacity {
        /// The limit.
        key: LimitKey,
    },
    /// There is no such limit.
    #[error("there is no limit {key}")]
    UnknownKey {
        /// What the job named.
        key: LimitKey,
    },
    /// The lease id of an attempt, fresh as it was, is taken.
    #[error("the lease id is taken")]
    LeaseConflict,
    /// The limiter refused to answer, or did not answer for too long.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The job panicked.
    #[error("the job panicked: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
}
