//! The limiter of one limit: asks the ledger, and queues callers that find no room.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::backoff::DeniedAttempt;
use super::count::PermitCount;
use super::error::PermitError;
use super::home::PermitHome;
use super::interface::{PermitFuture, Permits};
use super::kind::FreedBy;
use super::lease::{FailureReason, PermitLease};
use super::options::PermitOptions;
use super::queue::{EnqueueResult, WaiterId};
use super::shared::{Attempt, Reply, Shared};
use super::statistics::PermitStatistics;
use super::worker::QueueWorker;
use crate::client::{CallError, IntoLimitKey};

/// Hands out the permits of one limit.
///
/// Cloning it is cheap. All clones share their queue and their counters.
///
/// Other limiters may take permits of the same limit, here and in other processes: the ledger decides. This limiter
/// learns of their releases only when it asks the ledger again.
///
/// Over [`Http`](crate::client::Http), acquiring and releasing need the scope of callers. Statistics, idle time, calls for 0
/// permits and the time-outs of leases need the scope of operators who read, because the service tells them with the
/// definition. The limiter reads a definition once, and again with each of these calls.
pub struct PermitLimiter<T: PermitHome> {
    shared: Arc<Shared<T>>,
}

/// The position of a waiter in the queue. Dropping it leaves the queue.
struct QueuePosition<'a, T: PermitHome> {
    shared: &'a Shared<T>,
    id: WaiterId,
    reply: oneshot::Receiver<Reply>,
}

impl<T: PermitHome> Clone for PermitLimiter<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: PermitHome> PermitLimiter<T> {
    /// A limiter over a limit of `home`. The limit may be defined later.
    ///
    /// # Errors
    ///
    /// A key that is malformed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime: it releases dropped leases in the background.
    pub fn new(home: Arc<T>, key: impl IntoLimitKey, options: PermitOptions) -> Result<Self, CallError> {
        Ok(Self { shared: Arc::new(Shared::new(home, key.into_limit_key()?, options)) })
    }

    /// Refills a limit that is refilled manually: adds the tokens of a refill to a bucket, or ends the present window or segment of
    /// a window whose length has passed. Returns false if time refills the limit, and true also if there was nothing to refill.
    ///
    /// # Errors
    ///
    /// As every call of [`Permits`].
    pub async fn replenish(&self) -> Result<bool, PermitError> {
        drop(self.shared.open_state()?);
        self.shared.source.replenish().await
    }

    /// How long after a refill of the limit time makes the next one; `None` if time makes none.
    ///
    /// # Errors
    ///
    /// As every call of [`Permits`].
    pub async fn refill_period(&self) -> Result<Option<Duration>, PermitError> {
        drop(self.shared.open_state()?);
        Ok(self.shared.source.read().await?.0.refill_period())
    }

    /// Whether granted permits are free again without a release or a [`replenish`](Self::replenish).
    ///
    /// # Errors
    ///
    /// As every call of [`Permits`].
    pub async fn is_auto_replenishing(&self) -> Result<bool, PermitError> {
        drop(self.shared.open_state()?);
        let (limit, _) = self.shared.source.read().await?;
        Ok(matches!(FreedBy::of(limit.kind), FreedBy::Expiry | FreedBy::Refill))
    }

    fn enqueue(
        &self,
        count: PermitCount,
        denied: Option<DeniedAttempt>,
    ) -> Result<QueuePosition<'_, T>, FailureReason> {
        let (sender, reply) = oneshot::channel();
        let result = self.shared.state().queue.enqueue(count, denied, sender);
        match result {
            EnqueueResult::Queued { id, evicted, needs_worker } => {
                for waiter in evicted {
                    // It fails if the waiter was cancelled, which is not counted.
                    waiter.send(Reply::Failed(FailureReason::Evicted)).ok();
                }
                if needs_worker {
                    QueueWorker::start(&self.shared);
                }
                self.shared.queue_changed.notify_one();
                Ok(QueuePosition { shared: &self.shared, id, reply })
            }
            EnqueueResult::Full => Err(FailureReason::QueueFull),
            EnqueueResult::ShutDown => Err(FailureReason::ShutDown),
        }
    }

    /// Hands a lease out to its caller, and counts it.
    fn hand_out(&self, lease: PermitLease) -> PermitLease {
        self.shared.state().granted += 1;
        lease.handed_out()
    }

    /// A failed lease, counted.
    async fn fail(
        &self,
        count: PermitCount,
        reason: FailureReason,
        denied: Option<DeniedAttempt>,
    ) -> PermitLease {
        let room_at = match (reason, denied) {
            (FailureReason::ShutDown | FailureReason::TimedOut, _) => None,
            (FailureReason::NoRoom | FailureReason::QueueFull | FailureReason::Evicted, Some(denied)) => {
                Some(denied.room_at())
            }
            (FailureReason::NoRoom | FailureReason::QueueFull | FailureReason::Evicted, None) => {
                self.room_behind_queue(count).await
            }
        };
        self.shared.state().failed += 1;
        let retry_after = room_at.map(|at| at.saturating_duration_since(Instant::now()));
        PermitLease::failed(reason, retry_after)
    }

    /// When room for a caller behind all waiters is expected; `None` if that is unknown.
    async fn room_behind_queue(&self, count: PermitCount) -> Option<Instant> {
        let queued = self.shared.state().queue.queued_permits();
        let permits = u128::from(queued) + u128::from(count.free_min());
        let free_at = self.shared.source.free_at(permits).await;
        free_at.or_else(|| self.shared.state().queue.room_at())
    }

    async fn permit_count(&self, permits: u64) -> Result<PermitCount, PermitError> {
        drop(self.shared.open_state()?);
        self.shared.source.permit_count(permits).await
    }
}

/// The calls of [`Permits`].
impl<T: PermitHome> PermitLimiter<T> {
    async fn attempt_now(&self, permits: u64) -> Result<PermitLease, PermitError> {
        let count = self.permit_count(permits).await?;
        if !self.shared.open_state()?.queue.may_bypass(count) {
            return Ok(self.fail(count, FailureReason::NoRoom, None).await);
        }
        match self.shared.attempt(count).await? {
            Attempt::Acquired(lease) => Ok(self.hand_out(lease)),
            Attempt::Denied(denied) => Ok(self.fail(count, FailureReason::NoRoom, Some(denied)).await),
        }
    }

    async fn acquire_in_turn(&self, permits: u64) -> Result<PermitLease, PermitError> {
        let count = self.permit_count(permits).await?;
        let may_bypass = self.shared.open_state()?.queue.may_bypass(count);
        let denied = if may_bypass {
            match self.shared.attempt(count).await? {
                Attempt::Acquired(lease) => return Ok(self.hand_out(lease)),
                Attempt::Denied(denied) => Some(denied),
            }
        } else {
            None
        };
        let position = match self.enqueue(count, denied) {
            Ok(position) => position,
            Err(reason) => return Ok(self.fail(count, reason, denied).await),
        };
        match position.reply().await {
            Reply::Acquired(lease) => Ok(self.hand_out(lease)),
            Reply::Failed(reason) => Ok(self.fail(count, reason, None).await),
            Reply::Error(error) => Err(error),
        }
    }

    async fn read_statistics(&self) -> Result<PermitStatistics, PermitError> {
        drop(self.shared.open_state()?);
        let available = self.shared.source.available().await?;
        let state = self.shared.state();
        let (queued_permits, granted, failed) = (state.queue.queued_permits(), state.granted, state.failed);
        Ok(PermitStatistics { available, queued_permits, granted, failed })
    }

    async fn read_idle_duration(&self) -> Result<Option<Duration>, PermitError> {
        drop(self.shared.open_state()?);
        let full_since = self.shared.source.full_since().await?;
        Ok(full_since.map(|since| Instant::now().saturating_duration_since(since)))
    }
}

impl<T: PermitHome> Permits for PermitLimiter<T> {
    fn attempt_acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease> {
        Box::pin(self.attempt_now(permits))
    }

    fn acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease> {
        Box::pin(self.acquire_in_turn(permits))
    }

    fn statistics(&self) -> PermitFuture<'_, PermitStatistics> {
        Box::pin(self.read_statistics())
    }

    fn idle_duration(&self) -> PermitFuture<'_, Option<Duration>> {
        Box::pin(self.read_idle_duration())
    }

    fn close(&self) {
        let waiters = self.shared.state().queue.shut_down();
        for waiter in waiters {
            // It fails if the waiter was cancelled, which is not counted.
            waiter.send(Reply::Failed(FailureReason::ShutDown)).ok();
        }
        self.shared.queue_changed.notify_one();
        self.shared.source.close();
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.close();
            self.shared.workers.close();
            self.shared.workers.wait().await;
            self.shared.source.shutdown().await;
        })
    }
}

impl<T: PermitHome> QueuePosition<'_, T> {
    /// Waits for the reply.
    async fn reply(mut self) -> Reply {
        // The queue replies to every waiter. The sender is lost only if the limiter's runtime ends.
        (&mut self.reply).await.unwrap_or(Reply::Error(PermitError::ShutDown))
    }
}

impl<T: PermitHome> Drop for QueuePosition<'_, T> {
    fn drop(&mut self) {
        if self.shared.state().queue.remove(self.id).is_some() {
            self.shared.queue_changed.notify_one();
        }
    }
}
