use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::driver::Message;
use super::queues::QueueKey;
use super::state::JobNumber;
use crate::client::{LeaseId, LimitKey, Requirements};

/// What is to be run when there is room for it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Where it waits.
    pub queue: QueueKey,
    /// What it needs, all of it.
    pub wants: Requirements,
}

impl Job {
    pub(super) fn keys(&self) -> impl Iterator<Item = &LimitKey> {
        self.wants.list().iter().map(|requirement| &requirement.key)
    }
}

/// How much a job has used of its limits.
pub(super) type Used = BTreeMap<LimitKey, u64>;

/// The place of a job in its scheduler. The scheduler hears when it is dropped, whichever way.
pub(super) struct Place {
    job: JobNumber,
    scheduler: mpsc::UnboundedSender<Message>,
    /// From the start of the job on.
    used: Option<Used>,
}

impl Place {
    pub(super) fn new(job: JobNumber, scheduler: mpsc::UnboundedSender<Message>) -> Self {
        Self { job, scheduler, used: None }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A scheduler that is gone has nothing to settle with.
        self.scheduler.send(Message::Left { job: self.job, used: self.used.take() }).ok();
    }
}

/// The right of a job to run. The lease is completed in the background when this is dropped, also by a job that fails,
/// panics or is cancelled; with what was said to be used until then.
pub struct Permit {
    lease: LeaseId,
    keys: Vec<LimitKey>,
    place: Mutex<Place>,
}

/// A limit of which the job reserved nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing of {key} is reserved")]
pub struct NotReserved {
    /// Its name.
    pub key: LimitKey,
}

impl Permit {
    pub(super) fn new(job: &Job, lease: LeaseId, mut place: Place) -> Self {
        place.used = Some(Used::new());
        Self { lease, keys: job.keys().cloned().collect(), place: Mutex::new(place) }
    }

    /// The lease that the job runs under.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Says how much of a limit the job has used in all. What it says last counts; what it says nothing of keeps its
    /// reservation, if it is a rolling one.
    pub fn used(&self, key: &LimitKey, amount: u64) -> Result<(), NotReserved> {
        if !self.keys.contains(key) {
            return Err(NotReserved { key: key.clone() });
        }
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.used.get_or_insert_default().insert(key.clone(), amount);
        Ok(())
    }
}
