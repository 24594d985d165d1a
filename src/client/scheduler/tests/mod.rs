//! The decisions as tables and for whatever comes; the task that carries them out in paused time, which moves only while
//! everything waits.

mod cancellation;
mod fairness;
mod jobs;
mod limiter;
mod properties;
mod tables;

use std::time::Duration;

use super::SchedulerOptions;
use super::state::Chance;
use crate::client::RepeatPolicy;
use crate::limit::{LeaseId, LimitKey};

/// Leases are numbered from 1, and chance always says a half: a jitter is 5 ms, and pauses are 75, 150, 300 ms.
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

#[derive(Default)]
struct Counted {
    leases: u128,
}

impl Chance for Counted {
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
