use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{KindName, LeaseId, RefillRate, Status};
use ledger_limiter::limiter::ObjectError;
use ledger_limiter::protocol::{ObjectReservation, ObjectState};
use ledger_limiter::registry::AdminError;

use crate::fixtures::*;

const SECOND: Duration = Duration::from_secs(1);
/// One in a minute: none comes while a test runs.
const SLOW: f64 = 1.0 / 60.0;
const MINUTE_MS: u64 = 60_000;

async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    Replica::start(backend.connect(), backend.ids(), 0).await
}

impl<L: Ledger> Replica<L> {
    async fn rate(&self, name: &str, per_second: f64, burst: u64) -> Status {
        let rate = RefillRate::per_second(per_second).expect("a rate");
        self.admin().set_rate(&key(name), rate, amount(burst)).await.expect("the ledger answers")
    }

    async fn try_take(&self, name: &str, tokens: u64) -> bool {
        let key = key(name);
        self.limiter().object(&key).try_reserve(amount(tokens), lease()).await.expect("the ledger answers")
    }

    async fn ahead(&self, name: &str, tokens: u64, lease: LeaseId) -> ObjectReservation {
        self.try_ahead(name, tokens, lease).await.expect("the ledger answers")
    }

    async fn try_ahead(
        &self,
        name: &str,
        tokens: u64,
        lease: LeaseId,
    ) -> Result<ObjectReservation, ObjectError> {
        self.limiter().object(&key(name)).reserve(amount(tokens), lease).await
    }

    async fn cancel(&self, name: &str, lease: LeaseId) -> bool {
        self.limiter().object(&key(name)).cancel(lease).await.expect("the ledger answers")
    }

    async fn release(&self, name: &str, tokens: u64, release: ReleaseId) -> u64 {
        let key = key(name);
        self.limiter().object(&key).release(amount(tokens), release).await.expect("the ledger answers")
    }

    async fn state(&self, name: &str) -> ObjectState {
        self.limiter().object(&key(name)).state().await.expect("the ledger answers")
    }

    async fn tokens(&self, name: &str) -> i64 {
        let key = key(name);
        let permits = self.limiter().object(&key).available_permits().await.expect("the ledger answers");
        let tokens = self.state(name).await.tokens;
        assert_eq!(permits, tokens.max(0) as u64);
        tokens
    }
}

pub async fn what_is_there_is_taken_or_not<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    assert_eq!(replica.rate("rpm", SLOW, 5).await, Status::Active);
    let (key, id) = (key("rpm"), lease());
    for _ in 0..2 {
        assert!(replica.limiter().object(&key).try_reserve(amount(3), id).await.expect("an answer"));
    }
    assert_eq!(replica.tokens("rpm").await, 2, "a repeated attempt takes once");
    assert!(!replica.try_take("rpm", 3).await);
    assert!(replica.try_take("rpm", 2).await);
    assert!(!replica.try_take("rpm", 1).await);
    assert!(!replica.try_take("rpm", 6).await);
    assert_eq!(replica.usage("rpm").await, (0, 5, 0));
    replica.complete(id, &[("rpm", 1)]).await;
    assert_eq!(replica.tokens("rpm").await, 2, "it is a lease like any other");
}

pub async fn a_reservation_takes_of_the_future_and_tells_when<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.rate("rpm", SLOW, 5).await;
    let since = replica.state("rpm").await.last;
    let at_once = replica.ahead("rpm", 3, lease()).await;
    assert_eq!((at_once.ok, at_once.tokens), (true, 3));
    assert_eq!(at_once.date_to_act, at_once.creation_date);
    assert_eq!(at_once.limit, SLOW);
    let partly = replica.ahead("rpm", 4, lease()).await;
    assert_eq!((partly.ok, partly.date_to_act), (true, since + 2 * MINUTE_MS));
    let wholly = replica.ahead("rpm", 1, lease()).await;
    assert_eq!((wholly.ok, wholly.date_to_act), (true, since + 3 * MINUTE_MS));
    assert!(!replica.try_take("rpm", 1).await, "nothing is there while something is owed");
    let state = replica.state("rpm").await;
    let expected =
        ObjectState { limit: SLOW, burst: 5, tokens: -3, last: since, last_event: since + 3 * MINUTE_MS };
    assert_eq!(state, expected);
    assert_eq!(replica.usage("rpm").await, (0, 5, 0));
    let (id, too_much) = (lease(), replica.ahead("rpm", 6, lease()).await);
    assert_eq!((too_much.ok, too_much.tokens, too_much.date_to_act), (false, 0, 0));
    assert!(!replica.ahead("rpm", 6, id).await.ok);
    replica.rate("rpm", SLOW, 6).await;
    assert!(!replica.ahead("rpm", 6, id).await.ok, "a denied lease stays denied");
    assert_eq!(replica.tokens("rpm").await, -2);
}

pub async fn refills_pay_back_first<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.rate("rpm", 1.0, 2).await;
    replica.ahead("rpm", 2, lease()).await;
    for _ in 0..2 {
        replica.ahead("rpm", 2, lease()).await;
    }
    assert_eq!(replica.tokens("rpm").await, -4);
    backend.pass(SECOND * 2).await;
    assert_eq!(replica.tokens("rpm").await, -2);
    assert!(!replica.try_take("rpm", 1).await);
    assert_eq!(replica.usage("rpm").await, (0, 2, 0));
    backend.pass(SECOND * 5).await;
    assert_eq!(replica.usage("rpm").await, (2, 0, 0), "and the rest is there, up to full");
    assert!(replica.try_take("rpm", 2).await);
}

pub async fn a_fast_object_remembers_what_it_promised<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.rate("rpm", 20.0, 1).await;
    let (key, taken, first, last) = (key("rpm"), lease(), lease(), lease());
    assert!(replica.limiter().object(&key).try_reserve(amount(1), taken).await.expect("an answer"));
    let reservation = replica.ahead("rpm", 1, first).await;
    for _ in 0..38 {
        replica.ahead("rpm", 1, lease()).await;
    }
    let promised = replica.ahead("rpm", 1, last).await;
    assert!(promised.date_to_act > promised.creation_date, "{promised:?}");
    assert_eq!(replica.ahead("rpm", 1, last).await, promised);
    assert!(replica.cancel("rpm", last).await, "{promised:?}");
    backend.pass(SECOND * 4).await;
    assert_eq!(replica.ahead("rpm", 1, first).await, reservation, "however long it is over");
    assert!(replica.limiter().object(&key).try_reserve(amount(1), taken).await.expect("an answer"));
    assert_eq!(replica.tokens("rpm").await, 1);
}

pub async fn callers_at_once_have_a_date_each<B: Backend>(backend: B) {
    let replicas = [start(&backend).await, start(&backend).await];
    replicas[0].rate("rpm", SLOW, 2).await;
    let since = replicas[0].state("rpm").await.last;
    let calls = (0..10).map(|caller: usize| replicas[caller % 2].ahead("rpm", 1, lease()));
    let reservations = join_all(calls).await;
    assert!(reservations.iter().all(|reservation| reservation.ok));
    let mut later: Vec<u64> = reservations
        .iter()
        .filter(|reservation| reservation.date_to_act != reservation.creation_date)
        .map(|reservation| reservation.date_to_act - since)
        .collect();
    later.sort_unstable();
    let expected: Vec<u64> = (1..=8).map(|nth| nth * MINUTE_MS).collect();
    assert_eq!(later, expected, "two of ten act at once, the others a minute apart");
}

pub async fn a_repeated_reservation_has_its_first_date<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.rate("rpm", SLOW, 2).await;
    let (id, at_once) = (lease(), lease());
    let first_at_once = replica.ahead("rpm", 2, at_once).await;
    let first = replica.ahead("rpm", 2, id).await;
    other.ahead("rpm", 2, lease()).await;
    assert_eq!(other.ahead("rpm", 2, id).await, first);
    replica.rate("rpm", 10.0, 2).await;
    assert_eq!(other.ahead("rpm", 2, id).await, first, "also when the rate has changed");
    assert_eq!(other.ahead("rpm", 2, at_once).await, first_at_once);
    let conflict = other.try_ahead("rpm", 1, id).await;
    assert!(matches!(conflict, Err(ObjectError::LeaseConflict(_))), "{conflict:?}");
    replica.complete(id, &[("rpm", 2)]).await;
    let settled = other.try_ahead("rpm", 2, id).await;
    assert!(matches!(settled, Err(ObjectError::LeaseSettled(_))), "{settled:?}");
}

pub async fn a_cancelled_reservation_is_given_back<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.rate("rpm", SLOW, 5).await;
    replica.put(rolling("rolling", 5, 60)).await;
    replica.rate("another", SLOW, 5).await;
    let [at_once, first, second] = [lease(), lease(), lease()];
    replica.ahead("rpm", 4, at_once).await;
    let date = replica.ahead("rpm", 3, first).await.date_to_act;
    replica.ahead("rpm", 2, second).await;
    assert_eq!(replica.tokens("rpm").await, -4);
    assert!(!replica.cancel("another", first).await, "it is none of that object's");
    assert!(other.cancel("rpm", first).await);
    assert!(replica.cancel("rpm", first).await, "it is given back, by whomever");
    assert_eq!(replica.tokens("rpm").await, -1);
    assert!(!replica.cancel("rpm", at_once).await, "it may act already");
    assert!(!replica.cancel("rpm", lease()).await, "nobody knows it");
    let again = replica.ahead("rpm", 1, lease()).await;
    assert_eq!(again.date_to_act, date, "its place is taken by the next");
    assert!(replica.cancel("rpm", second).await);
    assert_eq!(replica.tokens("rpm").await, 0);
    assert_eq!(replica.usage("rpm").await, (0, 5, 0));
}

pub async fn from_its_date_on_nothing_is_given_back<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.rate("rpm", 1.0, 1).await;
    let id = lease();
    replica.ahead("rpm", 1, lease()).await;
    replica.ahead("rpm", 1, id).await;
    // Owed still, of others.
    for _ in 0..20 {
        replica.ahead("rpm", 1, lease()).await;
    }
    backend.pass(SECOND).await;
    let before = replica.tokens("rpm").await;
    assert!(!replica.cancel("rpm", id).await);
    assert!((before..=before + 1).contains(&replica.tokens("rpm").await));
}

pub async fn a_cancel_and_a_complete_exclude_each_other<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.rate("rpm", SLOW, 4).await;
    replica.ahead("rpm", 4, lease()).await;
    for _ in 0..5 {
        let id = lease();
        let before = replica.tokens("rpm").await;
        replica.ahead("rpm", 3, id).await;
        let used = [("rpm", 1)];
        let (cancelled, _) = tokio::join!(replica.cancel("rpm", id), other.complete(id, &used));
        let left = before - i64::from(!cancelled);
        assert_eq!(replica.tokens("rpm").await, left, "one of them has settled it: {cancelled}");
        assert_eq!(replica.cancel("rpm", id).await, cancelled);
        assert_eq!(replica.tokens("rpm").await, left);
    }
}

pub async fn what_a_reservation_did_not_need_pays_back<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.rate("rpm", SLOW, 10).await;
    replica.put(rolling("tpm", 100, 60)).await;
    let [first, second, ahead, over] = [lease(), lease(), lease(), lease()];
    for plain in [first, second] {
        replica.reserve(plain, &[("rpm", 4), ("tpm", 10)]).await;
    }
    replica.ahead("rpm", 7, ahead).await;
    assert_eq!(replica.tokens("rpm").await, -5);
    let settles = [complete(first, &[("rpm", 1), ("tpm", 5)]), complete(second, &[("rpm", 2), ("tpm", 5)])];
    for settled in replica.limiter().complete_batch(&settles).await {
        settled.expect("the ledger answers");
    }
    assert_eq!(replica.tokens("rpm").await, 0, "what is given back was owed");
    assert!(!replica.try_take("rpm", 1).await);
    replica.complete(ahead, &[("rpm", 1)]).await;
    assert_eq!(replica.usage("rpm").await, (6, 4, 0));
    replica.ahead("rpm", 8, over).await;
    replica.complete(over, &[("rpm", 11)]).await;
    assert_eq!(replica.usage("rpm").await, (0, 10, 3), "what is used beyond is not taken of the future");
}

pub async fn a_release_adds_up_to_full_and_once<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.rate("rpm", SLOW, 5).await;
    replica.try_take("rpm", 4).await;
    let id = release_id();
    assert_eq!(replica.release("rpm", 2, id).await, 3);
    assert_eq!(replica.release("rpm", 2, id).await, 3, "the same once more changes nothing");
    assert_eq!(replica.release("rpm", 2, release_id()).await, 5);
    assert_eq!(replica.release("rpm", 100, release_id()).await, 5, "never beyond full");
    assert_eq!(replica.usage("rpm").await, (5, 0, 0));
    replica.ahead("rpm", 5, lease()).await;
    replica.ahead("rpm", 3, lease()).await;
    assert_eq!(replica.release("rpm", 2, release_id()).await, 0, "what is owed is paid first");
    assert_eq!(replica.tokens("rpm").await, -1);
    assert_eq!(replica.release("rpm", 100, release_id()).await, 5);
    replica.rate("another", SLOW, 5).await;
    replica.try_take("another", 3).await;
    assert_eq!(replica.release("another", 1, id).await, 3, "the same id at another object is another");
}

pub async fn a_new_rate_settles_at_the_old_one_first<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.rate("rpm", 1.0, 2).await;
    replica.ahead("rpm", 2, lease()).await;
    replica.ahead("rpm", 2, lease()).await;
    replica.ahead("rpm", 2, lease()).await;
    backend.pass(SECOND).await;
    replica.rate("rpm", SLOW, 2).await;
    assert_eq!(replica.tokens("rpm").await, -3, "one came at the old rate");
    let state = replica.state("rpm").await;
    assert_eq!((state.limit, state.last_event), (SLOW, state.last + 3 * MINUTE_MS));
    assert_eq!(replica.ahead("rpm", 1, lease()).await.date_to_act, state.last + 4 * MINUTE_MS);
    replica.rate("rpm", 1.0, 10).await;
    assert_eq!(replica.tokens("rpm").await, 4, "what it holds more pays back what is owed");
    assert_eq!(replica.usage("rpm").await, (4, 6, 0));
    backend.pass(SECOND * 2).await;
    assert_eq!(replica.tokens("rpm").await, 6);
}

pub async fn rates_in_turn_add_up<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.rate("rpm", 0.4, 10).await;
    assert!(replica.try_take("rpm", 10).await);
    for nth in 0..8 {
        backend.pass(SECOND).await;
        replica.rate("rpm", if nth % 2 == 0 { 0.5 } else { 0.4 }, 10).await;
    }
    let tokens = replica.tokens("rpm").await;
    assert!((3..=4).contains(&tokens), "3.6, and what comes while the test works: {tokens}");
}

pub async fn a_reservation_ahead_is_cancelled_after_a_new_rate<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.rate("rpm", SLOW, 2).await;
    let (id, last) = (lease(), lease());
    replica.ahead("rpm", 2, lease()).await;
    let date = replica.ahead("rpm", 2, id).await.date_to_act;
    replica.rate("rpm", SLOW * 2.0, 2).await;
    assert_eq!(replica.tokens("rpm").await, -2);
    assert!(other.cancel("rpm", id).await);
    assert!(replica.cancel("rpm", id).await, "it is given back");
    assert_eq!(replica.tokens("rpm").await, 0);
    let next = replica.ahead("rpm", 2, last).await.date_to_act;
    assert!(next < date, "at the new rate: {next}");
}

pub async fn a_small_burst_keeps_the_rate<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    for (name, per_second, burst) in [("a", 333.0, 10), ("b", 997.0, 5), ("c", 2_500.0, 4), ("d", 1e6, 1)] {
        replica.rate(name, per_second, burst).await;
        let ObjectState { limit, .. } = replica.state(name).await;
        assert!((limit / per_second - 1.0).abs() < 0.001, "{limit} and not {per_second}");
        let refill_amount = replica.info(name).await.state().definition.kind.fields().refill_amount;
        assert!(refill_amount <= burst, "a refill of {refill_amount} has room in {burst}");
    }
    // So slow that the bucket owes something from the second reservation on.
    for (name, per_second, burst) in [("e", 3.0, 1), ("f", 3.7, 2), ("g", 0.7, 1)] {
        replica.rate(name, per_second, burst).await;
        let (first, last, count) = (replica.ahead(name, burst, lease()).await, lease(), 20);
        for _ in 1..count {
            assert!(replica.ahead(name, burst, lease()).await.ok);
        }
        let ahead = replica.ahead(name, burst, last).await;
        assert_eq!(replica.ahead(name, burst, last).await, ahead, "it is read back");
        let took_ms = (ahead.date_to_act - first.creation_date) as f64;
        let expected_ms = 1_000.0 * (count * burst) as f64 / per_second;
        assert!((took_ms - expected_ms).abs() <= 2.0 + 1_000.0 / per_second, "{took_ms}, {expected_ms}");
    }
}

pub async fn a_lower_burst_leaves_what_is_owed<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.rate("rpm", SLOW, 5).await;
    let ahead = lease();
    replica.ahead("rpm", 5, lease()).await;
    let date = replica.ahead("rpm", 2, ahead).await.date_to_act;
    assert_eq!(replica.rate("rpm", SLOW, 3).await, Status::Active);
    assert_eq!((replica.state("rpm").await.burst, replica.tokens("rpm").await), (3, -2));
    assert_eq!(replica.usage("rpm").await, (0, 3, 0));
    assert!(!replica.try_take("rpm", 1).await);
    assert_eq!(replica.ahead("rpm", 2, ahead).await.date_to_act, date, "the date that was told");
    assert!(replica.ahead("rpm", 1, lease()).await.ok);
    assert!(!replica.ahead("rpm", 4, lease()).await.ok, "above the burst");
    assert!(replica.cancel("rpm", ahead).await);
    assert_eq!(replica.tokens("rpm").await, -1);
    assert_eq!(replica.release("rpm", 100, release_id()).await, 3, "never beyond full");
    assert_eq!(replica.usage("rpm").await, (3, 0, 0));
}

pub async fn a_stale_replica_reserves_by_the_new_rate<B: Backend>(backend: B) {
    let (replica, stale) = (start(&backend).await, start(&backend).await);
    replica.rate("rpm", 10.0, 2).await;
    stale.ahead("rpm", 2, lease()).await;
    replica.rate("rpm", SLOW, 2).await;
    let (id, since) = (lease(), replica.state("rpm").await.last);
    let before = replica.tokens("rpm").await;
    let reservation = stale.ahead("rpm", 2, id).await;
    assert!(reservation.ok && reservation.date_to_act > since, "{reservation:?}");
    assert_eq!(reservation.limit, SLOW);
    assert_eq!(stale.ahead("rpm", 2, id).await, reservation);
    assert_eq!(replica.tokens("rpm").await, before - 2);
    replica.rate("rpm", SLOW, 4).await;
    assert!(stale.ahead("rpm", 4, lease()).await.ok, "it holds more by now");
}

pub async fn other_kinds_are_no_objects<B: Backend>(backend: B) {
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
        let rate = RefillRate::per_second(1.0).expect("a rate");
        let changed = replica.admin().set_rate(&key, rate, amount(1)).await;
        assert!(matches!(changed, Err(AdminError::KindChange(_))), "{changed:?}");
    }
    let nowhere = key("nowhere");
    let object = replica.limiter().object(&nowhere);
    let unknown = [
        object.try_reserve(amount(1), lease()).await.err(),
        object.reserve(amount(1), lease()).await.err(),
        object.cancel(lease()).await.err(),
        object.release(amount(1), release_id()).await.err(),
        object.state().await.err(),
    ];
    assert!(unknown.iter().all(|error| matches!(error, Some(ObjectError::UnknownKey(_)))), "{unknown:?}");
}

pub async fn a_bucket_by_hand_lends_nothing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(bucket_by_hand("manual", 5, 2)).await;
    let id = lease();
    let reservation = replica.ahead("manual", 4, id).await;
    assert_eq!((reservation.ok, reservation.limit), (true, 0.0));
    assert_eq!(reservation.date_to_act, reservation.creation_date);
    assert_eq!(replica.ahead("manual", 4, id).await, reservation);
    assert!(!replica.ahead("manual", 2, lease()).await.ok);
    assert_eq!((replica.tokens("manual").await, replica.state("manual").await.limit), (1, 0.0));
    replica.rate("manual", SLOW, 5).await;
    assert!(replica.ahead("manual", 2, lease()).await.ok, "from now on time refills it");
    replica.put(bucket_by_hand("manual", 5, 2)).await;
    assert_eq!(replica.tokens("manual").await, -1);
    replica.admin().replenish(&key("manual"), replenish_id()).await.expect("the ledger answers");
    assert_eq!(replica.tokens("manual").await, 1, "a refill by hand pays back as well");
}

pub async fn what_was_borrowed_does_not_follow_into_another_kind<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    for next in [fixed_window("key", 12, 86_400, 0), rolling("key", 12, 60), sliding_window("key", 12, 60, 6)]
    {
        replica.rate("key", SLOW, 12).await;
        replica.ahead("key", 12, lease()).await;
        replica.ahead("key", 4, lease()).await;
        assert_eq!(replica.tokens("key").await, -4);
        replica.admin().delete(&key("key")).await.expect("it is there");
        replica.put(next).await;
        let (available, reserved, _) = replica.usage("key").await;
        assert_eq!(available + reserved, 12);
        replica.admin().delete(&key("key")).await.expect("it is there");
        replica.put(bucket_by_hand("key", 12, 12)).await;
        replica.admin().replenish(&key("key"), replenish_id()).await.expect("the ledger answers");
        assert_eq!(replica.usage("key").await, (12, 0, 0));
    }
}

pub async fn objects_appear_by_their_template<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let template = token_bucket("user:{user}", 2, 1, MINUTE_MS);
    replica.put(template.with_instances_max(2).expect("a template")).await;
    assert!(replica.try_take("user:ann", 2).await);
    assert!(replica.ahead("user:ann", 1, lease()).await.ok);
    assert!(replica.ahead("user:bob", 2, lease()).await.ok);
    assert_eq!(replica.tokens("user:ann").await, -1);
    let third = replica.try_ahead("user:eve", 1, lease()).await;
    assert!(matches!(third, Err(ObjectError::TooManyInstances(_))), "{third:?}");
    replica.rate("user:ann", SLOW, 3).await;
    assert_eq!(replica.tokens("user:ann").await, 0, "an object may be changed by hand");
}
