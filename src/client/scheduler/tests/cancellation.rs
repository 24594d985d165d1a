//! A job that is cancelled at any point completes its lease.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::{Job, Permit, QueueKey, Scheduler};
use super::OPTIONS;
use super::limiter::ScriptedLimiter;
use crate::client::Requirements;

/// Polls a future at most `polls_left` times. The output is `None` if the future needs more polls.
struct PollAtMost<F> {
    future: Pin<Box<F>>,
    polls_left: usize,
}

impl<F: Future> Future for PollAtMost<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls_left == 0 {
            return Poll::Ready(None);
        }
        self.polls_left -= 1;
        if let Poll::Ready(output) = self.future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        if self.polls_left == 0 { Poll::Ready(None) } else { Poll::Pending }
    }
}

fn job() -> Job {
    let wants = Requirements::new([("slots", 1), ("tokens", 10)]).expect("valid");
    Job { queue: QueueKey::new("p", "m"), wants }
}

/// The work of a job, with four await points.
async fn work(permit: Permit) {
    for _ in 0..4 {
        sleep(Duration::from_millis(3)).await;
    }
    drop(permit);
}

async fn check_all_settled(limiter: &ScriptedLimiter, scheduler: &Scheduler) {
    scheduler.shutdown().await;
    let state = limiter.state();
    assert!(state.live.is_empty(), "a lease is not completed");
    assert_eq!(state.granted, state.settled.len());
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_after_any_poll_completes_its_grant_once() {
    for lost in [vec![], vec![0], vec![0, 1], vec![1], vec![1, 2]] {
        let mut polls = 0;
        loop {
            let limiter = ScriptedLimiter::new(&[("slots", 1), ("tokens", 10)]).losing(lost.clone());
            let scheduler = Scheduler::start(limiter.clone(), OPTIONS, ());
            let future = Box::pin(scheduler.run(job(), work));
            let ended = PollAtMost { future, polls_left: polls }.await;
            check_all_settled(&limiter, &scheduler).await;
            polls += 1;
            if ended.is_some() {
                break;
            }
        }
        // A job awaits its grant, then four times in its work.
        assert!(polls > 5, "{polls}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_at_any_time_completes_its_grant_once_with_nothing_used_if_it_never_ran() {
    for lost in [vec![], vec![0], vec![0, 1], vec![1], vec![2]] {
        for timeout_ms in 0..200 {
            let limiter = ScriptedLimiter::new(&[("slots", 1), ("tokens", 10)]).losing(lost.clone());
            let scheduler = Scheduler::start(limiter.clone(), OPTIONS, ());
            let mut has_run = false;
            let run = scheduler.run(job(), |permit| {
                has_run = true;
                work(permit)
            });
            timeout(Duration::from_millis(timeout_ms), run).await.ok();
            check_all_settled(&limiter, &scheduler).await;
            let nothing = [("slots".to_owned(), 0), ("tokens".to_owned(), 0)];
            for (_, actuals) in &limiter.state().settled {
                assert_eq!(!has_run, *actuals == nothing, "{timeout_ms} ms, {lost:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_in_the_queue_makes_room_for_the_next() {
    let limiter = ScriptedLimiter::new(&[("slots", 1), ("tokens", 10)]);
    let scheduler = Scheduler::start(limiter.clone(), OPTIONS, ());
    let first = scheduler.acquire(job()).await.expect("a free slot");
    assert!(timeout(Duration::from_millis(40), scheduler.acquire(job())).await.is_err());
    let third = scheduler.run(job(), work);
    let (third, ()) = tokio::join!(third, async {
        sleep(Duration::from_millis(1)).await;
        drop(first);
    });
    third.expect("it ran");
    assert_eq!(limiter.state().granted, 2);
    check_all_settled(&limiter, &scheduler).await;
}
