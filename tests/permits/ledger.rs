//! The memory ledger on tokio's clock. Each call takes several polls, and the chains sent to it are recorded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledger_limiter::ledger::memory::Clock;
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::ledger::{
    Account, AccountId, AccountQuery, Chain, ChainOutcome, LeaseQuery, Ledger, LedgerError, NewAccount,
    Recorded,
};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::memory::RETENTION;

/// 2026-01-01, on the boundary of every window that divides a day.
const STARTED_UNIX_NS: u64 = 1_767_225_600_000_000_000;

/// Tokio's clock, which tests can turn back.
pub struct TokioClock {
    started: Instant,
    back_ns: AtomicU64,
}

pub struct TestLedger {
    memory: MemoryLedger<Arc<TokioClock>>,
    clock: Arc<TokioClock>,
    /// The lease of each chain, in order: the id of its first transfer without the last 16 bits, which all ids of a
    /// lease share.
    chains: Mutex<Vec<u128>>,
    is_down: Mutex<bool>,
}

impl Clock for TokioClock {
    fn now_ns(&self) -> u64 {
        let elapsed_ns = u64::try_from(self.started.elapsed().as_nanos()).expect("a short test");
        STARTED_UNIX_NS + elapsed_ns - self.back_ns.load(Ordering::SeqCst)
    }
}

impl TestLedger {
    pub fn new() -> Arc<Self> {
        let clock = Arc::new(TokioClock { started: Instant::now(), back_ns: AtomicU64::new(0) });
        let memory = MemoryLedger::new(Arc::clone(&clock), RETENTION);
        Arc::new(Self { memory, clock, chains: Mutex::default(), is_down: Mutex::default() })
    }

    /// Turns the clock back.
    pub fn turn_back(&self, by: Duration) {
        let by_ns = u64::try_from(by.as_nanos()).expect("a short span");
        self.clock.back_ns.fetch_add(by_ns, Ordering::SeqCst);
    }

    /// Makes every call fail while `is_down`.
    pub fn set_down(&self, is_down: bool) {
        *self.is_down.lock().expect("no panic") = is_down;
    }

    /// The number of chains sent.
    pub fn chains(&self) -> usize {
        self.chains.lock().expect("no panic").len()
    }

    /// The leases that were released, in order, each as its index in the order of the grants.
    pub fn released_leases(&self) -> Vec<usize> {
        let chains = self.chains.lock().expect("no panic");
        let mut seen: Vec<u128> = Vec::new();
        let mut released = Vec::new();
        for lease in chains.iter() {
            match seen.iter().position(|earlier| earlier == lease) {
                Some(index) => released.push(index),
                None => seen.push(*lease),
            }
        }
        released
    }

    /// Clears the recorded chains.
    pub fn forget_chains(&self) {
        self.chains.lock().expect("no panic").clear();
    }

    async fn answer<R>(
        &self,
        answer: impl Future<Output = Result<R, LedgerError>>,
    ) -> Result<R, LedgerError> {
        yield_now().await;
        if *self.is_down.lock().expect("no panic") {
            return Err(LedgerError::ShutDown);
        }
        let answer = answer.await;
        yield_now().await;
        answer
    }
}

impl Ledger for TestLedger {
    async fn submit(&self, chains: Vec<Chain>) -> Vec<Result<ChainOutcome, LedgerError>> {
        let mut answers = Vec::with_capacity(chains.len());
        for chain in chains {
            answers.push(self.submit_one(chain).await);
        }
        answers
    }

    async fn submit_one(&self, chain: Chain) -> Result<ChainOutcome, LedgerError> {
        let first = chain.transfers().first().expect("a chain is never empty");
        self.chains.lock().expect("no panic").push(first.id.as_u128() >> 16);
        self.answer(self.memory.submit_one(chain)).await
    }

    async fn create_accounts(&self, accounts: Vec<NewAccount>) -> Result<(), LedgerError> {
        self.answer(self.memory.create_accounts(accounts)).await
    }

    async fn accounts(&self, ids: Vec<AccountId>) -> Result<Vec<Option<Account>>, LedgerError> {
        self.answer(self.memory.accounts(ids)).await
    }

    async fn lease_transfers(&self, query: LeaseQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.answer(self.memory.lease_transfers(query)).await
    }

    async fn account_transfers(&self, query: AccountQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.answer(self.memory.account_transfers(query)).await
    }

    fn now_ns(&self) -> u64 {
        self.memory.now_ns()
    }

    async fn shutdown(&self) {}
}
