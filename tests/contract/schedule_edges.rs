//! Where limits with a schedule meet something else: another replica, a change, a deletion, a batch.

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{LeaseId, Status};
use ledger_limiter::limiter::CompleteOutcome;

use super::schedules::{SECOND, start, window_begins};
use crate::fixtures::*;

pub async fn a_batch_gives_nothing_back_of_a_window_that_is_over<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("fixed", 10, 2, 0)).await;
    replica.put(rolling("tokens", 100, 3_600)).await;
    window_begins(&backend, &replica, 2_000).await;
    let leases = [lease(), lease()];
    for id in leases {
        assert!(is_granted(&replica.reserve(id, &[("fixed", 5), ("tokens", 10)]).await));
    }
    // What the window after the next one spends is kept where theirs was.
    window_begins(&backend, &replica, 2_000).await;
    window_begins(&backend, &replica, 2_000).await;
    assert!(is_granted(&replica.take(&[("fixed", 10)]).await));
    let commands = leases.map(|id| complete(id, &[("fixed", 0), ("tokens", 1)]));
    for settled in replica.limiter.complete_batch(&commands).await {
        assert_eq!(settled.expect("the ledger answers"), CompleteOutcome::Settled { excesses: Vec::new() });
    }
    assert_eq!(replica.usage("tokens").await, (98, 2, 0));
    assert_eq!(replica.usage("fixed").await, (0, 10, 0), "others spent it");
}

pub async fn a_replica_that_knows_a_lower_capacity_refills_all<B: Backend>(backend: B) {
    let (replica, stale) = (start(&backend).await, start(&backend).await);
    replica.put(token_bucket("rpm", 10, 5, 1_000)).await;
    stale.take(&[("rpm", 1)]).await;
    replica.put(token_bucket("rpm", 100, 5, 1_000)).await;
    assert!(is_granted(&replica.take(&[("rpm", 99)]).await));
    backend.pass(SECOND * 4).await;
    assert!(is_granted(&stale.take(&[("rpm", 1)]).await));
    assert_eq!(replica.usage("rpm").await, (19, 81, 0), "four refills and not a bucketful of ten");
}

pub async fn what_was_due_of_a_deleted_limit_is_back<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("fixed", 10, 1, 0)).await;
    replica.take(&[("fixed", 10)]).await;
    replica.admin.delete(&key("fixed")).await.expect("it is there");
    backend.pass(SECOND).await;
    replica.put(fixed_window("fixed", 10, 31_622_400, 0)).await;
    assert_eq!(replica.usage("fixed").await, (10, 0, 0), "that window was over before the new one began");
}

pub async fn a_deleted_bucket_comes_back_smaller_and_without_a_schedule<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("key", 10, 1, 60_000)).await;
    replica.take(&[("key", 4)]).await;
    replica.admin.delete(&key("key")).await.expect("it is there");
    assert!(matches!(replica.put(rolling("key", 5, 60)).await, Status::Decreasing { .. }));
    assert!(!is_granted(&replica.take(&[("key", 1)]).await));
    replica.admin.apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("key").await, (5, 0, 0));
    assert!(is_granted(&replica.take(&[("key", 5)]).await));
}

pub async fn a_bucket_by_hand_is_refilled_while_decreasing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(bucket_by_hand("manual", 10, 4)).await;
    replica.take(&[("manual", 10)]).await;
    assert!(matches!(replica.put(bucket_by_hand("manual", 6, 4)).await, Status::Decreasing { .. }));
    let first = lease();
    for _ in 0..2 {
        assert!(refilled(&replica, first).await, "once, however often it is asked for");
        assert_eq!(replica.usage("manual").await, (4, 6, 0));
        assert!(!is_granted(&replica.take(&[("manual", 1)]).await), "nobody is let in");
    }
    replica.admin.apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("manual").await, (0, 6, 0));
    assert!(refilled(&replica, first).await);
    assert_eq!(replica.usage("manual").await, (0, 6, 0), "it was made while the limit was closed");
    assert!(refilled(&replica, lease()).await);
    assert_eq!(replica.usage("manual").await, (4, 2, 0));
}

async fn refilled<L: Ledger>(replica: &Replica<L>, replenishment: LeaseId) -> bool {
    replica.admin.replenish(&key("manual"), replenishment).await.expect("the ledger answers")
}
