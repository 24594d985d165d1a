//! Index types of four bytes, one for each table. Their `Option` takes four bytes, too, because no index is
//! stored as 0.

use std::num::NonZeroU32;

/// Indexes must be below this number.
pub(super) const ENTRIES_MAX: usize = u32::MAX as usize;

macro_rules! index_types {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(super) struct $name(NonZeroU32);

        impl $name {
            /// Wraps an index below [`ENTRIES_MAX`].
            pub(super) fn new(index: usize) -> Self {
                debug_assert!(index < ENTRIES_MAX, "index {index} does not fit");
                Self(NonZeroU32::MIN.saturating_add(index as u32))
            }

            pub(super) fn get(self) -> usize {
                (self.0.get() - 1) as usize
            }
        }
    )*};
}

index_types! {
    /// The index of an account. An account keeps it forever.
    AccountIndex;
    /// The slot of a transfer, free for reuse after the transfer is removed.
    TransferSlot;
    /// The slot of a family of transfers, free for reuse after the family is removed.
    FamilySlot;
    /// The index of a definition version in the definition log.
    DefinitionIndex;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_optional_slot_takes_four_bytes_and_keeps_its_index() {
        assert_eq!(size_of::<Option<TransferSlot>>(), 4);
        for index in [0, 1, ENTRIES_MAX - 1] {
            assert_eq!(TransferSlot::new(index).get(), index);
        }
    }
}
