use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::error::ScheduleError;
use super::gates::Gates;
use super::options::SchedulerOptions;
use super::queues::{QueueKey, Queues};
use super::state::{Action, Chance, JobNumber, LeaseEnd, ReserveAnswer};
use crate::client::limiter::{LATE_GRANTS_MAX, always_too_late};
use crate::client::repeat::Pauses;
use crate::limit::{LeaseId, LimitKey};

/// The jobs from the moment they are submitted until it is known that a lease of theirs was granted, or that none is.
pub(super) struct Waiting {
    options: SchedulerOptions,
    jobs: BTreeMap<JobNumber, Job>,
    queues: Queues,
    gates: Gates,
    /// When the attempts whose outcome is unknown are made again.
    pauses: BTreeSet<(Instant, JobNumber)>,
    in_flight: usize,
}

struct Job {
    queue: QueueKey,
    keys: Arc<[LimitKey]>,
    stage: Stage,
    /// Whether its owner waits for it.
    wanted: bool,
    /// How many of its leases were over before their grant was heard of.
    late_grants: usize,
}

enum Stage {
    /// Ready in its queue; its next attempt takes a new lease id.
    Ready,
    /// Waits for a limit that denied it, or a job like it.
    Held { key: LimitKey },
    /// An attempt was made, under this lease id.
    Attempted { lease: LeaseId, pauses: Pauses, phase: Phase },
}

/// Where an attempt is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Under way.
    InFlight,
    /// Its outcome is unknown; it pauses before it is made again.
    Pausing,
    /// Ready in its queue, to be made again.
    Ready,
}

/// A lease that is granted, as far as anybody can tell.
pub(super) struct Grant {
    pub(super) lease: LeaseId,
    /// Whether the job is to be run.
    pub(super) wanted: bool,
}

impl Waiting {
    pub(super) fn new(options: SchedulerOptions) -> Self {
        Self {
            options,
            jobs: BTreeMap::new(),
            queues: Queues::new(options.jobs_max, options.queue_jobs_max),
            gates: Gates::default(),
            pauses: BTreeSet::new(),
            in_flight: 0,
        }
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Puts a job into its queue, if there is room.
    pub(super) fn submit(
        &mut self,
        number: JobNumber,
        queue: QueueKey,
        keys: Arc<[LimitKey]>,
    ) -> Result<(), ScheduleError> {
        if !self.queues.enter(&queue) {
            return Err(ScheduleError::QueueFull);
        }
        self.queues.ready(&queue, number);
        self.jobs.insert(number, Job { queue, keys, stage: Stage::Ready, wanted: true, late_grants: 0 });
        Ok(())
    }

    /// An attempt has its answer: the job is granted a lease, goes, or waits on.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        number: JobNumber,
        answer: ReserveAnswer,
        chance: &mut impl Chance,
        actions: &mut Vec<Action>,
    ) -> Option<Grant> {
        let job = self.jobs.get_mut(&number)?;
        let Stage::Attempted { lease, pauses, phase: phase @ Phase::InFlight } = &mut job.stage else {
            return None;
        };
        self.in_flight -= 1;
        let (lease, wanted) = (*lease, job.wanted);
        match answer {
            ReserveAnswer::Granted => {
                self.remove(number);
                return Some(Grant { lease, wanted });
            }
            // It is made again also if nobody wants the job any more: only the answer tells whether there is a lease to
            // complete.
            ReserveAnswer::Unknown(error) => {
                if let Some(pause) = pauses.next(now, chance.fraction()) {
                    *phase = Phase::Pausing;
                    self.pauses.insert((now + pause, number));
                    return None;
                }
                self.fail(number, error.into(), actions);
                self.remove(number);
                // To be on the safe side, it counts as granted.
                return Some(Grant { lease, wanted: false });
            }
            ReserveAnswer::Denied { key, retry_after } if wanted => {
                let jitter = self.options.jitter_max.mul_f64(chance.fraction());
                self.gates.close(&key, now + retry_after + jitter);
                self.gates.wait(&key, number);
                job.stage = Stage::Held { key };
            }
            // An attempt whose outcome was unknown had been granted and has expired: the job has not run yet.
            ReserveAnswer::TooLate if wanted && job.late_grants + 1 < LATE_GRANTS_MAX => {
                job.late_grants += 1;
                self.queues.ready(&job.queue, number);
                job.stage = Stage::Ready;
            }
            ReserveAnswer::Denied { .. } => self.forget(number, actions),
            ReserveAnswer::TooLate => {
                self.fail(number, always_too_late().into(), actions);
                self.forget(number, actions);
            }
            ReserveAnswer::Refused(error) => {
                self.fail(number, error, actions);
                self.forget(number, actions);
            }
        }
        None
    }

    /// Nobody wants the job any more. It goes at once, unless an attempt was made whose outcome is to be found out.
    pub(super) fn left(&mut self, number: JobNumber, actions: &mut Vec<Action>) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        job.wanted = false;
        match &job.stage {
            Stage::Ready => self.forget(number, actions),
            Stage::Held { key } => {
                self.gates.leave(key, number);
                self.forget(number, actions);
            }
            Stage::Attempted { .. } => {}
        }
    }

    /// The owners of all jobs are told that these will not run.
    pub(super) fn shut_down(&mut self, actions: &mut Vec<Action>) {
        let numbers: Vec<JobNumber> = self.jobs.keys().copied().collect();
        for number in numbers {
            self.fail(number, ScheduleError::ShutDown, actions);
            self.left(number, actions);
        }
    }

    /// Puts back into the queues what has waited long enough.
    pub(super) fn wake(&mut self, now: Instant) {
        for number in self.gates.open_due(now) {
            if let Some(job) = self.jobs.get_mut(&number) {
                job.stage = Stage::Ready;
                self.queues.ready(&job.queue, number);
            }
        }
        while let Some(&(until, number)) = self.pauses.first()
            && until <= now
        {
            self.pauses.pop_first();
            if let Some(Job { queue, stage: Stage::Attempted { phase, .. }, .. }) = self.jobs.get_mut(&number)
            {
                *phase = Phase::Ready;
                self.queues.ready(queue, number);
            }
        }
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let pause = self.pauses.first().map(|(until, _)| *until);
        [pause, self.gates.next_opening()].into_iter().flatten().min()
    }

    /// Makes attempts, each from the queue whose turn it is, as long as there is room for them.
    pub(super) fn poll(&mut self, now: Instant, chance: &mut impl Chance, actions: &mut Vec<Action>) {
        while self.in_flight < self.options.reserves_in_flight_max {
            let (jobs, gates) = (&mut self.jobs, &mut self.gates);
            let next = self
                .queues
                .next(|number| jobs.get_mut(&number).is_some_and(|job| job.is_held(number, gates)));
            let Some(number) = next else { return };
            let Some(job) = self.jobs.get_mut(&number) else { continue };
            let lease = match &mut job.stage {
                Stage::Attempted { lease, phase, .. } => {
                    *phase = Phase::InFlight;
                    *lease
                }
                Stage::Ready | Stage::Held { .. } => {
                    let (lease, pauses) = (chance.lease_id(), Pauses::new(self.options.repeat, now));
                    job.stage = Stage::Attempted { lease, pauses, phase: Phase::InFlight };
                    lease
                }
            };
            self.in_flight += 1;
            actions.push(Action::Reserve { job: number, lease });
        }
    }

    fn fail(&self, number: JobNumber, error: ScheduleError, actions: &mut Vec<Action>) {
        if self.jobs.get(&number).is_some_and(|job| job.wanted) {
            actions.push(Action::Fail { job: number, error });
        }
    }

    fn remove(&mut self, number: JobNumber) {
        if let Some(job) = self.jobs.remove(&number) {
            self.queues.leave(&job.queue, number);
        }
    }

    fn forget(&mut self, number: JobNumber, actions: &mut Vec<Action>) {
        self.remove(number);
        actions.push(Action::Forget { job: number, end: LeaseEnd::NotGranted });
    }
}

impl Job {
    /// Holds the job back if a limit that it needs is closed. An attempt that is made again is not: it may be granted
    /// already.
    fn is_held(&mut self, number: JobNumber, gates: &mut Gates) -> bool {
        let (Stage::Ready, Some(key)) = (&self.stage, gates.closed(&self.keys)) else { return false };
        gates.wait(key, number);
        self.stage = Stage::Held { key: key.clone() };
        true
    }
}
