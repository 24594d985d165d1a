//! A bucket for each key, made by a template.

use std::sync::Arc;

use ledger_limiter::client::{BucketObject, ErrorKind, Rate, escape_segment};
use tokio::task::JoinSet;
use tokio::time::{Instant, advance};

use super::world::{Bucket, TENTH, World};

async fn world(rate: Rate) -> World {
    World::new(rate.limit("calls:{user}")).await
}

fn of_user(world: &World, user: &str) -> Bucket {
    let key = format!("calls:{}", escape_segment(user));
    BucketObject::new(Arc::clone(&world.home), key.as_str()).expect("a valid key")
}

async fn allow(bucket: &Bucket, tokens: u64) -> bool {
    bucket.allow_n(tokens).await.expect("an answer")
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_bucket_of_its_own() {
    let world = world(Rate::per_second(2)).await;
    for user in ["ann", "bob", "2001:db8::1", "dan and eve"] {
        let bucket = of_user(&world, user);
        for (tokens, expected) in [(3, false), (1, true), (1, true), (1, false)] {
            assert_eq!(allow(&bucket, tokens).await, expected, "{user}: {tokens} tokens");
        }
        advance(TENTH * 10).await;
        for expected in [true, true, false] {
            assert_eq!(allow(&bucket, 1).await, expected, "{user}, a second later");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nobody_used_has_a_full_bucket() {
    let world = world(Rate::per_second(2)).await;
    assert_eq!(of_user(&world, "ann").state().await.expect("an answer").tokens, 2);
    assert!(!allow(&of_user(&world, "ann"), 3).await, "never, so it makes no bucket either");
    assert!(allow(&of_user(&world, "ann"), 1).await);
    assert_eq!(of_user(&world, "ann").state().await.expect("an answer").tokens, 1);
}

#[tokio::test(start_paused = true)]
async fn callers_wait_for_the_bucket_of_their_key_only() {
    let world = world(Rate::per_second(10)).await;
    let started = Instant::now();
    let (ann, bob) = (of_user(&world, "ann"), of_user(&world, "bob"));
    for (bucket, tokens, expected_tenths) in [(&ann, 10, 0), (&ann, 1, 1), (&bob, 10, 1), (&ann, 5, 6)] {
        assert!(bucket.wait(tokens).await.expect("an answer"));
        assert_eq!(started.elapsed().as_millis() / TENTH.as_millis(), expected_tenths);
    }
    assert!(!bob.wait(11).await.expect("an answer"));
}

#[tokio::test(start_paused = true)]
async fn callers_of_one_key_at_the_same_time_share_its_bucket() {
    let world = world(Rate::per_second(20)).await;
    for user in ["ann", "bob"] {
        let bucket = of_user(&world, user);
        let mut callers = JoinSet::new();
        for _ in 0..25 {
            let bucket = bucket.clone();
            callers.spawn(async move { allow(&bucket, 1).await });
        }
        let allowed = callers.join_all().await.into_iter().filter(|&allowed| allowed).count();
        assert_eq!(allowed, 20, "{user}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_number_of_keys_is_known_and_bounded() {
    let limit = Rate::per_second(1).limit("calls:{user}").instances_max(2);
    let world = World::new(limit).await;
    for user in ["ann", "bob"] {
        assert!(allow(&of_user(&world, user), 1).await);
    }
    let usage = world.home.limit("calls:{user}").await.expect("an answer").expect("defined").usage;
    assert_eq!((usage.reserved, usage.available), (2, 0), "two buckets, and room for no more");
    let error = of_user(&world, "carol").allow().await.expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::TooManyInstances);
}
