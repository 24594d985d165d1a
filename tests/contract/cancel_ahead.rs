//! What a cancelled reservation ahead releases: its tokens, except those that later reservations ahead borrowed.

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::LeaseId;

use super::objects::{MINUTE_MS, SLOW, start};
use crate::fixtures::*;

impl<L: Ledger> Replica<L> {
    /// Reserves tokens of `rpm` ahead; returns the date to act, in minutes after the last refill.
    async fn minutes_ahead(&self, tokens: u64, lease: LeaseId) -> u64 {
        let since = self.state("rpm").await.last;
        let reservation = self.reserve_ahead("rpm", tokens, lease).await;
        assert!(reservation.ok, "{reservation:?}");
        reservation.date_to_act.saturating_sub(since) / MINUTE_MS
    }
}

pub async fn what_was_reserved_behind_a_cancelled_reservation_stays_reserved<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(token_bucket("rpm", 4, 1, MINUTE_MS)).await;
    let [first, second, third] = [lease(), lease(), lease()];
    replica.minutes_ahead(4, lease()).await;
    assert_eq!(replica.minutes_ahead(4, first).await, 4);
    assert_eq!(other.minutes_ahead(4, second).await, 8);
    for replica in [&replica, &other, &replica] {
        assert!(replica.cancel("rpm", first).await, "it is cancelled once, and stays so");
        assert_eq!(replica.tokens("rpm").await, -8, "all of it was reserved again");
    }
    assert_eq!(replica.minutes_ahead(4, third).await, 12, "not with the second one");
    assert!(other.cancel("rpm", third).await);
    assert_eq!(replica.tokens("rpm").await, -8, "nobody reserved behind the last one");
    assert!(other.cancel("rpm", second).await);
    assert_eq!(replica.tokens("rpm").await, -4);
    assert_eq!(replica.usage("rpm").await, Usage { available: 0, reserved: 4, debt: 0 });
}

pub async fn an_unused_part_of_a_reservation_ahead_follows_the_same_rule<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(token_bucket("rpm", 4, 1, MINUTE_MS)).await;
    let [first, second] = [lease(), lease()];
    replica.minutes_ahead(4, lease()).await;
    replica.minutes_ahead(4, first).await;
    replica.minutes_ahead(2, second).await;
    replica.complete(first, &[("rpm", 1)]).await;
    assert_eq!(replica.tokens("rpm").await, -5, "of three unused one comes back");
    assert!(!replica.cancel("rpm", first).await, "it was completed");
    replica.complete(second, &[("rpm", 1)]).await;
    assert_eq!(replica.tokens("rpm").await, -4);
    assert_eq!(replica.usage("rpm").await, Usage { available: 0, reserved: 4, debt: 0 });
}

pub async fn a_cancel_and_a_reservation_at_once_never_share_tokens<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(token_bucket("rpm", 4, 1, MINUTE_MS)).await;
    replica.minutes_ahead(4, lease()).await;
    for _ in 0..10 {
        let (before, cancelled) = (replica.tokens("rpm").await, lease());
        let date = replica.minutes_ahead(2, cancelled).await;
        let (_, later) = tokio::join!(replica.cancel("rpm", cancelled), other.minutes_ahead(2, lease()));
        let waits_behind = later != date;
        assert_eq!(later, if waits_behind { date + 2 } else { date });
        let taken = if waits_behind { 4 } else { 2 };
        assert_eq!(replica.tokens("rpm").await, before - taken, "{later} {date}");
    }
}

pub async fn a_reservation_ahead_is_cancelled_after_a_new_rate<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.set_rate("rpm", SLOW, 2).await;
    let (id, last) = (lease(), lease());
    replica.reserve_ahead("rpm", 2, lease()).await;
    let date = replica.reserve_ahead("rpm", 2, id).await.date_to_act;
    replica.set_rate("rpm", SLOW * 2.0, 2).await;
    assert_eq!(replica.tokens("rpm").await, -2);
    assert!(other.cancel("rpm", id).await);
    assert!(replica.cancel("rpm", id).await, "a repetition releases nothing");
    assert_eq!(replica.tokens("rpm").await, 0);
    let next = replica.reserve_ahead("rpm", 2, last).await.date_to_act;
    assert!(next < date, "the new rate counts: {next}");
}
