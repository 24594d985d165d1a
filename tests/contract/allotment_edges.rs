//! Leases in allotments whose calls meet each other, repeat themselves late, or carry ids ahead of the clock.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::poll;
use ledger_limiter::ledger::LedgerError;
use ledger_limiter::limit::{LeaseId, RenewId};
use ledger_limiter::protocol::{EXTENDS_MAX, RenewOutcome, ReserveOutcome};
use tokio::sync::Notify;
use ulid::Ulid;

use super::allotments::{PERIOD, delegated, held, settled, start};
use crate::fixtures::*;
use crate::ledger_wrapper::{CallHook, LedgerWrapper};

/// Holds every call back while it is closed. Then it loses those that it held, or lets them through.
#[derive(Default)]
pub struct Barrier {
    is_closed: AtomicBool,
    loses: AtomicBool,
    opened: Notify,
}

impl Barrier {
    fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    fn open(&self) {
        self.is_closed.store(false, Ordering::SeqCst);
        self.opened.notify_waiters();
    }

    /// Loses what it holds back, and opens.
    fn lose(&self) {
        self.loses.store(true, Ordering::SeqCst);
        self.open();
    }
}

impl CallHook for Barrier {
    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        let opened = self.opened.notified();
        if self.is_closed.load(Ordering::SeqCst) {
            opened.await;
            if self.loses.load(Ordering::SeqCst) {
                return Err(LedgerError::ShutDown);
            }
        }
        call.await
    }
}

/// A replica whose calls can be held back.
async fn start_behind_barrier<B: Backend>(backend: &B) -> Replica<LedgerWrapper<B::Ledger, Barrier>> {
    let ledger = Arc::new(LedgerWrapper { inner: backend.connect(), hook: Barrier::default() });
    Replica::start(ledger, backend.ids(), 0).await
}

/// A lease id of a caller whose clock is ahead.
fn lease_ahead(ahead: Duration) -> LeaseId {
    let ulid = Ulid::from_datetime(SystemTime::now() + ahead);
    LeaseId::from_ulid(ulid).expect("not zero")
}

fn is_renewed(outcome: &RenewOutcome) -> bool {
    matches!(outcome, RenewOutcome::Answered(ReserveOutcome::Granted { .. }))
}

pub async fn slots_in_allotments_are_renewed_when_the_other_limits_have_expired<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("short", 10, 1)).await;
    replica.put(delegated(concurrency("slots", 100, 3_600))).await;
    replica.warm("slots").await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &[("short", 1), ("slots", 1)]).await));
    backend.pass(Duration::from_secs(2)).await;
    let renewed = replica.renew(id, RenewId::generate()).await;
    assert!(is_renewed(&renewed), "{renewed:?}");
    replica.complete(id, &[]).await;
    replica.pass_periods(2).await;
    assert_eq!(replica.usage("slots").await, held(100, 0));
}

pub async fn no_slots_in_allotments_are_renewed_of_a_lease_settled_elsewhere<B: Backend>(backend: B) {
    let (replica, another) = (start(&backend).await, start(&backend).await);
    replica.put(rolling("daily", 10, 3_600)).await;
    replica.put(delegated(concurrency("slots", 100, 3_600))).await;
    replica.warm("slots").await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &[("daily", 1), ("slots", 1)]).await));
    assert_eq!(another.complete(id, &[("daily", 1)]).await, settled());
    let refused = replica.renew(id, RenewId::generate()).await;
    assert_eq!(refused, RenewOutcome::Answered(ReserveOutcome::LeaseSettled));
}

pub async fn an_id_ahead_of_the_clock_is_not_served_when_its_limit_is_delegated<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("rpm", 100, 3_600)).await;
    let id = lease_ahead(Duration::from_secs(2));
    assert!(is_granted(&replica.reserve(id, &[("rpm", 1)]).await));
    replica.put(delegated(rolling("rpm", 100, 3_600))).await;
    replica.warm("rpm").await;
    let served = replica.served();
    assert!(is_granted(&replica.reserve(id, &[("rpm", 1)]).await));
    assert_eq!(replica.served(), served, "the ledger granted it");
    replica.pass_periods(3).await;
    assert_eq!(replica.usage("rpm").await, held(99, 1));
}

pub async fn an_id_far_ahead_of_the_clock_is_not_served_when_its_time_comes<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 100, 3_600))).await;
    replica.warm("rpm").await;
    let id = lease_ahead(Duration::from_millis(60_500));
    let served = replica.served();
    assert!(is_granted(&replica.reserve(id, &[("rpm", 1)]).await));
    assert_eq!(replica.served(), served, "it is more than a minute ahead");
    tokio::time::sleep(Duration::from_millis(700)).await;
    replica.warm("rpm").await;
    let served = replica.served();
    assert!(is_granted(&replica.reserve(id, &[("rpm", 1)]).await));
    assert_eq!(replica.served(), served, "the ledger granted it");
    replica.pass_periods(3).await;
    assert_eq!(replica.usage("rpm").await, held(99, 1));
}

pub async fn denied_extends_do_not_count<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("tpm", 1_000, 3_600))).await;
    replica.warm("tpm").await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &[("tpm", 1)]).await));
    let denied = extend_id();
    for extend_id in std::iter::repeat_with(extend_id).take(EXTENDS_MAX).chain([denied]) {
        let answer = replica.extend(id, extend_id, "tpm", 5_000).await;
        assert_eq!(answer, ReserveOutcome::ExceedsCapacity { key: key("tpm") });
    }
    assert!(is_granted(&replica.extend(id, extend_id(), "tpm", 1).await));
    let again = replica.extend(id, denied, "tpm", 5_000).await;
    assert_eq!(again, ReserveOutcome::ExceedsCapacity { key: key("tpm") }, "it stays denied");
    assert_eq!(replica.complete(id, &[("tpm", 2)]).await, settled());
}

pub async fn a_forced_reserve_beside_a_plain_one_that_is_given_up_is_forced<B: Backend>(backend: B) {
    let replica = start_behind_barrier(&backend).await;
    replica.put(delegated(rolling("rpm", 4, 3_600))).await;
    for _ in 0..4 {
        assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    }
    // The demand of the calls above is forgotten, and a take is worth trying again at the fourth call.
    tokio::time::sleep(2 * PERIOD).await;
    for _ in 0..3 {
        assert_eq!(no_room(&replica.take(&[("rpm", 1)]).await), Some("rpm"));
    }
    let command = reserve(lease(), &[("rpm", 1)]);
    replica.ledger.hook.close();
    let mut plain = Box::pin(replica.limiter().reserve(&command));
    assert!(poll!(&mut plain).is_pending(), "it waits for a take");
    let mut forced = pin!(replica.limiter().force(&command));
    assert!(poll!(&mut forced).is_pending(), "it waits for the plain reserve");
    drop(plain);
    replica.ledger.hook.open();
    let forced = forced.await.expect("the ledger answers");
    assert!(is_granted(&forced), "{forced:?}");
    assert_eq!(replica.usage("rpm").await, Usage { available: 0, reserved: 4, debt: 1 });
}

pub async fn an_extend_waits_for_a_complete_that_fails<B: Backend>(backend: B) {
    let replica = start_behind_barrier(&backend).await;
    replica.put(rolling("daily", 10, 3_600)).await;
    replica.put(delegated(rolling("tpm", 1_000, 3_600))).await;
    replica.warm("tpm").await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &[("daily", 1), ("tpm", 1)]).await));
    replica.ledger.hook.close();
    let (complete, extend) = (complete(id, &[("tpm", 2)]), extend_id());
    let mut completed = pin!(replica.limiter().complete(&complete));
    assert!(poll!(&mut completed).is_pending());
    let mut extended = pin!(replica.extend(id, extend, "tpm", 1));
    assert!(poll!(&mut extended).is_pending(), "the complete decides whether the lease is running");
    replica.ledger.hook.lose();
    assert!(completed.await.is_err());
    let extended = extended.await;
    assert!(is_granted(&extended), "{extended:?}");
    assert_eq!(replica.complete(id, &[("tpm", 2)]).await, settled());
    assert_eq!(replica.extend(id, extend_id(), "tpm", 1).await, ReserveOutcome::LeaseSettled);
}

pub async fn a_renewal_waits_for_a_complete_that_fails<B: Backend>(backend: B) {
    let replica = start_behind_barrier(&backend).await;
    replica.put(rolling("daily", 10, 3_600)).await;
    replica.put(delegated(concurrency("slots", 100, 3_600))).await;
    replica.warm("slots").await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &[("daily", 1), ("slots", 1)]).await));
    replica.ledger.hook.close();
    let complete = complete(id, &[]);
    let mut completed = pin!(replica.limiter().complete(&complete));
    assert!(poll!(&mut completed).is_pending());
    let mut renewed = pin!(replica.renew(id, RenewId::generate()));
    assert!(poll!(&mut renewed).is_pending(), "the complete decides whether the lease is running");
    replica.ledger.hook.lose();
    assert!(completed.await.is_err());
    let renewed = renewed.await;
    assert!(is_renewed(&renewed), "{renewed:?}");
}

pub async fn the_next_allotment_is_taken_before_the_present_one_ends<B: Backend>(backend: B) {
    let replica = start_behind_barrier(&backend).await;
    replica.put(delegated(rolling("rpm", 1_000, 3_600))).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        assert!(std::time::Instant::now() < deadline, "the first caller of each period waits for the ledger");
        replica.warm("rpm").await;
        // The present allotment has half of its period at most.
        tokio::time::sleep(PERIOD * 6 / 10).await;
        replica.tend().await;
        replica.ledger.hook.close();
        tokio::time::sleep(PERIOD / 2).await;
        let command = reserve(lease(), &[("rpm", 1)]);
        let mut reserved = Box::pin(replica.limiter().reserve(&command));
        let is_served = poll!(&mut reserved).is_ready();
        replica.ledger.hook.open();
        // A busy machine may have slept longer than the period.
        if is_served {
            return;
        }
        drop(reserved);
    }
}

pub async fn ids_of_a_clock_that_is_behind_are_served<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 1_000, 3_600))).await;
    // The process must not be younger than the ids.
    let behind = Duration::from_millis(300);
    tokio::time::sleep(behind).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while replica.served() == 0 {
        assert!(std::time::Instant::now() < deadline, "no id is newer than the pool of its limit");
        let ulid = Ulid::from_datetime(SystemTime::now() - behind);
        let id = LeaseId::from_ulid(ulid).expect("not zero");
        assert!(is_granted(&replica.reserve(id, &[("rpm", 1)]).await));
        replica.tend().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
