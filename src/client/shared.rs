//! What a limiter, its clones and its leases share, and the guard that completes a lease when its caller gives up.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stats::Stats;
use super::turns::Turns;
use super::{AttemptResult, CallError, Complete, Repeating, Reserve, Transport};
use crate::telemetry::{Occurrences, with_sources};

static FAILED_COMPLETES: Occurrences = Occurrences::new();

/// The state of a limiter and all its clones.
pub(super) struct Shared<T> {
    pub(super) calls: Repeating<T>,
    pub(super) stats: Stats,
    pub(super) closed: CancellationToken,
    pub(super) turns: Turns,
    pub(super) releases: watch::Sender<Releases>,
    background: TaskTracker,
    /// Runs the background completes: a lease may be dropped on a thread without a runtime.
    runtime: Handle,
}

/// Counts the completes that succeeded here, for waiters that want to know when room is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Releases {
    /// All of them: each releases the slots of concurrency limits.
    pub(super) completes: u64,
    /// Those with amounts: each may release some of every limit.
    pub(super) completes_with_amounts: u64,
}

/// What still has to be done for a lease.
enum Task {
    /// The outcome of a reserve is unknown: repeat the reserve, and cancel the lease if it is granted.
    Resolve(Reserve),
    /// A complete has no answer yet.
    Complete(Complete),
}

/// Makes sure that every granted lease is completed, wherever its caller gives up.
///
/// Dropping the guard carries out its task in the background, unless it is disarmed.
pub(super) struct CompletionGuard<T: Transport> {
    shared: Arc<Shared<T>>,
    task: Option<Task>,
}

impl<T: Transport> Shared<T> {
    pub(super) fn new(calls: Repeating<T>) -> Self {
        Self {
            calls,
            stats: Stats::default(),
            closed: CancellationToken::new(),
            turns: Turns::default(),
            releases: watch::Sender::default(),
            background: TaskTracker::new(),
            runtime: Handle::current(),
        }
    }

    /// Waits until no task runs in the background.
    pub(super) async fn drain(&self) {
        self.background.close();
        self.background.wait().await;
    }

    async fn carry_out(&self, task: Task) -> Result<(), CallError> {
        let complete = match task {
            Task::Complete(complete) => complete,
            Task::Resolve(reserve) => match self.calls.reserve(&reserve).await? {
                // A complete also releases what is left of a lease whose first part has expired.
                AttemptResult::Granted { .. } | AttemptResult::LeaseExpired => Complete::of_unused(&reserve),
                AttemptResult::Denied(_) | AttemptResult::LeaseConflict | AttemptResult::LeaseSettled => {
                    return Ok(());
                }
            },
        };
        self.complete(&complete).await
    }

    /// Settles a lease and wakes the waiters for its room.
    pub(super) async fn complete(&self, complete: &Complete) -> Result<(), CallError> {
        self.calls.complete(complete).await?;
        self.count_release(!complete.actuals().is_empty());
        Ok(())
    }

    /// Wakes the waiters, because room was released.
    pub(super) fn count_release(&self, with_amounts: bool) {
        self.releases.send_modify(|releases| {
            releases.completes += 1;
            releases.completes_with_amounts += u64::from(with_amounts);
        });
    }
}

impl<T: Transport> CompletionGuard<T> {
    /// A guard for a reserve that is about to be sent. Its task is to find out the outcome.
    pub(super) fn for_reserve(shared: &Arc<Shared<T>>, reserve: Reserve) -> Self {
        Self { shared: Arc::clone(shared), task: Some(Task::Resolve(reserve)) }
    }

    /// Replaces the task by this complete.
    pub(super) fn set_complete(&mut self, complete: Complete) {
        self.task = Some(Task::Complete(complete));
    }

    /// Nothing is left to do.
    pub(super) fn disarm(&mut self) {
        self.task = None;
    }

    pub(super) fn shared(&self) -> &Arc<Shared<T>> {
        &self.shared
    }
}

impl<T: Transport> Drop for CompletionGuard<T> {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        let shared = Arc::clone(&self.shared);
        let done = async move {
            if let Err(error) = shared.carry_out(task).await
                && let Some(times) = FAILED_COMPLETES.count()
            {
                tracing::warn!(
                    times,
                    error = with_sources(&error),
                    "a lease could not be completed in the background; what it reserved expires by itself"
                );
            }
        };
        // Spawning never blocks. On a runtime that has ended the task never runs, and the reservation expires.
        self.shared.background.spawn_on(done, &self.shared.runtime);
    }
}
