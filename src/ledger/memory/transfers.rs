//! The table of transfers and of the ids that failed. Parts of definitions are in the definition log instead.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use super::bounds::MemoryBounds;
use super::chunked_slab::ChunkedSlab;
use super::hash_index::HashIndex;
use super::retention::{End, Finished, Retention};
use super::slots::{ENTRIES_MAX, FamilySlot, TransferSlot};
use super::stored_transfer::{
    CompactMovement, NewTransfer, RareFields, StoredMovement, StoredTransfer, TransferState,
};
use crate::ledger::{TransferCode, TransferFamily, TransferId, UserData};
use crate::time::{NS_PER_MS, NS_PER_SECOND, saturating_nanos};

/// The transfers, in families: those whose ids differ in their last bits only.
///
/// A lease's transfers are created, looked up and removed together, so the hash index has one entry for all
/// of them, and a transfer is found by walking the list of its family. With an index entry for each transfer,
/// a four-limit reserve and complete took 28 % longer (`scripts/bench --only pairs`).
pub(super) struct Transfers {
    slab: ChunkedSlab<StoredTransfer>,
    rare_fields: ChunkedSlab<RareFields>,
    families: ChunkedSlab<Family>,
    families_by_id: HashIndex,
    hasher: DefaultHashBuilder,
    bounds: MemoryBounds,
    /// How long a finished family stays, in nanoseconds.
    retention_ns: u64,
    /// The same while a flood is forgotten.
    short_retention_ns: u64,
    /// Whether a flood is forgotten: the table was a quarter full, and is not nearly empty yet.
    forgets_flood: bool,
    retention: Retention,
    lease_count: usize,
}

struct Family {
    id: TransferFamily,
    /// The wide user data of the first transfer: the lease. Nearly all other transfers of the family have the
    /// same.
    wide: u128,
    first: TransferSlot,
    last: TransferSlot,
    /// How many of its transfers are pending.
    pending_count: u32,
    /// The [`tail_bit`]s of its transfers. An id whose bit is not set is not in the family, and the list need
    /// not be walked. Without this filter a reserve and complete below the estimate took 3 % more
    /// instructions (`scripts/bench --only pairs` under callgrind).
    tail_bits: u32,
    /// When everything that its lease spent is refilled, in whole seconds since the Unix epoch; 0 if it spent
    /// nothing.
    refilled_at_seconds: u32,
    is_of_lease: bool,
    /// Whether nothing of it was ever created: ids of it failed.
    is_denied: bool,
    /// Whether one of its transfers can be queried by account, and the family is never removed.
    is_permanent: bool,
    /// When the family finished or will finish, for which [`Retention`] has an entry; 0 if there is none.
    finished_at_ns: u64,
}

/// The result of a search for an id.
#[derive(Clone, Copy)]
pub(super) struct IdLookup {
    /// The family of the id, if any of its transfers is stored.
    pub(super) family: Option<FamilySlot>,
    pub(super) transfer: Option<TransferSlot>,
}

impl Transfers {
    /// An empty table, which keeps within `bounds`.
    pub(super) fn new(bounds: MemoryBounds) -> Self {
        Self {
            slab: ChunkedSlab::default(),
            rare_fields: ChunkedSlab::default(),
            families: ChunkedSlab::default(),
            families_by_id: HashIndex::default(),
            hasher: DefaultHashBuilder::default(),
            retention_ns: saturating_nanos(bounds.retention),
            short_retention_ns: saturating_nanos(bounds.short_retention()),
            forgets_flood: false,
            bounds,
            retention: Retention::default(),
            lease_count: 0,
        }
    }

    /// The number of leases, live and finished.
    pub(super) fn lease_count(&self) -> usize {
        self.lease_count
    }

    /// The number of transfers, ids that failed included.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// All transfers, ids that failed included, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &StoredTransfer> {
        self.slab.values()
    }

    pub(super) fn get(&self, slot: TransferSlot) -> &StoredTransfer {
        &self.slab[slot.get()]
    }

    pub(super) fn get_mut(&mut self, slot: TransferSlot) -> &mut StoredTransfer {
        &mut self.slab[slot.get()]
    }

    pub(super) fn id(&self, transfer: &StoredTransfer) -> TransferId {
        self.family(transfer.family).id.transfer(transfer.id_tail)
    }

    pub(super) fn user_data(&self, transfer: &StoredTransfer) -> UserData {
        match self.rare_fields(transfer) {
            Some(&RareFields { wide, long, short, .. }) => UserData { wide, long, short },
            None => UserData {
                wide: self.family(transfer.family).wide,
                long: transfer.long_or_rare_slot,
                short: 0,
            },
        }
    }

    pub(super) fn movement(&self, transfer: &StoredTransfer) -> StoredMovement {
        transfer.movement.join(self.rare_fields(transfer).map_or(0, |rare| rare.amount_high))
    }

    fn rare_fields(&self, transfer: &StoredTransfer) -> Option<&RareFields> {
        if transfer.has_rare_fields {
            self.rare_fields.get(transfer.long_or_rare_slot as usize)
        } else {
            None
        }
    }

    /// Whether another transfer can be inserted.
    pub(super) fn has_room(&self) -> bool {
        self.slab.len() < ENTRIES_MAX && self.families.len() < ENTRIES_MAX
    }

    /// Whether there are as many transfers as the bounds allow.
    pub(super) fn is_full(&self) -> bool {
        self.slab.len() >= self.bounds.transfers_max
    }

    /// Removes the families that finished first, until the table is not full any more. Returns whether it is not.
    pub(super) fn make_room(&mut self) -> bool {
        while self.is_full() {
            let Some(oldest) = self.retention.pop_oldest() else { return false };
            self.remove_if_current(oldest);
        }
        true
    }

    pub(super) fn find(&self, id: TransferId) -> IdLookup {
        self.find_in(id, self.find_family(id.family()))
    }

    /// The same, with a family that is looked at first.
    pub(super) fn find_near(&self, id: TransferId, near: Option<FamilySlot>) -> IdLookup {
        match near.filter(|&near| self.family(near).id == id.family()) {
            Some(family) => self.find_in(id, Some(family)),
            None => self.find(id),
        }
    }

    fn find_in(&self, id: TransferId, family: Option<FamilySlot>) -> IdLookup {
        let tail = id.tail();
        let may_contain = |&family: &FamilySlot| self.family(family).tail_bits & tail_bit(tail) != 0;
        let find_in = |family| self.slots_of(family).find(|&slot| self.get(slot).id_tail == tail);
        IdLookup { family, transfer: family.filter(may_contain).and_then(find_in) }
    }

    #[inline]
    pub(super) fn find_family(&self, id: TransferFamily) -> Option<FamilySlot> {
        self.families_by_id.find(self.hash(id), |family| self.family(family).id == id)
    }

    fn hash(&self, id: TransferFamily) -> u32 {
        (self.hasher.hash_one(id) >> 32) as u32
    }

    fn family(&self, slot: FamilySlot) -> &Family {
        &self.families[slot.get()]
    }

    fn family_mut(&mut self, slot: FamilySlot) -> &mut Family {
        &mut self.families[slot.get()]
    }

    /// The transfers of a family, oldest first.
    pub(super) fn slots_of(&self, family: FamilySlot) -> impl Iterator<Item = TransferSlot> {
        std::iter::successors(Some(self.family(family).first), |&slot| self.get(slot).next_in_family)
    }

    /// Stores a transfer whose id `lookup` did not find. The table must have room.
    pub(super) fn insert(&mut self, lookup: IdLookup, new: &NewTransfer) -> TransferSlot {
        let &NewTransfer { id, code, user_data, movement, state, linked, timestamp_ns } = new;
        let UserData { wide, long, short } = user_data;
        let (movement, amount_high) = CompactMovement::split(movement);
        let slot = TransferSlot::new(self.slab.free_slot());
        let family_slot = match lookup.family {
            Some(family) => family,
            None => self.insert_family(id.family(), slot, code, wide),
        };
        let family = self.family_mut(family_slot);
        family.tail_bits |= tail_bit(id.tail());
        family.is_permanent |= code.is_of_log();
        family.is_denied &= state == TransferState::IdFailed;
        family.pending_count += u32::from(state == TransferState::Pending);
        let has_rare_fields = short != 0 || amount_high != 0 || wide != family.wide;
        let last = std::mem::replace(&mut family.last, slot);
        if last != slot {
            self.get_mut(last).next_in_family = Some(slot);
        }
        let long_or_rare_slot = if has_rare_fields {
            self.rare_fields.insert(RareFields { wide, long, amount_high, short }) as u64
        } else {
            long
        };
        let transfer = StoredTransfer {
            movement,
            long_or_rare_slot,
            timestamp_ns,
            family: family_slot,
            next_in_family: None,
            previous_expiring: None,
            next_expiring: None,
            id_tail: id.tail(),
            code,
            state,
            linked,
            has_rare_fields,
        };
        self.slab.fill(slot.get(), transfer);
        slot
    }

    /// Inserts a family whose first transfer is about to be stored in the slot `first`.
    fn insert_family(
        &mut self,
        id: TransferFamily,
        first: TransferSlot,
        code: TransferCode,
        wide: u128,
    ) -> FamilySlot {
        let is_of_lease = code.is_of_lease();
        let family = FamilySlot::new(self.families.insert(Family {
            id,
            wide,
            first,
            last: first,
            pending_count: 0,
            tail_bits: 0,
            refilled_at_seconds: 0,
            is_of_lease,
            is_denied: true,
            is_permanent: false,
            finished_at_ns: 0,
        }));
        self.lease_count += usize::from(is_of_lease);
        self.families_by_id.insert(self.hash(id), family);
        family
    }

    /// Removes the newest transfer of a family, and the family with its only transfer.
    pub(super) fn remove_newest_of_family(&mut self, slot: TransferSlot) {
        let &StoredTransfer { family, state, .. } = self.get(slot);
        self.family_mut(family).pending_count -= u32::from(state == TransferState::Pending);
        let previous = self.slots_of(family).take_while(|&other| other != slot).last();
        match previous {
            Some(previous) => {
                self.get_mut(previous).next_in_family = None;
                self.family_mut(family).last = previous;
            }
            None => self.remove_family_entry(family),
        }
        self.remove_from_slab(slot);
    }

    /// Removes a transfer with its rare fields, and returns the next transfer of its family.
    fn remove_from_slab(&mut self, slot: TransferSlot) -> Option<TransferSlot> {
        let transfer = self.slab.remove(slot.get())?;
        if transfer.has_rare_fields {
            self.rare_fields.remove(transfer.long_or_rare_slot as usize);
        }
        transfer.next_in_family
    }

    fn remove_family_entry(&mut self, family: FamilySlot) {
        self.families_by_id.remove(self.hash(self.family(family).id), family);
        let removed = self.families.remove(family.get());
        self.lease_count -= usize::from(removed.is_some_and(|family| family.is_of_lease));
    }

    /// Marks a pending transfer as voided or expired.
    pub(super) fn end_pending(&mut self, slot: TransferSlot, end: TransferState) {
        let transfer = self.get_mut(slot);
        transfer.state = end;
        let family = transfer.family;
        self.family_mut(family).pending_count -= 1;
    }

    /// Undoes [`Transfers::end_pending`].
    pub(super) fn restore_pending(&mut self, slot: TransferSlot) {
        let transfer = self.get_mut(slot);
        transfer.state = TransferState::Pending;
        let family = transfer.family;
        self.family_mut(family).pending_count += 1;
    }

    /// Keeps the family of a spending transfer until the schedule has refilled what it spent: a complete may
    /// release it until then. Does so no longer once the lease is completed, because nothing more of it can be released. A
    /// complete creates a transfer with its own code or voids pending transfers. Returns the family.
    pub(super) fn keep_or_stop_keeping(&mut self, slot: TransferSlot) -> FamilySlot {
        let transfer = self.get(slot);
        let (family, is_voided) = (transfer.family, transfer.state == TransferState::Voided);
        if is_voided || transfer.code == TransferCode::Complete {
            self.family_mut(family).refilled_at_seconds = 0;
        } else if matches!(transfer.code, TransferCode::Spend | TransferCode::SpendDeny) {
            let refilled_at_ms = self.user_data(transfer).long;
            // In whole seconds, so that the leases of one window share an entry of the queue.
            let refilled_at_seconds = refilled_at_ms.div_ceil(NS_PER_SECOND / NS_PER_MS);
            let refilled_at_seconds = u32::try_from(refilled_at_seconds).unwrap_or(u32::MAX);
            let family = self.family_mut(family);
            family.refilled_at_seconds = family.refilled_at_seconds.max(refilled_at_seconds);
        }
        family
    }

    /// Schedules the removal of a family if none of its transfers is pending.
    pub(super) fn schedule_removal_if_finished(&mut self, family_slot: FamilySlot, now_ns: u64) {
        let family = self.family_mut(family_slot);
        let refilled_at_ns = u64::from(family.refilled_at_seconds) * NS_PER_SECOND;
        let finished_at_ns = refilled_at_ns.max(now_ns);
        let is_scheduled = family.finished_at_ns == finished_at_ns;
        if family.is_permanent || family.pending_count > 0 || is_scheduled {
            return;
        }
        family.finished_at_ns = finished_at_ns;
        let end = if family.is_denied { End::Denied } else { End::Finished };
        self.retention.schedule(family_slot, end, finished_at_ns, now_ns);
    }

    /// Removes families whose retention is over, at most `count_max`. Returns whether there may be more.
    pub(super) fn remove_retained_long_enough(&mut self, now_ns: u64, count_max: usize) -> bool {
        self.forgets_flood = self.bounds.forgets_flood(self.slab.len(), self.forgets_flood);
        let retention_ns = if self.forgets_flood { self.short_retention_ns } else { self.retention_ns };
        let until_ns = now_ns.saturating_sub(retention_ns);
        for _ in 0..count_max {
            let Some(due) = self.retention.pop_due(now_ns, until_ns, self.bounds.denied_leases_max) else {
                return false;
            };
            self.remove_if_current(due);
        }
        true
    }

    /// Removes a family, if its entry is not outdated. A family that finished again later has a later entry. A
    /// family with pending transfers gets one when they end.
    fn remove_if_current(&mut self, (family, finished_at_ns): Finished) {
        let is_current =
            |family: &Family| family.pending_count == 0 && family.finished_at_ns == finished_at_ns;
        if self.families.get(family.get()).is_some_and(is_current) {
            self.remove_family(family);
        }
    }

    fn remove_family(&mut self, family: FamilySlot) {
        let mut next = Some(self.family(family).first);
        self.remove_family_entry(family);
        while let Some(slot) = next {
            next = self.remove_from_slab(slot);
        }
    }
}

/// One of 32 bits for the last bits of an id. In a lease of up to four limits, each purpose has its own bit
/// for each limit.
fn tail_bit(tail: u16) -> u32 {
    1 << ((tail >> 8 & 0b111) << 2 | tail & 0b11)
}
