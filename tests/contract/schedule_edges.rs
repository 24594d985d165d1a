//! Limits with a schedule in combination with delayed or stale replicas, changes, deletions and batches.

use ledger_limiter::decide::lease::Lease;
use ledger_limiter::decide::settle::{Next, Settlement, Used};
use ledger_limiter::ledger::{ChainOutcome, Ledger};
use ledger_limiter::limit::Status;
use ledger_limiter::protocol::CompleteOutcome;

use super::schedules::{SECOND, start, wait_for_window};
use crate::fixtures::*;

pub async fn a_complete_batch_releases_nothing_of_an_ended_window<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("fixed", 10, 2, 0)).await;
    replica.put(rolling("tokens", 100, 3_600)).await;
    wait_for_window(&backend, &replica, 2_000).await;
    let leases = [lease(), lease()];
    for id in leases {
        assert!(is_granted(&replica.reserve(id, &[("fixed", 5), ("tokens", 10)]).await));
    }
    // A fixed window has two spent accounts, so the window after the next one uses theirs again.
    wait_for_window(&backend, &replica, 2_000).await;
    wait_for_window(&backend, &replica, 2_000).await;
    assert!(is_granted(&replica.take(&[("fixed", 10)]).await));
    let commands = leases.map(|id| complete(id, &[("fixed", 0), ("tokens", 1)]));
    for settled in replica.limiter().complete_batch(&commands).await {
        assert_eq!(settled.expect("the ledger answers"), CompleteOutcome::Settled { overages: Vec::new() });
    }
    assert_eq!(replica.usage("tokens").await, Usage { available: 98, reserved: 2, debt: 0 });
    assert_eq!(
        replica.usage("fixed").await,
        Usage { available: 0, reserved: 10, debt: 0 },
        "another caller spent it"
    );
}

pub async fn a_delayed_complete_releases_nothing_that_others_spent<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    // Both have steps of two seconds. A reservation is refilled after one step or after two.
    for (definition, steps) in
        [(fixed_window("fixed", 10, 2, 0), 1), (sliding_window("sliding", 10, 4, 2), 2)]
    {
        let name = definition.key.clone();
        replica.put(definition).await;
        wait_for_window(&backend, &replica, 2_000).await;
        let id = lease();
        assert!(is_granted(&replica.reserve(id, &[(name.as_str(), 10)]).await));
        // A replica plans a complete that releases all of it, and stops before it sends the chain.
        let info = replica.info(name.as_str()).await;
        let limit = info.limit();
        let transfers = replica.ledger.lease_transfers(replica.ids.lease_query(id)).await;
        let found =
            Lease::from_transfers(id, &transfers.expect("the ledger answers")).expect("the lease is granted");
        let accounts = [limit.account].into_iter().collect();
        let used =
            Used { accounts, amount: 0, debt_account: limit.debt_account, borrowed: None, is_known: true };
        let now_ns = replica.ledger.now_ns();
        let mut settlement = Settlement::new(replica.ids, found, &[used]);
        let Ok(Next::Send(chain)) = settlement.next(|| now_ns) else {
            panic!("the settlement has a chain to send")
        };
        for _ in 0..steps {
            wait_for_window(&backend, &replica, 2_000).await;
        }
        assert!(is_granted(&replica.take(&[(name.as_str(), 10)]).await), "all of it is refilled");
        let outcome = replica.ledger.submit_one(chain).await.expect("the ledger answers");
        assert!(matches!(outcome, ChainOutcome::Created { .. }), "{outcome:?}");
        assert_eq!(
            replica.usage(name.as_str()).await,
            Usage { available: 0, reserved: 10, debt: 0 },
            "{name}"
        );
    }
}

pub async fn a_stale_replica_refills_up_to_the_raised_capacity<B: Backend>(backend: B) {
    let (replica, stale) = (start(&backend).await, start(&backend).await);
    replica.put(token_bucket("rpm", 10, 5, 1_000)).await;
    stale.take(&[("rpm", 1)]).await;
    replica.put(token_bucket("rpm", 100, 5, 1_000)).await;
    assert!(is_granted(&replica.take(&[("rpm", 99)]).await));
    backend.pass(SECOND * 4).await;
    assert!(is_granted(&stale.take(&[("rpm", 1)]).await));
    assert_eq!(
        replica.usage("rpm").await,
        Usage { available: 19, reserved: 81, debt: 0 },
        "four refills, not capped at the old capacity of ten"
    );
}

pub async fn a_window_that_ends_while_its_limit_is_deleted_is_refilled<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("fixed", 10, 1, 0)).await;
    replica.take(&[("fixed", 10)]).await;
    replica.admin().delete(&key("fixed")).await.expect("the limit exists");
    backend.pass(SECOND).await;
    replica.put(fixed_window("fixed", 10, 31_622_400, 0)).await;
    assert_eq!(
        replica.usage("fixed").await,
        Usage { available: 10, reserved: 0, debt: 0 },
        "the old window ended before the new one began"
    );
}

pub async fn a_deleted_bucket_can_be_created_smaller_and_without_a_schedule<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("key", 10, 1, 60_000)).await;
    replica.take(&[("key", 4)]).await;
    replica.admin().delete(&key("key")).await.expect("the limit exists");
    assert!(matches!(replica.put(rolling("key", 5, 60)).await, Status::Decreasing { .. }));
    assert!(!is_granted(&replica.take(&[("key", 1)]).await));
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("key").await, Usage { available: 5, reserved: 0, debt: 0 });
    assert!(is_granted(&replica.take(&[("key", 5)]).await));
}
