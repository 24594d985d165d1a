//! What the scheduler decides. Pure: an event and the time come in, actions come out; nothing here waits, talks or draws
//! by chance.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::error::ScheduleError;
use super::leases::Leases;
use super::options::SchedulerOptions;
use super::queues::QueueKey;
use super::waiting::{Grant, Waiting};
use crate::client::CallError;
use crate::limit::{LeaseId, LimitKey};

/// Names a job within its scheduler. They count up, so a smaller one is older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct JobNumber(pub(super) u64);

/// Something happened.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A job asks to be run when everything it needs is reserved.
    Submitted { job: JobNumber, queue: QueueKey, keys: Arc<[LimitKey]> },
    /// An attempt to reserve has its answer.
    Reserved { job: JobNumber, answer: ReserveAnswer },
    /// The job is over, has failed, or nobody wants it any more.
    Left { job: JobNumber },
    /// An attempt to complete has its answer.
    Completed { job: JobNumber, answer: CompleteAnswer },
    /// Nothing more is to be started.
    ShutDown,
    /// The time that [`State::wakes_at`] told has come.
    Woken,
}

/// What an attempt to reserve can lead to.
#[derive(Debug, Clone)]
pub(super) enum ReserveAnswer {
    Granted,
    /// No room for now.
    Denied {
        key: LimitKey,
        retry_after: Duration,
    },
    /// Waiting does not help.
    Refused(ScheduleError),
    /// The lease was over before its grant was heard of.
    TooLate,
    Unknown(CallError),
}

/// What an attempt to complete can lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompleteAnswer {
    Settled,
    Refused,
    Unknown,
}

/// Something to be done.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Make one attempt, and tell its answer.
    Reserve { job: JobNumber, lease: LeaseId },
    /// Everything is reserved: run the job, and tell when it is over.
    Start { job: JobNumber, lease: LeaseId },
    /// The job will never run: tell its owner.
    Fail { job: JobNumber, error: ScheduleError },
    /// Settle the lease, and tell the answer.
    Complete { job: JobNumber, lease: LeaseId },
    /// Nothing more will be asked or told of the job.
    Forget { job: JobNumber, end: LeaseEnd },
}

/// What has become of a job's last lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaseEnd {
    /// It holds nothing.
    NotGranted,
    Completed,
    /// Nobody settled it: what it holds comes back when it expires.
    LeftToExpire,
}

/// What is fresh_ulid by chance.
pub(super) trait Chance {
    /// A fresh lease id.
    fn lease_id(&mut self) -> LeaseId;
    /// From 0 up to 1.
    fn fraction(&mut self) -> f64;
}

/// Everything the scheduler knows: a job waits first, and has a lease then.
pub(super) struct State<C> {
    chance: C,
    waiting: Waiting,
    leases: Leases,
    is_shut_down: bool,
}

impl<C: Chance> State<C> {
    pub(super) fn new(options: SchedulerOptions, chance: C) -> Self {
        let (waiting, leases) = (Waiting::new(options), Leases::new(options.repeat));
        Self { chance, waiting, leases, is_shut_down: false }
    }

    /// What is to be done, in order.
    pub(super) fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Submitted { job, queue, keys } => {
                let entered = if self.is_shut_down {
                    Err(ScheduleError::ShutDown)
                } else {
                    self.waiting.submit(job, queue, keys)
                };
                if let Err(error) = entered {
                    actions.push(Action::Fail { job, error });
                    actions.push(Action::Forget { job, end: LeaseEnd::NotGranted });
                }
            }
            Event::Reserved { job, answer } => {
                match self.waiting.answered(now, job, answer, &mut self.chance, &mut actions) {
                    Some(Grant { lease, wanted: true }) => self.leases.start(job, lease, &mut actions),
                    Some(Grant { lease, wanted: false }) => {
                        self.leases.complete(now, job, lease, &mut actions);
                    }
                    None => {}
                }
            }
            Event::Left { job } => {
                self.waiting.left(job, &mut actions);
                self.leases.left(now, job, &mut actions);
            }
            Event::Completed { job, answer } => {
                self.leases.completed(now, job, answer, &mut self.chance, &mut actions);
            }
            Event::ShutDown => {
                self.is_shut_down = true;
                self.waiting.shut_down(&mut actions);
            }
            Event::Woken => {}
        }
        self.leases.wake(now, &mut actions);
        self.waiting.wake(now);
        self.waiting.poll(now, &mut self.chance, &mut actions);
        actions
    }

    /// When [`Event::Woken`] is due, if nothing happens before.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        [self.waiting.wakes_at(), self.leases.wakes_at()].into_iter().flatten().min()
    }

    /// How many jobs wait to be run.
    pub(super) fn jobs_waiting(&self) -> usize {
        self.waiting.jobs()
    }

    /// Whether it was shut down and everything is done.
    pub(super) fn is_over(&self) -> bool {
        self.is_shut_down && self.waiting.jobs() == 0 && self.leases.jobs() == 0
    }
}
