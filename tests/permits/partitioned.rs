//! A limiter for each partition.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledger_limiter::client::permits::{
    FailureReason, Partition, PartitionedLimiter, PermitError, PermitOptions, PermitStatistics,
};
use tokio::sync::Notify;
use tokio::time::{advance, sleep};
use tokio_util::sync::CancellationToken;

use super::world::*;

type Partitioned = Arc<PartitionedLimiter<str, String, Limiter>>;

const IDLE_AFTER: Duration = Duration::from_secs(60);

/// Partitions by the first letter, each a limit of 5 that is defined when it is made.
#[derive(Clone)]
struct Makers {
    made: Arc<AtomicUsize>,
    /// How making one goes; taken one after the other, then all go well.
    plans: Arc<Mutex<Vec<Plan>>>,
    /// Lets those go on that wait.
    go_on: Arc<Notify>,
}

#[derive(Clone, Copy)]
enum Plan {
    Wait,
    Fail,
    Panic,
}

impl Makers {
    fn new(plans: impl IntoIterator<Item = Plan>) -> Self {
        let plans: Vec<Plan> = plans.into_iter().collect();
        Self { made: Arc::default(), plans: Arc::new(Mutex::new(plans)), go_on: Arc::default() }
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    fn partitioned(&self, world: &World, options: PermitOptions) -> Partitioned {
        let (home, define, makers) = (Arc::clone(&world.home), world.kind.define, self.clone());
        let partition_of = move |resource: &str| {
            let (name, home, makers) = (resource[..1].to_owned(), Arc::clone(&home), makers.clone());
            Partition::new(name.clone(), async move || {
                let plan = makers.plans.lock().expect("no panic").pop();
                match plan {
                    Some(Plan::Wait) => makers.go_on.notified().await,
                    Some(Plan::Fail) => return Err(io::Error::other("it fails")),
                    Some(Plan::Panic) => panic!("it panics"),
                    None => {}
                }
                home.admin().put(&define(&name, 5)).await.expect("the ledger answers");
                makers.made.fetch_add(1, Ordering::SeqCst);
                Ok(Limiter::new(home, crate::fixtures::key(&name), options))
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

pub async fn partitions_are_apart(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (makers, permits) = (Makers::new([]), 5);
    let limiter = makers.partitioned(&world, NO_QUEUE);
    let _all = take_of(&limiter, "a1", permits).await;
    assert!(!limiter.attempt_acquire("a2", 1).await.expect("an answer").is_acquired());
    let _all = take_of(&limiter, "b1", permits).await;
    assert_eq!(available_of(&limiter, "c1").await, 5);
    assert_eq!((makers.made(), limiter.partitions()), (3, 3));
    let expected = PermitStatistics { available: 0, queued_permits: 0, granted: 1, failed: 1 };
    assert_eq!(limiter.statistics("a3").await.expect("an answer"), expected);
}

pub async fn a_partition_is_made_once(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let makers = Makers::new([Plan::Wait]);
    let limiter = makers.partitioned(&world, NO_QUEUE);
    let mut callers = Vec::new();
    for _ in 0..20 {
        let limiter = Arc::clone(&limiter);
        callers.push(tokio::spawn(async move { limiter.attempt_acquire("a", 1).await.expect("an answer") }));
    }
    settle().await;
    makers.go_on.notify_one();
    let mut leases = Vec::new();
    for caller in callers {
        leases.push(caller.await.expect("no panic"));
    }
    assert_eq!(leases.iter().filter(|lease| lease.is_acquired()).count(), 5);
    assert_eq!((makers.made(), limiter.partitions()), (1, 1));
}

pub async fn a_slow_partition_holds_no_other_up(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let makers = Makers::new([Plan::Wait]);
    let limiter = makers.partitioned(&world, NO_QUEUE);
    let slow = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.acquire("slow", 5).await.expect("an answer") }
    });
    settle().await;
    let _lease = take_of(&limiter, "fast", 5).await;
    assert!(!slow.is_finished());
    makers.go_on.notify_one();
    assert!(slow.await.expect("no panic").is_acquired());
}

pub async fn a_failing_partition_is_tried_again_and_holds_no_other_up(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let makers = Makers::new([Plan::Fail, Plan::Fail]);
    let limiter = makers.partitioned(&world, NO_QUEUE);
    for _ in 0..2 {
        let error = limiter.attempt_acquire("a", 1).await.expect_err("it cannot be made");
        assert!(matches!(error, PermitError::Partition(_)), "{error:?}");
    }
    let _lease = take_of(&limiter, "b", 5).await;
    let _lease = take_of(&limiter, "a", 5).await;
    assert_eq!(makers.made(), 2);
}

pub async fn those_behind_a_failure_try_by_themselves(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let makers = Makers::new([Plan::Fail, Plan::Wait]);
    let limiter = makers.partitioned(&world, NO_QUEUE);
    let attempts: Vec<_> = (0..3)
        .map(|_| {
            let limiter = Arc::clone(&limiter);
            tokio::spawn(async move { limiter.attempt_acquire("a", 1).await })
        })
        .collect();
    settle().await;
    // The first is given up while it waits, the second fails, the third goes well.
    let [first, second, third] = attempts.try_into().expect("three");
    first.abort();
    settle().await;
    second.await.expect("no panic").expect_err("it cannot be made");
    assert!(third.await.expect("no panic").expect("an answer").is_acquired());
    assert_eq!(makers.made(), 1);
}

pub async fn a_panic_while_one_is_made_is_no_end(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let makers = Makers::new([Plan::Panic]);
    let limiter = makers.partitioned(&world, NO_QUEUE);
    let panicking = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.attempt_acquire("a", 1).await }
    });
    assert!(panicking.await.expect_err("it panics").is_panic());
    let _lease = take_of(&limiter, "b", 5).await;
    let _lease = take_of(&limiter, "a", 5).await;
}

pub async fn those_who_wait_are_of_their_partition(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let limiter = Makers::new([]).partitioned(&world, oldest_first(5));
    let lease = take_of(&limiter, "a", 5).await;
    let waiter = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.acquire("a", 3).await.expect("an answer") }
    });
    settle().await;
    assert_eq!(limiter.statistics("a").await.expect("an answer").queued_permits, 3);
    assert_eq!(limiter.statistics("b").await.expect("an answer").queued_permits, 0);
    let full = limiter.acquire("a", 3).await.expect("an answer");
    assert_eq!(full.failure(), Some(FailureReason::QueueFull));
    world.come_back(lease).await;
    assert!(waiter.await.expect("no panic").is_acquired());
    let token = CancellationToken::new();
    token.cancel();
    let cancelled = limiter.acquire_unless_cancelled("a", 1, &token).await;
    assert!(matches!(cancelled, Err(PermitError::Cancelled)), "{cancelled:?}");
}

pub async fn an_idle_partition_is_dropped_and_made_again(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let makers = Makers::new([]);
    let limiter = makers.partitioned(&world, NO_QUEUE);
    let lease = take_of(&limiter, "a", 2).await;
    world.come_back(lease).await;
    assert_eq!(limiter.partitions(), 1);
    sleep(2 * IDLE_AFTER + Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(limiter.partitions(), 0);
    let _lease = take_of(&limiter, "a", 5).await;
    assert_eq!((makers.made(), limiter.partitions()), (2, 1));
    let granted = limiter.statistics("a").await.expect("an answer").granted;
    assert_eq!(granted, 1, "its counts are gone with it");
}

pub async fn a_partition_of_which_something_is_taken_stays(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let makers = Makers::new([]);
    let limiter = makers.partitioned(&world, NO_QUEUE);
    let mut lease = take_of(&limiter, "a", 2).await;
    for _ in 0..20 {
        // Taken anew before the kinds that come back by time have been back for long.
        advance(IDLE_AFTER / 4).await;
        settle().await;
        let next = take_of(&limiter, "a", 1).await;
        drop(std::mem::replace(&mut lease, next));
        world.replenish().await;
    }
    assert_eq!(makers.made(), 1);
}

pub async fn a_partition_in_use_stays(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let makers = Makers::new([]);
    let limiter = makers.partitioned(&world, oldest_first(5));
    drop(take_of(&limiter, "a", 0).await);
    // Somebody else takes everything, and somebody waits here for long.
    let other = world.limiter("a", NO_QUEUE);
    let lease = take(&other, 5).await;
    let waiter = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.acquire("a", 5).await.expect("an answer") }
    });
    settle().await;
    let _all = world.come_back(lease).await;
    assert!(waiter.await.expect("no panic").is_acquired());
    assert_eq!(makers.made(), 1);
}

pub async fn a_partition_whose_limit_is_gone_is_made_again(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let makers = Makers::new([]);
    let limiter = makers.partitioned(&world, NO_QUEUE);
    drop(take_of(&limiter, "a", 0).await);
    world.home.admin().delete(&crate::fixtures::key("a")).await.expect("the ledger answers");
    let error = limiter.attempt_acquire("a", 1).await.expect_err("its limit is gone");
    assert!(matches!(error, PermitError::UnknownLimit { .. }), "{error:?}");
    sleep(IDLE_AFTER + Duration::from_secs(1)).await;
    settle().await;
    let _lease = take_of(&limiter, "a", 5).await;
    assert_eq!(makers.made(), 2);
}

pub async fn one_that_could_not_be_made_leaves_nothing(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let limiter = Makers::new([Plan::Fail, Plan::Fail]).partitioned(&world, NO_QUEUE);
    for resource in ["a", "b"] {
        limiter.attempt_acquire(resource, 1).await.expect_err("it cannot be made");
    }
    sleep(IDLE_AFTER + Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(limiter.partitions(), 0);
}

pub async fn closing_closes_every_partition(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let limiter = Makers::new([]).partitioned(&world, oldest_first(5));
    let _lease = take_of(&limiter, "a", 5).await;
    let waiter = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.acquire("a", 1).await.expect("a failed lease is no error") }
    });
    settle().await;
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

pub async fn one_that_is_made_while_it_closes_is_closed(kind: &'static Fixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let makers = Makers::new([Plan::Wait]);
    let limiter = makers.partitioned(&world, NO_QUEUE);
    let late = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.attempt_acquire("a", 1).await }
    });
    settle().await;
    limiter.close();
    makers.go_on.notify_one();
    let error = late.await.expect("no panic").expect_err("it is closed");
    assert!(matches!(error, PermitError::ShutDown), "{error:?}");
    assert_eq!(available(&world.limiter("a", NO_QUEUE)).await, 5);
}
