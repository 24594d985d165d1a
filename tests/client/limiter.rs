//! The limiter of the client library: waiting, attempts, extensions, statistics and closing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ledger_limiter::client::{
    AcquireError, Acquired, CallError, Denial, ErrorKind, ExtendError, Extended, Limit, Limiter, Rate,
    RepeatPolicy, Requirements,
};
use ledger_limiter::ledger::Ledger;
use ledger_limiter::testing;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::recorder::{Fault, PAUSE, Recorder, Reserved, one_of_each};
use super::wants;
use crate::fixtures::key;

#[tokio::test(start_paused = true)]
async fn an_attempt_after_a_denial_has_a_fresh_lease_id() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    let first = limiter.acquire(&one_of_each()).await.expect("there is room");
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.acquire(&one_of_each()).await.expect("the slot is released").id() }
    });
    tokio::time::sleep(PAUSE).await;
    assert!(!waiting.is_finished());
    first.complete([("rpm", 1)]).await.expect("it is settled");
    let granted = waiting.await.expect("no panic");
    let log = recorder.log.lock().expect("no panic");
    let distinct: HashSet<_> = log.reserves.iter().collect();
    assert!(log.reserves.len() > 10, "the waiter reserves several times: {}", log.reserves.len());
    assert_eq!(distinct.len(), log.reserves.len(), "a denied lease id is never used again");
    assert_eq!(log.reserves.last(), Some(&granted));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_with_an_unknown_outcome_is_repeated_with_its_lease_id() {
    let recorder = Recorder::new(1).await;
    recorder.set_faults([Fault::AnswerLost, Fault::RequestLost, Fault::AnswerLost]);
    let limiter = Limiter::new(Arc::clone(&recorder));
    let lease = limiter.acquire(&one_of_each()).await.expect("there is room");
    assert_eq!(recorder.log.lock().expect("no panic").reserves, [lease.id(); 4]);
    assert_eq!(recorder.reserved().await, Reserved { rpm: 1, slots: 1 }, "it is reserved once");
    let before = Instant::now();
    recorder.set_faults([Fault::AnswerLost, Fault::AnswerLost]);
    lease.complete([("rpm", 1)]).await.expect("it is settled");
    assert!(before.elapsed() >= Duration::from_millis(75), "a pause comes before each repetition");
    assert_eq!(recorder.log.lock().expect("no panic").settled.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_gives_up_cancels_its_lost_grant() {
    let recorder = Recorder::new(1).await;
    let policy = RepeatPolicy::default().give_up_after(Duration::from_secs(1));
    let limiter = Limiter::with_policy(Arc::clone(&recorder), policy);
    recorder.set_faults([Fault::AnswerLost; 6]);
    let before = Instant::now();
    let error = limiter.try_acquire(&one_of_each()).await.expect_err("every answer is lost");
    assert!(error.is_unknown() && error.is_unavailable());
    assert!(before.elapsed() <= Duration::from_secs(1));
    limiter.shutdown().await;
    assert_eq!(recorder.reserved().await, Reserved { rpm: 0, slots: 0 }, "it was never used");
    assert_eq!(recorder.log.lock().expect("no panic").settled.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_denial_names_its_limit_and_a_retry_after() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    let _lease = limiter.acquire(&one_of_each()).await.expect("there is room");
    match limiter.try_acquire(&one_of_each()).await.expect("an answer") {
        Acquired::Denied(Denial::NoRoom { key, retry_after, .. }) => {
            assert_eq!(key.as_str(), "slots");
            assert!(retry_after > Duration::ZERO);
        }
        other @ (Acquired::Granted(_) | Acquired::Denied(_)) => panic!("{other:?}"),
    }
    let (impossible, unknown) = (wants(&[("rpm", 101)]), wants(&[("nowhere", 1)]));
    let never = |result| match result {
        Err(AcquireError::Never(denial)) => denial,
        other => panic!("{other:?}"),
    };
    assert_eq!(never(limiter.acquire(&impossible).await), Denial::ExceedsCapacity { key: key("rpm") });
    assert_eq!(never(limiter.acquire(&unknown).await), Denial::UnknownKey { key: key("nowhere") });
}

#[tokio::test(start_paused = true)]
async fn a_waiter_makes_a_last_attempt_at_its_deadline() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    let lease = limiter.acquire(&one_of_each()).await.expect("there is room");
    let deadline = Instant::now() + Duration::from_secs(10);
    let error = limiter.acquire_until(&one_of_each(), deadline).await.expect_err("the slot stays reserved");
    assert!(matches!(error, AcquireError::DeadlinePassed(Denial::NoRoom { .. })), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::DeadlinePassed);
    assert!(Instant::now() >= deadline && Instant::now() < deadline + Duration::from_millis(10));
    // The last attempt gets a slot that is released just before the deadline.
    let deadline = Instant::now() + Duration::from_secs(10);
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.acquire_until(&one_of_each(), deadline).await.map(|lease| lease.id()) }
    });
    tokio::time::sleep_until(deadline - Duration::from_millis(1)).await;
    lease.complete([("rpm", 1)]).await.expect("it is settled");
    waiting.await.expect("no panic").expect("the last attempt is granted");
}

#[tokio::test(start_paused = true)]
async fn a_reservation_holds_a_lease_or_a_retry_after() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    let held = limiter.reserve(&one_of_each()).await.expect("there is room");
    assert!(held.denial().is_none() && held.ready_at() <= Instant::now());
    let later = limiter.reserve(&one_of_each()).await.expect("a later attempt may be granted");
    assert!(later.denial().is_some() && later.ready_at() > Instant::now());
    let one_of_each_reserved = Reserved { rpm: 1, slots: 1 };
    assert_eq!(recorder.reserved().await, one_of_each_reserved, "a reservation without room holds nothing");
    held.cancel().await.expect("it is released");
    assert_eq!(recorder.reserved().await, Reserved { rpm: 0, slots: 0 });
    let lease = later.lease().await.expect("there is room");
    assert_eq!(recorder.reserved().await, one_of_each_reserved);
    drop(lease);
    limiter.shutdown().await;
    assert_eq!(recorder.reserved().await, Reserved { rpm: 1, slots: 0 }, "the lease may have been used");
}

#[tokio::test]
async fn dropping_a_reservation_releases_everything() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    drop(limiter.reserve(&one_of_each()).await.expect("there is room"));
    limiter.shutdown().await;
    assert_eq!(recorder.reserved().await, Reserved { rpm: 0, slots: 0 });
}

#[tokio::test(start_paused = true)]
async fn statistics_are_counted_by_key_until_they_are_reset() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    let slots = key("slots");
    let lease = limiter.acquire(&one_of_each()).await.expect("there is room");
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.acquire(&one_of_each()).await.map(drop) }
    });
    tokio::time::sleep(PAUSE).await;
    let stats = limiter.stats(&slots).await.expect("an answer").expect("the limit is there");
    assert_eq!((stats.available, stats.reserved, stats.queued, stats.granted), (0, 1, 1, 1));
    assert!(stats.denied > 10);
    let rpm = limiter.stats(&key("rpm")).await.expect("an answer").expect("the limit is there");
    assert_eq!(
        (rpm.available, rpm.queued, rpm.granted, rpm.denied),
        (99, 1, 1, 0),
        "slots denied the attempts, rpm did not"
    );
    limiter.reset();
    let stats = limiter.stats(&slots).await.expect("an answer").expect("the limit is there");
    assert_eq!((stats.queued, stats.granted, stats.denied), (1, 0, 0), "the waiter still waits");
    waiting.abort();
    assert!(waiting.await.is_err());
    assert_eq!(limiter.stats(&slots).await.expect("an answer").expect("the limit is there").queued, 0);
    assert_eq!(limiter.available(&slots).await.expect("an answer"), Some(0));
    lease.cancel().await.expect("it is released");
    assert_eq!(limiter.available(&slots).await.expect("an answer"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_closed_limiter_fails_its_waiters_and_still_completes_its_leases() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    let lease = limiter.acquire(&one_of_each()).await.expect("there is room");
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.acquire(&one_of_each()).await }
    });
    tokio::time::sleep(PAUSE).await;
    limiter.close();
    let error = waiting.await.expect("no panic").expect_err("it is closed");
    assert!(matches!(error, AcquireError::Call(CallError::Closed)), "{error:?}");
    assert!(matches!(limiter.try_acquire(&one_of_each()).await, Err(CallError::Closed)));
    lease.complete([("rpm", 1)]).await.expect("it is settled");
    assert_eq!(recorder.reserved().await, Reserved { rpm: 1, slots: 0 });
}

#[tokio::test(start_paused = true)]
async fn each_call_extends_a_lease_once() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    let lease = limiter.acquire(&one_of_each()).await.expect("there is room");
    recorder.set_faults([Fault::AnswerLost, Fault::RequestLost, Fault::AnswerLost]);
    assert_eq!(lease.extend("rpm", 10).await.expect("an answer"), Extended::Granted);
    assert_eq!(recorder.reserved().await, Reserved { rpm: 11, slots: 1 });
    assert_eq!(lease.extend("rpm", 10).await.expect("an answer"), Extended::Granted);
    assert_eq!(recorder.reserved().await, Reserved { rpm: 21, slots: 1 });
    let denied = lease.extend("slots", 1).await.expect("an answer");
    assert!(matches!(denied, Extended::Denied(Denial::NoRoom { .. })), "{denied:?}");
    let error = lease.extend("other", 1).await.expect_err("the lease does not hold it");
    assert!(matches!(error, ExtendError::NotInLease { .. }), "{error:?}");
    assert!(matches!(lease.extend("rpm", 0).await, Err(ExtendError::Amount(_))));
    recorder.replica.complete(lease.id(), &[("rpm", 15)]).await;
    let error = lease.extend("rpm", 1).await.expect_err("the lease is settled");
    assert!(matches!(error, ExtendError::LeaseOver), "{error:?}");
    assert_eq!(recorder.reserved().await, Reserved { rpm: 15, slots: 0 });
}

#[tokio::test]
async fn a_lease_has_the_time_of_its_grant() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    let granted_ms = recorder.replica.ledger.now_ns() / 1_000_000;
    let lease = limiter.acquire(&one_of_each()).await.expect("there is room");
    assert_eq!(lease.reserved_at(), UNIX_EPOCH + Duration::from_millis(granted_ms));
}

#[tokio::test]
async fn every_call_takes_a_key_as_text_or_as_limit_key() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    let (rpm, text) = (key("rpm"), "rpm".to_owned());
    for available in [
        limiter.available("rpm").await,
        limiter.available(&text).await,
        limiter.available(text.clone()).await,
        limiter.available(&rpm).await,
        limiter.available(rpm.clone()).await,
    ] {
        assert_eq!(available.expect("an answer"), Some(100));
    }
    let lease =
        limiter.acquire(&Requirements::new([(&rpm, 3)]).expect("valid")).await.expect("there is room");
    assert_eq!(lease.extend(&rpm, 1).await.expect("an answer"), Extended::Granted);
    assert_eq!(lease.extend(text, 1).await.expect("an answer"), Extended::Granted);
    lease.complete([(rpm, 4)]).await.expect("it is settled");
    assert_eq!(limiter.available("rpm").await.expect("an answer"), Some(96));
}

/// At ten a second, a hundred callers take nine seconds: ten are let through at once.
#[tokio::test(start_paused = true)]
async fn waiters_waste_nothing_of_a_limit_of_any_kind() {
    let second = Duration::from_secs(1);
    // The hints of a rolling limit are estimates, so the first waiter asks up to 150 ms late in each window.
    let (exact, estimated) = (second / 2, second * 9 * 15 / 100 + second / 2);
    for (limit, waste_max) in [
        (Rate::per_second(10).limit("calls"), exact),
        (Limit::rolling("calls", 10).per(second), estimated),
        (Limit::fixed_window("calls", 10).per(second), exact),
        (Limit::sliding_window("calls", 10).per(second).segments(1), exact),
        (Limit::concurrency("calls", 10).timeout(second * 60), exact),
    ] {
        let limiter = Limiter::new(testing::limits([limit.clone()]).await.expect("valid"));
        let started = Instant::now();
        let mut callers = JoinSet::new();
        for _ in 0..100 {
            let limiter = limiter.clone();
            callers.spawn(async move {
                let lease = limiter.acquire(&wants(&[("calls", 1)])).await.expect("there will be room");
                let waited = started.elapsed();
                tokio::time::sleep(second).await;
                lease.complete([("calls", 1)]).await.expect("it is settled");
                waited
            });
        }
        let waited = callers.join_all().await.into_iter().max().expect("a hundred");
        let expected = second * 9 - second / 20;
        assert!((expected..expected + waste_max).contains(&waited), "{waited:?}: {limit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_the_order_in_which_they_came() {
    let limits = testing::limits([Rate::per_second(1).limit("calls")]).await.expect("valid");
    let limiter = Limiter::new(limits);
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    for nth in 0..10 {
        let (limiter, sender) = (limiter.clone(), sender.clone());
        tokio::spawn(async move {
            drop(limiter.acquire(&wants(&[("calls", 1)])).await.expect("there will be room"));
            sender.send(nth).expect("it is received");
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for nth in 0..10 {
        assert_eq!(served.recv().await, Some(nth));
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_leaves_its_turn_to_the_next() {
    let limits = [Limit::concurrency("slots", 1).timeout(Duration::from_secs(60))];
    let limiter = Limiter::new(testing::limits(limits).await.expect("valid"));
    let slot = wants(&[("slots", 1)]);
    let held = limiter.acquire(&slot).await.expect("there is room");
    let deadline = Instant::now() + Duration::from_secs(1);
    let (first, second, third) = tokio::join!(
        limiter.acquire_until(&slot, deadline),
        tokio::time::timeout(Duration::from_secs(2), limiter.acquire(&slot)),
        async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            held.complete([] as [(&str, u64); 0]).await.expect("it is settled");
            limiter.acquire(&slot).await
        }
    );
    assert!(matches!(first, Err(AcquireError::DeadlinePassed(_))), "{first:?}");
    assert!(second.is_err() && third.is_ok());
}
