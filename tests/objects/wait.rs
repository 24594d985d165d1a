//! Callers that wait for their tokens.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use ledger_limiter::client::Rate;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::world::{Bucket, KEY, TENTH, World};

async fn bucket(rate: Rate) -> Bucket {
    World::new(rate.limit(KEY)).await.bucket
}

/// Whether the tokens are taken, and how many tenths of a second that takes.
async fn wait(bucket: &Bucket, tokens: u64) -> (bool, u128) {
    let started = Instant::now();
    let taken = bucket.wait(tokens).await.expect("an answer");
    (taken, tenths_since(started))
}

fn tenths_since(started: Instant) -> u128 {
    // Tokio's timers are at whole milliseconds.
    started.elapsed().as_millis() / TENTH.as_millis()
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_as_long_as_its_tokens_need() {
    let bucket = bucket(Rate::per_second(10).burst(3)).await;
    for (tokens, expected) in
        [(4, (false, 0)), (2, (true, 0)), (3, (true, 2)), (1, (true, 1)), (3, (true, 3)), (4, (false, 0))]
    {
        assert_eq!(wait(&bucket, tokens).await, expected, "{tokens} tokens");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_never_begins_takes_nothing() {
    let bucket = bucket(Rate::per_second(10).burst(3)).await;
    drop(bucket.wait(3));
    assert_eq!(wait(&bucket, 3).await, (true, 0));
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_wait_takes_nothing() {
    let bucket = bucket(Rate::per_second(10).burst(3)).await;
    assert_eq!(wait(&bucket, 2).await, (true, 0));
    timeout(TENTH, bucket.wait(3)).await.expect_err("it needs two tenths of a second");
    // It is cancelled in the background, before time passes.
    sleep(Duration::from_millis(1)).await;
    assert_eq!(bucket.available_permits().await.expect("an answer"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_its_deadline_ends_at_once() {
    let bucket = bucket(Rate::per_second(10).burst(3)).await;
    let started = Instant::now();
    for (tokens, expected) in [(2, true), (3, false), (2, true)] {
        assert_eq!(bucket.wait_max(tokens, TENTH).await.expect("an answer"), expected, "{tokens} tokens");
    }
    assert_eq!(tenths_since(started), 1, "only the last one waited");
}

#[tokio::test(start_paused = true)]
async fn waiting_callers_finish_at_the_rate() {
    let bucket = bucket(Rate::per_second(10)).await;
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..30 {
        let bucket = bucket.clone();
        callers.spawn(async move { bucket.wait(1).await.expect("an answer") });
    }
    assert!(callers.join_all().await.into_iter().all(|taken| taken));
    assert_eq!(tenths_since(started), 20, "ten at once, and twenty more at ten a second");
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_paced_by_waiting_for_each_item() {
    let bucket = bucket(Rate::per_second(10)).await;
    let started = Instant::now();
    let paced = stream::iter(0..12).then(async |item| {
        assert!(bucket.wait(1).await.expect("an answer"));
        (item, tenths_since(started))
    });
    let items: Vec<(u32, u128)> = paced.collect().await;
    let expected = (0..10).map(|item| (item, 0)).chain([(10, 1), (11, 2)]);
    assert_eq!(items, expected.collect::<Vec<_>>());
}
