use tokio::sync::oneshot;

use super::error::ScheduleError;
use super::job::{Job, JobNumber, UsedAmounts};
use crate::client::LeaseId;

/// What the handles and permits of a scheduler send to its worker.
pub(super) enum Message {
    /// A new job. The reply is the lease under which it runs.
    Submit { number: JobNumber, job: Job, reply: oneshot::Sender<Result<LeaseId, ScheduleError>> },
    /// The caller dropped the job. `used` is `None` if the job never ran.
    Dropped { job: JobNumber, used: Option<UsedAmounts> },
    /// Start no further job. `done` is told when no job and no lease is left.
    ShutDown { done: oneshot::Sender<()> },
}
