//! Waiting: a reserve with a longest wait is granted in its turn, or denied for good, and has one outcome wherever it is asked again.

use std::time::Duration;

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{Definition, LeaseId, LimitKey, QueueOrder, Queueing};
use ledger_limiter::limiter::{LimiterOptions, WaitingOptions};
use ledger_limiter::protocol::{ExtendOutcome, Reserve, ReserveOutcome, Wait};
use tokio::task::JoinHandle;

use crate::fixtures::*;

const LONG_MS: u64 = 30_000;
const SOON: Duration = Duration::from_secs(10);

type Waiting = JoinHandle<ReserveOutcome>;

/// A replica that looks for room every 50 ms.
async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    start_polling(backend, Duration::from_millis(50)).await
}

async fn start_polling<B: Backend>(backend: &B, poll_interval: Duration) -> Replica<B::Ledger> {
    let waiting = WaitingOptions { poll_interval, ..WaitingOptions::default() };
    let options = LimiterOptions { leases_max: 100, waiting, ..LimiterOptions::default() };
    Replica::start_with(backend.connect(), backend.ids(), options).await
}

fn waits(lease: LeaseId, wants: &[(&str, u64)], max_ms: u64, priority: u64) -> Reserve {
    reserve(lease, wants).with_wait(Wait::new(max_ms, priority).expect("valid"))
}

/// Asks in a task, which has asked when this returns.
async fn ask<L: Ledger>(replica: &Replica<L>, command: Reserve) -> Waiting {
    let limiter = replica.limiter().clone();
    let asked = tokio::spawn(async move { limiter.reserve(&command).await.expect("the ledger answers") });
    tokio::time::sleep(Duration::from_millis(20)).await;
    asked
}

/// Asks with a long wait, and waits until it stands in the queue of `key`.
async fn queue<L: Ledger>(
    replica: &Replica<L>,
    lease: LeaseId,
    wants: &[(&str, u64)],
    priority: u64,
) -> Waiting {
    let before = replica.limiter().waiting_counts().queued();
    let waiting = ask(replica, waits(lease, wants, LONG_MS, priority)).await;
    let is_queued = || async { replica.limiter().waiting_counts().queued() > before };
    eventually("the lease waits", SOON, is_queued).await;
    waiting
}

async fn outcome(waiting: Waiting) -> ReserveOutcome {
    let outcome = tokio::time::timeout(SOON, waiting).await;
    outcome.expect("the wait ends").expect("it does not panic")
}

/// Takes all of a limit.
async fn fill<L: Ledger>(replica: &Replica<L>, wants: &[(&str, u64)]) -> LeaseId {
    let holder = lease();
    assert!(is_granted(&replica.reserve(holder, wants).await));
    holder
}

pub async fn a_complete_wakes_the_waiter<B: Backend>(backend: B) {
    // Nothing is found by polling.
    let replica = start_polling(&backend, Duration::from_secs(3_600)).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let holder = fill(&replica, &[("slots", 1)]).await;
    let waiter = lease();
    let waiting = queue(&replica, waiter, &[("slots", 1)], 5).await;
    replica.complete(holder, &[]).await;
    let granted = outcome(waiting).await;
    assert!(is_granted(&granted), "{granted:?}");
    assert_eq!(replica.reserve(waiter, &[("slots", 1)]).await, granted, "it is the lease's grant");
    let another = start(&backend).await;
    assert_eq!(another.reserve(waiter, &[("slots", 1)]).await, granted, "also at another replica");
    assert_eq!(another.usage("slots").await, Usage { available: 0, reserved: 1, debt: 0 });
    another.complete(waiter, &[]).await;
    assert_eq!(another.usage("slots").await, Usage { available: 1, reserved: 0, debt: 0 });
    assert_eq!(replica.limiter().waiting_counts().callers(), 0);
}

pub async fn a_lease_that_was_denied_behind_a_waiter_stays_denied_when_it_waits<B: Backend>(backend: B) {
    for deny_alone_max in [Duration::ZERO, Duration::from_secs(5)] {
        let options = LimiterOptions { leases_max: 100, deny_alone_max, ..LimiterOptions::default() };
        let replica = Replica::start_with(backend.connect(), backend.ids(), options).await;
        let key = format!("slots:{}", deny_alone_max.as_secs());
        let slot = [(key.as_str(), 1)];
        replica.put(concurrency(&key, 1, 60)).await;
        let holder = fill(&replica, &slot).await;
        let (waiter, denied) = (lease(), lease());
        let waiting = queue(&replica, waiter, &slot, 5).await;
        assert_eq!(no_room(&replica.reserve(denied, &slot).await), Some(key.as_str()));
        let again = ask(&replica, waits(denied, &slot, LONG_MS, 5)).await;
        replica.complete(holder, &[]).await;
        assert!(is_granted(&outcome(waiting).await));
        // Now there would be room for it.
        replica.complete(waiter, &[]).await;
        assert_eq!(no_room(&outcome(again).await), Some(key.as_str()), "{deny_alone_max:?}");
    }
}

pub async fn a_smaller_actual_wakes_the_waiter<B: Backend>(backend: B) {
    let replica = start_polling(&backend, Duration::from_secs(3_600)).await;
    replica.put(rolling("tpm", 100, 60)).await;
    let holder = fill(&replica, &[("tpm", 100)]).await;
    let waiting = queue(&replica, lease(), &[("tpm", 30)], 5).await;
    replica.complete(holder, &[("tpm", 70)]).await;
    assert!(is_granted(&outcome(waiting).await));
}

pub async fn a_raised_capacity_wakes_the_waiter<B: Backend>(backend: B) {
    let replica = start_polling(&backend, Duration::from_secs(3_600)).await;
    replica.put(rolling("tpm", 100, 60)).await;
    fill(&replica, &[("tpm", 100)]).await;
    let waiting = queue(&replica, lease(), &[("tpm", 30)], 5).await;
    replica.put(rolling("tpm", 130, 60)).await;
    assert!(is_granted(&outcome(waiting).await));
}

pub async fn an_expiry_makes_room_for_the_waiter<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("rpm", 1, 2)).await;
    fill(&replica, &[("rpm", 1)]).await;
    let waiting = queue(&replica, lease(), &[("rpm", 1)], 5).await;
    backend.pass(Duration::from_secs(2)).await;
    assert!(is_granted(&outcome(waiting).await));
}

pub async fn a_refill_makes_room_for_the_waiter<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("bucket", 4, 1, 500)).await;
    fill(&replica, &[("bucket", 4)]).await;
    let waiting = queue(&replica, lease(), &[("bucket", 3)], 5).await;
    backend.pass(Duration::from_millis(1_500)).await;
    assert!(is_granted(&outcome(waiting).await));
}

pub async fn a_release_at_another_replica_is_found<B: Backend>(backend: B) {
    let (replica, another) = (start(&backend).await, start(&backend).await);
    replica.put(concurrency("slots", 1, 60)).await;
    another.registry().refresh().await.expect("the ledger answers");
    let holder = fill(&another, &[("slots", 1)]).await;
    let waiting = queue(&replica, lease(), &[("slots", 1)], 5).await;
    another.complete(holder, &[]).await;
    assert!(is_granted(&outcome(waiting).await));
}

pub async fn a_wait_ends_with_a_denial_that_stays<B: Backend>(backend: B) {
    let (replica, another) = (start(&backend).await, start(&backend).await);
    replica.put(concurrency("slots", 1, 60)).await;
    replica.put(rolling("tpm", 5, 60)).await;
    another.registry().refresh().await.expect("the ledger answers");
    let holder = fill(&replica, &[("slots", 1)]).await;
    let wants = [("slots", 1), ("tpm", 1)];
    // The first is sent before it waits. The second waits behind it, and is not sent.
    let (first, second) = (lease(), lease());
    let waiting = [
        ask(&replica, waits(first, &wants, 300, 5)).await,
        ask(&replica, waits(second, &wants, 300, 5)).await,
    ];
    for waiting in waiting {
        assert_eq!(no_room(&outcome(waiting).await), Some("slots"));
    }
    replica.complete(holder, &[]).await;
    for lease in [first, second] {
        for replica in [&replica, &another] {
            assert!(no_room(&replica.reserve(lease, &wants).await).is_some(), "it stays denied");
            let again = ask(replica, waits(lease, &wants, 200, 5)).await;
            assert!(no_room(&outcome(again).await).is_some(), "also if it waits again");
        }
    }
    assert_eq!(replica.usage("slots").await, Usage { available: 1, reserved: 0, debt: 0 });
    assert_eq!(replica.usage("tpm").await, Usage { available: 5, reserved: 0, debt: 0 });
}

pub async fn waiters_are_served_in_order<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let mut holder = fill(&replica, &[("slots", 1)]).await;
    let mut waiting = Vec::new();
    for priority in [5, 5, 9, 5] {
        let lease = lease();
        waiting.push((lease, queue(&replica, lease, &[("slots", 1)], priority).await));
    }
    for nth in [2, 0, 1, 3] {
        replica.complete(holder, &[]).await;
        let is_done = || async { waiting[nth].1.is_finished() };
        eventually("the next in order is granted", SOON, is_done).await;
        let others = waiting.iter().filter(|(_, waiting)| waiting.is_finished()).count();
        assert!(others <= 4);
        holder = waiting[nth].0;
        assert_eq!(replica.usage("slots").await.reserved, 1);
    }
    for (_, waiting) in waiting {
        assert!(is_granted(&outcome(waiting).await));
    }
}

pub async fn the_newest_is_served_first_if_the_definition_says_so<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let queueing = Queueing { order: QueueOrder::NewestFirst, max_waiting: None };
    replica.put(Definition { queueing, ..concurrency("slots", 1, 60) }).await;
    let mut holder = fill(&replica, &[("slots", 1)]).await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let lease = lease();
        waiting.push((lease, queue(&replica, lease, &[("slots", 1)], 5).await));
    }
    while let Some((lease, newest)) = waiting.pop() {
        replica.complete(holder, &[]).await;
        assert!(is_granted(&outcome(newest).await));
        holder = lease;
    }
}

pub async fn a_large_head_is_not_overtaken<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 4, 60)).await;
    let holders = [fill(&replica, &[("slots", 2)]).await, fill(&replica, &[("slots", 2)]).await];
    let large = queue(&replica, lease(), &[("slots", 4)], 5).await;
    let small = queue(&replica, lease(), &[("slots", 1)], 5).await;
    replica.complete(holders[0], &[]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!large.is_finished() && !small.is_finished(), "two slots are free, and kept for the first");
    let hasty = lease();
    assert_eq!(no_room(&replica.reserve(hasty, &[("slots", 1)]).await), Some("slots"));
    replica.complete(holders[1], &[]).await;
    assert!(is_granted(&outcome(large).await));
    assert!(!small.is_finished());
    small.abort();
    assert_eq!(no_room(&replica.reserve(hasty, &[("slots", 1)]).await), Some("slots"), "it stays denied");
}

pub async fn a_waiter_of_several_limits_holds_none_of_them<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("a", 2, 60)).await;
    replica.put(concurrency("b", 1, 60)).await;
    replica.put(token_bucket("c", 5, 1, 60_000)).await;
    let holder = fill(&replica, &[("b", 1)]).await;
    let waiter = lease();
    let waiting = queue(&replica, waiter, &[("a", 2), ("b", 1), ("c", 5)], 5).await;
    assert_eq!(replica.usage("a").await, Usage { available: 2, reserved: 0, debt: 0 });
    assert_eq!(replica.usage("c").await, Usage { available: 5, reserved: 0, debt: 0 });
    replica.complete(holder, &[]).await;
    let granted = outcome(waiting).await;
    assert!(is_granted(&granted));
    assert_eq!(replica.usage("a").await, Usage { available: 0, reserved: 2, debt: 0 });
    let another = start(&backend).await;
    assert_eq!(another.reserve(waiter, &[("a", 2), ("b", 1), ("c", 5)]).await, granted);
    another.complete(waiter, &[("c", 2)]).await;
    assert_eq!(replica.usage("a").await, Usage { available: 2, reserved: 0, debt: 0 });
    assert_eq!(replica.usage("c").await, Usage { available: 3, reserved: 2, debt: 0 });
}

pub async fn a_lease_that_is_asked_again_here_joins_its_wait<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let holder = fill(&replica, &[("slots", 1)]).await;
    let waiter = lease();
    let first = queue(&replica, waiter, &[("slots", 1)], 5).await;
    let again = ask(&replica, waits(waiter, &[("slots", 1)], LONG_MS, 5)).await;
    let other = waits(waiter, &[("slots", 2)], LONG_MS, 5);
    assert_eq!(outcome(ask(&replica, other).await).await, ReserveOutcome::LeaseConflict);
    assert_eq!(replica.limiter().waiting_counts().callers(), 2);
    assert_eq!(replica.info("slots").await.waiting, 1);
    first.abort();
    replica.complete(holder, &[]).await;
    assert!(is_granted(&outcome(again).await), "the second caller is still there");
    assert_eq!(replica.usage("slots").await.reserved, 1);
}

pub async fn a_repetition_that_does_not_wait_ends_the_wait<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 1, 60)).await;
    fill(&replica, &[("slots", 1)]).await;
    let waiter = lease();
    let waiting = queue(&replica, waiter, &[("slots", 1)], 5).await;
    assert_eq!(no_room(&replica.reserve(waiter, &[("slots", 1)]).await), Some("slots"));
    assert_eq!(no_room(&outcome(waiting).await), Some("slots"));
}

pub async fn a_lease_denied_at_another_replica_is_denied_here<B: Backend>(backend: B) {
    for wants in [&[("slots", 1)][..], &[("a", 1), ("slots", 1)]] {
        let (replica, another) = (start(&backend).await, start(&backend).await);
        replica.put(concurrency("a", 1, 60)).await;
        replica.put(concurrency("slots", 1, 60)).await;
        another.registry().refresh().await.expect("the ledger answers");
        let holder = fill(&replica, &[("slots", 1)]).await;
        let waiter = lease();
        let waiting = queue(&replica, waiter, wants, 5).await;
        assert!(no_room(&another.reserve(waiter, wants).await).is_some());
        another.complete(holder, &[]).await;
        assert!(no_room(&outcome(waiting).await).is_some(), "a denial of one is a denial of all");
        assert_eq!(replica.usage("slots").await, Usage { available: 1, reserved: 0, debt: 0 });
    }
}

pub async fn a_waiter_that_was_not_sent_is_told_the_grant_of_another_replica<B: Backend>(backend: B) {
    let (replica, another) = (start(&backend).await, start(&backend).await);
    replica.put(concurrency("slots", 3, 60)).await;
    another.registry().refresh().await.expect("the ledger answers");
    fill(&replica, &[("slots", 2)]).await;
    let large = queue(&replica, lease(), &[("slots", 3)], 5).await;
    let waiter = lease();
    let waiting = ask(&replica, waits(waiter, &[("slots", 1)], 600, 5)).await;
    let granted = another.reserve(waiter, &[("slots", 1)]).await;
    assert!(is_granted(&granted));
    assert_eq!(outcome(waiting).await, granted, "the end of the wait finds it");
    large.abort();
}

pub async fn a_waiter_that_leaves_takes_nothing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let holder = fill(&replica, &[("slots", 1)]).await;
    let (left, stays) = (lease(), lease());
    let leaving = queue(&replica, left, &[("slots", 1)], 5).await;
    let staying = queue(&replica, stays, &[("slots", 1)], 5).await;
    leaving.abort();
    let is_gone = || async { replica.limiter().waiting_counts().callers() == 1 };
    eventually("it has left", SOON, is_gone).await;
    replica.complete(holder, &[]).await;
    assert!(is_granted(&outcome(staying).await));
    replica.complete(stays, &[]).await;
    assert_eq!(replica.usage("slots").await, Usage { available: 1, reserved: 0, debt: 0 });
    assert_eq!(replica.limiter().waiting_counts().left(), 1);
    let asked_again = replica.reserve(left, &[("slots", 1)]).await;
    assert!(no_room(&asked_again).is_some(), "its first attempt was refused");
}

pub async fn a_full_queue_denies_at_once<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let queueing = Queueing { max_waiting: Some(3), ..Queueing::default() };
    replica.put(Definition { queueing, ..concurrency("slots", 4, 60) }).await;
    let holder = fill(&replica, &[("slots", 4)]).await;
    let first = queue(&replica, lease(), &[("slots", 2)], 5).await;
    let denied = tokio::time::timeout(SOON, ask(&replica, waits(lease(), &[("slots", 2)], LONG_MS, 5)).await);
    assert_eq!(no_room(&denied.await.expect("at once").expect("no panic")), Some("slots"));
    let second = queue(&replica, lease(), &[("slots", 1)], 5).await;
    replica.complete(holder, &[]).await;
    assert!(is_granted(&outcome(first).await) && is_granted(&outcome(second).await));
}

pub async fn a_wait_for_a_limit_that_is_deleted_ends<B: Backend>(backend: B) {
    let (replica, another) = (start(&backend).await, start(&backend).await);
    for (at, name) in [(&replica, "here"), (&another, "there")] {
        replica.put(concurrency(name, 2, 60)).await;
        fill(&replica, &[(name, 2)]).await;
        let waiting = queue(&replica, lease(), &[(name, 1)], 5).await;
        at.registry().refresh().await.expect("the ledger answers");
        at.admin().delete(&key(name)).await.expect("it exists");
        if name == "there" {
            replica.registry().refresh().await.expect("the ledger answers");
        }
        assert_eq!(outcome(waiting).await, ReserveOutcome::UnknownKey { key: key(name) });
    }
}

pub async fn what_can_never_be_granted_does_not_wait<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 1, 60)).await;
    for (wants, expected) in [
        (("slots", 2), ReserveOutcome::ExceedsCapacity { key: key("slots") }),
        (("nothing", 1), ReserveOutcome::UnknownKey { key: key("nothing") }),
    ] {
        let asked = lease();
        let waiting = ask(&replica, waits(asked, &[wants], LONG_MS, 5)).await;
        assert_eq!(outcome(waiting).await, expected);
        assert_eq!(replica.reserve(asked, &[wants]).await, expected);
    }
    assert_eq!(replica.limiter().waiting_counts().queued(), 0);
}

pub async fn a_template_makes_the_instance_of_a_waiter<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(template(concurrency("user:{user}", 1, 60), 2)).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let holder = fill(&replica, &[("slots", 1)]).await;
    let wants = [("slots", 1), ("user:ann", 1)];
    let waiting = queue(&replica, lease(), &wants, 5).await;
    assert_eq!(replica.usage("user:{user}").await.reserved, 0, "no instance is made without room");
    replica.complete(holder, &[]).await;
    assert!(is_granted(&outcome(waiting).await));
    assert_eq!(replica.usage("user:ann").await, Usage { available: 0, reserved: 1, debt: 0 });
}

pub async fn a_stop_denies_all_waiters<B: Backend>(backend: B) {
    let (replica, another) = (start(&backend).await, start(&backend).await);
    replica.put(concurrency("slots", 1, 60)).await;
    another.registry().refresh().await.expect("the ledger answers");
    let holder = fill(&replica, &[("slots", 1)]).await;
    let leases = [lease(), lease()];
    let waiting = [
        queue(&replica, leases[0], &[("slots", 1)], 5).await,
        queue(&replica, leases[1], &[("slots", 1)], 5).await,
    ];
    replica.limiter().stop_waiting().await;
    for waiting in waiting {
        assert!(no_room(&outcome(waiting).await).is_some());
    }
    let late = ask(&replica, waits(lease(), &[("slots", 1)], LONG_MS, 5)).await;
    assert!(no_room(&outcome(late).await).is_some(), "nobody waits from now on");
    another.complete(holder, &[]).await;
    for lease in leases {
        assert!(no_room(&another.reserve(lease, &[("slots", 1)]).await).is_some());
    }
}

pub async fn a_batch_waits_for_its_items<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 2, 60)).await;
    let holder = fill(&replica, &[("slots", 1)]).await;
    let commands = [
        waits(lease(), &[("slots", 1)], LONG_MS, 5),
        waits(lease(), &[("slots", 1)], LONG_MS, 5),
        reserve(lease(), &[("nothing", 1)]),
    ];
    let limiter = replica.limiter().clone();
    let batch = tokio::spawn(async move { limiter.reserve_batch(&commands).await });
    let is_queued = || async { replica.limiter().waiting_counts().queued() == 1 };
    eventually("the second item waits", SOON, is_queued).await;
    replica.complete(holder, &[]).await;
    let answers = tokio::time::timeout(SOON, batch).await.expect("it ends").expect("no panic");
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("the ledger answers")).collect();
    assert!(is_granted(&answers[0]) && is_granted(&answers[1]), "{answers:?}");
    assert_eq!(answers[2], ReserveOutcome::UnknownKey { key: key("nothing") });
}

pub async fn a_young_lease_behind_a_waiter_is_denied_without_the_ledger<B: Backend>(backend: B) {
    let options = LimiterOptions { deny_alone_max: Duration::from_secs(3_600), ..LimiterOptions::default() };
    let replica = Replica::start_with(backend.connect(), backend.ids(), options).await;
    replica.put(concurrency("slots", 2, 60)).await;
    let holder = fill(&replica, &[("slots", 1)]).await;
    let waiting = queue(&replica, lease(), &[("slots", 2)], 5).await;
    let denied_before = replica.limiter().denied_alone();
    let hasty = lease();
    for _ in 0..2 {
        assert_eq!(no_room(&replica.reserve(hasty, &[("slots", 1)]).await), Some("slots"));
    }
    assert_eq!(replica.limiter().denied_alone(), denied_before + 1);
    replica.complete(holder, &[]).await;
    assert!(is_granted(&outcome(waiting).await));
}

/// Extends in a task, and waits until it stands in the queue.
async fn queue_extend<L: Ledger>(
    replica: &Replica<L>,
    lease: LeaseId,
    key: &str,
    max_ms: u64,
) -> JoinHandle<ExtendOutcome> {
    let before = replica.limiter().waiting_counts().queued();
    let (limiter, command) = (replica.limiter().clone(), extend(lease, extend_id(), key, 1));
    let wait = Wait::new(max_ms, 5).expect("valid");
    let waiting =
        tokio::spawn(
            async move { limiter.extend_in_turn(&command, wait).await.expect("the ledger answers") },
        );
    let is_queued = || async { replica.limiter().waiting_counts().queued() > before };
    eventually("the extend waits", SOON, is_queued).await;
    waiting
}

async fn extended(waiting: JoinHandle<ExtendOutcome>) -> ReserveOutcome {
    let outcome = tokio::time::timeout(SOON, waiting).await.expect("the wait ends").expect("no panic");
    outcome.answered().expect("an answer")
}

pub async fn an_extend_waits_for_its_turn<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 2, 60)).await;
    let (own, other) = (fill(&replica, &[("slots", 1)]).await, fill(&replica, &[("slots", 1)]).await);
    let extending = queue_extend(&replica, own, "slots", LONG_MS).await;
    let behind = queue(&replica, lease(), &[("slots", 1)], 5).await;
    replica.complete(other, &[]).await;
    assert!(is_granted(&extended(extending).await));
    assert_eq!(replica.usage("slots").await, Usage { available: 0, reserved: 2, debt: 0 });
    assert!(!behind.is_finished());
    replica.complete(own, &[]).await;
    assert!(is_granted(&outcome(behind).await), "a complete settles the extension, too");
}

pub async fn an_extend_is_denied_at_the_end_of_its_wait<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let own = fill(&replica, &[("slots", 1)]).await;
    let extending = queue_extend(&replica, own, "slots", 200).await;
    assert_eq!(no_room(&extended(extending).await), Some("slots"));
    let extending = queue_extend(&replica, own, "slots", LONG_MS).await;
    replica.complete(own, &[]).await;
    assert_eq!(extended(extending).await, ReserveOutcome::LeaseSettled, "its lease has ended");
    assert_eq!(replica.usage("slots").await, Usage { available: 1, reserved: 0, debt: 0 });
    assert_eq!(replica.limiter().waiting_counts().callers(), 0);
}

pub async fn a_forced_reserve_of_a_denied_lease_is_told_to_all<B: Backend>(backend: B) {
    let (replica, another) = (start(&backend).await, start(&backend).await);
    replica.put(concurrency("slots", 1, 60)).await;
    another.registry().refresh().await.expect("the ledger answers");
    fill(&replica, &[("slots", 1)]).await;
    let (denied, waiter) = (lease(), lease());
    assert!(no_room(&replica.reserve(denied, &[("slots", 1)]).await).is_some());
    let waiting = ask(&replica, waits(waiter, &[("slots", 1)], 400, 5)).await;
    for lease in [denied, waiter] {
        let forced = another.limiter().force(&reserve(lease, &[("slots", 1)])).await;
        let forced = forced.expect("the ledger answers");
        assert!(is_granted(&forced));
        for replica in [&replica, &another] {
            if lease == denied {
                assert_eq!(replica.reserve(lease, &[("slots", 1)]).await, forced, "it is the lease's grant");
            }
        }
        if lease == waiter {
            assert_eq!(outcome(ask(&another, waits(lease, &[("slots", 1)], 0, 5)).await).await, forced);
        }
    }
    assert!(is_granted(&outcome(waiting).await));
}

fn would_deny(outcome: &ReserveOutcome) -> Vec<&str> {
    let ReserveOutcome::Granted { would_deny, .. } = outcome else { panic!("not granted: {outcome:?}") };
    would_deny.iter().map(LimitKey::as_str).collect()
}

pub async fn a_limit_that_goes_into_shadow_mode_grants_its_waiters<B: Backend>(backend: B) {
    let (replica, another) =
        (start_polling(&backend, Duration::from_secs(3_600)).await, start(&backend).await);
    for definition in [concurrency("slots", 2, 60), token_bucket("bucket", 2, 1, 3_600_000)] {
        let name = definition.key.to_string();
        replica.put(definition.clone()).await;
        fill(&replica, &[(&name, 1)]).await;
        // The first was sent before it waits. The second waits behind it, and was not sent.
        let leases = [lease(), lease()];
        let waiting = [
            queue(&replica, leases[0], &[(&name, 2)], 5).await,
            queue(&replica, leases[1], &[(&name, 1)], 5).await,
        ];
        replica.put(Definition { enforce: false, ..definition }).await;
        another.registry().refresh().await.expect("the ledger answers");
        for ((waiting, lease), amount) in waiting.into_iter().zip(leases).zip([2, 1]) {
            let granted = outcome(waiting).await;
            assert_eq!(would_deny(&granted), [&name]);
            for replica in [&replica, &another] {
                assert_eq!(replica.reserve(lease, &[(&name, amount)]).await, granted, "{name}, asked again");
            }
        }
        assert_eq!(replica.usage(&name).await, Usage { available: 0, reserved: 2, debt: 2 }, "{name}");
    }
}

pub async fn a_waiter_of_a_limit_in_shadow_mode_waits_for_the_others<B: Backend>(backend: B) {
    let replica = start_polling(&backend, Duration::from_secs(3_600)).await;
    replica.put(rolling("a", 1, 60)).await;
    replica.put(concurrency("slots", 1, 60)).await;
    fill(&replica, &[("a", 1)]).await;
    let holder = fill(&replica, &[("slots", 1)]).await;
    let waiting = queue(&replica, lease(), &[("a", 1), ("slots", 1)], 5).await;
    replica.put(Definition { enforce: false, ..rolling("a", 1, 60) }).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished(), "there is no slot");
    replica.complete(holder, &[]).await;
    assert_eq!(would_deny(&outcome(waiting).await), ["a"]);
    assert_eq!(replica.usage("a").await, Usage { available: 0, reserved: 1, debt: 1 });
    assert_eq!(replica.usage("slots").await, Usage { available: 0, reserved: 1, debt: 0 });
}
