//! What the clones of a limiter and its queue worker share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

use super::backoff::DeniedAttempt;
use super::count::PermitCount;
use super::error::PermitError;
use super::home::PermitHome;
use super::lease::{FailureReason, PermitLease};
use super::options::PermitOptions;
use super::queue::Queue;
use super::source::{LedgerAnswer, PermitSource};
use crate::client::LimitKey;

/// The source, the queue and the counters of a limiter.
pub(super) struct Shared<T: PermitHome> {
    pub(super) source: Arc<PermitSource<T>>,
    state: Mutex<State>,
    /// Wakes the worker when the queue has changed.
    pub(super) queue_changed: Notify,
    pub(super) workers: TaskTracker,
    /// Runs the workers: the runtime of a waiter may end before another waiter is served.
    pub(super) runtime: Handle,
}

/// What the lock guards. It is never held across an await point.
pub(super) struct State {
    pub(super) queue: Queue<oneshot::Sender<Reply>>,
    /// The leases that were handed out.
    pub(super) granted: u64,
    /// The leases that failed.
    pub(super) failed: u64,
}

/// The reply to a waiter.
pub(super) enum Reply {
    /// Its permits, not handed out yet.
    Acquired(PermitLease),
    Failed(FailureReason),
    Error(PermitError),
}

/// The result of one attempt.
pub(super) enum Attempt {
    /// The permits, not handed out yet.
    Acquired(PermitLease),
    Denied(DeniedAttempt),
}

impl<T: PermitHome> Shared<T> {
    pub(super) fn new(home: Arc<T>, key: LimitKey, options: PermitOptions) -> Self {
        Self {
            source: Arc::new(PermitSource::new(home, key)),
            state: Mutex::new(State { queue: Queue::new(options), granted: 0, failed: 0 }),
            queue_changed: Notify::new(),
            workers: TaskTracker::new(),
            runtime: Handle::current(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No change panics halfway, so a poisoned lock guards a consistent state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, or [`PermitError::ShutDown`].
    pub(super) fn open_state(&self) -> Result<MutexGuard<'_, State>, PermitError> {
        let state = self.state();
        if state.queue.is_shut_down() { Err(PermitError::ShutDown) } else { Ok(state) }
    }

    /// Asks the ledger once.
    pub(super) async fn attempt(&self, count: PermitCount) -> Result<Attempt, PermitError> {
        match self.source.attempt(count).await? {
            LedgerAnswer::Granted(held) => Ok(Attempt::Acquired(PermitLease::unused(count.get(), held))),
            LedgerAnswer::Denied(denied) => Ok(Attempt::Denied(denied)),
        }
    }
}
