use std::collections::HashMap;

use hashbrown::DefaultHashBuilder;

use super::accounts::Accounts;
use super::compare::{compare, inherited};
use super::expiries::Expiries;
use super::log::{Log, NewPart};
use super::made::{Made, Moved, New, State};
use super::transfers::{Place, Transfers};
use crate::ledger::{
    Account, AccountId, AccountQuery, AccountRule, Bound, Chain, ChainOutcome, LedgerError, Movement,
    NewAccount, Order, Recorded, Refusal, Side, Transfer, TransferCode, TransferFamily, TransferId,
};
use crate::time::NS_PER_SECOND;

/// Accounts and transfers, and the rules by which they change.
pub(super) struct Books {
    now_ns: u64,
    last_timestamp_ns: u64,
    accounts: Accounts,
    transfers: Transfers,
    expiries: Expiries,
    log: Log,
    /// Of each account, the transfers that closed and opened it, by time. Few were ever closed.
    closings: HashMap<u32, Vec<u32>, DefaultHashBuilder>,
    /// The transfers of the chain that is being applied, in order, but for those of a definition. Kept for its room.
    applied: Vec<Applied>,
    /// How many parts of a definition that chain has written.
    written: u16,
}

/// A transfer of the chain, and what it voided.
#[derive(Clone, Copy)]
struct Applied {
    made: u32,
    voided: Option<u32>,
}

impl Books {
    pub(super) fn new(retention_ns: u64) -> Self {
        Self {
            now_ns: 0,
            last_timestamp_ns: 0,
            accounts: Accounts::default(),
            transfers: Transfers::new(retention_ns),
            expiries: Expiries::default(),
            log: Log::default(),
            closings: HashMap::default(),
            applied: Vec::new(),
            written: 0,
        }
    }

    pub(super) fn leases(&self) -> usize {
        self.transfers.leases()
    }

    pub(super) fn transfers(&self) -> usize {
        self.transfers.len() + self.log.len()
    }

    pub(super) fn open(&mut self, new: &NewAccount) -> Result<(), LedgerError> {
        self.accounts.open(new)
    }

    pub(super) fn account(&self, id: AccountId) -> Option<Account> {
        self.accounts.find(id).map(|index| self.accounts.account(index))
    }

    /// The transfers of a family that name a lease, oldest first.
    pub(super) fn lease_transfers(&self, lease: u128, family: TransferFamily) -> Vec<Recorded> {
        let Some(family) = self.transfers.find_family(family) else { return Vec::new() };
        let of_lease =
            |made: &&Made| made.state != State::Burnt && self.transfers.user_data(made).wide == lease;
        let made = self.transfers.of_family(family).map(|index| self.transfers.made(index));
        made.filter(of_lease).map(|made| self.recorded(made)).collect()
    }

    /// The parts of definitions that debit or credit an account, or what closed and opened it. Other transfers are not asked
    /// for by their account.
    pub(super) fn account_transfers(&self, query: &AccountQuery) -> Result<Vec<Recorded>, LedgerError> {
        let Some(account) = self.accounts.find(query.account) else { return Ok(Vec::new()) };
        let part = |place| self.log.recorded(place, &self.accounts);
        Ok(match (query.code, query.side) {
            (TransferCode::Definition, Side::Debit) => {
                pick(query, self.log.debiting(account, query.after_ns).map(part))
            }
            (TransferCode::Definition, Side::Credit) => {
                let newest = self.accounts.head(account).newest_record;
                pick(query, self.log.crediting(newest).map(part))
            }
            (TransferCode::Close, Side::Debit) => {
                let closings = self.closings.get(&account).map_or(&[][..], Vec::as_slice);
                pick(query, closings.iter().map(|&index| self.recorded(self.transfers.made(index))))
            }
            (code, side) => {
                let message = format!("transfers of {code:?} are not kept by the account that they {side:?}");
                return Err(LedgerError::Unexpected(message));
            }
        })
    }

    /// Lets time pass: reservations expire, and leases that are long over are forgotten.
    pub(super) fn advance_to(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        while let Some(index) = self.expiries.pop_due(&mut self.transfers, self.now_ns) {
            self.transfers.let_go(index, State::Expired);
            self.give_back(index);
            self.transfers.check_over(self.transfers.family_of(index), self.now_ns);
        }
        self.transfers.forget(self.now_ns);
    }

    /// Applies the chain whole or not at all.
    pub(super) fn apply(&mut self, chain: &Chain) -> ChainOutcome {
        let transfers = chain.transfers();
        let last = transfers.len() - 1;
        let mut near = None;
        let mut first_timestamp_ns = 0;
        self.applied.clear();
        self.written = 0;
        for (index, transfer) in transfers.iter().enumerate() {
            let timestamp_ns = self.now_ns.max(self.last_timestamp_ns + 1);
            let place = self.transfers.find(transfer.id, near);
            let linked = index < last;
            let done = if transfer.code == TransferCode::Definition {
                self.write(transfer, place, linked, timestamp_ns)
            } else {
                self.make(transfer, place, linked, timestamp_ns).map(|applied| {
                    near = Some(self.transfers.family_of(applied.made));
                    self.applied.push(applied);
                })
            };
            if let Err(refusal) = done {
                self.take_back();
                self.burn(transfer, refusal);
                return ChainOutcome::Refused { index, refusal };
            }
            self.last_timestamp_ns = timestamp_ns;
            if index == 0 {
                first_timestamp_ns = timestamp_ns;
            }
        }
        self.conclude();
        ChainOutcome::Created { timestamp_ns: first_timestamp_ns }
    }

    /// Writes a part of a definition. Definitions are looked for among what is no definition, too, but not the other way
    /// round: no id of this program's can be both.
    fn write(
        &mut self,
        transfer: &Transfer,
        place: Place,
        linked: bool,
        timestamp_ns: u64,
    ) -> Result<(), Refusal> {
        if let Some(index) = place.index {
            return Err(self.refuse_known(transfer, index, linked));
        }
        if let Some(part) = self.log.find(transfer.id) {
            let earlier = self.log.recorded(part, &self.accounts).transfer;
            return Err(compare(transfer, linked, &earlier, self.log.is_linked(part)));
        }
        let Movement::Post { debit, credit, amount: 0 } = transfer.movement else {
            return Err(Refusal::Malformed("a definition moves nothing"));
        };
        let (debit, credit) = self.ends(debit, credit)?;
        self.check_movement(debit, credit, 0)?;
        let Transfer { id, user_data, .. } = *transfer;
        let part = NewPart { id, user_data, debit, credit, linked, timestamp_ns };
        self.log.write(&part, self.written, &mut self.accounts.head_mut(credit).newest_record)?;
        self.written += 1;
        Ok(())
    }

    /// Refuses a transfer whose id is borne by that one.
    #[cold]
    fn refuse_known(&self, transfer: &Transfer, index: u32, linked: bool) -> Refusal {
        let earlier = self.transfers.made(index);
        if earlier.state == State::Burnt {
            Refusal::IdAlreadyFailed
        } else {
            self.compare(transfer, linked, earlier)
        }
    }

    fn make(
        &mut self,
        transfer: &Transfer,
        place: Place,
        linked: bool,
        timestamp_ns: u64,
    ) -> Result<Applied, Refusal> {
        if let Some(index) = place.index {
            return Err(self.refuse_known(transfer, index, linked));
        }
        if !self.transfers.has_room() {
            return Err(Refusal::Overflow);
        }
        let (moved, state, voided) = self.carry_out(transfer, place.family, timestamp_ns)?;
        let user_data = match voided {
            Some(voided) => {
                inherited(transfer.user_data, self.transfers.user_data(self.transfers.made(voided)))
            }
            None => transfer.user_data,
        };
        let Transfer { id, code, .. } = *transfer;
        let new = New { id, code, user_data, moved, state, linked, timestamp_ns };
        let index = self.transfers.insert(place, &new);
        if let (State::Held, Moved::Pend { timeout_seconds: timeout_seconds @ 1.., .. }) = (state, moved) {
            self.expiries.join(&mut self.transfers, timeout_seconds, index);
        }
        if code == TransferCode::Close
            && let Some(closings) = self.closings_like(voided.unwrap_or(index))
        {
            closings.push(index);
        }
        Ok(Applied { made: index, voided })
    }

    /// Moves what a transfer moves, and answers what that was; of a void, the index of what it voided, too. `near` is a
    /// family that this is likely to be of.
    fn carry_out(
        &mut self,
        transfer: &Transfer,
        near: Option<u32>,
        timestamp_ns: u64,
    ) -> Result<(Moved, State, Option<u32>), Refusal> {
        Ok(match transfer.movement {
            Movement::Post { debit, credit, amount } => {
                let (debit, credit) = self.ends(debit, credit)?;
                self.check_movement(debit, credit, amount)?;
                self.accounts.post(debit, credit, amount);
                (Moved::Post { debit, credit, amount }, State::NotPending, None)
            }
            Movement::PostUpTo { debit, credit, amount, bound } => {
                let (debit, credit) = self.ends(debit, credit)?;
                let amount = amount.min(self.at_most(debit, credit, bound));
                self.check_movement(debit, credit, amount)?;
                self.accounts.post(debit, credit, amount);
                (Moved::PostUpTo { debit, credit, amount, bound }, State::NotPending, None)
            }
            Movement::Pend { debit, credit, amount, timeout_seconds } => {
                let timeout_ns = u64::from(timeout_seconds) * NS_PER_SECOND;
                timestamp_ns.checked_add(timeout_ns).ok_or(Refusal::Overflow)?;
                let (debit, credit) = self.ends(debit, credit)?;
                self.check_movement(debit, credit, amount)?;
                self.accounts.hold(debit, credit, amount);
                (Moved::Pend { debit, credit, amount, timeout_seconds }, State::Held, None)
            }
            Movement::Close { debit, credit } => {
                let (debit, credit) = self.ends(debit, credit)?;
                self.check_movement(debit, credit, 0)?;
                self.accounts.head_mut(debit).closed = true;
                (Moved::Close { debit, credit }, State::Held, None)
            }
            Movement::Void { pending } => {
                let voided = self.void(transfer, pending, near, timestamp_ns)?;
                (Moved::Void { pending }, State::NotPending, Some(voided))
            }
        })
    }

    /// The indexes of two accounts.
    fn ends(&mut self, debit: AccountId, credit: AccountId) -> Result<(u32, u32), Refusal> {
        if debit == credit {
            return Err(Refusal::Malformed("accounts_must_be_different"));
        }
        let debit = self.accounts.find(debit).ok_or(Refusal::DebitAccountNotFound)?;
        let credit = self.accounts.find_credited(credit).ok_or(Refusal::CreditAccountNotFound)?;
        Ok((debit, credit))
    }

    /// The most that a transfer of such a bound may move.
    fn at_most(&self, debit: u32, credit: u32, bound: Bound) -> u128 {
        let has = self.accounts.account(debit).available();
        let owes = self.accounts.account(credit).owed();
        match bound {
            Bound::DebitBalance => has,
            Bound::CreditOwed => owes,
            Bound::Both => has.min(owes),
        }
    }

    fn check_movement(&self, debit: u32, credit: u32, amount: u128) -> Result<(), Refusal> {
        let head = self.accounts.head(debit);
        if head.closed {
            return Err(Refusal::DebitAccountClosed);
        }
        if self.accounts.head(credit).closed {
            return Err(Refusal::CreditAccountClosed);
        }
        let (from, to) = (self.accounts.balances(debit), self.accounts.balances(credit));
        let sum = |posted: u128, pending: u128| {
            posted.checked_add(pending).and_then(|sum| sum.checked_add(amount)).ok_or(Refusal::Overflow)
        };
        let debits_after = sum(from.debits_posted, from.debits_pending)?;
        sum(to.credits_posted, to.credits_pending)?;
        match head.rule {
            AccountRule::DebitsMustNotExceedCredits if debits_after > from.credits_posted => {
                Err(Refusal::ExceedsCredits)
            }
            AccountRule::DebitsMustNotExceedCredits | AccountRule::Unconstrained => Ok(()),
        }
    }

    /// Voids a pending transfer, and answers its index.
    fn void(
        &mut self,
        transfer: &Transfer,
        pending: TransferId,
        near: Option<u32>,
        timestamp_ns: u64,
    ) -> Result<u32, Refusal> {
        if pending == transfer.id {
            return Err(Refusal::Malformed("pending_id_must_be_different"));
        }
        let index = self.transfers.find(pending, near).index.ok_or(Refusal::PendingNotFound)?;
        let held = self.transfers.made(index);
        match held.state.refuses_void() {
            Some(refusal @ (Refusal::PendingNotFound | Refusal::PendingNotPending)) => return Err(refusal),
            refusal => {
                if transfer.code != held.code {
                    return Err(Refusal::Malformed("pending_transfer_has_different_code"));
                }
                if let Some(refusal) = refusal {
                    return Err(refusal);
                }
            }
        }
        if held.expires_at_ns().is_some_and(|expires_at_ns| expires_at_ns <= timestamp_ns) {
            return Err(Refusal::PendingExpired);
        }
        self.stop_expiring(index);
        self.transfers.let_go(index, State::Voided);
        self.give_back(index);
        Ok(index)
    }

    /// Gives back what a pending transfer held.
    fn give_back(&mut self, index: u32) {
        match self.transfers.moved(index) {
            Moved::Pend { debit, credit, amount, .. } => self.accounts.unhold(debit, credit, amount),
            Moved::Close { debit, .. } => self.accounts.head_mut(debit).closed = false,
            Moved::Post { .. } | Moved::PostUpTo { .. } | Moved::Void { .. } => {}
        }
    }

    /// Sees how long the families of a chain are to be remembered, once it is certain.
    fn conclude(&mut self) {
        for &Applied { made, voided } in &self.applied {
            self.transfers.keep_while_spent(made);
            self.transfers.spends_no_more_if_settled(voided.unwrap_or(made));
        }
        // Most chains are of one family.
        let mut checked = None;
        for &Applied { made, voided } in &self.applied {
            let family = self.transfers.family_of(voided.unwrap_or(made));
            if checked.replace(family) != Some(family) {
                self.transfers.check_over(family, self.now_ns);
            }
        }
    }

    /// Takes back every transfer of the chain, the newest first.
    fn take_back(&mut self) {
        while let Some(Applied { made, voided }) = self.applied.pop() {
            let moved = self.transfers.moved(made);
            match moved {
                Moved::Post { debit, credit, amount } | Moved::PostUpTo { debit, credit, amount, .. } => {
                    self.accounts.unpost(debit, credit, amount);
                }
                Moved::Pend { .. } | Moved::Close { .. } => {
                    self.give_back(made);
                    self.stop_expiring(made);
                }
                Moved::Void { .. } => {}
            }
            if let Some(voided) = voided {
                self.hold_again(voided);
            }
            if self.transfers.made(made).code == TransferCode::Close
                && let Some(closings) = self.closings_like(voided.unwrap_or(made))
            {
                closings.pop();
            }
            self.transfers.remove_newest(made);
        }
        // A chain writes one definition at the most, the newest of all; nothing else of the chain depends on it.
        if self.written > 0
            && let Some((credit, newest)) = self.log.take_back()
        {
            self.accounts.head_mut(credit).newest_record = newest;
        }
    }

    fn hold_again(&mut self, index: u32) {
        self.transfers.hold_again(index);
        match self.transfers.moved(index) {
            Moved::Pend { debit, credit, amount, timeout_seconds } => {
                if timeout_seconds > 0 {
                    self.expiries.rejoin(&mut self.transfers, timeout_seconds, index);
                }
                self.accounts.hold(debit, credit, amount);
            }
            Moved::Close { debit, .. } => self.accounts.head_mut(debit).closed = true,
            Moved::Post { .. } | Moved::PostUpTo { .. } | Moved::Void { .. } => {}
        }
    }

    /// What closed and opened the account that a transfer debits.
    fn closings_like(&mut self, index: u32) -> Option<&mut Vec<u32>> {
        let debit = self.transfers.made(index).debit()?;
        Some(self.closings.entry(debit).or_default())
    }

    fn stop_expiring(&mut self, index: u32) {
        if let Some(timeout_seconds) = self.transfers.made(index).timeout_seconds() {
            self.expiries.leave(&mut self.transfers, timeout_seconds, index);
        }
    }

    fn burn(&mut self, transfer: &Transfer, refusal: Refusal) {
        if refusal.is_final() && self.transfers.has_room() {
            // Found anew: the family may have been taken back with its only transfers.
            let place = self.transfers.find(transfer.id, None);
            let nothing = Moved::Void { pending: transfer.id };
            let Transfer { id, code, user_data, .. } = *transfer;
            let (state, linked, timestamp_ns) = (State::Burnt, false, 0);
            let burnt = New { id, code, user_data, moved: nothing, state, linked, timestamp_ns };
            let index = self.transfers.insert(place, &burnt);
            self.transfers.check_over(self.transfers.family_of(index), self.now_ns);
        }
    }

    /// In what a transfer differs from the one that bears its id.
    fn compare(&self, transfer: &Transfer, linked: bool, earlier: &Made) -> Refusal {
        let user_data = match transfer.movement {
            Movement::Void { pending } => {
                let held = self.transfers.find(pending, None).index.map(|index| self.transfers.made(index));
                let held = held.filter(|held| held.state != State::Burnt);
                held.map_or(transfer.user_data, |held| {
                    inherited(transfer.user_data, self.transfers.user_data(held))
                })
            }
            Movement::Post { .. }
            | Movement::PostUpTo { .. }
            | Movement::Pend { .. }
            | Movement::Close { .. } => transfer.user_data,
        };
        let linked_before = earlier.linked;
        compare(&Transfer { user_data, ..*transfer }, linked, &self.recorded(earlier).transfer, linked_before)
    }

    fn recorded(&self, made: &Made) -> Recorded {
        let id = |index: u32| self.accounts.head(index).id;
        let movement = match self.transfers.moved_by(made) {
            Moved::Post { debit, credit, amount } => {
                Movement::Post { debit: id(debit), credit: id(credit), amount }
            }
            Moved::PostUpTo { debit, credit, amount, bound } => {
                Movement::PostUpTo { debit: id(debit), credit: id(credit), amount, bound }
            }
            Moved::Pend { debit, credit, amount, timeout_seconds } => {
                Movement::Pend { debit: id(debit), credit: id(credit), amount, timeout_seconds }
            }
            Moved::Close { debit, credit } => Movement::Close { debit: id(debit), credit: id(credit) },
            Moved::Void { pending } => Movement::Void { pending },
        };
        let (id, user_data) = (self.transfers.id(made), self.transfers.user_data(made));
        let transfer = Transfer { id, code: made.code, user_data, movement };
        Recorded { transfer, timestamp_ns: made.timestamp_ns }
    }
}

/// Of an account's transfers by time, those that a query picks.
fn pick(query: &AccountQuery, by_time: impl DoubleEndedIterator<Item = Recorded>) -> Vec<Recorded> {
    let later = by_time.filter(|recorded| recorded.timestamp_ns > query.after_ns);
    let count_max = query.count_max as usize;
    match query.order {
        Order::OldestFirst => later.take(count_max).collect(),
        Order::NewestFirst => later.rev().take(count_max).collect(),
    }
}
