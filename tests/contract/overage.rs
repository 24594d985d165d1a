//! Usage above the reservation: what fits is reserved, the rest is debt or only counted.

use std::time::Duration;

use ledger_limiter::limit::{Definition, Overage};
use ledger_limiter::limiter::LimiterOptions;
use ledger_limiter::protocol::{CompleteOutcome, UnreservedOverage};

use crate::fixtures::*;

const SETTLED: CompleteOutcome = CompleteOutcome::Settled { overages: Vec::new() };

async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    Replica::start_with(backend.connect(), backend.ids(), LimiterOptions::default()).await
}

fn settled_with(name: &str, amount: u64, overage: Overage) -> CompleteOutcome {
    let overage = UnreservedOverage { key: key(name), amount: amount.into(), overage };
    CompleteOutcome::Settled { overages: vec![overage] }
}

pub async fn using_one_unit_more_never_leaves_more_available<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let rows = [
        (999, Usage { available: 1, reserved: 999, debt: 0 }),
        (1_000, Usage { available: 0, reserved: 1_000, debt: 0 }),
        (1_001, Usage { available: 0, reserved: 1_000, debt: 1 }),
        (5_000, Usage { available: 0, reserved: 1_000, debt: 4_000 }),
    ];
    for (actual, expected) in rows {
        for (kind, limit) in [
            ("rolling", rolling as fn(&str, u64, u64) -> Definition),
            ("bucket", |name, capacity, _| token_bucket(name, capacity, 1, 86_400_000)),
            ("fixed", |name, capacity, _| fixed_window(name, capacity, 31_536_000, 0)),
            ("sliding", |name, capacity, _| sliding_window(name, capacity, 31_536_000, 4)),
        ] {
            let name = format!("{kind}-{actual}");
            replica.put(limit(&name, 1_000, 3_600)).await;
            let lease = lease();
            assert!(is_granted(&replica.reserve(lease, &[(&name, 100)]).await));
            replica.complete(lease, &[(&name, actual)]).await;
            assert_eq!(replica.usage(&name).await, expected, "{name}");
        }
    }
}

pub async fn a_counted_overage_is_reserved_as_far_as_it_fits<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(Definition { overage: Overage::Deny, ..rolling("tpm", 1_000, 60) }).await;
    let lease = lease();
    replica.reserve(lease, &[("tpm", 100)]).await;
    let outcome = replica.complete(lease, &[("tpm", 1_001)]).await;
    assert_eq!(outcome, settled_with("tpm", 1, Overage::Deny));
    assert_eq!(replica.usage("tpm").await, Usage { available: 0, reserved: 1_000, debt: 0 });
}

pub async fn concurrent_overages_fill_the_limit_exactly<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("tpm", 1_000, 60)).await;
    let leases: Vec<_> = (0..10).map(|_| lease()).collect();
    for &lease in &leases {
        assert!(is_granted(&replica.reserve(lease, &[("tpm", 50)]).await));
    }
    let commands: Vec<_> = leases.iter().map(|&lease| complete(lease, &[("tpm", 150)])).collect();
    let outcomes = replica.limiter().complete_batch(&commands).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(CompleteOutcome::Settled { .. }))));
    let Usage { available, reserved, debt } = replica.usage("tpm").await;
    assert_eq!((available + reserved, reserved + debt), (1_000, 1_500), "every unit used is accounted for");
    assert_eq!(available, 0, "a unit became debt although it fitted");
}

pub async fn overage_of_an_expired_lease_is_debt_once<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("tpm", 1_000, 1)).await;
    replica.put(concurrency("slots", 5, 1)).await;
    let (lease, used_less) = (lease(), lease());
    assert!(is_granted(&replica.reserve(lease, &[("slots", 1), ("tpm", 100)]).await));
    assert!(is_granted(&replica.reserve(used_less, &[("slots", 1), ("tpm", 100)]).await));
    backend.pass(Duration::from_millis(1_100)).await;

    let late = replica.complete(lease, &[("tpm", 130)]).await;
    assert_eq!(late, settled_with("tpm", 30, Overage::Debt));
    assert_eq!(replica.usage("tpm").await, Usage { available: 1_000, reserved: 0, debt: 30 });
    let other = start(&backend).await;
    assert_eq!(other.complete(lease, &[("tpm", 130)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(replica.complete(used_less, &[("tpm", 100)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(replica.usage("tpm").await, Usage { available: 1_000, reserved: 0, debt: 30 });
    assert_eq!(replica.usage("slots").await, Usage { available: 5, reserved: 0, debt: 0 });
}

pub async fn a_late_extend_does_not_keep_an_expired_lease_from_settling<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("tpm", 1_000, 1)).await;
    let lease = lease();
    assert!(is_granted(&replica.reserve(lease, &[("tpm", 100)]).await));
    let extended = extend(lease, extend_id(), "tpm", 10);
    replica.limiter().extend(&extended).await.expect("an answer");
    backend.pass(Duration::from_millis(1_100)).await;
    replica.limiter().extend(&extend(lease, extend_id(), "tpm", 10)).await.expect("an answer");

    assert_eq!(replica.complete(lease, &[("tpm", 150)]).await, settled_with("tpm", 40, Overage::Debt));
    assert_eq!(replica.complete(lease, &[("tpm", 150)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(replica.usage("tpm").await.debt, 40);
}

pub async fn overage_uses_the_room_that_a_smaller_actual_left<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("tpm", 100, 60)).await;
    let (small, large) = (lease(), lease());
    replica.reserve(small, &[("tpm", 60)]).await;
    replica.reserve(large, &[("tpm", 40)]).await;
    assert_eq!(replica.complete(small, &[("tpm", 10)]).await, SETTLED);
    assert_eq!(replica.complete(large, &[("tpm", 90)]).await, SETTLED);
    assert_eq!(replica.usage("tpm").await, Usage { available: 0, reserved: 100, debt: 0 });
}
