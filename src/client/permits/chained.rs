//! Several limiters as one.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::error::PermitError;
use super::interface::{PermitFuture, Permits};
use super::lease::PermitLease;
use super::statistics::PermitStatistics;

/// Several limiters as one: a call acquires permits of each of them, in order, or of none.
///
/// If a limiter fails, the permits of the limiters before it are all freed, in reverse order.
///
/// Closing a chain leaves its limiters open: others may use them.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use ledger_limiter::client::permits::{ChainedLimiter, PermitLimiter, Permits};
/// # use ledger_limiter::client::{Http, InProcess};
/// # async fn example(slots: PermitLimiter<InProcess>, budget: PermitLimiter<Http>) -> Result<(), Box<dyn std::error::Error>> {
/// let both = ChainedLimiter::new(slots, []).then(budget);
/// let lease = both.acquire(1).await?;
/// # Ok(())
/// # }
/// ```
pub struct ChainedLimiter {
    first: Arc<dyn Permits>,
    rest: Vec<Arc<dyn Permits>>,
    is_closed: AtomicBool,
}

/// The call that a chain makes of each of its limiters.
#[derive(Clone, Copy)]
enum Call {
    AttemptAcquire,
    Acquire,
}

impl ChainedLimiter {
    /// A chain of these limiters, in this order.
    pub fn new<P: Permits>(first: P, rest: impl IntoIterator<Item = P>) -> Self {
        let link = |limiter| Arc::new(limiter) as _;
        let rest = rest.into_iter().map(link).collect();
        Self { first: Arc::new(first), rest, is_closed: AtomicBool::new(false) }
    }

    /// Adds a limiter of any type behind the others.
    #[must_use]
    pub fn then(mut self, limiter: impl Permits) -> Self {
        self.rest.push(Arc::new(limiter));
        self
    }

    fn limiters(&self) -> impl Iterator<Item = &Arc<dyn Permits>> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    fn check_open(&self) -> Result<(), PermitError> {
        if self.is_closed.load(Ordering::Acquire) { Err(PermitError::ShutDown) } else { Ok(()) }
    }

    async fn acquire_of_each(&self, call: Call, permits: u64) -> Result<PermitLease, PermitError> {
        self.check_open()?;
        // Dropped halfway, it frees what it holds so far.
        let mut acquired = PermitLease::unused(permits, None);
        for limiter in self.limiters() {
            let result = match call {
                Call::AttemptAcquire => limiter.attempt_acquire(permits).await,
                Call::Acquire => limiter.acquire(permits).await,
            };
            match result {
                Ok(lease) if lease.is_acquired() => acquired.absorb(lease),
                not_acquired @ (Ok(_) | Err(_)) => {
                    // A cancel that fails is repeated in the background.
                    acquired.cancel().await.ok();
                    return not_acquired;
                }
            }
        }
        Ok(acquired.handed_out())
    }
}

impl Permits for ChainedLimiter {
    fn attempt_acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease> {
        Box::pin(self.acquire_of_each(Call::AttemptAcquire, permits))
    }

    fn acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease> {
        Box::pin(self.acquire_of_each(Call::Acquire, permits))
    }

    /// The fewest available permits, the sums of queued permits and failed leases, and the granted leases of the last
    /// limiter.
    fn statistics(&self) -> PermitFuture<'_, PermitStatistics> {
        Box::pin(async {
            self.check_open()?;
            let mut all = self.first.statistics().await?;
            for limiter in &self.rest {
                let one = limiter.statistics().await?;
                all.available = all.available.min(one.available);
                all.queued_permits = all.queued_permits.saturating_add(one.queued_permits);
                all.failed += one.failed;
                all.granted = one.granted;
            }
            Ok(all)
        })
    }

    /// The shortest idle duration; `None` if any limiter is in use.
    fn idle_duration(&self) -> PermitFuture<'_, Option<Duration>> {
        Box::pin(async {
            self.check_open()?;
            let mut shortest = Duration::MAX;
            for limiter in self.limiters() {
                match limiter.idle_duration().await? {
                    Some(idle) => shortest = shortest.min(idle),
                    None => return Ok(None),
                }
            }
            Ok(Some(shortest))
        })
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Closes the chain. Its limiters stay open, and shut down by themselves.
    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.close();
        Box::pin(ready(()))
    }
}
