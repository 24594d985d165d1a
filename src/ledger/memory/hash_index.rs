//! A hash table of slots, which finds an id among a million with one cache miss.
//!
//! It stays because `hashbrown::HashTable`, which keeps its tags apart from its entries, needs two: with it,
//! a reserve and a complete among a million live leases took 20 % longer
//! (`scripts/bench --only growth-memory`).

use super::slots::FamilySlot;

/// How many tables share the hashes. Each grows by itself, so a call waits for the 256th part of the entries at most: of
/// ten million entries for less than a millisecond. With one table it waited for all of them, half a second.
const SHARDS: usize = 256;

/// Maps hashes to the slots of families.
pub(super) struct HashIndex {
    shards: Box<[Shard; SHARDS]>,
}

/// A table of the hashes that begin with the same byte.
///
/// It uses linear probing (Knuth, The Art of Computer Programming, volume 3, 6.4, algorithms L and R): an entry is at
/// the position of its hash, or at the next free position after it.
#[derive(Clone, Default)]
struct Shard {
    /// Empty, or a power of two of entries. At least half of them are free.
    entries: Vec<Entry>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    /// The entry holds the hash, so that a search reads a family only if the whole hash is equal, and growing reads
    /// no family.
    hash: u32,
    /// `None` if the entry is free.
    slot: Option<FamilySlot>,
}

const FREE: Entry = Entry { hash: 0, slot: None };
const ENTRIES_MIN: usize = 16;

impl Default for HashIndex {
    fn default() -> Self {
        Self { shards: Box::new(std::array::from_fn(|_| Shard::default())) }
    }
}

impl HashIndex {
    /// Finds the slot of this hash that `is_match` accepts.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_match: impl Fn(FamilySlot) -> bool) -> Option<FamilySlot> {
        self.shards[shard_of(hash)].find(hash, is_match)
    }

    /// Inserts a slot, which must not be in the table.
    pub(super) fn insert(&mut self, hash: u32, slot: FamilySlot) {
        self.shards[shard_of(hash)].insert(hash, slot);
    }

    /// Removes a slot, if it is in the table.
    pub(super) fn remove(&mut self, hash: u32, slot: FamilySlot) {
        self.shards[shard_of(hash)].remove(hash, slot);
    }
}

fn shard_of(hash: u32) -> usize {
    (hash >> 24) as usize
}

impl Shard {
    fn find(&self, hash: u32, is_match: impl Fn(FamilySlot) -> bool) -> Option<FamilySlot> {
        let mut position = self.home(hash);
        loop {
            let entry = self.entries.get(position)?;
            let slot = entry.slot?;
            if entry.hash == hash && is_match(slot) {
                return Some(slot);
            }
            position = self.next(position);
        }
    }

    fn insert(&mut self, hash: u32, slot: FamilySlot) {
        if self.len >= self.entries.len() / 2 {
            self.resize((self.entries.len() * 2).max(ENTRIES_MIN));
        }
        self.len += 1;
        self.place(Entry { hash, slot: Some(slot) });
    }

    fn remove(&mut self, hash: u32, slot: FamilySlot) {
        let mut free = self.home(hash);
        loop {
            match self.entries.get(free).and_then(|entry| entry.slot) {
                Some(other) if other == slot => break,
                Some(_) => free = self.next(free),
                None => return,
            }
        }
        self.len -= 1;
        // Later entries move up into the gap, but never to before the position of their hash.
        let mut position = self.next(free);
        while self.entries[position].slot.is_some() {
            let home = self.home(self.entries[position].hash);
            if self.distance(home, position) >= self.distance(free, position) {
                self.entries[free] = self.entries[position];
                free = position;
            }
            position = self.next(position);
        }
        self.entries[free] = FREE;
        // A table that has grown or shrunk is a quarter full, so that neither follows soon.
        if self.len < self.entries.len() / 8 && self.entries.len() > ENTRIES_MIN {
            self.resize(self.entries.len() / 2);
        }
    }

    /// Gives the table `len` entries, a power of two.
    fn resize(&mut self, len: usize) {
        let old = std::mem::replace(&mut self.entries, vec![FREE; len]);
        old.into_iter().filter(|entry| entry.slot.is_some()).for_each(|entry| self.place(entry));
    }

    /// Writes an entry to the first free position from its home on.
    fn place(&mut self, entry: Entry) {
        let mut position = self.home(entry.hash);
        while self.entries[position].slot.is_some() {
            position = self.next(position);
        }
        self.entries[position] = entry;
    }

    /// The position at which the search for a hash begins.
    fn home(&self, hash: u32) -> usize {
        hash as usize & self.mask()
    }

    fn next(&self, position: usize) -> usize {
        (position + 1) & self.mask()
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.mask()
    }

    fn mask(&self) -> usize {
        self.entries.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const SLOTS: usize = 64;

    /// Seven hashes for all slots, so that they collide, at both ends of two tables.
    fn hash_of(slot: usize) -> u32 {
        (slot as u32 % 7).wrapping_sub(3)
    }

    #[test]
    fn a_table_gives_memory_back() {
        let mut index = HashIndex::default();
        let hash_of = |slot: usize| (slot as u32).wrapping_mul(0x9e37_79b9);
        let entries = |index: &HashIndex| index.shards.iter().map(|shard| shard.entries.len()).sum::<usize>();
        (0..100_000).for_each(|slot| index.insert(hash_of(slot), FamilySlot::new(slot)));
        assert!(entries(&index) >= 200_000, "{}", entries(&index));
        for slot in 0..99_999 {
            index.remove(hash_of(slot), FamilySlot::new(slot));
        }
        assert!(entries(&index) <= SHARDS * ENTRIES_MIN, "{}", entries(&index));
        assert!(index.find(hash_of(99_999), |slot| slot == FamilySlot::new(99_999)).is_some());
    }

    proptest! {
        #[test]
        fn a_search_finds_exactly_the_slots_in_the_table(
            steps in prop::collection::vec((any::<bool>(), 0..SLOTS), 1..200)
        ) {
            let (mut index, mut model) = (HashIndex::default(), BTreeSet::new());
            for (inserts, slot) in steps {
                if inserts && model.insert(slot) {
                    index.insert(hash_of(slot), FamilySlot::new(slot));
                } else if !inserts {
                    model.remove(&slot);
                    index.remove(hash_of(slot), FamilySlot::new(slot));
                }
                for slot in 0..SLOTS {
                    let found = index.find(hash_of(slot), |other| other == FamilySlot::new(slot));
                    prop_assert_eq!(found, model.contains(&slot).then_some(FamilySlot::new(slot)));
                }
            }
        }
    }
}
