//! Whoever gives up, at whatever point, leaves nothing behind.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::{Job, Permit, QueueKey, Scheduler};
use super::OPTIONS;
use super::limiter::ScriptedLimiter;
use crate::client::Requirements;

/// Polls a future so many times at most, and then gives up.
struct Polls<F> {
    future: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        if let Poll::Ready(output) = self.future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        if self.left == 0 { Poll::Ready(None) } else { Poll::Pending }
    }
}

fn job() -> Job {
    let wants = Requirements::new([("slots", 1), ("tokens", 10)]).expect("valid");
    Job { queue: QueueKey::new("p", "m"), wants }
}

/// Waits at four points.
async fn work(permit: Permit) {
    for _ in 0..4 {
        sleep(Duration::from_millis(3)).await;
    }
    drop(permit);
}

async fn settles_everything(limiter: &ScriptedLimiter, scheduler: &Scheduler) {
    scheduler.shutdown().await;
    let books = limiter.books();
    assert!(books.live.is_empty(), "a lease was left behind");
    assert_eq!(books.granted, books.settled.len());
}

#[tokio::test(start_paused = true)]
async fn given_up_after_any_number_of_polls_a_grant_is_completed_once() {
    for lost in [vec![], vec![0], vec![0, 1], vec![1], vec![1, 2]] {
        let mut polls = 0;
        loop {
            let limiter = ScriptedLimiter::new(&[("slots", 1), ("tokens", 10)]).losing(lost.clone());
            let scheduler = Scheduler::start(limiter.clone(), OPTIONS, ());
            let future = Box::pin(scheduler.run(job(), work));
            let ended = Polls { future, left: polls }.await;
            settles_everything(&limiter, &scheduler).await;
            polls += 1;
            if ended.is_some() {
                break;
            }
        }
        // Submitting, the grant and the four waits are awaited.
        assert!(polls > 5, "{polls}");
    }
}

#[tokio::test(start_paused = true)]
async fn given_up_at_any_time_a_grant_is_completed_once_and_what_never_ran_used_nothing() {
    for lost in [vec![], vec![0], vec![0, 1], vec![1], vec![2]] {
        for patience_ms in 0..200 {
            let limiter = ScriptedLimiter::new(&[("slots", 1), ("tokens", 10)]).losing(lost.clone());
            let scheduler = Scheduler::start(limiter.clone(), OPTIONS, ());
            let patience = Duration::from_millis(patience_ms);
            let mut has_run = false;
            let run = scheduler.run(job(), |permit| {
                has_run = true;
                work(permit)
            });
            timeout(patience, run).await.ok();
            settles_everything(&limiter, &scheduler).await;
            let nothing = [("slots".to_owned(), 0), ("tokens".to_owned(), 0)];
            for (_, actuals) in &limiter.books().settled {
                assert_eq!(!has_run, *actuals == nothing, "{patience_ms} ms, {lost:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn given_up_in_the_queue_it_makes_room_for_the_next() {
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
    assert_eq!(limiter.books().granted, 2);
    settles_everything(&limiter, &scheduler).await;
}
