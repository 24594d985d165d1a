//! Where limits with a schedule meet something else: another replica, a change, a deletion, a batch.

use ledger_limiter::decide::lease::Lease;
use ledger_limiter::decide::settle::{Next, Settlement, Used};
use ledger_limiter::ledger::{ChainOutcome, Ledger};
use ledger_limiter::limit::Status;
use ledger_limiter::protocol::CompleteOutcome;

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
    for settled in replica.limiter().complete_batch(&commands).await {
        assert_eq!(settled.expect("the ledger answers"), CompleteOutcome::Settled { overages: Vec::new() });
    }
    assert_eq!(replica.usage("tokens").await, (98, 2, 0));
    assert_eq!(replica.usage("fixed").await, (0, 10, 0), "others spent it");
}

pub async fn what_is_given_back_late_is_not_what_others_spent<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    // Both have steps of two seconds; what is taken is back after one of them and after two.
    for (definition, steps) in
        [(fixed_window("fixed", 10, 2, 0), 1), (sliding_window("sliding", 10, 4, 2), 2)]
    {
        let name = definition.key.clone();
        replica.put(definition).await;
        window_begins(&backend, &replica, 2_000).await;
        let id = lease();
        assert!(is_granted(&replica.reserve(id, &[(name.as_str(), 10)]).await));
        // A replica plans to give it back, and is stopped before it has sent anything.
        let info = replica.info(name.as_str()).await;
        let limit = info.limit();
        let transfers = replica.ledger.lease_transfers(replica.ids.lease_query(id)).await;
        let held = Lease::from_transfers(id, &transfers.expect("the ledger answers")).expect("it is granted");
        let used =
            Used { account: limit.account, amount: 0, debt_account: limit.debt_account, borrowed: None };
        let now_ns = replica.ledger.now_ns();
        let mut settlement = Settlement::new(replica.ids, held, &[used], now_ns).expect("of the lease");
        let Ok(Next::Send(chain)) = settlement.next(|| now_ns) else { panic!("it has something to send") };
        for _ in 0..steps {
            window_begins(&backend, &replica, 2_000).await;
        }
        assert!(is_granted(&replica.take(&[(name.as_str(), 10)]).await), "all of it has come back");
        let outcome = replica.ledger.submit_one(chain).await.expect("the ledger answers");
        assert!(matches!(outcome, ChainOutcome::Created { .. }), "{outcome:?}");
        assert_eq!(replica.usage(name.as_str()).await, (0, 10, 0), "{name}");
    }
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
    replica.admin().delete(&key("fixed")).await.expect("it is there");
    backend.pass(SECOND).await;
    replica.put(fixed_window("fixed", 10, 31_622_400, 0)).await;
    assert_eq!(replica.usage("fixed").await, (10, 0, 0), "that window was over before the new one began");
}

pub async fn a_deleted_bucket_comes_back_smaller_and_without_a_schedule<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("key", 10, 1, 60_000)).await;
    replica.take(&[("key", 4)]).await;
    replica.admin().delete(&key("key")).await.expect("it is there");
    assert!(matches!(replica.put(rolling("key", 5, 60)).await, Status::Decreasing { .. }));
    assert!(!is_granted(&replica.take(&[("key", 1)]).await));
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("key").await, (5, 0, 0));
    assert!(is_granted(&replica.take(&[("key", 5)]).await));
}
