//! A slab that grows and shrinks by chunks: growing copies nothing, and an empty chunk gives its memory back.
//!
//! With one list for all entries, a call that made it grow waited for the copy of every entry: a second for ten
//! million of them. And the list never became smaller.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};

/// The entries of a chunk, a power of two. A chunk of transfers takes 256 KiB.
const CHUNK_ENTRIES: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 12;

/// Entries that keep their slot until they are removed. A slot is free for reuse then.
pub(super) struct ChunkedSlab<T> {
    chunks: Vec<Chunk<T>>,
    /// The chunks that may have a free slot, each once. The one that has had room for the longest time is filled next:
    /// most of its entries have gone, so the new ones lie together, and their chunk is empty when they go. Leases go
    /// nearly in the order in which they came. When the chunk that had room last was filled next, a flood mixed the
    /// ages, and behind it a fifth of the entries held nearly all chunks.
    with_room: VecDeque<usize>,
    /// The chunks without memory.
    released: Vec<usize>,
    /// How many chunks have memory and no entry. One is kept, so that the only entry of a chunk can come and go.
    empty_count: usize,
    len: usize,
}

struct Chunk<T> {
    /// `None` without memory. An array, because its length needs no check at each access: with a list a reserve and
    /// complete took 3 % more instructions (`scripts/bench --only pairs` under callgrind).
    entries: Option<Entries<T>>,
    /// The first slot of the list through the free slots, or [`NONE`].
    first_free: u16,
    /// How many slots are free; 0 without memory.
    free_count: u16,
    is_in_with_room: bool,
}

type Entries<T> = Box<[Entry<T>; CHUNK_ENTRIES]>;

enum Entry<T> {
    Used(T),
    /// The next free slot of the chunk, or [`NONE`].
    Free(u16),
}

/// No slot. It is none of a chunk.
const NONE: u16 = u16::MAX;
const _: () = assert!(CHUNK_ENTRIES < NONE as usize, "slots of a chunk and their number take 16 bits");

impl<T> Default for ChunkedSlab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), with_room: VecDeque::new(), released: Vec::new(), empty_count: 0, len: 0 }
    }
}

impl<T> ChunkedSlab<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, slot: usize) -> Option<&T> {
        match &self.chunks.get(slot >> CHUNK_BITS)?.entries.as_ref()?[slot % CHUNK_ENTRIES] {
            Entry::Used(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    /// The values, in the order of their slots.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        let entries = self.chunks.iter().filter_map(|chunk| chunk.entries.as_ref());
        entries.flat_map(|entries| entries.iter()).filter_map(|entry| match entry {
            Entry::Used(value) => Some(value),
            Entry::Free(_) => None,
        })
    }

    /// A free slot, for [`ChunkedSlab::fill`].
    pub(super) fn free_slot(&mut self) -> usize {
        let index = self.chunk_with_room();
        (index << CHUNK_BITS) + usize::from(self.chunks[index].first_free)
    }

    /// Stores a value, and returns its slot.
    pub(super) fn insert(&mut self, value: T) -> usize {
        let slot = self.free_slot();
        self.fill(slot, value);
        slot
    }

    /// Stores a value in the slot that [`ChunkedSlab::free_slot`] has just returned.
    pub(super) fn fill(&mut self, slot: usize, value: T) {
        let chunk = &mut self.chunks[slot >> CHUNK_BITS];
        if chunk.is_empty() {
            self.empty_count -= 1;
        }
        self.len += 1;
        debug_assert_eq!(usize::from(chunk.first_free), slot % CHUNK_ENTRIES, "the slot is not the free one");
        chunk.fill(slot % CHUNK_ENTRIES, value);
    }

    /// Removes the value in a slot that is in use.
    pub(super) fn remove(&mut self, slot: usize) -> Option<T> {
        let index = slot >> CHUNK_BITS;
        let chunk = self.chunks.get_mut(index)?;
        let value = chunk.remove(slot % CHUNK_ENTRIES)?;
        self.len -= 1;
        if !chunk.is_in_with_room {
            chunk.is_in_with_room = true;
            self.with_room.push_back(index);
        }
        if chunk.is_empty() {
            self.empty_count += 1;
            if self.empty_count > 1 {
                self.empty_count -= 1;
                chunk.release();
                self.released.push(index);
            }
        }
        Some(value)
    }

    /// The index of a chunk with memory and a free slot.
    fn chunk_with_room(&mut self) -> usize {
        while let Some(&index) = self.with_room.front() {
            let chunk = &mut self.chunks[index];
            if chunk.free_count > 0 {
                return index;
            }
            chunk.is_in_with_room = false;
            self.with_room.pop_front();
        }
        self.add_chunk()
    }

    #[cold]
    fn add_chunk(&mut self) -> usize {
        let index = self.released.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::without_memory());
            self.chunks.len() - 1
        });
        let chunk = &mut self.chunks[index];
        chunk.add_memory();
        chunk.is_in_with_room = true;
        self.with_room.push_back(index);
        self.empty_count += 1;
        index
    }
}

impl<T> Index<usize> for ChunkedSlab<T> {
    type Output = T;

    fn index(&self, slot: usize) -> &T {
        if let Some(entries) = &self.chunks[slot >> CHUNK_BITS].entries
            && let Entry::Used(value) = &entries[slot % CHUNK_ENTRIES]
        {
            return value;
        }
        unused(slot)
    }
}

impl<T> IndexMut<usize> for ChunkedSlab<T> {
    fn index_mut(&mut self, slot: usize) -> &mut T {
        if let Some(entries) = &mut self.chunks[slot >> CHUNK_BITS].entries
            && let Entry::Used(value) = &mut entries[slot % CHUNK_ENTRIES]
        {
            return value;
        }
        unused(slot)
    }
}

#[cold]
#[expect(
    clippy::panic,
    reason = "as with the index of a list, a slot without an entry is a fault of the program"
)]
fn unused(slot: usize) -> ! {
    panic!("slot {slot} is not in use")
}

impl<T> Chunk<T> {
    fn without_memory() -> Self {
        Self { entries: None, first_free: NONE, free_count: 0, is_in_with_room: false }
    }

    /// Allocates memory, in which all slots are free.
    fn add_memory(&mut self) {
        let next_of = |slot: usize| if slot + 1 < CHUNK_ENTRIES { slot as u16 + 1 } else { NONE };
        let entries: Vec<Entry<T>> = (0..CHUNK_ENTRIES).map(|slot| Entry::Free(next_of(slot))).collect();
        self.entries = entries.try_into().ok();
        (self.first_free, self.free_count) = (0, CHUNK_ENTRIES as u16);
    }

    /// Gives the memory of an empty chunk back.
    fn release(&mut self) {
        self.entries = None;
        (self.first_free, self.free_count) = (NONE, 0);
    }

    /// Whether a chunk with memory has no entry.
    fn is_empty(&self) -> bool {
        usize::from(self.free_count) == CHUNK_ENTRIES
    }

    /// Stores a value in the first free slot.
    fn fill(&mut self, first_free: usize, value: T) {
        if let Some(entries) = &mut self.entries
            && let Entry::Free(next) = std::mem::replace(&mut entries[first_free], Entry::Used(value))
        {
            self.first_free = next;
            self.free_count -= 1;
        }
    }

    fn remove(&mut self, slot: usize) -> Option<T> {
        let entry = &mut self.entries.as_mut()?[slot];
        match std::mem::replace(entry, Entry::Free(self.first_free)) {
            Entry::Used(value) => {
                self.first_free = slot as u16;
                self.free_count += 1;
                Some(value)
            }
            free @ Entry::Free(_) => {
                *entry = free;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl<T> ChunkedSlab<T> {
        fn chunks_with_memory(&self) -> usize {
            self.chunks.iter().filter(|chunk| chunk.entries.is_some()).count()
        }
    }

    #[test]
    fn an_entry_keeps_its_slot_and_empty_chunks_keep_no_memory() {
        let mut slab = ChunkedSlab::default();
        let slots: Vec<_> = (0..10 * CHUNK_ENTRIES).map(|number| slab.insert(number)).collect();
        assert_eq!((slab.len(), slab.chunks_with_memory()), (10 * CHUNK_ENTRIES, 10));
        for (number, &slot) in slots.iter().enumerate().skip(1) {
            assert_eq!((slab[slot], slab.remove(slot), slab.remove(slot)), (number, Some(number), None));
        }
        assert_eq!((slab[slots[0]], slab.len()), (0, 1));
        assert_eq!(slab.chunks_with_memory(), 2, "that of the last entry, and an empty one");
        let again: Vec<_> = (0..10 * CHUNK_ENTRIES - 1).map(|number| slab.insert(number)).collect();
        assert_eq!(slab.chunks_with_memory(), 10, "chunks without memory are used again");
        assert!(again.iter().all(|&slot| slot < 10 * CHUNK_ENTRIES));
    }

    /// Entries leave in the order in which they came, a while after they came; sometimes many at once.
    #[test]
    fn what_came_last_lies_together() {
        let (mut slab, mut slots) = (ChunkedSlab::default(), VecDeque::new());
        for round in 0..6_000 {
            let leave = if round % 97 == 0 { 9_000 } else { 250 };
            let leave = leave.min(slots.len().saturating_sub(60_000));
            slots.drain(..leave).for_each(|slot| assert!(slab.remove(slot).is_some()));
            slots.extend((0..350).map(|number| slab.insert(number)));
        }
        slots.drain(..slots.len() - 5 * CHUNK_ENTRIES).for_each(|slot| assert!(slab.remove(slot).is_some()));
        assert!(slab.chunks_with_memory() <= 10, "{} chunks for five", slab.chunks_with_memory());
    }

    proptest! {
        #[test]
        fn a_slab_is_a_map_from_slots(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200)) {
            let (mut slab, mut model) = (ChunkedSlab::default(), BTreeMap::new());
            for (number, (inserts, index)) in steps.into_iter().enumerate() {
                if inserts || model.is_empty() {
                    let expected = slab.free_slot();
                    prop_assert_eq!(slab.insert(number), expected);
                    prop_assert_eq!(model.insert(expected, number), None);
                } else {
                    let slot = *index.get(&model.keys().copied().collect::<Vec<_>>());
                    prop_assert_eq!(slab.remove(slot), model.remove(&slot));
                }
                prop_assert_eq!(slab.len(), model.len());
                for (&slot, number) in &model {
                    prop_assert_eq!(slab.get(slot), Some(number));
                }
            }
        }
    }
}
