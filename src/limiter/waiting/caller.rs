//! One request that waits for a lease.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::queue::WaiterId;
use super::waiters::{Answer, Waiting};
use crate::ledger::LedgerError;
use crate::limiter::LimiterError;

/// One request that waits for a lease. Dropped, it leaves; the lease stops to wait when its last caller has left.
pub(super) struct Caller {
    pub(super) waiting: Arc<Waiting>,
    pub(super) waiter: WaiterId,
    pub(super) number: u64,
    pub(super) answer: oneshot::Receiver<Answer>,
    pub(super) deadline: Instant,
}

impl Caller {
    /// Waits for the outcome. At the deadline it calls `end`, which must lead to an outcome.
    pub(super) async fn outcome(mut self, end: impl FnOnce(WaiterId)) -> Answer {
        let answer = tokio::select! {
            biased;
            answer = &mut self.answer => answer,
            () = tokio::time::sleep_until(self.deadline) => {
                end(self.waiter);
                (&mut self.answer).await
            }
        };
        // The runtime is stopping, and has dropped the task that would have told.
        answer.unwrap_or_else(|_| Err(LimiterError::Ledger(LedgerError::ShutDown)))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.waiting.leave(self.waiter, self.number);
    }
}
