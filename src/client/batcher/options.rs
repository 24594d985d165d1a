//! Options of the batcher.

use std::num::NonZeroUsize;
use std::time::Duration;

/// The size of the batches of a [`Batcher`](super::Batcher), and the bounds of its queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatcherOptions {
    /// The most commands in one call. A service takes 256 by default.
    pub batch_max: NonZeroUsize,
    /// How long a batch that is not full waits for more commands. With zero it is sent at once.
    pub linger: Duration,
    /// The most calls of each kind at a time. With 1, commands take effect in their order, and a slow call holds up
    /// those behind it.
    pub calls_in_flight_max: NonZeroUsize,
    /// The most commands of each kind that wait. Further callers wait for room.
    pub queue_max: NonZeroUsize,
}

impl Default for BatcherOptions {
    fn default() -> Self {
        let number = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self {
            batch_max: number(256),
            linger: Duration::ZERO,
            calls_in_flight_max: number(4),
            queue_max: number(1_024),
        }
    }
}

impl BatcherOptions {
    /// Sets the most commands in one call. 256 by default, as many as a service takes by default.
    #[must_use]
    pub fn batch_max(self, batch_max: NonZeroUsize) -> Self {
        Self { batch_max, ..self }
    }

    /// Sets how long a batch that is not full waits for more commands. Zero by default: it is sent at once.
    #[must_use]
    pub fn linger(self, linger: Duration) -> Self {
        Self { linger, ..self }
    }

    /// Sets the most calls of each kind at a time. 4 by default.
    #[must_use]
    pub fn calls_in_flight_max(self, calls_in_flight_max: NonZeroUsize) -> Self {
        Self { calls_in_flight_max, ..self }
    }

    /// Sets the most commands of each kind that wait. 1,024 by default.
    #[must_use]
    pub fn queue_max(self, queue_max: NonZeroUsize) -> Self {
        Self { queue_max, ..self }
    }
}
