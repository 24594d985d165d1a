//! Extend: grants, denials, repetitions, and completes that race with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::LeaseId;
use ledger_limiter::protocol::EXTENDS_MAX;
use ledger_limiter::protocol::Extend;
use ledger_limiter::protocol::{CompleteOutcome, ExtendOutcome, ReserveOutcome};

use crate::fixtures::*;

async fn send<L: Ledger>(replica: &Replica<L>, command: &Extend) -> ExtendOutcome {
    replica.limiter().extend(command).await.expect("the ledger answers")
}

/// Extends a lease under a fresh extend id.
async fn extend_by<L: Ledger>(
    replica: &Replica<L>,
    lease: LeaseId,
    name: &str,
    amount: u64,
) -> ReserveOutcome {
    extend_under(replica, lease, extend_id(), name, amount).await
}

async fn extend_under<L: Ledger>(
    replica: &Replica<L>,
    lease: LeaseId,
    extend_id: ExtendId,
    name: &str,
    amount: u64,
) -> ReserveOutcome {
    granted_or_denied(send(replica, &extend(lease, extend_id, name, amount)).await)
}

/// Extend ids whose transfers do not collide. A transfer's id has only 15 bits of a hash of the extend id.
fn distinct_extend_ids(ids: Ids, lease: LeaseId, count: usize) -> Vec<ExtendId> {
    let mut seen = HashSet::new();
    let fresh = std::iter::repeat_with(extend_id);
    fresh.filter(|&extend_id| seen.insert(ids.of_lease(lease).extension(extend_id).0)).take(count).collect()
}

fn granted_or_denied(outcome: ExtendOutcome) -> ReserveOutcome {
    outcome.answered().expect("granted or denied")
}

/// A replica that remembers leases, with the limits `tpm`, 1,000 a minute, `daily`, 10,000 an hour, and `slots`, 10.
async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    let replica = Replica::start(backend.connect(), backend.ids(), 1_000).await;
    replica.put(rolling("tpm", 1_000, 60)).await;
    replica.put(rolling("daily", 10_000, 3_600)).await;
    replica.put(concurrency("slots", 10, 60)).await;
    replica
}

pub async fn a_complete_settles_the_extensions_of_its_lease<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    // The amounts used: nothing, a part of the first reservation, all of it, a part of the extensions, all of them,
    // and overage.
    for actual in [0, 30, 100, 120, 180, 200] {
        let (lease, tokens) = (lease(), format!("tokens-{actual}"));
        let tokens = tokens.as_str();
        replica.put(rolling(tokens, 190, 60)).await;
        replica.reserve(lease, &[("daily", 7), ("slots", 1), (tokens, 100)]).await;
        for amount in [50, 30] {
            assert!(is_granted(&extend_by(&replica, lease, tokens, amount).await));
        }
        assert!(is_granted(&extend_by(&replica, lease, "slots", 2).await));
        assert_eq!(replica.usage(tokens).await, Usage { available: 10, reserved: 180, debt: 0 });
        assert_eq!(replica.usage("slots").await, Usage { available: 7, reserved: 3, debt: 0 }, "{actual}");
        let settled = replica.complete(lease, &[(tokens, actual), ("daily", 0)]).await;
        assert!(matches!(settled, CompleteOutcome::Settled { .. }), "{settled:?}");
        // Of the overage of 20 the available 10 are reserved.
        let (reserved, debt) = if actual > 180 { (190, 10) } else { (u128::from(actual), 0) };
        assert_eq!(replica.usage(tokens).await, Usage { available: 190 - reserved, reserved, debt });
        assert_eq!(replica.usage("slots").await, Usage { available: 10, reserved: 0, debt: 0 }, "{actual}");
        assert_eq!(replica.usage("daily").await.reserved, 0, "{actual}");
    }
}

pub async fn a_complete_without_actuals_keeps_rolling_extensions<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let lease = lease();
    replica.reserve(lease, &[("slots", 1), ("tpm", 100)]).await;
    assert!(is_granted(&extend_by(&replica, lease, "tpm", 50).await));
    assert!(is_granted(&extend_by(&replica, lease, "slots", 1).await));
    replica.complete(lease, &[]).await;
    assert_eq!(replica.usage("tpm").await, Usage { available: 850, reserved: 150, debt: 0 });
    assert_eq!(replica.usage("slots").await, Usage { available: 10, reserved: 0, debt: 0 });
}

pub async fn a_repeated_extend_is_granted_once<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    let lease = lease();
    replica.reserve(lease, &[("daily", 7), ("tpm", 100)]).await;
    let command = extend(lease, extend_id(), "tpm", 50);
    let first = granted_or_denied(send(&replica, &command).await);
    assert!(is_granted(&first));
    assert_eq!(
        granted_or_denied(send(&replica, &command).await),
        first,
        "a repetition answers the first time of reservation"
    );
    assert_eq!(granted_or_denied(send(&another, &command).await), first);
    let concurrent =
        join_all((0..8).map(|turn| send(if turn % 2 == 0 { &replica } else { &another }, &command)));
    assert!(concurrent.await.into_iter().all(|outcome| granted_or_denied(outcome) == first));
    assert_eq!(replica.usage("tpm").await, Usage { available: 850, reserved: 150, debt: 0 });
    for other in [extend(lease, command.extend_id, "tpm", 51), extend(lease, command.extend_id, "daily", 50)]
    {
        assert_eq!(granted_or_denied(send(&another, &other).await), ReserveOutcome::LeaseConflict);
    }
    assert_eq!(replica.usage("tpm").await, Usage { available: 850, reserved: 150, debt: 0 });
    // The extend changes nothing of the requirements by which the reserve is repeated.
    assert!(is_granted(&another.reserve(lease, &[("daily", 7), ("tpm", 100)]).await));
    let other = another.reserve(lease, &[("daily", 7), ("tpm", 150)]).await;
    assert_eq!(other, ReserveOutcome::LeaseConflict);
}

pub async fn a_denied_extend_stays_denied<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let (lease, blocker) = (lease(), lease());
    replica.reserve(lease, &[("tpm", 100)]).await;
    replica.reserve(blocker, &[("tpm", 850)]).await;
    let command = extend(lease, extend_id(), "tpm", 51);
    assert_eq!(no_room(&granted_or_denied(send(&replica, &command).await)), Some("tpm"));
    assert_eq!(
        replica.usage("tpm").await,
        Usage { available: 50, reserved: 950, debt: 0 },
        "a denial leaves no trace"
    );
    replica.complete(blocker, &[("tpm", 0)]).await;
    assert_eq!(no_room(&granted_or_denied(send(&replica, &command).await)), Some("tpm"));
    assert!(is_granted(&extend_by(&replica, lease, "tpm", 51).await));
    let too_much = extend_by(&replica, lease, "tpm", 1_001).await;
    assert_eq!(too_much, ReserveOutcome::ExceedsCapacity { key: key("tpm") });
    replica.complete(lease, &[("tpm", 151)]).await;
    assert_eq!(
        replica.usage("tpm").await,
        Usage { available: 849, reserved: 151, debt: 0 },
        "a complete settles no denied extend"
    );
}

pub async fn only_a_running_lease_is_extended<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("short", 100, 1)).await;
    assert_eq!(
        extend_by(&replica, lease(), "tpm", 1).await,
        ReserveOutcome::LeaseSettled,
        "the lease is unknown"
    );
    let lease = lease();
    replica.reserve(lease, &[("tpm", 100)]).await;
    let foreign = send(&replica, &extend(lease, extend_id(), "daily", 1)).await;
    assert_eq!(foreign, ExtendOutcome::NotInLease);
    let command = extend(lease, extend_id(), "tpm", 1);
    assert!(is_granted(&granted_or_denied(send(&replica, &command).await)));
    replica.complete(lease, &[]).await;
    assert_eq!(granted_or_denied(send(&replica, &command).await), ReserveOutcome::LeaseSettled);
    assert_eq!(
        extend_by(&replica, lease, "tpm", 1).await,
        ReserveOutcome::LeaseSettled,
        "the lease is settled"
    );
    let expired = self::lease();
    replica.reserve(expired, &[("short", 1)]).await;
    backend.pass(Duration::from_secs(1)).await;
    assert_eq!(
        extend_by(&replica, expired, "short", 1).await,
        ReserveOutcome::LeaseSettled,
        "the lease has expired"
    );
    assert_eq!(replica.usage("short").await, Usage { available: 100, reserved: 0, debt: 0 });
}

pub async fn an_extension_expires_after_its_own_window<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("short", 100, 2)).await;
    let lease = lease();
    replica.reserve(lease, &[("short", 60), ("slots", 1)]).await;
    backend.pass(Duration::from_secs(2)).await;
    assert_eq!(replica.usage("short").await, Usage { available: 100, reserved: 0, debt: 0 });
    // The first reservation has expired. The slot keeps the lease running.
    assert!(is_granted(&extend_by(&replica, lease, "short", 70).await));
    assert_eq!(replica.usage("short").await, Usage { available: 30, reserved: 70, debt: 0 });
    let repeated = replica.reserve(lease, &[("short", 60), ("slots", 1)]).await;
    assert_eq!(repeated, ReserveOutcome::LeaseExpired);
    replica.complete(lease, &[("short", 100)]).await;
    assert_eq!(
        replica.usage("short").await,
        Usage { available: 60, reserved: 40, debt: 0 },
        "the complete fills the expired 60 first, then 40 of the extension"
    );
    backend.pass(Duration::from_secs(3)).await;
    assert_eq!(replica.usage("short").await, Usage { available: 100, reserved: 0, debt: 0 });
}

pub async fn a_complete_settles_extensions_made_at_another_replica<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let another = Replica::start(backend.connect(), backend.ids(), 1_000).await;
    // Without and with a slot, whose void is the guard.
    for wants in [&[("daily", 10), ("tpm", 100)][..], &[("daily", 10), ("slots", 1), ("tpm", 100)]] {
        let lease = lease();
        let before = replica.usage("tpm").await.reserved;
        replica.reserve(lease, wants).await;
        assert!(is_granted(&extend_by(&another, lease, "tpm", 50).await));
        assert!(is_granted(&extend_by(&another, lease, "daily", 5).await));
        // The lease cache of this replica does not hold the extensions.
        let settled = replica.complete(lease, &[("tpm", 110), ("daily", 0)]).await;
        assert!(matches!(settled, CompleteOutcome::Settled { .. }), "{settled:?}");
        assert_eq!(replica.usage("tpm").await.reserved - before, 110);
        assert_eq!(replica.usage("daily").await.reserved, 0);
        assert_eq!(replica.usage("slots").await.reserved, 0);
        assert_eq!(another.complete(lease, &[("tpm", 0)]).await, CompleteOutcome::NothingToDo);
    }
}

pub async fn a_complete_batch_settles_extensions_made_at_another_replica<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let another = Replica::start(backend.connect(), backend.ids(), 1_000).await;
    let leases: Vec<LeaseId> = (0..4).map(|_| lease()).collect();
    for &lease in &leases {
        replica.reserve(lease, &[("daily", 100), ("slots", 1), ("tpm", 100)]).await;
    }
    // Two of four leases have extensions, so the batch settles both sorts.
    for &lease in &leases[1..3] {
        assert!(is_granted(&extend_by(&another, lease, "tpm", 50).await));
        assert!(is_granted(&extend_by(&another, lease, "slots", 1).await));
    }
    let completes: Vec<_> =
        leases.iter().map(|lease| complete(*lease, &[("daily", 10), ("tpm", 30)])).collect();
    for settled in replica.limiter().complete_batch(&completes).await {
        let settled = settled.expect("the ledger answers");
        assert!(matches!(settled, CompleteOutcome::Settled { .. }), "{settled:?}");
    }
    assert_eq!(replica.usage("tpm").await.reserved, 120);
    assert_eq!(replica.usage("daily").await.reserved, 40);
    assert_eq!(replica.usage("slots").await.reserved, 0);
}

pub async fn a_complete_misses_no_concurrent_extension<B: Backend>(backend: B) {
    let here = Arc::new(start(&backend).await);
    let there = Arc::new(Replica::start(backend.connect(), backend.ids(), 1_000).await);
    for round in 0..20 {
        let lease = lease();
        let wants: &[(&str, u64)] =
            if round % 2 == 0 { &[("daily", 100)] } else { &[("daily", 100), ("slots", 1)] };
        here.reserve(lease, wants).await;
        let extensions = (0..).zip(distinct_extend_ids(here.ids, lease, 6)).map(|(turn, extend_id)| {
            let replica = Arc::clone(if turn % 2 == 0 { &here } else { &there });
            tokio::spawn(async move { extend_under(&replica, lease, extend_id, "daily", 10).await })
        });
        let extensions: Vec<_> = extensions.collect();
        let completing = Arc::clone(if round % 4 < 2 { &here } else { &there });
        if round % 3 == 0 {
            tokio::task::yield_now().await;
        }
        let settled = completing.complete(lease, &[("daily", 0)]).await;
        assert!(matches!(settled, CompleteOutcome::Settled { .. }), "{settled:?}");
        for outcome in join_all(extensions).await {
            let outcome = outcome.expect("no panic");
            assert!(is_granted(&outcome) || outcome == ReserveOutcome::LeaseSettled, "{outcome:?}");
        }
        assert_eq!(
            here.usage("daily").await.reserved,
            0,
            "round {round}: every extension is settled or was refused"
        );
        assert_eq!(here.usage("slots").await.reserved, 0, "round {round}");
    }
}

pub async fn a_decreasing_limit_denies_extends<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let lease = lease();
    replica.reserve(lease, &[("daily", 10), ("slots", 1), ("tpm", 900)]).await;
    assert!(is_granted(&extend_by(&replica, lease, "tpm", 50).await));
    replica.put(rolling("tpm", 500, 60)).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let denied = extend_by(&replica, lease, "tpm", 1).await;
    assert!(matches!(&denied, ReserveOutcome::Decreasing { key, .. } if key.as_str() == "tpm"), "{denied:?}");
    // The lease also holds a slot of a decreasing limit, which does not hinder its other limits.
    assert!(is_granted(&extend_by(&replica, lease, "daily", 5).await));
    replica.complete(lease, &[("tpm", 100), ("daily", 15)]).await;
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("tpm").await, Usage { available: 400, reserved: 100, debt: 0 });
    assert_eq!(replica.usage("slots").await, Usage { available: 1, reserved: 0, debt: 0 });
    assert_eq!(replica.usage("daily").await.reserved, 15);
}

pub async fn an_extend_over_the_maximum_of_its_lease_is_refused<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let lease = lease();
    replica.reserve(lease, &[("daily", 10), ("slots", 1)]).await;
    for extend_id in distinct_extend_ids(replica.ids, lease, EXTENDS_MAX) {
        assert!(is_granted(&extend_under(&replica, lease, extend_id, "daily", 1).await));
    }
    let over_the_maximum = send(&replica, &extend(lease, extend_id(), "daily", 1)).await;
    assert_eq!(over_the_maximum, ExtendOutcome::TooMany);
    replica.complete(lease, &[("daily", 12)]).await;
    assert_eq!(replica.usage("daily").await.reserved, 12);
    assert_eq!(replica.usage("slots").await.reserved, 0);
}

pub async fn an_extend_whose_transfer_id_collides_is_denied<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let lease = lease();
    replica.reserve(lease, &[("daily", 10)]).await;
    let mut by_transfer_id = HashMap::new();
    let [first, second] = std::iter::repeat_with(extend_id)
        .find_map(|extend_id| {
            let earlier =
                by_transfer_id.insert(replica.ids.of_lease(lease).extension(extend_id).0, extend_id);
            earlier.map(|earlier| [earlier, extend_id])
        })
        .expect("two of 32,769 collide");
    assert!(is_granted(&extend_under(&replica, lease, first, "daily", 5).await));
    let collided = extend_under(&replica, lease, second, "daily", 5).await;
    assert_eq!(collided, denied_for_now(key("daily")));
    assert!(
        is_granted(&extend_under(&replica, lease, first, "daily", 5).await),
        "the first one can still be repeated"
    );
    assert_eq!(replica.usage("daily").await.reserved, 15);
}
