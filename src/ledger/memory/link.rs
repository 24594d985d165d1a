/// The index of another entry of the same table, or none, in four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(u32);

impl Link {
    pub(super) const NONE: Link = Link(u32::MAX);
    /// A table may have so many entries that each of them has a link.
    pub(super) const ENTRIES_MAX: usize = u32::MAX as usize;

    /// To an index below [`Link::ENTRIES_MAX`].
    pub(super) fn to(index: u32) -> Self {
        Self(index)
    }

    pub(super) fn get(self) -> Option<u32> {
        (self != Self::NONE).then_some(self.0)
    }
}
