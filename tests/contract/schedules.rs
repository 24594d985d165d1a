//! What limits with a schedule share: repetitions, extends, concurrent completes, and changes of the schedule.

use std::time::Duration;

use ledger_limiter::decide::clock_value::ClockValue;
use ledger_limiter::decide::definition_version::{self, ChainInputs};
use ledger_limiter::decide::schedule_change::ReplacedBalances;
use ledger_limiter::ledger::{ChainOutcome, Ledger};
use ledger_limiter::limit::Definition;
use ledger_limiter::protocol::{CompleteOutcome, ExtendOutcome, ReserveOutcome};
use ulid::Ulid;

use crate::fixtures::*;

pub const SECOND: Duration = Duration::from_secs(1);

pub async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    Replica::start(backend.connect(), backend.ids(), 0).await
}

/// Waits until the next window of this length begins.
pub async fn wait_for_window<B: Backend>(backend: &B, replica: &Replica<B::Ledger>, window_ms: u64) {
    let now_ms = replica.ledger.now_ns() / 1_000_000;
    backend.pass(Duration::from_millis(window_ms - now_ms % window_ms)).await;
}

pub async fn a_mix_of_kinds_is_reserved_whole_or_not_at_all<B: Backend>(backend: B) {
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
        assert_eq!(
            replica.usage(limit).await,
            Usage { available: 8, reserved: 2, debt: 0 },
            "{limit}: a denial leaves no trace"
        );
    }
    replica.complete(holder, &[("bucket", 1), ("rolling", 1), ("fixed", 1), ("sliding", 1)]).await;
    for limit in ["bucket", "rolling", "fixed", "sliding"] {
        assert_eq!(replica.usage(limit).await, Usage { available: 9, reserved: 1, debt: 0 }, "{limit}");
    }
    assert_eq!(replica.usage("slots").await, Usage { available: 1, reserved: 0, debt: 0 });
}

pub async fn a_repeated_reserve_spends_once<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(token_bucket("bucket", 10, 1, 60_000)).await;
    replica.put(fixed_window("fixed", 10, 86_400, 0)).await;
    let id = lease();
    let first = replica.reserve(id, &[("bucket", 3), ("fixed", 4)]).await;
    assert!(is_granted(&first));
    assert_eq!(replica.reserve(id, &[("fixed", 4), ("bucket", 3)]).await, first);
    assert_eq!(other.reserve(id, &[("bucket", 3), ("fixed", 4)]).await, first);
    assert_eq!(other.reserve(id, &[("bucket", 3)]).await, ReserveOutcome::LeaseConflict);
    assert_eq!(replica.usage("bucket").await, Usage { available: 7, reserved: 3, debt: 0 });
    other.complete(id, &[]).await;
    assert_eq!(replica.reserve(id, &[("bucket", 3), ("fixed", 4)]).await, ReserveOutcome::LeaseSettled);
    let denied = lease();
    assert!(!is_granted(&replica.reserve(denied, &[("bucket", 8)]).await));
    replica.put(token_bucket("bucket", 20, 1, 60_000)).await;
    assert!(!is_granted(&other.reserve(denied, &[("bucket", 8)]).await), "a denied lease stays denied");
    assert_eq!(replica.usage("bucket").await, Usage { available: 17, reserved: 3, debt: 0 });
}

pub async fn concurrent_completes_release_unused_tokens_once<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(token_bucket("bucket", 10, 1, 60_000)).await;
    let id = lease();
    replica.reserve(id, &[("bucket", 6)]).await;
    let (first, second) =
        tokio::join!(replica.complete(id, &[("bucket", 1)]), other.complete(id, &[("bucket", 1)]));
    let settled =
        [first, second].into_iter().filter(|outcome| *outcome != CompleteOutcome::NothingToDo).count();
    assert_eq!(settled, 1);
    assert_eq!(replica.usage("bucket").await, Usage { available: 9, reserved: 1, debt: 0 });
    assert_eq!(other.complete(id, &[("bucket", 0)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(replica.usage("bucket").await, Usage { available: 9, reserved: 1, debt: 0 });
}

pub async fn a_repeated_extend_spends_once<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("bucket", 10, 1, 60_000)).await;
    let (id, with_room, without_room) = (lease(), extend_id(), extend_id());
    replica.reserve(id, &[("bucket", 3)]).await;
    let extended = async |extend_id, amount| {
        let command = extend(id, extend_id, "bucket", amount);
        match replica.limiter().extend(&command).await.expect("the ledger answers") {
            ExtendOutcome::Answered(outcome) => is_granted(&outcome),
            ExtendOutcome::NotInLease | ExtendOutcome::TooMany => panic!("it is in the lease"),
        }
    };
    assert!(extended(with_room, 4).await);
    assert!(extended(with_room, 4).await, "a repetition is granted");
    assert!(!extended(without_room, 4).await);
    assert_eq!(replica.usage("bucket").await, Usage { available: 3, reserved: 7, debt: 0 });
    replica.complete(id, &[("bucket", 5)]).await;
    assert_eq!(replica.usage("bucket").await, Usage { available: 5, reserved: 5, debt: 0 });
}

pub async fn a_new_rate_begins_where_the_old_one_ends<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    // Rates at which a second more or less makes no difference, because real time passes on some ledgers.
    replica.put(token_bucket("rpm", 10, 4, 8_000)).await;
    replica.take(&[("rpm", 10)]).await;
    backend.pass(2 * SECOND).await;
    replica.put(token_bucket("rpm", 10, 1, 600_000)).await;
    assert_eq!(
        replica.usage("rpm").await,
        Usage { available: 1, reserved: 9, debt: 0 },
        "a quarter of the refill was earned at the old rate"
    );
    backend.pass(2 * SECOND).await;
    assert_eq!(
        replica.usage("rpm").await,
        Usage { available: 1, reserved: 9, debt: 0 },
        "the new rate has earned nothing yet"
    );
    replica.put(token_bucket("rpm", 20, 1, 600_000)).await;
    assert_eq!(
        replica.usage("rpm").await,
        Usage { available: 11, reserved: 9, debt: 0 },
        "the increase is available at once"
    );
    replica.put(sliding_window("wide", 10, 86_400, 60)).await;
    replica.take(&[("wide", 6)]).await;
    replica.put(sliding_window("wide", 10, 86_400, 2)).await;
    assert_eq!(
        replica.usage("wide").await,
        Usage { available: 4, reserved: 6, debt: 0 },
        "what was spent stays spent"
    );
}

pub async fn a_stale_replica_spends_by_the_new_schedule<B: Backend>(backend: B) {
    let (replica, stale) = (start(&backend).await, start(&backend).await);
    replica.put(token_bucket("rpm", 10, 1, 60_000)).await;
    let id = lease();
    stale.reserve(id, &[("rpm", 4)]).await;
    replica.put(token_bucket("rpm", 10, 2, 60_000)).await;
    let outcome = stale.take(&[("rpm", 1)]).await;
    assert_eq!(no_room(&outcome), Some("rpm"), "its chain names the closed accounts of the old schedule");
    assert!(is_granted(&stale.take(&[("rpm", 1)]).await), "after the denial it has read the new schedule");
    assert_eq!(replica.usage("rpm").await, Usage { available: 5, reserved: 5, debt: 0 });
    stale.complete(id, &[("rpm", 1)]).await;
    assert_eq!(
        replica.usage("rpm").await,
        Usage { available: 8, reserved: 2, debt: 0 },
        "the complete releases what the old schedule spent into the new one"
    );
}

/// A definition for a key.
type Definer = fn(&str) -> Definition;

pub async fn unused_units_are_released_into_the_new_schedule<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    // The schedule of the reservations, and the two that replace it. No step begins while the test runs.
    let changes: [(&str, [Definer; 3]); 4] = [
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
                |name| manual_bucket(name, 10, 3),
                |name| manual_bucket(name, 10, 4),
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
        assert_eq!(
            replica.usage(name).await,
            Usage { available: 6, reserved: 4, debt: 0 },
            "{name}: four of five"
        );
        replica.put(definitions[2](name)).await;
        replica.complete(others, &[(name, 0)]).await;
        assert_eq!(
            replica.usage(name).await,
            Usage { available: 9, reserved: 1, debt: 0 },
            "{name}: all three, two schedules later"
        );
        let over = lease();
        assert!(is_granted(&replica.reserve(over, &[(name, 2)]).await));
        replica.put(definitions[0](name)).await;
        let settled = CompleteOutcome::Settled { overages: Vec::new() };
        assert_eq!(other.complete(over, &[(name, 5)]).await, settled, "{name}: there is room for more");
        assert_eq!(replica.usage(name).await, Usage { available: 4, reserved: 6, debt: 0 }, "{name}");
        assert!(is_granted(&replica.take(&[(name, 4)]).await));
    }
}

pub async fn a_refill_and_a_new_rate_exclude_each_other<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 10, 2, 1_000)).await;
    assert!(is_granted(&replica.take(&[("rpm", 10)]).await));
    backend.pass(SECOND).await;
    // A replica plans a new rate, and stops before it sends the chain.
    replica.registry().refresh().await.expect("the ledger answers");
    let limit = replica.registry().limit(&key("rpm")).expect("the limit exists");
    let plan = definition_version::put(Some(&limit), &token_bucket("rpm", 10, 1, 600_000));
    let plan = plan.expect("the same kind").expect("a change");
    replica.ledger.create_accounts(plan.accounts(replica.ids)).await.expect("the ledger answers");
    let clock = replica.ledger.accounts(vec![limit.schedule.as_ref().expect("one").clock()]).await;
    let clock = ClockValue::of(&clock.expect("the ledger answers")[0].expect("a clock")).expect("in range");
    let (fresh_ulid, balances) = (Ulid::generate().0, ReplacedBalances { clock, spent: 10, owed: 0 });
    let inputs = ChainInputs::of_first_version(fresh_ulid, replica.ledger.now_ns());
    let chain = plan.chain(replica.ids, ChainInputs { replaced: balances, ..inputs });
    let delayed = chain.expect("it encodes").expect("the limit is open");
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await), "the reserve made the refill meanwhile");
    let outcome = replica.ledger.submit_one(delayed).await.expect("the ledger answers");
    assert!(matches!(outcome, ChainOutcome::Refused { .. }), "{outcome:?}");
    replica.put(token_bucket("rpm", 10, 1, 600_000)).await;
    assert_eq!(replica.usage("rpm").await, Usage { available: 1, reserved: 9, debt: 0 }, "refilled once");
}

pub async fn a_deleted_bucket_can_be_created_as_another_kind<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("key", 10, 1, 60_000)).await;
    replica.take(&[("key", 4)]).await;
    replica.admin().delete(&key("key")).await.expect("the limit exists");
    replica.put(rolling("key", 10, 60)).await;
    assert_eq!(replica.usage("key").await, Usage { available: 10, reserved: 0, debt: 0 });
    replica.take(&[("key", 4)]).await;
    assert_eq!(replica.usage("key").await, Usage { available: 6, reserved: 4, debt: 0 });
    replica.admin().delete(&key("key")).await.expect("the limit exists");
    replica.put(fixed_window("key", 12, 86_400, 0)).await;
    assert_eq!(
        replica.usage("key").await,
        Usage { available: 8, reserved: 4, debt: 0 },
        "the reservation of the rolling limit expires later"
    );
    assert!(is_granted(&replica.take(&[("key", 8)]).await));
    assert!(!is_granted(&replica.take(&[("key", 1)]).await));
}

pub async fn fast_buckets_are_reserved_together<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let names: Vec<String> = (0..8).map(|index| format!("fast-{index}")).collect();
    for name in &names {
        replica.put(token_bucket(name, 100_000, 1, 1)).await;
    }
    let one_of_each: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    for _ in 0..10 {
        assert!(is_granted(&replica.take(&one_of_each).await));
    }
}

pub async fn overage_finds_the_refills_that_are_due_and_no_more<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    for name in ["finds", "keeps"] {
        replica.put(token_bucket(name, 10, 5, 1_000)).await;
    }
    let [finds, keeps] = [lease(), lease()];
    replica.reserve(finds, &[("finds", 10)]).await;
    replica.reserve(keeps, &[("keeps", 1)]).await;
    backend.pass(SECOND).await;
    let settled = CompleteOutcome::Settled { overages: Vec::new() };
    assert_eq!(
        replica.complete(finds, &[("finds", 13)]).await,
        settled,
        "five were refilled, three are wanted"
    );
    assert_eq!(replica.usage("finds").await, Usage { available: 2, reserved: 8, debt: 0 });
    assert_eq!(replica.complete(keeps, &[("keeps", 4)]).await, settled);
    assert_eq!(
        replica.usage("keeps").await,
        Usage { available: 7, reserved: 3, debt: 0 },
        "the refill came before the overage"
    );
}
