//! Waiting: reserves that wait for room inside this process, in order. `docs/waiting.md` says what they promise, and why a lease
//! that waits has one outcome.
//!
//! | file | what it is |
//! | --- | --- |
//! | `queue.rs` | who is before whom, and whose turn it is; pure |
//! | `waiter.rs`, `waiters.rs`, `counts.rs` | the leases that wait in this process: their callers, joins, bounds |
//! | `wakes.rs` | what may have made room for them |
//! | `caller.rs` | one request that waits; dropped, it leaves |
//! | `enter.rs` | a reserve comes: it is sent, waits, or is denied because of those before it |
//! | `extend.rs` | an extend waits for its turn |
//! | `attempts.rs` | the attempts at a lease, and the end of a wait |
//! | `expiries.rs` | when reservations expire that waiters were granted |
//! | `under_way.rs` | guards for what a panic would leave undone |
//! | `asker.rs` | the task that looks for room, and serves those whose turn it is |
//!
//! While nobody waits, a reserve reads one atomic here.

mod asker;
mod attempts;
mod caller;
mod counts;
mod enter;
mod expiries;
mod extend;
mod queue;
mod under_way;
mod waiter;
mod waiters;
mod wakes;

use std::time::Duration;

pub use counts::WaitingCounts;
pub(super) use waiters::Waiting;

/// Settings of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingOptions {
    /// The time between two looks for room that another replica may have made.
    pub poll_interval: Duration,
    /// The most requests that wait in this process.
    pub waiters_max: usize,
    /// The waiting that one level of priority is worth.
    pub priority_aging: Duration,
}

impl Default for WaitingOptions {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_millis(100),
            waiters_max: 10_000,
            priority_aging: Duration::from_millis(2_500),
        }
    }
}
