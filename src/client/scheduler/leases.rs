use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::state::{Action, Chance, CompleteAnswer, JobNumber, LeaseEnd};
use crate::client::RepeatPolicy;
use crate::client::repeat::Pauses;
use crate::limit::LeaseId;

/// The leases from their grant until they are settled.
pub(super) struct Leases {
    repeat: RepeatPolicy,
    jobs: BTreeMap<JobNumber, Stage>,
    /// When the completes whose outcome is unknown are made again.
    pauses: BTreeSet<(Instant, JobNumber)>,
}

enum Stage {
    /// The job runs.
    Running(LeaseId),
    /// A complete is under way, or pauses before it is made again.
    Completing(LeaseId, Pauses),
}

impl Leases {
    pub(super) fn new(repeat: RepeatPolicy) -> Self {
        Self { repeat, jobs: BTreeMap::new(), pauses: BTreeSet::new() }
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// The job may run.
    pub(super) fn start(&mut self, job: JobNumber, lease: LeaseId, actions: &mut Vec<Action>) {
        self.jobs.insert(job, Stage::Running(lease));
        actions.push(Action::Start { job, lease });
    }

    /// The lease is to be settled.
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

    /// A job that ran is over.
    pub(super) fn left(&mut self, now: Instant, job: JobNumber, actions: &mut Vec<Action>) {
        if let Some(&Stage::Running(lease)) = self.jobs.get(&job) {
            self.complete(now, job, lease, actions);
        }
    }

    /// A complete has its answer.
    pub(super) fn completed(
        &mut self,
        now: Instant,
        job: JobNumber,
        answer: CompleteAnswer,
        chance: &mut impl Chance,
        actions: &mut Vec<Action>,
    ) {
        let Some(Stage::Completing(_, pauses)) = self.jobs.get_mut(&job) else { return };
        let end = match answer {
            CompleteAnswer::Settled => LeaseEnd::Completed,
            CompleteAnswer::Refused => LeaseEnd::LeftToExpire,
            CompleteAnswer::Unknown => match pauses.next(now, chance.fraction()) {
                Some(pause) => {
                    self.pauses.insert((now + pause, job));
                    return;
                }
                None => LeaseEnd::LeftToExpire,
            },
        };
        self.jobs.remove(&job);
        actions.push(Action::Forget { job, end });
    }

    /// Makes again what has paused long enough.
    pub(super) fn wake(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some(&(until, job)) = self.pauses.first()
            && until <= now
        {
            self.pauses.pop_first();
            if let Some(&Stage::Completing(lease, _)) = self.jobs.get(&job) {
                actions.push(Action::Complete { job, lease });
            }
        }
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.pauses.first().map(|(until, _)| *until)
    }
}
