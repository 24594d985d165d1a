use std::fmt;
use std::num::NonZeroU128;

/// The id of an account. Never 0 and never the largest number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(NonZeroU128);

impl AccountId {
    /// Takes a number as an id; the two that a ledger reserves are moved aside.
    pub fn from_u128(number: u128) -> Self {
        Self(NonZeroU128::new(number.min(u128::MAX - 1)).unwrap_or(NonZeroU128::MIN))
    }

    /// The id as a number.
    pub fn as_u128(self) -> u128 {
        self.0.get()
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "acct:{:032x}", self.0)
    }
}

/// An account to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewAccount {
    /// Its id.
    pub id: AccountId,
    /// What it must always satisfy.
    pub rule: AccountRule,
    /// What it is for.
    pub code: AccountCode,
}

/// What an account must always satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountRule {
    /// Nothing.
    Unconstrained,
    /// Posted and pending debits together never exceed posted credits.
    DebitsMustNotExceedCredits,
}

/// What an account is for, so that the ledger can be read as an audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum AccountCode {
    /// It funds and receives everything.
    Operator = 1,
    /// Every version of every definition is a row of transfers out of it.
    Registry = 2,
    /// A limit: its posted balance is the capacity, its pending debits are the reservations.
    Limit = 3,
    /// What a limit's callers used beyond what they could reserve; also the receiving end of its definitions.
    Debt = 4,
    /// What was spent of a limit and comes back by its schedule.
    Spent = 5,
    /// A limit's clock: its posted credits are the milliseconds up to which what was due has come back.
    Clock = 6,
    /// What was borrowed of a bucket's future: its posted debits less credits are owed.
    Borrowed = 7,
    /// What is owed is moved to it and back, so that the ledger tells how much it was.
    Measure = 8,
}

/// An account as the ledger has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Debits of pending transfers.
    pub debits_pending: u128,
    /// Debits of posted transfers.
    pub debits_posted: u128,
    /// Credits of pending transfers.
    pub credits_pending: u128,
    /// Credits of posted transfers.
    pub credits_posted: u128,
    /// Whether it refuses everything but voids.
    pub closed: bool,
}

impl Account {
    /// Posted credits less posted debits: a limit's capacity.
    pub fn posted_balance(&self) -> u128 {
        self.credits_posted.saturating_sub(self.debits_posted)
    }

    /// Posted debits less credits: what an account owes that was debited ahead.
    pub fn owed(&self) -> u128 {
        self.debits_posted.saturating_sub(self.credits_posted.saturating_add(self.credits_pending))
    }

    /// What can still be reserved.
    pub fn available(&self) -> u128 {
        self.posted_balance().saturating_sub(self.debits_pending)
    }
}
