//! The same for limits with a schedule: whatever a replica was doing to one when it died happened whole or not at all.

use std::time::Duration;

use ledger_limiter::limit::{Definition, LeaseId};

use super::crash::{at_every_call, is_exact, name};
use crate::fixtures::*;

/// Longer than whatever is done behind a refill.
const REFILL_INTERVAL: Duration = Duration::from_secs(2);

fn leases() -> Vec<LeaseId> {
    (0..100).map(|_| lease()).collect()
}

pub async fn a_refill_is_whole<B: Backend>(backend: B) {
    let leases = leases();
    at_every_call(
        &backend,
        async |healthy, round| {
            let limit = name(round);
            healthy.put(token_bucket(&limit, 10, 3, REFILL_INTERVAL.as_millis() as u64)).await;
            assert!(is_granted(&healthy.take(&[(&limit, 10)]).await));
            backend.pass(REFILL_INTERVAL).await;
        },
        async |dying, round| {
            dying.limiter().reserve(&reserve(leases[round], &[(&name(round), 1)])).await.is_ok()
        },
        async |another, round| {
            assert!(is_granted(&another.reserve(leases[round], &[(&name(round), 1)]).await));
            assert_eq!(another.usage(&name(round)).await, (2, 8, 0), "refilled once, and taken of once");
        },
    )
    .await;
}

pub async fn a_refill_of_a_closed_limit_is_whole<B: Backend>(backend: B) {
    at_every_call(
        &backend,
        async |healthy, round| {
            let limit = name(round);
            healthy.put(fixed_window(&limit, 10, REFILL_INTERVAL.as_secs(), 0)).await;
            assert!(is_granted(&healthy.take(&[(&limit, 10)]).await));
            healthy.put(fixed_window(&limit, 8, REFILL_INTERVAL.as_secs(), 0)).await;
            backend.pass(REFILL_INTERVAL).await;
        },
        async |dying, round| dying.admin().get(&key(&name(round))).await.is_ok(),
        async |another, round| {
            assert!(!is_granted(&another.take(&[(&name(round), 1)]).await), "it is closed still");
            is_exact(another, &name(round), 8, 0).await;
        },
    )
    .await;
}

pub async fn a_refill_by_hand_is_whole<B: Backend>(backend: B) {
    let replenishments: Vec<ReplenishId> = (0..100).map(|_| replenish_id()).collect();
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(bucket_by_hand(&name(round), 10, 3)).await;
            assert!(is_granted(&healthy.take(&[(&name(round), 10)]).await));
        },
        async |dying, round| dying.admin().replenish(&key(&name(round)), replenishments[round]).await.is_ok(),
        async |another, round| {
            let again = another.admin().replenish(&key(&name(round)), replenishments[round]).await;
            assert!(again.expect("the ledger answers"));
            assert_eq!(another.usage(&name(round)).await, (3, 7, 0));
        },
    )
    .await;
}

pub async fn a_change_of_schedule_is_whole<B: Backend>(backend: B) {
    let before: [fn(usize) -> Definition; 3] = [
        |round| token_bucket(&name(round), 10, 1, 600_000),
        |round| token_bucket(&name(round), 10, 1, 600_000),
        |round| sliding_window(&name(round), 10, 31_622_400, 60),
    ];
    let after: [fn(usize) -> Definition; 3] = [
        |round| token_bucket(&name(round), 15, 2, 600_000),
        |round| token_bucket(&name(round), 8, 2, 600_000),
        |round| sliding_window(&name(round), 8, 31_622_400, 2),
    ];
    // A bucket that is lowered keeps its tokens, up to the new capacity.
    let reserved = [4, 2, 4];
    for (number, ((before, after), reserved)) in before.into_iter().zip(after).zip(reserved).enumerate() {
        // Each has limits of its own.
        let own = |round| round + 1_000 * number;
        at_every_call(
            &backend,
            async |healthy, round| {
                healthy.put(before(own(round))).await;
                assert!(is_granted(&healthy.take(&[(&name(own(round)), 4)]).await));
            },
            async |dying, round| dying.admin().put(&after(own(round))).await.is_ok(),
            async |another, round| {
                let definition = after(own(round));
                another.put(definition.clone()).await;
                is_exact(another, definition.key.as_str(), definition.capacity.get(), reserved).await;
                assert!(is_granted(&another.take(&[(definition.key.as_str(), 4)]).await), "by the new one");
            },
        )
        .await;
    }
}

pub async fn a_complete_on_a_bucket_is_whole<B: Backend>(backend: B) {
    let leases = leases();
    let settle = |round: usize| complete(leases[round], &[(&name(round), 45), ("window", 20), ("slots", 1)]);
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(token_bucket(&name(round), 40, 1, 600_000)).await;
            healthy.put(fixed_window("window", 10_000, 31_622_400, 0)).await;
            healthy.put(concurrency("slots", 1_000, 600)).await;
            let wants = reserve(leases[round], &[(&name(round), 30), ("window", 50), ("slots", 1)]);
            assert!(is_granted(&healthy.limiter().reserve(&wants).await.expect("the ledger answers")));
        },
        async |dying, round| dying.limiter().complete(&settle(round)).await.is_ok(),
        async |another, round| {
            another.limiter().complete(&settle(round)).await.expect("the ledger answers");
            assert_eq!(another.usage(&name(round)).await, (10, 30, 15), "what did not fit is debt, once");
            let round = round as u128;
            assert_eq!(another.usage("window").await, (10_000 - 20 * round, 20 * round, 0));
            assert_eq!(another.usage("slots").await, (1_000, 0, 0));
        },
    )
    .await;
}

pub async fn a_complete_on_a_closed_window_is_whole<B: Backend>(backend: B) {
    let leases = leases();
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(fixed_window(&name(round), 100, 31_622_400, 0)).await;
            assert!(is_granted(&healthy.reserve(leases[round], &[(&name(round), 80)]).await));
            healthy.put(fixed_window(&name(round), 50, 31_622_400, 0)).await;
        },
        async |dying, round| {
            dying.limiter().complete(&complete(leases[round], &[(&name(round), 30)])).await.is_ok()
        },
        async |another, round| {
            another.complete(leases[round], &[(&name(round), 30)]).await;
            is_exact(another, &name(round), 50, 30).await;
        },
    )
    .await;
}
