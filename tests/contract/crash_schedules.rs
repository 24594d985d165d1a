//! As `crash.rs`, for limits with a schedule: a refill, change or complete that a crash interrupts happens whole or not at
//! all.

use std::time::Duration;

use ledger_limiter::limit::{Definition, LeaseId};

use super::crash::{assert_balance_is_capacity, at_every_call, name_of};
use crate::fixtures::*;

/// Longer than the rest of a round after its refill, so that no second refill is due.
const REFILL_INTERVAL: Duration = Duration::from_secs(2);

fn leases() -> Vec<LeaseId> {
    (0..100).map(|_| lease()).collect()
}

pub async fn a_refill_is_whole_after_a_crash<B: Backend>(backend: B) {
    let leases = leases();
    at_every_call(
        &backend,
        async |healthy, round| {
            let limit = name_of(round);
            healthy.put(token_bucket(&limit, 10, 3, REFILL_INTERVAL.as_millis() as u64)).await;
            assert!(is_granted(&healthy.take(&[(&limit, 10)]).await));
            backend.pass(REFILL_INTERVAL).await;
        },
        async |crashing, round| {
            crashing.limiter().reserve(&reserve(leases[round], &[(&name_of(round), 1)])).await.is_ok()
        },
        async |another, round| {
            assert!(is_granted(&another.reserve(leases[round], &[(&name_of(round), 1)]).await));
            assert_eq!(
                another.usage(&name_of(round)).await,
                Usage { available: 2, reserved: 8, debt: 0 },
                "refilled once, and reserved once"
            );
        },
    )
    .await;
}

pub async fn a_refill_of_a_closed_limit_is_whole_after_a_crash<B: Backend>(backend: B) {
    at_every_call(
        &backend,
        async |healthy, round| {
            let limit = name_of(round);
            healthy.put(fixed_window(&limit, 10, REFILL_INTERVAL.as_secs(), 0)).await;
            assert!(is_granted(&healthy.take(&[(&limit, 10)]).await));
            healthy.put(fixed_window(&limit, 8, REFILL_INTERVAL.as_secs(), 0)).await;
            backend.pass(REFILL_INTERVAL).await;
        },
        async |crashing, round| {
            // It is denied, after the refill.
            crashing.limiter().reserve(&reserve(lease(), &[(&name_of(round), 1)])).await.is_ok()
        },
        async |another, round| {
            assert!(!is_granted(&another.take(&[(&name_of(round), 1)]).await), "the limit is still closed");
            assert_balance_is_capacity(another, &name_of(round), 8, 0).await;
        },
    )
    .await;
}

pub async fn a_manual_refill_is_whole_after_a_crash<B: Backend>(backend: B) {
    let replenishments: Vec<ReplenishId> = (0..100).map(|_| replenish_id()).collect();
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(manual_bucket(&name_of(round), 10, 3)).await;
            assert!(is_granted(&healthy.take(&[(&name_of(round), 10)]).await));
        },
        async |crashing, round| {
            crashing.admin().replenish(&key(&name_of(round)), replenishments[round]).await.is_ok()
        },
        async |another, round| {
            let again = another.admin().replenish(&key(&name_of(round)), replenishments[round]).await;
            assert!(again.expect("the ledger answers"));
            assert_eq!(another.usage(&name_of(round)).await, Usage { available: 3, reserved: 7, debt: 0 });
        },
    )
    .await;
}

pub async fn a_window_ended_by_hand_is_whole_after_a_crash<B: Backend>(backend: B) {
    let requests: Vec<ReplenishId> = (0..100).map(|_| replenish_id()).collect();
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(window_by_hand(&name_of(round), 10, 1, 1)).await;
            assert!(is_granted(&healthy.take(&[(&name_of(round), 10)]).await));
            backend.pass(Duration::from_millis(2)).await;
        },
        async |crashing, round| {
            crashing.admin().replenish(&key(&name_of(round)), requests[round]).await.is_ok()
        },
        async |another, round| {
            let name = name_of(round);
            let request = async || another.admin().replenish(&key(&name), requests[round]).await;
            assert!(request().await.expect("the ledger answers"));
            assert_eq!(another.usage(&name).await, Usage { available: 10, reserved: 0, debt: 0 });
            assert!(is_granted(&another.take(&[(&name, 4)]).await));
            backend.pass(Duration::from_millis(2)).await;
            assert!(request().await.expect("the ledger answers"));
            assert_eq!(
                another.usage(&name).await,
                Usage { available: 6, reserved: 4, debt: 0 },
                "the same request ends no second window"
            );
        },
    )
    .await;
}

pub async fn a_change_of_schedule_is_whole_after_a_crash<B: Backend>(backend: B) {
    let before: [fn(usize) -> Definition; 3] = [
        |round| token_bucket(&name_of(round), 10, 1, 600_000),
        |round| token_bucket(&name_of(round), 10, 1, 600_000),
        |round| sliding_window(&name_of(round), 10, 31_622_400, 60),
    ];
    let after: [fn(usize) -> Definition; 3] = [
        |round| token_bucket(&name_of(round), 15, 2, 600_000),
        |round| token_bucket(&name_of(round), 8, 2, 600_000),
        |round| sliding_window(&name_of(round), 8, 31_622_400, 2),
    ];
    // A bucket that is lowered keeps its tokens, up to the new capacity.
    let reserved = [4, 2, 4];
    for (number, ((before, after), reserved)) in before.into_iter().zip(after).zip(reserved).enumerate() {
        // Each pair of definitions has its own limits.
        let own = |round| round + 1_000 * number;
        at_every_call(
            &backend,
            async |healthy, round| {
                healthy.put(before(own(round))).await;
                assert!(is_granted(&healthy.take(&[(&name_of(own(round)), 4)]).await));
            },
            async |crashing, round| crashing.admin().put(&after(own(round))).await.is_ok(),
            async |another, round| {
                let definition = after(own(round));
                another.put(definition.clone()).await;
                let (name, capacity) = (definition.key.as_str(), definition.capacity.get());
                assert_balance_is_capacity(another, name, capacity, reserved).await;
                assert!(is_granted(&another.take(&[(name, 4)]).await), "the new schedule grants");
            },
        )
        .await;
    }
}

pub async fn a_complete_on_a_bucket_is_whole_after_a_crash<B: Backend>(backend: B) {
    let leases = leases();
    let settle =
        |round: usize| complete(leases[round], &[(&name_of(round), 45), ("window", 20), ("slots", 1)]);
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(token_bucket(&name_of(round), 40, 1, 600_000)).await;
            healthy.put(fixed_window("window", 10_000, 31_622_400, 0)).await;
            healthy.put(concurrency("slots", 1_000, 600)).await;
            let wants = reserve(leases[round], &[(&name_of(round), 30), ("window", 50), ("slots", 1)]);
            assert!(is_granted(&healthy.limiter().reserve(&wants).await.expect("the ledger answers")));
        },
        async |crashing, round| crashing.limiter().complete(&settle(round)).await.is_ok(),
        async |another, round| {
            another.limiter().complete(&settle(round)).await.expect("the ledger answers");
            assert_eq!(
                another.usage(&name_of(round)).await,
                Usage { available: 0, reserved: 40, debt: 5 },
                "the overage became debt once"
            );
            let round = round as u128;
            assert_eq!(
                another.usage("window").await,
                Usage { available: 10_000 - 20 * round, reserved: 20 * round, debt: 0 }
            );
            assert_eq!(another.usage("slots").await, Usage { available: 1_000, reserved: 0, debt: 0 });
        },
    )
    .await;
}

pub async fn a_complete_on_a_closed_window_is_whole_after_a_crash<B: Backend>(backend: B) {
    let leases = leases();
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(fixed_window(&name_of(round), 100, 31_622_400, 0)).await;
            assert!(is_granted(&healthy.reserve(leases[round], &[(&name_of(round), 80)]).await));
            healthy.put(fixed_window(&name_of(round), 50, 31_622_400, 0)).await;
        },
        async |crashing, round| {
            crashing.limiter().complete(&complete(leases[round], &[(&name_of(round), 30)])).await.is_ok()
        },
        async |another, round| {
            another.complete(leases[round], &[(&name_of(round), 30)]).await;
            assert_balance_is_capacity(another, &name_of(round), 50, 30).await;
        },
    )
    .await;
}
