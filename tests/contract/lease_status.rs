//! The answer to a lease id that is sent again: what it was used for before, at any replica.

use std::time::Duration;

use ledger_limiter::limit::{Amount, BucketRate, RateChange};
use ledger_limiter::limiter::{LimiterOptions, ObjectError};
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};

use crate::fixtures::*;

/// Longer than any of these tests.
const LONG: Duration = Duration::from_secs(3_600);

async fn start<B: Backend>(backend: &B, deny_alone_max: Duration) -> Replica<B::Ledger> {
    let options = LimiterOptions { leases_max: 1_000, deny_alone_max, ..LimiterOptions::default() };
    Replica::start_with(backend.connect(), backend.ids(), options).await
}

pub async fn a_lease_with_an_expired_part_is_not_granted_again<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend, LONG).await, start(&backend, LONG).await);
    replica.put(concurrency("slots", 10, 1)).await;
    replica.put(rolling("day", 10, 60)).await;
    let (id, wants) = (lease(), [("slots", 1), ("day", 4)]);
    assert!(is_granted(&replica.reserve(id, &wants).await));
    assert!(is_granted(&replica.reserve(id, &wants).await), "both parts are held");
    backend.pass(Duration::from_millis(1_100)).await;

    for replica in [&replica, &other] {
        assert_eq!(replica.reserve(id, &wants).await, ReserveOutcome::LeaseExpired);
        assert_eq!(replica.reserve(id, &[("day", 4)]).await, ReserveOutcome::LeaseConflict);
    }
    let batch = other.limiter().reserve_batch(&[reserve(id, &wants)]).await;
    assert!(matches!(batch.as_slice(), [Ok(ReserveOutcome::LeaseExpired)]), "{batch:?}");
    let settled = CompleteOutcome::Settled { overages: Vec::new() };
    assert_eq!(other.complete(id, &[("day", 1)]).await, settled, "a complete settles the rest");
    assert_eq!(replica.usage("day").await, Usage { available: 9, reserved: 1, debt: 0 });
    assert_eq!(replica.reserve(id, &wants).await, ReserveOutcome::LeaseSettled);
}

pub async fn a_refill_does_not_expire_a_lease<B: Backend>(backend: B) {
    let replica = start(&backend, LONG).await;
    replica.put(concurrency("slots", 10, 60)).await;
    replica.put(token_bucket("rate", 10, 10, 1_000)).await;
    let (id, wants) = (lease(), [("slots", 1), ("rate", 4)]);
    let granted = replica.reserve(id, &wants).await;
    backend.pass(Duration::from_millis(2_100)).await;
    assert_eq!(replica.reserve(id, &wants).await, granted, "the tokens stay spent, the slot is held");
}

pub async fn a_reserve_does_not_grant_a_reservation_ahead<B: Backend>(backend: B) {
    let replica = start(&backend, LONG).await;
    let (name, id) = (key("rate"), lease());
    let slow = BucketRate::per_second(0.001).expect("a rate");
    replica.admin().set_rate(&name, RateChange::both(slow, capacity(5))).await.expect("an answer");
    let object = replica.limiter().object(&name);
    let five = Amount::new(5).expect("at least 1");
    assert!(object.reserve(five, lease()).await.expect("an answer").ok);
    let ahead = object.reserve(five, id).await.expect("an answer");
    assert!(ahead.date_to_act > ahead.creation_date + 4_000_000, "due in 5,000 s");

    assert_eq!(replica.reserve(id, &[("rate", 5)]).await, ReserveOutcome::LeaseConflict);
    let taken = object.try_reserve(five, id).await;
    assert!(matches!(taken, Err(ObjectError::LeaseConflict(_))), "{taken:?}");
    assert_eq!(object.reserve(five, id).await.expect("an answer"), ahead, "it is told as it was made");
}

pub async fn a_denial_names_only_keys_of_its_command<B: Backend>(backend: B) {
    let replica = start(&backend, LONG).await;
    replica.put(rolling("full", 1, 60)).await;
    replica.put(rolling("free", 10, 60)).await;
    assert!(is_granted(&replica.take(&[("full", 1)]).await));
    assert_eq!(no_room(&replica.take(&[("full", 1)]).await), Some("full"));
    let denied = lease();
    let denied_alone = replica.limiter().denied_alone();
    assert_eq!(no_room(&replica.reserve(denied, &[("full", 1)]).await), Some("full"));
    assert_eq!(replica.limiter().denied_alone(), denied_alone + 1, "without the ledger");

    assert_eq!(replica.reserve(denied, &[("free", 1)]).await, ReserveOutcome::LeaseConflict);
    let batch = replica.limiter().reserve_batch(&[reserve(denied, &[("free", 1)])]).await;
    assert!(matches!(batch.as_slice(), [Ok(ReserveOutcome::LeaseConflict)]), "{batch:?}");
    assert_eq!(no_room(&replica.reserve(denied, &[("full", 1)]).await), Some("full"));
    assert_eq!(replica.usage("free").await, Usage { available: 10, reserved: 0, debt: 0 });
}

pub async fn a_lease_that_another_replica_settled_is_settled_here<B: Backend>(backend: B) {
    let (here, elsewhere) = (start(&backend, LONG).await, start(&backend, LONG).await);
    here.put(concurrency("slots", 1, 60)).await;
    let held = lease();
    assert!(is_granted(&here.reserve(held, &[("slots", 1)]).await));
    assert_eq!(no_room(&here.take(&[("slots", 1)]).await), Some("slots"));
    let id = lease();
    assert_eq!(no_room(&here.reserve(id, &[("slots", 1)]).await), Some("slots"), "denied without the ledger");
    elsewhere.complete(held, &[]).await;
    assert!(is_granted(&elsewhere.reserve(id, &[("slots", 1)]).await));
    assert!(is_granted(&here.reserve(id, &[("slots", 1)]).await), "the ledger granted it");
    elsewhere.complete(id, &[]).await;

    assert_eq!(here.reserve(id, &[("slots", 1)]).await, ReserveOutcome::LeaseSettled);
    let batch = here.limiter().reserve_batch(&[reserve(id, &[("slots", 1)])]).await;
    assert!(matches!(batch.as_slice(), [Ok(ReserveOutcome::LeaseSettled)]), "{batch:?}");
}
