//! The batcher on paused time, which advances only while all tasks wait. Every call takes 10 ms.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::time::{Instant, sleep, timeout};

use super::{Batcher, BatcherOptions};
use crate::client::{
    AttemptResult, CallError, Complete, ErrorKind, Extend, LeaseId, LimitKey, Renew, Requirements, Reserve,
    Transport, Usage,
};

const CALL: Duration = Duration::from_millis(10);

/// A recorded call: its time, its kind and its leases.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    at_ms: u128,
    kind: &'static str,
    leases: Vec<u128>,
}

/// Records calls. The grant of a lease contains its number, so that each answer is different. Lease 13 is refused, and
/// the call with lease 66 panics.
#[derive(Clone)]
struct Recorder {
    started: Instant,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Recorder {
    fn new() -> Self {
        Self { started: Instant::now(), calls: Arc::default() }
    }

    async fn record(&self, kind: &'static str, leases: Vec<u128>) {
        let (at_ms, has_66) = (self.started.elapsed().as_millis(), leases.contains(&66));
        self.calls.lock().expect("not poisoned").push(Call { at_ms, kind, leases });
        sleep(CALL).await;
        assert!(!has_66, "lease 66");
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("not poisoned").clone()
    }
}

fn refused() -> CallError {
    CallError::refused(ErrorKind::Other, "13")
}

impl Transport for Recorder {
    async fn reserve(&self, _command: &Reserve) -> Result<AttemptResult, CallError> {
        Err(CallError::Closed)
    }

    async fn complete(&self, _command: &Complete) -> Result<(), CallError> {
        Err(CallError::Closed)
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<AttemptResult, CallError>> {
        let leases: Vec<u128> = commands.iter().map(|command| command.lease.as_u128()).collect();
        self.record("reserve", leases.clone()).await;
        let answer = |lease: u128| match lease {
            13 => Err(refused()),
            lease => Ok(granted(lease)),
        };
        leases.into_iter().map(answer).collect()
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        self.record("complete", commands.iter().map(|command| command.lease.as_u128()).collect()).await;
        commands.iter().map(|_| Ok(())).collect()
    }

    async fn extend(&self, _command: &Extend) -> Result<AttemptResult, CallError> {
        Err(refused())
    }

    async fn renew(&self, _command: &Renew) -> Result<AttemptResult, CallError> {
        Err(refused())
    }

    async fn usage(&self, _key: &LimitKey) -> Result<Option<Usage>, CallError> {
        Ok(None)
    }
}

fn number(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("not zero")
}

/// Ten commands in a batch, one call at a time.
fn options() -> BatcherOptions {
    BatcherOptions {
        batch_max: number(10),
        linger: Duration::ZERO,
        calls_in_flight_max: number(1),
        queue_max: number(100),
    }
}

fn reserve(lease: u128) -> Reserve {
    let lease = LeaseId::from_ulid(ulid::Ulid(lease)).expect("not zero");
    Requirements::new([("slots", 1)]).expect("valid").under(lease)
}

fn granted(lease: u128) -> AttemptResult {
    AttemptResult::Granted {
        reserved_at: UNIX_EPOCH + Duration::from_millis(lease as u64),
        would_deny: Box::default(),
    }
}

fn call(at_ms: u128, kind: &'static str, leases: impl IntoIterator<Item = u128>) -> Call {
    Call { at_ms, kind, leases: leases.into_iter().collect() }
}

async fn reserve_all(batcher: &Batcher<Recorder>, leases: impl IntoIterator<Item = u128>) {
    let reserve = async |lease| {
        let answer = batcher.reserve(&reserve(lease)).await;
        assert_eq!(answer.expect("answered"), granted(lease));
    };
    join_all(leases.into_iter().map(reserve)).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_fills_in_order_while_a_call_is_in_flight() {
    let recorder = Recorder::new();
    let batcher = Batcher::new(recorder.clone(), options());
    let later = async {
        sleep(Duration::from_millis(1)).await;
        reserve_all(&batcher, 2..=4).await;
    };
    tokio::join!(reserve_all(&batcher, [1]), later);
    assert_eq!(recorder.calls(), [call(0, "reserve", [1]), call(10, "reserve", 2..=4)]);
}

#[tokio::test(start_paused = true)]
async fn a_reserve_that_is_cancelled_while_it_waits_is_not_sent() {
    let recorder = Recorder::new();
    let batcher = Batcher::new(recorder.clone(), options());
    let cancelled = async {
        sleep(Duration::from_millis(1)).await;
        timeout(Duration::from_millis(5), reserve_all(&batcher, [2, 3])).await.ok();
        reserve_all(&batcher, [4]).await;
    };
    tokio::join!(reserve_all(&batcher, [1]), cancelled);
    assert_eq!(recorder.calls(), [call(0, "reserve", [1]), call(10, "reserve", [4])]);
}

#[tokio::test(start_paused = true)]
async fn commands_that_exceed_a_batch_are_sent_in_order_and_each_has_its_own_result() {
    let recorder = Recorder::new();
    let batcher = Batcher::new(recorder.clone(), options());
    let commands: Vec<Reserve> = (1..=25).map(reserve).collect();
    let answers = batcher.reserve_batch(&commands).await;
    for (lease, answer) in (1..).zip(answers) {
        match answer {
            Ok(outcome) => assert_eq!(outcome, granted(lease)),
            Err(error) => {
                assert_eq!(lease, 13);
                assert_eq!(error.to_string(), refused().to_string());
            }
        }
    }
    let calls = recorder.calls();
    let all: Vec<u128> = calls.iter().flat_map(|call| call.leases.clone()).collect();
    assert_eq!(all, (1..=25).collect::<Vec<_>>());
    assert!(calls.iter().all(|call| call.leases.len() <= 10));
}

#[tokio::test(start_paused = true)]
async fn reserves_and_completes_have_separate_calls_that_do_not_wait_for_each_other() {
    let recorder = Recorder::new();
    let batcher = Batcher::new(recorder.clone(), options());
    let both = async |lease| {
        let command = reserve(lease);
        let complete = Complete::of_unused(&command);
        let (reserved, completed) = tokio::join!(batcher.reserve(&command), batcher.complete(&complete));
        assert_eq!(reserved.expect("answered"), granted(lease));
        completed.expect("answered");
    };
    join_all((1..=4).map(both)).await;
    let mut calls = recorder.calls();
    calls.sort_by_key(|call| call.kind);
    assert_eq!(calls, [call(0, "complete", 1..=4), call(0, "reserve", 1..=4)]);
}

#[tokio::test(start_paused = true)]
async fn only_a_batch_that_is_not_full_lingers() {
    let recorder = Recorder::new();
    let linger = Duration::from_millis(5);
    let batcher = Batcher::new(recorder.clone(), BatcherOptions { linger, ..options() });
    let later = async {
        sleep(Duration::from_millis(3)).await;
        reserve_all(&batcher, [2]).await;
    };
    tokio::join!(reserve_all(&batcher, [1]), later);
    reserve_all(&batcher, 21..=30).await;
    let calls = recorder.calls();
    assert_eq!(calls.iter().map(|call| call.leases.len()).collect::<Vec<_>>(), [2, 10]);
    // Timers are exact to a millisecond.
    assert!((5..=6).contains(&calls[0].at_ms), "{calls:?}");
    assert!((15..=17).contains(&calls[1].at_ms), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_are_bounded() {
    let recorder = Recorder::new();
    let batcher =
        Batcher::new(recorder.clone(), BatcherOptions { calls_in_flight_max: number(2), ..options() });
    let mut callers = Vec::new();
    for lease in 1..=4 {
        callers.push(Box::pin(reserve_all(&batcher, [lease])));
        timeout(Duration::from_millis(1), callers.last_mut().expect("not empty")).await.ok();
    }
    join_all(callers).await;
    let leases: Vec<Vec<u128>> = recorder.calls().into_iter().map(|call| call.leases).collect();
    assert_eq!(leases, [vec![1], vec![2], vec![3, 4]]);
}

#[tokio::test(start_paused = true)]
async fn a_complete_is_sent_after_its_caller_is_cancelled() {
    let recorder = Recorder::new();
    let batcher = Batcher::new(recorder.clone(), options());
    let complete = async |lease| batcher.complete(&Complete::of_unused(&reserve(lease))).await;
    let (first, second) = tokio::join!(complete(1), timeout(Duration::from_millis(2), complete(2)));
    first.expect("answered");
    second.expect_err("it timed out");
    drop(batcher);
    sleep(CALL).await;
    assert_eq!(recorder.calls().iter().flat_map(|call| call.leases.clone()).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_leaves_only_its_own_commands_unknown() {
    let recorder = Recorder::new();
    let batcher = Batcher::new(recorder.clone(), BatcherOptions { batch_max: number(2), ..options() });
    let answers = batcher.reserve_batch(&[1, 2, 66, 3, 4].map(reserve)).await;
    let unknown: Vec<bool> =
        answers.iter().map(|answer| answer.as_ref().is_err_and(CallError::is_unknown)).collect();
    let lost =
        |lease| recorder.calls().iter().any(|call| call.leases.contains(&66) && call.leases.contains(&lease));
    assert_eq!(unknown, [1, 2, 66, 3, 4].map(lost));
    assert_eq!(batcher.reserve(&reserve(5)).await.expect("answered"), granted(5));
}

#[tokio::test(start_paused = true)]
async fn callers_wait_for_room_in_a_full_queue() {
    let recorder = Recorder::new();
    let options = BatcherOptions { batch_max: number(2), queue_max: number(3), ..options() };
    let batcher = Batcher::new(recorder.clone(), options);
    reserve_all(&batcher, 100..120).await;
    let sent: Vec<u128> = recorder.calls().into_iter().flat_map(|call| call.leases).collect();
    assert_eq!(sent, (100..120).collect::<Vec<_>>());
    assert!(matches!(batcher.usage(&LimitKey::parse("slots").expect("valid")).await, Ok(None)));
}

proptest! {
    #[test]
    fn every_command_is_sent_once_in_order_and_gets_its_own_answer(
        arrivals_ms in proptest::collection::vec(0..60_u64, 1..40),
        batch_max in 1..12_usize,
        linger_ms in 0..4_u64,
        queue_max in 1..8_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let recorder = Recorder::new();
            let linger = Duration::from_millis(linger_ms);
            let (batch, queue) = (number(batch_max), number(queue_max));
            let options = BatcherOptions { batch_max: batch, linger, queue_max: queue, ..options() };
            let batcher = Batcher::new(recorder.clone(), options);
            let submitted = Mutex::new(Vec::new());
            let submit = async |(lease, at_ms): (u128, u64)| {
                sleep(Duration::from_millis(at_ms)).await;
                submitted.lock().expect("not poisoned").push(lease);
                (lease, batcher.reserve(&reserve(lease)).await)
            };
            for (lease, answer) in join_all((100..).zip(arrivals_ms).map(submit)).await {
                prop_assert_eq!(answer.expect("answered"), granted(lease));
            }
            let calls = recorder.calls();
            prop_assert!(calls.iter().all(|call| (1..=batch_max).contains(&call.leases.len())));
            let sent: Vec<u128> = calls.into_iter().flat_map(|call| call.leases).collect();
            prop_assert_eq!(sent, submitted.into_inner().expect("not poisoned"));
            Ok(())
        })?;
    }
}
