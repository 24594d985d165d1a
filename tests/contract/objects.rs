//! Buckets as objects: taking and releasing tokens, new rates, and limits that are no objects. Reservations ahead
//! have their own file.

use std::time::Duration;

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{BucketRate, KindName, LeaseId, RateChange, Status};
use ledger_limiter::limiter::ObjectError;
use ledger_limiter::protocol::{ObjectReservation, ObjectState};
use ledger_limiter::registry::AdminError;

use crate::fixtures::*;

pub const SECOND: Duration = Duration::from_secs(1);
/// One token a minute: no refill happens while a test runs.
pub const SLOW: f64 = 1.0 / 60.0;
pub const MINUTE_MS: u64 = 60_000;

pub async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    Replica::start(backend.connect(), backend.ids(), 0).await
}

impl<L: Ledger> Replica<L> {
    pub async fn set_rate(&self, name: &str, per_second: f64, burst: u64) -> Status {
        let rate = BucketRate::per_second(per_second).expect("a rate");
        self.admin()
            .set_rate(&key(name), RateChange::both(rate, capacity(burst)))
            .await
            .expect("the ledger answers")
    }

    pub async fn try_take(&self, name: &str, tokens: u64) -> bool {
        let key = key(name);
        self.limiter().object(&key).try_reserve(amount(tokens), lease()).await.expect("the ledger answers")
    }

    pub async fn reserve_ahead(&self, name: &str, tokens: u64, lease: LeaseId) -> ObjectReservation {
        self.try_reserve_ahead(name, tokens, lease).await.expect("the ledger answers")
    }

    pub async fn try_reserve_ahead(
        &self,
        name: &str,
        tokens: u64,
        lease: LeaseId,
    ) -> Result<ObjectReservation, ObjectError> {
        self.limiter().object(&key(name)).reserve(amount(tokens), lease).await
    }

    pub async fn cancel(&self, name: &str, lease: LeaseId) -> bool {
        self.limiter().object(&key(name)).cancel(lease).await.expect("the ledger answers")
    }

    pub async fn release(&self, name: &str, tokens: u64, release: ReleaseId) -> u64 {
        let key = key(name);
        self.limiter().object(&key).release(amount(tokens), release).await.expect("the ledger answers")
    }

    pub async fn state(&self, name: &str) -> ObjectState {
        self.limiter().object(&key(name)).state().await.expect("the ledger answers")
    }

    pub async fn tokens(&self, name: &str) -> i64 {
        let key = key(name);
        let permits = self.limiter().object(&key).available_permits().await.expect("the ledger answers");
        let tokens = self.state(name).await.tokens;
        assert_eq!(permits, tokens.max(0) as u64);
        tokens
    }
}

pub async fn try_reserve_takes_all_its_tokens_or_none<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    assert_eq!(replica.set_rate("rpm", SLOW, 5).await, Status::Active);
    let (key, id) = (key("rpm"), lease());
    for _ in 0..2 {
        assert!(replica.limiter().object(&key).try_reserve(amount(3), id).await.expect("an answer"));
    }
    assert_eq!(replica.tokens("rpm").await, 2, "a repetition takes nothing");
    assert!(!replica.try_take("rpm", 3).await);
    assert!(replica.try_take("rpm", 2).await);
    assert!(!replica.try_take("rpm", 1).await);
    assert!(!replica.try_take("rpm", 6).await);
    assert_eq!(replica.usage("rpm").await, Usage { available: 0, reserved: 5, debt: 0 });
    replica.complete(id, &[("rpm", 1)]).await;
    assert_eq!(replica.tokens("rpm").await, 2, "a complete settles it like any lease");
}

pub async fn a_release_adds_tokens_once_and_up_to_full<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.set_rate("rpm", SLOW, 5).await;
    replica.try_take("rpm", 4).await;
    let id = release_id();
    assert_eq!(replica.release("rpm", 2, id).await, 3);
    assert_eq!(replica.release("rpm", 2, id).await, 3, "a repetition adds nothing");
    assert_eq!(replica.release("rpm", 2, release_id()).await, 5);
    assert_eq!(replica.release("rpm", 100, release_id()).await, 5, "a release ends when the bucket is full");
    assert_eq!(replica.usage("rpm").await, Usage { available: 5, reserved: 0, debt: 0 });
    replica.reserve_ahead("rpm", 5, lease()).await;
    replica.reserve_ahead("rpm", 3, lease()).await;
    assert_eq!(
        replica.release("rpm", 2, release_id()).await,
        0,
        "the released tokens repay what is owed first"
    );
    assert_eq!(replica.tokens("rpm").await, -1);
    assert_eq!(replica.release("rpm", 100, release_id()).await, 5);
    replica.set_rate("another", SLOW, 5).await;
    replica.try_take("another", 3).await;
    assert_eq!(replica.release("another", 1, id).await, 3, "a release id counts for each object by itself");
}

pub async fn a_new_rate_first_makes_the_refills_of_the_old_one<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.set_rate("rpm", 0.25, 2).await;
    replica.reserve_ahead("rpm", 2, lease()).await;
    replica.reserve_ahead("rpm", 2, lease()).await;
    replica.reserve_ahead("rpm", 2, lease()).await;
    backend.pass(SECOND * 4).await;
    replica.set_rate("rpm", SLOW, 2).await;
    assert_eq!(replica.tokens("rpm").await, -3, "one refill was made at the old rate");
    let state = replica.state("rpm").await;
    assert_eq!(state.limit, SLOW);
    assert_eq!(state.last_event, state.last + 3 * MINUTE_MS);
    assert_eq!(replica.reserve_ahead("rpm", 1, lease()).await.date_to_act, state.last + 4 * MINUTE_MS);
    replica.set_rate("rpm", 0.25, 10).await;
    assert_eq!(replica.tokens("rpm").await, 4, "the increase of the burst repays what is owed first");
    assert_eq!(replica.usage("rpm").await, Usage { available: 4, reserved: 6, debt: 0 });
    backend.pass(SECOND * 4).await;
    assert_eq!(replica.tokens("rpm").await, 5);
}

pub async fn alternating_rates_add_up<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.set_rate("rpm", 0.4, 10).await;
    let began = std::time::Instant::now();
    assert!(replica.try_take("rpm", 10).await);
    for nth in 0..8 {
        backend.pass(SECOND).await;
        replica.set_rate("rpm", if nth % 2 == 0 { 0.5 } else { 0.4 }, 10).await;
    }
    let tokens = replica.tokens("rpm").await;
    let while_the_test_runs = 0.5 * began.elapsed().as_secs_f64();
    assert!(
        tokens >= 3 && tokens as f64 <= 3.6 + while_the_test_runs,
        "3.6 and {while_the_test_runs}: {tokens}"
    );
}

pub async fn a_small_burst_keeps_the_rate<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    for (name, per_second, burst) in [("a", 333.0, 10), ("b", 997.0, 5), ("c", 2_500.0, 4), ("d", 1e6, 1)] {
        replica.set_rate(name, per_second, burst).await;
        let ObjectState { limit, .. } = replica.state(name).await;
        assert!((limit / per_second - 1.0).abs() < 0.001, "{name}: {limit} instead of {per_second}");
        let refill_amount = replica.info(name).await.state().definition.kind.fields().refill_amount;
        assert!(refill_amount <= burst, "{name}: a refill of {refill_amount} fits");
    }
    // So slow that the bucket owes something from the second reservation on.
    for (name, per_second, burst) in [("e", 3.0, 1), ("f", 3.7, 2), ("g", 0.7, 1)] {
        replica.set_rate(name, per_second, burst).await;
        let (first, last, count) = (replica.reserve_ahead(name, burst, lease()).await, lease(), 20);
        for _ in 1..count {
            assert!(replica.reserve_ahead(name, burst, lease()).await.ok);
        }
        let ahead = replica.reserve_ahead(name, burst, last).await;
        assert_eq!(
            replica.reserve_ahead(name, burst, last).await,
            ahead,
            "{name}: a repetition has the same date"
        );
        let took_ms = (ahead.date_to_act - first.creation_date) as f64;
        let expected_ms = 1_000.0 * (count * burst) as f64 / per_second;
        assert!(
            (took_ms - expected_ms).abs() <= 2.0 + 1_000.0 / per_second,
            "{name}: {took_ms} instead of {expected_ms}"
        );
    }
}

pub async fn a_lower_burst_keeps_what_is_owed<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.set_rate("rpm", SLOW, 5).await;
    let ahead = lease();
    replica.reserve_ahead("rpm", 5, lease()).await;
    let date = replica.reserve_ahead("rpm", 2, ahead).await.date_to_act;
    assert_eq!(replica.set_rate("rpm", SLOW, 3).await, Status::Active);
    assert_eq!(replica.state("rpm").await.burst, 3);
    assert_eq!(replica.tokens("rpm").await, -2);
    assert_eq!(replica.usage("rpm").await, Usage { available: 0, reserved: 3, debt: 0 });
    assert!(!replica.try_take("rpm", 1).await);
    assert_eq!(
        replica.reserve_ahead("rpm", 2, ahead).await.date_to_act,
        date,
        "a repetition has the first date"
    );
    assert!(!replica.reserve_ahead("rpm", 4, lease()).await.ok, "the tokens exceed the new burst");
    assert!(replica.reserve_ahead("rpm", 1, lease()).await.ok);
    assert!(replica.cancel("rpm", ahead).await);
    assert_eq!(replica.tokens("rpm").await, -2, "one token was reserved behind it");
    assert_eq!(replica.release("rpm", 100, release_id()).await, 3, "a release ends when the bucket is full");
    assert_eq!(replica.usage("rpm").await, Usage { available: 3, reserved: 0, debt: 0 });
}

pub async fn a_stale_replica_reserves_by_the_new_rate<B: Backend>(backend: B) {
    let (replica, stale) = (start(&backend).await, start(&backend).await);
    replica.set_rate("rpm", 10.0, 2).await;
    stale.reserve_ahead("rpm", 2, lease()).await;
    replica.set_rate("rpm", SLOW, 2).await;
    let (id, since) = (lease(), replica.state("rpm").await.last);
    let before = replica.tokens("rpm").await;
    let reservation = stale.reserve_ahead("rpm", 2, id).await;
    assert!(reservation.ok && reservation.date_to_act > since, "{reservation:?}");
    assert_eq!(reservation.limit, SLOW);
    assert_eq!(stale.reserve_ahead("rpm", 2, id).await, reservation);
    assert_eq!(replica.tokens("rpm").await, before - 2);
    replica.set_rate("rpm", SLOW, 4).await;
    assert!(stale.reserve_ahead("rpm", 4, lease()).await.ok, "the replica has read the higher burst");
}

pub async fn only_buckets_are_objects<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("rolling", 5, 60)).await;
    replica.put(fixed_window("daily", 5, 86_400, 0)).await;
    for (name, expected) in [("rolling", KindName::Rolling), ("daily", KindName::FixedWindow)] {
        let key = key(name);
        let object = replica.limiter().object(&key);
        let errors = [
            object.try_reserve(amount(1), lease()).await.err(),
            object.reserve(amount(1), lease()).await.err(),
            object.cancel(lease()).await.err(),
            object.release(amount(1), release_id()).await.err(),
            object.state().await.err(),
        ];
        for error in errors {
            assert!(
                matches!(&error, Some(ObjectError::NotABucket { kind, .. }) if *kind == expected),
                "{error:?}"
            );
        }
        let rate = BucketRate::per_second(1.0).expect("a rate");
        let changed = replica.admin().set_rate(&key, RateChange::both(rate, capacity(1))).await;
        assert!(matches!(changed, Err(AdminError::KindChange(_))), "{changed:?}");
    }
    let unknown_key = key("unknown_key");
    let object = replica.limiter().object(&unknown_key);
    let unknown = [
        object.try_reserve(amount(1), lease()).await.err(),
        object.reserve(amount(1), lease()).await.err(),
        object.cancel(lease()).await.err(),
        object.release(amount(1), release_id()).await.err(),
    ];
    assert!(unknown.iter().all(|error| matches!(error, Some(ObjectError::UnknownKey(_)))), "{unknown:?}");
}

pub async fn a_manually_refilled_bucket_lends_nothing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(manual_bucket("manual", 5, 2)).await;
    let id = lease();
    let reservation = replica.reserve_ahead("manual", 4, id).await;
    assert!(reservation.ok);
    assert_eq!(reservation.limit, 0.0);
    assert_eq!(reservation.date_to_act, reservation.creation_date);
    assert_eq!(replica.reserve_ahead("manual", 4, id).await, reservation);
    assert!(!replica.reserve_ahead("manual", 2, lease()).await.ok);
    assert_eq!(replica.tokens("manual").await, 1);
    assert_eq!(replica.state("manual").await.limit, 0.0);
    replica.set_rate("manual", SLOW, 5).await;
    assert!(
        replica.reserve_ahead("manual", 2, lease()).await.ok,
        "from now on time refills the bucket, so it lends"
    );
    replica.put(manual_bucket("manual", 5, 2)).await;
    assert_eq!(replica.tokens("manual").await, -1);
    replica.admin().replenish(&key("manual"), replenish_id()).await.expect("the ledger answers");
    assert_eq!(replica.tokens("manual").await, 1, "a manual refill repays what is owed, too");
}

pub async fn a_rate_of_zero_refills_nothing_and_a_burst_of_zero_holds_nothing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.set_rate("rpm", 0.0, 2).await;
    assert!(replica.try_take("rpm", 2).await);
    backend.pass(Duration::from_secs(1)).await;
    assert!(!replica.try_take("rpm", 1).await);
    assert_eq!(replica.state("rpm").await.limit, 0.0);
    replica.set_rate("rpm", 4.0, 2).await;
    backend.pass(Duration::from_millis(500)).await;
    assert!(replica.try_take("rpm", 2).await, "a new rate refills again");
    replica.set_rate("rpm", 4.0, 0).await;
    backend.pass(Duration::from_millis(500)).await;
    assert!(!replica.try_take("rpm", 1).await);
    assert_eq!(replica.usage("rpm").await, Usage { available: 0, reserved: 0, debt: 0 });
}

pub async fn a_change_of_kind_drops_borrowed_tokens<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    for next in [fixed_window("key", 12, 86_400, 0), rolling("key", 12, 60), sliding_window("key", 12, 60, 6)]
    {
        replica.set_rate("key", SLOW, 12).await;
        replica.reserve_ahead("key", 12, lease()).await;
        replica.reserve_ahead("key", 4, lease()).await;
        assert_eq!(replica.tokens("key").await, -4);
        replica.admin().delete(&key("key")).await.expect("the limit exists");
        replica.put(next).await;
        let usage = replica.usage("key").await;
        assert_eq!(usage.available + usage.reserved, 12);
        replica.admin().delete(&key("key")).await.expect("the limit exists");
        replica.put(manual_bucket("key", 12, 12)).await;
        replica.admin().replenish(&key("key"), replenish_id()).await.expect("the ledger answers");
        assert_eq!(replica.usage("key").await, Usage { available: 12, reserved: 0, debt: 0 });
    }
}

pub async fn a_template_creates_objects<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let template = token_bucket("user:{user}", 2, 1, MINUTE_MS);
    replica.put(template.with_instances_max(2).expect("a template")).await;
    assert!(replica.try_take("user:ann", 2).await);
    assert!(replica.reserve_ahead("user:ann", 1, lease()).await.ok);
    assert!(replica.reserve_ahead("user:bob", 2, lease()).await.ok);
    assert_eq!(replica.tokens("user:ann").await, -1);
    let third = replica.try_reserve_ahead("user:eve", 1, lease()).await;
    assert!(matches!(third, Err(ObjectError::TooManyInstances(_))), "{third:?}");
    replica.set_rate("user:ann", SLOW, 3).await;
    assert_eq!(replica.tokens("user:ann").await, 0, "an operator may change an instance");
}
