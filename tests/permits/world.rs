//! A limiter of permits over one limit, on paused time, and short ways to say what is done with it.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::client::InProcess;
use ledger_limiter::client::permits::{
    FailureReason, PermitError, PermitLease, PermitLimiter, PermitOptions, Permits, QueueOrder,
};
use ledger_limiter::engine::EngineOptions;
use ledger_limiter::limit::{Definition, ReplenishId};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, advance, timeout};

use super::ledger::TestLedger;
use crate::fixtures::key;

pub type Lease = PermitLease<TestLedger>;
pub type Limiter = PermitLimiter<TestLedger>;

/// The limit that most tests are about.
pub const KEY: &str = "limit";

/// A kind of limit, and what tests must know of it.
pub struct Fixture {
    /// A limit of this name and capacity.
    pub define: fn(&str, u64) -> Definition,
    pub comes_back: Refill,
    /// When it comes back if nothing is heard of the lease any more.
    pub by_itself: Option<Duration>,
}

/// How permits come back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refill {
    OnRelease,
    /// At the latest so long after they were taken, whatever becomes of the lease.
    After(Duration),
    /// When somebody replenishes.
    ByHand,
}

pub struct World {
    pub kind: &'static Fixture,
    pub ledger: Arc<TestLedger>,
    pub home: Arc<InProcess<TestLedger>>,
    pub limiter: Limiter,
}

/// Somebody who waits for permits.
pub struct Waiter(JoinHandle<(Result<Lease, PermitError>, Instant)>);

pub const NO_QUEUE: PermitOptions = oldest_first(0);

pub const fn oldest_first(queue_permits_max: u64) -> PermitOptions {
    PermitOptions { queue_permits_max, order: QueueOrder::OldestFirst }
}

pub const fn newest_first(queue_permits_max: u64) -> PermitOptions {
    PermitOptions { queue_permits_max, order: QueueOrder::NewestFirst }
}

pub const BOTH_ORDERS: [fn(u64) -> PermitOptions; 2] = [oldest_first, newest_first];

impl World {
    /// With one limit of this capacity, of which nothing is taken.
    pub async fn new(kind: &'static Fixture, capacity: u64, options: PermitOptions) -> Self {
        let ledger = TestLedger::new();
        let home = InProcess::over(Arc::clone(&ledger), EngineOptions::default(), &[])
            .await
            .expect("a fresh ledger");
        let home = Arc::new(home);
        let limiter = PermitLimiter::new(Arc::clone(&home), key(KEY), options);
        let world = Self { kind, ledger, home, limiter };
        world.put(KEY, capacity).await;
        world
    }

    /// Defines a limit of the kind.
    pub async fn put(&self, name: &str, capacity: u64) {
        self.home.admin().put(&(self.kind.define)(name, capacity)).await.expect("the ledger answers");
    }

    /// Another limiter, which knows nothing of the first.
    pub fn limiter(&self, name: &str, options: PermitOptions) -> Limiter {
        PermitLimiter::new(Arc::clone(&self.home), key(name), options)
    }

    /// Acquires permits that are free.
    pub async fn take(&self, permits: u64) -> Lease {
        take(&self.limiter, permits).await
    }

    /// Fails to acquire permits at once.
    pub async fn fail(&self, permits: u64) -> Lease {
        let before = Instant::now();
        let lease = self.limiter.attempt_acquire(permits).await.expect("an answer");
        assert!(!lease.is_acquired(), "{lease:?}");
        assert_eq!(Instant::now(), before, "an attempt does not wait");
        lease
    }

    /// Somebody begins to acquire permits.
    pub async fn wait(&self, permits: u64) -> Waiter {
        Waiter::begin(&self.limiter, permits).await
    }

    /// Lets all permits of a lease come back as those of its kind do.
    pub async fn come_back(&self, lease: Lease) {
        match self.kind.comes_back {
            Refill::OnRelease => lease.release().await.expect("it is given back"),
            Refill::After(span) => {
                drop(lease);
                settle().await;
                advance(span + Duration::from_millis(2)).await;
            }
            Refill::ByHand => {
                drop(lease);
                settle().await;
                self.replenish().await;
            }
        }
        settle().await;
    }

    /// Puts back by hand what comes back so, of every limit.
    pub async fn replenish(&self) {
        if self.kind.comes_back == Refill::ByHand {
            // Through the limiter, so that those who wait there hear of it; others find it when they ask again.
            let is_open = self.limiter.replenish().await.is_ok();
            for name in [KEY, "a", "link0", "link1"].into_iter().skip(is_open.into()) {
                self.home.admin().replenish(&key(name), ReplenishId::generate()).await.ok();
            }
        }
        settle().await;
    }

    /// How many permits are free.
    pub async fn available(&self) -> u128 {
        available(&self.limiter).await
    }

    /// How many permits are free, for one who begins anew.
    pub async fn available_anew(&self) -> u128 {
        available(&self.limiter(KEY, NO_QUEUE)).await
    }

    /// Queued permits, granted and failed leases.
    pub async fn counts(&self) -> (u64, u64, u64) {
        let statistics = self.limiter.statistics().await.expect("an answer");
        (statistics.queued_permits, statistics.granted, statistics.failed)
    }
}

impl Waiter {
    pub async fn begin(limiter: &(impl Permits<Ledger = TestLedger> + Clone), permits: u64) -> Self {
        let limiter = limiter.clone();
        let waiter = Self(tokio::spawn(async move {
            let lease = limiter.acquire(permits).await;
            (lease, Instant::now())
        }));
        settle().await;
        waiter
    }

    pub fn is_waiting(&self) -> bool {
        !self.0.is_finished()
    }

    /// What came of it, and when.
    pub async fn end(self) -> (Result<Lease, PermitError>, Instant) {
        timeout(Duration::from_secs(100_000), self.0).await.expect("it ends").expect("no panic")
    }

    /// Its lease, which is acquired.
    pub async fn acquired(self) -> Lease {
        let lease = self.end().await.0.expect("an answer");
        assert!(lease.is_acquired(), "{lease:?}");
        lease
    }

    /// Its lease, which was acquired at once.
    pub async fn acquired_at_once(self) -> Lease {
        let now = Instant::now();
        let (lease, at) = self.end().await;
        assert!(at <= now, "{:?} too late", at - now);
        lease.expect("an answer")
    }

    /// Why it failed.
    pub async fn failed(self) -> FailureReason {
        self.end().await.0.expect("an answer").failure().expect("it failed")
    }

    /// Gives up.
    pub async fn cancel(self) {
        self.0.abort();
        settle().await;
    }
}

/// Acquires permits that are free.
pub async fn take(limiter: &impl Permits<Ledger = TestLedger>, permits: u64) -> Lease {
    let lease = limiter.attempt_acquire(permits).await.expect("an answer");
    assert!(lease.is_acquired(), "{lease:?}");
    assert_eq!(lease.permits(), permits);
    lease
}

pub async fn available(limiter: &impl Permits) -> u128 {
    limiter.statistics().await.expect("an answer").available
}

/// Lets everything happen that needs no time.
pub async fn settle() {
    for _ in 0..300 {
        yield_now().await;
    }
}
