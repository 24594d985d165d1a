//! A ledger that is far away: how many requests to it a call takes, and the effect of calls whose caller gives up.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::Ledger;
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::limit::{BucketRate, LimitState, RateChange};
use ledger_limiter::limiter::LimiterOptions;
use ledger_limiter::testing::TokioClock;
use tokio::time::Instant;

use crate::distant::Distant;
use crate::fixtures::*;
use crate::memory::RETENTION;

const ROUND_TRIP: Duration = Duration::from_millis(7);
type Far = Distant<MemoryLedger<TokioClock>>;

async fn start() -> Replica<Far> {
    start_with(LimiterOptions::default()).await
}

async fn start_with(options: LimiterOptions) -> Replica<Far> {
    let memory = MemoryLedger::new(TokioClock::new(), RETENTION);
    let ledger = Distant::new(Arc::new(memory), ROUND_TRIP);
    Replica::start_with(ledger, Ids::new(1), options).await
}

/// The names of this many buckets, each refilled every millisecond.
async fn fast_buckets<L: Ledger>(replica: &Replica<L>, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|index| format!("fast-{index}")).collect();
    for name in &names {
        replica.put(token_bucket(name, 100_000, 1, 1)).await;
    }
    names
}

fn one_of_each(names: &[String]) -> Vec<(&str, u64)> {
    names.iter().map(|name| (name.as_str(), 1)).collect()
}

/// More of each than is refilled in a test.
fn much_of_each(names: &[String]) -> Vec<(&str, u64)> {
    names.iter().map(|name| (name.as_str(), 50_000)).collect()
}

async fn requests_of_a_reserve(buckets: usize) -> usize {
    let replica = start().await;
    let names = fast_buckets(&replica, buckets).await;
    // The first reserve also reads the refill clocks.
    assert!(is_granted(&replica.take(&much_of_each(&names)).await));
    tokio::time::sleep(ROUND_TRIP).await;
    let before = replica.ledger.requests();
    assert!(is_granted(&replica.take(&one_of_each(&names)).await));
    replica.ledger.requests() - before
}

#[tokio::test(start_paused = true)]
async fn a_reserve_refills_any_number_of_fast_buckets_in_one_request() {
    for buckets in [1, 2, 8, 32] {
        assert_eq!(
            requests_of_a_reserve(buckets).await,
            2,
            "{buckets} buckets: the refills, the reservation"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_bucket_costs_one_look_up_more() {
    let replica = start().await;
    replica.put(token_bucket("idle", 10, 1, 1_000)).await;
    let mut requests = Vec::new();
    for pause_seconds in [60, 0, 1, 60] {
        tokio::time::sleep(Duration::from_secs(pause_seconds)).await;
        let before = replica.ledger.requests();
        assert!(is_granted(&replica.take(&[("idle", 3)]).await));
        requests.push(replica.ledger.requests() - before);
    }
    assert_eq!(
        requests,
        [3, 1, 2, 3],
        "full: the look, the refill, the reservation; at once after it; a refill that does not fill it; full"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fresh_process_reads_all_refill_clocks_in_one_request() {
    let replica = start().await;
    let names = fast_buckets(&replica, 8).await;
    let fresh = Replica::start(Arc::clone(&replica.ledger), Ids::new(1), 0).await;
    let before = fresh.ledger.requests();
    assert!(is_granted(&fresh.take(&one_of_each(&names)).await));
    assert_eq!(fresh.ledger.requests() - before, 3, "the refill clocks, the refills, the reservation");
}

#[tokio::test(start_paused = true)]
async fn callers_that_wait_for_a_refill_do_not_make_it_again() {
    let replica = start().await;
    let names = fast_buckets(&replica, 2).await;
    assert!(is_granted(&replica.take(&much_of_each(&names)).await));
    tokio::time::sleep(ROUND_TRIP).await;
    let before = replica.ledger.requests();
    let wanted = one_of_each(&names);
    let callers = futures_util::future::join_all((0..10).map(|_| replica.take(&wanted)));
    assert!(callers.await.iter().all(is_granted));
    assert_eq!(replica.ledger.requests() - before, 1 + 10, "one for the refills, ten reservations");
}

#[tokio::test(start_paused = true)]
async fn callers_of_a_window_by_hand_share_the_look_up_of_its_clock() {
    let replica = start().await;
    replica.put(window_by_hand("calls", 100, 500, 0)).await;
    // Nobody can end the first window before its length has passed. After that, somebody may have.
    for (pause_ms, look_ups) in [(0, 0), (1_000, 1), (0, 1)] {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        let before = replica.ledger.requests();
        let callers = futures_util::future::join_all((0..10).map(|_| replica.take(&[("calls", 1)])));
        assert!(callers.await.iter().all(is_granted));
        assert_eq!(replica.ledger.requests() - before, look_ups + 10, "and ten reservations");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_of_overlapping_limits_do_not_wait_for_each_other_forever() {
    let replica = start().await;
    let names = fast_buckets(&replica, 3).await;
    let reversed: Vec<String> = names.iter().rev().cloned().collect();
    let [forward, backward] = [one_of_each(&names), one_of_each(&reversed)];
    for _ in 0..10 {
        tokio::time::sleep(ROUND_TRIP).await;
        let (first, second) = tokio::join!(replica.take(&forward), replica.take(&backward));
        assert!(is_granted(&first) && is_granted(&second), "{first:?} {second:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rates_set_on_eight_buckets_are_met_together() {
    let replica = start().await;
    let names: Vec<String> = (0..8).map(|index| format!("rate-{index}")).collect();
    let rate = BucketRate::per_second(1_000.0).expect("a rate");
    for name in &names {
        replica
            .admin()
            .set_rate(&key(name), RateChange::both(rate, capacity(100_000)))
            .await
            .expect("the ledger answers");
    }
    assert!(is_granted(&replica.take(&one_of_each(&names)).await));
    tokio::time::sleep(Duration::from_secs(1)).await;
    for name in &names {
        assert_eq!(
            replica.usage(name).await,
            Usage { available: 100_000, reserved: 0, debt: 0 },
            "what was taken is refilled"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_instances_that_a_reserve_makes_share_round_trips() {
    let replica = start().await;
    replica.put(rolling("of:{user}", 10, 60)).await;
    let time_to_make = async |instances: usize| {
        let names: Vec<String> = (0..instances).map(|user| format!("of:{instances}-{user}")).collect();
        let started = Instant::now();
        assert!(is_granted(&replica.take(&one_of_each(&names)).await));
        started.elapsed()
    };
    let (one, all) = (time_to_make(1).await, time_to_make(32).await);
    // A few keys share a lock by chance, and wait for each other.
    assert!(all < 8 * one, "one took {one:?}, 32 took {all:?}");
}

/// Gives a call up after the ledger carried it out, and before its answer arrives.
async fn give_up<T>(call: impl Future<Output = T>) {
    assert!(tokio::time::timeout(ROUND_TRIP * 3 / 4, call).await.is_err(), "no answer so early");
}

#[tokio::test(start_paused = true)]
async fn a_complete_that_is_given_up_makes_room_at_once() {
    let deny_alone_max = Duration::from_secs(3_600);
    let replica = start_with(LimiterOptions { leases_max: 10, deny_alone_max, ..Default::default() }).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let held = lease();
    assert!(is_granted(&replica.reserve(held, &[("slots", 1)]).await));
    for _ in 0..2 {
        assert_eq!(no_room(&replica.take(&[("slots", 1)]).await), Some("slots"));
    }
    assert_eq!(replica.limiter().denied_alone(), 1);
    give_up(replica.complete(held, &[])).await;
    assert!(is_granted(&replica.take(&[("slots", 1)]).await));
}

#[tokio::test(start_paused = true)]
async fn two_thousand_buckets_are_listed_in_three_requests() {
    let replica = start().await;
    let names: Vec<String> = (0..2_000).map(|index| format!("bucket-{index:04}")).collect();
    let seed: Vec<LimitState> =
        names.iter().map(|name| LimitState::active(token_bucket(name, 1_000, 1, 1_000))).collect();
    replica.engine.bootstrap(&seed).await.expect("the ledger answers");
    assert!(is_granted(&replica.take(&[("bucket-0000", 5)]).await));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = replica.ledger.requests();
    let listed = replica.admin().list().await.expect("the ledger answers");
    assert_eq!(replica.ledger.requests() - before, 3, "the log, and 8,189 accounts at a time");
    let of_first = &listed[0];
    let usage = Usage { available: of_first.available, reserved: of_first.reserved, debt: of_first.debt };
    assert_eq!(usage, Usage { available: 997, reserved: 3, debt: 0 }, "refills that are due count as made");
    assert_eq!(listed.len(), 2_000);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_changes_while_it_is_read_is_shown_before_or_after() {
    let replica = start().await;
    replica.put(token_bucket("bucket", 10, 1, 1_000)).await;
    assert!(is_granted(&replica.take(&[("bucket", 4)]).await));
    for change in 1..=20 {
        // Another capacity, another schedule.
        let changed = token_bucket("bucket", 10 + change, 1, 1_000 + change);
        let delay = ROUND_TRIP * u32::try_from(change).expect("small") / 5;
        let list = async {
            tokio::time::sleep(delay).await;
            replica.admin().list().await.expect("the ledger answers")
        };
        let (_, listed) = tokio::join!(replica.put(changed), list);
        let shown = &listed[0];
        let capacity = shown.state().definition.capacity.get();
        assert_eq!(shown.available + shown.reserved, capacity.into(), "change {change}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_any_number_of_limits_takes_one_look_up_and_no_chain() {
    let replica = start().await;
    let names = fast_buckets(&replica, 32).await;
    assert!(is_granted(&replica.take(&one_of_each(&names)).await));
    let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
    let before = replica.ledger.requests();
    let left = replica.limiter().left(&keys.iter().collect::<Vec<_>>()).await.expect("the ledger answers");
    assert_eq!(replica.ledger.requests() - before, 1);
    assert!(left.iter().flatten().all(|left| left.capacity == 100_000), "{left:?}");
    assert_eq!(left.iter().flatten().count(), 32);
}
