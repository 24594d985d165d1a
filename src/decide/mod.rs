//! Decisions: what to send to the ledger, and what its answers mean. Everything here is pure: no clock, no lock, no IO.
//!
//! | module | decides |
//! | --- | --- |
//! | [`ids`] | the ids of accounts and transfers |
//! | [`reserve`] | a reserve command and its limits -> a chain; the chain's outcome -> granted, denied, or read the lease |
//! | `force` | a reserve that takes whatever is free, and the rest as debt -> a chain; the chain's outcome -> taken, or try again |
//! | `later_attempt` | a reserve that waits -> its later attempts, and what excludes them; the outcome of each |
//! | `look` | a reserve command and what is free -> granted or denied, without a chain |
//! | [`lease`] | the transfers of a lease -> what it holds, and whether it is settled |
//! | `extend` | a running lease and an extend command -> a chain; the chain's outcome -> granted, denied, or read again |
//! | `allotment` | allotments of a limit, and what is needed of them -> chains; their outcomes -> taken, stepped, or plan anew |
//! | `announcement` | a replica that lives -> chains that say so; the transfers of announcements -> the replicas that live |
//! | `renew` | a running lease and a renew command -> a chain; the chain's outcome -> renewed, expired, or read again |
//! | [`settle`] | a lease and its actual amounts -> chains, until the ledger accepts one |
//! | [`refill`] | a limit with a schedule and the time -> a chain that refills what is due |
//! | `refill_by_hand` | a limit and a request to refill it -> a chain that adds tokens or ends the present step |
//! | `pacing` | a full bucket that a reserve is about to take from -> a chain that starts its interval |
//! | [`clock_value`] | the account of a refill clock -> up to when everything is refilled, and from when the steps count |
//! | [`schedule_change`] | a replaced schedule -> what it has earned, and where what was spent goes |
//! | `allowance` | a bound on what a bucket owes -> the transfers that hold it |
//! | `borrow` | a bucket and a reservation ahead -> a chain; the lease's transfers -> granted or denied |
//! | `reservation_ahead` | the transfers of a lease -> the tokens it borrowed, and when they are available |
//! | `emergency_debt` | what was used under a lease that no ledger granted -> a chain of debt; the chain's outcome -> recorded, denied, or read the lease |
//! | `steps_by_hand` | the steps of a window that is refilled by hand, as the ledger has them |
//! | `window_end` | the end of a calendar window's present window, as the ledger has it |
//! | `alert` | the accounts of a limit -> the thresholds of its usage that were crossed, and the transfer that decides who tells |
//! | [`usage`] | the accounts of a limit and the time -> what is available, reserved and owed as debt |
//! | `exhaustion` | what this process knows of an exhausted limit -> whether to ask the ledger at all |
//! | `forecast` | one reading of a limit, and what hints have promised since -> when an amount fits |
//! | [`retry_after`] | a denial -> the hint for the caller |
//! | [`definition_version`] | a limit and the definition wanted -> its next version, and the version's chain |
//! | `instance_place` | the history of an instance -> the template that counts it |
//! | `replaced_account` | a deleted limit that gets another kind -> what its new account keeps reserved |
//! | [`definition_codec`] | a version -> the user data of transfers, and back |

pub(crate) mod alert;
pub(crate) mod allotment;
mod allowance;
pub(crate) mod announcement;
pub(crate) mod borrow;
pub mod clock_value;
pub mod definition_codec;
pub mod definition_version;
pub(crate) mod emergency_debt;
pub(crate) mod exhaustion;
pub(crate) mod extend;
pub(crate) mod force;
pub(crate) mod forecast;
pub mod ids;
pub(crate) mod instance_place;
pub(crate) mod later_attempt;
pub mod lease;
pub(crate) mod look;
pub(crate) mod pacing;
pub mod refill;
pub(crate) mod refill_by_hand;
pub(crate) mod renew;
pub(crate) mod replaced_account;
pub(crate) mod reservation_ahead;
pub mod reserve;
pub mod retry_after;
pub mod schedule;
pub mod schedule_change;
pub mod settle;
mod steps_by_hand;
pub mod usage;
mod window_end;

use crate::ledger::AccountId;
use crate::limit::LimitState;

/// A limit as the ledger has it: its newest version, and its accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The number of the newest version; the first is 1.
    pub version: u64,
    /// The definition, and whether the limit takes reservations.
    pub state: LimitState,
    /// The account whose posted balance is the capacity.
    pub account: AccountId,
    /// The account that records debt.
    pub debt_account: AccountId,
    /// The refill schedule; `None` for rolling and concurrency limits.
    pub schedule: Option<Box<schedule::Schedule>>,
}

impl Limit {
    /// When the present window of a calendar limit ends, as far as this process knows the ledger, in milliseconds since the Unix
    /// epoch.
    #[cfg(feature = "permits")]
    pub(crate) fn window_ends_ms(&self) -> Option<u64> {
        self.schedule.as_ref()?.window_ends_ms()
    }

    /// The account of tokens borrowed ahead of refills, if the limit's kind lends.
    pub fn borrowed_account(&self) -> Option<AccountId> {
        self.schedule.as_ref().and_then(|schedule| schedule.borrowed())
    }
}
