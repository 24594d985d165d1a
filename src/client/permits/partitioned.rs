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
use super::lease::PermitLease;
use super::statistics::PermitStatistics;
use super::{Permits, unless_cancelled};

/// A limiter for each partition of what is metered, such as a tenant's or a peer's: made when it is first used, once,
/// and dropped when it has been idle for a while.
pub struct PartitionedLimiter<R: ?Sized, K, P> {
    partition_of: Box<PartitionOf<R, K, P>>,
    partitions: Arc<Partitions<K, P>>,
    sweeper: AbortHandle,
}

/// To which partition something belongs, and how its limiter is made if there is none.
pub struct Partition<K, P> {
    key: K,
    make: Box<dyn FnOnce() -> Making<P> + Send>,
}

type PartitionOf<R, K, P> = dyn Fn(&R) -> Partition<K, P> + Send + Sync;

type Making<P> = BoxFuture<'static, Result<P, Arc<dyn Error + Send + Sync>>>;

/// The limiters by their keys; none of them any more once it is closed.
struct Partitions<K, P>(Mutex<Option<Limiters<K, P>>>);

type Limiters<K, P> = HashMap<K, Cell<P>>;

/// Empty until its limiter is made. Who makes or uses it has a part in its ownership.
type Cell<P> = Arc<OnceCell<Arc<P>>>;

impl<K, P> Partition<K, P> {
    /// The partition of this key. `make` makes its limiter, and may have to wait for that, say to define a limit. It is
    /// called when there is none; if it fails, the next use calls its own.
    pub fn new<F, E>(key: K, make: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<P, E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        let make = || async { make().await.map_err(|error| Arc::new(error) as _) }.boxed();
        Self { key, make: Box::new(make) }
    }
}

impl<R, K, P> PartitionedLimiter<R, K, P>
where
    R: ?Sized,
    K: Hash + Eq + Clone + Send + 'static,
    P: Permits,
{
    /// With the partitions that `partition_of` tells. Those that have been idle for `idle_after` are dropped; so often
    /// they are looked at, too.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new(
        partition_of: impl Fn(&R) -> Partition<K, P> + Send + Sync + 'static,
        idle_after: Duration,
    ) -> Self {
        let partitions = Arc::new(Partitions(Mutex::new(Some(HashMap::new()))));
        let swept = Arc::clone(&partitions);
        let sweeper = tokio::spawn(async move { swept.sweep_for_ever(idle_after).await });
        Self { partition_of: Box::new(partition_of), partitions, sweeper: sweeper.abort_handle() }
    }

    /// See [`Permits::attempt_acquire`].
    pub async fn attempt_acquire(
        &self,
        resource: &R,
        permits: u64,
    ) -> Result<PermitLease<P::Ledger>, PermitError> {
        self.limiter(resource).await?.attempt_acquire(permits).await
    }

    /// See [`Permits::acquire`].
    pub async fn acquire(&self, resource: &R, permits: u64) -> Result<PermitLease<P::Ledger>, PermitError> {
        self.limiter(resource).await?.acquire(permits).await
    }

    /// See [`Permits::acquire_unless_cancelled`].
    pub async fn acquire_unless_cancelled(
        &self,
        resource: &R,
        permits: u64,
        cancelled: &CancellationToken,
    ) -> Result<PermitLease<P::Ledger>, PermitError> {
        unless_cancelled(self.acquire(resource, permits), cancelled).await
    }

    /// How the partition stands now. It is made if there is none.
    pub async fn statistics(&self, resource: &R) -> Result<PermitStatistics, PermitError> {
        self.limiter(resource).await?.statistics().await
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> usize {
        self.partitions.with(|limiters| limiters.len()).unwrap_or(0)
    }

    /// Closes every partition; see [`Permits::close`].
    pub fn close(&self) {
        let limiters = self.partitions.lock().take();
        for limiter in limiters.iter().flat_map(HashMap::values).filter_map(|cell| cell.get()) {
            limiter.close();
        }
    }

    async fn limiter(&self, resource: &R) -> Result<Arc<P>, PermitError> {
        let Partition { key, make } = (self.partition_of)(resource);
        let cell = self.partitions.with(|limiters| Arc::clone(limiters.entry(key).or_default()))?;
        let made = cell.get_or_try_init(|| async { Ok(Arc::new(make().await?)) }).await;
        let limiter = Arc::clone(made.map_err(PermitError::Partition)?);
        // Closed while it was made, it has not heard of that.
        self.partitions.with(|_| ()).inspect_err(|_| limiter.close())?;
        Ok(limiter)
    }
}

impl<K, P> Partitions<K, P> {
    fn lock(&self) -> MutexGuard<'_, Option<Limiters<K, P>>> {
        // It is whole between two calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Limiters<K, P>) -> T) -> Result<T, PermitError> {
        self.lock().as_mut().map(act).ok_or(PermitError::ShutDown)
    }
}

impl<K: Hash + Eq + Clone, P: Permits> Partitions<K, P> {
    async fn sweep_for_ever(&self, idle_after: Duration) {
        loop {
            tokio::time::sleep(idle_after).await;
            for (key, limiter) in self.made() {
                if is_idle(&*limiter, idle_after).await {
                    self.drop_unused(&key, &limiter);
                }
            }
        }
    }

    /// Those whose limiter is made. What nobody makes any more, because it failed, is dropped.
    fn made(&self) -> Vec<(K, Arc<P>)> {
        let made = self.with(|limiters| {
            limiters.retain(|_, cell| cell.initialized() || Arc::strong_count(cell) > 1);
            let made = |(key, cell): (&K, &Cell<P>)| Some((key.clone(), Arc::clone(cell.get()?)));
            limiters.iter().filter_map(made).collect()
        });
        made.unwrap_or_default()
    }

    /// Drops a partition unless somebody has begun to use it.
    fn drop_unused(&self, key: &K, limiter: &Arc<P>) {
        // Nobody can begin meanwhile: that takes the same lock. A closed one has no partitions any more.
        let _ = self.with(|limiters| {
            let is_unused = limiters.get(key).is_some_and(|cell| {
                // The cell's and the sweeper's.
                Arc::strong_count(cell) == 1 && Arc::strong_count(limiter) == 2
            });
            if is_unused {
                limiters.remove(key);
            }
        });
    }
}

/// Also one whose limit is gone: it is made anew when it is used again.
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
