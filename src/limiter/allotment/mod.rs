//! Allotments: this replica reserves a part of a limit's capacity in one transfer, and serves callers from it in memory.
//! `docs/allotments.md` is the protocol, and the argument why no caller ever gets more than the capacity.
//!
//! | file | what it is |
//! | --- | --- |
//! | `clock.rs` | the clocks that tell whether an allotment serves |
//! | `demand.rs` | how much callers ask of a limit |
//! | `held.rs` | one allotment |
//! | `pool.rs` | the allotments of one limit |
//! | `table.rs` | the leases that are served from allotments |
//! | `claim.rs` | the right of one call to work on a lease |
//! | `counts.rs` | what is counted |
//! | `wanted.rs` | the part of a reserve that allotments can serve |
//! | `reserve.rs`, `complete.rs`, `overage.rs`, `extend.rs`, `renew.rs` | the operations |
//! | `chains.rs` | sends the chains of a limit's allotments, one at a time |
//! | `take.rs` | takes an allotment |
//! | `step.rs` | replaces allotments by what is needed of them |
//! | `upkeep.rs` | what the background loop does, and what a replica does that stops |
//!
//! Locks are taken in this order: a shard of the table, then the pools in the order of their keys.

mod chains;
mod claim;
mod clock;
mod complete;
mod counts;
mod demand;
mod extend;
mod held;
mod overage;
mod pool;
mod renew;
mod reserve;
mod step;
mod table;
mod take;
mod upkeep;
mod wanted;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hashbrown::DefaultHashBuilder;
use tokio::sync::Notify;

use super::Limiter;
use crate::ledger::{AccountId, Ledger};
use crate::limit::{LeaseId, LimitKey};

use clock::{Now, OwnClock, wall_unix_ms};
pub(super) use complete::Completion;
pub use counts::AllotmentCounts;
use pool::Pool;
use table::{Entry, Place, State, Table};

/// The allotments of this process, and the leases that it serves from them.
#[derive(Debug)]
pub(super) struct Allotments {
    clock: OwnClock,
    table: Table,
    pools: papaya::HashMap<AccountId, Arc<Pool>, DefaultHashBuilder>,
    counts: Arc<AllotmentCounts>,
    /// Wakes the background loop: an allotment is nearly used up, or a pool was made.
    wanted: Notify,
    /// Whether the replica stops: nobody is served any more.
    stopped: AtomicBool,
    /// The newest lease id that the ledger was asked for beside the table, in milliseconds since the Unix epoch: its limits
    /// handed out no allotments.
    newest_plain_unix_ms: AtomicU64,
}

impl Allotments {
    pub(super) fn new() -> Self {
        Self {
            clock: OwnClock::new(),
            table: Table::new(),
            pools: papaya::HashMap::default(),
            counts: Arc::default(),
            wanted: Notify::new(),
            stopped: AtomicBool::new(false),
            newest_plain_unix_ms: AtomicU64::new(0),
        }
    }

    /// The pool of a limit, which is made at its first use.
    fn pool(&self, key: &LimitKey, account: AccountId) -> Arc<Pool> {
        let pools = self.pools.pin();
        if let Some(pool) = pools.get(&account) {
            return Arc::clone(pool);
        }
        let make = || {
            let pool = Pool::new(key.clone(), account, self.plain_until_unix_ms());
            pool.lock().stopped = self.stopped.load(Ordering::Acquire);
            Arc::new(pool)
        };
        let pool = Arc::clone(pools.get_or_insert_with(account, make));
        self.wanted.notify_one();
        pool
    }

    /// Ids made before this may have been sent to the ledger although they are not in the table.
    fn plain_until_unix_ms(&self) -> u64 {
        let (now, newest) = (wall_unix_ms(), self.newest_plain_unix_ms.load(Ordering::Acquire));
        // Only an id that was ahead of the clock is newer than all that came until now.
        if newest > now { newest.saturating_add(1) } else { now }
    }

    /// In the order of their accounts, so that a simulation meets them in the same order again.
    fn all_pools(&self) -> Vec<Arc<Pool>> {
        let mut pools: Vec<_> = self.pools.pin().values().cloned().collect();
        pools.sort_unstable_by_key(|pool| pool.account);
        pools
    }

    /// Whether a lease has an entry.
    pub(super) fn knows(&self, lease: LeaseId) -> bool {
        !self.table.is_empty() && self.table.lock(lease).get_mut(lease).is_some()
    }

    /// Whether a lease holds, or held, units of this process's allotments.
    fn serves(&self, lease: LeaseId) -> bool {
        if self.table.is_empty() {
            return false;
        }
        let mut shard = self.table.lock(lease);
        shard.get_mut(lease).is_some_and(|entry| match entry.state {
            State::Direct | State::Denied(_) => false,
            State::Unknown | State::Running | State::Expired | State::Settled => !entry.legs.is_empty(),
        })
    }

    /// Notes that the ledger may be asked for a lease whose limits hand out no allotments, because they may do so when the id
    /// is used again.
    pub(super) fn note_plain(&self, lease: LeaseId) {
        let unix_ms = lease.timestamp_ms();
        if unix_ms <= self.newest_plain_unix_ms.load(Ordering::Relaxed) {
            return;
        }
        if !self.clock.is_far_ahead(unix_ms) {
            self.newest_plain_unix_ms.fetch_max(unix_ms, Ordering::Release);
            return;
        }
        let mut shard = self.table.lock(lease);
        if shard.get_mut(lease).is_none() && shard.place_for(lease, &self.clock, &self.table) != Place::None {
            self.table.enter(&mut shard, lease, Entry::new(State::Direct, false));
        }
    }

    /// Whether `allows` holds for every limit of which a lease holds units in allotments; also true if there is no such lease.
    pub(super) fn holds_only(&self, lease: LeaseId, allows: impl Fn(&LimitKey) -> bool) -> bool {
        if self.table.is_empty() {
            return true;
        }
        let mut shard = self.table.lock(lease);
        shard.get_mut(lease).is_none_or(|entry| entry.legs.iter().all(|leg| allows(&leg.pool.key)))
    }
}

impl<L: Ledger> Limiter<L> {
    /// The units of a limit that this process holds in allotments and that no caller holds.
    pub fn allotted(&self, account: AccountId) -> u64 {
        let pool = self.allotments.pools.pin().get(&account).cloned();
        pool.map_or(0, |pool| {
            let (amount, used) = pool.lock().units();
            amount.saturating_sub(used)
        })
    }

    /// Whether this process serves a lease, or a part of it, from its allotments.
    pub fn serves(&self, lease: LeaseId) -> bool {
        self.allotments.serves(lease)
    }

    /// What was done with allotments.
    pub fn allotment_counts(&self) -> Arc<AllotmentCounts> {
        Arc::clone(&self.allotments.counts)
    }

    fn allotment_now(&self) -> Now {
        self.allotments.clock.now(self.ledger.now_ns())
    }
}
