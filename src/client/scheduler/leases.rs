//! The granted leases until they are settled. Pure: `state` drives it.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::event::{Action, CompleteAnswer, LeaseEnd, RandomSource};
use super::job::JobNumber;
use crate::client::RepeatPolicy;
use crate::client::repeat::Pauses;
use crate::limit::LeaseId;

/// The granted leases until they are settled, by job.
pub(super) struct Leases {
    repeat: RepeatPolicy,
    jobs: BTreeMap<JobNumber, Stage>,
    /// When completes of unknown outcome are repeated.
    repeats: BTreeSet<(Instant, JobNumber)>,
}

enum Stage {
    /// The job runs.
    Running(LeaseId),
    /// A complete is under way, or waits to be repeated.
    Completing(LeaseId, Pauses),
}

impl Leases {
    pub(super) fn new(repeat: RepeatPolicy) -> Self {
        Self { repeat, jobs: BTreeMap::new(), repeats: BTreeSet::new() }
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Starts a job under its lease.
    pub(super) fn start(&mut self, job: JobNumber, lease: LeaseId, actions: &mut Vec<Action>) {
        self.jobs.insert(job, Stage::Running(lease));
        actions.push(Action::Start { job, lease });
    }

    /// Completes a lease.
    pub(super) fn complete(
        &mut self,
        now: Instant,
        job: JobNumber,
        lease: LeaseId,
        actions: &mut Vec<Action>,
    ) {
        self.jobs.insert(job, Stage::Completing(lease, Pauses::new(self.repeat, now)));
        actions.push(Action::Complete { job, lease });
    }

    /// Completes the lease of a job that its caller dropped, if the job ran.
    pub(super) fn job_dropped(&mut self, now: Instant, job: JobNumber, actions: &mut Vec<Action>) {
        if let Some(&Stage::Running(lease)) = self.jobs.get(&job) {
            self.complete(now, job, lease, actions);
        }
    }

    /// Takes the answer to a complete: the job is forgotten, or the complete is repeated later.
    pub(super) fn complete_answered(
        &mut self,
        now: Instant,
        job: JobNumber,
        answer: CompleteAnswer,
        random: &mut impl RandomSource,
        actions: &mut Vec<Action>,
    ) {
        let Some(Stage::Completing(_, pauses)) = self.jobs.get_mut(&job) else { return };
        let end = match answer {
            CompleteAnswer::Settled => LeaseEnd::Completed,
            CompleteAnswer::Refused => LeaseEnd::LeftToExpire,
            CompleteAnswer::Unknown => match pauses.next(now, random.fraction()) {
                Some(pause) => {
                    self.repeats.insert((now + pause, job));
                    return;
                }
                None => LeaseEnd::LeftToExpire,
            },
        };
        self.jobs.remove(&job);
        actions.push(Action::Forget { job, end });
    }

    /// Repeats the completes whose pause has passed.
    pub(super) fn wake(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some(&(until, job)) = self.repeats.first()
            && until <= now
        {
            self.repeats.pop_first();
            if let Some(&Stage::Completing(lease, _)) = self.jobs.get(&job) {
                actions.push(Action::Complete { job, lease });
            }
        }
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.repeats.first().map(|(until, _)| *until)
    }
}
