//! Applying a chain: it creates every transfer, or none.

use super::conservation::BalancesBefore;
use super::definition_log::NewPart;
use super::movement::Executed;
use super::slots::{FamilySlot, TransferSlot};
use super::state::{Applied, LedgerState};
use super::stored_transfer::{NewTransfer, StoredMovement, TransferState};
use super::transfers::IdLookup;
use crate::ledger::{Chain, ChainOutcome, LedgerError, Movement, Refusal, Transfer, TransferCode};

impl LedgerState {
    /// Applies a chain, if there is room.
    ///
    /// A full ledger takes what ends a lease or changes a limit, because that makes room or stores little.
    pub(super) fn submit(&mut self, chain: &Chain) -> Result<ChainOutcome, LedgerError> {
        if self.transfers.is_full() && !self.transfers.make_room() && begins_lease(chain) {
            return Err(LedgerError::Overloaded);
        }
        Ok(self.apply(chain))
    }

    /// Applies a chain. A refused chain changes nothing, but the id of its first refused transfer may fail.
    fn apply(&mut self, chain: &Chain) -> ChainOutcome {
        let transfers = chain.transfers();
        let before = cfg!(debug_assertions).then(|| BalancesBefore::of(transfers, self));
        self.applied.clear();
        self.begun_definitions = 0;
        self.appended_parts = 0;
        let outcome = match self.create_all(transfers) {
            Ok(timestamp_ns) => {
                self.schedule_removals();
                ChainOutcome::Created { timestamp_ns }
            }
            Err((index, refusal)) => {
                self.roll_back();
                self.fail_id(&transfers[index], refusal);
                ChainOutcome::Refused { index, refusal }
            }
        };
        if let Some(before) = before {
            before.check(outcome, &self.accounts);
        }
        outcome
    }

    /// Creates transfers, up to the first that is refused. Returns the timestamp of the first; or the index
    /// of the refused one, and why.
    fn create_all(&mut self, transfers: &[Transfer]) -> Result<u64, (usize, Refusal)> {
        let mut first_timestamp_ns = None;
        let mut family = None;
        for (index, transfer) in transfers.iter().enumerate() {
            let timestamp_ns = self.now_ns.max(self.last_timestamp_ns + 1);
            let linked = index + 1 < transfers.len();
            let created = if transfer.code == TransferCode::Definition {
                self.append_part(transfer, linked, timestamp_ns)
            } else {
                self.create(transfer, linked, timestamp_ns, &mut family)
            };
            created.map_err(|refusal| (index, refusal))?;
            self.last_timestamp_ns = timestamp_ns;
            first_timestamp_ns.get_or_insert(timestamp_ns);
        }
        Ok(first_timestamp_ns.unwrap_or(self.now_ns))
    }

    /// Appends a part of a definition.
    ///
    /// The id is looked up in both tables. Ids of other transfers are not looked up in the definition log:
    /// this program never uses an id for both.
    fn append_part(&mut self, transfer: &Transfer, linked: bool, timestamp_ns: u64) -> Result<(), Refusal> {
        if let Some(slot) = self.transfers.find(transfer.id).transfer {
            return Err(self.refuse_existing(transfer, linked, slot));
        }
        if let Some(part) = self.definitions.find(transfer.id) {
            return Err(self.refuse_existing_part(transfer, linked, part));
        }
        let Movement::Post { debit, credit, amount: 0 } = transfer.movement else {
            return Err(Refusal::Malformed("a part of a definition must be a post of amount 0"));
        };
        let (debit, credit) = self.resolve_accounts(debit, credit)?;
        self.check_movement(debit, credit, 0)?;
        let Transfer { id, user_data, .. } = *transfer;
        let is_first = user_data.short == 0;
        if is_first {
            self.appended_parts = 0;
        }
        let part = NewPart { id, user_data, debit, credit, linked, timestamp_ns };
        let newest_of_credit = &mut self.accounts.info_mut(credit).newest_definition;
        self.definitions.append(&part, self.appended_parts, newest_of_credit)?;
        self.appended_parts += 1;
        self.begun_definitions += usize::from(is_first);
        Ok(())
    }

    /// Creates a transfer that is not part of a definition. `family` is that of the transfer before it in its chain, and
    /// most likely its own.
    fn create(
        &mut self,
        transfer: &Transfer,
        linked: bool,
        timestamp_ns: u64,
        family: &mut Option<FamilySlot>,
    ) -> Result<(), Refusal> {
        let lookup = self.transfers.find_near(transfer.id, *family);
        if let Some(slot) = lookup.transfer {
            return Err(self.refuse_existing(transfer, linked, slot));
        }
        if !self.transfers.has_room() {
            return Err(Refusal::Overflow);
        }
        let Executed { movement, state, voided } = self.execute(transfer, timestamp_ns)?;
        let user_data = match voided {
            Some(voided) => self.inherit_user_data(transfer.user_data, voided),
            None => transfer.user_data,
        };
        let Transfer { id, code, .. } = *transfer;
        let new = NewTransfer { id, code, user_data, movement, state, linked, timestamp_ns };
        let created = self.transfers.insert(lookup, &new);
        *family = Some(self.transfers.get(created).family);
        if let StoredMovement::Pend { timeout_seconds: timeout_seconds @ 1.., .. } = movement {
            self.expiries.append(&mut self.transfers, timeout_seconds, created);
        }
        let applied = Applied { created, voided };
        if is_listed(code)
            && let Some(listed) = self.listed_of(applied)
        {
            listed.push(created);
        }
        self.applied.push(applied);
        Ok(())
    }

    /// The list that a transfer is in, of the account that it, or what it voids, debits; `None` if it is in none.
    fn listed_of(&mut self, Applied { created, voided }: Applied) -> Option<&mut Vec<TransferSlot>> {
        if !is_listed(self.transfers.get(created).code) {
            return None;
        }
        let (debit, _) = self.transfers.get(voided.unwrap_or(created)).accounts()?;
        Some(self.listed.entry(debit).or_default())
    }

    /// Schedules the removal of the families that the chain changed.
    fn schedule_removals(&mut self) {
        let mut previous = None;
        for &Applied { created, voided } in &self.applied {
            // A void has the code of the transfer that it voids.
            let family = self.transfers.keep_or_stop_keeping(voided.unwrap_or(created));
            // Most chains change one family only. It is scheduled when all of its transfers are known.
            if let Some(finished) = previous.replace(family).filter(|&previous| previous != family) {
                self.transfers.schedule_removal_if_finished(finished, self.now_ns);
            }
        }
        if let Some(finished) = previous {
            self.transfers.schedule_removal_if_finished(finished, self.now_ns);
        }
    }

    /// Undoes every transfer of the current chain, the newest first.
    fn roll_back(&mut self) {
        while let Some(applied) = self.applied.pop() {
            let Applied { created, voided } = applied;
            match self.transfers.movement(self.transfers.get(created)) {
                StoredMovement::Post { debit, credit, amount }
                | StoredMovement::PostUpTo { debit, credit, amount, .. } => {
                    self.accounts.undo_post(debit, credit, amount);
                }
                StoredMovement::Pend { .. } | StoredMovement::Close { .. } => {
                    self.release(created);
                    self.stop_expiring(created);
                }
                StoredMovement::Void { .. } => {}
            }
            if let Some(voided) = voided {
                self.undo_void(voided);
            }
            if let Some(listed) = self.listed_of(applied) {
                listed.pop();
            }
            self.transfers.remove_newest_of_family(created);
        }
        // No other transfer depends on the definitions.
        for _ in 0..self.begun_definitions {
            if let Some((credit, newest)) = self.definitions.remove_newest() {
                self.accounts.info_mut(credit).newest_definition = newest;
            }
        }
    }

    /// Records that the id of a refused transfer failed, if the refusal is final.
    fn fail_id(&mut self, transfer: &Transfer, refusal: Refusal) {
        if !refusal.is_final() || !self.transfers.has_room() {
            return;
        }
        // Looked up again: the rollback may have removed its family.
        let IdLookup { family, .. } = self.transfers.find(transfer.id);
        let &Transfer { id, code, user_data, .. } = transfer;
        let failed = NewTransfer {
            id,
            code,
            user_data,
            movement: StoredMovement::Void { pending: id },
            state: TransferState::IdFailed,
            linked: false,
            timestamp_ns: 0,
        };
        let slot = self.transfers.insert(IdLookup { family, transfer: None }, &failed);
        self.transfers.schedule_removal_if_finished(self.transfers.get(slot).family, self.now_ns);
    }
}

/// Whether transfers of this code are looked up by the account that they debit.
fn is_listed(code: TransferCode) -> bool {
    matches!(code, TransferCode::Close | TransferCode::Announce)
}

/// Whether a chain reserves for a new lease, or more for a running one. A complete begins with a void or its marker.
fn begins_lease(chain: &Chain) -> bool {
    let transfers = chain.transfers();
    let is_complete = transfers.first().is_some_and(|first| {
        first.code == TransferCode::Complete || matches!(first.movement, Movement::Void { .. })
    });
    !is_complete && transfers.iter().any(|transfer| transfer.code.is_of_lease())
}
