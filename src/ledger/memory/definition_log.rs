//! The definition log: the transfers that encode definitions, which are queried by account and kept forever.

use std::collections::HashMap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::accounts::Accounts;
use super::slots::{AccountIndex, DefinitionIndex, ENTRIES_MAX};
use crate::ledger::{
    Movement, Recorded, Refusal, Transfer, TransferCode, TransferFamily, TransferId, UserData,
};

/// The definition versions of all limits.
///
/// A chain of transfers of amount 0 encodes a definition version: each transfer is a part. The log stores
/// once what the parts share, and 24 bytes for each part. With the 64 bytes of a stored transfer an idle
/// limit took 80 bytes more (`scripts/bench --only resident`).
#[derive(Default)]
pub(super) struct DefinitionLog {
    definitions: Vec<StoredDefinition>,
    parts: Vec<StoredPart>,
    by_family: HashTable<DefinitionIndex>,
    hasher: DefaultHashBuilder,
    /// The definitions that debit an account, oldest first. Few accounts have any.
    by_debit: HashMap<AccountIndex, Vec<DefinitionIndex>, DefaultHashBuilder>,
}

/// What the parts of a definition version share. Part n has n as the tail of its id and as its short user
/// data, and its timestamp is n nanoseconds after that of the first.
struct StoredDefinition {
    family: TransferFamily,
    timestamp_ns: u64,
    debit: AccountIndex,
    credit: AccountIndex,
    /// The previous definition that credits the same account.
    previous: Option<DefinitionIndex>,
    first_part: u32,
    part_count: u16,
    /// Whether the chain goes on after the last part.
    linked: bool,
}

/// The wide user data of a part, its high half first, and the long user data.
struct StoredPart {
    wide: [u64; 2],
    long: u64,
}

/// A part to be appended.
pub(super) struct NewPart {
    pub(super) id: TransferId,
    pub(super) user_data: UserData,
    pub(super) debit: AccountIndex,
    pub(super) credit: AccountIndex,
    pub(super) linked: bool,
    pub(super) timestamp_ns: u64,
}

/// Which part of which definition.
#[derive(Clone, Copy)]
pub(super) struct PartIndex {
    definition: DefinitionIndex,
    part: u16,
}

impl DefinitionLog {
    /// The number of parts, each of which is a transfer.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn find(&self, id: TransferId) -> Option<PartIndex> {
        let family = id.family();
        let is_match = |&index: &DefinitionIndex| self.definition(index).family == family;
        let definition = *self.by_family.find(self.hasher.hash_one(family), is_match)?;
        let part = id.tail();
        (part < self.definition(definition).part_count).then_some(PartIndex { definition, part })
    }

    fn definition(&self, index: DefinitionIndex) -> &StoredDefinition {
        &self.definitions[index.get()]
    }

    /// Appends a part to the definition of the current chain, which has `part_count` parts so far.
    ///
    /// `newest_of_credit` is the newest definition that credits the account; the first part replaces it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Malformed`] if it is not the next part of that definition, [`Refusal::Overflow`] if the log
    /// is full.
    pub(super) fn append(
        &mut self,
        new: &NewPart,
        part_count: u16,
        newest_of_credit: &mut Option<DefinitionIndex>,
    ) -> Result<(), Refusal> {
        let UserData { wide, long, short } = new.user_data;
        let is_next = new.id.tail() == part_count && short == u32::from(part_count) && part_count < u16::MAX;
        let is_of_definition = |definition: &StoredDefinition| {
            let &StoredDefinition { family, debit, credit, timestamp_ns, .. } = definition;
            (family, debit, credit) == (new.id.family(), new.debit, new.credit)
                && timestamp_ns + u64::from(part_count) == new.timestamp_ns
        };
        if !is_next || part_count > 0 && !self.definitions.last().is_some_and(is_of_definition) {
            return Err(Refusal::Malformed("a part of a definition is out of order"));
        }
        if self.definitions.len() >= ENTRIES_MAX || self.parts.len() >= ENTRIES_MAX {
            return Err(Refusal::Overflow);
        }
        if part_count == 0 {
            self.begin(new, newest_of_credit);
        }
        if let Some(definition) = self.definitions.last_mut() {
            definition.part_count = part_count + 1;
            definition.linked = new.linked;
        }
        self.parts.push(StoredPart { wide: [(wide >> 64) as u64, wide as u64], long });
        Ok(())
    }

    /// Begins a definition, without its first part.
    fn begin(&mut self, new: &NewPart, newest_of_credit: &mut Option<DefinitionIndex>) {
        let &NewPart { id, debit, credit, linked, timestamp_ns, .. } = new;
        let family = id.family();
        let index = DefinitionIndex::new(self.definitions.len());
        self.definitions.push(StoredDefinition {
            family,
            timestamp_ns,
            debit,
            credit,
            previous: newest_of_credit.replace(index),
            // `append` checked that it fits.
            first_part: self.parts.len() as u32,
            part_count: 0,
            linked,
        });
        let Self { definitions, by_family, hasher, .. } = self;
        let hash = |&index: &DefinitionIndex| hasher.hash_one(definitions[index.get()].family);
        by_family.insert_unique(hasher.hash_one(family), index, hash);
        self.by_debit.entry(debit).or_default().push(index);
    }

    /// Removes the newest definition. Returns the account that it credits, and the definition of that account
    /// before it.
    pub(super) fn remove_newest(&mut self) -> Option<(AccountIndex, Option<DefinitionIndex>)> {
        let StoredDefinition { family, debit, credit, previous, first_part, .. } = self.definitions.pop()?;
        let index = DefinitionIndex::new(self.definitions.len());
        self.parts.truncate(first_part as usize);
        if let Ok(entry) = self.by_family.find_entry(self.hasher.hash_one(family), |&other| other == index) {
            entry.remove();
        }
        self.by_debit.entry(debit).or_default().pop();
        Some((credit, previous))
    }

    /// The parts that debit an account, oldest first: all that are later than `after_ns`, and possibly some
    /// earlier ones.
    pub(super) fn parts_debiting(
        &self,
        account: AccountIndex,
        after_ns: u64,
    ) -> impl DoubleEndedIterator<Item = PartIndex> {
        let definitions = self.by_debit.get(&account).map_or(&[][..], Vec::as_slice);
        let is_earlier = |&index: &DefinitionIndex| {
            let definition = self.definition(index);
            definition.timestamp_ns + u64::from(definition.part_count) <= after_ns
        };
        let later = &definitions[definitions.partition_point(is_earlier)..];
        later.iter().flat_map(|&index| self.parts_of(index))
    }

    /// The parts that credit an account, oldest first. `newest` is the newest definition that credits it.
    pub(super) fn parts_crediting(
        &self,
        newest: Option<DefinitionIndex>,
    ) -> impl DoubleEndedIterator<Item = PartIndex> {
        let newest_first = std::iter::successors(newest, |&index| self.definition(index).previous);
        let definitions: Vec<DefinitionIndex> = newest_first.collect();
        definitions.into_iter().rev().flat_map(|index| self.parts_of(index))
    }

    /// All parts, oldest first.
    pub(super) fn all_parts(&self) -> impl Iterator<Item = PartIndex> {
        (0..self.definitions.len()).flat_map(|index| self.parts_of(DefinitionIndex::new(index)))
    }

    fn parts_of(&self, definition: DefinitionIndex) -> impl DoubleEndedIterator<Item = PartIndex> + use<> {
        (0..self.definition(definition).part_count).map(move |part| PartIndex { definition, part })
    }

    /// Reads a part back as a transfer.
    pub(super) fn recorded(&self, index: PartIndex, accounts: &Accounts) -> Recorded {
        let definition = self.definition(index.definition);
        let &StoredPart { wide: [high, low], long } =
            &self.parts[definition.first_part as usize + usize::from(index.part)];
        let wide = u128::from(high) << 64 | u128::from(low);
        let (debit, credit) = (accounts.info(definition.debit).id, accounts.info(definition.credit).id);
        let transfer = Transfer {
            id: definition.family.transfer(index.part),
            code: TransferCode::Definition,
            user_data: UserData { wide, long, short: index.part.into() },
            movement: Movement::Post { debit, credit, amount: 0 },
        };
        Recorded { transfer, timestamp_ns: definition.timestamp_ns + u64::from(index.part) }
    }

    /// Whether the chain of a part went on after it.
    pub(super) fn is_linked(&self, index: PartIndex) -> bool {
        let definition = self.definition(index.definition);
        definition.linked || index.part + 1 < definition.part_count
    }
}
