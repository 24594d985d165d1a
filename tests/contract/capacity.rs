//! Changes of a definition: its capacity up and down, its window, its deletion and its history.

use std::time::Duration;

use ledger_limiter::limit::Status;
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};
use ledger_limiter::registry::AdminError;

use crate::fixtures::*;

async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    Replica::start(backend.connect(), backend.ids(), 0).await
}

fn decreasing(to: u64) -> Status {
    Status::Decreasing { to: capacity(to) }
}

async fn apply<L: ledger_limiter::ledger::Ledger>(replica: &Replica<L>) {
    replica.admin().apply_decreases().await.expect("the ledger answers");
}

pub async fn an_increase_is_available_at_once<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    assert_eq!(replica.put(rolling("rpm", 1, 60)).await, Status::Active);
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    assert_eq!(replica.put(rolling("rpm", 3, 60)).await, Status::Active);
    assert_eq!(replica.usage("rpm").await, Usage { available: 2, reserved: 1, debt: 0 });
    assert!(is_granted(&replica.take(&[("rpm", 2)]).await));
}

pub async fn a_decrease_waits_until_it_fits<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 100, 60)).await;
    let holder = lease();
    replica.reserve(holder, &[("slots", 70)]).await;
    assert_eq!(replica.put(concurrency("slots", 60, 60)).await, decreasing(60));
    let denied = lease();
    let closed = ReserveOutcome::Decreasing { key: key("slots"), retry_after_ms: 10_000 };
    assert_eq!(replica.reserve(denied, &[("slots", 1)]).await, closed);
    apply(&replica).await;
    assert_eq!(
        replica.info("slots").await.state().status,
        decreasing(60),
        "the decrease needs 40, and 30 are available"
    );
    assert_eq!(replica.usage("slots").await, Usage { available: 30, reserved: 70, debt: 0 });
    replica.complete(holder, &[]).await;
    apply(&replica).await;
    assert_eq!(replica.info("slots").await.state().status, Status::Active);
    assert_eq!(replica.usage("slots").await, Usage { available: 60, reserved: 0, debt: 0 });
    assert!(!is_granted(&replica.reserve(denied, &[("slots", 1)]).await), "a denied lease stays denied");
    assert!(is_granted(&replica.take(&[("slots", 60)]).await));
}

pub async fn each_increase_and_decrease_moves_the_capacity<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    for capacity in [100_u64, 60, 100, 60, 100, 60] {
        replica.put(concurrency("slots", capacity, 60)).await;
        apply(&replica).await;
        assert_eq!(replica.usage("slots").await, Usage { available: capacity.into(), reserved: 0, debt: 0 });
        let full = lease();
        assert!(is_granted(&replica.reserve(full, &[("slots", capacity)]).await));
        assert!(!is_granted(&replica.take(&[("slots", 1)]).await));
        replica.complete(full, &[]).await;
    }
}

pub async fn a_new_target_replaces_a_pending_decrease<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 100, 60)).await;
    let holder = lease();
    replica.reserve(holder, &[("slots", 70)]).await;
    assert_eq!(replica.put(concurrency("slots", 10, 60)).await, decreasing(10));
    assert_eq!(replica.put(concurrency("slots", 80, 60)).await, decreasing(80));
    apply(&replica).await;
    assert_eq!(
        replica.usage("slots").await,
        Usage { available: 10, reserved: 70, debt: 0 },
        "the decrease needed 20 of the 30 that were available"
    );
    replica.complete(holder, &[]).await;
    assert_eq!(replica.usage("slots").await, Usage { available: 80, reserved: 0, debt: 0 });
}

pub async fn a_higher_target_cancels_the_decrease<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("rpm", 100, 60)).await;
    replica.take(&[("rpm", 70)]).await;
    for (capacity, available) in [(100_u64, 30_u128), (120, 50)] {
        assert_eq!(replica.put(rolling("rpm", 60, 60)).await, decreasing(60));
        assert_eq!(replica.put(rolling("rpm", capacity, 60)).await, Status::Active);
        apply(&replica).await;
        assert_eq!(replica.usage("rpm").await, Usage { available, reserved: 70, debt: 0 });
    }
    assert!(is_granted(&replica.take(&[("rpm", 50)]).await));
}

pub async fn a_window_may_change_and_a_kind_may_not<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("rpm", 10, 60)).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    assert_eq!(replica.put(rolling("rpm", 10, 1)).await, Status::Active);
    assert!(is_granted(&replica.take(&[("rpm", 2)]).await));
    backend.pass(Duration::from_secs(1)).await;
    assert_eq!(
        replica.usage("rpm").await,
        Usage { available: 9, reserved: 1, debt: 0 },
        "the new window applies to later reservations only"
    );
    let refused = replica.admin().put(&concurrency("rpm", 10, 60)).await;
    assert!(matches!(refused, Err(AdminError::KindChange(_))), "{refused:?}");
}

pub async fn putting_the_same_definition_again_changes_nothing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    for _ in 0..3 {
        replica.put(rolling("rpm", 10, 60)).await;
    }
    assert_eq!(replica.info("rpm").await.version(), 1);
    assert_eq!(replica.usage("rpm").await, Usage { available: 10, reserved: 0, debt: 0 });
}

pub async fn a_deleted_limit_denies_until_it_is_created_again<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 10, 60)).await;
    let holder = lease();
    replica.reserve(holder, &[("slots", 8)]).await;
    replica.admin().delete(&key("slots")).await.expect("the limit exists");
    assert!(matches!(replica.admin().delete(&key("slots")).await, Err(AdminError::Deleted(_))));
    assert!(matches!(replica.admin().get(&key("slots")).await, Err(AdminError::Deleted(_))));
    assert!(replica.admin().list().await.expect("the ledger answers").is_empty());
    assert_eq!(replica.take(&[("slots", 1)]).await, ReserveOutcome::UnknownKey { key: key("slots") });
    // Created again with a capacity below what is still reserved.
    assert_eq!(replica.put(concurrency("slots", 5, 60)).await, decreasing(5));
    apply(&replica).await;
    assert_eq!(replica.usage("slots").await, Usage { available: 2, reserved: 8, debt: 0 });
    replica.complete(holder, &[]).await;
    apply(&replica).await;
    assert_eq!(replica.usage("slots").await, Usage { available: 5, reserved: 0, debt: 0 });
    // Created once more, larger and of another kind.
    replica.admin().delete(&key("slots")).await.expect("the limit exists");
    assert_eq!(replica.put(rolling("slots", 7, 60)).await, Status::Active);
    assert_eq!(replica.usage("slots").await, Usage { available: 7, reserved: 0, debt: 0 });
    assert!(is_granted(&replica.take(&[("slots", 7)]).await));
}

pub async fn a_complete_settles_while_a_limit_is_decreasing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("tpm", 100, 60)).await;
    replica.put(concurrency("slots", 2, 60)).await;
    let [used_less, used_more] = [lease(), lease()];
    replica.reserve(used_less, &[("tpm", 50), ("slots", 1)]).await;
    replica.reserve(used_more, &[("tpm", 40)]).await;
    assert_eq!(replica.put(rolling("tpm", 60, 60)).await, decreasing(60));
    let settled = replica.complete(used_less, &[("tpm", 20)]).await;
    assert_eq!(settled, CompleteOutcome::Settled { overages: Vec::new() });
    assert_eq!(replica.usage("tpm").await, Usage { available: 40, reserved: 60, debt: 0 });
    assert_eq!(replica.usage("slots").await, Usage { available: 2, reserved: 0, debt: 0 });
    assert!(
        matches!(replica.take(&[("tpm", 1)]).await, ReserveOutcome::Decreasing { .. }),
        "the limit is still closed"
    );
    assert!(matches!(replica.complete(used_more, &[("tpm", 45)]).await, CompleteOutcome::Settled { .. }));
    assert_eq!(
        replica.usage("tpm").await,
        Usage { available: 40, reserved: 60, debt: 5 },
        "overage on a closed limit becomes debt"
    );
    apply(&replica).await;
    assert_eq!(replica.usage("tpm").await, Usage { available: 0, reserved: 60, debt: 5 });
    assert_eq!(no_room(&replica.take(&[("tpm", 1)]).await), Some("tpm"));
}

pub async fn the_history_has_every_version<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("rpm", 100, 60)).await;
    replica.put(rolling("other", 1, 60)).await;
    replica.put(rolling("rpm", 60, 60)).await;
    apply(&replica).await;
    replica.admin().delete(&key("rpm")).await.expect("the limit exists");
    let versions = replica.admin().history(&key("rpm")).await.expect("the ledger answers");
    let found: Vec<_> = versions
        .iter()
        .map(|version| (version.number, version.state.status, version.state.definition.capacity.get()))
        .collect();
    let expected = [
        (1, Status::Active, 100),
        (2, decreasing(60), 100),
        (3, Status::Active, 60),
        (4, Status::Deleted, 60),
    ];
    assert_eq!(found, expected);
    assert!(versions.is_sorted_by_key(|version| version.timestamp_ns));
}

pub async fn a_long_history_is_read_whole<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    for capacity in 1..=70 {
        replica.put(rolling("rpm", capacity, 60)).await;
    }
    let history = replica.admin().history(&key("rpm")).await.expect("the ledger answers");
    let numbers: Vec<u64> = history.iter().map(|version| version.number).collect();
    assert_eq!(numbers, (1..=70).collect::<Vec<_>>());
}
