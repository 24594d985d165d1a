//! One request that waits for a lease.

use std::sync::Arc;

use super::queue::WaiterId;
use super::waiter::{Answer, Seat};
use super::waiters::Waiting;
use crate::ledger::LedgerError;
use crate::limiter::LimiterError;

/// One request that waits for a lease. Dropped, it leaves; the lease stops to wait when its last caller has left.
pub(super) struct Caller {
    waiting: Arc<Waiting>,
    seat: Seat,
}

impl Caller {
    pub(super) fn new(waiting: &Arc<Waiting>, seat: Seat) -> Self {
        Self { waiting: Arc::clone(waiting), seat }
    }

    /// Waits for the turn of an extend, at most until the deadline.
    pub(super) async fn turn(&mut self) {
        let Seat { deadline, ref mut answer, .. } = self.seat;
        tokio::select! {
            biased;
            // The channel is closed when the turn has come.
            _ = answer => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    }

    /// Waits for the outcome. At the deadline it calls `end`, which must lead to an outcome.
    pub(super) async fn outcome(mut self, end: impl FnOnce(WaiterId)) -> Answer {
        let Seat { waiter, deadline, ref mut answer, .. } = self.seat;
        let told = tokio::select! {
            biased;
            told = &mut *answer => told,
            () = tokio::time::sleep_until(deadline) => {
                end(waiter);
                answer.await
            }
        };
        // The runtime is stopping, and has dropped the task that would have told.
        told.unwrap_or_else(|_| Err(LimiterError::Ledger(LedgerError::ShutDown)))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.waiting.leave(self.seat.waiter, self.seat.number);
    }
}
