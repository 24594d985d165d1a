//! What is left of limits, read behind a decision. The decision does not depend on it.

use super::Api;
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::limiter::Left;
use crate::protocol::LimitReport;

impl<L: Ledger> Api<L> {
    /// What is left of these limits, in their order. Empty if the ledger does not tell in time.
    ///
    /// It takes one look-up for all of them, and no transfer.
    pub(in crate::server) async fn left(&self, keys: &[&LimitKey]) -> Vec<Option<Left>> {
        if keys.is_empty() {
            return Vec::new();
        }
        match self.in_time(self.engine.limiter().left(keys)).await {
            Ok(left) => left,
            Err(reject) => {
                tracing::debug!(
                    error = reject.message(),
                    "the answer cannot tell what is left of its limits"
                );
                Vec::new()
            }
        }
    }

    /// The same for an answer, without the keys that no limit has. `None` if the ledger does not tell in time.
    pub(super) async fn report(&self, keys: &[&LimitKey]) -> Option<Vec<LimitReport>> {
        let left = self.left(keys).await;
        if left.is_empty() {
            return None;
        }
        Some(keys.iter().zip(&left).filter_map(|(key, left)| Some(report_of(key, left.as_ref()?))).collect())
    }
}

/// What is left of one limit, as an answer tells it.
pub(super) fn report_of(key: &LimitKey, left: &Left) -> LimitReport {
    LimitReport {
        key: key.as_str().to_owned(),
        capacity: left.capacity,
        available: left.available,
        reset_ms: left.more_after_ms,
    }
}
