use std::time::Duration;

use crate::client::RepeatPolicy;

/// How much a scheduler takes on, and how it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerOptions {
    /// How many jobs may wait in all queues together.
    pub jobs_max: usize,
    /// How many jobs may wait in one queue.
    pub queue_jobs_max: usize,
    /// How many attempts to reserve may be under way at a time.
    pub reserves_in_flight_max: usize,
    /// At most this much is added by chance to the hint of a denial, so that callers do not come back all at once.
    pub jitter_max: Duration,
    /// When calls whose outcome is unknown are made again.
    pub repeat: RepeatPolicy,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            jobs_max: 10_000,
            queue_jobs_max: 1_000,
            reserves_in_flight_max: 64,
            jitter_max: Duration::from_millis(50),
            repeat: RepeatPolicy::default(),
        }
    }
}
