use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::BatcherOptions;
use crate::client::CallError;

/// The way of all commands of one kind.
pub(super) struct Lane<C, R> {
    /// Who waits for room holds it, so that nobody who comes later gets ahead.
    queue: Mutex<mpsc::Sender<Item<C, R>>>,
}

/// A command, and where its answer goes.
struct Item<C, R> {
    command: C,
    reply: oneshot::Sender<Result<R, CallError>>,
}

/// What becomes of a command that nobody waits for any more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenAbandoned {
    Skip,
    Send,
}

/// The call that the command was part of went down, or left it out of its answer.
#[derive(Debug, thiserror::Error)]
#[error("the batch has no answer for this command")]
struct Unanswered;

type Reply<R> = Result<oneshot::Receiver<Result<R, CallError>>, CallError>;

impl<C: Clone + Send + 'static, R: Send + 'static> Lane<C, R> {
    /// Starts the worker. It ends when the lane is dropped and everything is sent.
    pub(super) fn start<F>(
        options: BatcherOptions,
        when_abandoned: WhenAbandoned,
        call: impl Fn(Vec<C>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Vec<Result<R, CallError>>> + Send + 'static,
    {
        let (queue, items) = mpsc::channel(options.queue_max.get());
        tokio::spawn(run(items, options, when_abandoned, call));
        Self { queue: Mutex::new(queue) }
    }

    pub(super) async fn call(&self, command: &C) -> Result<R, CallError> {
        answer(self.enqueue(command).await).await
    }

    /// As if each were called, one after another.
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
    when_abandoned: WhenAbandoned,
    call: impl Fn(Vec<C>) -> F + Send,
) where
    F: Future<Output = Vec<Result<R, CallError>>> + Send + 'static,
{
    let calls = Arc::new(Semaphore::new(options.calls_in_flight_max.get().min(Semaphore::MAX_PERMITS)));
    // A batch is taken only when it can be sent: until then it fills.
    while let Ok(under_way) = Arc::clone(&calls).acquire_owned().await {
        let mut batch = take(&mut items, options.batch_max, options.linger).await;
        if batch.is_empty() {
            return;
        }
        if when_abandoned == WhenAbandoned::Skip {
            batch.retain(|item| !item.reply.is_closed());
        }
        if batch.is_empty() {
            continue;
        }
        let (commands, replies): (Vec<C>, Vec<_>) =
            batch.into_iter().map(|Item { command, reply }| (command, reply)).unzip();
        let answers = call(commands);
        // A task of its own: one that goes down takes only its own commands along.
        tokio::spawn(async move {
            for (reply, answer) in replies.into_iter().zip(answers.await) {
                // Whoever asked may have stopped waiting.
                reply.send(answer).ok();
            }
            drop(under_way);
        });
    }
}

/// What waits, up to a full batch; a batch that is not full waits for more. Empty when nothing will come any more.
async fn take<I>(items: &mut mpsc::Receiver<I>, batch_max: NonZeroUsize, linger: Duration) -> Vec<I> {
    let mut batch = Vec::new();
    items.recv_many(&mut batch, batch_max.get()).await;
    let send_at = Instant::now() + linger;
    while (1..batch_max.get()).contains(&batch.len()) && !linger.is_zero() {
        let room = batch_max.get() - batch.len();
        match timeout_at(send_at, items.recv_many(&mut batch, room)).await {
            Ok(1..) => {}
            // Nothing will come any more, or nothing came in time.
            Ok(0) | Err(_) => break,
        }
    }
    batch
}
