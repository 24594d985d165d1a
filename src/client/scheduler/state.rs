//! What the scheduler decides. Pure: events and the time come in, actions come out. It neither waits nor makes calls,
//! and its random values come from a [`RandomSource`]. The worker drives it.

use tokio::time::Instant;

use super::error::ScheduleError;
use super::event::{Action, Event, LeaseEnd, RandomSource};
use super::leases::Leases;
use super::options::SchedulerOptions;
use super::waiting::{Grant, WaitingJobs};

/// All jobs of a scheduler: a job waits first, and then holds a lease.
pub(super) struct State<R> {
    random: R,
    waiting: WaitingJobs,
    leases: Leases,
    is_shut_down: bool,
}

impl<R: RandomSource> State<R> {
    pub(super) fn new(options: SchedulerOptions, random: R) -> Self {
        let (waiting, leases) = (WaitingJobs::new(options), Leases::new(options.repeat));
        Self { random, waiting, leases, is_shut_down: false }
    }

    /// Returns the actions that follow from an event, in order.
    pub(super) fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Submitted { job, queue, keys } => {
                let submitted = if self.is_shut_down {
                    Err(ScheduleError::ShutDown)
                } else {
                    self.waiting.submit(job, queue, keys)
                };
                if let Err(error) = submitted {
                    actions.push(Action::Fail { job, error });
                    actions.push(Action::Forget { job, end: LeaseEnd::NotGranted });
                }
            }
            Event::Reserved { job, answer } => {
                match self.waiting.reserve_answered(now, job, answer, &mut self.random, &mut actions) {
                    Some(Grant { lease, has_caller: true }) => self.leases.start(job, lease, &mut actions),
                    Some(Grant { lease, has_caller: false }) => {
                        self.leases.complete(now, job, lease, &mut actions);
                    }
                    None => {}
                }
            }
            Event::Dropped { job } => {
                self.waiting.cancel(job, &mut actions);
                self.leases.job_dropped(now, job, &mut actions);
            }
            Event::Completed { job, answer } => {
                self.leases.complete_answered(now, job, answer, &mut self.random, &mut actions);
            }
            Event::ShutDown => {
                self.is_shut_down = true;
                self.waiting.shut_down(&mut actions);
            }
            Event::Woken => {}
        }
        self.leases.wake(now, &mut actions);
        self.waiting.wake(now);
        self.waiting.start_attempts(now, &mut self.random, &mut actions);
        actions
    }

    /// When [`Event::Woken`] is due, if no other event comes before.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        [self.waiting.wakes_at(), self.leases.wakes_at()].into_iter().flatten().min()
    }

    /// The jobs that wait to run.
    pub(super) fn jobs_waiting(&self) -> usize {
        self.waiting.jobs()
    }

    /// Whether the scheduler was shut down, and no job or lease is left.
    pub(super) fn is_done(&self) -> bool {
        self.is_shut_down && self.waiting.jobs() == 0 && self.leases.jobs() == 0
    }
}
