//! Denials that need no ledger: what a replica answers by itself must be what the ledger would have said.

use std::time::Duration;

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{LeaseId, RefillRate, Status};
use ledger_limiter::limiter::LimiterOptions;
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};

use ulid::Ulid;

use crate::fixtures::*;

const SETTLED: CompleteOutcome = CompleteOutcome::Settled { overages: Vec::new() };

/// Longer than any of these tests: what makes room here is never the end of the bound.
const LONG: Duration = Duration::from_secs(3_600);

async fn start_denying<B: Backend>(backend: &B, bound: Duration) -> Replica<B::Ledger> {
    let options = LimiterOptions { leases_max: 1_000, deny_alone_max: bound, ..LimiterOptions::default() };
    Replica::start_with(backend.connect(), backend.ids(), options).await
}

async fn exhaust<L: Ledger>(replica: &Replica<L>, key: &str) -> LeaseId {
    let held = lease();
    assert!(is_granted(&replica.reserve(held, &[(key, 1)]).await));
    for _ in 0..3 {
        assert_eq!(no_room(&replica.take(&[(key, 1)]).await), Some(key));
    }
    assert!(replica.limiter().denied_alone() >= 2, "the ledger was asked once");
    held
}

pub async fn a_complete_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_denying(&backend, LONG).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let held = exhaust(&replica, "slots").await;
    assert_eq!(replica.complete(held, &[]).await, SETTLED);
    let held = lease();
    assert!(is_granted(&replica.reserve(held, &[("slots", 1)]).await));
    assert_eq!(no_room(&replica.take(&[("slots", 1)]).await), Some("slots"));
    let batch = replica.limiter().complete_batch(&[complete(held, &[])]).await;
    assert!(batch.into_iter().all(|answer| answer.is_ok_and(|outcome| outcome == SETTLED)));
    assert!(is_granted(&replica.take(&[("slots", 1)]).await));
}

pub async fn a_smaller_actual_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_denying(&backend, LONG).await;
    replica.put(rolling("tpm", 100, 60)).await;
    let held = lease();
    assert!(is_granted(&replica.reserve(held, &[("tpm", 100)]).await));
    for _ in 0..3 {
        assert_eq!(no_room(&replica.take(&[("tpm", 30)]).await), Some("tpm"));
    }
    replica.complete(held, &[("tpm", 60)]).await;
    assert!(is_granted(&replica.take(&[("tpm", 30)]).await));
    assert!(is_granted(&replica.take(&[("tpm", 10)]).await));
    assert_eq!(no_room(&replica.take(&[("tpm", 1)]).await), Some("tpm"));
}

pub async fn an_increase_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_denying(&backend, LONG).await;
    replica.put(rolling("rpm", 1, 60)).await;
    exhaust(&replica, "rpm").await;
    replica.put(rolling("rpm", 2, 60)).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    assert_eq!(no_room(&replica.take(&[("rpm", 1)]).await), Some("rpm"));
}

fn hint_ms(outcome: &ReserveOutcome) -> u64 {
    let ReserveOutcome::NoRoom { retry_after_ms, .. } = outcome else { panic!("{outcome:?}") };
    *retry_after_ms
}

pub async fn a_return_makes_room_and_is_told_before<B: Backend>(backend: B) {
    let replica = start_denying(&backend, Duration::from_secs(1)).await;
    replica.put(rolling("rpm", 1, 2)).await;
    exhaust(&replica, "rpm").await;
    backend.pass(Duration::from_millis(2_100)).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await), "the bound is over, and so is the window");
    let hint_ms = hint_ms(&replica.take(&[("rpm", 1)]).await);
    assert!((1_000..=2_100).contains(&hint_ms), "it comes back in less than two seconds: {hint_ms}");
    backend.pass(Duration::from_millis(hint_ms + 100)).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
}

pub async fn a_lease_too_old_to_be_denied_here_is_told_what_is_known<B: Backend>(backend: B) {
    let replica = start_denying(&backend, Duration::from_secs(1)).await;
    replica.put(rolling("rpm", 1, 2)).await;
    exhaust(&replica, "rpm").await;
    backend.pass(Duration::from_millis(2_100)).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    let old = LeaseId::from_ulid(Ulid::from_parts(1_000, rand::random())).expect("not zero");
    let hint_ms = hint_ms(&replica.reserve(old, &[("rpm", 1)]).await);
    assert!((1_000..=2_100).contains(&hint_ms), "when it comes back is known: {hint_ms}");
}

pub async fn a_lease_denied_here_stays_denied_here<B: Backend>(backend: B) {
    let replica = start_denying(&backend, LONG).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let held = exhaust(&replica, "slots").await;
    let denied = lease();
    assert_eq!(no_room(&replica.reserve(denied, &[("slots", 1)]).await), Some("slots"));
    replica.complete(held, &[]).await;
    assert_eq!(no_room(&replica.reserve(denied, &[("slots", 1)]).await), Some("slots"));
    assert!(is_granted(&replica.take(&[("slots", 1)]).await));
}

pub async fn other_denials_stay_what_they_are<B: Backend>(backend: B) {
    let replica = start_denying(&backend, LONG).await;
    replica.put(rolling("rpm", 1, 60)).await;
    let held = exhaust(&replica, "rpm").await;
    let outcome = replica.take(&[("rpm", 2)]).await;
    assert!(matches!(outcome, ReserveOutcome::ExceedsCapacity { .. }), "{outcome:?}");
    let outcome = replica.take(&[("nothing", 1), ("rpm", 1)]).await;
    assert!(matches!(outcome, ReserveOutcome::UnknownKey { .. }), "{outcome:?}");
    let outcome = replica.reserve(held, &[("rpm", 1)]).await;
    assert!(is_granted(&outcome), "a granted lease that is sent again is granted: {outcome:?}");
}

pub async fn a_lease_granted_elsewhere_is_granted_here<B: Backend>(backend: B) {
    let bound = Duration::from_millis(50);
    let (here, elsewhere) = (start_denying(&backend, bound).await, start_denying(&backend, bound).await);
    here.put(concurrency("slots", 2, 60)).await;
    let held = lease();
    assert!(is_granted(&elsewhere.reserve(held, &[("slots", 1)]).await));
    // Its caller has waited for an answer in vain for longer than the bound.
    tokio::time::sleep(2 * bound).await;
    exhaust(&here, "slots").await;
    assert!(is_granted(&here.reserve(held, &[("slots", 1)]).await));
}

pub async fn a_denial_takes_nothing_of_the_other_limits<B: Backend>(backend: B) {
    let replica = start_denying(&backend, LONG).await;
    replica.put(rolling("a", 1, 60)).await;
    replica.put(rolling("b", 1, 60)).await;
    let (held_a, held_b) = (exhaust(&replica, "a").await, exhaust(&replica, "b").await);
    replica.complete(held_a, &[("a", 0)]).await;
    for _ in 0..3 {
        assert_eq!(no_room(&replica.take(&[("a", 1), ("b", 1)]).await), Some("b"));
    }
    replica.complete(held_b, &[("b", 0)]).await;
    assert!(is_granted(&replica.take(&[("a", 1), ("b", 1)]).await));
}

pub async fn a_refill_by_hand_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_denying(&backend, LONG).await;
    replica.put(bucket_by_hand("manual", 1, 1)).await;
    exhaust(&replica, "manual").await;
    for _ in 0..8 {
        let refilled = replica.admin().replenish(&key("manual"), replenish_id()).await;
        assert!(refilled.expect("the ledger answers"));
        assert!(is_granted(&replica.take(&[("manual", 1)]).await));
        assert_eq!(no_room(&replica.take(&[("manual", 1)]).await), Some("manual"));
    }
}

pub async fn a_release_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_denying(&backend, LONG).await;
    replica.put(token_bucket("object", 1, 1, 3_600_000)).await;
    exhaust(&replica, "object").await;
    let object = key("object");
    let released = replica.limiter().object(&object).release(amount(1), release_id()).await;
    assert_eq!(released.expect("the ledger answers"), 1);
    assert!(is_granted(&replica.take(&[("object", 1)]).await));
}

pub async fn a_cancel_makes_room_at_once<B: Backend>(backend: B) {
    let replica = start_denying(&backend, LONG).await;
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
    let replica = start_denying(&backend, LONG).await;
    let set_burst = async |burst| {
        let rate = RefillRate::per_second(1.0 / 3_600.0).expect("a rate");
        replica.admin().set_rate(&key("object"), rate, amount(burst)).await.expect("the ledger answers")
    };
    set_burst(1).await;
    exhaust(&replica, "object").await;
    set_burst(2).await;
    assert!(is_granted(&replica.take(&[("object", 1)]).await));
}

pub async fn a_limit_that_comes_back_has_room_at_once<B: Backend>(backend: B) {
    let replica = start_denying(&backend, LONG).await;
    replica.put(token_bucket("bucket", 1, 1, 3_600_000)).await;
    exhaust(&replica, "bucket").await;
    replica.admin().delete(&key("bucket")).await.expect("the ledger answers");
    replica.put(concurrency("bucket", 2, 60)).await;
    assert!(is_granted(&replica.take(&[("bucket", 1)]).await));
}

pub async fn the_end_of_a_decrease_makes_room_at_once<B: Backend>(backend: B) {
    for applied in [true, false] {
        let replica = start_denying(&backend, LONG).await;
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
    let replica = start_denying(&backend, LONG).await;
    replica.put(rolling("of:{user}", 1, 60)).await;
    exhaust(&replica, "of:ann").await;
    replica.put(rolling("of:{user}", 2, 60)).await;
    assert!(is_granted(&replica.take(&[("of:ann", 1)]).await));
}

/// Who is first to notice that a refill is due, and so makes it.
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

pub async fn a_refill_makes_room_whoever_notices_that_it_is_due<B: Backend>(backend: B) {
    use Noticing::{Decreases, List, ObjectState, Put, Reserve, Show};
    let replica = start_denying(&backend, LONG).await;
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
