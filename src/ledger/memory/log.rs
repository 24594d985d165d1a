use std::collections::HashMap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::accounts::Accounts;
use super::link::Link;
use crate::ledger::{
    Movement, Recorded, Refusal, Transfer, TransferCode, TransferFamily, TransferId, UserData,
};

/// The definitions, which are asked for by their account and kept for ever.
///
/// A definition is a run of transfers that move nothing and are read as one text. There may be a million of them, so each
/// is kept as a record: what its parts have in common once, and of each part what it carries.
#[derive(Default)]
pub(super) struct Log {
    records: Vec<Record>,
    parts: Vec<Part>,
    by_family: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Of each account, the records that debit it, by time. Few accounts have any.
    debiting: HashMap<u32, Vec<u32>, DefaultHashBuilder>,
}

/// One definition, made by one chain. Of the transfer of its part n, n is the tail of the id and the short user data, and
/// it was made n nanoseconds behind the first.
struct Record {
    family: TransferFamily,
    timestamp_ns: u64,
    debit: u32,
    credit: u32,
    /// The record before it that credits the same account.
    earlier: Link,
    first_part: u32,
    parts: u16,
    /// Whether another transfer was linked behind the last part.
    linked: bool,
}

/// The wide and the long user data of a transfer, in three words.
struct Part {
    wide: [u64; 2],
    long: u64,
}

/// A part of a definition to be taken in.
pub(super) struct NewPart {
    pub(super) id: TransferId,
    pub(super) user_data: UserData,
    pub(super) debit: u32,
    pub(super) credit: u32,
    pub(super) linked: bool,
    pub(super) timestamp_ns: u64,
}

/// Where a part is.
#[derive(Clone, Copy)]
pub(super) struct PartPlace {
    record: u32,
    part: u16,
}

impl Log {
    /// How many transfers it stands for.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn find(&self, id: TransferId) -> Option<PartPlace> {
        let family = id.family();
        let is_it = |&index: &u32| self.record(index).family == family;
        let record = *self.by_family.find(self.hasher.hash_one(family), is_it)?;
        let part = id.tail();
        (part < self.record(record).parts).then_some(PartPlace { record, part })
    }

    fn record(&self, index: u32) -> &Record {
        &self.records[index as usize]
    }

    /// Takes in the next part of the definition that a chain is writing, of which there are so many already. `newest` is
    /// the newest record that credits its account.
    pub(super) fn write(&mut self, new: &NewPart, written: u16, newest: &mut Link) -> Result<(), Refusal> {
        let UserData { wide, long, short } = new.user_data;
        let is_next = new.id.tail() == written && short == u32::from(written) && written < u16::MAX;
        let is_of_record = |record: &Record| {
            (record.family, record.debit, record.credit) == (new.id.family(), new.debit, new.credit)
                && record.timestamp_ns + u64::from(written) == new.timestamp_ns
        };
        if !is_next || written > 0 && !self.records.last().is_some_and(is_of_record) {
            return Err(Refusal::Malformed("a part of a definition is out of place"));
        }
        if self.records.len() >= Link::ENTRIES_MAX || self.parts.len() >= Link::ENTRIES_MAX {
            return Err(Refusal::Overflow);
        }
        if written == 0 {
            self.begin(new, newest);
        }
        if let Some(record) = self.records.last_mut() {
            record.parts = written + 1;
            record.linked = new.linked;
        }
        self.parts.push(Part { wide: [(wide >> 64) as u64, wide as u64], long });
        Ok(())
    }

    fn begin(&mut self, new: &NewPart, newest: &mut Link) {
        let &NewPart { id, debit, credit, linked, timestamp_ns, .. } = new;
        // Both are below the limit that was checked.
        let (index, first_part) = (self.records.len() as u32, self.parts.len() as u32);
        let (family, earlier) = (id.family(), std::mem::replace(newest, Link::to(index)));
        self.records.push(Record {
            family,
            timestamp_ns,
            debit,
            credit,
            earlier,
            first_part,
            parts: 0,
            linked,
        });
        let hash = |&index: &u32| self.hasher.hash_one(self.records[index as usize].family);
        self.by_family.insert_unique(self.hasher.hash_one(family), index, hash);
        self.debiting.entry(debit).or_default().push(index);
    }

    /// Takes the newest record out again; answers the account that it credits, and what was the newest of that before.
    pub(super) fn take_back(&mut self) -> Option<(u32, Link)> {
        let Record { family, debit, credit, earlier, first_part, .. } = self.records.pop()?;
        let index = self.records.len() as u32;
        self.parts.truncate(first_part as usize);
        if let Ok(entry) = self.by_family.find_entry(self.hasher.hash_one(family), |&other| other == index) {
            entry.remove();
        }
        self.debiting.entry(debit).or_default().pop();
        Some((credit, earlier))
    }

    /// The parts that debit an account, by time: all that are later than `after_ns`, and perhaps some that are not.
    pub(super) fn debiting(&self, account: u32, after_ns: u64) -> impl DoubleEndedIterator<Item = PartPlace> {
        let records = self.debiting.get(&account).map_or(&[][..], Vec::as_slice);
        let is_earlier = |&index: &u32| {
            let record = self.record(index);
            record.timestamp_ns + u64::from(record.parts) <= after_ns
        };
        let (_, later) = records.split_at(records.partition_point(is_earlier));
        later.iter().flat_map(|&record| self.parts_of(record))
    }

    /// The parts that credit an account, by time. `newest` is the newest record that does.
    pub(super) fn crediting(&self, newest: Link) -> impl DoubleEndedIterator<Item = PartPlace> {
        let newest_first = std::iter::successors(newest.get(), |&index| self.record(index).earlier.get());
        let records: Vec<u32> = newest_first.collect();
        records.into_iter().rev().flat_map(|record| self.parts_of(record))
    }

    fn parts_of(&self, record: u32) -> impl DoubleEndedIterator<Item = PartPlace> + use<> {
        (0..self.record(record).parts).map(move |part| PartPlace { record, part })
    }

    /// The transfer that a part is.
    pub(super) fn recorded(&self, place: PartPlace, accounts: &Accounts) -> Recorded {
        let record = self.record(place.record);
        let &Part { wide: [high, low], long } =
            &self.parts[record.first_part as usize + usize::from(place.part)];
        let (debit, credit) = (accounts.head(record.debit).id, accounts.head(record.credit).id);
        let transfer = Transfer {
            id: record.family.transfer(place.part),
            code: TransferCode::Definition,
            user_data: UserData {
                wide: u128::from(high) << 64 | u128::from(low),
                long,
                short: place.part.into(),
            },
            movement: Movement::Post { debit, credit, amount: 0 },
        };
        Recorded { transfer, timestamp_ns: record.timestamp_ns + u64::from(place.part) }
    }

    /// Whether another transfer was linked behind it.
    pub(super) fn is_linked(&self, place: PartPlace) -> bool {
        let record = self.record(place.record);
        record.linked || place.part + 1 < record.parts
    }
}
