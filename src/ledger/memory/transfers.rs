use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use slab::Slab;

use super::index::Index;
use super::link::Link;
use super::made::{Made, More, Moved, New, Packed, State};
use crate::ledger::{TransferCode, TransferFamily, TransferId, UserData};
use crate::time::{NS_PER_MS, NS_PER_SECOND};

/// The transfers but for those of definitions, and the ids that were used up.
///
/// They are kept in families: a lease's transfers are made together, looked for together and forgotten together, so
/// they have one entry in the table of ids. Within its family a transfer is found by walking along.
pub(super) struct Transfers {
    made: Slab<Made>,
    more: Slab<More>,
    families: Slab<Family>,
    by_id: Index,
    hasher: DefaultHashBuilder,
    /// Families that were over at some time, oldest first. One that lives again is passed over when its turn comes.
    over: VecDeque<(u64, u32)>,
    /// Families that are over when what their leases spent has come back, by that moment.
    spent: BTreeMap<u64, Vec<u32>>,
    retention_ns: u64,
    leases: usize,
}

/// The transfers whose ids differ in their last bits only.
struct Family {
    id: TransferFamily,
    /// The wide part of the user data of its first transfer, and mostly of all: the lease.
    wide: u128,
    first: u32,
    last: u32,
    /// How many of its transfers are held.
    held: u32,
    /// The bits of its ids' tails: an id whose bit is missing is none of them, and need not be looked for.
    tails: u32,
    /// When what its lease spent has come back, in seconds since the Unix epoch, so that those of one window wait together.
    spent_until_seconds: u32,
    of_lease: bool,
    /// Whether it is kept for ever.
    of_log: bool,
    over_since_ns: u64,
}

/// Where an id is, or would be.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) family: Option<u32>,
    pub(super) index: Option<u32>,
}

impl Transfers {
    pub(super) fn new(retention_ns: u64) -> Self {
        Self {
            made: Slab::new(),
            more: Slab::new(),
            families: Slab::new(),
            by_id: Index::default(),
            hasher: DefaultHashBuilder::default(),
            over: VecDeque::new(),
            spent: BTreeMap::new(),
            retention_ns,
            leases: 0,
        }
    }

    /// How many leases are known, live and over.
    pub(super) fn leases(&self) -> usize {
        self.leases
    }

    /// How many transfers are known, those that could not be made included.
    pub(super) fn len(&self) -> usize {
        self.made.len()
    }

    /// The transfer of an index that was found.
    pub(super) fn made(&self, index: u32) -> &Made {
        &self.made[index as usize]
    }

    pub(super) fn made_mut(&mut self, index: u32) -> &mut Made {
        &mut self.made[index as usize]
    }

    /// Its id.
    pub(super) fn id(&self, made: &Made) -> TransferId {
        self.family(made.family).id.transfer(made.tail)
    }

    /// What it carries along.
    pub(super) fn user_data(&self, made: &Made) -> UserData {
        match self.more(made) {
            Some(&More { wide, long, short, .. }) => UserData { wide, long, short },
            None => UserData { wide: self.family(made.family).wide, long: made.long_or_more, short: 0 },
        }
    }

    /// What it moved.
    pub(super) fn moved(&self, index: u32) -> Moved {
        self.moved_by(self.made(index))
    }

    /// The same of a transfer itself.
    pub(super) fn moved_by(&self, made: &Made) -> Moved {
        made.moved.with_high(self.more(made).map_or(0, |more| more.amount_high))
    }

    fn more(&self, made: &Made) -> Option<&More> {
        if made.has_more { self.more.get(made.long_or_more as usize) } else { None }
    }

    /// Whether there is room for another.
    pub(super) fn has_room(&self) -> bool {
        self.made.len() < Link::ENTRIES_MAX && self.families.len() < Link::ENTRIES_MAX
    }

    /// Finds an id. `near` is a family that is likely to be its own.
    pub(super) fn find(&self, id: TransferId, near: Option<u32>) -> Place {
        let family = near
            .filter(|&near| self.family(near).id == id.family())
            .or_else(|| self.find_family(id.family()));
        let may_be_in = |&family: &u32| self.family(family).tails & tail_bit(id.tail()) != 0;
        let tail = id.tail();
        let in_family = |family| self.of_family(family).find(|&index| self.made(index).tail == tail);
        Place { family, index: family.filter(may_be_in).and_then(in_family) }
    }

    pub(super) fn find_family(&self, id: TransferFamily) -> Option<u32> {
        self.by_id.find(self.hash(id), |family| self.family(family).id == id)
    }

    fn hash(&self, id: TransferFamily) -> u32 {
        (self.hasher.hash_one(id) >> 32) as u32
    }

    fn family(&self, family: u32) -> &Family {
        &self.families[family as usize]
    }

    /// The transfers of a family, oldest first.
    pub(super) fn of_family(&self, family: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(self.family(family).first), |&index| self.made(index).next_of_family.get())
    }

    /// Takes a transfer in, at the place where its id was not found. There must be room.
    pub(super) fn insert(&mut self, place: Place, new: &New) -> u32 {
        let &New { id, code, user_data, moved, state, linked, timestamp_ns } = new;
        let UserData { wide, long, short } = user_data;
        let (moved, amount_high) = Packed::of(moved);
        let index = self.made.vacant_key() as u32;
        let family = match place.family {
            Some(family) => family,
            None => self.insert_family(id.family(), index, code, wide),
        };
        let entry = &mut self.families[family as usize];
        entry.tails |= tail_bit(id.tail());
        entry.of_log |= code.is_of_log();
        entry.held += u32::from(state == State::Held);
        let has_more = short != 0 || amount_high != 0 || wide != entry.wide;
        let last = std::mem::replace(&mut entry.last, index);
        if last != index {
            self.made_mut(last).next_of_family = Link::to(index);
        }
        let long_or_more =
            if has_more { self.more.insert(More { wide, long, amount_high, short }) as u64 } else { long };
        self.made.insert(Made {
            moved,
            long_or_more,
            timestamp_ns,
            family,
            next_of_family: Link::NONE,
            before: Link::NONE,
            behind: Link::NONE,
            tail: id.tail(),
            code,
            state,
            linked,
            has_more,
        });
        index
    }

    /// Makes the family of a transfer that is about to be made.
    fn insert_family(&mut self, id: TransferFamily, first: u32, code: TransferCode, wide: u128) -> u32 {
        let of_lease = code.is_of_lease();
        let family = self.families.insert(Family {
            id,
            wide,
            first,
            last: first,
            held: 0,
            tails: 0,
            spent_until_seconds: 0,
            of_lease,
            of_log: false,
            over_since_ns: 0,
        }) as u32;
        self.leases += usize::from(of_lease);
        self.by_id.insert(self.hash(id), family);
        family
    }

    /// The family of a transfer.
    pub(super) fn family_of(&self, index: u32) -> u32 {
        self.made(index).family
    }

    /// Takes the newest transfer of its family out again.
    pub(super) fn remove_newest(&mut self, index: u32) {
        let &Made { family, state, .. } = self.made(index);
        self.families[family as usize].held -= u32::from(state == State::Held);
        let before = self.of_family(family).take_while(|&other| other != index).last();
        match before {
            Some(before) => {
                self.made_mut(before).next_of_family = Link::NONE;
                self.families[family as usize].last = before;
            }
            None => self.remove_family(family),
        }
        self.remove_made(index);
    }

    /// Takes it out; answers the next of its family.
    fn remove_made(&mut self, index: u32) -> Option<u32> {
        let made = self.made.remove(index as usize);
        if made.has_more {
            self.more.remove(made.long_or_more as usize);
        }
        made.next_of_family.get()
    }

    fn remove_family(&mut self, family: u32) {
        self.by_id.remove(self.hash(self.family(family).id), family);
        self.leases -= usize::from(self.families.remove(family as usize).of_lease);
    }

    /// What a transfer held it holds no longer: it was voided, or has expired.
    pub(super) fn let_go(&mut self, index: u32, state: State) {
        let made = &mut self.made[index as usize];
        made.state = state;
        self.families[made.family as usize].held -= 1;
    }

    /// Undoes that.
    pub(super) fn hold_again(&mut self, index: u32) {
        let made = &mut self.made[index as usize];
        made.state = State::Held;
        self.families[made.family as usize].held += 1;
    }

    /// A lease is remembered for as long as what it spent may be given back.
    pub(super) fn keep_while_spent(&mut self, index: u32) {
        let made = self.made(index);
        if matches!(made.code, TransferCode::Spend | TransferCode::SpendDeny) {
            let (family, over_at_ms) = (made.family, self.user_data(made).long);
            let until_seconds = over_at_ms.div_ceil(NS_PER_SECOND / NS_PER_MS);
            let family = &mut self.families[family as usize];
            let until_seconds = u32::try_from(until_seconds).unwrap_or(u32::MAX);
            family.spent_until_seconds = family.spent_until_seconds.max(until_seconds);
        }
    }

    /// Of a lease that is settled nothing can be given back any more. Its complete leaves a trace, or voids what it held.
    pub(super) fn spends_no_more_if_settled(&mut self, index: u32) {
        let made = &self.made[index as usize];
        if made.code == TransferCode::Complete || made.state == State::Voided {
            self.families[made.family as usize].spent_until_seconds = 0;
        }
    }

    /// Lets a family of which nothing is held be forgotten when its time has come.
    pub(super) fn check_over(&mut self, family_index: u32, now_ns: u64) {
        let family = &mut self.families[family_index as usize];
        let spent_until_ns = u64::from(family.spent_until_seconds) * NS_PER_SECOND;
        let since_ns = spent_until_ns.max(now_ns);
        if family.of_log || family.held > 0 || family.over_since_ns == since_ns {
            return;
        }
        family.over_since_ns = since_ns;
        if since_ns > now_ns {
            self.spent.entry(since_ns).or_default().push(family_index);
        } else {
            self.over.push_back((since_ns, family_index));
        }
    }

    /// Forgets the leases that have been over for long enough.
    pub(super) fn forget(&mut self, now_ns: u64) {
        while let Some(spent) = self.spent.first_entry().filter(|spent| *spent.key() <= now_ns) {
            let (since_ns, families) = spent.remove_entry();
            self.over.extend(families.into_iter().map(|family| (since_ns, family)));
        }
        for _ in 0..self.over.len() {
            let Some(&(since_ns, family)) = self.over.front() else { return };
            if since_ns.saturating_add(self.retention_ns) > now_ns {
                return;
            }
            self.over.pop_front();
            // Over again since, alive, or forgotten: a later entry of the queue, or its next end, takes care of it.
            let is_due = |entry: &Family| entry.held == 0 && entry.over_since_ns == since_ns;
            if self.families.get(family as usize).is_some_and(is_due) {
                self.forget_family(family);
            }
        }
    }

    fn forget_family(&mut self, family: u32) {
        let mut next = Some(self.family(family).first);
        self.remove_family(family);
        while let Some(index) = next {
            next = self.remove_made(index);
        }
    }
}

/// One of 32 bits for the part of an id that is its own in its family. Of up to four legs each purpose has its own.
fn tail_bit(tail: u16) -> u32 {
    1 << ((tail >> 8 & 0b111) << 2 | tail & 0b11)
}
