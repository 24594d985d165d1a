//! Renew: the slots of a running lease are held for longer, and never for two.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{LeaseId, RenewId, Status};
use ledger_limiter::protocol::{
    CompleteOutcome, EXTENDS_MAX, ExtendOutcome, Renew, RenewOutcome, ReserveOutcome,
};

use crate::fixtures::*;

fn renew(lease: LeaseId) -> Renew {
    Renew { lease, renew_id: RenewId::generate() }
}

async fn send<L: Ledger>(replica: &Replica<L>, command: &Renew) -> ReserveOutcome {
    let outcome = replica.limiter().renew(command).await.expect("the ledger answers");
    outcome.answered().expect("renewed or refused")
}

/// Renews a lease under a fresh renew id.
async fn renewed<L: Ledger>(replica: &Replica<L>, lease: LeaseId) -> bool {
    is_granted(&send(replica, &renew(lease)).await)
}

/// A replica that remembers leases, with the limits `slots`, 2 with a timeout of 4 s, and `tpm`, 1,000 in 2 s.
async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    let replica = Replica::start(backend.connect(), backend.ids(), 1_000).await;
    replica.put(concurrency("slots", 2, 4)).await;
    replica.put(rolling("tpm", 1_000, 2)).await;
    replica
}

pub async fn a_renewed_slot_is_held_for_its_whole_timeout_again<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let lease = lease();
    let first = replica.reserve(lease, &[("slots", 2), ("tpm", 100)]).await;
    for _ in 0..3 {
        backend.pass(Duration::from_secs(3)).await;
        assert!(renewed(&replica, lease).await);
        assert_eq!(replica.usage("slots").await, Usage { available: 0, reserved: 2, debt: 0 });
        assert!(!is_granted(&replica.take(&[("slots", 1)]).await), "no slot is free");
    }
    assert_eq!(replica.usage("tpm").await.reserved, 0, "a renewal renews only slots");
    // The rolling part has expired, so a late duplicate starts no second call.
    assert!(is_granted(&first));
    let repeated = replica.reserve(lease, &[("slots", 2), ("tpm", 100)]).await;
    assert_eq!(repeated, ReserveOutcome::LeaseExpired);
    backend.pass(Duration::from_secs(4)).await;
    assert_eq!(replica.usage("slots").await, Usage { available: 2, reserved: 0, debt: 0 });
    assert_eq!(send(&replica, &renew(lease)).await, ReserveOutcome::LeaseExpired, "it is not revived");
    assert_eq!(replica.usage("slots").await, Usage { available: 2, reserved: 0, debt: 0 });
}

pub async fn a_renewed_lease_is_granted_as_before<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    let lease = lease();
    let first = replica.reserve(lease, &[("slots", 1)]).await;
    backend.pass(Duration::from_secs(1)).await;
    assert!(renewed(&another, lease).await);
    assert_eq!(another.reserve(lease, &[("slots", 1)]).await, first);
    assert_eq!(another.reserve(lease, &[("slots", 2)]).await, ReserveOutcome::LeaseConflict);
}

pub async fn a_repeated_renewal_is_made_once<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    let lease = lease();
    replica.reserve(lease, &[("slots", 1)]).await;
    backend.pass(Duration::from_secs(2)).await;
    let command = renew(lease);
    let first = send(&replica, &command).await;
    assert!(is_granted(&first));
    backend.pass(Duration::from_secs(2)).await;
    let repeated =
        join_all((0..8).map(|turn| send(if turn % 2 == 0 { &replica } else { &another }, &command)));
    assert!(repeated.await.into_iter().all(|outcome| outcome == first));
    backend.pass(Duration::from_secs(3)).await;
    assert_eq!(replica.usage("slots").await.reserved, 0, "the repetitions moved no expiry");
}

pub async fn only_running_slots_are_renewed<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    assert_eq!(send(&replica, &renew(lease())).await, ReserveOutcome::LeaseSettled, "the lease is unknown");
    let without_slots = lease();
    replica.reserve(without_slots, &[("tpm", 1)]).await;
    let refused = replica.limiter().renew(&renew(without_slots)).await.expect("the ledger answers");
    assert_eq!(refused, RenewOutcome::NoSlots);
    let settled = lease();
    replica.reserve(settled, &[("slots", 1)]).await;
    let command = renew(settled);
    assert!(is_granted(&send(&replica, &command).await));
    replica.complete(settled, &[]).await;
    for command in [command, renew(settled)] {
        assert_eq!(send(&replica, &command).await, ReserveOutcome::LeaseSettled);
    }
    assert_eq!(replica.usage("slots").await, Usage { available: 2, reserved: 0, debt: 0 });
}

pub async fn a_lease_is_not_renewed_when_one_of_its_slots_has_expired<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("long", 1, 3_600)).await;
    let lease = lease();
    replica.reserve(lease, &[("long", 1), ("slots", 1)]).await;
    backend.pass(Duration::from_secs(4)).await;
    assert_eq!(send(&replica, &renew(lease)).await, ReserveOutcome::LeaseExpired);
    replica.complete(lease, &[]).await;
    assert_eq!(replica.usage("long").await, Usage { available: 1, reserved: 0, debt: 0 });
}

pub async fn a_complete_at_any_replica_releases_renewed_slots<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let another = Replica::start(backend.connect(), backend.ids(), 1_000).await;
    // How long after the first renewal, at the other replica, the lease is completed. The cache of the first replica
    // takes it for running at first, and then for expired.
    for seconds in [0, 3] {
        let lease = lease();
        replica.reserve(lease, &[("slots", 2)]).await;
        backend.pass(Duration::from_secs(2)).await;
        assert!(renewed(&another, lease).await);
        backend.pass(Duration::from_secs(seconds)).await;
        let settled = replica.complete(lease, &[]).await;
        assert!(matches!(settled, CompleteOutcome::Settled { .. }), "{seconds}: {settled:?}");
        assert_eq!(replica.usage("slots").await, Usage { available: 2, reserved: 0, debt: 0 });
        assert_eq!(another.complete(lease, &[]).await, CompleteOutcome::NothingToDo);
    }
}

pub async fn renewals_keep_what_else_a_lease_holds<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("daily", 1_000, 3_600)).await;
    replica.put(token_bucket("bucket", 100, 1, 3_600_000)).await;
    let lease = lease();
    replica.reserve(lease, &[("bucket", 10), ("daily", 100), ("slots", 1)]).await;
    // An extension of the slots is renewed too.
    for (name, amount) in [("slots", 1), ("daily", 50)] {
        let extension = extend(lease, extend_id(), name, amount);
        let extended = replica.limiter().extend(&extension).await.expect("the ledger answers");
        assert!(is_granted(&extended.answered().expect("an answer")));
    }
    for _ in 0..2 {
        backend.pass(Duration::from_secs(3)).await;
        assert!(renewed(&replica, lease).await);
    }
    assert_eq!(replica.usage("slots").await.reserved, 2);
    let extension = extend(lease, extend_id(), "daily", 5);
    let extended = replica.limiter().extend(&extension).await.expect("the ledger answers");
    assert!(is_granted(&extended.answered().expect("an answer")), "a renewed lease can be extended");
    replica.complete(lease, &[("daily", 120), ("bucket", 4)]).await;
    assert_eq!(replica.usage("slots").await.reserved, 0);
    assert_eq!(replica.usage("daily").await.reserved, 120);
    assert_eq!(replica.usage("bucket").await.reserved, 4);
}

pub async fn a_slot_of_a_decreasing_limit_is_renewed<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(concurrency("more", 5, 4)).await;
    let lease = lease();
    replica.reserve(lease, &[("more", 4), ("slots", 2)]).await;
    replica.put(concurrency("slots", 1, 4)).await;
    replica.put(concurrency("more", 2, 4)).await;
    for renewing in [&replica, &another, &replica] {
        backend.pass(Duration::from_secs(3)).await;
        assert!(renewed(renewing, lease).await);
        renewing.admin().apply_decreases().await.expect("the ledger answers");
        for (name, reserved) in [("slots", 2), ("more", 4)] {
            let info = renewing.info(name).await;
            assert!(matches!(info.state().status, Status::Decreasing { .. }), "it is closed again");
            assert_eq!(info.reserved, reserved);
        }
        assert!(!is_granted(&renewing.take(&[("more", 1)]).await));
    }
    replica.complete(lease, &[]).await;
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("slots").await, Usage { available: 1, reserved: 0, debt: 0 });
    assert_eq!(replica.usage("more").await, Usage { available: 2, reserved: 0, debt: 0 });
}

pub async fn a_slot_of_a_deleted_limit_is_not_renewed<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    let lease = lease();
    replica.reserve(lease, &[("slots", 1)]).await;
    replica.admin().delete(&key("slots")).await.expect("the limit exists");
    let refused = ReserveOutcome::UnknownKey { key: key("slots") };
    assert_eq!(send(&another, &renew(lease)).await, refused);
    // It has another account then.
    replica.put(rolling("slots", 2, 60)).await;
    assert_eq!(send(&another, &renew(lease)).await, refused);
    assert_eq!(replica.usage("slots").await, Usage { available: 1, reserved: 1, debt: 0 });
    assert!(matches!(another.complete(lease, &[]).await, CompleteOutcome::Settled { .. }));
}

pub async fn extends_and_renewals_of_a_lease_are_bounded_together<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("daily", 1_000, 3_600)).await;
    replica.put(concurrency("held", 2, 3_600)).await;
    let lease = lease();
    replica.reserve(lease, &[("daily", 1), ("held", 1)]).await;
    for _ in 0..EXTENDS_MAX {
        assert!(renewed(&replica, lease).await);
    }
    let refused = replica.limiter().renew(&renew(lease)).await.expect("the ledger answers");
    assert_eq!(refused, RenewOutcome::TooMany);
    let extension = extend(lease, extend_id(), "daily", 1);
    let refused = replica.limiter().extend(&extension).await.expect("the ledger answers");
    assert_eq!(refused, ExtendOutcome::TooMany);
    replica.complete(lease, &[("daily", 1)]).await;
    assert_eq!(replica.usage("held").await, Usage { available: 2, reserved: 0, debt: 0 });
    assert_eq!(replica.complete(lease, &[]).await, CompleteOutcome::NothingToDo, "its complete is read");
}

pub async fn renewals_of_many_slots_leave_room_to_read_the_complete<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let names: Vec<String> = (0..32).map(|index| format!("held-{index:02}")).collect();
    for name in &names {
        replica.put(concurrency(name, 1, 3_600)).await;
    }
    let lease = lease();
    let wants: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    assert!(is_granted(&replica.reserve(lease, &wants).await));
    assert!(renewed(&replica, lease).await, "97 transfers");
    let refused = replica.limiter().renew(&renew(lease)).await.expect("the ledger answers");
    assert_eq!(refused, RenewOutcome::TooMany, "162 transfers");
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    assert!(matches!(another.complete(lease, &[]).await, CompleteOutcome::Settled { .. }));
    assert_eq!(another.complete(lease, &[]).await, CompleteOutcome::NothingToDo);
    assert_eq!(replica.usage("held-31").await, Usage { available: 1, reserved: 0, debt: 0 });
}

pub async fn completes_and_renewals_that_race_hold_one_slot_or_none<B: Backend>(backend: B) {
    let here = Arc::new(start(&backend).await);
    here.put(concurrency("held", 1, 3_600)).await;
    let there = Arc::new(Replica::start(backend.connect(), backend.ids(), 1_000).await);
    for round in 0..20 {
        let lease = lease();
        assert!(is_granted(&here.reserve(lease, &[("held", 1)]).await));
        let renewals: Vec<_> = (0..6)
            .map(|turn| {
                let replica = Arc::clone(if turn % 2 == 0 { &here } else { &there });
                tokio::spawn(async move { send(&replica, &renew(lease)).await })
            })
            .collect();
        let rival = Arc::clone(&there);
        let taking = tokio::spawn(async move { rival.take(&[("held", 1)]).await });
        if round % 2 == 0 {
            // Renewals race with each other and with a caller who wants the slot.
            for outcome in join_all(renewals).await {
                assert!(is_granted(&outcome.expect("no panic")), "round {round}");
            }
            assert!(!is_granted(&taking.await.expect("no panic")), "the slot was never free");
            assert_eq!(here.usage("held").await, Usage { available: 0, reserved: 1, debt: 0 });
            here.complete(lease, &[]).await;
        } else {
            taking.await.expect("no panic");
            here.complete(lease, &[]).await;
            for outcome in join_all(renewals).await {
                let outcome = outcome.expect("no panic");
                assert!(is_granted(&outcome) || outcome == ReserveOutcome::LeaseSettled, "{outcome:?}");
            }
        }
        assert_eq!(here.usage("held").await, Usage { available: 1, reserved: 0, debt: 0 }, "round {round}");
    }
}
