use std::time::Duration;

use ledger_limiter::decide::schedule_change::ReplacedBalances;
use ledger_limiter::decide::{definition_version, refill};
use ledger_limiter::ledger::{ChainOutcome, Ledger};
use ledger_limiter::limit::{Definition, Overage, Status};
use ledger_limiter::protocol::{CompleteOutcome, ExtendOutcome, ReserveOutcome};
use ulid::Ulid;

use crate::fixtures::*;

pub const SECOND: Duration = Duration::from_secs(1);

pub async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    Replica::start(backend.connect(), backend.ids(), 0).await
}

/// Waits until a window of so many milliseconds has just begun.
pub async fn window_begins<B: Backend>(backend: &B, replica: &Replica<B::Ledger>, window_ms: u64) {
    let now_ms = replica.ledger.now_ns() / 1_000_000;
    backend.pass(Duration::from_millis(window_ms - now_ms % window_ms)).await;
}

/// How many of several callers for one unit are granted.
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
    assert_eq!(replica.usage("rpm").await, (5, 0, 0));
    assert!(is_granted(&replica.take(&[("rpm", 5)]).await));
    let denied = replica.take(&[("rpm", 1)]).await;
    assert_eq!(no_room(&denied), Some("rpm"));
    let ReserveOutcome::NoRoom { retry_after_ms, .. } = denied else { panic!("denied") };
    assert!(retry_after_ms <= 1_050, "the next refill, and a little by chance: {retry_after_ms}");
    backend.pass(SECOND).await;
    assert_eq!(replica.usage("rpm").await, (2, 3, 0));
    assert_eq!(granted_of(&replica, "rpm", 4).await, 2);
}

pub async fn a_bucket_is_never_more_than_full<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 5, 2, 200)).await;
    replica.take(&[("rpm", 1)]).await;
    backend.pass(SECOND).await;
    assert_eq!(replica.usage("rpm").await, (5, 0, 0));
    let too_many = replica.take(&[("rpm", 6)]).await;
    assert_eq!(too_many, ReserveOutcome::ExceedsCapacity { key: key("rpm") });
    assert!(is_granted(&replica.take(&[("rpm", 5)]).await));
}

pub async fn what_a_bucket_did_not_need_is_given_back<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("tpm", 100, 1, 60_000)).await;
    let [shrinks, nothing, untold] = [lease(), lease(), lease()];
    replica.reserve(shrinks, &[("tpm", 40)]).await;
    replica.reserve(nothing, &[("tpm", 30)]).await;
    replica.reserve(untold, &[("tpm", 30)]).await;
    replica.complete(shrinks, &[("tpm", 15)]).await;
    assert_eq!(replica.usage("tpm").await, (25, 75, 0));
    replica.complete(nothing, &[("tpm", 0)]).await;
    assert_eq!(replica.usage("tpm").await, (55, 45, 0));
    replica.complete(untold, &[]).await;
    assert_eq!(replica.usage("tpm").await, (55, 45, 0), "nobody said how much of it was used");
}

pub async fn what_is_used_beyond_is_taken_or_debt<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("tpm", 100, 1, 60_000)).await;
    replica.put(Definition { overage: Overage::Deny, ..token_bucket("deny", 10, 1, 60_000) }).await;
    let [fits, exceeds, denies] = [lease(), lease(), lease()];
    replica.reserve(fits, &[("tpm", 40)]).await;
    replica.complete(fits, &[("tpm", 60)]).await;
    assert_eq!(replica.usage("tpm").await, (40, 60, 0));
    replica.reserve(exceeds, &[("tpm", 40)]).await;
    replica.complete(exceeds, &[("tpm", 45)]).await;
    assert_eq!(replica.usage("tpm").await, (0, 100, 5));
    replica.reserve(denies, &[("deny", 10)]).await;
    let CompleteOutcome::Settled { overages } = replica.complete(denies, &[("deny", 12)]).await else {
        panic!("it settles")
    };
    assert_eq!(overages[0].amount, 2);
    assert_eq!(replica.usage("deny").await, (0, 10, 0), "it is only told");
}

pub async fn a_bucket_by_hand_is_refilled_when_asked<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(bucket_by_hand("manual", 5, 2)).await;
    replica.put(token_bucket("auto", 5, 2, 60_000)).await;
    replica.take(&[("manual", 5)]).await;
    backend.pass(SECOND).await;
    assert_eq!(replica.usage("manual").await, (0, 5, 0));
    let refill = async |replenishment| {
        replica.admin().replenish(&key("manual"), replenishment).await.expect("the ledger answers")
    };
    let first = replenish_id();
    assert!(refill(first).await);
    assert!(refill(first).await, "the same once more changes nothing");
    assert_eq!(replica.usage("manual").await, (2, 3, 0));
    assert!(refill(replenish_id()).await && refill(replenish_id()).await);
    assert_eq!(replica.usage("manual").await, (5, 0, 0), "never more than full");
    let auto = replica.admin().replenish(&key("auto"), replenish_id()).await.expect("the ledger answers");
    assert!(!auto, "time refills it");
}

pub async fn all_of_a_window_is_back_at_the_boundary<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("daily", 10, 2, 0)).await;
    window_begins(&backend, &replica, 2_000).await;
    assert!(is_granted(&replica.take(&[("daily", 7)]).await));
    backend.pass(SECOND).await;
    assert!(is_granted(&replica.take(&[("daily", 3)]).await));
    assert_eq!(no_room(&replica.take(&[("daily", 1)]).await), Some("daily"));
    window_begins(&backend, &replica, 2_000).await;
    assert_eq!(replica.usage("daily").await, (10, 0, 0), "whenever it was taken");
    assert!(is_granted(&replica.take(&[("daily", 10)]).await));
}

pub async fn windows_begin_where_they_are_aligned<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("local", 1, 4, 2)).await;
    window_begins(&backend, &replica, 4_000).await;
    assert!(is_granted(&replica.take(&[("local", 1)]).await));
    backend.pass(SECOND).await;
    assert!(!is_granted(&replica.take(&[("local", 1)]).await));
    backend.pass(SECOND).await;
    assert!(is_granted(&replica.take(&[("local", 1)]).await), "2 seconds after the multiple of 4");
}

pub async fn segments_come_back_one_by_one<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(sliding_window("rpm", 10, 3, 3)).await;
    window_begins(&backend, &replica, 1_000).await;
    assert!(is_granted(&replica.take(&[("rpm", 5)]).await));
    window_begins(&backend, &replica, 1_000).await;
    assert!(is_granted(&replica.take(&[("rpm", 3)]).await));
    window_begins(&backend, &replica, 1_000).await;
    assert_eq!(replica.usage("rpm").await, (2, 8, 0));
    window_begins(&backend, &replica, 1_000).await;
    assert_eq!(replica.usage("rpm").await, (7, 3, 0), "the first segment has left the window");
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    window_begins(&backend, &replica, 1_000).await;
    assert_eq!(replica.usage("rpm").await, (9, 1, 0));
    backend.pass(SECOND * 7).await;
    assert_eq!(replica.usage("rpm").await, (10, 0, 0), "also of segments in which nobody came");
}

pub async fn an_unused_part_of_a_window_is_given_back_while_it_lasts<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("daily", 10, 2, 0)).await;
    window_begins(&backend, &replica, 2_000).await;
    let [in_time, late] = [lease(), lease()];
    replica.reserve(in_time, &[("daily", 6)]).await;
    replica.reserve(late, &[("daily", 4)]).await;
    replica.complete(in_time, &[("daily", 2)]).await;
    assert_eq!(replica.usage("daily").await, (4, 6, 0));
    window_begins(&backend, &replica, 2_000).await;
    replica.take(&[("daily", 9)]).await;
    assert_eq!(replica.complete(late, &[("daily", 1)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(replica.usage("daily").await, (1, 9, 0), "its window is over");
}

pub async fn any_mix_of_kinds_is_all_or_nothing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("bucket", 10, 1, 60_000)).await;
    replica.put(concurrency("slots", 1, 60)).await;
    replica.put(rolling("rolling", 10, 60)).await;
    replica.put(fixed_window("fixed", 10, 86_400, 0)).await;
    replica.put(sliding_window("sliding", 10, 86_400, 60)).await;
    let all = [("bucket", 2), ("slots", 1), ("rolling", 2), ("fixed", 2), ("sliding", 2)];
    let holder = lease();
    assert!(is_granted(&replica.reserve(holder, &all).await));
    assert_eq!(no_room(&replica.take(&all).await), Some("slots"));
    for limit in ["bucket", "rolling", "fixed", "sliding"] {
        assert_eq!(replica.usage(limit).await, (8, 2, 0), "{limit}: a denial leaves no trace");
    }
    replica.complete(holder, &[("bucket", 1), ("rolling", 1), ("fixed", 1), ("sliding", 1)]).await;
    for limit in ["bucket", "rolling", "fixed", "sliding"] {
        assert_eq!(replica.usage(limit).await, (9, 1, 0), "{limit}");
    }
    assert_eq!(replica.usage("slots").await, (1, 0, 0));
}

pub async fn a_replay_spends_once<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(token_bucket("bucket", 10, 1, 60_000)).await;
    replica.put(fixed_window("fixed", 10, 86_400, 0)).await;
    let id = lease();
    let first = replica.reserve(id, &[("bucket", 3), ("fixed", 4)]).await;
    assert!(is_granted(&first));
    assert_eq!(replica.reserve(id, &[("fixed", 4), ("bucket", 3)]).await, first);
    assert_eq!(other.reserve(id, &[("bucket", 3), ("fixed", 4)]).await, first);
    assert_eq!(other.reserve(id, &[("bucket", 3)]).await, ReserveOutcome::LeaseConflict);
    assert_eq!(replica.usage("bucket").await, (7, 3, 0));
    other.complete(id, &[]).await;
    assert_eq!(replica.reserve(id, &[("bucket", 3), ("fixed", 4)]).await, ReserveOutcome::LeaseSettled);
    let denied = lease();
    assert!(!is_granted(&replica.reserve(denied, &[("bucket", 8)]).await));
    replica.put(token_bucket("bucket", 20, 1, 60_000)).await;
    assert!(!is_granted(&other.reserve(denied, &[("bucket", 8)]).await), "a denied lease stays denied");
    assert_eq!(replica.usage("bucket").await, (17, 3, 0));
}

pub async fn a_lease_is_settled_once_by_whoever_comes<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(token_bucket("bucket", 10, 1, 60_000)).await;
    let id = lease();
    replica.reserve(id, &[("bucket", 6)]).await;
    let (first, second) =
        tokio::join!(replica.complete(id, &[("bucket", 1)]), other.complete(id, &[("bucket", 1)]));
    let settled =
        [first, second].into_iter().filter(|outcome| *outcome != CompleteOutcome::NothingToDo).count();
    assert_eq!(settled, 1);
    assert_eq!(replica.usage("bucket").await, (9, 1, 0));
    assert_eq!(other.complete(id, &[("bucket", 0)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(replica.usage("bucket").await, (9, 1, 0));
}

pub async fn a_running_lease_takes_more<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("bucket", 10, 1, 60_000)).await;
    let (id, more, too_much) = (lease(), extend_id(), extend_id());
    replica.reserve(id, &[("bucket", 3)]).await;
    let extended = async |attempt, amount| {
        let command = extend(id, attempt, "bucket", amount);
        match replica.limiter().extend(&command).await.expect("the ledger answers") {
            ExtendOutcome::Answered(outcome) => is_granted(&outcome),
            ExtendOutcome::NotInLease | ExtendOutcome::TooMany => panic!("it is in the lease"),
        }
    };
    assert!(extended(more, 4).await);
    assert!(extended(more, 4).await, "the same attempt");
    assert!(!extended(too_much, 4).await);
    assert_eq!(replica.usage("bucket").await, (3, 7, 0));
    replica.complete(id, &[("bucket", 5)]).await;
    assert_eq!(replica.usage("bucket").await, (5, 5, 0));
}

pub async fn replicas_refill_once<B: Backend>(backend: B) {
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
        // The slack of real time adds up to less than one more tick.
        let (available, spent, _) = replicas[2].usage("rpm").await;
        assert_eq!(available + spent, 5);
    }
}

pub async fn what_was_held_up_refills_nothing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 5, 1, 200)).await;
    replica.take(&[("rpm", 5)]).await;
    backend.pass(SECOND).await;
    // A replica plans to refill, and is stopped before it has sent anything.
    let info = replica.info("rpm").await;
    let limit = info.limit();
    let clock = replica.ledger.accounts(vec![limit.schedule.as_ref().expect("one").clock()]).await;
    let clock_ms = clock.expect("the ledger answers")[0].expect("a clock").credits_posted as u64;
    backend.pass(SECOND).await;
    let now_ns = replica.ledger.now_ns();
    let fresh_ulid = Ulid::generate().0;
    let held_up = refill::catch_up(replica.ids, limit, clock_ms, now_ns, None, fresh_ulid).expect("due");
    assert!(is_granted(&replica.take(&[("rpm", 5)]).await), "another one refilled meanwhile");
    let outcome = replica.ledger.submit_one(held_up.chain).await.expect("the ledger answers");
    assert!(matches!(outcome, ChainOutcome::Refused { index: 0, .. }), "{outcome:?}");
    let (available, spent, _) = replica.usage("rpm").await;
    assert!(available <= 2 && available + spent == 5, "{available} came by time since");
}

pub async fn a_decrease_waits_for_what_comes_back<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("rpm", 10, 2, 0)).await;
    window_begins(&backend, &replica, 2_000).await;
    replica.take(&[("rpm", 10)]).await;
    assert!(matches!(replica.put(fixed_window("rpm", 6, 2, 0)).await, Status::Decreasing { .. }));
    let closed = ReserveOutcome::Decreasing { key: key("rpm"), retry_after_ms: 10_000 };
    assert_eq!(replica.take(&[("rpm", 1)]).await, closed);
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert!(matches!(replica.info("rpm").await.state().status, Status::Decreasing { .. }));
    window_begins(&backend, &replica, 2_000).await;
    assert_eq!(replica.take(&[("rpm", 1)]).await, closed, "the window begins anew, and nobody is let in");
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.info("rpm").await.state().status, Status::Active);
    assert_eq!(replica.usage("rpm").await, (6, 0, 0));
    assert!(is_granted(&replica.take(&[("rpm", 6)]).await));
}

/// The beginning of a key, and the bucket of a key and capacity.
type NamedBucket = (&'static str, fn(&str, u64) -> Definition);

pub async fn a_bucket_is_lowered_at_once<B: Backend>(backend: B) {
    let (replica, stale) = (start(&backend).await, start(&backend).await);
    let buckets: [NamedBucket; 3] = [
        ("auto", |name, capacity| token_bucket(name, capacity, 1, 600_000)),
        ("new-rate", |name, capacity| token_bucket(name, capacity, capacity, 600_000)),
        ("manual", |name, capacity| bucket_by_hand(name, capacity, 1)),
    ];
    // The capacity before, what is taken of it, the capacity after; what is available and reserved then.
    for (before, taken, after, available, reserved) in
        [(100, 100, 10, 0, 10), (100, 95, 10, 5, 5), (100, 50, 60, 50, 10), (100, 1, 10, 10, 0)]
    {
        for (name, bucket) in buckets {
            let name = format!("{name}-{taken}");
            replica.put(bucket(&name, before)).await;
            assert!(is_granted(&stale.take(&[(&name, taken)]).await));
            assert_eq!(replica.put(bucket(&name, after)).await, Status::Active, "{name}");
            assert_eq!(replica.usage(&name).await, (available, reserved, 0), "{name}");
            assert!(!is_granted(&stale.take(&[(&name, after + 1)]).await), "{name}: above the new capacity");
            let outcome = replica.take(&[(&name, 1)]).await;
            assert_eq!(is_granted(&outcome), available > 0, "{name} is open: {outcome:?}");
            assert!(available > 0 || no_room(&outcome) == Some(&name), "{name} is open: {outcome:?}");
        }
    }
}

pub async fn a_raised_bucket_has_as_many_tokens_more<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 10, 1, 600_000)).await;
    replica.take(&[("rpm", 7)]).await;
    replica.put(token_bucket("rpm", 12, 1, 600_000)).await;
    assert_eq!(replica.usage("rpm").await, (5, 7, 0));
    replica.put(token_bucket("rpm", 4, 1, 600_000)).await;
    assert_eq!(replica.usage("rpm").await, (4, 0, 0), "it keeps what it has room for");
    replica.put(token_bucket("rpm", 12, 1, 600_000)).await;
    assert_eq!(replica.usage("rpm").await, (12, 0, 0));
}

pub async fn a_bucket_is_lowered_while_an_earlier_kind_holds_some<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("key", 10, 60)).await;
    let holder = lease();
    replica.reserve(holder, &[("key", 8)]).await;
    replica.admin().delete(&key("key")).await.expect("it is there");
    replica.put(token_bucket("key", 10, 1, 600_000)).await;
    assert!(matches!(replica.put(token_bucket("key", 5, 1, 600_000)).await, Status::Decreasing { .. }));
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("key").await, (2, 8, 0), "the slots are held still");
    replica.complete(holder, &[]).await;
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("key").await, (5, 0, 0));
    assert!(is_granted(&replica.take(&[("key", 5)]).await));
}

pub async fn unused_is_given_back_while_decreasing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("daily", 10, 86_400, 0)).await;
    let id = lease();
    replica.reserve(id, &[("daily", 10)]).await;
    replica.put(fixed_window("daily", 4, 86_400, 0)).await;
    replica.complete(id, &[("daily", 1)]).await;
    assert_eq!(replica.usage("daily").await, (9, 1, 0));
    assert!(!is_granted(&replica.take(&[("daily", 1)]).await));
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("daily").await, (3, 1, 0));
}

pub async fn a_topped_up_lease_settles_while_decreasing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("window", 20, 86_400, 0)).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let id = lease();
    replica.reserve(id, &[("window", 3), ("slots", 1)]).await;
    for amount in [4, 5] {
        replica
            .limiter()
            .extend(&extend(id, extend_id(), "window", amount))
            .await
            .expect("the ledger answers");
    }
    assert_eq!(replica.usage("window").await, (8, 12, 0));
    replica.put(fixed_window("window", 5, 86_400, 0)).await;
    let settled = replica.complete(id, &[("window", 1)]).await;
    assert_eq!(settled, CompleteOutcome::Settled { overages: Vec::new() });
    assert_eq!(replica.usage("window").await, (19, 1, 0));
    assert_eq!(replica.usage("slots").await, (1, 0, 0));
    assert!(!is_granted(&replica.take(&[("window", 1)]).await), "it is closed again");
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("window").await, (4, 1, 0));
}

pub async fn a_new_rate_begins_where_the_old_one_ends<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 10, 3, 1_000)).await;
    replica.take(&[("rpm", 10)]).await;
    backend.pass(SECOND).await;
    replica.put(token_bucket("rpm", 10, 1, 1_000)).await;
    assert_eq!(replica.usage("rpm").await, (3, 7, 0), "what was due came back at the old rate");
    backend.pass(SECOND).await;
    assert_eq!(replica.usage("rpm").await, (4, 6, 0), "and then at the new one");
    replica.put(token_bucket("rpm", 20, 1, 1_000)).await;
    assert_eq!(replica.usage("rpm").await, (14, 6, 0), "a higher capacity is there at once");
    replica.put(sliding_window("wide", 10, 86_400, 60)).await;
    replica.take(&[("wide", 6)]).await;
    replica.put(sliding_window("wide", 10, 86_400, 2)).await;
    assert_eq!(replica.usage("wide").await, (4, 6, 0), "what was taken is taken still");
}

pub async fn a_stale_replica_spends_by_the_new_schedule<B: Backend>(backend: B) {
    let (replica, stale) = (start(&backend).await, start(&backend).await);
    replica.put(token_bucket("rpm", 10, 1, 60_000)).await;
    let id = lease();
    stale.reserve(id, &[("rpm", 4)]).await;
    replica.put(token_bucket("rpm", 10, 2, 60_000)).await;
    let outcome = stale.take(&[("rpm", 1)]).await;
    assert_eq!(no_room(&outcome), Some("rpm"), "it looked for room in the old schedule");
    assert!(is_granted(&stale.take(&[("rpm", 1)]).await), "and has read the new one since");
    assert_eq!(replica.usage("rpm").await, (5, 5, 0));
    stale.complete(id, &[("rpm", 1)]).await;
    assert_eq!(
        replica.usage("rpm").await,
        (8, 2, 0),
        "what was taken by the old one is given back by the new one"
    );
}

/// A definition for a key.
type Form = fn(&str) -> Definition;

pub async fn what_is_unused_is_given_back_by_the_new_schedule<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    // The schedule of the reservations, and the next ones. No boundary comes while the test runs.
    let changes: [(&str, [Form; 3]); 4] = [
        (
            "bucket",
            [
                |name| token_bucket(name, 10, 1, 600_000),
                |name| token_bucket(name, 10, 2, 600_000),
                |name| token_bucket(name, 10, 1, 1_200_000),
            ],
        ),
        (
            "manual",
            [
                |name| token_bucket(name, 10, 1, 600_000),
                |name| bucket_by_hand(name, 10, 3),
                |name| bucket_by_hand(name, 10, 4),
            ],
        ),
        (
            "fixed",
            [
                |name| fixed_window(name, 10, 31_622_400, 0),
                |name| fixed_window(name, 10, 31_622_400, 86_400),
                |name| fixed_window(name, 10, 31_622_399, 0),
            ],
        ),
        (
            "sliding",
            [
                |name| sliding_window(name, 10, 31_622_400, 60),
                |name| sliding_window(name, 10, 31_622_400, 2),
                |name| sliding_window(name, 10, 31_622_399, 30),
            ],
        ),
    ];
    for (name, definitions) in changes {
        let [mine, others] = [lease(), lease()];
        replica.put(definitions[0](name)).await;
        assert!(is_granted(&replica.reserve(mine, &[(name, 5)]).await));
        assert!(is_granted(&other.reserve(others, &[(name, 3)]).await));
        replica.put(definitions[1](name)).await;
        other.complete(mine, &[(name, 1)]).await;
        assert_eq!(replica.usage(name).await, (6, 4, 0), "{name}: four of five");
        replica.put(definitions[2](name)).await;
        replica.complete(others, &[(name, 0)]).await;
        assert_eq!(replica.usage(name).await, (9, 1, 0), "{name}: all three, two schedules later");
        let over = lease();
        assert!(is_granted(&replica.reserve(over, &[(name, 2)]).await));
        replica.put(definitions[0](name)).await;
        let settled = CompleteOutcome::Settled { overages: Vec::new() };
        assert_eq!(other.complete(over, &[(name, 5)]).await, settled, "{name}: there is room for more");
        assert_eq!(replica.usage(name).await, (4, 6, 0), "{name}");
        assert!(is_granted(&replica.take(&[(name, 4)]).await));
    }
}

pub async fn a_refill_and_a_new_rate_exclude_each_other<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 10, 2, 1_000)).await;
    assert!(is_granted(&replica.take(&[("rpm", 10)]).await));
    backend.pass(SECOND).await;
    // A replica plans to change the rate, and is stopped before it has sent anything.
    replica.registry().refresh().await.expect("the ledger answers");
    let limit = replica.registry().limit(&key("rpm")).expect("it is there");
    let plan = definition_version::put(Some(&limit), &token_bucket("rpm", 10, 1, 600_000));
    let plan = plan.expect("the same kind").expect("a change");
    replica.ledger.create_accounts(plan.accounts(replica.ids)).await.expect("the ledger answers");
    let clock = replica.ledger.accounts(vec![limit.schedule.as_ref().expect("one").clock()]).await;
    let clock = clock.expect("the ledger answers")[0].expect("a clock").credits_posted as u64;
    let (fresh_ulid, balances) = (Ulid::generate().0, ReplacedBalances { clock, owed: 0 });
    let chain = plan.chain(replica.ids, None, fresh_ulid, balances, replica.ledger.now_ns());
    let held_up = chain.expect("it is encoded").expect("it is open");
    let (available, spent, _) = replica.usage("rpm").await;
    assert_eq!((available, spent), (2, 8), "another one refilled meanwhile");
    let outcome = replica.ledger.submit_one(held_up).await.expect("the ledger answers");
    assert!(matches!(outcome, ChainOutcome::Refused { .. }), "{outcome:?}");
    replica.put(token_bucket("rpm", 10, 1, 600_000)).await;
    assert_eq!(replica.usage("rpm").await, (2, 8, 0), "refilled once");
}

pub async fn a_deleted_bucket_can_come_back_as_another_kind<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("key", 10, 1, 60_000)).await;
    replica.take(&[("key", 4)]).await;
    replica.admin().delete(&key("key")).await.expect("it is there");
    replica.put(rolling("key", 10, 60)).await;
    assert_eq!(replica.usage("key").await, (10, 0, 0));
    replica.take(&[("key", 4)]).await;
    assert_eq!(replica.usage("key").await, (6, 4, 0));
    replica.admin().delete(&key("key")).await.expect("it is there");
    replica.put(fixed_window("key", 12, 86_400, 0)).await;
    assert_eq!(replica.usage("key").await, (8, 4, 0), "what is pending comes back by itself");
    assert!(is_granted(&replica.take(&[("key", 8)]).await));
    assert!(!is_granted(&replica.take(&[("key", 1)]).await));
}

pub async fn a_batch_finds_everything_due<B: Backend>(backend: B) {
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
