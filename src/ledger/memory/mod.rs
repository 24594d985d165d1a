//! A small double-entry ledger in memory: pending transfers with timeouts, linked chains, closing, and TigerBeetle's
//! outcomes, in TigerBeetle's order of checks. It is the embedded default, and the reference that the real one is
//! tested against. Definitions it takes as this program writes them, and in no other form.

mod accounts;
mod books;
mod clock;
mod compare;
mod expiries;
mod index;
mod link;
mod log;
mod made;
mod transfers;

use std::future::{Future, ready};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use books::Books;
pub use clock::{Clock, ManualClock, SystemClock};

use super::{
    Account, AccountId, AccountQuery, Chain, ChainOutcome, LeaseQuery, Ledger, LedgerError, NewAccount,
    Recorded,
};
use crate::time::saturating_nanos;

/// The ledger. Its state is gone with it.
pub struct MemoryLedger<C> {
    clock: C,
    books: Mutex<Books>,
}

impl<C: Clock> MemoryLedger<C> {
    /// An empty ledger, which forgets a lease `retention` after it is over.
    pub fn new(clock: C, retention: Duration) -> Self {
        Self { clock, books: Mutex::new(Books::new(saturating_nanos(retention))) }
    }

    /// How many leases it remembers, live and over.
    pub fn leases(&self) -> usize {
        self.books_now().leases()
    }

    /// How many transfers it remembers: the log, those of leases, and those that brought something back, gave capacity or
    /// took it, for as long as if they were leases.
    pub fn transfers(&self) -> usize {
        self.books_now().transfers()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // The books are whole between two calls of their methods; a panic elsewhere does not change that.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The books, with everything done that the time has brought.
    fn books_now(&self) -> MutexGuard<'_, Books> {
        let mut books = self.books();
        books.advance_to(self.clock.now_ns());
        books
    }
}

impl<C: Clock> Ledger for MemoryLedger<C> {
    async fn submit(&self, chains: Vec<Chain>) -> Vec<Result<ChainOutcome, LedgerError>> {
        let mut books = self.books_now();
        chains.iter().map(|chain| Ok(books.apply(chain))).collect()
    }

    async fn create_accounts(&self, accounts: Vec<NewAccount>) -> Result<(), LedgerError> {
        let mut books = self.books_now();
        accounts.iter().try_for_each(|account| books.open(account))
    }

    async fn accounts(&self, ids: Vec<AccountId>) -> Result<Vec<Option<Account>>, LedgerError> {
        let books = self.books_now();
        Ok(ids.into_iter().map(|id| books.account(id)).collect())
    }

    // This and the look-up of a lease are not `async`: nothing waits, and what they take and answer is not moved about.
    fn submit_one(&self, chain: Chain) -> impl Future<Output = Result<ChainOutcome, LedgerError>> + Send {
        ready(Ok(self.books_now().apply(&chain)))
    }

    fn lease_transfers(
        &self,
        query: LeaseQuery,
    ) -> impl Future<Output = Result<Vec<Recorded>, LedgerError>> + Send {
        // What was made does not depend on the time.
        ready(Ok(self.books().lease_transfers(query.lease.as_u128(), query.first.family())))
    }

    async fn account_transfers(&self, query: AccountQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.books_now().account_transfers(&query)
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    async fn shutdown(&self) {}
}
