//! Permits of one limit, as users of .NET's `System.Threading.RateLimiting` know them: leases that tell whether they are
//! acquired, a queue with an order and a bound, statistics, chains of limiters and partitions.
//!
//! | part | what it is |
//! | --- | --- |
//! | [`Permits`] | what every limiter of permits can do |
//! | [`PermitLimiter`] | meters one limit of an [`InProcess`](super::InProcess), of any kind |
//! | [`ChainedLimiter`] | several limiters as one |
//! | [`PartitionedLimiter`] | a limiter for each partition, made when it is first used |
//! | [`PermitLease`] | the permits that one got, or the failure to get them |
//! | `queue`, `pause`, `returns` | who waits, until when, and for what; pure |
//! | `kind` | all that depends on the kind of the limit |
//! | `meter`, `attendant` | what limiters and leases share, and the task that asks the ledger for those who wait |

mod attendant;
mod chained;
mod error;
mod kind;
mod lease;
mod limiter;
mod meter;
mod options;
mod partitioned;
mod pause;
mod queue;
mod returns;
mod statistics;
#[cfg(test)]
mod tests;
mod wanted;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;

pub use chained::ChainedLimiter;
pub use error::PermitError;
pub use lease::{FailureReason, PermitLease};
pub use limiter::PermitLimiter;
pub use options::{PermitOptions, QueueOrder};
pub use partitioned::{Partition, PartitionedLimiter};
pub use statistics::PermitStatistics;

/// What hands out permits.
///
/// No permits at all can be acquired when any are free, and take none; otherwise they are waited for as others are.
pub trait Permits: Send + Sync + 'static {
    /// Where the permits are counted.
    type Ledger: Ledger;

    /// Acquires permits, or fails: it waits for the ledger's answer, and never for room. A wish for more than there ever
    /// are is an error.
    fn attempt_acquire(
        &self,
        permits: u64,
    ) -> impl Future<Output = Result<PermitLease<Self::Ledger>, PermitError>> + Send;

    /// Acquires permits, and waits for them where there is a place in the queue. Dropping the future gives the place back
    /// and takes nothing.
    fn acquire(
        &self,
        permits: u64,
    ) -> impl Future<Output = Result<PermitLease<Self::Ledger>, PermitError>> + Send;

    /// The same, given up with [`PermitError::Cancelled`] once `cancelled` is.
    fn acquire_unless_cancelled(
        &self,
        permits: u64,
        cancelled: &CancellationToken,
    ) -> impl Future<Output = Result<PermitLease<Self::Ledger>, PermitError>> + Send {
        unless_cancelled(self.acquire(permits), cancelled)
    }

    /// How it stands now.
    fn statistics(&self) -> impl Future<Output = Result<PermitStatistics, PermitError>> + Send;

    /// How long nothing has been taken, as far as is known here; `None` while anything is.
    fn idle_duration(&self) -> impl Future<Output = Result<Option<Duration>, PermitError>> + Send;

    /// Lets nobody acquire any more: leases of those who wait fail, and later calls are errors. Leases can still be
    /// released.
    fn close(&self);
}

/// What several owners share.
impl<P: Permits> Permits for Arc<P> {
    type Ledger = P::Ledger;

    async fn attempt_acquire(&self, permits: u64) -> Result<PermitLease<P::Ledger>, PermitError> {
        P::attempt_acquire(self, permits).await
    }

    async fn acquire(&self, permits: u64) -> Result<PermitLease<P::Ledger>, PermitError> {
        P::acquire(self, permits).await
    }

    async fn statistics(&self) -> Result<PermitStatistics, PermitError> {
        P::statistics(self).await
    }

    async fn idle_duration(&self) -> Result<Option<Duration>, PermitError> {
        P::idle_duration(self).await
    }

    fn close(&self) {
        P::close(self);
    }
}

async fn unless_cancelled<R>(
    acquiring: impl Future<Output = Result<R, PermitError>>,
    cancelled: &CancellationToken,
) -> Result<R, PermitError> {
    tokio::select! {
        // Who has given up already takes nothing.
        biased;
        () = cancelled.cancelled() => Err(PermitError::Cancelled),
        acquired = acquiring => acquired,
    }
}
