use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Permits;
use super::error::PermitError;
use super::lease::PermitLease;
use super::statistics::PermitStatistics;

/// Several limiters as one: permits are acquired of each in order, or of none. If one fails, what was acquired of those
/// before it is given back in reverse order, whatever its kind.
///
/// Closing it closes none of the limiters, which others may use.
pub struct ChainedLimiter<P> {
    first: P,
    rest: Vec<P>,
    is_closed: AtomicBool,
}

/// How each of the limiters is asked.
#[derive(Clone, Copy)]
enum Way {
    Attempt,
    Queue,
}

impl<P: Permits> ChainedLimiter<P> {
    /// In this order.
    pub fn new(first: P, rest: impl IntoIterator<Item = P>) -> Self {
        Self { first, rest: rest.into_iter().collect(), is_closed: AtomicBool::new(false) }
    }

    fn limiters(&self) -> impl Iterator<Item = &P> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    fn check_open(&self) -> Result<(), PermitError> {
        if self.is_closed.load(Ordering::Acquire) { Err(PermitError::ShutDown) } else { Ok(()) }
    }

    async fn of_each(&self, way: Way, permits: u64) -> Result<PermitLease<P::Ledger>, PermitError> {
        self.check_open()?;
        // Given up on the way, it gives back what it holds so far.
        let mut so_far = PermitLease::unused(permits, None);
        for limiter in self.limiters() {
            let asked = match way {
                Way::Attempt => limiter.attempt_acquire(permits).await,
                Way::Queue => limiter.acquire(permits).await,
            };
            match asked {
                Ok(lease) if lease.is_acquired() => so_far.absorb(lease),
                not_acquired @ (Ok(_) | Err(_)) => {
                    // What cannot be given back now is tried further in the background.
                    so_far.cancel().await.ok();
                    return not_acquired;
                }
            }
        }
        Ok(so_far.handed_out())
    }
}

impl<P: Permits> Permits for ChainedLimiter<P> {
    type Ledger = P::Ledger;

    async fn attempt_acquire(&self, permits: u64) -> Result<PermitLease<P::Ledger>, PermitError> {
        self.of_each(Way::Attempt, permits).await
    }

    async fn acquire(&self, permits: u64) -> Result<PermitLease<P::Ledger>, PermitError> {
        self.of_each(Way::Queue, permits).await
    }

    /// Available is the least of them, queued and failed are their sums, and granted are those of the last.
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

    /// The least of them, `None` if any has none.
    async fn idle_duration(&self) -> Result<Option<Duration>, PermitError> {
        self.check_open()?;
        let mut least = Duration::MAX;
        for limiter in self.limiters() {
            match limiter.idle_duration().await? {
                Some(idle) => least = least.min(idle),
                None => return Ok(None),
            }
        }
        Ok(Some(least))
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }
}
