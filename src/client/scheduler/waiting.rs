//! The jobs that wait to run, and their attempts. Pure: `state` drives it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::error::ScheduleError;
use super::event::{Action, LeaseEnd, RandomSource, ReserveAnswer};
use super::fair_queues::FairQueues;
use super::job::{JobNumber, QueueKey};
use super::options::SchedulerOptions;
use crate::client::limiter::{LATE_GRANTS_MAX, always_too_late};
use crate::client::repeat::Pauses;
use crate::limit::{LeaseId, LimitKey};

/// The jobs from their submission until it is known whether they are granted a lease.
pub(super) struct WaitingJobs {
    options: SchedulerOptions,
    jobs: BTreeMap<JobNumber, WaitingJob>,
    queues: FairQueues,
    backoff: Backoff,
    /// When attempts of unknown outcome are repeated.
    repeats: BTreeSet<(Instant, JobNumber)>,
    /// At most `options.reserves_in_flight_max`.
    attempts_in_flight: usize,
}

struct WaitingJob {
    queue: QueueKey,
    keys: Arc<[LimitKey]>,
    stage: Stage,
    /// Whether its caller still waits for it.
    has_caller: bool,
    /// The leases that expired before their grant arrived.
    late_grants: usize,
}

enum Stage {
    /// Ready in its queue. Its next attempt takes a fresh lease id.
    Ready,
    /// Waits for the end of a limit's backoff.
    BackingOff { key: LimitKey },
    /// An attempt was made under this lease id.
    Attempted { lease: LeaseId, pauses: Pauses, phase: Phase },
}

/// The phase of an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    InFlight,
    /// Its outcome is unknown. It pauses before it is repeated.
    Pausing,
    /// Ready in its queue, to be repeated.
    Ready,
}

/// A lease that is granted, or may be.
pub(super) struct Grant {
    pub(super) lease: LeaseId,
    /// Whether a caller waits for the job. If not, the job must not run, only complete its lease.
    pub(super) has_caller: bool,
}

impl WaitingJobs {
    pub(super) fn new(options: SchedulerOptions) -> Self {
        Self {
            options,
            jobs: BTreeMap::new(),
            queues: FairQueues::new(options.jobs_max, options.queue_jobs_max),
            backoff: Backoff::default(),
            repeats: BTreeSet::new(),
            attempts_in_flight: 0,
        }
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Adds a job to its queue.
    ///
    /// # Errors
    ///
    /// [`ScheduleError::QueueFull`] if there is no room.
    pub(super) fn submit(
        &mut self,
        number: JobNumber,
        queue: QueueKey,
        keys: Arc<[LimitKey]>,
    ) -> Result<(), ScheduleError> {
        if !self.queues.add_job(&queue) {
            return Err(ScheduleError::QueueFull);
        }
        self.queues.make_ready(&queue, number);
        let job = WaitingJob { queue, keys, stage: Stage::Ready, has_caller: true, late_grants: 0 };
        self.jobs.insert(number, job);
        Ok(())
    }

    /// Takes the answer to an attempt: the job is granted a lease, fails, or waits on.
    pub(super) fn reserve_answered(
        &mut self,
        now: Instant,
        number: JobNumber,
        answer: ReserveAnswer,
        random: &mut impl RandomSource,
        actions: &mut Vec<Action>,
    ) -> Option<Grant> {
        let job = self.jobs.get_mut(&number)?;
        let Stage::Attempted { lease, pauses, phase: phase @ Phase::InFlight } = &mut job.stage else {
            return None;
        };
        self.attempts_in_flight -= 1;
        let (lease, has_caller) = (*lease, job.has_caller);
        match answer {
            ReserveAnswer::Granted => {
                self.remove(number);
                return Some(Grant { lease, has_caller });
            }
            // It is repeated even if the caller is gone: only the answer says whether there is a lease to complete.
            ReserveAnswer::Unknown(error) => {
                if let Some(pause) = pauses.next(now, random.fraction()) {
                    *phase = Phase::Pausing;
                    self.repeats.insert((now + pause, number));
                    return None;
                }
                self.fail(number, error.into(), actions);
                self.remove(number);
                // The lease may be granted, so it is completed.
                return Some(Grant { lease, has_caller: false });
            }
            ReserveAnswer::Denied { key, retry_after } if has_caller => {
                let jitter = self.options.jitter_max.mul_f64(random.fraction());
                self.backoff.begin(&key, now + retry_after + jitter);
                self.backoff.add_job(&key, number);
                job.stage = Stage::BackingOff { key };
            }
            // An earlier try of the attempt was granted, and the lease has expired. The job has not run yet.
            ReserveAnswer::TooLate if has_caller && job.late_grants + 1 < LATE_GRANTS_MAX => {
                job.late_grants += 1;
                self.queues.make_ready(&job.queue, number);
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

    /// Cancels a job whose caller is gone. It is forgotten at once, unless the outcome of an attempt is open.
    pub(super) fn cancel(&mut self, number: JobNumber, actions: &mut Vec<Action>) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        job.has_caller = false;
        match &job.stage {
            Stage::Ready => self.forget(number, actions),
            Stage::BackingOff { key } => {
                self.backoff.remove_job(key, number);
                self.forget(number, actions);
            }
            Stage::Attempted { .. } => {}
        }
    }

    /// Fails and cancels all jobs.
    pub(super) fn shut_down(&mut self, actions: &mut Vec<Action>) {
        let numbers: Vec<JobNumber> = self.jobs.keys().copied().collect();
        for number in numbers {
            self.fail(number, ScheduleError::ShutDown, actions);
            self.cancel(number, actions);
        }
    }

    /// Makes the jobs ready whose backoff or pause has passed.
    pub(super) fn wake(&mut self, now: Instant) {
        for number in self.backoff.end_due(now) {
            if let Some(job) = self.jobs.get_mut(&number) {
                job.stage = Stage::Ready;
                self.queues.make_ready(&job.queue, number);
            }
        }
        while let Some(&(until, number)) = self.repeats.first()
            && until <= now
        {
            self.repeats.pop_first();
            if let Some(WaitingJob { queue, stage: Stage::Attempted { phase, .. }, .. }) =
                self.jobs.get_mut(&number)
            {
                *phase = Phase::Ready;
                self.queues.make_ready(queue, number);
            }
        }
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let repeat = self.repeats.first().map(|(until, _)| *until);
        [repeat, self.backoff.next_end()].into_iter().flatten().min()
    }

    /// Starts attempts, each for a job of the next queue in turn, up to the maximum in flight.
    pub(super) fn start_attempts(
        &mut self,
        now: Instant,
        random: &mut impl RandomSource,
        actions: &mut Vec<Action>,
    ) {
        while self.attempts_in_flight < self.options.reserves_in_flight_max {
            let (jobs, backoff) = (&mut self.jobs, &mut self.backoff);
            let must_wait = |number| {
                jobs.get_mut(&number).is_some_and(|job: &mut WaitingJob| job.must_wait(number, backoff))
            };
            let next = self.queues.take_next(must_wait);
            let Some(number) = next else { return };
            let Some(job) = self.jobs.get_mut(&number) else { continue };
            let lease = match &mut job.stage {
                Stage::Attempted { lease, phase, .. } => {
                    *phase = Phase::InFlight;
                    *lease
                }
                Stage::Ready | Stage::BackingOff { .. } => {
                    let (lease, pauses) = (random.lease_id(), Pauses::new(self.options.repeat, now));
                    job.stage = Stage::Attempted { lease, pauses, phase: Phase::InFlight };
                    lease
                }
            };
            self.attempts_in_flight += 1;
            actions.push(Action::Reserve { job: number, lease });
        }
    }

    /// Tells the caller of a job that it will not run, if the caller still waits.
    fn fail(&self, number: JobNumber, error: ScheduleError, actions: &mut Vec<Action>) {
        if self.jobs.get(&number).is_some_and(|job| job.has_caller) {
            actions.push(Action::Fail { job: number, error });
        }
    }

    fn remove(&mut self, number: JobNumber) {
        if let Some(job) = self.jobs.remove(&number) {
            self.queues.remove_job(&job.queue, number);
        }
    }

    fn forget(&mut self, number: JobNumber, actions: &mut Vec<Action>) {
        self.remove(number);
        actions.push(Action::Forget { job: number, end: LeaseEnd::NotGranted });
    }
}

impl WaitingJob {
    /// Whether a limit that the job needs is in backoff. The job waits for its end then.
    ///
    /// An attempt that is repeated does not wait: it may be granted already.
    fn must_wait(&mut self, number: JobNumber, backoff: &mut Backoff) -> bool {
        let (Stage::Ready, Some(key)) = (&self.stage, backoff.find(&self.keys)) else { return false };
        backoff.add_job(key, number);
        self.stage = Stage::BackingOff { key: key.clone() };
        true
    }
}
