//! Many calls in one.
//!
//! Two lanes, one for reserves and one for completes, each with a worker that takes what waits, in order, and sends it as
//! one call. Batching is by load: a lane that is idle sends a command the moment it comes; while as many calls are under
//! way as may be, the next batch fills.

mod lane;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::{CallError, Complete, Extend, LimitKey, Reserve, ReserveOutcome, Transport, Usage};
use lane::{Lane, WhenAbandoned};

/// How much is sent in one call, and how much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatcherOptions {
    /// How many commands one call may have. A service takes 256 by default.
    pub batch_max: NonZeroUsize,
    /// How long a batch that is not full waits for more; zero sends at once.
    pub linger: Duration,
    /// How many calls of a kind may be under way at a time. With one, commands are carried out in the order in which they
    /// came, and a slow call holds up those behind it.
    pub calls_in_flight_max: NonZeroUsize,
    /// How many commands of a kind may wait. Who comes then waits for room.
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

/// A transport that makes batches of the reserves and completes that come while others are under way. What waits when it
/// is dropped is still sent.
pub struct Batcher<T> {
    transport: Arc<T>,
    reserves: Lane<Reserve, ReserveOutcome>,
    completes: Lane<Complete, ()>,
}

impl<T: Transport> Batcher<T> {
    /// Makes batches for `transport`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, which its workers need.
    pub fn new(transport: T, options: BatcherOptions) -> Self {
        let transport = Arc::new(transport);
        let calls = Arc::clone(&transport);
        // A reserve that nobody waits for any more need not be made.
        let reserves = Lane::start(options, WhenAbandoned::Skip, move |commands: Vec<Reserve>| {
            let transport = Arc::clone(&calls);
            async move { transport.reserve_batch(&commands).await }
        });
        let calls = Arc::clone(&transport);
        // A complete gives something back, whoever waits for its answer.
        let completes = Lane::start(options, WhenAbandoned::Send, move |commands: Vec<Complete>| {
            let transport = Arc::clone(&calls);
            async move { transport.complete_batch(&commands).await }
        });
        Self { transport, reserves, completes }
    }
}

impl<T: Transport> Transport for Batcher<T> {
    async fn reserve(&self, command: &Reserve) -> Result<ReserveOutcome, CallError> {
        self.reserves.call(command).await
    }

    async fn complete(&self, command: &Complete) -> Result<(), CallError> {
        self.completes.call(command).await
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<ReserveOutcome, CallError>> {
        self.reserves.call_each(commands).await
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        self.completes.call_each(commands).await
    }

    async fn extend(&self, command: &Extend) -> Result<ReserveOutcome, CallError> {
        self.transport.extend(command).await
    }

    async fn usage(&self, key: &LimitKey) -> Result<Option<Usage>, CallError> {
        self.transport.usage(key).await
    }
}
