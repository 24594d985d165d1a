use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// What this process knows of a limit's clock: it stands there or further on.
#[derive(Debug, Default)]
pub struct KnownClock {
    known_ms: AtomicU64,
    event_ms: AtomicU64,
    turn: Mutex<()>,
}

impl KnownClock {
    /// Milliseconds since the Unix epoch; 0 if nothing is known.
    pub(crate) fn known_ms(&self) -> u64 {
        self.known_ms.load(Ordering::Acquire)
    }

    /// Whether it was ever read or moved here. One that never moved stands at 0 and is read again, which costs little.
    pub(crate) fn is_read(&self) -> bool {
        self.known_ms() != 0
    }

    pub(crate) fn set(&self, known_ms: u64) {
        self.known_ms.fetch_max(known_ms, Ordering::AcqRel);
    }

    /// A reservation of the limit acts, or will act, then.
    pub(crate) fn happened(&self, at_ms: u64) {
        self.event_ms.fetch_max(at_ms, Ordering::Relaxed);
    }

    /// The latest of those that were made here as an object's, in milliseconds since the Unix epoch; 0 if there was none.
    pub(crate) fn last_event_ms(&self) -> u64 {
        self.event_ms.load(Ordering::Relaxed)
    }

    /// The right to move it.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}
