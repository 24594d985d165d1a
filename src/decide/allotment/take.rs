//! Takes an allotment: one pending transfer.
//!
//! | transfer | debit -> credit | amount | timeout | id |
//! | --- | --- | --- | --- | --- |
//! | pending | limit -> operator | a part of what was available | how long it serves, and a hold behind that | of a fresh ULID, leg 0 |

use crate::decide::ids::{Ids, Purpose};
use crate::ledger::{
    AccountId, Chain, ChainOutcome, LedgerError, Movement, Refusal, Transfer, TransferCode, TransferId,
    UserData,
};
use crate::limit::LeaseId;

/// An allotment that is taken. It is sent again as it is until its outcome is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Take {
    /// Names the chain, as a lease is named.
    pub(crate) chain: LeaseId,
    /// The limit's account.
    pub(crate) account: AccountId,
    /// The amount, in units of the limit.
    pub(crate) amount: u64,
    /// The time-out of the pending transfer.
    pub(crate) timeout_seconds: u32,
}

/// The meaning of the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakeResult {
    /// The allotment is reserved.
    Taken {
        /// When the ledger made it, in nanoseconds.
        recorded_at_ns: u64,
    },
    /// It was reserved before: its transfer tells when.
    TakenBefore,
    /// Nothing is reserved: there is less available by now.
    NoRoom,
    /// Nothing is reserved: the account is closed.
    Closed,
}

impl Take {
    /// The pending transfer.
    pub(crate) fn pending(&self, ids: Ids) -> TransferId {
        ids.of_lease(self.chain).transfer(Purpose::Allot, 0, 0)
    }

    /// The chain; never `None`, because it has one transfer.
    pub(crate) fn chain(&self, ids: Ids) -> Option<Chain> {
        let id = self.pending(ids);
        Chain::new([pend(ids, self.chain, id, self.account, self.amount, self.timeout_seconds)])
    }

    /// The meaning of the chain's outcome.
    pub(crate) fn interpret(&self, outcome: ChainOutcome) -> Result<TakeResult, LedgerError> {
        match outcome {
            ChainOutcome::Created { timestamp_ns } => Ok(TakeResult::Taken { recorded_at_ns: timestamp_ns }),
            ChainOutcome::Refused { refusal: Refusal::Exists, .. } => Ok(TakeResult::TakenBefore),
            ChainOutcome::Refused { refusal: Refusal::ExceedsCredits | Refusal::IdAlreadyFailed, .. } => {
                Ok(TakeResult::NoRoom)
            }
            ChainOutcome::Refused { refusal: Refusal::DebitAccountClosed, .. } => Ok(TakeResult::Closed),
            ChainOutcome::Refused { refusal, .. } => {
                Err(LedgerError::Unexpected(format!("the allotment {} was refused: {refusal:?}", self.chain)))
            }
        }
    }
}

/// A pending transfer of an allotment.
pub(super) fn pend(
    ids: Ids,
    chain: LeaseId,
    id: TransferId,
    debit: AccountId,
    amount: u64,
    timeout_seconds: u32,
) -> Transfer {
    let (credit, amount) = (ids.operator(), amount.into());
    Transfer {
        id,
        code: TransferCode::Allot,
        user_data: UserData { wide: chain.as_u128(), ..UserData::default() },
        movement: Movement::Pend { debit, credit, amount, timeout_seconds },
    }
}
