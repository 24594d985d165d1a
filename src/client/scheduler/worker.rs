//! The task that feeds events to the state and carries out its actions.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::calls;
use super::error::ScheduleError;
use super::event::{Action, Event, LeaseEnd, RandomSource, ReserveAnswer};
use super::job::{Job, JobNumber, UsedAmounts};
use super::message::Message;
use super::observer::{Observer, SchedulerEvent};
use super::options::SchedulerOptions;
use super::state::State;
use crate::client::{Complete, LeaseId, Transport};

/// The worker of a scheduler. There is one, and it owns the state.
pub(super) struct Worker<T, O> {
    transport: Arc<T>,
    observer: O,
    messages: mpsc::UnboundedReceiver<Message>,
    state: State<ThreadRandom>,
    jobs: HashMap<JobNumber, Entry>,
    calls: JoinSet<Event>,
    /// The callers that wait for the end of the shutdown.
    shut_downs: Vec<oneshot::Sender<()>>,
}

struct Entry {
    job: Job,
    reply: Option<oneshot::Sender<Result<LeaseId, ScheduleError>>>,
    /// `None` until the job is dropped, and if it never ran.
    used: Option<UsedAmounts>,
    submitted_at: Instant,
    started_at: Option<Instant>,
}

/// Fresh lease ids and random numbers.
struct ThreadRandom;

impl RandomSource for ThreadRandom {
    fn lease_id(&mut self) -> LeaseId {
        LeaseId::generate()
    }

    fn fraction(&mut self) -> f64 {
        rand::random()
    }
}

impl<T: Transport, O: Observer> Worker<T, O> {
    pub(super) fn new(
        transport: T,
        options: SchedulerOptions,
        observer: O,
        messages: mpsc::UnboundedReceiver<Message>,
    ) -> Self {
        Self {
            transport: Arc::new(transport),
            observer,
            messages,
            state: State::new(options, ThreadRandom),
            jobs: HashMap::new(),
            calls: JoinSet::new(),
            shut_downs: Vec::new(),
        }
    }

    /// Runs until the scheduler is shut down, or all its handles are dropped, and no job and no lease is left.
    pub(super) async fn run(mut self) {
        let mut is_open = true;
        while !self.state.is_done() {
            let wakes_at = self.state.wakes_at();
            let woken = async {
                match wakes_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                message = self.messages.recv(), if is_open => match message {
                    Some(message) => self.event(message),
                    None => {
                        is_open = false;
                        Event::ShutDown
                    }
                },
                Some(Ok(event)) = self.calls.join_next() => event,
                () = woken => Event::Woken,
            };
            self.observe_event(&event);
            for action in self.state.handle(Instant::now(), event) {
                self.carry_out(action);
            }
        }
        for done in self.shut_downs {
            // It fails if the caller was cancelled.
            done.send(()).ok();
        }
    }

    /// Stores the content of a message. Returns its event.
    fn event(&mut self, message: Message) -> Event {
        match message {
            Message::Submit { number, job, reply } => {
                let event = Event::Submitted {
                    job: number,
                    queue: job.queue.clone(),
                    keys: job.keys().cloned().collect(),
                };
                let (submitted_at, started_at) = (Instant::now(), None);
                let entry = Entry { job, reply: Some(reply), used: None, submitted_at, started_at };
                self.jobs.insert(number, entry);
                event
            }
            Message::Dropped { job, used } => {
                if let Some(entry) = self.jobs.get_mut(&job) {
                    entry.used = used;
                }
                Event::Dropped { job }
            }
            Message::ShutDown { done } => {
                self.shut_downs.push(done);
                Event::ShutDown
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Reserve { job, lease } => {
                self.observe(job, &SchedulerEvent::Attempted { lease });
                self.call_reserve(job, lease);
            }
            Action::Complete { job, lease } => self.call_complete(job, lease),
            Action::Start { job, lease } => {
                let Some(entry) = self.jobs.get_mut(&job) else { return };
                entry.started_at = Some(Instant::now());
                let waited = entry.submitted_at.elapsed();
                entry.reply(Ok(lease));
                self.observe(job, &SchedulerEvent::Started { lease, waited });
            }
            Action::Fail { job, error } => {
                self.observe(job, &SchedulerEvent::Failed { error: &error });
                if let Some(entry) = self.jobs.get_mut(&job) {
                    entry.reply(Err(error));
                }
            }
            Action::Forget { job, end } => {
                match end {
                    LeaseEnd::NotGranted => {}
                    LeaseEnd::Completed => self.observe(job, &SchedulerEvent::Completed),
                    LeaseEnd::LeftToExpire => self.observe(job, &SchedulerEvent::LeftToExpire),
                }
                self.jobs.remove(&job);
            }
        }
    }

    fn call_reserve(&mut self, job: JobNumber, lease: LeaseId) {
        let Some(entry) = self.jobs.get(&job) else { return };
        let (transport, command) = (Arc::clone(&self.transport), entry.job.wants.under(lease));
        self.calls.spawn(async move {
            Event::Reserved { job, answer: calls::reserve(&*transport, &command).await }
        });
    }

    fn call_complete(&mut self, job: JobNumber, lease: LeaseId) {
        let Some(entry) = self.jobs.get(&job) else { return };
        let (transport, command) = (Arc::clone(&self.transport), entry.complete(lease));
        self.calls.spawn(async move {
            Event::Completed { job, answer: calls::complete(&*transport, &command).await }
        });
    }

    /// Reports an event to the observer. Actions are reported when they are carried out.
    fn observe_event(&mut self, event: &Event) {
        match event {
            Event::Submitted { job, .. } => {
                let jobs_waiting = self.state.jobs_waiting() + 1;
                self.observe(*job, &SchedulerEvent::Queued { jobs_waiting });
            }
            Event::Reserved { job, answer: ReserveAnswer::Denied { key, retry_after } } => {
                self.observe(*job, &SchedulerEvent::Denied { key, retry_after: *retry_after });
            }
            Event::Reserved { job, answer: ReserveAnswer::Unknown(_) } => {
                self.observe(*job, &SchedulerEvent::Unknown);
            }
            Event::Dropped { job } => {
                if let Some(started_at) = self.jobs.get(job).and_then(|entry| entry.started_at) {
                    self.observe(*job, &SchedulerEvent::Ended { ran: started_at.elapsed() });
                }
            }
            Event::Reserved { .. } | Event::Completed { .. } | Event::ShutDown | Event::Woken => {}
        }
    }

    fn observe(&mut self, job: JobNumber, event: &SchedulerEvent<'_>) {
        let Some(entry) = self.jobs.get(&job) else { return };
        let (observer, queue) = (&mut self.observer, &entry.job.queue);
        // A panic of the observer must not end the worker.
        if catch_unwind(AssertUnwindSafe(|| observer.observe(queue, event))).is_err() {
            tracing::error!("the observer of a scheduler panicked; the scheduler goes on");
        }
    }
}

impl Entry {
    /// Replies to the caller, once.
    fn reply(&mut self, answer: Result<LeaseId, ScheduleError>) {
        if let Some(reply) = self.reply.take() {
            // It fails if the caller was cancelled. The message of its guard follows.
            reply.send(answer).ok();
        }
    }

    /// The complete of a lease: with the used amounts, or with nothing used if the job never ran.
    fn complete(&self, lease: LeaseId) -> Complete {
        let reserve = self.job.wants.under(lease);
        match &self.used {
            Some(used) => Complete::of_used(&reserve, |key| used.get(key).copied()),
            None => Complete::of_unused(&reserve),
        }
    }
}
