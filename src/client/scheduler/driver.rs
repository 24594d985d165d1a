use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::calls;
use super::error::ScheduleError;
use super::job::{Job, Used};
use super::observer::{Observer, SchedulerEvent};
use super::options::SchedulerOptions;
use super::state::{Action, Chance, Event, JobNumber, LeaseEnd, ReserveAnswer, State};
use crate::client::{Complete, LeaseId, Transport};

/// What the handles of a scheduler tell it.
pub(super) enum Message {
    /// A job, and whom to tell under which lease it may run.
    Submit { number: JobNumber, job: Job, reply: oneshot::Sender<Result<LeaseId, ScheduleError>> },
    /// The job is over, or nobody wants it any more. Without amounts, it never ran.
    Left { job: JobNumber, used: Option<Used> },
    /// Nothing more is to be started; whom to tell when all is done.
    ShutDown { done: oneshot::Sender<()> },
}

/// Carries out what the state decides.
pub(super) struct Driver<T, O> {
    transport: Arc<T>,
    observer: O,
    messages: mpsc::UnboundedReceiver<Message>,
    state: State<Dice>,
    jobs: HashMap<JobNumber, Entry>,
    calls: JoinSet<Event>,
    shut_downs: Vec<oneshot::Sender<()>>,
}

struct Entry {
    job: Job,
    reply: Option<oneshot::Sender<Result<LeaseId, ScheduleError>>>,
    /// Unknown until it is over, and for ever if it never ran.
    used: Option<Used>,
    submitted_at: Instant,
    started_at: Option<Instant>,
}

struct Dice;

impl Chance for Dice {
    fn lease_id(&mut self) -> LeaseId {
        LeaseId::generate()
    }

    fn fraction(&mut self) -> f64 {
        rand::random()
    }
}

impl<T: Transport, O: Observer> Driver<T, O> {
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
            state: State::new(options, Dice),
            jobs: HashMap::new(),
            calls: JoinSet::new(),
            shut_downs: Vec::new(),
        }
    }

    /// Ends when it was shut down, or all its handles are gone, and everything is done.
    pub(super) async fn run(mut self) {
        let mut is_open = true;
        while !self.state.is_over() {
            let wakes_at = self.state.wakes_at();
            let woken = async {
                match wakes_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                message = self.messages.recv(), if is_open => match message {
                    Some(message) => self.read(message),
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
                self.act(action);
            }
        }
        for done in self.shut_downs {
            // Whoever asked may have stopped waiting.
            done.send(()).ok();
        }
    }

    fn read(&mut self, message: Message) -> Event {
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
            Message::Left { job, used } => {
                if let Some(entry) = self.jobs.get_mut(&job) {
                    entry.used = used;
                }
                Event::Left { job }
            }
            Message::ShutDown { done } => {
                self.shut_downs.push(done);
                Event::ShutDown
            }
        }
    }

    fn act(&mut self, action: Action) {
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
                entry.tell(Ok(lease));
                self.observe(job, &SchedulerEvent::Started { lease, waited });
            }
            Action::Fail { job, error } => {
                self.observe(job, &SchedulerEvent::Failed { error: &error });
                if let Some(entry) = self.jobs.get_mut(&job) {
                    entry.tell(Err(error));
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

    /// Tells what happened; what was decided is told when it is done.
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
            Event::Left { job } => {
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
        // An observer that panics must not take the jobs with it.
        if catch_unwind(AssertUnwindSafe(|| observer.observe(queue, event))).is_err() {
            tracing::error!("the observer of a scheduler panicked");
        }
    }
}

impl Entry {
    fn tell(&mut self, answer: Result<LeaseId, ScheduleError>) {
        if let Some(reply) = self.reply.take() {
            // Whoever gave up is on the way to say so.
            reply.send(answer).ok();
        }
    }

    fn complete(&self, lease: LeaseId) -> Complete {
        let reserve = self.job.wants.under(lease);
        match &self.used {
            Some(used) => Complete::of_used(&reserve, |key| used.get(key).copied()),
            None => Complete::of_unused(&reserve),
        }
    }
}
