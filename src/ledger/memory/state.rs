//! The state of the ledger, and what time changes in it.
//!
//! `apply`, `movement`, `existing_id` and `query` add the methods that apply chains and read the state back.

use std::collections::HashMap;

use hashbrown::DefaultHashBuilder;

use super::accounts::Accounts;
use super::bounds::MemoryBounds;
use super::definition_log::DefinitionLog;
use super::expiries::Expiries;
use super::slots::{AccountIndex, TransferSlot};
use super::stored_transfer::{StoredMovement, TransferState};
use super::transfers::Transfers;
use crate::ledger::{Account, AccountId, LedgerError, NewAccount};

/// The most leases that one call removes, so that no call waits for a flood that ended. It is more than a call can add: a
/// batch has 256 leases.
pub(super) const REMOVALS_MAX: usize = 1_024;

/// A transfer that the current chain created, and the transfer that it voided.
#[derive(Clone, Copy)]
pub(super) struct Applied {
    pub(super) created: TransferSlot,
    pub(super) voided: Option<TransferSlot>,
}

/// All tables of the ledger.
pub(super) struct LedgerState {
    pub(super) now_ns: u64,
    pub(super) last_timestamp_ns: u64,
    pub(super) accounts: Accounts,
    pub(super) transfers: Transfers,
    pub(super) expiries: Expiries,
    pub(super) definitions: DefinitionLog,
    /// By the account that they debit, oldest first: the transfers that closed or reopened it, and announcements of replicas
    /// with their voids. Few accounts have any.
    pub(super) listed: HashMap<AccountIndex, Vec<TransferSlot>, DefaultHashBuilder>,
    /// The transfers that the current chain created, without parts of definitions. Kept between chains, so
    /// that a chain allocates no list: a hot reserve took 6 % longer with one (`scripts/bench --only pairs`).
    pub(super) applied: Vec<Applied>,
    /// The number of definitions that the current chain began.
    pub(super) begun_definitions: usize,
    /// The number of parts that the current chain appended to the newest of them.
    pub(super) appended_parts: u16,
}

impl LedgerState {
    /// An empty ledger, which keeps within `bounds`.
    pub(super) fn new(bounds: MemoryBounds) -> Self {
        Self {
            now_ns: 0,
            last_timestamp_ns: 0,
            accounts: Accounts::default(),
            transfers: Transfers::new(bounds),
            expiries: Expiries::default(),
            definitions: DefinitionLog::default(),
            listed: HashMap::default(),
            applied: Vec::new(),
            begun_definitions: 0,
            appended_parts: 0,
        }
    }

    pub(super) fn lease_count(&self) -> usize {
        self.transfers.lease_count()
    }

    pub(super) fn transfer_count(&self) -> usize {
        self.transfers.len() + self.definitions.len()
    }

    pub(super) fn create_account(&mut self, new: &NewAccount) -> Result<(), LedgerError> {
        self.accounts.create(new)
    }

    pub(super) fn account(&self, id: AccountId) -> Option<Account> {
        self.accounts.find(id).map(|index| self.accounts.account(index))
    }

    /// Lets pending transfers expire up to `now_ns`, and removes transfers whose retention is over.
    pub(super) fn advance_to(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        while let Some(slot) = self.expiries.pop_due(&mut self.transfers, self.now_ns) {
            self.transfers.end_pending(slot, TransferState::Expired);
            self.release(slot);
            self.transfers.schedule_removal_if_finished(self.transfers.get(slot).family, self.now_ns);
        }
        self.remove_retained();
    }

    /// Removes leases whose retention is over, at most [`REMOVALS_MAX`]. Returns whether there may be more.
    pub(super) fn remove_retained(&mut self) -> bool {
        self.transfers.remove_retained_long_enough(self.now_ns, REMOVALS_MAX)
    }

    /// Releases what a pending transfer holds: its amount, or the account that it keeps closed.
    pub(super) fn release(&mut self, slot: TransferSlot) {
        match self.transfers.movement(self.transfers.get(slot)) {
            StoredMovement::Pend { debit, credit, amount, .. } => {
                self.accounts.release(debit, credit, amount);
            }
            StoredMovement::Close { debit, .. } => self.accounts.info_mut(debit).closed = false,
            StoredMovement::Post { .. } | StoredMovement::PostUpTo { .. } | StoredMovement::Void { .. } => {}
        }
    }
}
