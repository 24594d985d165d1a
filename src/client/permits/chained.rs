//! Several limiters as one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::PermitError;
use super::interface::Permits;
use super::lease::PermitLease;
use super::statistics::PermitStatistics;

/// Several limiters as one: a call acquires permits of each of them, in order, or of none.
///
/// If a limiter fails, the permits of the limiters before it are all freed, in reverse order.
///
/// Closing a chain leaves its limiters open: others may use them.
pub struct ChainedLimiter<P> {
    first: P,
    rest: Vec<P>,
    is_closed: AtomicBool,
}

/// The call that a chain makes of each of its limiters.
#[derive(Clone, Copy)]
enum Call {
    AttemptAcquire,
    Acquire,
}

impl<P: Permits> ChainedLimiter<P> {
    /// A chain of these limiters, in this order.
    pub fn new(first: P, rest: impl IntoIterator<Item = P>) -> Self {
        Self { first, rest: rest.into_iter().collect(), is_closed: AtomicBool::new(false) }
    }

    fn limiters(&self) -> impl Iterator<Item = &P> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    fn check_open(&self) -> Result<(), PermitError> {
        if self.is_closed.load(Ordering::Acquire) { Err(PermitError::ShutDown) } else { Ok(()) }
    }

    async fn acquire_of_each(&self, call: Call, permits: u64) -> Result<PermitLease<P::Ledger>, PermitError> {
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

impl<P: Permits> Permits for ChainedLimiter<P> {
    type Ledger = P::Ledger;

    async fn attempt_acquire(&self, permits: u64) -> Result<PermitLease<P::Ledger>, PermitError> {
        self.acquire_of_each(Call::AttemptAcquire, permits).await
    }

    async fn acquire(&self, permits: u64) -> Result<PermitLease<P::Ledger>, PermitError> {
        self.acquire_of_each(Call::Acquire, permits).await
    }

    /// The fewest available permits, the sums of queued permits and failed leases, and the granted leases of the last
    /// limiter.
    async fn statistics(&self) -> Result<PermitStatistics, PermitError> {
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
    }

    /// The shortest idle duration; `None` if any limiter is in use.
    async fn idle_duration(&self) -> Result<Option<Duration>, PermitError> {
        self.check_open()?;
        let mut shortest = Duration::MAX;
        for limiter in self.limiters() {
            match limiter.idle_duration().await? {
                Some(idle) => shortest = shortest.min(idle),
                None => return Ok(None),
            }
        }
        Ok(Some(shortest))
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }
}
