//! The task that asks the ledger for one waiter after another, in the order that the queue decides.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::error::PermitError;
use super::home::PermitHome;
use super::queue::{NextStep, WaiterId};
use super::shared::{Attempt, Reply, Shared};

/// Asks the ledger for one waiter at a time. It ends when nobody waits.
pub(super) struct QueueWorker<T: PermitHome> {
    shared: Arc<Shared<T>>,
}

impl<T: PermitHome> QueueWorker<T> {
    /// Starts a worker for a queue that has none.
    pub(super) fn start(shared: &Arc<Shared<T>>) {
        let worker = Self { shared: Arc::clone(shared) };
        shared.workers.spawn_on(worker.run(), &shared.runtime);
    }

    async fn run(self) {
        let mut released = self.shared.source.watch_releases();
        loop {
            let releases = self.shared.source.releases();
            let step = self.shared.state().queue.next_step(Instant::now(), releases);
            match step {
                NextStep::Ask { id, count } => {
                    let attempt = self.shared.attempt(count).await;
                    self.reply(id, attempt).await;
                }
                NextStep::WaitUntil(moment) => tokio::select! {
                    () = sleep_until(moment) => {}
                    () = self.shared.queue_changed.notified() => {}
                    // It never fails: `shared` owns the sender.
                    _ = released.changed() => {}
                },
                NextStep::End => return,
            }
        }
    }

    /// Replies to a waiter, or lets it wait on after a denial.
    async fn reply(&self, id: WaiterId, attempt: Result<Attempt, PermitError>) {
        let reply = match attempt {
            Ok(Attempt::Denied(denied)) => return self.shared.state().queue.back_off(id, denied),
            Ok(Attempt::Acquired(lease)) => Reply::Acquired(lease),
            Err(error) => Reply::Error(error),
        };
        let waiter = self.shared.state().queue.remove(id);
        let undelivered = match waiter {
            Some(waiter) => waiter.send(reply).err(),
            None => Some(reply),
        };
        if let Some(Reply::Acquired(lease)) = undelivered {
            // Awaited, so that the next waiter finds the permits. A cancel that fails is repeated in the background.
            lease.cancel().await.ok();
        }
    }
}
