//! Accounts: their ids, rules, codes and balances.

use std::fmt;
use std::num::NonZeroU128;

/// The id of an account. Never 0 and never the largest number: a ledger reserves both.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(NonZeroU128);

impl AccountId {
    /// Makes an id of a number. The two reserved numbers become their neighbours.
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

/// An account to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewAccount {
    /// The account's id.
    pub id: AccountId,
    /// The rule that its balance always satisfies.
    pub rule: AccountRule,
    /// The purpose of the account.
    pub code: AccountCode,
}

/// A rule that the ledger enforces on an account's balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountRule {
    /// Any balance is allowed.
    Unconstrained,
    /// Posted and pending debits together never exceed posted credits.
    DebitsMustNotExceedCredits,
}

/// The purpose of an account, so that the ledger can be read as an audit log. The numbers are stored in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum AccountCode {
    /// Funds the limits and receives what they spend.
    Operator = 1,
    /// Debited by every transfer that is part of a definition version.
    Registry = 2,
    /// A limit: its posted balance is the capacity, its pending debits are the reservations.
    Limit = 3,
    /// The debt of a limit: overage that could not be reserved. Also credited by the limit's definition versions.
    Debt = 4,
    /// What was spent of a limit and is refilled by its schedule.
    Spent = 5,
    /// The clock of a limit: its posted credits are the time up to which the limit is refilled, in its ticks.
    Clock = 6,
    /// What was borrowed of a bucket's future refills: its posted debits less its credits are owed.
    Borrowed = 7,
    /// What a bucket owes is moved here and back in one chain, so that the ledger records the amount.
    Measure = 8,
    /// Lets a chain be refused if a bucket owes more than a bound. Holds nothing between chains.
    Allowance = 9,
    /// Which thresholds of a limit's usage have fired: see `docs/alerts.md`.
    Alert = 10,
}

/// An account with its balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The account's id.
    pub id: AccountId,
    /// The sum of pending debits.
    pub debits_pending: u128,
    /// The sum of posted debits.
    pub debits_posted: u128,
    /// The sum of pending credits.
    pub credits_pending: u128,
    /// The sum of posted credits.
    pub credits_posted: u128,
    /// Whether the account is closed: it refuses every transfer except voids.
    pub closed: bool,
}

impl Account {
    /// Posted credits less posted debits: a limit's capacity.
    pub(crate) fn posted_balance(&self) -> u128 {
        self.credits_posted.saturating_sub(self.debits_posted)
    }

    /// Posted debits less credits, pending ones included: what the account owes.
    pub fn owed(&self) -> u128 {
        self.debits_posted.saturating_sub(self.credits_posted.saturating_add(self.credits_pending))
    }

    /// The posted balance less pending debits: the amount that can still be reserved.
    pub fn available(&self) -> u128 {
        self.posted_balance().saturating_sub(self.debits_pending)
    }
}
