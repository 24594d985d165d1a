//! Reading transfers back.

use super::slots::AccountIndex;
use super::state::LedgerState;
use super::stored_transfer::{StoredMovement, StoredTransfer, TransferState};
use crate::ledger::{
    AccountQuery, LedgerError, Movement, Order, PendingDebit, PendingQuery, Recorded, Side, Transfer,
    TransferCode, TransferFamily,
};

/// The most pending transfers that one query goes through. That takes about a millisecond, in which no other call is served.
const PENDING_VISITED_MAX: usize = 32_768;

impl LedgerState {
    /// The transfers of a family that name a lease, oldest first.
    pub(super) fn lease_transfers(&self, lease: u128, family: TransferFamily) -> Vec<Recorded> {
        let Some(family) = self.transfers.find_family(family) else { return Vec::new() };
        let is_of_lease = |transfer: &&StoredTransfer| {
            transfer.state != TransferState::IdFailed && self.transfers.user_data(transfer).wide == lease
        };
        let transfers = self.transfers.slots_of(family).map(|slot| self.transfers.get(slot));
        transfers.filter(is_of_lease).map(|transfer| self.recorded(transfer)).collect()
    }

    /// The parts of definitions that debit or credit an account, the transfers that closed or reopened it, or the
    /// announcements that debit it.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Unexpected`] for other transfers: the memory ledger does not keep them by account.
    pub(super) fn account_transfers(&self, query: &AccountQuery) -> Result<Vec<Recorded>, LedgerError> {
        let Some(account) = self.accounts.find(query.account) else { return Ok(Vec::new()) };
        let recorded_part = |part| self.definitions.recorded(part, &self.accounts);
        Ok(match (query.code, query.side) {
            (TransferCode::Definition, Side::Debit) => {
                select(query, self.definitions.parts_debiting(account, query.after_ns).map(recorded_part))
            }
            (TransferCode::Definition, Side::Credit) => {
                let newest = self.accounts.info(account).newest_definition;
                select(query, self.definitions.parts_crediting(newest).map(recorded_part))
            }
            (TransferCode::Close | TransferCode::Announce, Side::Debit) => {
                let listed = self.listed.get(&account).map_or(&[][..], Vec::as_slice);
                let listed = listed.iter().map(|&slot| self.transfers.get(slot));
                let of_code = listed.filter(|stored| stored.code == query.code);
                select(query, of_code.map(|stored| self.recorded(stored)))
            }
            (code, side) => {
                let message =
                    format!("the memory ledger cannot query {code:?} transfers by {side:?} account");
                return Err(LedgerError::Unexpected(message));
            }
        })
    }

    /// The pending debits of an account. `None` if the ledger holds so many pending transfers that to go through them would take
    /// long: they are not kept by account.
    pub(super) fn pending_debits(&self, query: PendingQuery) -> Option<Vec<PendingDebit>> {
        let Some(account) = self.accounts.find(query.account) else { return Some(Vec::new()) };
        let mut found = Vec::new();
        for (visited, stored) in self.expiries.iter(&self.transfers).enumerate() {
            if visited >= PENDING_VISITED_MAX {
                return None;
            }
            if let StoredMovement::Pend { debit, amount, .. } = self.transfers.movement(stored)
                && debit == account
                && stored.timestamp_ns > query.after_ns
                && let Some(expires_at_ns) = stored.expires_at_ns()
            {
                found.push(PendingDebit { units: amount, expires_at_ns });
            }
        }
        Some(found)
    }

    /// The transfer in the words of the [`Ledger`](crate::ledger::Ledger).
    pub(super) fn recorded(&self, stored: &StoredTransfer) -> Recorded {
        let account = |index: AccountIndex| self.accounts.info(index).id;
        let movement = match self.transfers.movement(stored) {
            StoredMovement::Post { debit, credit, amount } => {
                Movement::Post { debit: account(debit), credit: account(credit), amount }
            }
            StoredMovement::PostUpTo { debit, credit, amount, bound } => {
                Movement::PostUpTo { debit: account(debit), credit: account(credit), amount, bound }
            }
            StoredMovement::Pend { debit, credit, amount, timeout_seconds } => {
                Movement::Pend { debit: account(debit), credit: account(credit), amount, timeout_seconds }
            }
            StoredMovement::Close { debit, credit } => {
                Movement::Close { debit: account(debit), credit: account(credit) }
            }
            StoredMovement::Void { pending } => Movement::Void { pending },
        };
        let (id, user_data) = (self.transfers.id(stored), self.transfers.user_data(stored));
        let transfer = Transfer { id, code: stored.code, user_data, movement };
        Recorded { transfer, timestamp_ns: stored.timestamp_ns }
    }
}

/// Selects the transfers of a query from those of its account, which come oldest first.
fn select(query: &AccountQuery, by_time: impl DoubleEndedIterator<Item = Recorded>) -> Vec<Recorded> {
    let later = by_time.filter(|recorded| recorded.timestamp_ns > query.after_ns);
    let count_max = query.count_max as usize;
    match query.order {
        Order::OldestFirst => later.take(count_max).collect(),
        Order::NewestFirst => later.rev().take(count_max).collect(),
    }
}
