//! The interval of a full bucket begins with the reserve that takes from it.

use std::time::Duration;

use ledger_limiter::decide::clock_value::ClockValue;
use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{BucketRate, RateChange};

use super::schedules::{SECOND, start};
use crate::fixtures::*;

/// The interval of the buckets here. A test over a real ledger may be late by half a second.
const INTERVAL_MS: u64 = 4_000;

async fn clock_of<L: Ledger>(replica: &Replica<L>, name: &str) -> ClockValue {
    let info = replica.info(name).await;
    let clock = info.limit().schedule.as_ref().expect("a bucket has a schedule").clock();
    let accounts = replica.ledger.accounts(vec![clock]).await.expect("the ledger answers");
    ClockValue::of(&accounts[0].expect("it was created")).expect("in range")
}

pub async fn a_full_bucket_is_refilled_one_interval_after_it_is_taken_from<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 1, 1, INTERVAL_MS)).await;
    for _ in 0..2 {
        backend.pass(SECOND * 3).await;
        assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
        // A second after the interval that the definition began.
        backend.pass(SECOND * 2).await;
        assert!(!is_granted(&replica.take(&[("rpm", 1)]).await), "the interval began with the take");
        backend.pass(Duration::from_millis(2_001)).await;
        assert!(is_granted(&replica.take(&[("rpm", 1)]).await), "one interval after it");
        backend.pass(Duration::from_millis(INTERVAL_MS)).await;
    }
}

pub async fn replicas_share_the_interval_of_a_bucket<B: Backend>(backend: B) {
    let (first, second) = (start(&backend).await, start(&backend).await);
    first.put(token_bucket("rpm", 2, 1, INTERVAL_MS)).await;
    // The second one knows the interval that began with the definition.
    assert!(is_granted(&second.take(&[("rpm", 1)]).await));
    backend.pass(Duration::from_millis(INTERVAL_MS) + SECOND * 3).await;
    assert!(is_granted(&first.take(&[("rpm", 2)]).await), "full since three seconds");
    backend.pass(SECOND * 2).await;
    for replica in [&first, &second, &start(&backend).await] {
        assert!(!is_granted(&replica.take(&[("rpm", 1)]).await), "by the interval of the first");
    }
    backend.pass(Duration::from_millis(2_001)).await;
    assert!(is_granted(&second.take(&[("rpm", 1)]).await));
}

pub async fn callers_at_once_begin_one_interval<B: Backend>(backend: B) {
    let replicas = [start(&backend).await, start(&backend).await];
    replicas[0].put(token_bucket("rpm", 6, 1, INTERVAL_MS)).await;
    backend.pass(SECOND).await;
    let granted = tokio::join!(
        replicas[0].take(&[("rpm", 2)]),
        replicas[1].take(&[("rpm", 2)]),
        replicas[0].take(&[("rpm", 2)]),
        replicas[1].take(&[("rpm", 2)])
    );
    let granted = [granted.0, granted.1, granted.2, granted.3].iter().filter(|one| is_granted(one)).count();
    assert_eq!(granted, 3, "the burst and no more");
    let clock = clock_of(&replicas[0], "rpm").await;
    assert_eq!(clock.refilled_to, clock.phase, "nothing was refilled since");
}

pub async fn a_bucket_in_use_keeps_its_interval<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 5, 1, 1_000)).await;
    backend.pass(SECOND / 2).await;
    assert!(is_granted(&replica.take(&[("rpm", 5)]).await));
    let began = clock_of(&replica, "rpm").await;
    for _ in 0..3 {
        backend.pass(SECOND).await;
        assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    }
    let clock = clock_of(&replica, "rpm").await;
    assert_eq!(clock.phase, began.phase);
    assert!(clock.refilled_to >= began.refilled_to + 3_000, "{clock:?} after {began:?}");
}

pub async fn what_is_released_may_fill_the_bucket<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 2, 1, INTERVAL_MS)).await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &[("rpm", 2)]).await));
    backend.pass(SECOND * 3).await;
    replica.complete(id, &[("rpm", 0)]).await;
    assert!(is_granted(&replica.take(&[("rpm", 2)]).await), "full again");
    backend.pass(SECOND * 2).await;
    assert!(!is_granted(&replica.take(&[("rpm", 1)]).await), "the interval began with the second take");
}

pub async fn a_take_that_another_limit_denies_begins_no_lasting_interval<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 1, 1, INTERVAL_MS)).await;
    replica.put(concurrency("slots", 1, 600)).await;
    assert!(is_granted(&replica.take(&[("slots", 1)]).await));
    assert!(!is_granted(&replica.take(&[("rpm", 1), ("slots", 1)]).await));
    backend.pass(SECOND * 3).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    backend.pass(SECOND * 2).await;
    assert!(!is_granted(&replica.take(&[("rpm", 1)]).await), "the interval began with the take");
}

pub async fn a_new_rate_of_a_full_bucket_begins_without_a_fraction<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let set = async |per_second: f64| {
        let rate = BucketRate::per_second(per_second).expect("a rate");
        let change = RateChange::both(rate, capacity(1));
        replica.admin().set_rate(&key("rpm"), change).await.expect("the ledger answers");
    };
    set(0.25).await;
    backend.pass(SECOND * 3).await;
    // Three quarters of a token of a bucket that has no room.
    set(0.125).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    backend.pass(SECOND * 4).await;
    assert!(!is_granted(&replica.take(&[("rpm", 1)]).await), "an interval has eight seconds");
    backend.pass(Duration::from_millis(4_001)).await;
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
}

pub async fn the_interval_counts_for_a_reservation_ahead_and_for_the_state<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 1, 1, INTERVAL_MS)).await;
    backend.pass(SECOND * 3).await;
    let key = key("rpm");
    let object = replica.limiter().object(&key);
    let first = object.reserve(amount(1), lease()).await.expect("the ledger answers");
    assert_eq!(first.date_to_act, first.creation_date);
    let second = object.reserve(amount(1), lease()).await.expect("the ledger answers");
    let waits_ms = second.date_to_act - first.creation_date;
    assert!(waits_ms.abs_diff(INTERVAL_MS) < 500, "{waits_ms}");
    let state = object.state().await.expect("the ledger answers");
    assert!(state.last.abs_diff(first.creation_date) < 500, "{state:?}");
    assert_eq!(state.last_event, second.date_to_act);
}
