//! Why a job failed.

use crate::client::{CallError, Denial, ErrorKind};

/// Why a job did not run, or did not run to its end.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The scheduler or the queue of the job has its maximum of waiting jobs.
    #[error("the queue is full; try again later or raise jobs_max or queue_jobs_max")]
    QueueFull,
    /// The scheduler was shut down before the job started.
    #[error("the scheduler is shut down")]
    ShutDown,
    /// Waiting does not help.
    #[error("the job can never be granted a lease")]
    Never(#[source] Denial),
    /// The limiter refused the call, or its outcome stayed unknown for too long.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The job panicked.
    #[error("the job panicked: {message}")]
    Panicked {
        /// The message of the panic.
        message: String,
    },
}

impl ScheduleError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::QueueFull => ErrorKind::QueueFull,
            Self::ShutDown => ErrorKind::Closed,
            Self::Never(denial) => denial.kind(),
            Self::Call(error) => error.kind(),
            Self::Panicked { .. } => ErrorKind::Panicked,
        }
    }
}
