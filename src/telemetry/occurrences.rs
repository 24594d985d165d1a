//! Log lines for what callers cause: the first at once, then at most one in ten seconds, with the number of occurrences.
//! So no caller can fill the log.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::time::saturating_ms;

/// The shortest time between two lines.
const INTERVAL_MS: u64 = 10_000;

/// Counts the occurrences of one event between two log lines. For a static, one for each place that writes a line.
#[derive(Debug, Default)]
pub(crate) struct Occurrences {
    since: OnceLock<Instant>,
    next_line_at_ms: AtomicU64,
    unlogged: AtomicU64,
}

impl Occurrences {
    /// No occurrence yet.
    pub(crate) const fn new() -> Self {
        Self { since: OnceLock::new(), next_line_at_ms: AtomicU64::new(0), unlogged: AtomicU64::new(0) }
    }

    /// Counts one. Returns the number since the last line if it is time for a line, which tells of the last one.
    pub(crate) fn count(&self) -> Option<u64> {
        let since = self.since.get_or_init(Instant::now);
        self.count_at(saturating_ms(since.elapsed()))
    }

    fn count_at(&self, now_ms: u64) -> Option<u64> {
        self.unlogged.fetch_add(1, Ordering::Relaxed);
        let due_ms = self.next_line_at_ms.load(Ordering::Relaxed);
        let next_ms = now_ms.saturating_add(INTERVAL_MS);
        let is_due = now_ms >= due_ms
            && self
                .next_line_at_ms
                .compare_exchange(due_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        is_due.then(|| self.unlogged.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_many_occurrences_came_since_the_last_one() {
        let occurrences = Occurrences::new();
        for (now_ms, line) in [
            (0, Some(1)),
            (1, None),
            (9_999, None),
            (10_000, Some(3)),
            (10_001, None),
            (60_000, Some(2)),
            (69_999, None),
        ] {
            assert_eq!(occurrences.count_at(now_ms), line, "after {now_ms} ms");
        }
    }
}
