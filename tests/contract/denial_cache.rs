//! The denial cache: a replica that denies without asking the ledger answers as the ledger would.

use std::time::Duration;

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::LeaseId;
use ledger_limiter::limiter::LimiterOptions;
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};

use ulid::Ulid;

use crate::fixtures::*;

const SETTLED: CompleteOutcome = CompleteOutcome::Settled { overages: Vec::new() };

/// A bound that never ends during a test, so that only the tested event makes room.
const LONG: Duration = Duration::from_secs(3_600);

async fn start_with_bound<B: Backend>(backend: &B, bound: Duration) -> Replica<B::Ledger> {
    let options = LimiterOptions { leases_max: 1_000, deny_alone_max: bound, ..LimiterOptions::default() };
    Replica::start_with(backend.connect(), backend.ids(), options).await
}

/// Reserves the only unit of a limit, and makes the replica deny without the ledger. Returns the lease of the unit.
async fn exhaust<L: Ledger>(replica: &Replica<L>, key: &str) -> LeaseId {
    let holder = lease();
    assert!(is_granted(&replica.reserve(holder, &[(key, 1)]).await));
    for _ in 0..3 {
        assert_eq!(no_room(&replica.take(&[(key, 1)]).await), Some(key));
    }
    assert!(replica.limiter().denied_alone() >= 2, "only the first of three denials asked the ledger");
    holder
}

pub async fn a_complete_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, LONG).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let holder = exhaust(&replica, "slots").await;
    assert_eq!(replica.complete(holder, &[]).await, SETTLED);
    let holder = lease();
    assert!(is_granted(&replica.reserve(holder, &[("slots", 1)]).await));
    assert_eq!(no_room(&replica.take(&[("slots", 1)]).await), Some("slots"));
    let batch = replica.limiter().complete_batch(&[complete(holder, &[])]).await;
    assert!(batch.into_iter().all(|answer| answer.is_ok_and(|outcome| outcome == SETTLED)));
    assert!(is_granted(&replica.take(&[("slots", 1)]).await));
}

pub async fn a_smaller_actual_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, LONG).await;
    replica.put(rolling("tpm", 100, 60)).await;
    let holder = lease();
    assert!(is_granted(&replica.reserve(holder, &[("tpm", 100)]).await));
    for _ in 0..3 {
        assert_eq!(no_room(&replica.take(&[("tpm", 30)]).await), Some("tpm"));
    }
    replica.complete(holder, &[("tpm", 60)]).await;
    assert!(is_granted(&replica.take(&[("tpm", 30)]).await));
    assert!(is_granted(&replica.take(&[("tpm", 10)]).await));
    assert_eq!(no_room(&replica.take(&[("tpm", 1)]).await), Some("tpm"));
}

pub async fn an_increase_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, LONG).await;
    replica.put(rolling("rpm", 1, 60)).await;
    exhaust(&replica, "rpm").await;
    replica.put(rolling("rpm", 2, 60)).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    assert_eq!(no_room(&replica.take(&[("rpm", 1)]).await), Some("rpm"));
}

/// A lease id that is older than any bound, by the time in its ULID.
fn old_lease() -> LeaseId {
    LeaseId::from_ulid(Ulid::from_parts(1_000, rand::random())).expect("not zero")
}

fn hint_ms(outcome: &ReserveOutcome) -> u64 {
    let ReserveOutcome::NoRoom { retry_after_ms, .. } = outcome else { panic!("{outcome:?}") };
    *retry_after_ms
}

pub async fn an_expiry_makes_room_at_the_hinted_time<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, Duration::from_secs(1)).await;
    replica.put(rolling("rpm", 1, 2)).await;
    exhaust(&replica, "rpm").await;
    backend.pass(Duration::from_millis(2_100)).await;
    assert!(
        is_granted(&replica.take(&[("rpm", 1)]).await),
        "the bound has ended and the reservation has expired"
    );
    let hint_ms = hint_ms(&replica.take(&[("rpm", 1)]).await);
    assert!((1_000..=2_100).contains(&hint_ms), "the reservation expires within two seconds: {hint_ms}");
    backend.pass(Duration::from_millis(hint_ms + 100)).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
}

pub async fn an_old_lease_asks_the_ledger_and_gets_the_known_hint<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, Duration::from_secs(1)).await;
    replica.put(rolling("rpm", 1, 2)).await;
    exhaust(&replica, "rpm").await;
    backend.pass(Duration::from_millis(2_100)).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    let denied_alone = replica.limiter().denied_alone();
    let hint_ms = hint_ms(&replica.reserve(old_lease(), &[("rpm", 1)]).await);
    assert_eq!(replica.limiter().denied_alone(), denied_alone, "the ledger denied it");
    assert!((1_000..=2_100).contains(&hint_ms), "the replica knows when the reservation expires: {hint_ms}");
}

pub async fn a_lease_that_the_cache_denied_stays_denied<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, LONG).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let holder = exhaust(&replica, "slots").await;
    let denied = lease();
    assert_eq!(no_room(&replica.reserve(denied, &[("slots", 1)]).await), Some("slots"));
    replica.complete(holder, &[]).await;
    assert_eq!(no_room(&replica.reserve(denied, &[("slots", 1)]).await), Some("slots"));
    assert!(is_granted(&replica.take(&[("slots", 1)]).await));
}

pub async fn the_cache_hides_no_other_outcome<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, LONG).await;
    replica.put(rolling("rpm", 1, 60)).await;
    let holder = exhaust(&replica, "rpm").await;
    let outcome = replica.take(&[("rpm", 2)]).await;
    assert!(matches!(outcome, ReserveOutcome::ExceedsCapacity { .. }), "{outcome:?}");
    let outcome = replica.take(&[("unknown", 1), ("rpm", 1)]).await;
    assert!(matches!(outcome, ReserveOutcome::UnknownKey { .. }), "{outcome:?}");
    let outcome = replica.reserve(holder, &[("rpm", 1)]).await;
    assert!(is_granted(&outcome), "a repeated reserve of a granted lease is granted: {outcome:?}");
}

pub async fn a_lease_that_another_replica_granted_is_granted_here<B: Backend>(backend: B) {
    let bound = Duration::from_secs(60);
    let (here, other) = (start_with_bound(&backend, bound).await, start_with_bound(&backend, bound).await);
    here.put(concurrency("slots", 2, 60)).await;
    // Its caller repeats the request because no answer arrived, after more time than the bound.
    let holder = old_lease();
    assert!(is_granted(&other.reserve(holder, &[("slots", 1)]).await));
    exhaust(&here, "slots").await;
    assert!(is_granted(&here.reserve(holder, &[("slots", 1)]).await));
}

pub async fn a_denial_by_the_cache_takes_nothing_of_the_other_limits<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, LONG).await;
    replica.put(rolling("a", 1, 60)).await;
    replica.put(rolling("b", 1, 60)).await;
    let (holder_of_a, holder_of_b) = (exhaust(&replica, "a").await, exhaust(&replica, "b").await);
    replica.complete(holder_of_a, &[("a", 0)]).await;
    for _ in 0..3 {
        assert_eq!(no_room(&replica.take(&[("a", 1), ("b", 1)]).await), Some("b"));
    }
    replica.complete(holder_of_b, &[("b", 0)]).await;
    assert!(is_granted(&replica.take(&[("a", 1), ("b", 1)]).await));
}
