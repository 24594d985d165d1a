//! A replica dies between every two calls of the ledger, before or after the call has been carried out; another one
//! then finds everything whole and finishes what was begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ledger_limiter::ledger::{
    Account, AccountId, AccountQuery, Chain, ChainOutcome, LeaseQuery, Ledger, LedgerError, NewAccount,
    Recorded,
};
use ledger_limiter::limit::{LeaseId, Status};

use crate::fixtures::*;

/// A connection that is lost at one of its calls, and stays so.
pub struct Dying<L> {
    inner: Arc<L>,
    calls: AtomicUsize,
    dies_at: usize,
    /// Whether the call at which it dies still reaches the ledger.
    reaches: bool,
}

enum Fate {
    Lives,
    /// The ledger does it, and nobody hears of it.
    Reaches,
    Dies,
}

impl<L: Ledger> Dying<L> {
    fn fate(&self) -> Fate {
        match self.calls.fetch_add(1, Ordering::SeqCst).cmp(&self.dies_at) {
            std::cmp::Ordering::Less => Fate::Lives,
            std::cmp::Ordering::Equal if self.reaches => Fate::Reaches,
            std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => Fate::Dies,
        }
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        match self.fate() {
            Fate::Lives => call.await,
            Fate::Reaches => call.await.and(Err(LedgerError::ShutDown)),
            Fate::Dies => Err(LedgerError::ShutDown),
        }
    }
}

impl<L: Ledger> Ledger for Dying<L> {
    async fn submit(&self, chains: Vec<Chain>) -> Vec<Result<ChainOutcome, LedgerError>> {
        let count = chains.len();
        let call = async { Ok(self.inner.submit(chains).await) };
        self.call(call).await.unwrap_or_else(|error| vec![Err(error); count])
    }

    async fn create_accounts(&self, accounts: Vec<NewAccount>) -> Result<(), LedgerError> {
        self.call(self.inner.create_accounts(accounts)).await
    }

    async fn accounts(&self, ids: Vec<AccountId>) -> Result<Vec<Option<Account>>, LedgerError> {
        self.call(self.inner.accounts(ids)).await
    }

    async fn lease_transfers(&self, query: LeaseQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.call(self.inner.lease_transfers(query)).await
    }

    async fn account_transfers(&self, query: AccountQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.call(self.inner.account_transfers(query)).await
    }

    fn now_ns(&self) -> u64 {
        self.inner.now_ns()
    }

    async fn shutdown(&self) {}
}

/// Runs `act` on replicas that die at their first call, their second, and so on, until one lives through it; after each,
/// `recovered` looks at what another replica finds.
pub async fn at_every_call<B: Backend>(
    backend: &B,
    prepare: impl AsyncFn(&Replica<B::Ledger>, usize),
    act: impl AsyncFn(&Replica<Dying<B::Ledger>>, usize) -> bool,
    recovered: impl AsyncFn(&Replica<B::Ledger>, usize),
) {
    let healthy = Replica::start(backend.connect(), backend.ids(), 0).await;
    let mut round = 0;
    for reaches in [false, true] {
        for dies_at in 0.. {
            assert!(dies_at < 100, "it ends");
            round += 1;
            prepare(&healthy, round).await;
            let inner = Arc::clone(&healthy.ledger);
            let dying = Arc::new(Dying { inner, calls: AtomicUsize::new(0), dies_at, reaches });
            let survived = act(&Replica::cold(dying, backend.ids(), 0), round).await;
            let another = Replica::start(Arc::clone(&healthy.ledger), backend.ids(), 0).await;
            recovered(&another, round).await;
            if survived {
                break;
            }
        }
    }
    assert!(round > 4, "it died at least before and after two calls: {round}");
}

pub fn name(round: usize) -> String {
    format!("limit-{round}")
}

/// The posted balance is the capacity, whatever happened.
pub async fn is_exact<L: Ledger>(replica: &Replica<L>, key: &str, capacity: u64, reserved: u128) {
    replica.admin().apply_decreases().await.expect("the ledger answers");
    let info = replica.info(key).await;
    assert_eq!(info.state().status, Status::Active, "{key}");
    assert_eq!(info.state().definition.capacity.get(), capacity, "{key}");
    assert_eq!((info.available + info.reserved, info.reserved), (capacity.into(), reserved), "{key}");
}

pub async fn changes_of_a_limit_are_whole<B: Backend>(backend: B) {
    let slots = |round, capacity| concurrency(&name(round), capacity, 60);
    // From nothing, up, down, deleted and made anew, smaller.
    at_every_call(
        &backend,
        async |_, _| {},
        async |dying, round| dying.admin().put(&slots(round, 100)).await.is_ok(),
        async |another, round| {
            another.put(slots(round, 100)).await;
            is_exact(another, &name(round), 100, 0).await;
        },
    )
    .await;
    for (from, to) in [(100_u64, 150_u64), (150, 60)] {
        at_every_call(
            &backend,
            async |healthy, round| {
                healthy.put(slots(round, from)).await;
                is_exact(healthy, &name(round), from, 0).await;
            },
            async |dying, round| {
                dying.admin().put(&slots(round, to)).await.is_ok()
                    && dying.admin().apply_decreases().await.is_ok()
            },
            async |another, round| {
                another.put(slots(round, to)).await;
                is_exact(another, &name(round), to, 0).await;
            },
        )
        .await;
    }
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(slots(round, 60)).await;
            is_exact(healthy, &name(round), 60, 0).await;
        },
        async |dying, round| {
            dying.admin().delete(&key(&name(round))).await.is_ok()
                && dying.admin().put(&slots(round, 40)).await.is_ok()
        },
        async |another, round| {
            another.put(slots(round, 40)).await;
            is_exact(another, &name(round), 40, 0).await;
        },
    )
    .await;
}

pub async fn a_change_of_kind_is_whole<B: Backend>(backend: B) {
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(concurrency(&name(round), 60, 600)).await;
            assert!(is_granted(&healthy.take(&[(&name(round), 10)]).await));
        },
        async |dying, round| {
            dying.admin().delete(&key(&name(round))).await.is_ok()
                && dying.admin().put(&rolling(&name(round), 40, 60)).await.is_ok()
        },
        async |another, round| {
            // What was not deleted yet is deleted now.
            if another.admin().put(&rolling(&name(round), 40, 60)).await.is_err() {
                another.admin().delete(&key(&name(round))).await.expect("it is there");
                another.put(rolling(&name(round), 40, 60)).await;
            }
            is_exact(another, &name(round), 40, 10).await;
        },
    )
    .await;
}

pub async fn a_first_reserve_is_whole<B: Backend>(backend: B) {
    let leases: Vec<LeaseId> = (0..100).map(|_| lease()).collect();
    let instance = |round| format!("{}:{}", name(round), name(round));
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(concurrency("slots", 1_000, 600)).await;
            let of_round = format!("{}:{{name}}", name(round));
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
            assert_eq!(another.usage(&instance(round)).await, (6, 4, 0));
            assert_eq!(another.usage(&format!("{}:{{name}}", name(round))).await, (0, 1, 0), "counted once");
            assert_eq!(another.usage("slots").await.1, round as u128);
        },
    )
    .await;
}

pub async fn a_complete_is_whole<B: Backend>(backend: B) {
    let leases: Vec<LeaseId> = (0..100).map(|_| lease()).collect();
    at_every_call(
        &backend,
        async |healthy, round| {
            let rate = name(round);
            healthy.put(rolling(&rate, 100, 60)).await;
            healthy.put(rolling("deep", 10_000, 60)).await;
            healthy.put(concurrency("slots", 1_000, 60)).await;
            let wants = [(rate.as_str(), 60), ("deep", 50), ("slots", 1)];
            assert!(is_granted(&healthy.reserve(leases[round], &wants).await));
        },
        async |dying, round| {
            let used = complete(leases[round], &[(&name(round), 130), ("deep", 20)]);
            dying.limiter().complete(&used).await.is_ok()
        },
        async |another, round| {
            another.complete(leases[round], &[(&name(round), 130), ("deep", 20)]).await;
            assert_eq!(another.usage(&name(round)).await, (40, 60, 70), "what did not fit is debt, once");
            let round = round as u128;
            assert_eq!(another.usage("deep").await, (10_000 - 20 * round, 20 * round, 0));
            assert_eq!(another.usage("slots").await, (1_000, 0, 0), "the slot came back, once");
        },
    )
    .await;
}

pub async fn a_complete_on_a_closed_limit_is_whole<B: Backend>(backend: B) {
    let leases: Vec<LeaseId> = (0..100).map(|_| lease()).collect();
    at_every_call(
        &backend,
        async |healthy, round| {
            let rate = name(round);
            healthy.put(rolling(&rate, 100, 60)).await;
            assert!(is_granted(&healthy.reserve(leases[round], &[(&rate, 80)]).await));
            healthy.put(rolling(&rate, 50, 60)).await;
        },
        async |dying, round| {
            dying.limiter().complete(&complete(leases[round], &[(&name(round), 30)])).await.is_ok()
        },
        async |another, round| {
            another.complete(leases[round], &[(&name(round), 30)]).await;
            is_exact(another, &name(round), 50, 30).await;
        },
    )
    .await;
}

pub async fn a_top_up_is_whole<B: Backend>(backend: B) {
    let leases: Vec<(LeaseId, ExtendId)> = (0..100).map(|_| (lease(), extend_id())).collect();
    let command = |round: usize| extend(leases[round].0, leases[round].1, &name(round), 30);
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(rolling(&name(round), 100, 60)).await;
            healthy.put(concurrency("slots", 1_000, 60)).await;
            let wants = [(name(round), 60), ("slots".to_owned(), 1)];
            let wants: Vec<(&str, u64)> = wants.iter().map(|(key, amount)| (key.as_str(), *amount)).collect();
            assert!(is_granted(&healthy.reserve(leases[round].0, &wants).await));
        },
        async |dying, round| dying.limiter().extend(&command(round)).await.is_ok(),
        async |another, round| {
            let again = another.limiter().extend(&command(round)).await.expect("the ledger answers");
            assert!(is_granted(&again.answered().expect("an answer")));
            assert_eq!(another.usage(&name(round)).await, (10, 90, 0), "it is counted once");
            another.complete(leases[round].0, &[(&name(round), 70)]).await;
            assert_eq!(another.usage(&name(round)).await, (30, 70, 0));
            assert_eq!(another.usage("slots").await, (1_000, 0, 0));
        },
    )
    .await;
}
