//! The kind of a limit, for callers that serve some kinds only.

use super::{Limiter, LimiterError};
use crate::ledger::Ledger;
use crate::limit::{Kind, LimitKey};

impl<L: Ledger> Limiter<L> {
    /// The kind of a limit, if this process knows the limit.
    pub fn known_kind(&self, key: &LimitKey) -> Option<Kind> {
        let snapshot = self.registry.snapshot();
        let entry = snapshot.get(key).filter(|entry| entry.is_usable(snapshot.template_changes()))?;
        Some(entry.limit.state.definition.kind)
    }

    /// The kind that a limit has, or will have once its template makes it; `None` if there is neither. It reads the log unless
    /// this process knows the limit.
    pub async fn kind_of(&self, key: &LimitKey) -> Result<Option<Kind>, LimiterError> {
        if let Some(kind) = self.known_kind(key) {
            return Ok(Some(kind));
        }
        self.registry.refresh().await?;
        let of_template = || Some(self.registry.snapshot().template_of(key)?.limit.state.definition.kind);
        Ok(self.known_kind(key).or_else(of_template))
    }
}
