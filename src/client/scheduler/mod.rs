//! Runs jobs when there is room for them, without one model or provider standing in another's way.
//!
//! A job waits in the queue of its model. The scheduler reserves what the oldest jobs need, taking turns among the queues.
//! A job that is denied steps aside until the hint of the denial is over, with every other that needs the same limit, and
//! then takes a new lease id; an attempt whose outcome is unknown is made again under its own. Whatever becomes of a job
//! that was granted a lease, the lease is completed.
//!
//! | part | what it is |
//! | --- | --- |
//! | [`Scheduler`] | the handle |
//! | [`Job`], [`Permit`] | what is to be run, and the right to run |
//! | `driver`, `calls` | the task that carries out what is decided |
//! | `state`, `waiting`, `leases` | what is decided, pure |
//! | `queues`, `gates` | whose turn it is, and what is held back |

mod calls;
mod driver;
mod error;
mod gates;
mod job;
mod leases;
mod observer;
mod options;
mod queues;
mod state;
#[cfg(test)]
mod tests;
mod waiting;

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

use crate::client::Transport;
use driver::{Driver, Message};
use job::Place;
use state::JobNumber;

pub use error::ScheduleError;
pub use job::{Job, NotReserved, Permit};
pub use observer::{Observer, SchedulerEvent};
pub use options::SchedulerOptions;
pub use queues::QueueKey;

/// The handle of a scheduler. Cloning it is cheap. When the last one is dropped, and no job runs, the scheduler ends.
#[derive(Clone)]
pub struct Scheduler {
    messages: mpsc::UnboundedSender<Message>,
    next_number: Arc<AtomicU64>,
}

impl Scheduler {
    /// Starts a scheduler that makes its calls over `transport`. It repeats by itself what is unknown, so the transport
    /// should not. Needs a tokio runtime.
    pub fn start(transport: impl Transport, options: SchedulerOptions, observer: impl Observer) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(Driver::new(transport, options, observer, receiver).run());
        Self { messages: sender, next_number: Arc::default() }
    }

    /// Runs `work` when everything that the job needs is reserved. The permit that it gets ends the lease when it is
    /// dropped. Dropping the future of this call cancels the job, whether it waits or runs.
    pub async fn run<R, F>(&self, job: Job, work: impl FnOnce(Permit) -> F) -> Result<R, ScheduleError>
    where
        F: Future<Output = R>,
    {
        let permit = self.acquire(job).await?;
        // The permit goes with the work, and so is dropped whichever way that ends.
        let ended = AssertUnwindSafe(async { work(permit).await }).catch_unwind().await;
        ended.map_err(|panic| ScheduleError::Panicked { message: message(&*panic) })
    }

    /// Waits until everything that the job needs is reserved. Dropping the future of this call cancels the job.
    pub async fn acquire(&self, job: Job) -> Result<Permit, ScheduleError> {
        let number = JobNumber(self.next_number.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        // From here on the scheduler hears of it if nobody waits any more.
        let place = Place::new(number, self.messages.clone());
        let message = Message::Submit { number, job: job.clone(), reply };
        self.messages.send(message).map_err(|_| ScheduleError::ShutDown)?;
        let lease = answer.await.unwrap_or(Err(ScheduleError::ShutDown))?;
        Ok(Permit::new(&job, lease, place))
    }

    /// Starts nothing more: jobs that wait are told so. Ends when every job that runs is over and every lease is settled,
    /// or can be settled no more.
    pub async fn shutdown(&self) {
        let (done, all_done) = oneshot::channel();
        // It may be shut down already.
        if self.messages.send(Message::ShutDown { done }).is_ok() {
            all_done.await.ok();
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
