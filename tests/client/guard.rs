//! The completion guard: every grant is completed exactly once, wherever its caller is cancelled.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ledger_limiter::client::{Acquired, Limiter};

use super::recorder::{Fault, Recorder, Reserved, one_of_each};

/// Polls a future at most `polls_left` times, then drops it.
struct CancelAfterPolls<F> {
    future: Option<Pin<Box<F>>>,
    polls_left: usize,
}

impl<F: Future> Future for CancelAfterPolls<F> {
    /// `None` if the future was dropped.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls_left == 0 {
            self.future = None;
            return Poll::Ready(None);
        }
        self.polls_left -= 1;
        let future = self.future.as_mut().expect("polled until it is ready");
        future.as_mut().poll(cx).map(Some)
    }
}

/// Runs a call from acquire to complete, cancelled after 0 polls, after 1 poll, and so on. Returns the number of polls
/// of the whole call.
async fn cancel_after_each_poll(faults: &[Fault]) -> usize {
    for polls in 0.. {
        let recorder = Recorder::new(2).await;
        recorder.set_faults(faults.iter().copied());
        let limiter = Limiter::new(Arc::clone(&recorder));
        let call = async {
            let lease = limiter.acquire(&one_of_each()).await.expect("there is room");
            // A complete also settles an extension whose answer was lost.
            lease.extend("rpm", 1).await.expect("an answer");
            lease.complete([("rpm", 1)]).await.expect("it is settled");
        };
        let is_done = CancelAfterPolls { future: Some(Box::pin(call)), polls_left: polls }.await.is_some();
        limiter.shutdown().await;
        {
            let log = recorder.log.lock().expect("no panic");
            let granted: HashSet<_> = log.granted.iter().copied().collect();
            let settled: HashSet<_> = log.settled.iter().copied().collect();
            assert_eq!(granted, settled, "{polls} polls: every grant is completed, and nothing else");
            assert_eq!(log.settled.len(), settled.len(), "{polls} polls: exactly once");
            if faults.is_empty() && is_done {
                assert_eq!(log.completes.len(), 1, "a caller that waits for the answer sends one complete");
            }
        }
        assert_eq!(recorder.reserved().await.slots, 0, "{polls} polls: no slot stays reserved");
        if is_done {
            return polls;
        }
    }
    0
}

#[tokio::test(start_paused = true)]
async fn a_grant_is_completed_once_wherever_its_caller_is_cancelled() {
    let polls = cancel_after_each_poll(&[]).await;
    assert!(polls >= 6, "a call takes several polls: {polls}");
}

#[tokio::test(start_paused = true)]
async fn a_grant_is_completed_once_when_answers_are_lost() {
    use Fault::{AnswerLost, RequestLost};
    for faults in [
        vec![AnswerLost],
        vec![RequestLost],
        vec![AnswerLost, RequestLost, AnswerLost],
        vec![AnswerLost, AnswerLost, AnswerLost, AnswerLost, AnswerLost, AnswerLost],
    ] {
        let polls = cancel_after_each_poll(&faults).await;
        assert!(polls > 6, "{faults:?} take more polls: {polls}");
    }
}

#[tokio::test]
async fn dropping_a_lease_releases_its_slot_and_keeps_the_rest() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    drop(limiter.acquire(&one_of_each()).await.expect("there is room"));
    limiter.shutdown().await;
    assert_eq!(recorder.reserved().await, Reserved { rpm: 1, slots: 0 });
}

#[tokio::test]
async fn a_lease_can_be_dropped_on_a_thread_without_a_runtime() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    let lease = limiter.acquire(&one_of_each()).await.expect("there is room");
    std::thread::spawn(move || drop(lease)).join().expect("the drop does not panic");
    limiter.shutdown().await;
    assert_eq!(recorder.reserved().await, Reserved { rpm: 1, slots: 0 });
}

#[tokio::test]
async fn cancelling_a_lease_releases_everything() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    let Acquired::Granted(lease) = limiter.try_acquire(&one_of_each()).await.expect("an answer") else {
        panic!("there is room");
    };
    lease.cancel().await.expect("it is settled");
    assert_eq!(recorder.reserved().await, Reserved { rpm: 0, slots: 0 });
}

#[tokio::test]
async fn a_refused_complete_ends_the_lease_and_releases_its_slot() {
    let recorder = Recorder::new(1).await;
    let limiter = Limiter::new(Arc::clone(&recorder));
    for refused in [("other", 1), ("rpm", u64::MAX)] {
        let lease = limiter.acquire(&one_of_each()).await.expect("there is room");
        assert!(lease.complete([refused]).await.is_err(), "{refused:?}");
    }
    limiter.shutdown().await;
    assert_eq!(recorder.reserved().await, Reserved { rpm: 2, slots: 0 });
}
