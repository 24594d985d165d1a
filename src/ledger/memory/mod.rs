//! A double-entry ledger in memory, with TigerBeetle's outcomes in TigerBeetle's order of checks.
//!
//! It has pending transfers with timeouts, linked chains, balancing transfers and closed accounts. It is the
//! embedded default, and the reference that tests compare TigerBeetle with. It takes definitions only in the
//! form in which this program writes them.
//!
//! | file | what it does |
//! | --- | --- |
//! | `state` | the tables together; lets time pass |
//! | `apply` | applies a chain, or rolls it back |
//! | `movement` | checks and carries out the movement of one transfer |
//! | `existing_id` | refuses a transfer whose id exists |
//! | `query` | reads transfers back |
//! | `raw` | reads everything, for an audit |
//! | `conservation` | checks the laws of the ledger in debug builds |
//! | `accounts`, `transfers`, `definition_log` | the tables |
//! | `bounds` | how much is kept |
//! | `expiries`, `retention` | the queues: pending transfers that expire, finished leases to be removed |
//! | `stored_transfer`, `slots`, `chunked_slab`, `hash_index` | what the tables are made of |

mod accounts;
mod apply;
mod bounds;
mod chunked_slab;
mod clock;
mod conservation;
mod definition_log;
mod existing_id;
mod expiries;
mod hash_index;
mod movement;
mod query;
mod raw;
mod retention;
mod slots;
mod state;
mod stored_transfer;
mod transfers;

use std::future::{Future, ready};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use bounds::MemoryBounds;
pub use clock::{Clock, ManualClock, SystemClock};
use state::LedgerState;

use super::{
    Account, AccountId, AccountQuery, Chain, ChainOutcome, LeaseQuery, Ledger, LedgerError, NewAccount,
    PendingDebit, PendingQuery, Recorded,
};

/// The pause of the upkeep while there is more to remove. A call that comes meanwhile waits for some
/// [`state::REMOVALS_MAX`] removals, which take a few hundred microseconds.
const UPKEEP_BUSY_PAUSE: Duration = Duration::from_millis(5);
/// The pause of the upkeep otherwise.
const UPKEEP_PAUSE: Duration = Duration::from_millis(500);

/// A ledger in memory. Dropping it loses everything.
pub struct MemoryLedger<C> {
    clock: C,
    state: Mutex<LedgerState>,
}

impl<C: Clock> MemoryLedger<C> {
    /// Creates an empty ledger, which removes a lease `retention` after the lease finished.
    pub fn new(clock: C, retention: Duration) -> Self {
        Self::with_bounds(clock, MemoryBounds::default().with_retention(retention))
    }

    /// Creates an empty ledger, which keeps within `bounds`.
    pub fn with_bounds(clock: C, bounds: MemoryBounds) -> Self {
        Self { clock, state: Mutex::new(LedgerState::new(bounds)) }
    }

    /// The number of leases, live and finished, that were not removed yet.
    pub fn leases(&self) -> usize {
        self.state_now().lease_count()
    }

    /// The number of transfers that were not removed yet, ids that failed included. Definitions, closings and announcements
    /// stay forever, all others as long as leases.
    pub fn transfers(&self) -> usize {
        self.state_now().transfer_count()
    }

    /// The state as of the last call that advanced time.
    fn state(&self) -> MutexGuard<'_, LedgerState> {
        // Every method leaves the state whole, so a panic between two of them did not damage it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state as of now.
    fn state_now(&self) -> MutexGuard<'_, LedgerState> {
        let mut state = self.state();
        state.advance_to(self.clock.now_ns());
        state
    }
}

impl<C: Clock> Ledger for MemoryLedger<C> {
    async fn submit(&self, chains: Vec<Chain>) -> Vec<Result<ChainOutcome, LedgerError>> {
        let mut state = self.state_now();
        chains.iter().map(|chain| state.submit(chain)).collect()
    }

    async fn create_accounts(&self, accounts: Vec<NewAccount>) -> Result<(), LedgerError> {
        let mut state = self.state_now();
        accounts.iter().try_for_each(|account| state.create_account(account))
    }

    async fn accounts(&self, ids: Vec<AccountId>) -> Result<Vec<Option<Account>>, LedgerError> {
        let state = self.state_now();
        Ok(ids.into_iter().map(|id| state.account(id)).collect())
    }

    // These two do their work in the call and return a future that is ready. As `async` functions they copied
    // their arguments, and a hot reserve took 3 % longer (`scripts/bench --only pairs`).
    fn submit_one(&self, chain: Chain) -> impl Future<Output = Result<ChainOutcome, LedgerError>> + Send {
        ready(self.state_now().submit(&chain))
    }

    fn lease_transfers(
        &self,
        query: LeaseQuery,
    ) -> impl Future<Output = Result<Vec<Recorded>, LedgerError>> + Send {
        // The transfers of a lease do not depend on the time.
        ready(Ok(self.state().lease_transfers(query.lease.as_u128(), query.first.family())))
    }

    async fn account_transfers(&self, query: AccountQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.state_now().account_transfers(&query)
    }

    async fn pending_debits(&self, query: PendingQuery) -> Result<Option<Vec<PendingDebit>>, LedgerError> {
        Ok(self.state_now().pending_debits(query))
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// Removes leases whose retention is over, also while no call does it.
    async fn run_upkeep(&self) {
        loop {
            let pause = if self.state_now().remove_retained() { UPKEEP_BUSY_PAUSE } else { UPKEEP_PAUSE };
            tokio::time::sleep(pause).await;
        }
    }

    async fn shutdown(&self) {}
}
