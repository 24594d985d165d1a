//! Sends the calls of many callers together.
//!
//! Reserves and completes each have a lane: a queue, and a worker that sends the waiting commands in order, as one
//! call. Load forms the batches. An idle lane sends a command at once. While a lane has its maximum of calls in flight,
//! the next batch fills.
//!
//! A file imports only files above it:
//!
//! | file | what it is |
//! | --- | --- |
//! | `options` | sizes and bounds |
//! | `lane` | the queue and the worker for one kind of command |
//! | `mod` | the transport over both lanes |

mod lane;
mod options;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{AttemptResult, CallError, Complete, Extend, LimitKey, Renew, Reserve, Transport, Usage};
use lane::{AbandonedCommand, Lane};

pub use options::BatcherOptions;

/// A transport that sends reserves and completes in batches. Extensions and usage pass through one by one.
///
/// Each command has its own result. When the batcher is dropped, its workers still send the waiting commands.
pub struct Batcher<T> {
    transport: Arc<T>,
    reserves: Lane<Reserve, AttemptResult>,
    completes: Lane<Complete, ()>,
}

impl<T: Transport> Batcher<T> {
    /// A batcher in front of `transport`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, which runs its workers.
    pub fn new(transport: T, options: BatcherOptions) -> Self {
        let transport = Arc::new(transport);
        let calls = Arc::clone(&transport);
        // Without a caller, a lease is of no use.
        let reserves = Lane::start(options, AbandonedCommand::Skip, move |commands: Vec<Reserve>| {
            let transport = Arc::clone(&calls);
            async move { transport.reserve_batch(&commands).await }
        });
        let calls = Arc::clone(&transport);
        // A complete releases a lease, with or without a caller.
        let completes = Lane::start(options, AbandonedCommand::Send, move |commands: Vec<Complete>| {
            let transport = Arc::clone(&calls);
            async move { transport.complete_batch(&commands).await }
        });
        Self { transport, reserves, completes }
    }
}

impl<T: Transport> Transport for Batcher<T> {
    async fn reserve(&self, command: &Reserve) -> Result<AttemptResult, CallError> {
        self.reserves.call(command).await
    }

    async fn complete(&self, command: &Complete) -> Result<(), CallError> {
        self.completes.call(command).await
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<AttemptResult, CallError>> {
        self.reserves.call_each(commands).await
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        self.completes.call_each(commands).await
    }

    async fn extend(&self, command: &Extend) -> Result<AttemptResult, CallError> {
        self.transport.extend(command).await
    }

    async fn renew(&self, command: &Renew) -> Result<AttemptResult, CallError> {
        self.transport.renew(command).await
    }

    async fn usage(&self, key: &LimitKey) -> Result<Option<Usage>, CallError> {
        self.transport.usage(key).await
    }
}
