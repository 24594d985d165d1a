//! Turns: of all waiters of a limiter for one limit, the oldest alone asks, and the others wait for it.
//!
//! If each asked by itself, each would have a hint of its own, and room would lie idle whenever the caller that was promised it
//! comes late.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

use super::LimitKey;

/// Below this many limits nothing is cleaned up.
const LIMITS_MIN: usize = 64;

/// The queue of each limit that has waiters.
#[derive(Default)]
pub(super) struct Turns(Mutex<Queues>);

#[derive(Default)]
struct Queues {
    /// A queue that nobody holds any more is dead. Tokio's mutex lets its waiters in in their order.
    by_key: HashMap<LimitKey, Weak<Queue<()>>>,
    /// With this many entries, the dead ones are removed.
    clean_at: usize,
}

/// The right to ask for a limit. Dropping it gives the turn to the next waiter.
pub(super) struct Turn {
    key: LimitKey,
    shortest_pause: Duration,
    _held: OwnedMutexGuard<()>,
}

impl Turns {
    /// Waits for the turn.
    pub(super) async fn take(&self, key: &LimitKey) -> Turn {
        let held = self.queue_of(key).lock_owned().await;
        Turn { key: key.clone(), shortest_pause: Duration::MAX, _held: held }
    }

    /// Whether a waiter has the turn.
    pub(super) fn are_taken(&self, key: &LimitKey) -> bool {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.by_key.get(key).is_some_and(|queue| queue.strong_count() > 0)
    }

    fn queue_of(&self, key: &LimitKey) -> Arc<Queue<()>> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.by_key.get(key).and_then(Weak::upgrade) {
            return queue;
        }
        if queues.by_key.len() >= queues.clean_at {
            queues.by_key.retain(|_, queue| queue.strong_count() > 0);
            queues.clean_at = (queues.by_key.len() * 2).max(LIMITS_MIN);
        }
        let queue = Arc::default();
        queues.by_key.insert(key.clone(), Arc::downgrade(&queue));
        queue
    }
}

impl Turn {
    /// Whether this is the turn of a limit.
    pub(super) fn is_of(&self, key: &LimitKey) -> bool {
        self.key == *key
    }

    /// The shortest of all hints in this turn. Where a hint is an estimate, it grows with each denial, so that many callers
    /// ask less often; but in a turn one asks for all.
    pub(super) fn shortest_pause(&mut self, hint: Duration) -> Duration {
        self.shortest_pause = self.shortest_pause.min(hint);
        self.shortest_pause
    }
}
