use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stats::Stats;
use super::{CallError, Complete, Repeating, Reserve, ReserveOutcome, Transport};
use crate::telemetry::with_sources;

/// What a limiter, its clones and its leases have in common.
pub(super) struct Shared<T> {
    pub(super) calls: Repeating<T>,
    pub(super) stats: Stats,
    pub(super) closed: CancellationToken,
    pub(super) given_back: watch::Sender<GivenBack>,
    background: TaskTracker,
    /// Leases may be dropped on any thread.
    runtime: Handle,
}

/// Counts the completes that were carried out here, for those who wait for what they give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct GivenBack {
    /// All of them: each gives back the places of concurrency limits.
    pub(super) places: u64,
    /// Those that told what was used: each may give back some of every limit.
    pub(super) amounts: u64,
}

/// What must become of a lease even if nobody waits for it any more.
enum Task {
    /// A reserve whose outcome nobody has seen: it is repeated, and what turns out to be granted is given back.
    Resolve(Reserve),
    /// A complete that has not been answered.
    Complete(Complete),
}

/// A task with an owner. It is carried out in the background when the owner goes away, unless it was discharged: so
/// whatever is granted is completed, at whatever point a caller gives up.
pub(super) struct Duty<T: Transport> {
    shared: Arc<Shared<T>>,
    task: Option<Task>,
}

impl<T: Transport> Shared<T> {
    pub(super) fn new(calls: Repeating<T>) -> Self {
        Self {
            calls,
            stats: Stats::default(),
            closed: CancellationToken::new(),
            given_back: watch::Sender::default(),
            background: TaskTracker::new(),
            runtime: Handle::current(),
        }
    }

    /// Waits for everything that is done in the background.
    pub(super) async fn drain(&self) {
        self.background.close();
        self.background.wait().await;
    }

    async fn carry_out(&self, task: Task) -> Result<(), CallError> {
        let complete = match task {
            Task::Complete(complete) => complete,
            Task::Resolve(reserve) => match self.calls.reserve(&reserve).await? {
                ReserveOutcome::Granted { .. } => Complete::of_unused(&reserve),
                ReserveOutcome::NoRoom { .. }
                | ReserveOutcome::Decreasing { .. }
                | ReserveOutcome::ExceedsCapacity { .. }
                | ReserveOutcome::UnknownKey { .. }
                | ReserveOutcome::TooManyInstances { .. }
                | ReserveOutcome::LeaseConflict
                | ReserveOutcome::LeaseSettled => return Ok(()),
            },
        };
        self.complete(&complete).await
    }

    /// Settles a lease, and tells those who wait for what it gives back.
    pub(super) async fn complete(&self, complete: &Complete) -> Result<(), CallError> {
        self.calls.complete(complete).await?;
        self.gave_back(!complete.actuals().is_empty());
        Ok(())
    }

    /// Tells those who wait that something was given back.
    pub(super) fn gave_back(&self, amounts: bool) {
        self.given_back.send_modify(|given_back| {
            given_back.places += 1;
            given_back.amounts += u64::from(amounts);
        });
    }
}

impl<T: Transport> Duty<T> {
    /// To find out what became of a reserve that is about to be sent.
    pub(super) fn to_resolve(shared: &Arc<Shared<T>>, reserve: Reserve) -> Self {
        Self { shared: Arc::clone(shared), task: Some(Task::Resolve(reserve)) }
    }

    /// To complete instead.
    pub(super) fn turn_to(&mut self, complete: Complete) {
        self.task = Some(Task::Complete(complete));
    }

    /// Nothing is left to do.
    pub(super) fn discharge(&mut self) {
        self.task = None;
    }

    pub(super) fn shared(&self) -> &Arc<Shared<T>> {
        &self.shared
    }
}

impl<T: Transport> Drop for Duty<T> {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        let shared = Arc::clone(&self.shared);
        let done = async move {
            if let Err(error) = shared.carry_out(task).await {
                // What was reserved stays so until it expires.
                tracing::warn!(error = with_sources(&error), "a lease could not be given back");
            }
        };
        // Never blocks. Where the runtime is gone already, nothing is done: what was reserved expires.
        self.shared.background.spawn_on(done, &self.shared.runtime);
    }
}
