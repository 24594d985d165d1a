//! The tokens that the service accepts, found by their digest.

use std::collections::HashMap;
use std::sync::Arc;

use super::Access;
use super::token::TokenDigest;

/// The tokens that the service accepts. A look-up takes no lock and does not allocate.
#[derive(Debug, Default)]
pub(super) struct TokenTable {
    by_index: HashMap<u64, (TokenDigest, Arc<Access>)>,
}

impl TokenTable {
    /// Adds a token; false if it is there already.
    pub(super) fn insert(&mut self, digest: TokenDigest, access: Access) -> bool {
        // No two digests begin alike, unless they are the same: that takes 2^32 tokens.
        self.by_index.insert(digest.index(), (digest, Arc::new(access))).is_none()
    }

    /// The access of the token with this digest.
    pub(super) fn find(&self, digest: &TokenDigest) -> Option<&Arc<Access>> {
        let (found, access) = self.by_index.get(&digest.index())?;
        found.is_same(digest).then_some(access)
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.by_index.len()
    }
}
