//! Reservations ahead of a bucket: what they borrow, their dates to act, and cancels.

use futures_util::future::join_all;
use ledger_limiter::limiter::ObjectError;
use ledger_limiter::protocol::ObjectState;

use super::objects::{MINUTE_MS, SECOND, SLOW, start};
use crate::fixtures::*;

pub async fn a_reservation_ahead_borrows_tokens_and_names_its_date<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.set_rate("rpm", SLOW, 5).await;
    let at_once = replica.reserve_ahead("rpm", 3, lease()).await;
    // The interval of the full bucket begins with this reservation.
    let since = replica.state("rpm").await.last;
    assert!(at_once.ok);
    assert_eq!(at_once.tokens, 3);
    assert_eq!(at_once.date_to_act, at_once.creation_date);
    assert_eq!(at_once.limit, SLOW);
    let partly = replica.reserve_ahead("rpm", 4, lease()).await;
    assert!(partly.ok);
    assert_eq!(partly.date_to_act, since + 2 * MINUTE_MS);
    let wholly = replica.reserve_ahead("rpm", 1, lease()).await;
    assert!(wholly.ok);
    assert_eq!(wholly.date_to_act, since + 3 * MINUTE_MS);
    assert!(!replica.try_take("rpm", 1).await, "nothing is available while tokens are owed");
    let state = replica.state("rpm").await;
    let expected =
        ObjectState { limit: SLOW, burst: 5, tokens: -3, last: since, last_event: since + 3 * MINUTE_MS };
    assert_eq!(state, expected);
    assert_eq!(replica.usage("rpm").await, Usage { available: 0, reserved: 5, debt: 0 });
    let (id, too_much) = (lease(), replica.reserve_ahead("rpm", 6, lease()).await);
    assert!(!too_much.ok);
    assert_eq!(too_much.tokens, 0);
    assert_eq!(too_much.date_to_act, 0);
    assert!(!replica.reserve_ahead("rpm", 6, id).await.ok);
    replica.set_rate("rpm", SLOW, 6).await;
    assert!(!replica.reserve_ahead("rpm", 6, id).await.ok, "a denied lease stays denied");
    assert_eq!(replica.tokens("rpm").await, -2);
}

pub async fn refills_repay_borrowed_tokens_first<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.set_rate("rpm", 1.0, 2).await;
    replica.reserve_ahead("rpm", 2, lease()).await;
    for _ in 0..2 {
        replica.reserve_ahead("rpm", 2, lease()).await;
    }
    assert_eq!(replica.tokens("rpm").await, -4);
    backend.pass(SECOND * 2).await;
    assert_eq!(replica.tokens("rpm").await, -2);
    assert!(!replica.try_take("rpm", 1).await);
    assert_eq!(replica.usage("rpm").await, Usage { available: 0, reserved: 2, debt: 0 });
    backend.pass(SECOND * 5).await;
    assert_eq!(
        replica.usage("rpm").await,
        Usage { available: 2, reserved: 0, debt: 0 },
        "after the borrowed tokens are repaid, refills fill the bucket"
    );
    assert!(replica.try_take("rpm", 2).await);
}

pub async fn a_fast_bucket_remembers_its_reservations<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.set_rate("rpm", 20.0, 1).await;
    let (key, taken, first, last) = (key("rpm"), lease(), lease(), lease());
    assert!(replica.limiter().object(&key).try_reserve(amount(1), taken).await.expect("an answer"));
    let first_reservation = replica.reserve_ahead("rpm", 1, first).await;
    for _ in 0..38 {
        replica.reserve_ahead("rpm", 1, lease()).await;
    }
    let last_reservation = replica.reserve_ahead("rpm", 1, last).await;
    assert!(last_reservation.date_to_act > last_reservation.creation_date, "{last_reservation:?}");
    assert_eq!(replica.reserve_ahead("rpm", 1, last).await, last_reservation);
    assert!(replica.cancel("rpm", last).await, "{last_reservation:?}");
    backend.pass(SECOND * 4).await;
    assert_eq!(
        replica.reserve_ahead("rpm", 1, first).await,
        first_reservation,
        "a repetition has the first date, long after it"
    );
    assert!(replica.limiter().object(&key).try_reserve(amount(1), taken).await.expect("an answer"));
    assert_eq!(replica.tokens("rpm").await, 1);
}

pub async fn concurrent_reservations_have_distinct_dates<B: Backend>(backend: B) {
    let replicas = [start(&backend).await, start(&backend).await];
    replicas[0].set_rate("rpm", SLOW, 2).await;
    let since = replicas[0].state("rpm").await.last;
    let calls = (0..10).map(|caller: usize| replicas[caller % 2].reserve_ahead("rpm", 1, lease()));
    let reservations = join_all(calls).await;
    assert!(reservations.iter().all(|reservation| reservation.ok));
    let mut later: Vec<u64> = reservations
        .iter()
        .filter(|reservation| reservation.date_to_act != reservation.creation_date)
        .map(|reservation| reservation.date_to_act - since)
        .collect();
    later.sort_unstable();
    assert_eq!(later.len(), 8, "two of ten may act at once");
    for (nth, after_ms) in (1..).zip(&later) {
        // The interval of the full bucket begins with the first of them, whichever that is.
        let late_ms = after_ms.checked_sub(nth * MINUTE_MS).expect("a minute apart");
        assert!(late_ms < 5_000, "{later:?}");
    }
}

pub async fn a_repeated_reservation_has_its_first_date<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.set_rate("rpm", SLOW, 2).await;
    let (id, at_once) = (lease(), lease());
    let first_at_once = replica.reserve_ahead("rpm", 2, at_once).await;
    let first = replica.reserve_ahead("rpm", 2, id).await;
    other.reserve_ahead("rpm", 2, lease()).await;
    assert_eq!(other.reserve_ahead("rpm", 2, id).await, first);
    replica.set_rate("rpm", 10.0, 2).await;
    assert_eq!(other.reserve_ahead("rpm", 2, id).await, first, "also after the rate changed");
    assert_eq!(other.reserve_ahead("rpm", 2, at_once).await, first_at_once);
    let conflict = other.try_reserve_ahead("rpm", 1, id).await;
    assert!(matches!(conflict, Err(ObjectError::LeaseConflict(_))), "{conflict:?}");
    replica.complete(id, &[("rpm", 2)]).await;
    let settled = other.try_reserve_ahead("rpm", 2, id).await;
    assert!(matches!(settled, Err(ObjectError::LeaseSettled(_))), "{settled:?}");
}

pub async fn a_cancel_releases_a_reservation_before_its_date<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.set_rate("rpm", SLOW, 5).await;
    replica.put(rolling("rolling", 5, 60)).await;
    replica.set_rate("another", SLOW, 5).await;
    let [at_once, first, second] = [lease(), lease(), lease()];
    replica.reserve_ahead("rpm", 4, at_once).await;
    let date = replica.reserve_ahead("rpm", 3, first).await.date_to_act;
    replica.reserve_ahead("rpm", 2, second).await;
    assert_eq!(replica.tokens("rpm").await, -4);
    assert!(!replica.cancel("another", first).await, "the lease is not of that object");
    assert!(other.cancel("rpm", first).await);
    assert!(replica.cancel("rpm", first).await, "a repeated cancel answers the same at any replica");
    assert_eq!(replica.tokens("rpm").await, -3, "two of the three tokens are reserved behind it");
    assert!(!replica.cancel("rpm", at_once).await, "its date to act has come");
    assert!(!replica.cancel("rpm", lease()).await, "the lease is unknown");
    assert!(replica.cancel("rpm", second).await);
    assert_eq!(replica.tokens("rpm").await, -1, "nothing is reserved behind the last one");
    let again = replica.reserve_ahead("rpm", 1, lease()).await;
    assert_eq!(again.date_to_act, date, "the next reservation has the date of the cancelled one");
    assert_eq!(replica.usage("rpm").await, Usage { available: 0, reserved: 5, debt: 0 });
}

pub async fn a_cancel_releases_nothing_from_the_date_on<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.set_rate("rpm", 1.0, 1).await;
    let id = lease();
    replica.reserve_ahead("rpm", 1, lease()).await;
    replica.reserve_ahead("rpm", 1, id).await;
    // Other reservations, so that tokens are still owed.
    for _ in 0..20 {
        replica.reserve_ahead("rpm", 1, lease()).await;
    }
    backend.pass(SECOND).await;
    let before = replica.tokens("rpm").await;
    assert!(!replica.cancel("rpm", id).await);
    assert!((before..=before + 1).contains(&replica.tokens("rpm").await));
}

pub async fn a_cancel_and_a_complete_exclude_each_other<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.set_rate("rpm", SLOW, 4).await;
    replica.reserve_ahead("rpm", 4, lease()).await;
    for _ in 0..5 {
        let id = lease();
        let before = replica.tokens("rpm").await;
        replica.reserve_ahead("rpm", 3, id).await;
        let used = [("rpm", 1)];
        let (cancelled, _) = tokio::join!(replica.cancel("rpm", id), other.complete(id, &used));
        let left = before - i64::from(!cancelled);
        assert_eq!(
            replica.tokens("rpm").await,
            left,
            "either the cancel or the complete settled it: cancelled is {cancelled}"
        );
        assert_eq!(replica.cancel("rpm", id).await, cancelled);
        assert_eq!(replica.tokens("rpm").await, left);
    }
}

pub async fn unused_tokens_repay_borrowed_ones<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.set_rate("rpm", SLOW, 10).await;
    replica.put(rolling("tpm", 100, 60)).await;
    let [first, second, ahead, over] = [lease(), lease(), lease(), lease()];
    for plain in [first, second] {
        replica.reserve(plain, &[("rpm", 4), ("tpm", 10)]).await;
    }
    replica.reserve_ahead("rpm", 7, ahead).await;
    assert_eq!(replica.tokens("rpm").await, -5);
    let settles = [complete(first, &[("rpm", 1), ("tpm", 5)]), complete(second, &[("rpm", 2), ("tpm", 5)])];
    for settled in replica.limiter().complete_batch(&settles).await {
        settled.expect("the ledger answers");
    }
    assert_eq!(replica.tokens("rpm").await, 0, "the released tokens repaid what was owed");
    assert!(!replica.try_take("rpm", 1).await);
    replica.complete(ahead, &[("rpm", 1)]).await;
    assert_eq!(replica.usage("rpm").await, Usage { available: 6, reserved: 4, debt: 0 });
    replica.reserve_ahead("rpm", 8, over).await;
    replica.complete(over, &[("rpm", 11)]).await;
    assert_eq!(
        replica.usage("rpm").await,
        Usage { available: 0, reserved: 10, debt: 3 },
        "overage borrows nothing"
    );
}
