//! The denial cache: a replica that denies without asking the ledger answers as the ledger would.

use std::time::Duration;

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{BucketRate, LeaseId, RateChange, Status};
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

pub async fn a_manual_refill_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, LONG).await;
    replica.put(manual_bucket("manual", 1, 1)).await;
    exhaust(&replica, "manual").await;
    for _ in 0..8 {
        let refilled = replica.admin().replenish(&key("manual"), replenish_id()).await;
        assert!(refilled.expect("the ledger answers"));
        assert!(is_granted(&replica.take(&[("manual", 1)]).await));
        assert_eq!(no_room(&replica.take(&[("manual", 1)]).await), Some("manual"));
    }
}

pub async fn a_release_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, LONG).await;
    replica.put(token_bucket("object", 1, 1, 3_600_000)).await;
    exhaust(&replica, "object").await;
    let object = key("object");
    let released = replica.limiter().object(&object).release(amount(1), release_id()).await;
    assert_eq!(released.expect("the ledger answers"), 1);
    assert!(is_granted(&replica.take(&[("object", 1)]).await));
}

pub async fn a_cancel_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, LONG).await;
    replica.put(token_bucket("object", 2, 1, 3_600_000)).await;
    assert!(is_granted(&replica.take(&[("object", 1)]).await));
    let (object, ahead) = (key("object"), lease());
    let reservation = replica.limiter().object(&object).reserve(amount(2), ahead).await;
    assert!(reservation.expect("the ledger answers").ok, "it takes one and borrows one");
    for _ in 0..3 {
        assert_eq!(no_room(&replica.take(&[("object", 1)]).await), Some("object"));
    }
    assert!(replica.limiter().object(&object).cancel(ahead).await.expect("the ledger answers"));
    assert!(is_granted(&replica.take(&[("object", 1)]).await));
}

pub async fn a_new_rate_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, LONG).await;
    let set_burst = async |burst| {
        let rate = BucketRate::per_second(1.0 / 3_600.0).expect("a rate");
        replica
            .admin()
            .set_rate(&key("object"), RateChange::both(rate, capacity(burst)))
            .await
            .expect("the ledger answers")
    };
    set_burst(1).await;
    exhaust(&replica, "object").await;
    set_burst(2).await;
    assert!(is_granted(&replica.take(&[("object", 1)]).await));
}

pub async fn a_limit_that_is_created_again_has_room_at_once<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, LONG).await;
    replica.put(token_bucket("bucket", 1, 1, 3_600_000)).await;
    exhaust(&replica, "bucket").await;
    replica.admin().delete(&key("bucket")).await.expect("the ledger answers");
    replica.put(concurrency("bucket", 2, 60)).await;
    assert!(is_granted(&replica.take(&[("bucket", 1)]).await));
}

pub async fn the_end_of_a_decrease_makes_room_at_once<B: Backend>(backend: B) {
    for applied in [true, false] {
        let replica = start_with_bound(&backend, LONG).await;
        let name = if applied { "applied" } else { "cancelled" };
        replica.put(concurrency(name, 3, 60)).await;
        let held = [lease(), lease()];
        for lease in held {
            assert!(is_granted(&replica.reserve(lease, &[(name, 1)]).await));
        }
        exhaust(&replica, name).await;
        assert!(matches!(replica.put(concurrency(name, 2, 60)).await, Status::Decreasing { .. }));
        if applied {
            for lease in held {
                replica.complete(lease, &[]).await;
            }
            replica.admin().apply_decreases().await.expect("the ledger answers");
        } else {
            assert_eq!(replica.put(concurrency(name, 4, 60)).await, Status::Active);
        }
        assert!(is_granted(&replica.take(&[(name, 1)]).await), "{name}");
        assert_eq!(no_room(&replica.take(&[(name, 1)]).await), Some(name));
    }
}

pub async fn a_raised_template_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_with_bound(&backend, LONG).await;
    replica.put(rolling("of:{user}", 1, 60)).await;
    exhaust(&replica, "of:ann").await;
    replica.put(rolling("of:{user}", 2, 60)).await;
    assert!(is_granted(&replica.take(&[("of:ann", 1)]).await));
}

/// The operation that makes a due refill.
#[derive(Debug, Clone, Copy)]
enum Noticing {
    Reserve,
    Show,
    List,
    Put,
    ObjectState,
    Decreases,
}

async fn notice<L: Ledger>(replica: &Replica<L>, name: &str, noticing: Noticing) {
    let key = key(name);
    match noticing {
        Noticing::Reserve => {}
        Noticing::Show => drop(replica.info(name).await),
        Noticing::List => drop(replica.admin().list().await.expect("the ledger answers")),
        Noticing::Put => {
            let unchanged = replica.registry().limit(&key).expect("it is known").state.definition;
            assert_eq!(replica.put(unchanged).await, Status::Active);
        }
        Noticing::ObjectState => {
            replica.limiter().object(&key).state().await.expect("the ledger answers");
        }
        Noticing::Decreases => replica.admin().apply_decreases().await.expect("the ledger answers"),
    }
}

pub async fn a_refill_makes_room_whoever_makes_it<B: Backend>(backend: B) {
    use Noticing::{Decreases, List, ObjectState, Put, Reserve, Show};
    let replica = start_with_bound(&backend, LONG).await;
    let cases = [
        (token_bucket("reserve", 1, 1, 1_000), Reserve),
        (token_bucket("show", 1, 1, 1_000), Show),
        (token_bucket("list", 1, 1, 1_000), List),
        (token_bucket("put", 1, 1, 1_000), Put),
        (token_bucket("state", 1, 1, 1_000), ObjectState),
        (token_bucket("decreases", 1, 1, 1_000), Decreases),
    ];
    for (definition, noticing) in cases {
        let name = definition.key.as_str().to_owned();
        replica.put(definition).await;
        exhaust(&replica, &name).await;
        backend.pass(Duration::from_millis(1_100)).await;
        notice(&replica, &name, noticing).await;
        assert!(is_granted(&replica.take(&[(&name, 1)]).await), "{noticing:?} {name}");
    }
}
