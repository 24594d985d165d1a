use std::collections::HashMap;
use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use slab::Slab;

use super::link::Link;
use crate::clock::{NS_PER_MS, NS_PER_SECOND};
use crate::ledger::{Bound, Refusal, TransferCode, TransferFamily, TransferId, UserData};

/// The transfers, and the ids that were used up.
///
/// They are kept in families: a lease's transfers are made together, looked for together and forgotten together, so
/// they have one entry in the table of ids. Within its family a transfer is found by walking along.
pub(super) struct Transfers {
    made: Slab<Made>,
    families: Slab<Family>,
    by_id: HashTable<Indexed>,
    hasher: DefaultHashBuilder,
    /// Of each account, the transfers of its log that debit it, by time. Few accounts have any: the logs of definitions, and
    /// the operator's.
    pub(super) debits: HashMap<u32, Vec<u32>, DefaultHashBuilder>,
    /// Families that were over at some time, oldest first. One that lives again is passed over when its turn comes.
    over: VecDeque<(u64, u32)>,
    /// Families that are over when what their leases spent has come back, by that moment.
    spent: BTreeMap<u64, Vec<u32>>,
    retention_ns: u64,
    leases: usize,
}

/// A transfer that was made, or an id that was used up by one that could not be.
pub(super) struct Made {
    pub(super) id: TransferId,
    /// See [`crate::ledger::UserData`].
    pub(super) wide: u128,
    pub(super) long: u64,
    pub(super) short: u32,
    pub(super) code: TransferCode,
    /// Whether another transfer was linked behind it.
    pub(super) linked: bool,
    pub(super) state: State,
    pub(super) moved: Moved,
    pub(super) timestamp_ns: u64,
    family: u32,
    next_of_family: Link,
    /// Its neighbours among those that expire.
    pub(super) expires_before: Link,
    pub(super) expires_behind: Link,
    /// The transfers before it of the same accounts, of those that belong to no lease.
    pub(super) earlier_debit: Link,
    pub(super) earlier_credit: Link,
}

/// What a transfer moved, between accounts of these indexes.
#[derive(Clone, Copy)]
pub(super) enum Moved {
    Post { debit: u32, credit: u32, amount: u128 },
    PostUpTo { debit: u32, credit: u32, amount: u128, bound: Bound },
    Pend { debit: u32, credit: u32, amount: u128, timeout_seconds: u32 },
    Close { debit: u32, credit: u32 },
    Void { pending: TransferId },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its id was used up, and nothing was made.
    Burnt,
    NotPending,
    Held,
    Voided,
    Expired,
}

/// The transfers whose ids differ in their last bits only.
struct Family {
    first: u32,
    last: u32,
    /// How many of its transfers are held.
    held: u32,
    of_lease: bool,
    /// Whether it is a part of some account's log, which is kept for ever.
    of_log: bool,
    /// When what its lease spent has come back, in nanoseconds since the Unix epoch and whole seconds, so that those of
    /// one window wait together.
    spent_until_ns: u64,
    over_since_ns: u64,
    /// The bits of its ids' tails: an id whose bit is missing is none of them, and need not be looked for.
    tails: u64,
}

/// A family in the table of ids, with a part of its hash: growing the table needs no look at the families, and looking
/// for an id none at those of others.
#[derive(Clone, Copy)]
struct Indexed {
    hash: u32,
    family: u32,
}

/// Where an id is, or would be.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) family: Option<u32>,
    pub(super) index: Option<u32>,
}

impl Made {
    /// When it comes back by itself; `None` if it does not.
    pub(super) fn expires_at_ns(&self) -> Option<u64> {
        match self.moved {
            Moved::Pend { timeout_seconds, .. } if timeout_seconds > 0 => {
                Some(self.timestamp_ns.saturating_add(u64::from(timeout_seconds) * NS_PER_SECOND))
            }
            Moved::Pend { .. }
            | Moved::Post { .. }
            | Moved::PostUpTo { .. }
            | Moved::Close { .. }
            | Moved::Void { .. } => None,
        }
    }

    /// A transfer that is in no list yet.
    pub(super) fn new(
        id: TransferId,
        code: TransferCode,
        user_data: UserData,
        moved: Moved,
        state: State,
    ) -> Self {
        Self {
            id,
            wide: user_data.wide,
            long: user_data.long,
            short: user_data.short,
            code,
            linked: false,
            state,
            moved,
            timestamp_ns: 0,
            family: 0,
            next_of_family: Link::NONE,
            expires_before: Link::NONE,
            expires_behind: Link::NONE,
            earlier_debit: Link::NONE,
            earlier_credit: Link::NONE,
        }
    }
}

impl Transfers {
    pub(super) fn new(retention_ns: u64) -> Self {
        Self {
            made: Slab::new(),
            families: Slab::new(),
            by_id: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            debits: HashMap::default(),
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

    /// Whether there is room for another.
    pub(super) fn has_room(&self) -> bool {
        self.made.len() < Link::ENTRIES_MAX && self.families.len() < Link::ENTRIES_MAX
    }

    /// Finds an id. `near` is a family that is likely to be its own.
    pub(super) fn find(&self, id: TransferId, near: Option<u32>) -> Place {
        let family = near
            .filter(|&near| self.family_id(near) == id.family())
            .or_else(|| self.find_family(id.family()));
        let may_be_in = |&family: &u32| self.family(family).tails & tail_bit(id) != 0;
        let in_family = |family| self.of_family(family).find(|&index| self.made(index).id == id);
        Place { family, index: family.filter(may_be_in).and_then(in_family) }
    }

    pub(super) fn find_family(&self, id: TransferFamily) -> Option<u32> {
        let hash = self.hash(id);
        let is_it = |entry: &Indexed| entry.hash == hash && self.family_id(entry.family) == id;
        self.by_id.find(spread(hash), is_it).map(|entry| entry.family)
    }

    fn hash(&self, id: TransferFamily) -> u32 {
        (self.hasher.hash_one(id) >> 32) as u32
    }

    fn family_id(&self, family: u32) -> TransferFamily {
        self.made(self.family(family).first).id.family()
    }

    fn family(&self, family: u32) -> &Family {
        &self.families[family as usize]
    }

    /// The transfers of a family, oldest first.
    pub(super) fn of_family(&self, family: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(self.family(family).first), |&index| self.made(index).next_of_family.get())
    }

    /// Takes a transfer in, at the place where its id was not found. There must be room.
    pub(super) fn insert(&mut self, place: Place, mut made: Made) -> u32 {
        let (id, tail) = (made.id.family(), tail_bit(made.id));
        let (of_lease, of_log) = (made.code.is_of_lease(), made.code.is_of_log());
        let entry = self.made.vacant_entry();
        let index = entry.key() as u32;
        match place.family {
            Some(family) => {
                made.family = family;
                entry.insert(made);
                let family = &mut self.families[family as usize];
                family.tails |= tail;
                let last = std::mem::replace(&mut family.last, index);
                self.made_mut(last).next_of_family = Link::to(index);
            }
            None => {
                let family = self.families.vacant_key() as u32;
                made.family = family;
                entry.insert(made);
                self.families.insert(Family {
                    first: index,
                    last: index,
                    held: 0,
                    of_lease,
                    of_log,
                    spent_until_ns: 0,
                    over_since_ns: 0,
                    tails: tail,
                });
                self.leases += usize::from(of_lease);
                let hash = self.hash(id);
                let rehash = |entry: &Indexed| spread(entry.hash);
                self.by_id.insert_unique(spread(hash), Indexed { hash, family }, rehash);
            }
        }
        index
    }

    /// The family of a transfer.
    pub(super) fn family_of(&self, index: u32) -> u32 {
        self.made(index).family
    }

    /// Takes the newest transfer of its family out again.
    pub(super) fn remove_newest(&mut self, index: u32) {
        let family = self.family_of(index);
        let before = self.of_family(family).take_while(|&other| other != index).last();
        match before {
            Some(before) => {
                self.made_mut(before).next_of_family = Link::NONE;
                self.families[family as usize].last = before;
            }
            None => self.remove_family(family),
        }
        self.made.remove(index as usize);
    }

    fn remove_family(&mut self, family: u32) {
        let hash = self.hash(self.family_id(family));
        if let Ok(entry) = self.by_id.find_entry(spread(hash), |other| other.family == family) {
            entry.remove();
        }
        self.leases -= usize::from(self.families.remove(family as usize).of_lease);
    }

    /// One more transfer of the family is held.
    pub(super) fn holds_one_more(&mut self, index: u32) {
        self.families[self.made[index as usize].family as usize].held += 1;
    }

    /// One fewer is.
    pub(super) fn holds_one_fewer(&mut self, index: u32) {
        self.families[self.made[index as usize].family as usize].held -= 1;
    }

    /// A lease is remembered for as long as what it spent may be given back.
    pub(super) fn keep_while_spent(&mut self, index: u32) {
        let made = &self.made[index as usize];
        if matches!(made.code, TransferCode::Spend | TransferCode::SpendDeny) {
            let family = &mut self.families[made.family as usize];
            let until_ns = made.long.div_ceil(NS_PER_SECOND / NS_PER_MS).saturating_mul(NS_PER_SECOND);
            family.spent_until_ns = family.spent_until_ns.max(until_ns);
        }
    }

    /// Of a lease that is settled nothing can be given back any more. Its complete leaves a trace, or voids what it held.
    pub(super) fn spends_no_more_if_settled(&mut self, index: u32) {
        let made = &self.made[index as usize];
        if made.code == TransferCode::Complete || made.state == State::Voided {
            self.families[made.family as usize].spent_until_ns = 0;
        }
    }

    /// Lets a family of which nothing is held be forgotten when its time has come.
    pub(super) fn check_over(&mut self, family_index: u32, now_ns: u64) {
        let family = &mut self.families[family_index as usize];
        let since_ns = family.spent_until_ns.max(now_ns);
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
            next = self.made.remove(index as usize).next_of_family.get();
        }
    }
}

/// One of 64 bits for the part of an id that is its own in its family. Up to leg 7, first attempts have one each.
fn tail_bit(id: TransferId) -> u64 {
    let tail = id.as_u128() as u16;
    1 << (((tail >> 5) + (tail & 0b1_1111)) & 63)
}

/// The table takes the place from the low bits of a hash and a tag from the high ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

impl State {
    /// What stands in the way of voiding such a transfer.
    pub(super) fn refuses_void(self) -> Option<Refusal> {
        match self {
            State::Held => None,
            State::Burnt => Some(Refusal::PendingNotFound),
            State::NotPending => Some(Refusal::PendingNotPending),
            State::Voided => Some(Refusal::PendingAlreadyVoided),
            State::Expired => Some(Refusal::PendingExpired),
        }
    }
}
