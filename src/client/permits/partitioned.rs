//! A limiter for each partition, created at its first use and dropped when it is idle.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::error::PermitError;
use super::interface::{Permits, unless_cancelled};
use super::lease::PermitLease;
use super::statistics::PermitStatistics;

/// A limiter for each partition of the resources `R`, such as one for each tenant or peer.
///
/// The limiter of a partition is created once, at its first use. It is dropped when it has been idle for a while.
pub struct PartitionedLimiter<R: ?Sized, K, P> {
    partition_of: Box<PartitionOf<R, K, P>>,
    partitions: Arc<Partitions<K, P>>,
    sweeper: AbortHandle,
}

/// The partition of a resource, and how to create its limiter.
pub struct Partition<K, P> {
    key: K,
    create: Box<dyn FnOnce() -> Creation<P> + Send>,
}

type PartitionOf<R, K, P> = dyn Fn(&R) -> Partition<K, P> + Send + Sync;

type Creation<P> = BoxFuture<'static, Result<P, Arc<dyn Error + Send + Sync>>>;

/// The limiters by key; `None` once they are closed.
struct Partitions<K, P>(Mutex<Option<Limiters<K, P>>>);

type Limiters<K, P> = HashMap<K, Cell<P>>;

/// Empty until its limiter is created. Every call that creates or fetches the limiter owns a clone meanwhile.
type Cell<P> = Arc<OnceCell<Arc<P>>>;

impl<K, P> Partition<K, P> {
    /// The partition of this key. `create` creates its limiter, for example after it has defined a limit.
    ///
    /// `create` is called only if the partition has no limiter. If it fails, the next use calls its own.
    pub fn new<F, E>(key: K, create: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<P, E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        let create = || async { create().await.map_err(|error| Arc::new(error) as _) }.boxed();
        Self { key, create: Box::new(create) }
    }
}

impl<R, K, P> PartitionedLimiter<R, K, P>
where
    R: ?Sized,
    K: Hash + Eq + Clone + Send + 'static,
    P: Permits,
{
    /// A limiter with the partitions that `partition_of` chooses.
    ///
    /// Partitions that have been idle for `idle_after` are dropped. That is also the interval at which a background
    /// task looks for them.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, which runs the background task.
    pub fn new(
        partition_of: impl Fn(&R) -> Partition<K, P> + Send + Sync + 'static,
        idle_after: Duration,
    ) -> Self {
        let partitions = Arc::new(Partitions(Mutex::new(Some(HashMap::new()))));
        let swept = Arc::clone(&partitions);
        let sweeper = tokio::spawn(async move { swept.drop_idle(idle_after).await });
        Self { partition_of: Box::new(partition_of), partitions, sweeper: sweeper.abort_handle() }
    }

    /// Calls [`Permits::attempt_acquire`] of the partition.
    ///
    /// # Errors
    ///
    /// As that call, and [`PermitError::Partition`] if the limiter cannot be created. So do all calls below.
    pub async fn attempt_acquire(
        &self,
        resource: &R,
        permits: u64,
    ) -> Result<PermitLease<P::Ledger>, PermitError> {
        self.limiter(resource).await?.attempt_acquire(permits).await
    }

    /// Calls [`Permits::acquire`] of the partition.
    pub async fn acquire(&self, resource: &R, permits: u64) -> Result<PermitLease<P::Ledger>, PermitError> {
        self.limiter(resource).await?.acquire(permits).await
    }

    /// Calls [`Permits::acquire_unless_cancelled`] of the partition. Cancelling also ends the wait for its limiter.
    pub async fn acquire_unless_cancelled(
        &self,
        resource: &R,
        permits: u64,
        cancelled: &CancellationToken,
    ) -> Result<PermitLease<P::Ledger>, PermitError> {
        unless_cancelled(self.acquire(resource, permits), cancelled).await
    }

    /// The statistics of the partition. Its limiter is created if there is none.
    pub async fn statistics(&self, resource: &R) -> Result<PermitStatistics, PermitError> {
        self.limiter(resource).await?.statistics().await
    }

    /// The number of partitions, including those whose limiter is being created.
    pub fn partitions(&self) -> usize {
        self.partitions.with(|limiters| limiters.len()).unwrap_or(0)
    }

    /// Closes the limiters of all partitions; see [`Permits::close`].
    pub fn close(&self) {
        let limiters = self.partitions.lock().take();
        for limiter in limiters.iter().flat_map(HashMap::values).filter_map(|cell| cell.get()) {
            limiter.close();
        }
    }

    async fn limiter(&self, resource: &R) -> Result<Arc<P>, PermitError> {
        let Partition { key, create } = (self.partition_of)(resource);
        let cell = self.partitions.with(|limiters| Arc::clone(limiters.entry(key).or_default()))?;
        let created = cell.get_or_try_init(|| async { Ok(Arc::new(create().await?)) }).await;
        let limiter = Arc::clone(created.map_err(PermitError::Partition)?);
        // A limiter that is created during `close` is missed by it, so it is closed here.
        self.partitions.with(|_| ()).inspect_err(|_| limiter.close())?;
        Ok(limiter)
    }
}

impl<K, P> Partitions<K, P> {
    fn lock(&self) -> MutexGuard<'_, Option<Limiters<K, P>>> {
        // No change panics halfway, so a poisoned lock guards a consistent state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Limiters<K, P>) -> T) -> Result<T, PermitError> {
        self.lock().as_mut().map(act).ok_or(PermitError::ShutDown)
    }
}

impl<K: Hash + Eq + Clone, P: Permits> Partitions<K, P> {
    async fn drop_idle(&self, idle_after: Duration) {
        loop {
            tokio::time::sleep(idle_after).await;
            for (key, limiter) in self.created() {
                if is_idle(&*limiter, idle_after).await {
                    self.drop_unused(&key, &limiter);
                }
            }
        }
    }

    /// The limiters that are created. Cells whose creation failed, and that no call uses, are dropped.
    fn created(&self) -> Vec<(K, Arc<P>)> {
        let created = self.with(|limiters| {
            limiters.retain(|_, cell| cell.initialized() || Arc::strong_count(cell) > 1);
            let created = |(key, cell): (&K, &Cell<P>)| Some((key.clone(), Arc::clone(cell.get()?)));
            limiters.iter().filter_map(created).collect()
        });
        created.unwrap_or_default()
    }

    /// Drops a partition, unless a call uses it.
    fn drop_unused(&self, key: &K, limiter: &Arc<P>) {
        // No call can begin meanwhile, because it takes the same lock. After `close` there is nothing to drop.
        let _ = self.with(|limiters| {
            let is_unused = limiters.get(key).is_some_and(|cell| {
                // The owners of the limiter are the cell and this task.
                Arc::strong_count(cell) == 1 && Arc::strong_count(limiter) == 2
            });
            if is_unused {
                limiters.remove(key);
            }
        });
    }
}

/// Whether to drop a limiter. One whose limit is deleted counts as idle: its next use creates it again.
async fn is_idle(limiter: &impl Permits, idle_after: Duration) -> bool {
    match limiter.idle_duration().await {
        Ok(idle) => idle.is_some_and(|idle| idle >= idle_after),
        Err(PermitError::UnknownLimit { .. } | PermitError::ShutDown) => true,
        Err(
            PermitError::Call(_)
            | PermitError::Partition(_)
            | PermitError::Cancelled
            | PermitError::TooManyInstances { .. }
            | PermitError::ExceedsCapacity { .. },
        ) => false,
    }
}

impl<R: ?Sized, K, P> Drop for PartitionedLimiter<R, K, P> {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}
