//! The scheduler: its decisions by tables and under random steps, and its worker on paused time, which advances only
//! while all tasks wait.

mod cancellation;
mod fairness;
mod jobs;
mod limiter;
mod properties;
mod tables;

use std::time::Duration;

use super::SchedulerOptions;
use super::event::RandomSource;
use crate::client::RepeatPolicy;
use crate::limit::{LeaseId, LimitKey};

/// With [`FixedRandom`] a jitter is 5 ms, and the pauses before repetitions are 75, 150 and 300 ms.
const OPTIONS: SchedulerOptions = SchedulerOptions {
    jobs_max: 100,
    queue_jobs_max: 50,
    reserves_in_flight_max: 2,
    jitter_max: Duration::from_millis(10),
    repeat: RepeatPolicy {
        first_pause: Duration::from_millis(100),
        pause_max: Duration::from_millis(400),
        give_up_after: Duration::from_millis(500),
    },
};

/// Numbers the leases from 1. Its random number is always one half.
#[derive(Default)]
struct FixedRandom {
    leases: u128,
}

impl RandomSource for FixedRandom {
    fn lease_id(&mut self) -> LeaseId {
        self.leases += 1;
        LeaseId::from_ulid(ulid::Ulid(self.leases)).expect("not zero")
    }

    fn fraction(&mut self) -> f64 {
        0.5
    }
}

fn key(text: &str) -> LimitKey {
    LimitKey::parse(text).expect("a valid key")
}
