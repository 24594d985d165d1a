//! The guards of a job: one from its submission on, and the permit while it runs.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::job::{Job, JobNumber, UsedAmounts};
use super::message::Message;
use crate::client::{LeaseId, LimitKey};

/// Tells the worker when its job is dropped, at whatever point.
pub(super) struct JobGuard {
    job: JobNumber,
    worker: mpsc::UnboundedSender<Message>,
    /// `None` until the job starts.
    used: Option<UsedAmounts>,
}

impl JobGuard {
    pub(super) fn new(job: JobNumber, worker: mpsc::UnboundedSender<Message>) -> Self {
        Self { job, worker, used: None }
    }
}

impl Drop for JobGuard {
    fn drop(&mut self) {
        // It fails if the worker has ended, which then has no lease to complete.
        self.worker.send(Message::Dropped { job: self.job, used: self.used.take() }).ok();
    }
}

/// The right of a job to run.
///
/// Dropping it completes the lease in the background, with the amounts that [`used`](Self::used) recorded. That also
/// happens when the job fails, panics or is cancelled.
pub struct Permit {
    lease: LeaseId,
    keys: Vec<LimitKey>,
    guard: Mutex<JobGuard>,
}

/// The job has no reservation of this limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the job has no reservation of limit {key}; name one of its requirements")]
#[non_exhaustive]
pub struct NotReserved {
    /// The key given.
    pub key: String,
}

impl Permit {
    pub(super) fn new(job: &Job, lease: LeaseId, mut guard: JobGuard) -> Self {
        guard.used = Some(UsedAmounts::new());
        Self { lease, keys: job.keys().cloned().collect(), guard: Mutex::new(guard) }
    }

    /// The lease under which the job runs.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Records the total amount that the job has used of a limit. The last call for a limit counts.
    ///
    /// A limit without an amount keeps its reservation until it expires. Slots of concurrency limits are released with
    /// or without an amount.
    ///
    /// # Errors
    ///
    /// [`NotReserved`] if the key is not one of the job's requirements.
    pub fn used(&self, key: impl AsRef<str>, amount: u64) -> Result<(), NotReserved> {
        let key = key.as_ref();
        let Some(key) = self.keys.iter().find(|reserved| reserved.as_str() == key) else {
            return Err(NotReserved { key: key.to_owned() });
        };
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        guard.used.get_or_insert_default().insert(key.clone(), amount);
        Ok(())
    }
}
