//! What every limiter of partitions can do: alone, in a chain, or for keys of another type.

use std::borrow::Borrow;
use std::future::ready;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::chained::ChainedLimiter;
use super::error::PermitError;
use super::interface::{PermitFuture, Permits, unless_cancelled};
use super::lease::PermitLease;
use super::statistics::PermitStatistics;

/// A limiter whose limits depend on the resource `R`, such as a tenant or a peer.
///
/// # Errors
///
/// As the calls of [`Permits`], and [`PermitError::Partition`] if the limiter of a resource cannot be created.
pub trait PartitionedPermits<R: ?Sized + 'static>: Send + Sync + 'static {
    /// The limiter of a resource. It is created if there is none.
    fn limiter<'a>(&'a self, resource: &R) -> PermitFuture<'a, Arc<dyn Permits>>;

    /// Closes the limiter: the leases of waiters fail, and later calls are errors. Leases can still be released.
    fn close(&self);

    /// Closes the limiter, and waits until no release is left in the background. Call it before the runtime ends.
    fn shutdown(&self) -> BoxFuture<'_, ()>;

    /// Calls [`Permits::attempt_acquire`] for a resource.
    fn attempt_acquire<'a>(&'a self, resource: &R, permits: u64) -> PermitFuture<'a, PermitLease> {
        let limiter = self.limiter(resource);
        Box::pin(async move { limiter.await?.attempt_acquire(permits).await })
    }

    /// Calls [`Permits::acquire`] for a resource.
    fn acquire<'a>(&'a self, resource: &R, permits: u64) -> PermitFuture<'a, PermitLease> {
        let limiter = self.limiter(resource);
        Box::pin(async move { limiter.await?.acquire(permits).await })
    }

    /// Calls [`Permits::acquire_unless_cancelled`] for a resource. Cancelling also ends the wait for its limiter.
    fn acquire_unless_cancelled<'a>(
        &'a self,
        resource: &R,
        permits: u64,
        cancelled: &'a CancellationToken,
    ) -> PermitFuture<'a, PermitLease> {
        Box::pin(unless_cancelled(self.acquire(resource, permits), cancelled))
    }

    /// The statistics of the limiter of a resource.
    fn statistics<'a>(&'a self, resource: &R) -> PermitFuture<'a, PermitStatistics> {
        let limiter = self.limiter(resource);
        Box::pin(async move { limiter.await?.statistics().await })
    }
}

/// A partitioned limiter with several owners.
impl<R: ?Sized + 'static, P: PartitionedPermits<R> + ?Sized> PartitionedPermits<R> for Arc<P> {
    fn limiter<'a>(&'a self, resource: &R) -> PermitFuture<'a, Arc<dyn Permits>> {
        P::limiter(self, resource)
    }

    fn close(&self) {
        P::close(self);
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        P::shutdown(self)
    }
}

/// Several partitioned limiters as one: a call acquires permits of the resource's limiter in each, or of none.
///
/// Closing a chain leaves its limiters open, as that of a [`ChainedLimiter`].
pub struct ChainedPartitions<R: ?Sized> {
    links: Vec<Arc<dyn PartitionedPermits<R>>>,
    is_closed: AtomicBool,
}

impl<R: ?Sized + 'static> ChainedPartitions<R> {
    /// A chain of one limiter.
    pub fn new(first: impl PartitionedPermits<R>) -> Self {
        Self { links: vec![Arc::new(first)], is_closed: AtomicBool::new(false) }
    }

    /// Adds a limiter behind the others.
    #[must_use]
    pub fn then(mut self, limiter: impl PartitionedPermits<R>) -> Self {
        self.links.push(Arc::new(limiter));
        self
    }
}

impl<R: ?Sized + 'static> PartitionedPermits<R> for ChainedPartitions<R> {
    fn limiter<'a>(&'a self, resource: &R) -> PermitFuture<'a, Arc<dyn Permits>> {
        let limiters: Vec<_> = self.links.iter().map(|link| link.limiter(resource)).collect();
        Box::pin(async move {
            if self.is_closed.load(Ordering::Acquire) {
                return Err(PermitError::ShutDown);
            }
            let mut created = Vec::new();
            for limiter in limiters {
                created.push(limiter.await?);
            }
            let mut created = created.into_iter();
            let first = created.next().ok_or(PermitError::ShutDown)?;
            Ok(Arc::new(ChainedLimiter::new(first, created)) as _)
        })
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.close();
        Box::pin(ready(()))
    }
}

/// A partitioned limiter for resources of another type: each is translated into a resource of the inner limiter.
///
/// Closing it closes the inner limiter. Put that into an [`Arc`] if others use it too, and close it there.
pub struct TranslatedLimiter<P, F, R: ?Sized> {
    inner: P,
    translate: F,
    resource: PhantomData<fn(&R)>,
}

impl<P, F, R: ?Sized> TranslatedLimiter<P, F, R> {
    /// Translates resources by `translate`, and asks `inner`.
    pub fn new(inner: P, translate: F) -> Self {
        Self { inner, translate, resource: PhantomData }
    }
}

impl<O, R, Q, P, F> PartitionedPermits<O> for TranslatedLimiter<P, F, R>
where
    O: ?Sized + 'static,
    R: ?Sized + 'static,
    Q: Borrow<R>,
    P: PartitionedPermits<R>,
    F: Fn(&O) -> Q + Send + Sync + 'static,
{
    fn limiter<'a>(&'a self, resource: &O) -> PermitFuture<'a, Arc<dyn Permits>> {
        self.inner.limiter((self.translate)(resource).borrow())
    }

    fn close(&self) {
        self.inner.close();
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.inner.shutdown()
    }
}
