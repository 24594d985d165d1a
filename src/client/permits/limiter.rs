use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Permits;
use super::attendant::attend;
use super::error::PermitError;
use super::lease::{FailureReason, PermitLease};
use super::meter::{Answer, Meter, Told, is_full};
use super::options::PermitOptions;
use super::pause::Denied;
use super::queue::{Joined, Number};
use super::statistics::PermitStatistics;
use super::wanted::Wanted;
use crate::client::{InProcess, LimitKey};
use crate::ledger::Ledger;

/// Meters one limit in permits. Cloning it is cheap, and the clones are one: they share their queue and their counts.
///
/// Others may take of the same limit, here and elsewhere: the ledger decides. Of what they give back this limiter learns
/// when it asks again.
pub struct PermitLimiter<L: Ledger> {
    meter: Arc<Meter<L>>,
}

/// The place of one who waits. It is given back when this is dropped.
struct Place<'a, L: Ledger> {
    meter: &'a Meter<L>,
    number: Number,
    told: oneshot::Receiver<Told<L>>,
}

impl<L: Ledger> Clone for PermitLimiter<L> {
    fn clone(&self) -> Self {
        Self { meter: Arc::clone(&self.meter) }
    }
}

impl<L: Ledger> PermitLimiter<L> {
    /// Over a limiter in this process. The limit need not be defined yet.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, which it needs to give back leases that are dropped.
    pub fn new(home: Arc<InProcess<L>>, key: LimitKey, options: PermitOptions) -> Self {
        Self { meter: Arc::new(Meter::new(home, key, options)) }
    }

    /// Refills a bucket that is refilled by hand; false if the limit is no such bucket.
    pub async fn replenish(&self) -> Result<bool, PermitError> {
        drop(self.meter.open()?);
        self.meter.replenish().await
    }

    /// Shuts down, and waits until everything that is given back in the background is given back, or given up. Call this
    /// before the runtime ends.
    pub async fn shutdown(&self) {
        self.close();
        self.meter.attendants.close();
        self.meter.attendants.wait().await;
        self.meter.limiter.shutdown().await;
    }

    fn join(&self, wanted: Wanted, denied: Option<Denied>) -> Result<Place<'_, L>, FailureReason> {
        let (waiter, told) = oneshot::channel();
        let joined = self.meter.state().queue.join(wanted, denied, waiter);
        match joined {
            Joined::Waits { number, evicted, needs_attendant } => {
                for waiter in evicted {
                    // Whoever gave up is not counted.
                    waiter.send(Told::Failed(FailureReason::Evicted)).ok();
                }
                if needs_attendant {
                    self.meter.attendants.spawn_on(attend(Arc::clone(&self.meter)), &self.meter.runtime);
                }
                self.meter.changed.notify_one();
                Ok(Place { meter: &self.meter, number, told })
            }
            Joined::NoPlace => Err(FailureReason::QueueFull),
            Joined::ShutDown => Err(FailureReason::ShutDown),
        }
    }

    /// Hands out permits, and counts them.
    fn hand_out(&self, lease: PermitLease<L>) -> PermitLease<L> {
        self.meter.state().granted += 1;
        lease.handed_out()
    }

    /// A failed lease, counted.
    async fn fail(&self, wanted: Wanted, reason: FailureReason, denied: Option<Denied>) -> PermitLease<L> {
        let room_at = match (reason, denied) {
            (FailureReason::ShutDown, _) => None,
            (FailureReason::NoRoom | FailureReason::QueueFull | FailureReason::Evicted, Some(denied)) => {
                Some(denied.room_at())
            }
            (FailureReason::NoRoom | FailureReason::QueueFull | FailureReason::Evicted, None) => {
                self.room_behind_queue(wanted).await
            }
        };
        self.meter.state().failed += 1;
        let retry_after = room_at.map(|at| at.saturating_duration_since(Instant::now()));
        PermitLease::failed(reason, retry_after)
    }

    /// When there is room for a newcomer, as good as it is known.
    async fn room_behind_queue(&self, wanted: Wanted) -> Option<Instant> {
        let queued = self.meter.state().queue.permits();
        let free_at = self.meter.free_at(u128::from(queued) + u128::from(wanted.free_min())).await;
        free_at.or_else(|| self.meter.state().queue.room_at())
    }
}

impl<L: Ledger> Permits for PermitLimiter<L> {
    type Ledger = L;

    async fn attempt_acquire(&self, permits: u64) -> Result<PermitLease<L>, PermitError> {
        let wanted = self.meter.wanted(permits).await?;
        if !self.meter.open()?.queue.may_pass(wanted) {
            return Ok(self.fail(wanted, FailureReason::NoRoom, None).await);
        }
        match self.meter.ask(wanted).await? {
            Answer::Acquired(lease) => Ok(self.hand_out(lease)),
            Answer::Denied(denied) => Ok(self.fail(wanted, FailureReason::NoRoom, Some(denied)).await),
        }
    }

    async fn acquire(&self, permits: u64) -> Result<PermitLease<L>, PermitError> {
        let wanted = self.meter.wanted(permits).await?;
        let may_pass = self.meter.open()?.queue.may_pass(wanted);
        let denied = if may_pass {
            match self.meter.ask(wanted).await? {
                Answer::Acquired(lease) => return Ok(self.hand_out(lease)),
                Answer::Denied(denied) => Some(denied),
            }
        } else {
            None
        };
        let place = match self.join(wanted, denied) {
            Ok(place) => place,
            Err(reason) => return Ok(self.fail(wanted, reason, denied).await),
        };
        match place.told().await {
            Told::Acquired(lease) => Ok(self.hand_out(lease)),
            Told::Failed(reason) => Ok(self.fail(wanted, reason, None).await),
            Told::Error(error) => Err(error),
        }
    }

    async fn statistics(&self) -> Result<PermitStatistics, PermitError> {
        drop(self.meter.open()?);
        let available = self.meter.usage().await?.available;
        let state = self.meter.state();
        let (queued_permits, granted, failed) = (state.queue.permits(), state.granted, state.failed);
        Ok(PermitStatistics { available, queued_permits, granted, failed })
    }

    async fn idle_duration(&self) -> Result<Option<Duration>, PermitError> {
        drop(self.meter.open()?);
        if !is_full(&self.meter.usage().await?) {
            return Ok(None);
        }
        let now = Instant::now();
        let full_since = self.meter.state().returns.full_since(now);
        Ok(Some(now.saturating_duration_since(full_since)))
    }

    fn close(&self) {
        let waiters = self.meter.state().queue.shut_down();
        for waiter in waiters {
            // Whoever gave up is not counted.
            waiter.send(Told::Failed(FailureReason::ShutDown)).ok();
        }
        self.meter.changed.notify_one();
        self.meter.limiter.close();
    }
}

impl<L: Ledger> Place<'_, L> {
    async fn told(mut self) -> Told<L> {
        // The other end is in the queue, and told whatever happens; it is lost only with the runtime of the limiter.
        (&mut self.told).await.unwrap_or(Told::Error(PermitError::ShutDown))
    }
}

impl<L: Ledger> Drop for Place<'_, L> {
    fn drop(&mut self) {
        if self.meter.state().queue.take(self.number).is_some() {
            self.meter.changed.notify_one();
        }
    }
}
