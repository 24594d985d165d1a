//! Limiters of different types together: in chains, in partitions, over translated resources, and a limiter of one's own.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ledger_limiter::client::permits::{
    ChainedLimiter, ChainedPartitions, FailureReason, NoLimiter, Partition, PartitionedLimiter,
    PartitionedPermits, PermitError, PermitFuture, PermitLease, PermitOptions, PermitStatistics, Permits,
    TranslatedLimiter,
};
use tokio::time::{advance, sleep};

use super::world::*;
use super::{CONCURRENCY, FIXED_WINDOW, MANUAL_BUCKET, ROLLING, SLIDING_WINDOW, TOKEN_BUCKET};

const IDLE_AFTER: Duration = Duration::from_secs(60);

/// A limiter of one's own: a number of permits in this process, without a queue.
#[derive(Clone)]
struct Own {
    free: Arc<AtomicU64>,
}

impl Own {
    fn of(permits: u64) -> Self {
        Self { free: Arc::new(AtomicU64::new(permits)) }
    }

    fn free(&self) -> u64 {
        self.free.load(Ordering::SeqCst)
    }

    fn take(&self, permits: u64) -> PermitLease {
        let take = |free: u64| free.checked_sub(permits);
        match self.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
            Ok(_) => {
                let free = Arc::clone(&self.free);
                PermitLease::acquired(permits).on_release(move || {
                    free.fetch_add(permits, Ordering::SeqCst);
                })
            }
            Err(_) => PermitLease::failed(FailureReason::NoRoom, Some(Duration::from_secs(7))),
        }
    }
}

impl Permits for Own {
    fn attempt_acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease> {
        Box::pin(ready(Ok(self.take(permits))))
    }

    fn acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease> {
        self.attempt_acquire(permits)
    }

    fn statistics(&self) -> PermitFuture<'_, PermitStatistics> {
        let available = self.free().into();
        Box::pin(ready(Ok(PermitStatistics { available, queued_permits: 0, granted: 0, failed: 0 })))
    }

    fn idle_duration(&self) -> PermitFuture<'_, Option<Duration>> {
        Box::pin(ready(Ok(None)))
    }

    fn close(&self) {}

    fn shutdown(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(ready(()))
    }
}

/// Partitions by the first letter, each a limit of the world's kind with a capacity of 5.
fn by_letter(world: &World, options: PermitOptions) -> Arc<PartitionedLimiter<str, String>> {
    let (home, define) = (Arc::clone(&world.home), world.kind.define);
    let partition_of = move |resource: &str| {
        let (name, home) = (resource[..1].to_owned(), Arc::clone(&home));
        Partition::new(name.clone(), async move || {
            home.admin().put(&define(&name, 5)).await.expect("the ledger answers");
            Ok::<_, Infallible>(Limiter::new(home, &name, options).expect("a valid key"))
        })
    };
    Arc::new(PartitionedLimiter::new(partition_of, IDLE_AFTER))
}

async fn attempt<R: ?Sized + 'static>(
    limiter: &impl PartitionedPermits<R>,
    resource: &R,
    permits: u64,
) -> PermitLease {
    limiter.attempt_acquire(resource, permits).await.expect("an answer")
}

#[tokio::test(start_paused = true)]
async fn limiters_of_different_types_are_links_of_one_chain() {
    let world = World::new(&CONCURRENCY, 5, NO_QUEUE).await;
    let own = Own::of(3);
    let boxed: Arc<dyn Permits> = Arc::new(NoLimiter::new());
    let chain = ChainedLimiter::new(world.limiter.clone(), []).then(own.clone()).then(boxed);
    let lease = take(&chain, 2).await;
    assert_eq!((world.available().await, own.free()), (3, 1));
    let failed = chain.attempt_acquire(2).await.expect("an answer");
    assert_eq!(failed.retry_after(), Some(Duration::from_secs(7)), "that of the limiter that failed");
    assert_eq!((world.available().await, own.free()), (3, 1), "the first link is released");
    lease.release().await.expect("it is released");
    assert_eq!((world.available().await, own.free()), (5, 3));
}

#[tokio::test(start_paused = true)]
async fn a_failed_release_of_one_link_releases_the_others() {
    let world = World::new(&CONCURRENCY, 5, NO_QUEUE).await;
    let own = Own::of(3);
    let lease = take(&ChainedLimiter::new(own.clone(), []).then(world.limiter.clone()), 2).await;
    world.ledger.set_down(true);
    lease.release().await.expect_err("the ledger is down");
    assert_eq!(own.free(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_ones_own_is_released_once_however_it_ends() {
    let own = Own::of(3);
    for end in ["dropped", "released", "cancelled"] {
        let lease = take(&own, 2).await;
        assert_eq!(own.free(), 1);
        match end {
            "dropped" => drop(lease),
            "released" => lease.release().await.expect("it is released"),
            _ => lease.cancel().await.expect("it is released"),
        }
        assert_eq!(own.free(), 3, "{end}");
    }
    let failed = own.attempt_acquire(4).await.expect("an answer").on_release(|| panic!("a failed lease"));
    drop(failed);
}

#[tokio::test(start_paused = true)]
async fn no_limiter_grants_everything_until_it_is_closed() {
    let limiter = NoLimiter::new();
    let _leases = [take(&limiter, 0).await, take(&limiter, u64::MAX).await];
    let expected = PermitStatistics { available: u128::MAX, queued_permits: 0, granted: 2, failed: 0 };
    assert_eq!(limiter.statistics().await.expect("an answer"), expected);
    advance(Duration::from_secs(3)).await;
    assert_eq!(limiter.idle_duration().await.expect("an answer"), Some(Duration::from_secs(3)));
    limiter.shutdown().await;
    let error = limiter.acquire(1).await.expect_err("it is shut down");
    assert!(matches!(error, PermitError::ShutDown), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn partitions_may_be_limiters_of_different_types() {
    let world = World::new(&CONCURRENCY, 5, NO_QUEUE).await;
    let limiter = world.limiter.clone();
    let partition_of = move |tenant: &str| match tenant {
        "admin" => Partition::unlimited("admin".to_owned()),
        "guest" => Partition::new("guest".to_owned(), async || Ok::<_, Infallible>(Own::of(1))),
        _ => {
            let limiter = limiter.clone();
            Partition::new("others".to_owned(), async || Ok::<_, Infallible>(limiter))
        }
    };
    let partitioned = PartitionedLimiter::new(partition_of, IDLE_AFTER);
    // The tenant, the permits, and whether the lease is acquired.
    let mut leases = Vec::new();
    for (tenant, permits, is_acquired) in [
        ("admin", 1_000, true),
        ("guest", 1, true),
        ("guest", 1, false),
        ("a", 3, true),
        ("b", 2, true),
        ("c", 1, false),
    ] {
        let lease = attempt(&partitioned, tenant, permits).await;
        assert_eq!(lease.is_acquired(), is_acquired, "{tenant}");
        leases.push(lease);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_partition_without_a_limit_is_dropped() {
    let partitioned =
        PartitionedLimiter::new(|tenant: &str| Partition::unlimited(tenant.to_owned()), IDLE_AFTER);
    drop(attempt(&partitioned, "a", 1).await);
    assert_eq!(partitioned.partitions(), 1);
    sleep(2 * IDLE_AFTER + Duration::from_secs(1)).await;
    assert_eq!(partitioned.partitions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_partitioned_limiters_acquires_of_each_or_of_none() {
    let world = World::new(&CONCURRENCY, 6, NO_QUEUE).await;
    let limiter = world.limiter.clone();
    let for_all = PartitionedLimiter::new(
        move |_: &str| {
            let limiter = limiter.clone();
            Partition::new((), async || Ok::<_, Infallible>(limiter))
        },
        IDLE_AFTER,
    );
    let by_letter = by_letter(&world, NO_QUEUE);
    let chain = ChainedPartitions::new(for_all).then(Arc::clone(&by_letter));
    let free_of = async |letter| by_letter.statistics(letter).await.expect("an answer").available;
    let first = attempt(&chain, "a", 4).await;
    assert!(first.is_acquired());
    assert!(!attempt(&chain, "b", 3).await.is_acquired(), "two are left for all");
    let second = attempt(&chain, "b", 2).await;
    assert!(second.is_acquired());
    assert_eq!((world.available().await, free_of("a").await, free_of("b").await), (0, 1, 3));
    first.release().await.expect("it is released");
    assert!(!attempt(&chain, "b", 4).await.is_acquired(), "the letter has three left");
    assert_eq!((world.available().await, free_of("a").await, free_of("b").await), (4, 5, 3));
    let waiting = world.limiter(KEY, NO_QUEUE);
    chain.shutdown().await;
    let error = chain.acquire("a", 1).await.expect_err("the chain is closed");
    assert!(matches!(error, PermitError::ShutDown), "{error:?}");
    let _open = [attempt(&by_letter, "a", 1).await, take(&waiting, 1).await];
}

#[tokio::test(start_paused = true)]
async fn a_chain_waits_in_the_queues_of_the_partitions() {
    let world = World::new(&CONCURRENCY, 1, NO_QUEUE).await;
    let by_letter = by_letter(&world, oldest_first(5));
    let chain = Arc::new(ChainedPartitions::new(Arc::clone(&by_letter)));
    let all = attempt(&*chain, "a", 5).await;
    let waiter = tokio::spawn({
        let chain = Arc::clone(&chain);
        async move { chain.acquire("a", 2).await.expect("an answer") }
    });
    run_tasks().await;
    assert_eq!(chain.statistics("a").await.expect("an answer").queued_permits, 2);
    drop(all);
    assert!(waiter.await.expect("no panic").is_acquired());
}

#[tokio::test(start_paused = true)]
async fn resources_are_translated_for_a_partitioned_limiter() {
    let world = World::new(&CONCURRENCY, 1, NO_QUEUE).await;
    let inner = by_letter(&world, NO_QUEUE);
    let of_numbers =
        TranslatedLimiter::<_, _, str>::new(Arc::clone(&inner), |number: &u32| format!("{number}"));
    let _four = attempt(&of_numbers, &71, 4).await;
    assert!(!attempt(&of_numbers, &72, 2).await.is_acquired(), "71 and 72 share a partition");
    assert_eq!(of_numbers.statistics(&700).await.expect("an answer").available, 1);
    assert_eq!(inner.statistics("7").await.expect("an answer").available, 1);
    assert!(attempt(&of_numbers, &8, 5).await.is_acquired());
    of_numbers.close();
    let error = inner.acquire("7", 1).await.expect_err("it is closed with the outer one");
    assert!(matches!(error, PermitError::ShutDown), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn shutting_partitions_down_waits_for_their_releases() {
    let world = World::new(&CONCURRENCY, 1, NO_QUEUE).await;
    let partitioned = by_letter(&world, NO_QUEUE);
    for letter in ["a", "b"] {
        drop(attempt(&partitioned, letter, 5).await);
    }
    partitioned.shutdown().await;
    for letter in ["a", "b"] {
        assert_eq!(available(&world.limiter(letter, NO_QUEUE)).await, 5, "{letter}");
    }
    let error = partitioned.acquire("a", 1).await.expect_err("it is shut down");
    assert!(matches!(error, PermitError::ShutDown), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_says_that_its_slot_timed_out() {
    let timeout = Duration::from_secs(3_600);
    let world = World::new(&CONCURRENCY, 5, NO_QUEUE).await;
    let lease = ChainedLimiter::new(NoLimiter::new(), []).then(world.limiter.clone());
    let lease = take(&lease, 5).await;
    assert!(lease.timed_out_at().is_some());
    advance(timeout - Duration::from_millis(1)).await;
    assert!(lease.is_acquired());
    advance(Duration::from_millis(1)).await;
    assert_eq!((lease.permits(), lease.failure()), (0, Some(FailureReason::TimedOut)));
    assert_eq!(lease.retry_after(), None);
    // A lease says so a little before the ledger frees its slots.
    advance(Duration::from_millis(1)).await;
    assert_eq!(world.available().await, 5, "the slots are free for others");
    lease.release().await.expect("there is nothing to release");
}

#[tokio::test(start_paused = true)]
async fn a_renewed_lease_keeps_its_slots() {
    let world = World::new(&CONCURRENCY, 5, NO_QUEUE).await;
    let chain = ChainedLimiter::new(NoLimiter::new(), []).then(world.limiter.clone());
    let mut lease = take(&chain, 3).await;
    for _ in 0..3 {
        advance(Duration::from_secs(3_000)).await;
        assert!(lease.renew().await.expect("an answer") && lease.is_acquired());
        assert_eq!(world.available().await, 2, "no second slot is taken");
    }
    advance(Duration::from_secs(3_600)).await;
    assert!(!lease.is_acquired() && !lease.renew().await.expect("an answer"), "it is too late");
}

#[tokio::test(start_paused = true)]
async fn renewing_changes_no_permits_of_other_kinds() {
    for kind in [&ROLLING, &TOKEN_BUCKET, &FIXED_WINDOW, &SLIDING_WINDOW] {
        let world = World::new(kind, 5, NO_QUEUE).await;
        let mut lease = world.take(5).await;
        advance(Duration::from_secs(9)).await;
        assert!(lease.renew().await.expect("an answer"));
        advance(Duration::from_secs(2)).await;
        assert_eq!(world.available().await, 5, "it expired or was refilled as before");
    }
}

#[tokio::test(start_paused = true)]
async fn only_slots_time_out() {
    for kind in [&ROLLING, &TOKEN_BUCKET, &MANUAL_BUCKET, &FIXED_WINDOW, &SLIDING_WINDOW] {
        let world = World::new(kind, 5, NO_QUEUE).await;
        let lease = world.take(5).await;
        advance(Duration::from_secs(100)).await;
        assert!(lease.is_acquired() && lease.timed_out_at().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_limiter_tells_the_period_of_its_refills_and_who_makes_them() {
    let seconds = Duration::from_secs;
    // The kind, the period, and whether permits are free again by themselves.
    for (kind, period, is_auto) in [
        (&ROLLING, None, true),
        (&CONCURRENCY, None, false),
        (&TOKEN_BUCKET, Some(seconds(10)), true),
        (&MANUAL_BUCKET, None, false),
        (&FIXED_WINDOW, Some(seconds(10)), true),
        (&SLIDING_WINDOW, Some(seconds(2)), true),
    ] {
        let world = World::new(kind, 5, NO_QUEUE).await;
        assert_eq!(world.limiter.refill_period().await.expect("an answer"), period);
        assert_eq!(world.limiter.is_auto_replenishing().await.expect("an answer"), is_auto);
    }
}
