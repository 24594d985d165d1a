//! A limiter for each partition, created at its first use and dropped when it is idle.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;

use super::error::PermitError;
use super::interface::{PermitFuture, Permits};
use super::no_limiter::NoLimiter;
use super::partitions::PartitionedPermits;

/// A limiter for each partition of the resources `R`, such as one for each tenant or peer.
///
/// The limiter of a partition is created once, at its first use. It is dropped when it has been idle for a while.
pub struct PartitionedLimiter<R: ?Sized, K> {
    partition_of: Box<PartitionOf<R, K>>,
    partitions: Arc<Partitions<K>>,
    sweeper: AbortHandle,
}

/// The partition of a resource, and how to create its limiter.
pub struct Partition<K> {
    key: K,
    create: Box<dyn FnOnce() -> Creation + Send>,
}

type PartitionOf<R, K> = dyn Fn(&R) -> Partition<K> + Send + Sync;

type Creation = BoxFuture<'static, Result<Arc<dyn Permits>, Arc<dyn Error + Send + Sync>>>;

/// The limiters by key; `None` once they are closed.
struct Partitions<K>(Mutex<Option<Limiters<K>>>);

type Limiters<K> = HashMap<K, Cell>;

/// Empty until its limiter is created. Every call that creates or fetches the limiter owns a clone meanwhile.
type Cell = Arc<OnceCell<Arc<dyn Permits>>>;

impl<K> Partition<K> {
    /// The partition of this key. `create` creates its limiter, for example after it has defined a limit. Limiters of
    /// different partitions may have different types.
    ///
    /// `create` is called only if the partition has no limiter. If it fails, the next use calls its own.
    pub fn new<P, F, E>(key: K, create: impl FnOnce() -> F + Send + 'static) -> Self
    where
        P: Permits,
        F: Future<Output = Result<P, E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        let create = async move || match create().await {
            Ok(limiter) => Ok(Arc::new(limiter) as _),
            Err(error) => Err(Arc::new(error) as _),
        };
        Self { key, create: Box::new(|| create().boxed()) }
    }

    /// The partition of this key, which is not limited: see [`NoLimiter`].
    pub fn unlimited(key: K) -> Self {
        Self::new(key, async || Ok::<_, Infallible>(NoLimiter::new()))
    }
}

impl<R, K> PartitionedLimiter<R, K>
where
    R: ?Sized,
    K: Hash + Eq + Clone + Send + 'static,
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
        partition_of: impl Fn(&R) -> Partition<K> + Send + Sync + 'static,
        idle_after: Duration,
    ) -> Self {
        let partitions = Arc::new(Partitions(Mutex::new(Some(HashMap::new()))));
        let swept = Arc::clone(&partitions);
        let sweeper = tokio::spawn(async move { swept.drop_idle(idle_after).await });
        Self { partition_of: Box::new(partition_of), partitions, sweeper: sweeper.abort_handle() }
    }

    /// The number of partitions, including those whose limiter is being created.
    pub fn partitions(&self) -> usize {
        self.partitions.with(|limiters| limiters.len()).unwrap_or(0)
    }
}

impl<R, K> PartitionedPermits<R> for PartitionedLimiter<R, K>
where
    R: ?Sized + 'static,
    K: Hash + Eq + Clone + Send + 'static,
{
    fn limiter<'a>(&'a self, resource: &R) -> PermitFuture<'a, Arc<dyn Permits>> {
        let Partition { key, create } = (self.partition_of)(resource);
        Box::pin(async move {
            let cell = self.partitions.with(|limiters| Arc::clone(limiters.entry(key).or_default()))?;
            let created = cell.get_or_try_init(create).await;
            let limiter = Arc::clone(created.map_err(PermitError::Partition)?);
            // A limiter that is created during `close` is missed by it, so it is closed here.
            self.partitions.with(|_| ()).inspect_err(|_| limiter.close())?;
            Ok(limiter)
        })
    }

    /// Closes the limiters of all partitions; see [`Permits::close`].
    fn close(&self) {
        self.partitions.take().iter().for_each(Permits::close);
    }

    /// Shuts down the limiters of all partitions; see [`Permits::shutdown`].
    fn shutdown(&self) -> BoxFuture<'_, ()> {
        let limiters = self.partitions.take();
        limiters.iter().for_each(Permits::close);
        Box::pin(async move {
            for limiter in limiters {
                limiter.shutdown().await;
            }
        })
    }
}

impl<K> Partitions<K> {
    fn lock(&self) -> MutexGuard<'_, Option<Limiters<K>>> {
        // No change panics halfway, so a poisoned lock guards a consistent state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the partitions. Returns the limiters that are created.
    fn take(&self) -> Vec<Arc<dyn Permits>> {
        let limiters = self.lock().take();
        limiters.iter().flat_map(HashMap::values).filter_map(|cell| cell.get().cloned()).collect()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Limiters<K>) -> T) -> Result<T, PermitError> {
        self.lock().as_mut().map(act).ok_or(PermitError::ShutDown)
    }
}

impl<K: Hash + Eq + Clone> Partitions<K> {
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
    fn created(&self) -> Vec<(K, Arc<dyn Permits>)> {
        let created = self.with(|limiters| {
            limiters.retain(|_, cell| cell.initialized() || Arc::strong_count(cell) > 1);
            let created = |(key, cell): (&K, &Cell)| Some((key.clone(), Arc::clone(cell.get()?)));
            limiters.iter().filter_map(created).collect()
        });
        created.unwrap_or_default()
    }

    /// Drops a partition, unless a call uses it.
    fn drop_unused(&self, key: &K, limiter: &Arc<dyn Permits>) {
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
async fn is_idle(limiter: &dyn Permits, idle_after: Duration) -> bool {
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

impl<R: ?Sized, K> Drop for PartitionedLimiter<R, K> {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}
