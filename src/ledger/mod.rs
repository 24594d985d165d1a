//! The ledger: accounts, transfers, linked chains, and what became of them. The limiter is written once over the
//! [`Ledger`] trait; [`memory`] serves tests and the embedded mode, [`tigerbeetle`] everything that must last.
//!
//! The types are this project's own: nothing of the client crate shows here.

mod account;
pub mod memory;
mod outcome;
#[cfg(feature = "tigerbeetle")]
pub mod tigerbeetle;
mod transfer;

use std::error::Error;
use std::future::Future;

pub use account::{Account, AccountCode, AccountId, AccountRule, NewAccount};
pub use outcome::{ChainOutcome, Field, Refusal};
pub use transfer::{
    Bound, Chain, Movement, Recorded, Transfer, TransferCode, TransferFamily, TransferId, UserData,
};

use crate::limit::LeaseId;

/// A double-entry ledger with pending transfers, timeouts, linked chains and closing.
///
/// An answer that was lost (a time-out, a dropped future) leaves the outcome unknown: every chain that this crate
/// sends can be sent again.
pub trait Ledger: Send + Sync + 'static {
    /// Applies each chain whole or not at all, in order, and answers each in its place.
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

    /// Creates the accounts that do not exist yet.
    fn create_accounts(
        &self,
        accounts: Vec<NewAccount>,
    ) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Looks accounts up; one that does not exist is `None` in its place.
    fn accounts(
        &self,
        ids: Vec<AccountId>,
    ) -> impl Future<Output = Result<Vec<Option<Account>>, LedgerError>> + Send;

    /// Every transfer of a lease, oldest first. Their ids are all of `family`, by which a ledger may find them.
    fn lease_transfers(
        &self,
        lease: LeaseId,
        family: TransferFamily,
    ) -> impl Future<Output = Result<Vec<Recorded>, LedgerError>> + Send;

    /// The transfers of one account that the query picks: definitions by either account, what closed and opened an account by
    /// that. Others may be missing from it.
    fn account_transfers(
        &self,
        query: AccountQuery,
    ) -> impl Future<Output = Result<Vec<Recorded>, LedgerError>> + Send;

    /// The ledger's time in nanoseconds since the Unix epoch, as far as it is known here: never ahead of it.
    fn now_ns(&self) -> u64;

    /// Lets what is in flight finish, as far as it can.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;
}

/// Which transfers of an account are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountQuery {
    /// The account.
    pub account: AccountId,
    /// Whether it is the one debited or the one credited.
    pub side: Side,
    /// Only transfers of this purpose.
    pub code: TransferCode,
    /// Only transfers later than this, in nanoseconds since the Unix epoch.
    pub after_ns: u64,
    /// Oldest or newest first.
    pub order: Order,
    /// How many at the most.
    pub count_max: u32,
}

/// A side of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The account that is debited.
    Debit,
    /// The account that is credited.
    Credit,
}

/// The order of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By time, oldest first.
    OldestFirst,
    /// By time, newest first.
    NewestFirst,
}

/// Why the ledger gave no answer. After any of these but [`LedgerError::Overloaded`],
/// [`LedgerError::ChainTooLong`] and [`LedgerError::RequestTooLarge`] it is unknown whether the request was carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The queue in front of the ledger is full; nothing was sent.
    #[error("the queue in front of the ledger is full")]
    Overloaded,
    /// A chain has more transfers than the ledger takes in one request; it was not sent.
    #[error(
        "a chain of {transfers} transfers is longer than the {transfers_max} that the ledger takes at once"
    )]
    ChainTooLong {
        /// The chain's length.
        transfers: usize,
        /// The longest that is taken.
        transfers_max: usize,
    },
    /// A look-up asks for more than the ledger takes in one request; it was not made.
    #[error("a look-up is larger than the ledger takes at once")]
    RequestTooLarge,
    /// The connection failed.
    #[error("the ledger is not reachable")]
    Unreachable(#[source] std::sync::Arc<dyn Error + Send + Sync>),
    /// This side of the connection was shut down.
    #[error("the ledger's connection is shut down")]
    ShutDown,
    /// The ledger said something that no run of this program can lead to: another program writes to it, or a bug.
    #[error("the ledger answered what cannot be: {0}")]
    Unexpected(String),
}

/// The transfer that holds an account closed, `None` if the account is open.
///
/// Voids carry the code of what they void, so the newest transfer of that code tells.
pub(crate) async fn find_closing<L: Ledger>(
    ledger: &L,
    account: AccountId,
) -> Result<Option<TransferId>, LedgerError> {
    let query = AccountQuery {
        account,
        side: Side::Debit,
        code: TransferCode::Close,
        after_ns: 0,
        order: Order::NewestFirst,
        count_max: 1,
    };
    let newest = ledger.account_transfers(query).await?;
    Ok(newest.first().and_then(|recorded| match recorded.transfer.movement {
        Movement::Close { .. } => Some(recorded.transfer.id),
        Movement::Void { .. } | Movement::Post { .. } | Movement::PostUpTo { .. } | Movement::Pend { .. } => {
            None
        }
    }))
}
