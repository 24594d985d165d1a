//! The queue and the worker for the commands of one kind.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::options::BatcherOptions;
use crate::client::CallError;

/// The commands `C` of one kind, with their results `R`.
pub(super) struct Lane<C, R> {
    /// A caller holds the lock while it waits for room, so no later caller overtakes it.
    queue: Mutex<mpsc::Sender<Item<C, R>>>,
}

/// A command and the channel for its result.
struct Item<C, R> {
    command: C,
    reply: oneshot::Sender<Result<R, CallError>>,
}

/// What the worker does with a command whose caller is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AbandonedCommand {
    Skip,
    Send,
}

/// The call of the batch panicked, or has too few results.
#[derive(Debug, thiserror::Error)]
#[error("the batch has no result for this command")]
struct Unanswered;

type Reply<R> = Result<oneshot::Receiver<Result<R, CallError>>, CallError>;

impl<C: Clone + Send + 'static, R: Send + 'static> Lane<C, R> {
    /// Starts the worker. It ends when the lane is dropped and the queue is empty.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(super) fn start<F>(
        options: BatcherOptions,
        abandoned: AbandonedCommand,
        call: impl Fn(Vec<C>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Vec<Result<R, CallError>>> + Send + 'static,
    {
        let (queue, items) = mpsc::channel(options.queue_max.get());
        tokio::spawn(run(items, options, abandoned, call));
        Self { queue: Mutex::new(queue) }
    }

    /// Sends a command with the next batch.
    pub(super) async fn call(&self, command: &C) -> Result<R, CallError> {
        answer(self.enqueue(command).await).await
    }

    /// Enqueues the commands in order, and returns their results in the same order.
    pub(super) async fn call_each(&self, commands: &[C]) -> Vec<Result<R, CallError>> {
        let mut replies = Vec::with_capacity(commands.len());
        for command in commands {
            replies.push(self.enqueue(command).await);
        }
        let mut answers = Vec::with_capacity(commands.len());
        for reply in replies {
            answers.push(answer(reply).await);
        }
        answers
    }

    async fn enqueue(&self, command: &C) -> Reply<R> {
        let (reply, answer) = oneshot::channel();
        let item = Item { command: command.clone(), reply };
        self.queue.lock().await.send(item).await.map_err(|_| CallError::Closed)?;
        Ok(answer)
    }
}

async fn answer<R>(reply: Reply<R>) -> Result<R, CallError> {
    reply?.await.unwrap_or_else(|_| Err(CallError::unknown(Unanswered)))
}

async fn run<C: Send + 'static, R: Send + 'static, F>(
    mut items: mpsc::Receiver<Item<C, R>>,
    options: BatcherOptions,
    abandoned: AbandonedCommand,
    call: impl Fn(Vec<C>) -> F + Send,
) where
    F: Future<Output = Vec<Result<R, CallError>>> + Send + 'static,
{
    let calls = Arc::new(Semaphore::new(options.calls_in_flight_max.get().min(Semaphore::MAX_PERMITS)));
    // A batch is taken only when it can be sent. Until then it fills.
    while let Ok(in_flight) = Arc::clone(&calls).acquire_owned().await {
        let mut batch = take(&mut items, options.batch_max, options.linger).await;
        if batch.is_empty() {
            return;
        }
        if abandoned == AbandonedCommand::Skip {
            batch.retain(|item| !item.reply.is_closed());
        }
        if batch.is_empty() {
            continue;
        }
        let (commands, replies): (Vec<C>, Vec<_>) =
            batch.into_iter().map(|Item { command, reply }| (command, reply)).unzip();
        let answers = call(commands);
        // Each call has its own task, so a call that panics fails only its own commands.
        tokio::spawn(async move {
            for (reply, answer) in replies.into_iter().zip(answers.await) {
                // It fails if the caller was cancelled.
                reply.send(answer).ok();
            }
            drop(in_flight);
        });
    }
}

/// Takes up to a full batch of waiting items. A batch that is not full waits for more, at most `linger`.
///
/// The batch is empty when the lane is dropped and the queue is empty.
async fn take<I>(items: &mut mpsc::Receiver<I>, batch_max: NonZeroUsize, linger: Duration) -> Vec<I> {
    let mut batch = Vec::new();
    items.recv_many(&mut batch, batch_max.get()).await;
    let send_at = Instant::now() + linger;
    while (1..batch_max.get()).contains(&batch.len()) && !linger.is_zero() {
        let room = batch_max.get() - batch.len();
        match timeout_at(send_at, items.recv_many(&mut batch, room)).await {
            Ok(1..) => {}
            // The lane is dropped, or no item came in time.
            Ok(0) | Err(_) => break,
        }
    }
    batch
}
