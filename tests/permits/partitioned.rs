//! Partitioned limiters, which create a limiter for each partition of their resources.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledger_limiter::client::permits::{
    FailureReason, Partition, PartitionedLimiter, PartitionedPermits, PermitError, PermitOptions,
    PermitStatistics,
};
use tokio::sync::Notify;
use tokio::time::{advance, sleep};
use tokio_util::sync::CancellationToken;

use super::world::*;

type Partitioned = Arc<PartitionedLimiter<str, String>>;

const IDLE_AFTER: Duration = Duration::from_secs(60);

/// Partitions resources by their first letter. Each partition is a limit of 5, defined when its limiter is created.
#[derive(Clone)]
struct Creator {
    created: Arc<AtomicUsize>,
    /// The plans of the next creations, in reverse order. A creation without a plan succeeds.
    plans: Arc<Mutex<Vec<Plan>>>,
    /// Ends the wait of a creation with [`Plan::Wait`].
    go_on: Arc<Notify>,
}

#[derive(Clone, Copy)]
enum Plan {
    Wait,
    Fail,
    Panic,
}

impl Creator {
    fn new(plans: impl IntoIterator<Item = Plan>) -> Self {
        let plans: Vec<Plan> = plans.into_iter().collect();
        Self { created: Arc::default(), plans: Arc::new(Mutex::new(plans)), go_on: Arc::default() }
    }

    fn created(&self) -> usize {
        self.created.load(Ordering::SeqCst)
    }

    fn partitioned(&self, world: &World, options: PermitOptions) -> Partitioned {
        let (home, define, creator) = (Arc::clone(&world.home), world.kind.define, self.clone());
        let partition_of = move |resource: &str| {
            let (name, home, creator) = (resource[..1].to_owned(), Arc::clone(&home), creator.clone());
            Partition::new(name.clone(), async move || {
                let plan = creator.plans.lock().expect("no panic").pop();
                match plan {
                    Some(Plan::Wait) => creator.go_on.notified().await,
                    Some(Plan::Fail) => return Err(io::Error::other("the creation fails")),
                    Some(Plan::Panic) => panic!("the creation panics"),
                    None => {}
                }
                home.admin().put(&define(&name, 5)).await.expect("the ledger answers");
                creator.created.fetch_add(1, Ordering::SeqCst);
                Ok(Limiter::new(home, &name, options).expect("a valid key"))
            })
        };
        Arc::new(PartitionedLimiter::new(partition_of, IDLE_AFTER))
    }
}

async fn take_of(limiter: &Partitioned, resource: &str, permits: u64) -> Lease {
    let lease = limiter.attempt_acquire(resource, permits).await.expect("an answer");
    assert!(lease.is_acquired(), "{lease:?}");
    lease
}

async fn available_of(limiter: &Partitioned, resource: &str) -> u128 {
    limiter.statistics(resource).await.expect("an answer").available
}

pub async fn partitions_are_independent(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (creator, permits) = (Creator::new([]), 5);
    let limiter = creator.partitioned(&world, NO_QUEUE);
    let _all = take_of(&limiter, "a1", permits).await;
    assert!(!limiter.attempt_acquire("a2", 1).await.expect("an answer").is_acquired());
    let _all = take_of(&limiter, "b1", permits).await;
    assert_eq!(available_of(&limiter, "c1").await, 5);
    assert_eq!(creator.created(), 3);
    assert_eq!(limiter.partitions(), 3);
    let expected = PermitStatistics { available: 0, queued_permits: 0, granted: 1, failed: 1 };
    assert_eq!(limiter.statistics("a3").await.expect("an answer"), expected);
}

pub async fn a_limiter_is_created_once(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let creator = Creator::new([Plan::Wait]);
    let limiter = creator.partitioned(&world, NO_QUEUE);
    let mut callers = Vec::new();
    for _ in 0..20 {
        let limiter = Arc::clone(&limiter);
        callers.push(tokio::spawn(async move { limiter.attempt_acquire("a", 1).await.expect("an answer") }));
    }
    run_tasks().await;
    creator.go_on.notify_one();
    let mut leases = Vec::new();
    for caller in callers {
        leases.push(caller.await.expect("no panic"));
    }
    assert_eq!(leases.iter().filter(|lease| lease.is_acquired()).count(), 5);
    assert_eq!(creator.created(), 1);
    assert_eq!(limiter.partitions(), 1);
}

pub async fn a_slow_creation_delays_no_other_partition(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let creator = Creator::new([Plan::Wait]);
    let limiter = creator.partitioned(&world, NO_QUEUE);
    let slow = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.acquire("slow", 5).await.expect("an answer") }
    });
    run_tasks().await;
    let _lease = take_of(&limiter, "fast", 5).await;
    assert!(!slow.is_finished());
    creator.go_on.notify_one();
    assert!(slow.await.expect("no panic").is_acquired());
}

pub async fn a_failed_creation_is_tried_again_and_affects_no_other_partition(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let creator = Creator::new([Plan::Fail, Plan::Fail]);
    let limiter = creator.partitioned(&world, NO_QUEUE);
    for _ in 0..2 {
        let error = limiter.attempt_acquire("a", 1).await.expect_err("its creation fails");
        assert!(matches!(error, PermitError::Partition(_)), "{error:?}");
    }
    let _lease = take_of(&limiter, "b", 5).await;
    let _lease = take_of(&limiter, "a", 5).await;
    assert_eq!(creator.created(), 2);
}

pub async fn callers_behind_a_failed_creation_try_themselves(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let creator = Creator::new([Plan::Fail, Plan::Wait]);
    let limiter = creator.partitioned(&world, NO_QUEUE);
    let attempts: Vec<_> = (0..3)
        .map(|_| {
            let limiter = Arc::clone(&limiter);
            tokio::spawn(async move { limiter.attempt_acquire("a", 1).await })
        })
        .collect();
    run_tasks().await;
    // The first is cancelled while it waits, the second fails, the third succeeds.
    let [first, second, third] = attempts.try_into().expect("three");
    first.abort();
    run_tasks().await;
    second.await.expect("no panic").expect_err("its creation fails");
    assert!(third.await.expect("no panic").expect("an answer").is_acquired());
    assert_eq!(creator.created(), 1);
}

pub async fn a_panic_during_creation_is_survived(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let creator = Creator::new([Plan::Panic]);
    let limiter = creator.partitioned(&world, NO_QUEUE);
    let panicking = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.attempt_acquire("a", 1).await }
    });
    assert!(panicking.await.expect_err("the creation panics").is_panic());
    let _lease = take_of(&limiter, "b", 5).await;
    let _lease = take_of(&limiter, "a", 5).await;
}

pub async fn each_partition_has_its_own_queue(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let limiter = Creator::new([]).partitioned(&world, oldest_first(5));
    let lease = take_of(&limiter, "a", 5).await;
    let waiter = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.acquire("a", 3).await.expect("an answer") }
    });
    run_tasks().await;
    assert_eq!(limiter.statistics("a").await.expect("an answer").queued_permits, 3);
    assert_eq!(limiter.statistics("b").await.expect("an answer").queued_permits, 0);
    let full = limiter.acquire("a", 3).await.expect("an answer");
    assert_eq!(full.failure(), Some(FailureReason::QueueFull));
    world.free(lease).await;
    assert!(waiter.await.expect("no panic").is_acquired());
    let token = CancellationToken::new();
    token.cancel();
    let cancelled = limiter.acquire_unless_cancelled("a", 1, &token).await;
    assert!(matches!(cancelled, Err(PermitError::Cancelled)), "{cancelled:?}");
}

pub async fn an_idle_partition_is_dropped_and_created_again(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let creator = Creator::new([]);
    let limiter = creator.partitioned(&world, NO_QUEUE);
    let lease = take_of(&limiter, "a", 2).await;
    world.free(lease).await;
    assert_eq!(limiter.partitions(), 1);
    sleep(2 * IDLE_AFTER + Duration::from_secs(1)).await;
    run_tasks().await;
    assert_eq!(limiter.partitions(), 0);
    let _lease = take_of(&limiter, "a", 5).await;
    assert_eq!(creator.created(), 2);
    assert_eq!(limiter.partitions(), 1);
    let granted = limiter.statistics("a").await.expect("an answer").granted;
    assert_eq!(granted, 1, "it is a new limiter");
}

pub async fn a_partition_with_permits_taken_stays(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let creator = Creator::new([]);
    let limiter = creator.partitioned(&world, NO_QUEUE);
    let mut lease = take_of(&limiter, "a", 2).await;
    for _ in 0..20 {
        // Permits are taken again before the limiter has been idle for `IDLE_AFTER`.
        advance(IDLE_AFTER / 4).await;
        run_tasks().await;
        let next = take_of(&limiter, "a", 1).await;
        drop(std::mem::replace(&mut lease, next));
        world.replenish().await;
    }
    assert_eq!(creator.created(), 1);
}

pub async fn a_partition_in_use_stays(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let creator = Creator::new([]);
    let limiter = creator.partitioned(&world, oldest_first(5));
    drop(take_of(&limiter, "a", 0).await);
    // Another limiter takes all permits, so that a waiter of the partition waits for longer than `IDLE_AFTER`.
    let other = world.limiter("a", NO_QUEUE);
    let lease = take(&other, 5).await;
    let waiter = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.acquire("a", 5).await.expect("an answer") }
    });
    run_tasks().await;
    let _all = world.free(lease).await;
    assert!(waiter.await.expect("no panic").is_acquired());
    assert_eq!(creator.created(), 1);
}

pub async fn a_partition_whose_limit_is_deleted_is_created_again(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let creator = Creator::new([]);
    let limiter = creator.partitioned(&world, NO_QUEUE);
    drop(take_of(&limiter, "a", 0).await);
    world.home.admin().delete(&crate::fixtures::key("a")).await.expect("the ledger answers");
    let error = limiter.attempt_acquire("a", 1).await.expect_err("its limit is deleted");
    assert!(matches!(error, PermitError::UnknownLimit { .. }), "{error:?}");
    sleep(IDLE_AFTER + Duration::from_secs(1)).await;
    run_tasks().await;
    let _lease = take_of(&limiter, "a", 5).await;
    assert_eq!(creator.created(), 2);
}

pub async fn a_failed_creation_leaves_no_partition(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let limiter = Creator::new([Plan::Fail, Plan::Fail]).partitioned(&world, NO_QUEUE);
    for resource in ["a", "b"] {
        limiter.attempt_acquire(resource, 1).await.expect_err("its creation fails");
    }
    sleep(IDLE_AFTER + Duration::from_secs(1)).await;
    run_tasks().await;
    assert_eq!(limiter.partitions(), 0);
}

pub async fn closing_closes_every_partition(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let limiter = Creator::new([]).partitioned(&world, oldest_first(5));
    let _lease = take_of(&limiter, "a", 5).await;
    let waiter = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.acquire("a", 1).await.expect("a failed lease is no error") }
    });
    run_tasks().await;
    limiter.close();
    assert_eq!(waiter.await.expect("no panic").failure(), Some(FailureReason::ShutDown));
    let errors = [
        limiter.attempt_acquire("a", 1).await.expect_err("it is closed"),
        limiter.acquire("b", 1).await.expect_err("it is closed"),
        limiter.statistics("a").await.expect_err("it is closed"),
    ];
    for error in errors {
        assert!(matches!(error, PermitError::ShutDown), "{error:?}");
    }
    assert_eq!(limiter.partitions(), 0);
}

pub async fn a_limiter_created_during_close_is_closed(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let creator = Creator::new([Plan::Wait]);
    let limiter = creator.partitioned(&world, NO_QUEUE);
    let late = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.attempt_acquire("a", 1).await }
    });
    run_tasks().await;
    limiter.close();
    creator.go_on.notify_one();
    let error = late.await.expect("no panic").expect_err("it is closed");
    assert!(matches!(error, PermitError::ShutDown), "{error:?}");
    assert_eq!(available(&world.limiter("a", NO_QUEUE)).await, 5);
}
