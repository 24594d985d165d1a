//! Reserve: grants, denials, repetitions, expiries and batches.

use std::collections::HashSet;
use std::time::Duration;

use ledger_limiter::protocol::ReserveOutcome;
use ulid::Ulid;

use crate::fixtures::*;

async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    Replica::start(backend.connect(), backend.ids(), 0).await
}

pub async fn a_limit_grants_until_it_is_full<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("rpm", 3, 60)).await;
    for _ in 0..3 {
        assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    }
    assert_eq!(no_room(&replica.take(&[("rpm", 1)]).await), Some("rpm"));
    assert_eq!(replica.usage("rpm").await, Usage { available: 0, reserved: 3, debt: 0 });
}

pub async fn a_denied_reserve_takes_nothing_of_any_limit<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("a", 10, 60)).await;
    replica.put(rolling("b", 1, 60)).await;
    replica.put(concurrency("c", 10, 60)).await;
    assert!(is_granted(&replica.take(&[("b", 1)]).await));
    assert_eq!(no_room(&replica.take(&[("a", 5), ("b", 1), ("c", 2)]).await), Some("b"));
    assert_eq!(replica.usage("a").await, Usage { available: 10, reserved: 0, debt: 0 });
    assert_eq!(replica.usage("c").await, Usage { available: 10, reserved: 0, debt: 0 });
}

pub async fn a_repeated_reserve_is_granted_once<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("rpm", 10, 60)).await;
    let lease = lease();
    let first = replica.reserve(lease, &[("rpm", 4)]).await;
    assert!(is_granted(&first));
    assert_eq!(
        replica.reserve(lease, &[("rpm", 4)]).await,
        first,
        "a repetition answers the first time of reservation"
    );
    let other = start(&backend).await;
    assert_eq!(other.reserve(lease, &[("rpm", 4)]).await, first, "also at a replica that did not grant it");
    let mut batch = Vec::new();
    for _ in 0..8 {
        batch.push(reserve(lease, &[("rpm", 4)]));
    }
    for answer in replica.limiter().reserve_batch(&batch).await {
        assert_eq!(answer.expect("the ledger answers"), first);
    }
    assert_eq!(replica.usage("rpm").await, Usage { available: 6, reserved: 4, debt: 0 });
}

pub async fn the_order_of_requirements_does_not_matter<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("a", 10, 60)).await;
    replica.put(concurrency("b", 10, 60)).await;
    let lease = lease();
    let first = replica.reserve(lease, &[("a", 1), ("b", 2)]).await;
    assert!(is_granted(&first));
    assert_eq!(replica.reserve(lease, &[("b", 2), ("a", 1)]).await, first);
    assert_eq!(replica.usage("b").await, Usage { available: 8, reserved: 2, debt: 0 });
}

pub async fn a_denied_lease_stays_denied<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 1, 60)).await;
    replica.put(rolling("rpm", 10, 60)).await;
    let holder = lease();
    assert!(is_granted(&replica.reserve(holder, &[("slots", 1)]).await));
    let denied = lease();
    assert_eq!(no_room(&replica.reserve(denied, &[("rpm", 1), ("slots", 1)]).await), Some("slots"));
    replica.complete(holder, &[]).await;
    assert_eq!(no_room(&replica.reserve(denied, &[("rpm", 1), ("slots", 1)]).await), Some("slots"));
    assert_eq!(replica.usage("rpm").await, Usage { available: 10, reserved: 0, debt: 0 });
    assert!(is_granted(&replica.take(&[("rpm", 1), ("slots", 1)]).await), "a new lease is granted");
}

pub async fn a_lease_denied_for_an_unknown_key_stays_denied<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let denied = lease();
    let unknown = ReserveOutcome::UnknownKey { key: key("late") };
    assert_eq!(replica.reserve(denied, &[("late", 1)]).await, unknown);
    replica.put(rolling("late", 1, 60)).await;
    assert_eq!(no_room(&replica.reserve(denied, &[("late", 1)]).await), Some("late"));
    assert!(is_granted(&replica.take(&[("late", 1)]).await));
}

pub async fn a_granted_lease_with_other_requirements_is_a_conflict<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    for name in ["a", "b"] {
        replica.put(rolling(name, 10, 60)).await;
    }
    let lease = lease();
    assert!(is_granted(&replica.reserve(lease, &[("a", 1), ("b", 1)]).await));
    for other in [&[("a", 2), ("b", 1)][..], &[("a", 1)], &[("b", 1)], &[("a", 1), ("b", 2)]] {
        assert_eq!(replica.reserve(lease, other).await, ReserveOutcome::LeaseConflict, "{other:?}");
    }
    assert_eq!(replica.usage("a").await, Usage { available: 9, reserved: 1, debt: 0 });
    // The window is not part of the requirement, so a repetition is granted after it changed.
    replica.put(rolling("a", 10, 30)).await;
    assert!(is_granted(&replica.reserve(lease, &[("a", 1), ("b", 1)]).await));
    assert_eq!(replica.usage("a").await, Usage { available: 9, reserved: 1, debt: 0 });
}

pub async fn a_settled_lease_is_not_granted_again<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("rpm", 10, 60)).await;
    let lease = lease();
    assert!(is_granted(&replica.reserve(lease, &[("rpm", 1)]).await));
    replica.complete(lease, &[]).await;
    assert_eq!(replica.reserve(lease, &[("rpm", 1)]).await, ReserveOutcome::LeaseSettled);
    assert_eq!(
        replica.usage("rpm").await,
        Usage { available: 9, reserved: 1, debt: 0 },
        "a rolling requirement that is not named stays reserved"
    );
}

pub async fn an_expired_lease_is_not_granted_again<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("one", 10, 1)).await;
    replica.put(rolling("two", 10, 3)).await;
    let lease = lease();
    assert!(is_granted(&replica.reserve(lease, &[("one", 1), ("two", 1)]).await));
    backend.pass(Duration::from_secs(1)).await;
    let again = replica.reserve(lease, &[("one", 1), ("two", 1)]).await;
    assert_eq!(again, ReserveOutcome::LeaseExpired, "one of its two reservations is left");
    backend.pass(Duration::from_secs(2)).await;
    assert_eq!(replica.reserve(lease, &[("one", 1), ("two", 1)]).await, ReserveOutcome::LeaseExpired);
    assert_eq!(replica.usage("two").await, Usage { available: 10, reserved: 0, debt: 0 });
}

pub async fn an_amount_over_the_capacity_has_its_own_denial<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("a", 10, 60)).await;
    replica.put(rolling("b", 10, 60)).await;
    let too_much = ReserveOutcome::ExceedsCapacity { key: key("b") };
    assert_eq!(replica.take(&[("b", 11)]).await, too_much);
    assert!(is_granted(&replica.take(&[("a", 10)]).await));
    assert_eq!(replica.take(&[("a", 1), ("b", 11)]).await, too_much, "also when another limit is full");
    assert_eq!(
        replica.take(&[("a", 1), ("unknown", 1)]).await,
        ReserveOutcome::UnknownKey { key: key("unknown") }
    );
}

pub async fn each_reservation_of_a_rolling_limit_expires_by_itself<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("rpm", 2, 2)).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    backend.pass(Duration::from_secs(1)).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    assert_eq!(no_room(&replica.take(&[("rpm", 1)]).await), Some("rpm"));
    backend.pass(Duration::from_secs(1)).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await), "the first reservation has expired");
    assert_eq!(no_room(&replica.take(&[("rpm", 1)]).await), Some("rpm"));
}

pub async fn the_slot_of_a_crashed_caller_expires<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 1, 1)).await;
    assert!(is_granted(&replica.take(&[("slots", 1)]).await));
    assert_eq!(no_room(&replica.take(&[("slots", 1)]).await), Some("slots"));
    backend.pass(Duration::from_secs(1)).await;
    assert!(is_granted(&replica.take(&[("slots", 1)]).await));
}

pub async fn a_reserve_batch_answers_in_order<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("rpm", 2, 60)).await;
    let requests: Vec<_> = ["rpm", "unknown", "rpm", "rpm"].map(|name| reserve(lease(), &[(name, 1)])).into();
    let answers = replica.limiter().reserve_batch(&requests).await;
    let answers: Vec<ReserveOutcome> =
        answers.into_iter().map(|answer| answer.expect("the ledger answers")).collect();
    assert!(is_granted(&answers[0]) && is_granted(&answers[2]), "{answers:?}");
    assert_eq!(answers[1], ReserveOutcome::UnknownKey { key: key("unknown") });
    assert_eq!(no_room(&answers[3]), Some("rpm"));
}

pub async fn concurrent_callers_never_exceed_the_capacity<B: Backend>(backend: B) {
    let replicas = [start(&backend).await, start(&backend).await];
    replicas[0].put(rolling("rpm", 50, 60)).await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..200 {
        let limiter = replicas[caller % 2].limiter().clone();
        callers.spawn(async move { limiter.reserve(&reserve(lease(), &[("rpm", 1)])).await });
    }
    let answers = callers.join_all().await;
    let granted = answers.iter().filter(|answer| answer.as_ref().is_ok_and(is_granted)).count();
    assert_eq!(granted, 50);
    let times: HashSet<_> = answers.iter().map(|answer| format!("{answer:?}")).collect();
    assert!(times.iter().all(|answer| !answer.contains("Err")), "{times:?}");
    assert_eq!(replicas[1].usage("rpm").await, Usage { available: 0, reserved: 50, debt: 0 });
}

pub async fn the_largest_amounts_are_exact<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let largest = i64::MAX as u64;
    replica.put(rolling("huge", largest, 60)).await;
    let ulid = Ulid::generate();
    let [first, second] = [ulid, Ulid(ulid.0 + 1)]
        .map(|ulid| ledger_limiter::limit::LeaseId::from_ulid(ulid).expect("not zero"));
    assert!(is_granted(&replica.reserve(first, &[("huge", largest - 1)]).await));
    assert!(
        is_granted(&replica.reserve(second, &[("huge", 1)]).await),
        "lease ids that differ by one have different transfers"
    );
    assert_eq!(replica.usage("huge").await, Usage { available: 0, reserved: largest.into(), debt: 0 });
}
