//! The leases that this replica serves from allotments, or has sent to the ledger although they name a limit with allotments.
//!
//! An id is entered before anything is taken or sent. A repetition goes the way that the entry tells.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;
use tokio::sync::Notify;

use super::clock::{OwnClock, wall_unix_ms};
use super::pool::{Pool, Units};
use crate::limit::{ExtendId, LeaseId, Overage, RenewId};
use crate::protocol::{Complete, Requirement, Reserve, ReserveOutcome};

const SHARDS: usize = 16;
/// The most leases in a shard.
const SHARD_ENTRIES_MAX: usize = 8_192;

/// The leases.
#[derive(Debug)]
pub(super) struct Table {
    shards: [Mutex<Shard>; SHARDS],
    /// Tells of each entry that nobody works on any more.
    pub(super) freed: Notify,
    len: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct Shard {
    entries: BTreeMap<LeaseId, Entry>,
    /// The entries that may be forgotten, the first ones first.
    over: VecDeque<LeaseId>,
    /// The newest id that was forgotten, at first the start of the process. Ids up to it go to the ledger.
    floor: u128,
}

/// What this replica knows of a lease.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) state: State,
    /// A call works on it.
    pub(super) busy: bool,
    /// What it holds of allotments.
    pub(super) legs: SmallVec<[Leg; 1]>,
    /// The part of its requirements that the ledger was asked for.
    pub(super) rest: Option<Box<Reserve>>,
    pub(super) granted_at_unix_ms: u64,
    pub(super) more: Option<Box<More>>,
}

/// What few leases have.
#[derive(Debug, Default)]
pub(super) struct More {
    pub(super) extends: Vec<Extended>,
    /// The renewals, and when each was made.
    pub(super) renewals: Vec<(RenewId, u64)>,
    /// What the first complete said, and which of its overages were found in no allotment.
    pub(super) settling: Option<Settling>,
}

/// An extend of a lease in allotments, and its answer.
#[derive(Debug, Clone)]
pub(super) struct Extended {
    pub(super) extend_id: ExtendId,
    pub(super) requirement: Requirement,
    pub(super) answer: ReserveOutcome,
}

/// A complete that the ledger is asked for.
#[derive(Debug, Clone)]
pub(super) struct Settling {
    pub(super) command: Complete,
    /// The limits of which more was used than the lease holds in allotments.
    pub(super) exceeded: Vec<Arc<Pool>>,
}

/// Units that a lease holds of one allotment.
#[derive(Debug, Clone)]
pub(super) struct Leg {
    pub(super) pool: Arc<Pool>,
    /// What it holds now.
    pub(super) units: Units,
    /// What it took.
    pub(super) reserved: u64,
    /// Whether an extend or an overage added it.
    pub(super) added: bool,
    /// Whether its complete releases it: slots of a concurrency limit.
    pub(super) are_slots: bool,
    /// What happens to overage that finds no room.
    pub(super) overage: Overage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// The ledger knows the whole lease; nothing of it is in an allotment.
    Direct,
    /// Nothing is reserved.
    Denied(Box<ReserveOutcome>),
    /// It holds its legs, and whether the ledger reserved the rest is not known.
    Unknown,
    /// Granted.
    Running,
    /// A part of it has ended, so it is not granted as a whole any more.
    Expired,
    /// Completed.
    Settled,
}

/// Whether an id can be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Free,
    /// The id may have been forgotten, or there is no room: the ledger is asked.
    None,
}

impl Table {
    pub(super) fn new() -> Self {
        let floor = u128::from(wall_unix_ms()) << 80;
        let shard = || Mutex::new(Shard { entries: BTreeMap::new(), over: VecDeque::new(), floor });
        Self { shards: std::array::from_fn(|_| shard()), freed: Notify::new(), len: AtomicUsize::new(0) }
    }

    /// Whether there is no entry at all.
    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    pub(super) fn lock(&self, lease: LeaseId) -> MutexGuard<'_, Shard> {
        // The low bits of a ULID are random.
        let index = (lease.as_u128() ^ (lease.as_u128() >> 40)) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a lease; [`Shard::place_for`] found a place.
    pub(super) fn enter(&self, shard: &mut Shard, lease: LeaseId, entry: Entry) {
        let is_over = entry.state.is_over() && !entry.busy;
        if shard.entries.insert(lease, entry).is_none() {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
        if is_over {
            shard.over.push_back(lease);
        }
    }

    pub(super) fn remove(&self, shard: &mut Shard, lease: LeaseId) {
        if shard.entries.remove(&lease).is_some() {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Forgets the legs whose holds have ended, and returns their units to the allotments.
    pub(super) fn end_holds(&self, ledger_ns: u64) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let Shard { entries, over, .. } = &mut *shard;
            for (&lease, entry) in entries {
                if !entry.busy && entry.end_holds(ledger_ns) {
                    over.push_back(lease);
                }
            }
        }
    }
}

impl Shard {
    pub(super) fn get_mut(&mut self, lease: LeaseId) -> Option<&mut Entry> {
        self.entries.get_mut(&lease)
    }

    /// Whether an id that has no entry can be entered.
    pub(super) fn place_for(&mut self, lease: LeaseId, clock: &OwnClock, table: &Table) -> Place {
        if lease.as_u128() <= self.floor || clock.is_far_ahead(lease.timestamp_ms()) {
            return Place::None;
        }
        while self.entries.len() >= SHARD_ENTRIES_MAX {
            let Some(oldest) = self.over.pop_front() else {
                self.floor = self.floor.max(lease.as_u128());
                return Place::None;
            };
            self.floor = self.floor.max(oldest.as_u128());
            table.remove(self, oldest);
        }
        if lease.as_u128() <= self.floor { Place::None } else { Place::Free }
    }

    /// The entry may be forgotten from now on.
    pub(super) fn is_over(&mut self, lease: LeaseId) {
        self.over.push_back(lease);
    }
}

impl State {
    /// Whether an entry in this state may be forgotten.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Direct | Self::Denied(_) | Self::Expired | Self::Settled => true,
            Self::Unknown | Self::Running => false,
        }
    }
}

impl Entry {
    pub(super) fn new(state: State, busy: bool) -> Self {
        Self { state, busy, legs: SmallVec::new(), rest: None, granted_at_unix_ms: 0, more: None }
    }

    pub(super) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Releases the legs whose holds have ended. Returns whether the entry is over now, and was not before.
    pub(super) fn end_holds(&mut self, ledger_ns: u64) -> bool {
        if self.state.is_over() || self.legs.iter().all(|leg| leg.units.ends_at_ns > ledger_ns) {
            return false;
        }
        let ends = |leg: &Leg| leg.units.ends_at_ns <= ledger_ns;
        self.legs.iter().filter(|leg| ends(leg)).for_each(|leg| leg.release(leg.units.units));
        self.legs.iter_mut().filter(|leg| ends(leg)).for_each(|leg| leg.units.units = 0);
        let is_over = self.legs.iter().all(ends);
        if is_over {
            self.state = State::Expired;
        }
        is_over
    }

    /// Whether a part of the lease has ended by this time of the ledger.
    pub(super) fn has_ended_part(&self, ledger_ns: u64) -> bool {
        self.legs.iter().any(|leg| !leg.added && leg.units.ends_at_ns <= ledger_ns)
    }

    /// What its reserve took of a limit from allotments; `None` if nothing.
    pub(super) fn taken(&self, requirement: &Requirement) -> Option<u64> {
        let of_limit = |leg: &&Leg| !leg.added && leg.pool.key == requirement.key;
        let legs = || self.legs.iter().filter(of_limit);
        legs().next().is_some().then(|| legs().map(|leg| leg.reserved).sum())
    }
}

impl Leg {
    /// Returns units to the allotment.
    pub(super) fn release(&self, units: u64) {
        self.pool.lock().release(self.units, units);
    }
}
