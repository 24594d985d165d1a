//! A ledger far away: each request to it takes a round trip, and is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ledger_limiter::ledger::{
    Account, AccountId, AccountQuery, Chain, ChainOutcome, LeaseQuery, Ledger, LedgerError, NewAccount,
    Recorded,
};

pub struct Distant<L> {
    inner: Arc<L>,
    round_trip: Duration,
    requests: AtomicUsize,
}

impl<L: Ledger> Distant<L> {
    pub fn new(inner: Arc<L>, round_trip: Duration) -> Arc<Self> {
        Arc::new(Self { inner, round_trip, requests: AtomicUsize::new(0) })
    }

    /// The requests so far. What is submitted at once is one request.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    async fn request<T>(&self, request: impl Future<Output = T>) -> T {
        self.requests.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.round_trip / 2).await;
        let answer = request.await;
        tokio::time::sleep(self.round_trip / 2).await;
        answer
    }
}

impl<L: Ledger> Ledger for Distant<L> {
    async fn submit(&self, chains: Vec<Chain>) -> Vec<Result<ChainOutcome, LedgerError>> {
        self.request(self.inner.submit(chains)).await
    }

    async fn submit_one(&self, chain: Chain) -> Result<ChainOutcome, LedgerError> {
        self.request(self.inner.submit_one(chain)).await
    }

    async fn create_accounts(&self, accounts: Vec<NewAccount>) -> Result<(), LedgerError> {
        self.request(self.inner.create_accounts(accounts)).await
    }

    async fn accounts(&self, ids: Vec<AccountId>) -> Result<Vec<Option<Account>>, LedgerError> {
        self.request(self.inner.accounts(ids)).await
    }

    async fn lease_transfers(&self, query: LeaseQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.request(self.inner.lease_transfers(query)).await
    }

    async fn account_transfers(&self, query: AccountQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.request(self.inner.account_transfers(query)).await
    }

    fn now_ns(&self) -> u64 {
        self.inner.now_ns()
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}
