//! Replaces allotments by what is needed of them, in one linked chain.
//!
//! | # | transfer | debit -> credit | amount | id |
//! | --- | --- | --- | --- | --- |
//! | 1 to n | void of the pending transfer of an allotment | | | of the chain's ULID, leg 0 to n - 1 |
//! | n + 1 | pending, left out if nothing is needed | limit -> operator | what is needed | of the chain's ULID, leg n |
//!
//! On a closed account, a chain that reserves opens the account in front and closes it again behind.

use smallvec::SmallVec;

use super::take::pend;
use crate::decide::ids::{Ids, Purpose};
use crate::decide::refill::reopen_and_close;
use crate::ledger::{
    AccountId, Chain, ChainOutcome, LedgerError, Movement, Refusal, Transfer, TransferCode, TransferId,
    UserData,
};
use crate::limit::LeaseId;

/// The most allotments that one step replaces.
pub(crate) const VOIDS_MAX: usize = 16;

/// A step. It is sent again as it is until its outcome is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Names the chain, as a lease is named.
    pub(crate) chain: LeaseId,
    /// The limit's account.
    pub(crate) account: AccountId,
    /// The pending transfers that it replaces.
    pub(crate) voids: SmallVec<[TransferId; 2]>,
    /// The amount that stays reserved, at most the sum of those that are voided.
    pub(crate) keep: u64,
    /// The time-out of what stays reserved.
    pub(crate) timeout_seconds: u32,
    /// The transfer that holds the account closed, if something stays reserved on a closed account.
    pub(crate) closing: Option<TransferId>,
}

/// The meaning of the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepResult {
    /// The step was made.
    Made {
        /// When the ledger made the pending transfer, in nanoseconds; of a step without one, when it made the last void.
        recorded_at_ns: u64,
    },
    /// Its first transfer was made before: its transfers tell whether the step was.
    LookUp,
    /// The pending transfer at this index of `voids` has expired. Nothing was done.
    Expired {
        /// The index.
        index: usize,
    },
    /// The account is closed, or was closed or opened anew. Nothing was done.
    ClosingChanged,
    /// The chain was refused before. Nothing was done.
    RefusedBefore,
}

impl Step {
    /// The pending transfer of what stays reserved.
    pub(crate) fn pending(&self, ids: Ids) -> TransferId {
        self.id(ids, self.voids.len())
    }

    /// The first void.
    pub(crate) fn first_void(&self, ids: Ids) -> TransferId {
        self.id(ids, 0)
    }

    fn id(&self, ids: Ids, leg: usize) -> TransferId {
        ids.of_lease(self.chain).transfer(Purpose::Allot, 0, leg)
    }

    /// The chain; `None` if nothing is voided.
    pub(crate) fn chain(&self, ids: Ids) -> Option<Chain> {
        if self.voids.is_empty() {
            return None;
        }
        let void = |(leg, &pending): (usize, &TransferId)| Transfer {
            id: self.id(ids, leg),
            code: TransferCode::Allot,
            user_data: UserData { wide: self.chain.as_u128(), ..UserData::default() },
            movement: Movement::Void { pending },
        };
        let around = self.closing.map(|closing| reopen_and_close(ids, self.account, closing));
        let voids = self.voids.iter().enumerate().map(void);
        let kept = (self.keep > 0)
            .then(|| pend(ids, self.chain, self.pending(ids), self.account, self.keep, self.timeout_seconds));
        let reopen = around.map(|[reopen, _]| reopen);
        let close = around.map(|[_, close]| close);
        Chain::new(reopen.into_iter().chain(voids).chain(kept).chain(close))
    }

    /// How many transfers stand in front of the first void.
    fn before_voids(&self) -> usize {
        usize::from(self.closing.is_some())
    }

    /// The meaning of the chain's outcome.
    pub(crate) fn interpret(&self, outcome: ChainOutcome) -> Result<StepResult, LedgerError> {
        let (index, refusal) = match outcome {
            ChainOutcome::Created { timestamp_ns } => {
                // The transfers of a chain are one nanosecond apart.
                let last = self.before_voids() + self.voids.len() - usize::from(self.keep == 0);
                return Ok(StepResult::Made { recorded_at_ns: timestamp_ns + last as u64 });
            }
            ChainOutcome::Refused { index, refusal } => (index, refusal),
        };
        let void = index.checked_sub(self.before_voids()).filter(|&void| void < self.voids.len());
        match (refusal, void) {
            (Refusal::Exists | Refusal::ExistsWithDifferent(_), _) if index == 0 => Ok(StepResult::LookUp),
            // Only this process voids it; the memory ledger forgets it some time after it has expired.
            (Refusal::PendingExpired | Refusal::PendingNotFound, Some(index)) => {
                Ok(StepResult::Expired { index })
            }
            (Refusal::DebitAccountClosed, _) => Ok(StepResult::ClosingChanged),
            // The void of the closing transfer, or its successor.
            (Refusal::PendingAlreadyVoided | Refusal::Exists | Refusal::ExistsWithDifferent(_), None) => {
                Ok(StepResult::ClosingChanged)
            }
            (Refusal::IdAlreadyFailed, _) => Ok(StepResult::RefusedBefore),
            (_, _) => Err(LedgerError::Unexpected(format!(
                "the step {} was refused at transfer {index}: {refusal:?}",
                self.chain
            ))),
        }
    }
}
