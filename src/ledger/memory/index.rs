use super::link::Link;

/// Leads from hashes to the entries of another table.
///
/// Entries stand where their hash points, or as near behind as there is room (linear probing, Knuth, The Art of Computer
/// Programming, volume 3, 6.4, algorithms L and R). With millions of entries what a look costs is how many lines of memory
/// it waits for: here that is one, where a table with its tags apart takes two.
#[derive(Default)]
pub(super) struct Index {
    /// None, or a power of two of them, half of which are free.
    slots: Vec<Slot>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    /// Kept, so that neither looking nor growing needs to look at other entries.
    hash: u32,
    entry: Link,
}

const FREE: Slot = Slot { hash: 0, entry: Link::NONE };
const SLOTS_MIN: usize = 16;

impl Index {
    /// The entry of this hash that is the one.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let slot = self.slots.get(at)?;
            let entry = slot.entry.get()?;
            if slot.hash == hash && is_it(entry) {
                return Some(entry);
            }
            at = self.behind(at);
        }
    }

    /// Takes in an entry, which must not be there.
    pub(super) fn insert(&mut self, hash: u32, entry: u32) {
        if self.len >= self.slots.len() / 2 {
            self.grow();
        }
        self.len += 1;
        self.put(Slot { hash, entry: Link::to(entry) });
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, hash: u32, entry: u32) {
        let mut free = self.home(hash);
        loop {
            match self.slots.get(free).and_then(|slot| slot.entry.get()) {
                Some(other) if other == entry => break,
                Some(_) => free = self.behind(free),
                None => return,
            }
        }
        self.len -= 1;
        // What stands behind moves up, unless that would be before where its hash points.
        let mut at = self.behind(free);
        while self.slots[at].entry != Link::NONE {
            if self.distance(self.home(self.slots[at].hash), at) >= self.distance(free, at) {
                self.slots[free] = self.slots[at];
                free = at;
            }
            at = self.behind(at);
        }
        self.slots[free] = FREE;
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(SLOTS_MIN);
        let before = std::mem::replace(&mut self.slots, vec![FREE; slots]);
        before.into_iter().filter(|slot| slot.entry != Link::NONE).for_each(|slot| self.put(slot));
    }

    fn put(&mut self, slot: Slot) {
        let mut at = self.home(slot.hash);
        while self.slots[at].entry != Link::NONE {
            at = self.behind(at);
        }
        self.slots[at] = slot;
    }

    fn home(&self, hash: u32) -> usize {
        hash as usize & self.mask()
    }

    fn behind(&self, at: usize) -> usize {
        (at + 1) & self.mask()
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.mask()
    }

    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Hashes that meet often, at both ends of the table.
    fn hash_of(entry: u32) -> u32 {
        (entry % 7).wrapping_sub(3)
    }

    proptest! {
        #[test]
        fn it_finds_what_is_in_it(steps in prop::collection::vec((any::<bool>(), 0..64_u32), 1..200)) {
            let (mut index, mut model) = (Index::default(), BTreeSet::new());
            for (inserts, entry) in steps {
                if inserts && model.insert(entry) {
                    index.insert(hash_of(entry), entry);
                } else if !inserts {
                    model.remove(&entry);
                    index.remove(hash_of(entry), entry);
                }
                for entry in 0..64 {
                    let found = index.find(hash_of(entry), |other| other == entry);
                    prop_assert_eq!(found, model.contains(&entry).then_some(entry));
                }
            }
        }
    }
}
