//! Reads everything that the memory ledger holds, for an audit.

use super::state::LedgerState;
use super::stored_transfer::TransferState;
use super::{Clock, MemoryLedger};
use crate::ledger::raw::{RawLedger, RawTransfer};
use crate::ledger::{Account, AccountId, Bound, LedgerError, Movement, Recorded, Transfer, TransferCode};

/// The most transfers that one look reads, as of TigerBeetle.
const PAGE: usize = 8_189;

impl LedgerState {
    /// Every transfer that was created and not removed, oldest first.
    fn raw_transfers(&self) -> Vec<RawTransfer> {
        let stored = self.transfers.all().filter(|transfer| transfer.state != TransferState::IdFailed);
        let stored = stored.map(|transfer| raw(&self.recorded(transfer), transfer.linked));
        let parts = self.definitions.all_parts().map(|part| {
            raw(&self.definitions.recorded(part, &self.accounts), self.definitions.is_linked(part))
        });
        let mut all: Vec<RawTransfer> = stored.chain(parts).collect();
        all.sort_unstable_by_key(|transfer| transfer.timestamp_ns);
        all
    }
}

fn raw(recorded: &Recorded, linked: bool) -> RawTransfer {
    let Recorded { transfer: Transfer { id, code, user_data, movement }, timestamp_ns } = *recorded;
    let link = if linked { RawTransfer::LINKED } else { 0 };
    let base = RawTransfer {
        id: id.as_u128(),
        wide: user_data.wide,
        long: user_data.long,
        short: user_data.short,
        code: code as u16,
        flags: link,
        timestamp_ns,
        ..RawTransfer::default()
    };
    let between = |debit: AccountId, credit: AccountId, amount, flags| RawTransfer {
        debit: debit.as_u128(),
        credit: credit.as_u128(),
        amount,
        flags: link | flags,
        ..base
    };
    match movement {
        Movement::Post { debit, credit, amount } => between(debit, credit, amount, 0),
        Movement::PostUpTo { debit, credit, amount, bound } => {
            let flags = match bound {
                Bound::DebitBalance => RawTransfer::BALANCING_DEBIT,
                Bound::CreditOwed => RawTransfer::BALANCING_CREDIT,
                Bound::Both => RawTransfer::BALANCING_DEBIT | RawTransfer::BALANCING_CREDIT,
            };
            between(debit, credit, amount, flags)
        }
        Movement::Pend { debit, credit, amount, timeout_seconds } => {
            RawTransfer { timeout_seconds, ..between(debit, credit, amount, RawTransfer::PENDING) }
        }
        Movement::Close { debit, credit } => {
            between(debit, credit, 0, RawTransfer::PENDING | RawTransfer::CLOSING_DEBIT)
        }
        Movement::Void { pending } => {
            RawTransfer { pending_id: pending.as_u128(), flags: link | RawTransfer::VOID_PENDING, ..base }
        }
    }
}

impl<C: Clock> RawLedger for MemoryLedger<C> {
    async fn raw_transfers(&self, after_ns: u64, until_ns: u64) -> Result<Vec<RawTransfer>, LedgerError> {
        let wanted = |transfer: &RawTransfer| (after_ns + 1..=until_ns).contains(&transfer.timestamp_ns);
        let all = self.state_now().raw_transfers();
        Ok(all.into_iter().filter(wanted).take(PAGE).collect())
    }

    async fn raw_transfers_of(&self, wide: u128) -> Result<Vec<RawTransfer>, LedgerError> {
        let all = self.state_now().raw_transfers();
        Ok(all.into_iter().filter(|transfer| transfer.wide == wide).collect())
    }

    async fn raw_definitions(&self) -> Result<Vec<RawTransfer>, LedgerError> {
        let all = self.state_now().raw_transfers();
        Ok(all.into_iter().filter(|transfer| transfer.code == TransferCode::Definition as u16).collect())
    }

    async fn raw_accounts(&self, ids: Vec<AccountId>) -> Result<(Vec<Option<Account>>, u64), LedgerError> {
        let state = self.state_now();
        // Timestamps run ahead of a clock that stands still.
        let at_ns = state.now_ns.max(state.last_timestamp_ns);
        Ok((ids.into_iter().map(|id| state.account(id)).collect(), at_ns))
    }
}
