//! How far ahead reservations may borrow: the caller's bound, and that of the definition.

use futures_util::future::join_all;
use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{Definition, LeaseId};
use ledger_limiter::protocol::ObjectReservation;

use super::objects::{MINUTE_MS, SECOND, start};
use crate::fixtures::*;

/// A bucket with a refill of 1 a minute.
fn slow_bucket(capacity: u64) -> Definition {
    token_bucket("rpm", capacity, 1, MINUTE_MS)
}

/// The same, with reservations ahead that wait at most `max_wait_ms`.
fn bounded_bucket(capacity: u64, max_wait_ms: u64) -> Definition {
    slow_bucket(capacity).with_max_wait_ms(max_wait_ms).expect("a bucket")
}

impl<L: Ledger> Replica<L> {
    /// Reserves tokens of `rpm` under a lease, waiting at most `wait_max_ms`.
    async fn within(&self, tokens: u64, lease: LeaseId, wait_max_ms: Option<u64>) -> ObjectReservation {
        let key = key("rpm");
        let object = self.limiter().object(&key);
        object.reserve_within(amount(tokens), lease, wait_max_ms).await.expect("the ledger answers")
    }
}

pub async fn a_reservation_waits_no_longer_than_its_caller_allows<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(slow_bucket(5)).await;
    assert!(replica.within(5, lease(), Some(0)).await.ok, "what is available needs no wait");
    assert!(!replica.within(1, lease(), Some(0)).await.ok);
    let granted = replica.within(2, lease(), Some(2 * MINUTE_MS)).await;
    assert!(granted.ok && granted.date_to_act <= granted.creation_date + 2 * MINUTE_MS, "{granted:?}");

    let id = lease();
    let denied = replica.within(1, id, Some(2 * MINUTE_MS)).await;
    assert_eq!((denied.ok, denied.tokens, denied.date_to_act), (false, 0, 0));
    assert!((2 * MINUTE_MS..=3 * MINUTE_MS).contains(&denied.wait_ms), "{denied:?}");
    assert_eq!(replica.tokens("rpm").await, -2, "nothing is taken");
    for (replica, wait_max_ms) in [(&replica, Some(2 * MINUTE_MS)), (&other, None)] {
        let again = replica.within(1, id, wait_max_ms).await;
        assert!(!again.ok && again.wait_ms > 0, "a denied lease stays denied: {again:?}");
    }
    let longer = other.within(1, lease(), Some(3 * MINUTE_MS)).await;
    assert!(longer.ok && longer.wait_ms == 0, "{longer:?}");
    let too_many = replica.within(6, lease(), Some(u64::MAX)).await;
    assert_eq!((too_many.ok, too_many.wait_ms), (false, 0), "no wait helps");
    assert_eq!(replica.usage("rpm").await, Usage { available: 0, reserved: 5, debt: 0 });
}

pub async fn a_reservation_waits_no_longer_than_the_definition_allows<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(bounded_bucket(3, 2 * MINUTE_MS)).await;
    assert!(replica.within(3, lease(), None).await.ok);
    assert!(replica.within(2, lease(), None).await.ok);
    for wait_max_ms in [None, Some(2 * MINUTE_MS), Some(u64::MAX)] {
        let denied = replica.within(1, lease(), wait_max_ms).await;
        assert!(!denied.ok && denied.wait_ms > 2 * MINUTE_MS, "{denied:?}");
    }
    assert_eq!(replica.tokens("rpm").await, -2);
    replica.release("rpm", 1, release_id()).await;
    assert!(replica.within(1, lease(), None).await.ok, "it owes less");
    backend.pass(SECOND).await;
    assert!(!replica.within(1, lease(), None).await.ok);
}

pub async fn concurrent_callers_never_owe_more_than_the_bound<B: Backend>(backend: B) {
    const CALLERS: usize = 5_000;
    const OWED_MAX: usize = 100;
    let replicas = [start(&backend).await, start(&backend).await];
    replicas[0].put(bounded_bucket(10, OWED_MAX as u64 * MINUTE_MS)).await;
    let calls = (0..CALLERS).map(|caller| replicas[caller % 2].within(1, lease(), None));
    let granted = join_all(calls).await.into_iter().filter(|reservation| reservation.ok).count();
    assert_eq!(granted, 10 + OWED_MAX);
    assert_eq!(replicas[1].tokens("rpm").await, -(OWED_MAX as i64));
}

pub async fn a_bound_is_changed_without_a_new_schedule<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(bounded_bucket(1, MINUTE_MS)).await;
    backend.pass(SECOND).await;
    assert!(other.within(1, lease(), None).await.ok);
    let last = other.state("rpm").await.last;
    assert!(other.within(1, lease(), None).await.ok);
    replica.put(bounded_bucket(1, 3 * MINUTE_MS)).await;
    other.registry().refresh().await.expect("the ledger answers");
    assert!(other.within(1, lease(), None).await.ok);
    assert!(other.within(1, lease(), None).await.ok);
    assert!(!other.within(1, lease(), None).await.ok);
    let state = other.state("rpm").await;
    assert_eq!((state.tokens, state.last), (-3, last), "the refills come when they came before");
}
