//! Which limits an operator wants to see.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;

use crate::limit::LimitKey;

/// Which limits to list. The default is every limit and template that an operator defined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitFilter {
    /// The keys to list.
    pub keys: KeyRange,
    /// Lists the instances of this template instead.
    pub template: Option<LimitKey>,
}

/// Keys that begin with a prefix and come after a text, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRange {
    /// The prefix; every key begins with the empty one.
    pub prefix: String,
    /// The text, such as the last key of the page before; every key comes after the empty one.
    pub after: String,
}

impl KeyRange {
    /// Whether a key is in the range.
    pub(super) fn holds(&self, key: &LimitKey) -> bool {
        key.as_str() > self.after.as_str() && key.as_str().starts_with(&self.prefix)
    }

    /// The entries of a map whose keys are in the range.
    pub(super) fn of<'a, V>(
        &'a self,
        map: &'a BTreeMap<LimitKey, V>,
    ) -> impl Iterator<Item = (&'a LimitKey, &'a V)> {
        let first = if self.prefix > self.after {
            Bound::Included(self.prefix.as_str())
        } else {
            Bound::Excluded(self.after.as_str())
        };
        let behind: Range<'a, LimitKey, V> = map.range::<str, _>((first, Bound::Unbounded));
        behind.take_while(|(key, _)| key.as_str().starts_with(&self.prefix))
    }
}
