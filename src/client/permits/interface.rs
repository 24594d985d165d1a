//! What every limiter of permits can do.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::PermitError;
use super::lease::PermitLease;
use super::statistics::PermitStatistics;
use crate::ledger::Ledger;

/// A limiter that hands out permits.
///
/// A call for 0 permits succeeds when any permit is free, and takes none. When none is free it fails or waits like
/// any other call.
///
/// # Errors
///
/// All calls fail with [`PermitError::ShutDown`] after [`close`](Self::close), with [`PermitError::UnknownLimit`] if
/// there is no such limit, and with [`PermitError::Call`] if the ledger does not answer.
pub trait Permits: Send + Sync + 'static {
    /// The ledger that counts the permits.
    type Ledger: Ledger;

    /// Acquires permits at once, or returns a failed lease. It never waits for room.
    ///
    /// # Errors
    ///
    /// [`PermitError::ExceedsCapacity`] if the limit never has so many permits.
    ///
    /// # Cancellation
    ///
    /// Dropping the future frees in the background what was taken by then.
    fn attempt_acquire(
        &self,
        permits: u64,
    ) -> impl Future<Output = Result<PermitLease<Self::Ledger>, PermitError>> + Send;

    /// Acquires permits, and waits in the queue for them. Returns a failed lease if the queue has no room.
    ///
    /// # Errors
    ///
    /// [`PermitError::ExceedsCapacity`] if the limit never has so many permits.
    ///
    /// # Cancellation
    ///
    /// Dropping the future leaves the queue, and frees in the background what was taken by then.
    fn acquire(
        &self,
        permits: u64,
    ) -> impl Future<Output = Result<PermitLease<Self::Ledger>, PermitError>> + Send;

    /// Acquires permits like [`acquire`](Self::acquire), until `cancelled` is cancelled.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire), and [`PermitError::Cancelled`].
    fn acquire_unless_cancelled(
        &self,
        permits: u64,
        cancelled: &CancellationToken,
    ) -> impl Future<Output = Result<PermitLease<Self::Ledger>, PermitError>> + Send {
        unless_cancelled(self.acquire(permits), cancelled)
    }

    /// The permits and the counters of the limiter now.
    fn statistics(&self) -> impl Future<Output = Result<PermitStatistics, PermitError>> + Send;

    /// How long all permits have been free, as far as this limiter knows; `None` while any is taken.
    fn idle_duration(&self) -> impl Future<Output = Result<Option<Duration>, PermitError>> + Send;

    /// Closes the limiter: the leases of waiters fail, and later calls are errors. Leases can still be released.
    fn close(&self);
}

/// A limiter with several owners.
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

/// Runs a call until it ends or is cancelled.
pub(super) async fn unless_cancelled<R>(
    call: impl Future<Output = Result<R, PermitError>>,
    cancelled: &CancellationToken,
) -> Result<R, PermitError> {
    tokio::select! {
        // A call that is cancelled before its first poll takes nothing.
        biased;
        () = cancelled.cancelled() => Err(PermitError::Cancelled),
        result = call => result,
    }
}
