//! A replica crashes at each of its ledger calls in turn, before or after the call took effect. Another replica then finds
//! every chain whole, and finishes the operation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ledger_limiter::ledger::{Ledger, LedgerError};
use ledger_limiter::limit::{LeaseId, RenewId, Status};
use ledger_limiter::protocol::Renew;

use crate::fixtures::*;
use crate::ledger_wrapper::{CallHook, LedgerWrapper};

/// A connection that is lost at one of its calls, and at every later one.
pub type Crashing<L> = LedgerWrapper<L, LostConnection>;

/// Loses the call of one number, and every later one.
pub struct LostConnection {
    calls: AtomicUsize,
    crashes_at: usize,
    /// Whether the call at which the connection is lost still reaches the ledger.
    reaches: bool,
}

enum Fate {
    Answered,
    /// The ledger carries the call out, and its answer is lost.
    AnswerLost,
    /// The call does not reach the ledger.
    RequestLost,
}

impl<L> LedgerWrapper<L, LostConnection> {
    /// A connection that is lost at the call of this number, counted from 0, before the call reaches the ledger.
    pub fn at_call(inner: Arc<L>, crashes_at: usize) -> Self {
        Self { inner, hook: LostConnection::new(crashes_at, false) }
    }
}

impl LostConnection {
    fn new(crashes_at: usize, reaches: bool) -> Self {
        Self { calls: AtomicUsize::new(0), crashes_at, reaches }
    }

    fn fate(&self) -> Fate {
        match self.calls.fetch_add(1, Ordering::SeqCst).cmp(&self.crashes_at) {
            std::cmp::Ordering::Less => Fate::Answered,
            std::cmp::Ordering::Equal if self.reaches => Fate::AnswerLost,
            std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => Fate::RequestLost,
        }
    }
}

impl CallHook for LostConnection {
    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        match self.fate() {
            Fate::Answered => call.await,
            Fate::AnswerLost => call.await.and(Err(LedgerError::ShutDown)),
            Fate::RequestLost => Err(LedgerError::ShutDown),
        }
    }
}

/// Runs `act` on replicas that crash at their first ledger call, at their second, and so on, until one completes it. After
/// each crash, `recovered` checks what another replica finds. Rounds are numbered from 1.
pub async fn at_every_call<B: Backend>(
    backend: &B,
    prepare: impl AsyncFn(&Replica<B::Ledger>, usize),
    act: impl AsyncFn(&Replica<Crashing<B::Ledger>>, usize) -> bool,
    recovered: impl AsyncFn(&Replica<B::Ledger>, usize),
) {
    let healthy = Replica::start(backend.connect(), backend.ids(), 0).await;
    let mut round = 0;
    for reaches in [false, true] {
        for crashes_at in 0.. {
            assert!(crashes_at < 100, "an operation needs fewer than 100 ledger calls");
            round += 1;
            prepare(&healthy, round).await;
            let inner = Arc::clone(&healthy.ledger);
            let crashing = Arc::new(Crashing { inner, hook: LostConnection::new(crashes_at, reaches) });
            let completed = act(&Replica::cold(crashing, backend.ids(), 0), round).await;
            let another = Replica::start(Arc::clone(&healthy.ledger), backend.ids(), 0).await;
            recovered(&another, round).await;
            if completed {
                break;
            }
        }
    }
    assert!(round > 4, "replicas crashed before and after two calls at least: {round} rounds");
}

pub fn name_of(round: usize) -> String {
    format!("limit-{round}")
}

/// Applies decreases, then checks that the limit is active, and that its posted balance is its capacity.
pub async fn assert_balance_is_capacity<L: Ledger>(
    replica: &Replica<L>,
    key: &str,
    capacity: u64,
    reserved: u128,
) {
    replica.admin().apply_decreases().await.expect("the ledger answers");
    let info = replica.info(key).await;
    assert_eq!(info.state().status, Status::Active, "{key}");
    assert_eq!(info.state().definition.capacity.get(), capacity, "{key}");
    assert_eq!(info.available + info.reserved, u128::from(capacity), "{key}");
    assert_eq!(info.reserved, reserved, "{key}");
}

pub async fn changes_of_a_limit_are_whole_after_a_crash<B: Backend>(backend: B) {
    let slots = |round, capacity| concurrency(&name_of(round), capacity, 60);
    // Created, increased, decreased, and deleted and created again with a smaller capacity.
    at_every_call(
        &backend,
        async |_, _| {},
        async |crashing, round| crashing.admin().put(&slots(round, 100)).await.is_ok(),
        async |another, round| {
            another.put(slots(round, 100)).await;
            assert_balance_is_capacity(another, &name_of(round), 100, 0).await;
        },
    )
    .await;
    for (from, to) in [(100_u64, 150_u64), (150, 60)] {
        at_every_call(
            &backend,
            async |healthy, round| {
                healthy.put(slots(round, from)).await;
                assert_balance_is_capacity(healthy, &name_of(round), from, 0).await;
            },
            async |crashing, round| {
                crashing.admin().put(&slots(round, to)).await.is_ok()
                    && crashing.admin().apply_decreases().await.is_ok()
            },
            async |another, round| {
                another.put(slots(round, to)).await;
                assert_balance_is_capacity(another, &name_of(round), to, 0).await;
            },
        )
        .await;
    }
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(slots(round, 60)).await;
            assert_balance_is_capacity(healthy, &name_of(round), 60, 0).await;
        },
        async |crashing, round| {
            crashing.admin().delete(&key(&name_of(round))).await.is_ok()
                && crashing.admin().put(&slots(round, 40)).await.is_ok()
        },
        async |another, round| {
            another.put(slots(round, 40)).await;
            assert_balance_is_capacity(another, &name_of(round), 40, 0).await;
        },
    )
    .await;
}

pub async fn a_change_of_kind_is_whole_after_a_crash<B: Backend>(backend: B) {
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(concurrency(&name_of(round), 60, 600)).await;
            assert!(is_granted(&healthy.take(&[(&name_of(round), 10)]).await));
        },
        async |dying, round| {
            dying.admin().delete(&key(&name_of(round))).await.is_ok()
                && dying.admin().put(&rolling(&name_of(round), 40, 60)).await.is_ok()
        },
        async |another, round| {
            // What was not deleted yet is deleted now.
            if another.admin().put(&rolling(&name_of(round), 40, 60)).await.is_err() {
                another.admin().delete(&key(&name_of(round))).await.expect("it is there");
                another.put(rolling(&name_of(round), 40, 60)).await;
            }
            assert_balance_is_capacity(another, &name_of(round), 40, 10).await;
        },
    )
    .await;
}

pub async fn a_first_reserve_is_whole_after_a_crash<B: Backend>(backend: B) {
    let leases: Vec<LeaseId> = (0..100).map(|_| lease()).collect();
    let instance = |round| format!("{}:{}", name_of(round), name_of(round));
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(concurrency("slots", 1_000, 600)).await;
            let of_round = format!("{}:{{name}}", name_of(round));
            healthy.put(template(rolling(&of_round, 10, 600), 1)).await;
        },
        async |dying, round| {
            let wanted = reserve(leases[round], &[(&instance(round), 4), ("slots", 1)]);
            dying.limiter().reserve(&wanted).await.is_ok()
        },
        async |another, round| {
            let wants = [(instance(round), 4), ("slots".to_owned(), 1)];
            let wants = wants.each_ref().map(|(key, amount)| (key.as_str(), *amount));
            assert!(is_granted(&another.reserve(leases[round], &wants).await));
            assert_eq!(another.usage(&instance(round)).await, Usage { available: 6, reserved: 4, debt: 0 });
            assert_eq!(
                another.usage(&format!("{}:{{name}}", name_of(round))).await,
                Usage { available: 0, reserved: 1, debt: 0 },
                "counted once"
            );
            assert_eq!(another.usage("slots").await.reserved, round as u128);
        },
    )
    .await;
}

pub async fn a_complete_is_whole_after_a_crash<B: Backend>(backend: B) {
    let leases: Vec<LeaseId> = (0..100).map(|_| lease()).collect();
    at_every_call(
        &backend,
        async |healthy, round| {
            let rate = name_of(round);
            healthy.put(rolling(&rate, 100, 60)).await;
            healthy.put(rolling("daily", 10_000, 60)).await;
            healthy.put(concurrency("slots", 1_000, 60)).await;
            let wants = [(rate.as_str(), 60), ("daily", 50), ("slots", 1)];
            assert!(is_granted(&healthy.reserve(leases[round], &wants).await));
        },
        async |crashing, round| {
            let used = complete(leases[round], &[(&name_of(round), 130), ("daily", 20)]);
            crashing.limiter().complete(&used).await.is_ok()
        },
        async |another, round| {
            another.complete(leases[round], &[(&name_of(round), 130), ("daily", 20)]).await;
            assert_eq!(
                another.usage(&name_of(round)).await,
                Usage { available: 0, reserved: 100, debt: 30 },
                "the overage became debt once"
            );
            let round = round as u128;
            assert_eq!(
                another.usage("daily").await,
                Usage { available: 10_000 - 20 * round, reserved: 20 * round, debt: 0 }
            );
            assert_eq!(
                another.usage("slots").await,
                Usage { available: 1_000, reserved: 0, debt: 0 },
                "the slot was released once"
            );
        },
    )
    .await;
}

pub async fn a_complete_on_a_closed_limit_is_whole_after_a_crash<B: Backend>(backend: B) {
    let leases: Vec<LeaseId> = (0..100).map(|_| lease()).collect();
    at_every_call(
        &backend,
        async |healthy, round| {
            let rate = name_of(round);
            healthy.put(rolling(&rate, 100, 60)).await;
            assert!(is_granted(&healthy.reserve(leases[round], &[(&rate, 80)]).await));
            healthy.put(rolling(&rate, 50, 60)).await;
        },
        async |crashing, round| {
            crashing.limiter().complete(&complete(leases[round], &[(&name_of(round), 30)])).await.is_ok()
        },
        async |another, round| {
            another.complete(leases[round], &[(&name_of(round), 30)]).await;
            assert_balance_is_capacity(another, &name_of(round), 50, 30).await;
        },
    )
    .await;
}

pub async fn an_extend_is_whole_after_a_crash<B: Backend>(backend: B) {
    let leases: Vec<(LeaseId, ExtendId)> = (0..100).map(|_| (lease(), extend_id())).collect();
    let command = |round: usize| extend(leases[round].0, leases[round].1, &name_of(round), 30);
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(rolling(&name_of(round), 100, 60)).await;
            healthy.put(concurrency("slots", 1_000, 60)).await;
            let wants = [(name_of(round), 60), ("slots".to_owned(), 1)];
            let wants: Vec<(&str, u64)> = wants.iter().map(|(key, amount)| (key.as_str(), *amount)).collect();
            assert!(is_granted(&healthy.reserve(leases[round].0, &wants).await));
        },
        async |crashing, round| crashing.limiter().extend(&command(round)).await.is_ok(),
        async |another, round| {
            let again = another.limiter().extend(&command(round)).await.expect("the ledger answers");
            assert!(is_granted(&again.answered().expect("an answer")));
            assert_eq!(
                another.usage(&name_of(round)).await,
                Usage { available: 10, reserved: 90, debt: 0 },
                "the extension is reserved once"
            );
            another.complete(leases[round].0, &[(&name_of(round), 70)]).await;
            assert_eq!(another.usage(&name_of(round)).await, Usage { available: 30, reserved: 70, debt: 0 });
            assert_eq!(another.usage("slots").await, Usage { available: 1_000, reserved: 0, debt: 0 });
        },
    )
    .await;
}

/// Crashes at every call of a renewal of two of five slots, on a limit that may be decreasing.
async fn renewals_are_whole_after_a_crash<B: Backend>(backend: &B, is_closed: bool) {
    let leases: Vec<Renew> =
        (0..100).map(|_| Renew { lease: lease(), renew_id: RenewId::generate() }).collect();
    at_every_call(
        backend,
        async |healthy, round| {
            let slots = name_of(round);
            healthy.put(concurrency(&slots, 5, 60)).await;
            assert!(is_granted(&healthy.reserve(leases[round].lease, &[(&slots, 2)]).await));
            if is_closed {
                healthy.put(concurrency(&slots, 1, 60)).await;
            }
        },
        async |crashing, round| crashing.limiter().renew(&leases[round]).await.is_ok(),
        async |another, round| {
            let slots = name_of(round);
            assert_eq!(another.usage(&slots).await, Usage { available: 3, reserved: 2, debt: 0 });
            let again = another.limiter().renew(&leases[round]).await.expect("the ledger answers");
            assert!(is_granted(&again.answered().expect("an answer")));
            assert_eq!(another.usage(&slots).await, Usage { available: 3, reserved: 2, debt: 0 });
            another.complete(leases[round].lease, &[]).await;
            assert_balance_is_capacity(another, &slots, if is_closed { 1 } else { 5 }, 0).await;
        },
    )
    .await;
}

pub async fn a_renewal_is_whole_after_a_crash<B: Backend>(backend: B) {
    renewals_are_whole_after_a_crash(&backend, false).await;
}

pub async fn a_renewal_on_a_closed_limit_is_whole_after_a_crash<B: Backend>(backend: B) {
    renewals_are_whole_after_a_crash(&backend, true).await;
}
