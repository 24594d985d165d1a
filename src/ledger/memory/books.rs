use super::accounts::Accounts;
use super::compare::{compare, inherited};
use super::expiries::Expiries;
use super::link::Link;
use super::transfers::{Made, Moved, New, Place, State, Transfers};
use crate::ledger::{
    Account, AccountId, AccountRule, Bound, Chain, ChainOutcome, LedgerError, Movement, NewAccount, Order,
    Recorded, Refusal, Side, Transfer, TransferFamily, TransferId,
};

/// Of the neighbours of a transfer in the logs, which is which.
const DEBIT: usize = 0;
const CREDIT: usize = 1;

/// Accounts and transfers, and the rules by which they change.
pub(super) struct Books {
    now_ns: u64,
    last_timestamp_ns: u64,
    accounts: Accounts,
    transfers: Transfers,
    expiries: Expiries,
    /// The transfers of the chain that is being applied, in order. Kept for its room.
    applied: Vec<Applied>,
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
            applied: Vec::new(),
        }
    }

    pub(super) fn leases(&self) -> usize {
        self.transfers.leases()
    }

    pub(super) fn transfers(&self) -> usize {
        self.transfers.len()
    }

    pub(super) fn open(&mut self, new: &NewAccount) -> Result<(), LedgerError> {
        self.accounts.open(new)
    }

    pub(super) fn account(&self, id: AccountId) -> Option<Account> {
        self.accounts.find(id).map(|index| self.accounts.entry(index).account)
    }

    /// The transfers of a family that name a lease, oldest first.
    pub(super) fn lease_transfers(&self, lease: u128, family: TransferFamily) -> Vec<Recorded> {
        let Some(family) = self.transfers.find_family(family) else { return Vec::new() };
        let of_lease =
            |made: &&Made| made.state != State::Burnt && self.transfers.user_data(made).wide == lease;
        let made = self.transfers.of_family(family).map(|index| self.transfers.made(index));
        made.filter(of_lease).map(|made| self.recorded(made)).collect()
    }

    /// The transfers of an account later than `after_ns`, but for those of leases.
    pub(super) fn log(
        &self,
        id: AccountId,
        side: Side,
        after_ns: u64,
        order: Order,
    ) -> Box<dyn Iterator<Item = Recorded> + '_> {
        let Some(account) = self.accounts.find(id) else { return Box::new(std::iter::empty()) };
        let entry = self.accounts.entry(account);
        let is_later = move |made: &&Made| made.timestamp_ns > after_ns;
        let recorded = |made: &Made| self.recorded(made);
        match order {
            Order::NewestFirst => {
                let (newest, log) = match side {
                    Side::Debit => (entry.newest_debit, DEBIT),
                    Side::Credit => (entry.newest_credit, CREDIT),
                };
                let made = |link: Link| link.get().map(|index| self.transfers.made(index));
                let chain = std::iter::successors(made(newest), move |of| made(of.neighbours[log]));
                Box::new(chain.take_while(is_later).map(recorded))
            }
            Order::OldestFirst => {
                if side == Side::Debit {
                    let log = self.transfers.debits.get(&account).map_or(&[][..], Vec::as_slice);
                    let start =
                        log.partition_point(|&index| self.transfers.made(index).timestamp_ns <= after_ns);
                    let later = log.get(start..).unwrap_or_default();
                    return Box::new(later.iter().map(move |&index| recorded(self.transfers.made(index))));
                }
                // Few are ever credited to one account.
                let newest_first = self.log(id, side, after_ns, Order::NewestFirst);
                Box::new(newest_first.collect::<Vec<_>>().into_iter().rev())
            }
        }
    }

    /// Lets time pass: reservations expire, and leases that are long over are forgotten.
    pub(super) fn advance_to(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        while let Some(index) = self.expiries.pop_due(&mut self.transfers, self.now_ns) {
            self.transfers.made_mut(index).state = State::Expired;
            self.give_back(index);
            self.transfers.holds_one_fewer(index);
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
        for (index, transfer) in transfers.iter().enumerate() {
            let timestamp_ns = self.now_ns.max(self.last_timestamp_ns + 1);
            let place = self.transfers.find(transfer.id, near);
            match self.make(transfer, place, index < last, timestamp_ns) {
                Ok(applied) => {
                    self.last_timestamp_ns = timestamp_ns;
                    near = Some(self.transfers.family_of(applied.made));
                    self.applied.push(applied);
                }
                Err(refusal) => {
                    self.take_back();
                    self.burn(transfer, refusal);
                    return ChainOutcome::Refused { index, refusal };
                }
            }
            if index == 0 {
                first_timestamp_ns = timestamp_ns;
            }
        }
        self.conclude();
        ChainOutcome::Created { timestamp_ns: first_timestamp_ns }
    }

    fn make(
        &mut self,
        transfer: &Transfer,
        place: Place,
        linked: bool,
        timestamp_ns: u64,
    ) -> Result<Applied, Refusal> {
        if let Some(earlier) = place.index.map(|index| self.transfers.made(index)) {
            return Err(if earlier.state == State::Burnt {
                Refusal::IdAlreadyFailed
            } else {
                self.compare(transfer, linked, earlier)
            });
        }
        if !self.transfers.has_room() {
            return Err(Refusal::Overflow);
        }
        let (moved, state, user_data, voided) = match transfer.movement {
            Movement::Void { pending } => {
                let voided = self.void(transfer, pending, place.family, timestamp_ns)?;
                let user_data =
                    inherited(transfer.user_data, self.transfers.user_data(self.transfers.made(voided)));
                (Moved::Void { pending }, State::NotPending, user_data, Some(voided))
            }
            Movement::Post { .. }
            | Movement::PostUpTo { .. }
            | Movement::Pend { .. }
            | Movement::Close { .. } => {
                let (moved, state) = self.move_amount(&transfer.movement, timestamp_ns)?;
                (moved, state, transfer.user_data, None)
            }
        };
        let Transfer { id, code, .. } = *transfer;
        let new = New { id, code, user_data, moved, state, linked, timestamp_ns };
        let index = self.transfers.insert(place, &new);
        if let (State::Held, Moved::Pend { timeout_seconds: timeout_seconds @ 1.., .. }) = (state, moved) {
            self.expiries.join(&mut self.transfers, timeout_seconds, index);
        } else if code.is_of_log() {
            self.note_in_logs(index);
        }
        Ok(Applied { made: index, voided })
    }

    fn move_amount(&mut self, movement: &Movement, timestamp_ns: u64) -> Result<(Moved, State), Refusal> {
        let (debit, credit, amount, timeout_seconds) = match *movement {
            Movement::Post { debit, credit, amount } | Movement::PostUpTo { debit, credit, amount, .. } => {
                (debit, credit, amount, 0)
            }
            Movement::Pend { debit, credit, amount, timeout_seconds } => {
                (debit, credit, amount, timeout_seconds)
            }
            Movement::Close { debit, credit } => (debit, credit, 0, 0),
            Movement::Void { .. } => return Err(Refusal::Malformed("a void moves nothing new")),
        };
        let timeout_ns = u64::from(timeout_seconds) * crate::clock::NS_PER_SECOND;
        timestamp_ns.checked_add(timeout_ns).ok_or(Refusal::Overflow)?;
        if debit == credit {
            return Err(Refusal::Malformed("accounts_must_be_different"));
        }
        let debit = self.accounts.find(debit).ok_or(Refusal::DebitAccountNotFound)?;
        let credit = self.accounts.find_credited(credit).ok_or(Refusal::CreditAccountNotFound)?;
        let amount = match movement {
            Movement::PostUpTo { bound, .. } => amount.min(self.at_most(debit, credit, *bound)),
            Movement::Post { .. }
            | Movement::Pend { .. }
            | Movement::Close { .. }
            | Movement::Void { .. } => amount,
        };
        self.check_movement(debit, credit, amount)?;
        let (moved, state) = match movement {
            Movement::Post { .. } => (Moved::Post { debit, credit, amount }, State::NotPending),
            &Movement::PostUpTo { bound, .. } => {
                (Moved::PostUpTo { debit, credit, amount, bound }, State::NotPending)
            }
            Movement::Close { .. } => (Moved::Close { debit, credit }, State::Held),
            Movement::Pend { .. } | Movement::Void { .. } => {
                (Moved::Pend { debit, credit, amount, timeout_seconds }, State::Held)
            }
        };
        self.carry_out(moved);
        Ok((moved, state))
    }

    /// The most that a transfer of such a bound may move.
    fn at_most(&self, debit: u32, credit: u32, bound: Bound) -> u128 {
        let has = self.accounts.entry(debit).account.available();
        let owes = self.accounts.entry(credit).account.owed();
        match bound {
            Bound::Has => has,
            Bound::Owes => owes,
            Bound::HasAndOwes => has.min(owes),
        }
    }

    fn check_movement(&self, debit: u32, credit: u32, amount: u128) -> Result<(), Refusal> {
        let from = self.accounts.entry(debit);
        let (rule, from) = (from.rule, &from.account);
        let to = &self.accounts.entry(credit).account;
        if from.closed {
            return Err(Refusal::DebitAccountClosed);
        }
        if to.closed {
            return Err(Refusal::CreditAccountClosed);
        }
        let sum = |posted: u128, pending: u128| {
            posted.checked_add(pending).and_then(|sum| sum.checked_add(amount)).ok_or(Refusal::Overflow)
        };
        let debits_after = sum(from.debits_posted, from.debits_pending)?;
        sum(to.credits_posted, to.credits_pending)?;
        match rule {
            AccountRule::DebitsMustNotExceedCredits if debits_after > from.credits_posted => {
                Err(Refusal::ExceedsCredits)
            }
            AccountRule::DebitsMustNotExceedCredits | AccountRule::Unconstrained => Ok(()),
        }
    }

    /// Moves what was checked. A void is carried out by [`Books::void`].
    fn carry_out(&mut self, moved: Moved) {
        match moved {
            Moved::Post { debit, credit, amount } | Moved::PostUpTo { debit, credit, amount, .. } => {
                self.accounts.entry_mut(debit).account.debits_posted += amount;
                self.accounts.entry_mut(credit).account.credits_posted += amount;
            }
            Moved::Pend { debit, credit, amount, .. } => {
                self.accounts.entry_mut(debit).account.debits_pending += amount;
                self.accounts.entry_mut(credit).account.credits_pending += amount;
            }
            Moved::Close { debit, .. } => self.accounts.entry_mut(debit).account.closed = true,
            Moved::Void { .. } => {}
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
        self.transfers.made_mut(index).state = State::Voided;
        self.give_back(index);
        Ok(index)
    }

    /// Gives back what a pending transfer held.
    fn give_back(&mut self, index: u32) {
        match self.transfers.moved(index) {
            Moved::Pend { debit, credit, amount, .. } => {
                self.accounts.entry_mut(debit).account.debits_pending -= amount;
                self.accounts.entry_mut(credit).account.credits_pending -= amount;
            }
            Moved::Close { debit, .. } => self.accounts.entry_mut(debit).account.closed = false,
            Moved::Post { .. } | Moved::PostUpTo { .. } | Moved::Void { .. } => {}
        }
    }

    /// Counts what a chain opened and closed, once it is certain.
    fn conclude(&mut self) {
        for &Applied { made, voided } in &self.applied {
            if self.transfers.made(made).is_pending() {
                self.transfers.holds_one_more(made);
            } else {
                self.transfers.keep_while_spent(made);
            }
            if let Some(voided) = voided {
                self.transfers.holds_one_fewer(voided);
            }
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
                    self.accounts.entry_mut(debit).account.debits_posted -= amount;
                    self.accounts.entry_mut(credit).account.credits_posted -= amount;
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
            if self.transfers.made(made).is_in_logs() {
                self.strike_from_logs(made);
            }
            self.transfers.remove_newest(made);
        }
    }

    fn hold_again(&mut self, index: u32) {
        self.transfers.made_mut(index).state = State::Held;
        let moved = self.transfers.moved(index);
        if let Moved::Pend { timeout_seconds: timeout_seconds @ 1.., .. } = moved {
            self.expiries.rejoin(&mut self.transfers, timeout_seconds, index);
        }
        self.carry_out(moved);
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

    fn note_in_logs(&mut self, index: u32) {
        let (debit, credit) = self.ends(index);
        let newest = Link::to(index);
        if let Some(debit) = debit {
            self.transfers.debits.entry(debit).or_default().push(index);
            let earlier = std::mem::replace(&mut self.accounts.entry_mut(debit).newest_debit, newest);
            self.transfers.made_mut(index).neighbours[DEBIT] = earlier;
        }
        if let Some(credit) = credit {
            let earlier = std::mem::replace(&mut self.accounts.entry_mut(credit).newest_credit, newest);
            self.transfers.made_mut(index).neighbours[CREDIT] = earlier;
        }
    }

    fn strike_from_logs(&mut self, index: u32) {
        let (debit, credit) = self.ends(index);
        let [earlier_debit, earlier_credit] = self.transfers.made(index).neighbours;
        if let Some(debit) = debit {
            self.transfers.debits.entry(debit).or_default().pop();
            self.accounts.entry_mut(debit).newest_debit = earlier_debit;
        }
        if let Some(credit) = credit {
            self.accounts.entry_mut(credit).newest_credit = earlier_credit;
        }
    }

    /// The accounts that a transfer debits and credits; a void has those of what it voids.
    fn ends(&self, index: u32) -> (Option<u32>, Option<u32>) {
        match self.transfers.moved(index) {
            Moved::Post { debit, credit, .. }
            | Moved::PostUpTo { debit, credit, .. }
            | Moved::Pend { debit, credit, .. }
            | Moved::Close { debit, credit } => (Some(debit), Some(credit)),
            // What was burnt names itself.
            Moved::Void { pending } => {
                let held = self.transfers.find(pending, None).index.filter(|&held| held != index);
                held.map_or((None, None), |held| self.ends(held))
            }
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
        let id = |index: u32| self.accounts.entry(index).account.id;
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
