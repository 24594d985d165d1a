//! Token buckets: refills by time and by hand, overage, new capacities, and several replicas.

use ledger_limiter::decide::clock_value::ClockValue;
use ledger_limiter::decide::refill;
use ledger_limiter::ledger::{ChainOutcome, Ledger};
use ledger_limiter::limit::{Definition, Overage, Status};
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};
use ulid::Ulid;

use super::schedules::{SECOND, start};
use crate::fixtures::*;

/// The number of callers, each wanting one unit, that are granted.
async fn granted_of<L: Ledger>(replica: &Replica<L>, name: &str, callers: usize) -> usize {
    let mut granted = 0;
    for _ in 0..callers {
        granted += usize::from(is_granted(&replica.take(&[(name, 1)]).await));
    }
    granted
}

pub async fn a_bucket_starts_full_and_is_refilled<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 5, 2, 1_000)).await;
    assert_eq!(replica.usage("rpm").await, Usage { available: 5, reserved: 0, debt: 0 });
    assert!(is_granted(&replica.take(&[("rpm", 5)]).await));
    let denied = replica.take(&[("rpm", 1)]).await;
    assert_eq!(no_room(&denied), Some("rpm"));
    let ReserveOutcome::NoRoom { retry_after_ms, .. } = denied else { panic!("denied") };
    assert!(
        retry_after_ms <= 1_050,
        "the time to the next refill and at most 50 ms of jitter: {retry_after_ms}"
    );
    backend.pass(SECOND).await;
    assert_eq!(replica.usage("rpm").await, Usage { available: 2, reserved: 3, debt: 0 });
    assert_eq!(granted_of(&replica, "rpm", 4).await, 2);
}

pub async fn refills_end_when_a_bucket_is_full<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 5, 2, 200)).await;
    replica.take(&[("rpm", 1)]).await;
    backend.pass(SECOND).await;
    assert_eq!(replica.usage("rpm").await, Usage { available: 5, reserved: 0, debt: 0 });
    let too_many = replica.take(&[("rpm", 6)]).await;
    assert_eq!(too_many, ReserveOutcome::ExceedsCapacity { key: key("rpm") });
    assert!(is_granted(&replica.take(&[("rpm", 5)]).await));
}

pub async fn a_complete_releases_unused_tokens_into_the_bucket<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("tpm", 100, 1, 60_000)).await;
    let [used_15, used_none, without_actuals] = [lease(), lease(), lease()];
    replica.reserve(used_15, &[("tpm", 40)]).await;
    replica.reserve(used_none, &[("tpm", 30)]).await;
    replica.reserve(without_actuals, &[("tpm", 30)]).await;
    replica.complete(used_15, &[("tpm", 15)]).await;
    assert_eq!(replica.usage("tpm").await, Usage { available: 25, reserved: 75, debt: 0 });
    replica.complete(used_none, &[("tpm", 0)]).await;
    assert_eq!(replica.usage("tpm").await, Usage { available: 55, reserved: 45, debt: 0 });
    replica.complete(without_actuals, &[]).await;
    assert_eq!(
        replica.usage("tpm").await,
        Usage { available: 55, reserved: 45, debt: 0 },
        "a complete without an actual releases nothing"
    );
}

pub async fn overage_of_a_bucket_is_spent_or_becomes_debt<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("tpm", 100, 1, 60_000)).await;
    replica.put(Definition { overage: Overage::Deny, ..token_bucket("deny", 10, 1, 60_000) }).await;
    let [with_room, without_room, with_deny] = [lease(), lease(), lease()];
    replica.reserve(with_room, &[("tpm", 40)]).await;
    replica.complete(with_room, &[("tpm", 60)]).await;
    assert_eq!(replica.usage("tpm").await, Usage { available: 40, reserved: 60, debt: 0 });
    replica.reserve(without_room, &[("tpm", 40)]).await;
    replica.complete(without_room, &[("tpm", 45)]).await;
    assert_eq!(replica.usage("tpm").await, Usage { available: 0, reserved: 100, debt: 5 });
    replica.reserve(with_deny, &[("deny", 10)]).await;
    let CompleteOutcome::Settled { overages } = replica.complete(with_deny, &[("deny", 12)]).await else {
        panic!("it settles")
    };
    assert_eq!(overages[0].amount, 2);
    assert_eq!(
        replica.usage("deny").await,
        Usage { available: 0, reserved: 10, debt: 0 },
        "the overage is only counted"
    );
}

pub async fn a_manual_refill_adds_tokens_once<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(manual_bucket("manual", 5, 2)).await;
    replica.put(token_bucket("auto", 5, 2, 60_000)).await;
    replica.take(&[("manual", 5)]).await;
    backend.pass(SECOND).await;
    assert_eq!(replica.usage("manual").await, Usage { available: 0, reserved: 5, debt: 0 });
    let refill = async |replenishment| {
        replica.admin().replenish(&key("manual"), replenishment).await.expect("the ledger answers")
    };
    let first = replenish_id();
    assert!(refill(first).await);
    assert!(refill(first).await, "a repetition adds nothing");
    assert_eq!(replica.usage("manual").await, Usage { available: 2, reserved: 3, debt: 0 });
    assert!(refill(replenish_id()).await && refill(replenish_id()).await);
    assert_eq!(
        replica.usage("manual").await,
        Usage { available: 5, reserved: 0, debt: 0 },
        "a refill ends when the bucket is full"
    );
    let auto = replica.admin().replenish(&key("auto"), replenish_id()).await.expect("the ledger answers");
    assert!(!auto, "a bucket that time refills takes no manual refill");
}

pub async fn replicas_make_each_refill_once<B: Backend>(backend: B) {
    let replicas = [start(&backend).await, start(&backend).await, start(&backend).await];
    replicas[0].put(token_bucket("rpm", 5, 2, 3_000)).await;
    replicas[1].take(&[("rpm", 5)]).await;
    for _ in 0..2 {
        backend.pass(SECOND * 3).await;
        let granted = tokio::join!(
            granted_of(&replicas[0], "rpm", 3),
            granted_of(&replicas[1], "rpm", 3),
            granted_of(&replicas[2], "rpm", 3)
        );
        assert_eq!(granted.0 + granted.1 + granted.2, 2, "{granted:?}");
        // Over a real ledger the test takes longer than its waits, but by less than one refill interval.
        let usage = replicas[2].usage("rpm").await;
        assert_eq!(usage.available + usage.reserved, 5);
    }
}

pub async fn a_delayed_refill_is_refused<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 5, 1, 200)).await;
    replica.take(&[("rpm", 5)]).await;
    backend.pass(SECOND).await;
    // A replica plans a refill, and stops before it sends the chain.
    let info = replica.info("rpm").await;
    let limit = info.limit();
    let clock = replica.ledger.accounts(vec![limit.schedule.as_ref().expect("one").clock()]).await;
    let clock = ClockValue::of(&clock.expect("the ledger answers")[0].expect("a clock")).expect("in range");
    backend.pass(SECOND).await;
    let now_ns = replica.ledger.now_ns();
    let fresh_ulid = Ulid::generate().0;
    let delayed =
        refill::catch_up(replica.ids, limit, clock, now_ns, None, fresh_ulid).expect("a refill is due");
    assert!(is_granted(&replica.take(&[("rpm", 5)]).await), "the reserve made the same refill first");
    let outcome = replica.ledger.submit_one(delayed.chain).await.expect("the ledger answers");
    assert!(matches!(outcome, ChainOutcome::Refused { index: 0, .. }), "{outcome:?}");
    let usage = replica.usage("rpm").await;
    assert_eq!(usage.available + usage.reserved, 5);
    assert!(usage.available <= 2, "at most the refills of the time that the test really took: {usage:?}");
}

/// The beginning of a key, and the bucket of a key and capacity.
type NamedBucket = (&'static str, fn(&str, u64) -> Definition);

pub async fn a_bucket_is_lowered_at_once<B: Backend>(backend: B) {
    let (replica, stale) = (start(&backend).await, start(&backend).await);
    let buckets: [NamedBucket; 3] = [
        ("auto", |name, capacity| token_bucket(name, capacity, 1, 600_000)),
        ("new-rate", |name, capacity| token_bucket(name, capacity, capacity, 600_000)),
        ("manual", |name, capacity| manual_bucket(name, capacity, 1)),
    ];
    // The capacity before, the amount taken of it, the capacity after; then the available and reserved amounts.
    for (before, taken, after, available, reserved) in
        [(100, 100, 10, 0, 10), (100, 95, 10, 5, 5), (100, 50, 60, 50, 10), (100, 1, 10, 10, 0)]
    {
        for (name, bucket) in buckets {
            let name = format!("{name}-{taken}");
            replica.put(bucket(&name, before)).await;
            assert!(is_granted(&stale.take(&[(&name, taken)]).await));
            assert_eq!(replica.put(bucket(&name, after)).await, Status::Active, "{name}");
            assert_eq!(replica.usage(&name).await, Usage { available, reserved, debt: 0 }, "{name}");
            assert!(!is_granted(&stale.take(&[(&name, after + 1)]).await), "{name}: above the new capacity");
            let outcome = replica.take(&[(&name, 1)]).await;
            assert_eq!(is_granted(&outcome), available > 0, "{name} is open: {outcome:?}");
            assert!(available > 0 || no_room(&outcome) == Some(&name), "{name} is open: {outcome:?}");
        }
    }
}

pub async fn a_raised_bucket_gains_the_difference_in_tokens<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 10, 1, 600_000)).await;
    replica.take(&[("rpm", 7)]).await;
    replica.put(token_bucket("rpm", 12, 1, 600_000)).await;
    assert_eq!(replica.usage("rpm").await, Usage { available: 5, reserved: 7, debt: 0 });
    replica.put(token_bucket("rpm", 4, 1, 600_000)).await;
    assert_eq!(
        replica.usage("rpm").await,
        Usage { available: 4, reserved: 0, debt: 0 },
        "it keeps the tokens that fit"
    );
    replica.put(token_bucket("rpm", 12, 1, 600_000)).await;
    assert_eq!(replica.usage("rpm").await, Usage { available: 12, reserved: 0, debt: 0 });
}

pub async fn a_lower_bucket_waits_for_reservations_of_an_earlier_kind<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("key", 10, 2)).await;
    replica.take(&[("key", 8)]).await;
    replica.admin().delete(&key("key")).await.expect("the limit exists");
    replica.put(token_bucket("key", 10, 1, 600_000)).await;
    assert!(matches!(replica.put(token_bucket("key", 5, 1, 600_000)).await, Status::Decreasing { .. }));
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(
        replica.usage("key").await,
        Usage { available: 2, reserved: 8, debt: 0 },
        "the slots are still held"
    );
    // A second more than the timeout, because a remaining time is rounded up.
    backend.pass(4 * SECOND).await;
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("key").await, Usage { available: 5, reserved: 0, debt: 0 });
    assert!(is_granted(&replica.take(&[("key", 5)]).await));
}

pub async fn a_reserve_batch_makes_every_refill_first<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("a", 3, 3, 1_000)).await;
    replica.put(token_bucket("b", 3, 3, 1_000)).await;
    replica.take(&[("a", 3), ("b", 3)]).await;
    backend.pass(SECOND).await;
    let commands: Vec<_> = ["a", "b", "a", "b", "a", "b", "a", "b"]
        .into_iter()
        .map(|name| reserve(lease(), &[(name, 1)]))
        .collect();
    let answers = replica.limiter().reserve_batch(&commands).await;
    let granted: Vec<bool> =
        answers.into_iter().map(|answer| is_granted(&answer.expect("the ledger answers"))).collect();
    assert_eq!(granted, [true, true, true, true, true, true, false, false]);
}
