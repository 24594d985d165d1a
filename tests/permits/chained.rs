//! Chains of limiters: a lease of a chain takes permits of every link.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::client::permits::{
    ChainedLimiter, FailureReason, PermitError, PermitOptions, PermitStatistics, Permits,
};
use tokio::time::advance;
use tokio_util::sync::CancellationToken;

use super::world::*;

type Chain = Arc<ChainedLimiter>;

/// A chain of limits with these capacities and options, and its links.
async fn chain<const N: usize>(world: &World, links: [(u64, PermitOptions); N]) -> (Chain, [Limiter; N]) {
    let names: [String; N] = std::array::from_fn(|index| format!("link{index}"));
    for (name, (capacity, _)) in names.iter().zip(links) {
        world.put(name, capacity).await;
    }
    let limiters: [Limiter; N] = std::array::from_fn(|index| world.limiter(&names[index], links[index].1));
    let (first, rest) = limiters.split_first().expect("a chain has a link");
    (Arc::new(ChainedLimiter::new(first.clone(), rest.to_vec())), limiters)
}

async fn all_available<const N: usize>(links: &[Limiter; N]) -> [u128; N] {
    let mut all = [0; N];
    for (free, link) in all.iter_mut().zip(links) {
        *free = available(link).await;
    }
    all
}

pub async fn a_lease_takes_permits_of_each_link(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (chain, links) = chain(&world, [(5, NO_QUEUE), (7, NO_QUEUE), (9, NO_QUEUE)]).await;
    let lease = take(&*chain, 3).await;
    assert_eq!(all_available(&links).await, [2, 4, 6]);
    let acquired = chain.acquire(2).await.expect("an answer");
    assert!(acquired.is_acquired() && acquired.permits() == 2);
    assert_eq!(all_available(&links).await, [0, 2, 4]);
    lease.cancel().await.expect("it is released");
    assert_eq!(all_available(&links).await, [3, 5, 7]);
}

pub async fn a_failure_leaves_nothing_taken(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (chain, links) = chain(&world, [(5, NO_QUEUE), (7, NO_QUEUE), (5, NO_QUEUE)]).await;
    let _lease = take(&links[2], 4).await;
    let attempted = chain.attempt_acquire(3).await.expect("an answer");
    assert_eq!(attempted.failure(), Some(FailureReason::NoRoom));
    assert!(attempted.retry_after().is_some_and(|span| span > Duration::ZERO));
    assert_eq!(all_available(&links).await, [5, 7, 1]);
    let acquired = chain.acquire(3).await.expect("an answer");
    assert_eq!(acquired.failure(), Some(FailureReason::QueueFull));
    assert_eq!(all_available(&links).await, [5, 7, 1]);
}

pub async fn a_failed_chain_releases_in_reverse_order(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (chain, links) = chain(&world, [(5, NO_QUEUE), (5, NO_QUEUE), (5, NO_QUEUE), (5, NO_QUEUE)]).await;
    let _lease = take(&links[3], 5).await;
    world.ledger.forget_chains();
    drop(chain.attempt_acquire(1).await.expect("an answer"));
    assert_eq!(world.ledger.released_leases(), [2, 1, 0], "the first three links were acquired");
}

pub async fn a_lease_is_released_in_reverse_order(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (chain, _) = chain(&world, [(5, NO_QUEUE), (5, NO_QUEUE), (5, NO_QUEUE)]).await;
    for is_dropped in [true, false] {
        world.ledger.forget_chains();
        let lease = take(&*chain, 1).await;
        if is_dropped {
            drop(lease);
        } else {
            lease.release().await.expect("it is released");
        }
        run_tasks().await;
        assert_eq!(world.ledger.released_leases(), [2, 1, 0]);
    }
}

pub async fn the_first_failure_ends_the_call(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (chain, links) = chain(&world, [(5, NO_QUEUE), (5, NO_QUEUE)]).await;
    let _lease = take(&links[0], 5).await;
    assert!(!chain.attempt_acquire(1).await.expect("an answer").is_acquired());
    assert_eq!(links[1].statistics().await.expect("an answer").granted, 0, "the second link was not asked");
}

pub async fn an_error_leaves_nothing_taken(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (chain, links) = chain(&world, [(5, NO_QUEUE), (3, NO_QUEUE)]).await;
    let error = chain.attempt_acquire(4).await.expect_err("it is above the capacity of the second");
    assert!(matches!(error, PermitError::ExceedsCapacity { capacity: 3, .. }), "{error:?}");
    assert_eq!(all_available(&links).await, [5, 3]);
    links[1].close();
    let error = chain.acquire(1).await.expect_err("the second is shut down");
    assert!(matches!(error, PermitError::ShutDown), "{error:?}");
    assert_eq!(available(&links[0]).await, 5);
}

pub async fn a_chain_waits_in_the_queues_of_its_links(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (chain, links) = chain(&world, [(5, oldest_first(5)), (5, oldest_first(5))]).await;
    let lease = take(&links[1], 5).await;
    let waiter = Waiter::start(&chain, 2).await;
    assert!(waiter.is_waiting());
    assert_eq!(all_available(&links).await, [3, 0], "the waiter holds two permits of the first link");
    assert_eq!(chain.statistics().await.expect("an answer").queued_permits, 2);
    lease.cancel().await.expect("it is released");
    run_tasks().await;
    let lease = waiter.acquired_at_once().await;
    assert_eq!(lease.permits(), 2);
    assert_eq!(available(&links[1]).await, 3);
}

pub async fn a_call_cancelled_halfway_leaves_nothing_taken(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (chain, links) = chain(&world, [(5, oldest_first(5)), (5, oldest_first(5))]).await;
    let _lease = take(&links[1], 5).await;
    let waiter = Waiter::start(&chain, 2).await;
    waiter.cancel().await;
    assert_eq!(all_available(&links).await, [5, 0]);
    let token = CancellationToken::new();
    let cancelling = async {
        run_tasks().await;
        token.cancel();
    };
    let (acquired, ()) = tokio::join!(chain.acquire_unless_cancelled(2, &token), cancelling);
    assert!(matches!(acquired, Err(PermitError::Cancelled)), "{acquired:?}");
    run_tasks().await;
    assert_eq!(all_available(&links).await, [5, 0]);
    assert_eq!(chain.statistics().await.expect("an answer").queued_permits, 0);
}

pub async fn a_link_that_is_shut_down_during_a_wait_leaves_nothing_taken(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (chain, links) = chain(&world, [(5, oldest_first(5)), (5, oldest_first(5))]).await;
    let _lease = take(&links[1], 5).await;
    let waiter = Waiter::start(&chain, 2).await;
    links[1].close();
    assert_eq!(waiter.failed().await, FailureReason::ShutDown);
    assert_eq!(available(&links[0]).await, 5);
}

pub async fn statistics_cover_all_links(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (chain, links) = chain(&world, [(9, oldest_first(9)), (5, oldest_first(5)), (7, NO_QUEUE)]).await;
    let fresh = PermitStatistics { available: 5, queued_permits: 0, granted: 0, failed: 0 };
    assert_eq!(chain.statistics().await.expect("an answer"), fresh);
    let _first = take(&*chain, 1).await;
    let _second = take(&*chain, 1).await;
    let _other = take(&links[0], 7).await;
    let _waiter = Waiter::start(&links[0], 3).await;
    let _failed = links[2].attempt_acquire(6).await.expect("an answer");
    let _failed = chain.attempt_acquire(1).await.expect("an answer");
    let expected = PermitStatistics { available: 0, queued_permits: 3, granted: 2, failed: 2 };
    assert_eq!(chain.statistics().await.expect("an answer"), expected);
}

pub async fn a_chain_is_idle_while_all_its_links_are_idle(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    world.put("early", 5).await;
    let early = world.limiter("early", NO_QUEUE);
    advance(Duration::from_secs(2)).await;
    world.put("late", 5).await;
    let late = world.limiter("late", NO_QUEUE);
    let chain = ChainedLimiter::new(early.clone(), [late]);
    advance(Duration::from_secs(3)).await;
    let idle = async |limiter: &ChainedLimiter| limiter.idle_duration().await.expect("an answer");
    assert_eq!(idle(&chain).await, Some(Duration::from_secs(3)));
    let lease = take(&early, 1).await;
    assert_eq!(idle(&chain).await, None);
    lease.cancel().await.expect("it is released");
    advance(Duration::from_secs(1)).await;
    assert_eq!(idle(&chain).await, Some(Duration::from_secs(1)));
}

pub async fn closing_a_chain_leaves_its_links_open(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (chain, links) = chain(&world, [(5, NO_QUEUE), (5, NO_QUEUE)]).await;
    let lease = take(&*chain, 1).await;
    chain.close();
    let errors = [
        chain.attempt_acquire(1).await.expect_err("it is closed"),
        chain.acquire(1).await.expect_err("it is closed"),
        chain.statistics().await.expect_err("it is closed"),
        chain.idle_duration().await.expect_err("it is closed"),
    ];
    for error in errors {
        assert!(matches!(error, PermitError::ShutDown), "{error:?}");
    }
    lease.cancel().await.expect("it is released");
    assert_eq!(all_available(&links).await, [5, 5]);
    let _lease = take(&links[0], 5).await;
}

pub async fn zero_permits_need_a_free_permit_of_each_link(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (chain, links) = chain(&world, [(5, NO_QUEUE), (5, NO_QUEUE)]).await;
    let _zero = take(&*chain, 0).await;
    let _lease = take(&links[1], 5).await;
    let failed = chain.attempt_acquire(0).await.expect("an answer");
    assert_eq!(failed.failure(), Some(FailureReason::NoRoom));
    assert_eq!(all_available(&links).await, [5, 0]);
}

pub async fn a_chain_may_be_a_link(kind: &'static KindFixture) {
    let world = World::new(kind, 1, NO_QUEUE).await;
    let (inner, links) = chain(&world, [(5, NO_QUEUE), (3, NO_QUEUE)]).await;
    let inner = Arc::into_inner(inner).expect("it has one owner");
    let outer = ChainedLimiter::new(inner, []);
    let lease = take(&outer, 2).await;
    assert_eq!(all_available(&links).await, [3, 1]);
    assert!(!outer.attempt_acquire(2).await.expect("an answer").is_acquired());
    assert_eq!(all_available(&links).await, [3, 1]);
    lease.cancel().await.expect("it is released");
    assert_eq!(all_available(&links).await, [5, 3]);
}
