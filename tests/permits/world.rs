//! A permit limiter over one limit, on paused time, with helpers for the tests.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::client::InProcess;
use ledger_limiter::client::permits::{
    FailureReason, PermitError, PermitLease, PermitLimiter, PermitOptions, PermitStatistics, Permits,
    QueueOrder,
};
use ledger_limiter::limit::{Definition, ReplenishId};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, advance, timeout};

use super::ledger::TestLedger;
use crate::fixtures::key;

pub type Lease = PermitLease;
pub type Limiter = PermitLimiter<InProcess<TestLedger>>;

/// The key of the limit that most tests use.
pub const KEY: &str = "limit";

/// A kind of limit, and what frees its permits.
pub struct KindFixture {
    /// Defines a limit of this key and capacity.
    pub define: fn(&str, u64) -> Definition,
    pub freed_by: FreedBy,
    /// How long after a grant its permits are free if the lease is never released. `None`: only a manual refill frees
    /// them.
    pub freed_without_release: Option<Duration>,
}

/// What frees granted permits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FreedBy {
    Release,
    /// Time: at the latest this long after the grant, whether the lease is released or not.
    Time(Duration),
    ManualRefill,
}

/// The counters of a limiter.
#[derive(Debug, PartialEq, Eq)]
pub struct Counts {
    /// The permits that callers wait for.
    pub queued: u64,
    /// The leases acquired.
    pub granted: u64,
    /// The leases failed.
    pub failed: u64,
}

pub struct World {
    pub kind: &'static KindFixture,
    pub ledger: Arc<TestLedger>,
    pub home: Arc<InProcess<TestLedger>>,
    pub limiter: Limiter,
}

/// A task that acquires permits.
pub struct Waiter(JoinHandle<(Result<Lease, PermitError>, Instant)>);

pub const NO_QUEUE: PermitOptions = oldest_first(0);

pub const fn oldest_first(queue_permits_max: u64) -> PermitOptions {
    PermitOptions::NO_QUEUE.queue_permits_max(queue_permits_max)
}

pub const fn newest_first(queue_permits_max: u64) -> PermitOptions {
    oldest_first(queue_permits_max).order(QueueOrder::NewestFirst)
}

pub const BOTH_ORDERS: [fn(u64) -> PermitOptions; 2] = [oldest_first, newest_first];

impl World {
    /// One limit of this capacity, with all permits free.
    pub async fn new(kind: &'static KindFixture, capacity: u64, options: PermitOptions) -> Self {
        let ledger = TestLedger::new();
        let home = InProcess::over(Arc::clone(&ledger), 1, []).await.expect("a fresh ledger");
        let home = Arc::new(home);
        let limiter = PermitLimiter::new(Arc::clone(&home), KEY, options).expect("a valid key");
        let world = Self { kind, ledger, home, limiter };
        world.put(KEY, capacity).await;
        world
    }

    /// Defines or changes a limit of the kind.
    pub async fn put(&self, name: &str, capacity: u64) {
        self.home.admin().put(&(self.kind.define)(name, capacity)).await.expect("the ledger answers");
    }

    /// Another limiter over the same ledger. It shares nothing with the first.
    pub fn limiter(&self, name: &str, options: PermitOptions) -> Limiter {
        PermitLimiter::new(Arc::clone(&self.home), name, options).expect("a valid key")
    }

    /// Acquires permits, which must be free.
    pub async fn take(&self, permits: u64) -> Lease {
        take(&self.limiter, permits).await
    }

    /// Makes an attempt, which must fail.
    pub async fn fail(&self, permits: u64) -> Lease {
        let before = Instant::now();
        let lease = self.limiter.attempt_acquire(permits).await.expect("an answer");
        assert!(!lease.is_acquired(), "{lease:?}");
        assert_eq!(Instant::now(), before, "an attempt does not wait");
        lease
    }

    /// Starts a task that acquires permits.
    pub async fn wait(&self, permits: u64) -> Waiter {
        Waiter::start(&self.limiter, permits).await
    }

    /// Frees all permits of a lease, by a release, time or a manual refill, as its kind needs.
    pub async fn free(&self, lease: Lease) {
        match self.kind.freed_by {
            FreedBy::Release => lease.release().await.expect("it is released"),
            FreedBy::Time(span) => {
                drop(lease);
                run_tasks().await;
                advance(span + Duration::from_millis(2)).await;
            }
            FreedBy::ManualRefill => {
                drop(lease);
                run_tasks().await;
                self.replenish().await;
            }
        }
        run_tasks().await;
    }

    /// Refills every limit manually, if they are manual buckets.
    pub async fn replenish(&self) {
        if self.kind.freed_by == FreedBy::ManualRefill {
            // The refill goes through the limiter, which wakes its waiters. Other limiters notice it at their next
            // attempt.
            let is_open = self.limiter.replenish().await.is_ok();
            for name in [KEY, "a", "link0", "link1"].into_iter().skip(is_open.into()) {
                self.home.admin().replenish(&key(name), ReplenishId::generate()).await.ok();
            }
        }
        run_tasks().await;
    }

    /// The permits that are free.
    pub async fn available(&self) -> u128 {
        available(&self.limiter).await
    }

    /// The permits that are free, read through a new limiter.
    pub async fn available_to_new_limiter(&self) -> u128 {
        available(&self.limiter(KEY, NO_QUEUE)).await
    }

    /// The counters of the limiter.
    pub async fn counts(&self) -> Counts {
        let PermitStatistics { queued_permits: queued, granted, failed, .. } =
            self.limiter.statistics().await.expect("an answer");
        Counts { queued, granted, failed }
    }
}

impl Waiter {
    /// Starts a task that acquires permits, and lets it run until it waits.
    pub async fn start(limiter: &(impl Permits + Clone), permits: u64) -> Self {
        let limiter = limiter.clone();
        let waiter = Self(tokio::spawn(async move {
            let lease = limiter.acquire(permits).await;
            (lease, Instant::now())
        }));
        run_tasks().await;
        waiter
    }

    pub fn is_waiting(&self) -> bool {
        !self.0.is_finished()
    }

    /// The result, and its time.
    pub async fn end(self) -> (Result<Lease, PermitError>, Instant) {
        timeout(Duration::from_secs(100_000), self.0).await.expect("it ends").expect("no panic")
    }

    /// The lease, which is acquired.
    pub async fn acquired(self) -> Lease {
        let lease = self.end().await.0.expect("an answer");
        assert!(lease.is_acquired(), "{lease:?}");
        lease
    }

    /// The lease, which was acquired before the time of this call.
    pub async fn acquired_at_once(self) -> Lease {
        let now = Instant::now();
        let (lease, at) = self.end().await;
        assert!(at <= now, "{:?} too late", at - now);
        lease.expect("an answer")
    }

    /// Why the lease failed.
    pub async fn failed(self) -> FailureReason {
        self.end().await.0.expect("an answer").failure().expect("it failed")
    }

    /// Cancels the task.
    pub async fn cancel(self) {
        self.0.abort();
        run_tasks().await;
    }
}

/// Acquires permits, which must be free.
pub async fn take(limiter: &impl Permits, permits: u64) -> Lease {
    let lease = limiter.attempt_acquire(permits).await.expect("an answer");
    assert!(lease.is_acquired(), "{lease:?}");
    assert_eq!(lease.permits(), permits);
    lease
}

/// The permits that are free.
pub async fn available(limiter: &impl Permits) -> u128 {
    limiter.statistics().await.expect("an answer").available
}

/// Lets all tasks run until they wait for time to pass.
pub async fn run_tasks() {
    for _ in 0..300 {
        yield_now().await;
    }
}
