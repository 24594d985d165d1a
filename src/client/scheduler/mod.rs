//! Runs jobs when there is room for them. A model or provider without room does not delay the others.
//!
//! A job waits in the queue of its model. The queues take turns, and the scheduler reserves what the oldest job of each
//! needs. When a limit denies a job, the job backs off until the hint of the denial has passed, and so does every other
//! job that needs that limit. Its next attempt takes a fresh lease id. An attempt of unknown outcome is repeated under
//! its own lease id. Every granted lease is completed, whatever happens to its job.
//!
//! | type | what it is |
//! | --- | --- |
//! | [`Scheduler`] | the handle |
//! | [`Job`], [`QueueKey`] | what to run, and the queue it waits in |
//! | [`Permit`] | the right to run; it records what the job uses |
//! | [`SchedulerOptions`] | bounds and times |
//! | [`Observer`], [`SchedulerEvent`] | what a scheduler reports |
//! | [`ScheduleError`] | why a job did not run |
//!
//! A file imports only files above it:
//!
//! | file | what it is |
//! | --- | --- |
//! | `options`, `error`, `job` | small types |
//! | `event` | the events and actions of the state |
//! | `fair_queues` | the queues of waiting jobs, and their turns; pure |
//! | `backoff` | the limits without room, and the jobs that wait for them; pure |
//! | `waiting`, `leases` | the jobs before and after their grant; pure |
//! | `state` | all decisions; pure, driven by `worker` |
//! | `observer` | the trait [`Observer`] |
//! | `message` | what handles and permits send to the worker |
//! | `permit` | the guards of a job |
//! | `calls` | one call over the transport |
//! | `worker` | the task that carries the decisions out |
//! | `mod` | the handle |

mod backoff;
mod calls;
mod error;
mod event;
mod fair_queues;
mod job;
mod leases;
mod message;
mod observer;
mod options;
mod permit;
mod state;
#[cfg(test)]
mod tests;
mod waiting;
mod worker;

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

use crate::client::Transport;
use job::JobNumber;
use message::Message;
use permit::JobGuard;
use worker::Worker;

pub use error::ScheduleError;
pub use job::{Job, QueueKey};
pub use observer::{Observer, SchedulerEvent};
pub use options::SchedulerOptions;
pub use permit::{NotReserved, Permit};

/// The handle of a scheduler. Cloning it is cheap.
///
/// When the last handle is dropped, the scheduler ends after its last job.
#[derive(Clone)]
pub struct Scheduler {
    worker: mpsc::UnboundedSender<Message>,
    next_number: Arc<AtomicU64>,
}

impl Scheduler {
    /// Starts a scheduler that makes its calls over `transport`.
    ///
    /// The scheduler repeats calls of unknown outcome itself, so the transport should not.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(transport: impl Transport, options: SchedulerOptions, observer: impl Observer) -> Self {
        let (worker, messages) = mpsc::unbounded_channel();
        tokio::spawn(Worker::new(transport, options, observer, messages).run());
        Self { worker, next_number: Arc::default() }
    }

    /// Runs `work` when everything that the job needs is reserved.
    ///
    /// `work` gets the permit of the job. The lease is completed when the permit is dropped.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] if the job does not start, or if it panics.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the job, whether it waits or runs.
    pub async fn run<R, F>(&self, job: Job, work: impl FnOnce(Permit) -> F) -> Result<R, ScheduleError>
    where
        F: Future<Output = R>,
    {
        let permit = self.acquire(job).await?;
        // The work owns the permit, so the permit is dropped however the work ends.
        let ended = AssertUnwindSafe(async { work(permit).await }).catch_unwind().await;
        ended.map_err(|panic| ScheduleError::Panicked { message: panic_message(&*panic) })
    }

    /// Waits until everything that the job needs is reserved.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] if the job does not start.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the job. What was granted by then is released in the background.
    pub async fn acquire(&self, job: Job) -> Result<Permit, ScheduleError> {
        let number = JobNumber(self.next_number.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        // From here on, dropping the future tells the worker.
        let guard = JobGuard::new(number, self.worker.clone());
        let message = Message::Submit { number, job: job.clone(), reply };
        self.worker.send(message).map_err(|_| ScheduleError::ShutDown)?;
        let lease = answer.await.unwrap_or(Err(ScheduleError::ShutDown))?;
        Ok(Permit::new(&job, lease, guard))
    }

    /// Shuts the scheduler down, and waits until no job runs and every lease is settled or left to expire.
    ///
    /// Waiting jobs fail with [`ScheduleError::ShutDown`]. Running jobs go on to their end.
    pub async fn shutdown(&self) {
        let (done, all_done) = oneshot::channel();
        // It fails if the worker has ended already.
        if self.worker.send(Message::ShutDown { done }).is_ok() {
            all_done.await.ok();
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
