//! What every limiter of permits can do.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::PermitError;
use super::lease::PermitLease;
use super::statistics::PermitStatistics;

/// The future of a call for `T`.
pub type PermitFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, PermitError>> + Send + 'a>>;

/// A limiter that hands out permits. Limiters of different types go together as `Arc<dyn Permits>`.
///
/// Implement it for a limiter of your own, such as one that lets everybody pass at night:
///
/// ```
/// use std::future::{Future, ready};
/// use std::pin::Pin;
/// use std::time::Duration;
///
/// use ledger_limiter::client::permits::{PermitFuture, PermitLease, PermitStatistics, Permits};
///
/// struct Nights<P> {
///     days: P,
///     is_night: fn() -> bool,
/// }
///
/// impl<P: Permits> Permits for Nights<P> {
///     fn attempt_acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease> {
///         if (self.is_night)() {
///             return Box::pin(ready(Ok(PermitLease::acquired(permits))));
///         }
///         self.days.attempt_acquire(permits)
///     }
///
///     fn acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease> {
///         if (self.is_night)() { self.attempt_acquire(permits) } else { self.days.acquire(permits) }
///     }
///
///     fn statistics(&self) -> PermitFuture<'_, PermitStatistics> {
///         self.days.statistics()
///     }
///
///     fn idle_duration(&self) -> PermitFuture<'_, Option<Duration>> {
///         self.days.idle_duration()
///     }
///
///     fn close(&self) {
///         self.days.close();
///     }
///
///     fn shutdown(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
///         self.days.shutdown()
///     }
/// }
/// ```
///
/// A call for 0 permits succeeds when any permit is free, and takes none. When none is free it fails or waits like
/// any other call.
///
/// # Errors
///
/// All calls fail with [`PermitError::ShutDown`] after [`close`](Self::close), with [`PermitError::UnknownLimit`] if
/// there is no such limit, and with [`PermitError::Call`] if the ledger does not answer.
pub trait Permits: Send + Sync + 'static {
    /// Acquires permits at once, or returns a failed lease. It never waits for room.
    ///
    /// # Errors
    ///
    /// [`PermitError::ExceedsCapacity`] if the limit never has so many permits.
    ///
    /// # Cancellation
    ///
    /// Dropping the future frees in the background what was taken by then.
    fn attempt_acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease>;

    /// Acquires permits, and waits in the queue for them. Returns a failed lease if the queue has no room.
    ///
    /// # Errors
    ///
    /// [`PermitError::ExceedsCapacity`] if the limit never has so many permits.
    ///
    /// # Cancellation
    ///
    /// Dropping the future leaves the queue, and frees in the background what was taken by then.
    fn acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease>;

    /// Acquires permits like [`acquire`](Self::acquire), until `cancelled` is cancelled.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire), and [`PermitError::Cancelled`].
    fn acquire_unless_cancelled<'a>(
        &'a self,
        permits: u64,
        cancelled: &'a CancellationToken,
    ) -> PermitFuture<'a, PermitLease> {
        Box::pin(unless_cancelled(self.acquire(permits), cancelled))
    }

    /// The permits and the counters of the limiter now.
    fn statistics(&self) -> PermitFuture<'_, PermitStatistics>;

    /// How long all permits have been free, as far as this limiter knows; `None` while any is taken.
    fn idle_duration(&self) -> PermitFuture<'_, Option<Duration>>;

    /// Closes the limiter: the leases of waiters fail, and later calls are errors. Leases can still be released.
    fn close(&self);

    /// Closes the limiter, and waits until no release is left in the background. Call it before the runtime ends.
    fn shutdown(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// A limiter with several owners.
impl<P: Permits + ?Sized> Permits for Arc<P> {
    fn attempt_acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease> {
        P::attempt_acquire(self, permits)
    }

    fn acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease> {
        P::acquire(self, permits)
    }

    fn statistics(&self) -> PermitFuture<'_, PermitStatistics> {
        P::statistics(self)
    }

    fn idle_duration(&self) -> PermitFuture<'_, Option<Duration>> {
        P::idle_duration(self)
    }

    fn close(&self) {
        P::close(self);
    }

    fn shutdown(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        P::shutdown(self)
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
