//! A job, its queue and its number.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::client::{LimitKey, Requirements};

/// Names the queue of a job. The calls to one model of one provider wait in one queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    provider: Arc<str>,
    model: Arc<str>,
}

/// Work that runs when there is room for it.
#[derive(Debug, Clone)]
pub struct Job {
    /// The queue in which it waits.
    pub queue: QueueKey,
    /// What it needs. It runs when all of it is reserved.
    pub wants: Requirements,
}

/// Names a job within its scheduler. Numbers count up, so a smaller one is older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct JobNumber(pub(super) u64);

/// The amounts that a job has used, by limit.
pub(super) type UsedAmounts = BTreeMap<LimitKey, u64>;

impl QueueKey {
    /// The queue of a model.
    pub fn new(provider: &str, model: &str) -> Self {
        Self { provider: provider.into(), model: model.into() }
    }

    /// The provider of the model.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The model.
    pub fn model(&self) -> &str {
        &self.model
    }
}

impl Job {
    pub(super) fn keys(&self) -> impl Iterator<Item = &LimitKey> {
        self.wants.list().iter().map(|requirement| &requirement.key)
    }
}
