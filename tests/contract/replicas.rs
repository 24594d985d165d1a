//! Several replicas over one ledger agree on limits, leases and decreases.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::limit::{ExpectedVersion, Status};
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};
use ledger_limiter::registry::AdminError;

use crate::fixtures::*;

/// A replica without a lease cache, so that everything it knows of leases comes from the ledger.
async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    Replica::start(backend.connect(), backend.ids(), 0).await
}

pub async fn a_new_replica_reads_every_limit_from_the_ledger<B: Backend>(backend: B) {
    let first = start(&backend).await;
    first.put(rolling("rpm", 10, 60)).await;
    first.put(concurrency("slots", 5, 60)).await;
    first.put(rolling("gone", 5, 60)).await;
    first.admin().delete(&key("gone")).await.expect("the limit exists");
    first.take(&[("rpm", 4)]).await;
    drop(first);
    let second = start(&backend).await;
    let list = second.admin().list().await.expect("the ledger answers");
    let found: Vec<_> = list.iter().map(|usage| (usage.key().as_str(), usage.available)).collect();
    assert_eq!(found, [("rpm", 6), ("slots", 5)]);
}

pub async fn a_lease_settles_at_replicas_that_did_not_grant_it<B: Backend>(backend: B) {
    let first = start(&backend).await;
    first.put(rolling("tpm", 100, 60)).await;
    first.put(concurrency("slots", 5, 60)).await;
    let lease = lease();
    let granted = first.reserve(lease, &[("slots", 1), ("tpm", 50)]).await;
    drop(first);
    let second = start(&backend).await;
    assert_eq!(second.reserve(lease, &[("tpm", 50), ("slots", 1)]).await, granted);
    assert_eq!(second.reserve(lease, &[("tpm", 51), ("slots", 1)]).await, ReserveOutcome::LeaseConflict);
    assert!(matches!(second.complete(lease, &[("tpm", 20)]).await, CompleteOutcome::Settled { .. }));
    let third = start(&backend).await;
    assert_eq!(third.reserve(lease, &[("tpm", 50), ("slots", 1)]).await, ReserveOutcome::LeaseSettled);
    assert_eq!(third.complete(lease, &[("tpm", 1)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(third.usage("tpm").await, Usage { available: 80, reserved: 20, debt: 0 });
    assert_eq!(third.usage("slots").await, Usage { available: 5, reserved: 0, debt: 0 });
}

pub async fn a_limit_created_at_one_replica_is_usable_at_another<B: Backend>(backend: B) {
    let (first, second) = (start(&backend).await, start(&backend).await);
    first.put(rolling("fresh", 10, 60)).await;
    assert!(is_granted(&second.take(&[("fresh", 4)]).await), "the reserve reads the log itself");
    first.put(rolling("fresh", 20, 60)).await;
    assert!(is_granted(&second.take(&[("fresh", 15)]).await), "the increase is known at the second replica");
}

pub async fn a_change_reaches_the_other_replicas<B: Backend>(backend: B) {
    let (first, second) = (start(&backend).await, start(&backend).await);
    first.put(rolling("rpm", 10, 60)).await;
    second.registry().refresh().await.expect("the ledger answers");
    first.put(rolling("rpm", 10, 1)).await;
    second.registry().refresh().await.expect("the ledger answers");
    assert!(is_granted(&second.take(&[("rpm", 10)]).await));
    backend.pass(Duration::from_secs(1)).await;
    assert_eq!(second.usage("rpm").await, Usage { available: 10, reserved: 0, debt: 0 });
}

pub async fn replicas_agree_after_concurrent_changes<B: Backend>(backend: B) {
    let replicas: Vec<_> = [start(&backend).await, start(&backend).await, start(&backend).await]
        .into_iter()
        .map(Arc::new)
        .collect();
    let capacities = [100_u64, 30, 250, 70, 500, 20, 90, 1_000, 10];
    let mut changes = tokio::task::JoinSet::new();
    for (index, capacity) in capacities.into_iter().enumerate() {
        let replica = Arc::clone(&replicas[index % replicas.len()]);
        changes.spawn(async move { replica.put(concurrency("slots", capacity, 60)).await });
    }
    changes.join_all().await;
    for replica in &replicas {
        replica.admin().apply_decreases().await.expect("the ledger answers");
    }
    let capacity = replicas[0].info("slots").await.state().definition.capacity;
    assert!(capacities.contains(&capacity.get()), "{capacity:?}");
    for replica in &replicas {
        let info = replica.info("slots").await;
        assert_eq!(info.state().definition.capacity, capacity, "every replica has the same definition");
        assert_eq!(info.state().status, Status::Active);
        assert_eq!(info.available, u128::from(capacity), "the balance is the capacity");
    }
}

pub async fn one_of_two_changes_over_the_same_version_is_made<B: Backend>(backend: B) {
    let (one, other) = (start(&backend).await, start(&backend).await);
    one.put(rolling("rpm", 1_000, 60)).await;
    for version in 1..=10 {
        let expected = ExpectedVersion::Is(version);
        // Each is higher than all before, so that none waits to be applied.
        let capacity = (version + 1) * 1_000;
        let (low, high) = (rolling("rpm", capacity, 60), rolling("rpm", capacity + 1, 60));
        let changes =
            tokio::join!(one.admin().put_over(&low, expected), other.admin().put_over(&high, expected));
        let kept = match changes {
            (Ok(Status::Active), Err(AdminError::VersionConflict { found, .. }))
                if found == Some(version + 1) =>
            {
                low
            }
            (Err(AdminError::VersionConflict { found, .. }), Ok(Status::Active))
                if found == Some(version + 1) =>
            {
                high
            }
            changes => panic!("{changes:?}"),
        };
        let found = one.info("rpm").await;
        assert_eq!((found.version(), &found.state().definition), (version + 1, &kept));
    }
    let expected = ExpectedVersion::Is(11);
    let (raised, rpm) = (rolling("rpm", 100_000, 60), key("rpm"));
    let changes =
        tokio::join!(one.admin().put_over(&raised, expected), other.admin().delete_version(&rpm, expected));
    match changes {
        (Ok(_), Err(AdminError::VersionConflict { found: Some(12), .. })) => {
            assert_eq!(other.info("rpm").await.state().definition, raised);
        }
        (Err(AdminError::VersionConflict { found: None, .. }), Ok(())) => {
            let gone = one.admin().get(&rpm).await;
            assert!(matches!(gone, Err(AdminError::Deleted(_))), "{gone:?}");
        }
        changes => panic!("{changes:?}"),
    }
}

pub async fn concurrent_replicas_apply_a_decrease_once<B: Backend>(backend: B) {
    let replicas: Vec<_> = [start(&backend).await, start(&backend).await, start(&backend).await]
        .into_iter()
        .map(Arc::new)
        .collect();
    replicas[0].put(concurrency("slots", 100, 60)).await;
    replicas[0].put(concurrency("slots", 60, 60)).await;
    let mut loops = tokio::task::JoinSet::new();
    for replica in &replicas {
        let replica = Arc::clone(replica);
        loops.spawn(async move {
            replica.registry().refresh().await.expect("the ledger answers");
            replica.admin().apply_decreases().await
        });
    }
    for applied in loops.join_all().await {
        applied.expect("the ledger answers");
    }
    for replica in &replicas {
        assert_eq!(replica.usage("slots").await, Usage { available: 60, reserved: 0, debt: 0 });
        assert_eq!(replica.info("slots").await.version(), 3);
    }
}

pub async fn a_decrease_survives_the_replica_that_began_it<B: Backend>(backend: B) {
    let first = start(&backend).await;
    first.put(concurrency("slots", 100, 60)).await;
    let holder = lease();
    first.reserve(holder, &[("slots", 50)]).await;
    let to = capacity(60);
    assert_eq!(first.put(concurrency("slots", 60, 60)).await, Status::Decreasing { to });
    drop(first);
    let second = start(&backend).await;
    assert!(matches!(second.take(&[("slots", 1)]).await, ReserveOutcome::Decreasing { .. }));
    second.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(second.usage("slots").await, Usage { available: 10, reserved: 50, debt: 0 });
}

pub async fn a_replica_that_knows_the_old_kind_reserves_nothing<B: Backend>(backend: B) {
    let (replica, delayed, late) = (start(&backend).await, start(&backend).await, start(&backend).await);
    replica.put(concurrency("key", 2, 2)).await;
    let [before, after] = [lease(), lease()];
    for knows in [&delayed, &late] {
        knows.registry().refresh().await.expect("the ledger answers");
    }
    assert!(is_granted(&delayed.reserve(before, &[("key", 1)]).await));
    replica.admin().delete(&key("key")).await.expect("it is there");
    assert_eq!(replica.put(rolling("key", 2, 60)).await, Status::Active);

    let denied = denied_for_now(key("key"));
    assert_eq!(delayed.take(&[("key", 1)]).await, denied, "its account is closed");
    assert_eq!(
        replica.usage("key").await,
        Usage { available: 1, reserved: 1, debt: 0 },
        "the earlier lease counts"
    );
    let granted = replica.reserve(after, &[("key", 1)]).await;
    assert!(is_granted(&granted));
    assert_eq!(late.reserve(after, &[("key", 1)]).await, granted);
    let late = start(&backend).await;
    assert!(!is_granted(&late.take(&[("key", 1)]).await), "both leases together are the capacity");

    let settled = CompleteOutcome::Settled { overages: Vec::new() };
    assert_eq!(late.complete(before, &[("key", 1)]).await, settled);
    assert_eq!(late.complete(after, &[("key", 0)]).await, settled);
    backend.pass(Duration::from_secs(4)).await;
    assert_eq!(replica.usage("key").await, Usage { available: 2, reserved: 0, debt: 0 });
}

pub async fn a_complete_finds_the_new_account_of_a_limit<B: Backend>(backend: B) {
    let (replica, delayed) = (start(&backend).await, start(&backend).await);
    replica.put(concurrency("key", 2, 60)).await;
    delayed.registry().refresh().await.expect("the ledger answers");
    replica.admin().delete(&key("key")).await.expect("it is there");
    replica.put(rolling("key", 2, 60)).await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &[("key", 2)]).await));
    let settled = CompleteOutcome::Settled { overages: Vec::new() };
    assert_eq!(delayed.complete(id, &[("key", 1)]).await, settled);
    assert_eq!(replica.usage("key").await, Usage { available: 1, reserved: 1, debt: 0 });
}

pub async fn a_delete_denies_at_every_replica<B: Backend>(backend: B) {
    let (first, second) = (start(&backend).await, start(&backend).await);
    first.put(rolling("rpm", 10, 60)).await;
    assert!(is_granted(&second.take(&[("rpm", 1)]).await));
    first.admin().delete(&key("rpm")).await.expect("the limit exists");
    assert_eq!(second.take(&[("rpm", 1)]).await, ReserveOutcome::UnknownKey { key: key("rpm") });
}
