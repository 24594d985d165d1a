//! The ledger: accounts, transfers, linked chains, and their outcomes.
//!
//! The limiter is written once, over the [`Ledger`] trait. [`memory`] serves tests and the embedded mode;
//! `tigerbeetle` keeps its data on a TigerBeetle cluster. All types here are this project's own: no type of the
//! TigerBeetle client leaves its module.

mod account;
pub mod memory;
mod outcome;
pub mod raw;
#[cfg(feature = "tigerbeetle")]
pub mod tigerbeetle;
mod transfer;

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use account::{Account, AccountCode, AccountId, AccountRule, NewAccount};
pub use outcome::{ChainOutcome, Field, Refusal};
pub(crate) use transfer::TransferFamily;
pub use transfer::{Bound, Chain, Movement, Recorded, Transfer, TransferCode, TransferId, UserData};

use crate::limit::LeaseId;

/// The most transfers of one lease that a look-up reads. Extends and renewals keep within it.
pub(crate) const LEASE_TRANSFERS_MAX: usize = 128;

/// A double-entry ledger with pending transfers, timeouts, linked chains and closing.
///
/// *Cancellation:* a dropped future does not recall its request. A lost response (a time-out, a dropped future) leaves
/// the outcome unknown; the caller sends the same chain again, because a transfer id never acts twice.
pub trait Ledger: Send + Sync + 'static {
    /// Applies the chains in order, each whole or not at all. The result has one entry per chain, in the same order.
    fn submit(
        &self,
        chains: Vec<Chain>,
    ) -> impl Future<Output = Vec<Result<ChainOutcome, LedgerError>>> + Send;

    /// Applies one chain.
    fn submit_one(&self, chain: Chain) -> impl Future<Output = Result<ChainOutcome, LedgerError>> + Send {
        async {
            let missing = || LedgerError::Unexpected("a chain without an outcome".to_owned());
            self.submit(vec![chain]).await.into_iter().next().ok_or_else(missing)?
        }
    }

    /// Creates those of the accounts that do not exist yet.
    fn create_accounts(
        &self,
        accounts: Vec<NewAccount>,
    ) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Looks accounts up. The result has one entry per id, in the same order; `None` for an account that does not
    /// exist.
    fn accounts(
        &self,
        ids: Vec<AccountId>,
    ) -> impl Future<Output = Result<Vec<Option<Account>>, LedgerError>> + Send;

    /// Reads the transfers of one lease, oldest first: at least the first 128, which is more than tell its status.
    fn lease_transfers(
        &self,
        query: LeaseQuery,
    ) -> impl Future<Output = Result<Vec<Recorded>, LedgerError>> + Send;

    /// Reads the transfers of one account that match the query.
    ///
    /// A ledger must serve [`TransferCode::Definition`] on either side, and [`TransferCode::Close`] and
    /// [`TransferCode::Announce`] on the debit side, voids of such transfers included. Any other query may fail with [`LedgerError::Unexpected`].
    fn account_transfers(
        &self,
        query: AccountQuery,
    ) -> impl Future<Output = Result<Vec<Recorded>, LedgerError>> + Send;

    /// Reads the pending debits of an account that were created after a moment and were not voided, in any order. Those that have expired
    /// may be left out. `None` if there are more than it reads at once.
    fn pending_debits(
        &self,
        query: PendingQuery,
    ) -> impl Future<Output = Result<Option<Vec<PendingDebit>>, LedgerError>> + Send;

    /// How late the ledger makes an expiry.
    fn expiry_lag(&self) -> Duration {
        Duration::ZERO
    }

    /// The ledger's time as known in this process, in nanoseconds since the Unix epoch. Never ahead of the ledger's own
    /// clock; 0 while unknown.
    fn now_ns(&self) -> u64;

    /// Whether chains that are submitted now are sent at once. A ledger that connects in the background may answer
    /// look-ups before it can send chains.
    fn can_send_chains(&self) -> bool {
        true
    }

    /// The likely reason why the ledger does not answer; `None` while it answers, or if it knows of none.
    fn likely_fault(&self) -> Option<String> {
        None
    }

    /// Does what the ledger needs done in the background. Runs until it is dropped.
    fn run_upkeep(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Refuses new chains, and returns when all accepted chains are answered.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;
}

/// The transfers of one lease. A ledger may find them by either field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseQuery {
    /// The lease, which each of its transfers carries in [`UserData::wide`].
    pub lease: LeaseId,
    /// The id of the lease's first reservation. The ids of one lease differ in their lowest 16 bits only.
    pub first: TransferId,
}

/// Some transfers of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountQuery {
    /// The account.
    pub account: AccountId,
    /// The side of the transfer on which the account is.
    pub side: Side,
    /// Only transfers with this code.
    pub code: TransferCode,
    /// Only transfers later than this, in nanoseconds since the Unix epoch.
    pub after_ns: u64,
    /// The order of the result.
    pub order: Order,
    /// The most transfers to read. A ledger may read fewer at once; an empty result is the end.
    pub count_max: u32,
}

/// The pending debits of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingQuery {
    /// The account.
    pub account: AccountId,
    /// Only those created later than this, in nanoseconds since the Unix epoch.
    pub after_ns: u64,
}

/// A pending debit that was not voided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingDebit {
    /// What it holds.
    pub units: u128,
    /// When it expires, in nanoseconds since the Unix epoch.
    pub expires_at_ns: u64,
}

/// A side of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The debited account.
    Debit,
    /// The credited account.
    Credit,
}

/// The order of a query's result, by timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    OldestFirst,
    /// Newest first.
    NewestFirst,
}

/// Why the ledger gave no outcome.
///
/// After [`LedgerError::Overloaded`], [`LedgerError::ChainTooLong`] and [`LedgerError::RequestTooLarge`] nothing was
/// done. After any other error the outcome is unknown.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The queue in front of the ledger is full; nothing was sent.
    #[error("the queue in front of the ledger is full; nothing was sent, try again later")]
    Overloaded,
    /// A chain has more transfers than the ledger takes in one request; nothing of it was done.
    #[error("a chain has {transfers} transfers, the ledger takes at most {transfers_max} in one request")]
    ChainTooLong {
        /// The length of the chain, in transfers.
        transfers: usize,
        /// The longest chain that the ledger takes, as far as known.
        transfers_max: usize,
    },
    /// A look-up is larger than the ledger takes in one request; nothing was read.
    #[error("a look-up is larger than the ledger takes in one request; ask for fewer at once")]
    RequestTooLarge,
    /// The ledger did not respond, or the connection failed.
    #[error("the ledger is unreachable")]
    Unreachable(#[source] Arc<dyn Error + Send + Sync>),
    /// This process shut its connection to the ledger down.
    #[error("the connection to the ledger is shut down")]
    ShutDown,
    /// A response that no run of this program leads to: another program writes to the ledger, or there is a bug.
    #[error("unexpected ledger response: {0}")]
    Unexpected(String),
}

impl LedgerError {
    /// Whether the ledger gave no answer: it did not respond, or the connection failed.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

/// Finds the transfer that holds an account closed; `None` if the account is open.
pub(crate) async fn find_closing<L: Ledger>(
    ledger: &L,
    account: AccountId,
) -> Result<Option<TransferId>, LedgerError> {
    Ok(newest_closing(ledger, account).await?.map(|closing| closing.transfer.id))
}

/// The transfer that holds an account closed, as it was recorded; `None` if the account is open.
///
/// A void carries the code of the transfer that it voids, so the newest transfer with that code tells.
pub(crate) async fn newest_closing<L: Ledger>(
    ledger: &L,
    account: AccountId,
) -> Result<Option<Recorded>, LedgerError> {
    let query = AccountQuery {
        account,
        side: Side::Debit,
        code: TransferCode::Close,
        after_ns: 0,
        order: Order::NewestFirst,
        count_max: 1,
    };
    let newest = ledger.account_transfers(query).await?;
    Ok(newest.first().copied().filter(|recorded| match recorded.transfer.movement {
        Movement::Close { .. } => true,
        Movement::Void { .. } | Movement::Post { .. } | Movement::PostUpTo { .. } | Movement::Pend { .. } => {
            false
        }
    }))
}
