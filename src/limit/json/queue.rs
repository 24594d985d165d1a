//! How callers wait for a limit, as JSON.

use serde::{Deserialize, Serialize};

use crate::limit::{QueueOrder, Queueing};

/// See [`Queueing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct QueueJson {
    /// Who is served first.
    #[serde(default)]
    pub order: QueueOrderJson,
    /// The most units of the limit that may be waited for in one process; no bound if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_waiting: Option<u64>,
}

/// See [`QueueOrder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum QueueOrderJson {
    #[default]
    OldestFirst,
    NewestFirst,
}

impl QueueJson {
    pub(super) fn queueing(self) -> Queueing {
        let order = match self.order {
            QueueOrderJson::OldestFirst => QueueOrder::OldestFirst,
            QueueOrderJson::NewestFirst => QueueOrder::NewestFirst,
        };
        Queueing { order, max_waiting: self.max_waiting }
    }

    /// `None` for the default, which is left out.
    pub(super) fn of(queueing: Queueing) -> Option<Self> {
        let order = match queueing.order {
            QueueOrder::OldestFirst => QueueOrderJson::OldestFirst,
            QueueOrder::NewestFirst => QueueOrderJson::NewestFirst,
        };
        (queueing != Queueing::default()).then_some(Self { order, max_waiting: queueing.max_waiting })
    }
}
