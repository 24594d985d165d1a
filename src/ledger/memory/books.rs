use std::collections::{BTreeSet, HashMap};

use super::leases::Leases;
use crate::clock::NS_PER_SECOND;
use crate::ledger::{
    Account, AccountCode, AccountId, AccountRule, Chain, ChainOutcome, Field, LedgerError, Movement,
    NewAccount, Recorded, Refusal, Side, Transfer, TransferId, UserData,
};

/// Accounts and transfers, and the rules by which they change.
pub(super) struct Books {
    now_ns: u64,
    last_timestamp_ns: u64,
    accounts: HashMap<AccountId, Entry>,
    transfers: HashMap<TransferId, Slot>,
    /// Transfers that belong to no lease, by account, in order: they are few, and kept for ever.
    logs: HashMap<(AccountId, LogSide), Vec<TransferId>>,
    leases: Leases,
    expiries: BTreeSet<(u64, TransferId)>,
}

struct Entry {
    account: Account,
    rule: AccountRule,
    code: AccountCode,
}

/// What an id is used for.
enum Slot {
    Made(Box<Made>),
    /// It failed for a final reason.
    Burnt,
}

#[derive(Clone, Copy)]
struct Made {
    recorded: Recorded,
    /// Whether another transfer was linked behind it.
    linked: bool,
    debit: AccountId,
    credit: AccountId,
    amount: u128,
    pending: PendingState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PendingState {
    NotPending,
    Held { expires_at_ns: Option<u64> },
    Voided,
    Expired,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum LogSide {
    Debit,
    Credit,
}

/// How to take back a step of a chain that fails further on.
enum Undo {
    Account(Account),
    Pending(TransferId, PendingState),
    Made(TransferId),
}

impl Books {
    pub(super) fn new(retention_ns: u64) -> Self {
        Self {
            now_ns: 0,
            last_timestamp_ns: 0,
            accounts: HashMap::new(),
            transfers: HashMap::new(),
            logs: HashMap::new(),
            leases: Leases::new(retention_ns),
            expiries: BTreeSet::new(),
        }
    }

    pub(super) fn leases(&self) -> usize {
        self.leases.len()
    }

    pub(super) fn account(&self, id: AccountId) -> Option<Account> {
        self.accounts.get(&id).map(|entry| entry.account)
    }

    pub(super) fn lease_transfers(&self, lease: u128) -> Vec<Recorded> {
        self.leases.transfers(lease).iter().filter_map(|id| self.recorded(*id)).collect()
    }

    /// The transfers of an account later than `after_ns`, but for those of leases.
    pub(super) fn log(
        &self,
        account: AccountId,
        side: Side,
        after_ns: u64,
    ) -> impl DoubleEndedIterator<Item = Recorded> {
        let side = match side {
            Side::Debit => LogSide::Debit,
            Side::Credit => LogSide::Credit,
        };
        let ids = self.logs.get(&(account, side)).map_or(&[][..], Vec::as_slice);
        let is_before =
            |id: &TransferId| self.recorded(*id).is_some_and(|made| made.timestamp_ns <= after_ns);
        let later = ids.get(ids.partition_point(is_before)..).unwrap_or_default();
        later.iter().filter_map(|id| self.recorded(*id))
    }

    pub(super) fn open(&mut self, new: &NewAccount) -> Result<(), LedgerError> {
        let &NewAccount { id, rule, code } = new;
        let fresh = || Entry {
            account: Account {
                id,
                debits_pending: 0,
                debits_posted: 0,
                credits_pending: 0,
                credits_posted: 0,
                closed: false,
            },
            rule,
            code,
        };
        let entry = self.accounts.entry(id).or_insert_with(fresh);
        if entry.rule == rule && entry.code == code {
            Ok(())
        } else {
            Err(LedgerError::Unexpected(format!("{id:?} exists as another account")))
        }
    }

    /// Lets time pass: reservations expire, and leases that are long over are forgotten.
    pub(super) fn advance_to(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        while let Some(&(expires_at_ns, id)) = self.expiries.first()
            && expires_at_ns <= self.now_ns
        {
            self.expiries.pop_first();
            self.expire(id);
        }
        while let Some(forgotten) = self.leases.forget_one(self.now_ns) {
            for id in forgotten {
                self.transfers.remove(&id);
            }
        }
    }

    fn expire(&mut self, id: TransferId) {
        let Some(Slot::Made(made)) = self.transfers.get_mut(&id) else { return };
        made.pending = PendingState::Expired;
        let made = **made;
        self.release(&made, &mut Vec::new());
        self.leases.closed_one(made.recorded.transfer.user_data.wide, self.now_ns);
    }

    /// Applies the chain whole or not at all.
    pub(super) fn apply(&mut self, chain: &Chain) -> ChainOutcome {
        let transfers = chain.transfers();
        let last = transfers.len() - 1;
        let mut undo = Vec::new();
        let mut first_timestamp_ns = 0;
        for (index, transfer) in transfers.iter().enumerate() {
            let timestamp_ns = self.now_ns.max(self.last_timestamp_ns + 1);
            match self.make(transfer, index < last, timestamp_ns, &mut undo) {
                Ok(()) => self.last_timestamp_ns = timestamp_ns,
                Err(refusal) => {
                    self.take_back(undo);
                    self.burn(transfer, refusal);
                    return ChainOutcome::Refused { index, refusal };
                }
            }
            if index == 0 {
                first_timestamp_ns = timestamp_ns;
            }
        }
        self.settle_leases(transfers);
        ChainOutcome::Created { timestamp_ns: first_timestamp_ns }
    }

    fn make(
        &mut self,
        transfer: &Transfer,
        linked: bool,
        timestamp_ns: u64,
        undo: &mut Vec<Undo>,
    ) -> Result<(), Refusal> {
        match self.transfers.get(&transfer.id) {
            Some(Slot::Made(earlier)) => return Err(self.compare(transfer, linked, earlier)),
            Some(Slot::Burnt) => return Err(Refusal::IdAlreadyFailed),
            None => {}
        }
        let made = match transfer.movement {
            Movement::Void { pending } => self.void(transfer, pending, timestamp_ns, undo)?,
            Movement::Post { .. } | Movement::Pend { .. } | Movement::Close { .. } => {
                self.move_amount(transfer, timestamp_ns, undo)?
            }
        };
        undo.push(Undo::Made(transfer.id));
        self.schedule(made.pending, transfer.id);
        if transfer.code.is_of_lease() {
            self.leases.add(made.recorded.transfer.user_data.wide, transfer.id);
        } else {
            self.logs.entry((made.debit, LogSide::Debit)).or_default().push(transfer.id);
            self.logs.entry((made.credit, LogSide::Credit)).or_default().push(transfer.id);
        }
        self.transfers.insert(transfer.id, Slot::Made(Box::new(Made { linked, ..made })));
        Ok(())
    }

    fn move_amount(
        &mut self,
        transfer: &Transfer,
        timestamp_ns: u64,
        undo: &mut Vec<Undo>,
    ) -> Result<Made, Refusal> {
        let (debit, credit, amount, pending) = match transfer.movement {
            Movement::Post { debit, credit, amount } => (debit, credit, amount, PendingState::NotPending),
            Movement::Pend { debit, credit, amount, timeout_seconds } => {
                (debit, credit, amount, held(timestamp_ns, timeout_seconds)?)
            }
            Movement::Close { debit, credit } => (debit, credit, 0, held(timestamp_ns, 0)?),
            Movement::Void { .. } => return Err(Refusal::Malformed("a void moves nothing new")),
        };
        if debit == credit {
            return Err(Refusal::Malformed("accounts_must_be_different"));
        }
        let mut from = self.accounts.get(&debit).ok_or(Refusal::DebitAccountNotFound)?.account;
        let rule = self.accounts.get(&debit).map(|entry| entry.rule);
        let mut to = self.accounts.get(&credit).ok_or(Refusal::CreditAccountNotFound)?.account;
        if from.closed {
            return Err(Refusal::DebitAccountClosed);
        }
        if to.closed {
            return Err(Refusal::CreditAccountClosed);
        }
        let sum = |balance: u128| balance.checked_add(amount).ok_or(Refusal::Overflow);
        let debits_after =
            sum(from.debits_posted.checked_add(from.debits_pending).ok_or(Refusal::Overflow)?)?;
        sum(to.credits_posted.checked_add(to.credits_pending).ok_or(Refusal::Overflow)?)?;
        if rule == Some(AccountRule::DebitsMustNotExceedCredits) && debits_after > from.credits_posted {
            return Err(Refusal::ExceedsCredits);
        }
        if pending == PendingState::NotPending {
            from.debits_posted += amount;
            to.credits_posted += amount;
        } else {
            from.debits_pending += amount;
            to.credits_pending += amount;
        }
        from.closed = matches!(transfer.movement, Movement::Close { .. });
        self.put_account(from, undo);
        self.put_account(to, undo);
        let recorded = Recorded { transfer: *transfer, timestamp_ns };
        Ok(Made { recorded, linked: false, debit, credit, amount, pending })
    }

    fn void(
        &mut self,
        transfer: &Transfer,
        pending: TransferId,
        timestamp_ns: u64,
        undo: &mut Vec<Undo>,
    ) -> Result<Made, Refusal> {
        if pending == transfer.id {
            return Err(Refusal::Malformed("pending_id_must_be_different"));
        }
        let Some(Slot::Made(held)) = self.transfers.get_mut(&pending) else {
            return Err(Refusal::PendingNotFound);
        };
        if held.pending == PendingState::NotPending {
            return Err(Refusal::PendingNotPending);
        }
        if transfer.code != held.recorded.transfer.code {
            return Err(Refusal::Malformed("pending_transfer_has_different_code"));
        }
        match held.pending {
            PendingState::Held { expires_at_ns: Some(expires_at_ns) } if expires_at_ns <= timestamp_ns => {
                return Err(Refusal::PendingExpired);
            }
            PendingState::Held { .. } => {}
            PendingState::Voided => return Err(Refusal::PendingAlreadyVoided),
            PendingState::Expired => return Err(Refusal::PendingExpired),
            PendingState::NotPending => return Err(Refusal::PendingNotPending),
        }
        undo.push(Undo::Pending(pending, held.pending));
        let before = std::mem::replace(&mut held.pending, PendingState::Voided);
        let held = **held;
        self.unschedule(before, pending);
        self.release(&held, undo);
        let user_data = inherited(transfer.user_data, held.recorded.transfer.user_data);
        let recorded = Recorded { transfer: Transfer { user_data, ..*transfer }, timestamp_ns };
        let Made { debit, credit, amount, .. } = held;
        Ok(Made { recorded, linked: false, debit, credit, amount, pending: PendingState::NotPending })
    }

    fn schedule(&mut self, pending: PendingState, id: TransferId) {
        if let PendingState::Held { expires_at_ns: Some(expires_at_ns) } = pending {
            self.expiries.insert((expires_at_ns, id));
        }
    }

    fn unschedule(&mut self, pending: PendingState, id: TransferId) {
        if let PendingState::Held { expires_at_ns: Some(expires_at_ns) } = pending {
            self.expiries.remove(&(expires_at_ns, id));
        }
    }

    /// Gives back what a pending transfer held.
    fn release(&mut self, held: &Made, undo: &mut Vec<Undo>) {
        if let Some(mut from) = self.account(held.debit) {
            from.debits_pending = from.debits_pending.saturating_sub(held.amount);
            if matches!(held.recorded.transfer.movement, Movement::Close { .. }) {
                from.closed = false;
            }
            self.put_account(from, undo);
        }
        if let Some(mut to) = self.account(held.credit) {
            to.credits_pending = to.credits_pending.saturating_sub(held.amount);
            self.put_account(to, undo);
        }
    }

    fn put_account(&mut self, account: Account, undo: &mut Vec<Undo>) {
        if let Some(entry) = self.accounts.get_mut(&account.id) {
            undo.push(Undo::Account(entry.account));
            entry.account = account;
        }
    }

    /// In what a transfer differs from the one that bears its id.
    fn compare(&self, transfer: &Transfer, linked: bool, earlier: &Made) -> Refusal {
        let before = &earlier.recorded.transfer;
        let user_data = match transfer.movement {
            Movement::Void { pending } => match self.recorded(pending) {
                Some(held) => inherited(transfer.user_data, held.transfer.user_data),
                None => transfer.user_data,
            },
            Movement::Post { .. } | Movement::Pend { .. } | Movement::Close { .. } => transfer.user_data,
        };
        let by_link = (linked != earlier.linked).then_some(Field::Flags);
        let behind = [
            (user_data.wide != before.user_data.wide, Field::UserDataWide),
            (user_data.long != before.user_data.long, Field::UserDataLong),
            (user_data.short != before.user_data.short, Field::UserDataShort),
            (transfer.code != before.code, Field::Code),
        ];
        let by_user_data = || behind.into_iter().find(|(differs, _)| *differs).map(|(_, field)| field);
        by_link
            .or_else(|| movement_difference(&transfer.movement, &before.movement))
            .or_else(by_user_data)
            .map_or(Refusal::Exists, Refusal::ExistsWithDifferent)
    }

    fn take_back(&mut self, undo: Vec<Undo>) {
        for step in undo.into_iter().rev() {
            match step {
                Undo::Account(before) => {
                    if let Some(entry) = self.accounts.get_mut(&before.id) {
                        entry.account = before;
                    }
                }
                Undo::Pending(id, before) => {
                    if let Some(Slot::Made(made)) = self.transfers.get_mut(&id) {
                        made.pending = before;
                    }
                    self.schedule(before, id);
                }
                Undo::Made(id) => self.unmake(id),
            }
        }
    }

    fn unmake(&mut self, id: TransferId) {
        let Some(Slot::Made(made)) = self.transfers.remove(&id) else { return };
        self.unschedule(made.pending, id);
        if made.recorded.transfer.code.is_of_lease() {
            self.leases.remove_newest(made.recorded.transfer.user_data.wide);
        } else {
            for side in [(made.debit, LogSide::Debit), (made.credit, LogSide::Credit)] {
                self.logs.get_mut(&side).and_then(Vec::pop);
            }
        }
    }

    fn burn(&mut self, transfer: &Transfer, refusal: Refusal) {
        if refusal.is_final() {
            self.transfers.insert(transfer.id, Slot::Burnt);
            if transfer.code.is_of_lease() {
                self.leases.add_burnt(transfer.user_data.wide, transfer.id, self.now_ns);
            }
        }
    }

    /// Counts what a chain opened and closed, once it is certain.
    fn settle_leases(&mut self, transfers: &[Transfer]) {
        for transfer in transfers.iter().filter(|transfer| transfer.code.is_of_lease()) {
            let Some(recorded) = self.recorded(transfer.id) else { continue };
            let lease = recorded.transfer.user_data.wide;
            match transfer.movement {
                Movement::Pend { .. } => self.leases.opened_one(lease),
                Movement::Void { .. } => self.leases.closed_one(lease, self.now_ns),
                Movement::Post { .. } | Movement::Close { .. } => {}
            }
        }
    }

    fn recorded(&self, id: TransferId) -> Option<Recorded> {
        match self.transfers.get(&id) {
            Some(Slot::Made(made)) => Some(made.recorded),
            Some(Slot::Burnt) | None => None,
        }
    }
}

fn held(timestamp_ns: u64, timeout_seconds: u32) -> Result<PendingState, Refusal> {
    if timeout_seconds == 0 {
        return Ok(PendingState::Held { expires_at_ns: None });
    }
    let expires_at_ns =
        timestamp_ns.checked_add(u64::from(timeout_seconds) * NS_PER_SECOND).ok_or(Refusal::Overflow)?;
    Ok(PendingState::Held { expires_at_ns: Some(expires_at_ns) })
}

/// A void takes over what it does not say itself.
fn inherited(own: UserData, held: UserData) -> UserData {
    UserData {
        wide: if own.wide == 0 { held.wide } else { own.wide },
        long: if own.long == 0 { held.long } else { own.long },
        short: if own.short == 0 { held.short } else { own.short },
    }
}

/// The first field in which two movements differ, in the ledger's order.
fn movement_difference(new: &Movement, old: &Movement) -> Option<Field> {
    let parts = |movement: &Movement| match *movement {
        Movement::Post { debit, credit, amount } => (0, None, 0, Some(debit), Some(credit), amount),
        Movement::Pend { debit, credit, amount, timeout_seconds } => {
            (1, None, timeout_seconds, Some(debit), Some(credit), amount)
        }
        Movement::Close { debit, credit } => (2, None, 0, Some(debit), Some(credit), 0),
        Movement::Void { pending } => (3, Some(pending), 0, None, None, 0),
    };
    let (new, old) = (parts(new), parts(old));
    [
        (new.0 != old.0, Field::Flags),
        (new.1 != old.1, Field::PendingId),
        (new.2 != old.2, Field::Timeout),
        (new.3 != old.3, Field::DebitAccount),
        (new.4 != old.4, Field::CreditAccount),
        (new.5 != old.5, Field::Amount),
    ]
    .into_iter()
    .find(|(differs, _)| *differs)
    .map(|(_, field)| field)
}
