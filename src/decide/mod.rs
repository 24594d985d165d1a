//! The decisions, without a clock, a lock or a wire: what to send to the ledger, and what its answers mean.
//!
//! - [`reserve`]: a command and the limits it names -> a chain; the chain's outcome -> granted, denied, or look it up.
//! - [`headroom`]: what this replica knows of a limit that was just exhausted -> whether to ask the ledger at all.
//! - [`lease`]: the transfers of a lease -> what is reserved, and whether it is settled.
//! - [`settle`]: a lease and its actual amounts -> chains, until one is accepted.
//! - [`share`]: several settlements -> chains that settle them together.
//! - [`top_up`]: a lease and a wish for more -> a chain; its outcome -> granted, denied, or look once more.
//! - [`schedule`]: a limit whose time has gone on -> a chain that brings back what is due.
//! - [`object`]: a bucket and a wish for what it will have -> a chain; the lease's transfers -> when it is there.
//! - [`change`]: a limit and what an operator wants -> its next version, as a chain; [`record`] encodes it.
//! - [`retry_after`]: a denial -> when to come back.

pub mod change;
#[expect(missing_docs, reason = "the names say it")]
pub mod command;
pub mod headroom;
pub mod ids;
pub mod lease;
pub mod object;
pub mod record;
pub mod reserve;
pub mod retry_after;
pub mod schedule;
pub mod settle;
pub mod share;
pub mod top_up;

use crate::ledger::AccountId;
use crate::limit::LimitState;

/// A limit as the ledger has it: its newest version, and its accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Counts the changes; the first is 1.
    pub version: u64,
    /// The definition and whether it takes reservations.
    pub state: LimitState,
    /// The account whose posted balance is the capacity.
    pub account: AccountId,
    /// The account that records debt.
    pub debt_account: AccountId,
    /// Of a kind of which what is spent comes back by a schedule, that schedule.
    pub schedule: Option<Box<schedule::Schedule>>,
}
