//! The leases that this replica serves from allotments, or has sent to the ledger although they name a limit with allotments.
//!
//! An id is entered before anything is taken or sent. A repetition goes the way that the entry tells.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::{DefaultHashBuilder, HashMap};
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::clock::{OwnClock, wall_unix_ms};
use super::pool::{Pool, Units};
use crate::limit::{ExtendId, LeaseId, Overage, RenewId};
use crate::protocol::{Complete, EXTENDS_MAX, Requirement, Reserve, ReserveOutcome};

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
    entries: HashMap<LeaseId, Entry, DefaultHashBuilder>,
    /// The entries that may be forgotten, the first ones first. Each is listed once.
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
    /// Whether it is among those that may be forgotten.
    is_listed: bool,
    /// What it holds of allotments.
    pub(super) legs: SmallVec<[Leg; 1]>,
    /// The part of its requirements that the ledger was asked for.
    pub(super) rest: Option<Box<Reserve>>,
    /// Whether that part holds slots.
    pub(super) rest_has_slots: bool,
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
    /// Only as an id that the ledger is asked for: it is far ahead of the wall clock.
    AheadOfClock,
    /// The id may have been forgotten, or there is no room: the ledger is asked.
    None,
}

impl Table {
    pub(super) fn new() -> Self {
        let floor = u128::from(wall_unix_ms()) << 80;
        let shard = || Mutex::new(Shard { entries: HashMap::default(), over: VecDeque::new(), floor });
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
            shard.list(lease);
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
                    entry.list(lease, over);
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
        if lease.as_u128() <= self.floor {
            return Place::None;
        }
        while self.entries.len() >= SHARD_ENTRIES_MAX {
            let Some(oldest) = self.over.pop_front() else {
                self.raise_floor(lease, clock);
                return Place::None;
            };
            // A call works on it again: it is listed anew behind that.
            if let Some(busy) = self.entries.get_mut(&oldest).filter(|entry| entry.busy) {
                busy.is_listed = false;
                continue;
            }
            self.raise_floor(oldest, clock);
            table.remove(self, oldest);
        }
        match lease.as_u128() <= self.floor {
            true => Place::None,
            false if clock.is_far_ahead(lease.timestamp_ms()) => Place::AheadOfClock,
            false => Place::Free,
        }
    }

    /// Sends ids up to this one to the ledger. One that is far ahead of the wall clock would send them all.
    fn raise_floor(&mut self, forgotten: LeaseId, clock: &OwnClock) {
        if !clock.is_far_ahead(forgotten.timestamp_ms()) {
            self.floor = self.floor.max(forgotten.as_u128());
        }
    }

    /// The entry may be forgotten from now on.
    pub(super) fn list(&mut self, lease: LeaseId) {
        if let Some(entry) = self.entries.get_mut(&lease) {
            entry.list(lease, &mut self.over);
        }
    }

    /// Changes the entry of a lease. It may be forgotten from then on, if `change` returns true.
    pub(super) fn change<T>(
        &mut self,
        lease: LeaseId,
        change: impl FnOnce(&mut Entry) -> (T, bool),
    ) -> Option<T> {
        let entry = self.entries.get_mut(&lease)?;
        let (result, is_over) = change(entry);
        if is_over {
            entry.list(lease, &mut self.over);
        }
        Some(result)
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
        Self {
            state,
            busy,
            is_listed: false,
            legs: SmallVec::new(),
            rest: None,
            rest_has_slots: false,
            granted_at_unix_ms: 0,
            more: None,
        }
    }

    fn list(&mut self, lease: LeaseId, over: &mut VecDeque<LeaseId>) {
        if !self.is_listed {
            self.is_listed = true;
            over.push_back(lease);
        }
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
        if units > 0 {
            self.pool.lock().release(self.units, units);
        }
    }
}

impl More {
    /// How often the lease was extended and renewed. Denied extends do not count.
    pub(super) fn extensions(&self) -> usize {
        self.extends.iter().filter(|extended| extended.is_granted()).count() + self.renewals.len()
    }

    /// Remembers the answer to an extend; of the denied ones the newest.
    pub(super) fn remember(&mut self, extended: Extended) {
        let denied = || self.extends.iter().enumerate().filter(|(_, earlier)| !earlier.is_granted());
        if !extended.is_granted() && denied().count() >= EXTENDS_MAX {
            let oldest = denied().next().map(|(index, _)| index);
            oldest.into_iter().for_each(|index| drop(self.extends.remove(index)));
        }
        self.extends.push(extended);
    }
}

impl Extended {
    fn is_granted(&self) -> bool {
        matches!(self.answer, ReserveOutcome::Granted { .. })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;

    use super::super::Allotments;
    use super::super::claim::Claim;
    use super::*;

    /// Enters a lease that has expired, and claims it.
    fn claim(allotments: &Allotments, lease: LeaseId) -> Claim<'_> {
        let table = &allotments.table;
        let mut shard = table.lock(lease);
        match shard.get_mut(lease) {
            Some(entry) => entry.busy = true,
            None => table.enter(&mut shard, lease, Entry::new(State::Expired, true)),
        }
        drop(shard);
        Claim::new(allotments, lease, true)
    }

    #[tokio::test]
    async fn a_claim_on_a_forgotten_lease_wakes_those_that_wait_for_it() {
        let (allotments, lease) = (Allotments::new(), LeaseId::generate());
        let claim = claim(&allotments, lease);
        let mut freed = pin!(allotments.table.freed.notified());
        assert!(poll!(&mut freed).is_pending());
        allotments.table.remove(&mut allotments.table.lock(lease), lease);
        drop(claim);
        assert!(poll!(&mut freed).is_ready());
    }

    #[test]
    fn an_entry_whose_completes_fail_is_listed_once() {
        let (allotments, lease) = (Allotments::new(), LeaseId::generate());
        for _ in 0..5 {
            drop(claim(&allotments, lease));
        }
        assert_eq!(allotments.table.lock(lease).over.len(), 1);
    }
}
