//! The movement of one transfer: the checks, in TigerBeetle's order, and the change of the balances.

use super::slots::{AccountIndex, TransferSlot};
use super::state::LedgerState;
use super::stored_transfer::{StoredMovement, TransferState};
use crate::ledger::{AccountId, AccountRule, Bound, Movement, Refusal, Transfer, TransferId};
use crate::time::NS_PER_SECOND;

/// A movement that was carried out.
pub(super) struct Executed {
    pub(super) movement: StoredMovement,
    /// The state of the transfer that made it.
    pub(super) state: TransferState,
    /// The pending transfer that it voided.
    pub(super) voided: Option<TransferSlot>,
}

impl LedgerState {
    /// Carries out the movement of a transfer. If it is refused, nothing has changed.
    pub(super) fn execute(&mut self, transfer: &Transfer, timestamp_ns: u64) -> Result<Executed, Refusal> {
        let (movement, state) = match transfer.movement {
            Movement::Post { debit, credit, amount } => {
                let (debit, credit) = self.resolve_accounts(debit, credit)?;
                self.check_movement(debit, credit, amount)?;
                self.accounts.post(debit, credit, amount);
                (StoredMovement::Post { debit, credit, amount }, TransferState::NotPending)
            }
            Movement::PostUpTo { debit, credit, amount, bound } => {
                let (debit, credit) = self.resolve_accounts(debit, credit)?;
                let amount = amount.min(self.amount_max(debit, credit, bound));
                self.check_movement(debit, credit, amount)?;
                self.accounts.post(debit, credit, amount);
                (StoredMovement::PostUpTo { debit, credit, amount, bound }, TransferState::NotPending)
            }
            Movement::Pend { debit, credit, amount, timeout_seconds } => {
                let timeout_ns = u64::from(timeout_seconds) * NS_PER_SECOND;
                timestamp_ns.checked_add(timeout_ns).ok_or(Refusal::Overflow)?;
                let (debit, credit) = self.resolve_accounts(debit, credit)?;
                self.check_movement(debit, credit, amount)?;
                self.accounts.pend(debit, credit, amount);
                (StoredMovement::Pend { debit, credit, amount, timeout_seconds }, TransferState::Pending)
            }
            Movement::Close { debit, credit } => {
                let (debit, credit) = self.resolve_accounts(debit, credit)?;
                self.check_movement(debit, credit, 0)?;
                self.accounts.info_mut(debit).closed = true;
                (StoredMovement::Close { debit, credit }, TransferState::Pending)
            }
            Movement::Void { pending } => {
                let voided = self.check_void(transfer, pending, timestamp_ns)?;
                self.void(voided);
                let movement = StoredMovement::Void { pending };
                return Ok(Executed { movement, state: TransferState::NotPending, voided: Some(voided) });
            }
        };
        Ok(Executed { movement, state, voided: None })
    }

    /// The indexes of a debited and a credited account.
    pub(super) fn resolve_accounts(
        &self,
        debit: AccountId,
        credit: AccountId,
    ) -> Result<(AccountIndex, AccountIndex), Refusal> {
        if debit == credit {
            return Err(Refusal::Malformed("accounts_must_be_different"));
        }
        let debit = self.accounts.find(debit).ok_or(Refusal::DebitAccountNotFound)?;
        let credit = self.accounts.find_credited(credit).ok_or(Refusal::CreditAccountNotFound)?;
        Ok((debit, credit))
    }

    /// The largest amount that a bound allows.
    fn amount_max(&self, debit: AccountIndex, credit: AccountIndex, bound: Bound) -> u128 {
        let available = self.accounts.account(debit).available();
        let owed = self.accounts.account(credit).owed();
        match bound {
            Bound::DebitBalance => available,
            Bound::CreditOwed => owed,
            Bound::Both => available.min(owed),
        }
    }

    /// Checks that both accounts are open, no sum overflows, and the debited account has the amount if it
    /// must.
    pub(super) fn check_movement(
        &self,
        debit: AccountIndex,
        credit: AccountIndex,
        amount: u128,
    ) -> Result<(), Refusal> {
        let debit_info = self.accounts.info(debit);
        if debit_info.closed {
            return Err(Refusal::DebitAccountClosed);
        }
        if self.accounts.info(credit).closed {
            return Err(Refusal::CreditAccountClosed);
        }
        let (from, to) = (self.accounts.balances(debit), self.accounts.balances(credit));
        let sum = |posted: u128, pending: u128| {
            posted.checked_add(pending).and_then(|sum| sum.checked_add(amount)).ok_or(Refusal::Overflow)
        };
        let debits_after = sum(from.debits_posted, from.debits_pending)?;
        sum(to.credits_posted, to.credits_pending)?;
        match debit_info.rule {
            AccountRule::DebitsMustNotExceedCredits if debits_after > from.credits_posted => {
                Err(Refusal::ExceedsCredits)
            }
            AccountRule::DebitsMustNotExceedCredits | AccountRule::Unconstrained => Ok(()),
        }
    }

    /// Finds the transfer `pending`, and checks that `transfer` may void it.
    fn check_void(
        &self,
        transfer: &Transfer,
        pending: TransferId,
        timestamp_ns: u64,
    ) -> Result<TransferSlot, Refusal> {
        if pending == transfer.id {
            return Err(Refusal::Malformed("pending_id_must_be_different"));
        }
        let slot = self.transfers.find(pending).transfer.ok_or(Refusal::PendingNotFound)?;
        let pending = self.transfers.get(slot);
        match pending.state.void_refusal() {
            Some(refusal @ (Refusal::PendingNotFound | Refusal::PendingNotPending)) => return Err(refusal),
            refusal => {
                if transfer.code != pending.code {
                    return Err(Refusal::Malformed("pending_transfer_has_different_code"));
                }
                if let Some(refusal) = refusal {
                    return Err(refusal);
                }
            }
        }
        // It may have expired since time last advanced: each transfer of a chain has a later timestamp.
        if pending.expires_at_ns().is_some_and(|expires_at_ns| expires_at_ns <= timestamp_ns) {
            return Err(Refusal::PendingExpired);
        }
        Ok(slot)
    }

    /// Voids a pending transfer.
    fn void(&mut self, slot: TransferSlot) {
        self.stop_expiring(slot);
        self.transfers.end_pending(slot, TransferState::Voided);
        self.release(slot);
    }

    /// Undoes [`LedgerState::void`].
    pub(super) fn undo_void(&mut self, slot: TransferSlot) {
        self.transfers.restore_pending(slot);
        match self.transfers.movement(self.transfers.get(slot)) {
            StoredMovement::Pend { debit, credit, amount, timeout_seconds } => {
                if timeout_seconds > 0 {
                    self.expiries.restore(&mut self.transfers, timeout_seconds, slot);
                }
                self.accounts.pend(debit, credit, amount);
            }
            StoredMovement::Close { debit, .. } => self.accounts.info_mut(debit).closed = true,
            StoredMovement::Post { .. } | StoredMovement::PostUpTo { .. } | StoredMovement::Void { .. } => {}
        }
    }

    /// Removes a transfer from its expiry list, if it is in one.
    pub(super) fn stop_expiring(&mut self, slot: TransferSlot) {
        if let Some(timeout_seconds) = self.transfers.get(slot).timeout_seconds() {
            self.expiries.remove(&mut self.transfers, timeout_seconds, slot);
        }
    }
}
