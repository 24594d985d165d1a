use crate::client::{CallError, Denial};

/// Why a job was not run, or not to its end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ScheduleError {
    /// As many jobs wait as may.
    #[error("the queue is full")]
    QueueFull,
    /// The scheduler was shut down before the job could start.
    #[error("the scheduler is shut down")]
    ShutDown,
    /// No waiting helps.
    #[error("it can never be granted")]
    Never(#[source] Denial),
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
