//! Properties of the scheduler's state under random steps: one reply, one complete, no starvation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::event::{Action, CompleteAnswer, Event, LeaseEnd, ReserveAnswer};
use super::super::job::JobNumber;
use super::super::state::State;
use super::super::{QueueKey, ScheduleError};
use super::{FixedRandom, OPTIONS, key};
use crate::client::{CallError, LeaseId};

/// The next step. `pick` is an index, modulo the number of jobs to pick from.
#[derive(Debug, Clone)]
enum Step {
    Submit { queue: u8, keys: BTreeSet<u8> },
    AnswerReserve { pick: u8, answer: Answer },
    AnswerComplete { pick: u8, answer: CompleteAnswer },
    Drop { pick: u8 },
    Pass { ms: u64 },
    ShutDown,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Granted,
    Denied { key: u8, ms: u64 },
    Refused,
    TooLate,
    Unknown,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let answer = prop_oneof![
        4 => Just(Answer::Granted),
        4 => (0..4_u8, 0..300_u64).prop_map(|(key, ms)| Answer::Denied { key, ms }),
        1 => Just(Answer::Refused),
        1 => Just(Answer::TooLate),
        3 => Just(Answer::Unknown),
    ];
    let completed = prop_oneof![
        4 => Just(CompleteAnswer::Settled),
        1 => Just(CompleteAnswer::Refused),
        3 => Just(CompleteAnswer::Unknown),
    ];
    let step = prop_oneof![
        60 => (0..4_u8, proptest::collection::btree_set(0..4_u8, 1..4))
            .prop_map(|(queue, keys)| Step::Submit { queue, keys }),
        80 => (any::<u8>(), answer).prop_map(|(pick, answer)| Step::AnswerReserve { pick, answer }),
        40 => (any::<u8>(), completed).prop_map(|(pick, answer)| Step::AnswerComplete { pick, answer }),
        30 => any::<u8>().prop_map(|pick| Step::Drop { pick }),
        50 => (0..200_u64).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::ShutDown),
    ];
    proptest::collection::vec(step, 1..250)
}

/// The model of a job: the state that its caller and the transport can observe.
#[derive(Default)]
struct ModelJob {
    keys: BTreeSet<u8>,
    /// The attempt in flight.
    reserving: Option<LeaseId>,
    /// The last attempt, if its outcome is unknown.
    unknown: Option<LeaseId>,
    not_before: Option<Instant>,
    granted: Option<LeaseId>,
    completing: bool,
    settled: bool,
    dropped: bool,
    replied: bool,
    forgotten: bool,
}

struct World {
    state: State<FixedRandom>,
    now: Instant,
    jobs: BTreeMap<JobNumber, ModelJob>,
    leases: BTreeSet<LeaseId>,
    is_shut_down: bool,
}

impl World {
    fn new() -> Self {
        Self {
            state: State::new(OPTIONS, FixedRandom::default()),
            now: Instant::now(),
            jobs: BTreeMap::new(),
            leases: BTreeSet::new(),
            is_shut_down: false,
        }
    }

    fn handle(&mut self, event: Event) {
        for action in self.state.handle(self.now, event) {
            self.check(&action);
        }
        let in_flight = self.jobs.values().filter(|job| job.reserving.is_some()).count();
        assert!(in_flight <= OPTIONS.reserves_in_flight_max);
        assert!(self.state.jobs_waiting() <= OPTIONS.jobs_max);
    }

    /// Checks an action against the model, and applies it to the model.
    fn check(&mut self, action: &Action) {
        match action {
            Action::Reserve { job, lease } => {
                let job = self.jobs.get_mut(job).expect("known");
                assert!(job.reserving.is_none(), "two attempts at a time");
                assert!(job.granted.is_none() && !job.forgotten);
                assert!(
                    job.not_before.is_none_or(|at| at <= self.now),
                    "it was attempted before its hint had passed"
                );
                match job.unknown.take() {
                    Some(unknown) => {
                        assert_eq!(unknown, *lease, "an attempt of unknown outcome keeps its lease id");
                    }
                    None => {
                        assert!(!job.dropped, "a new attempt without a caller");
                        assert!(self.leases.insert(*lease), "a new attempt takes a fresh lease id");
                    }
                }
                job.reserving = Some(*lease);
            }
            Action::Start { job, lease } => {
                let job = self.jobs.get_mut(job).expect("known");
                assert_eq!(job.granted, Some(*lease));
                assert!(!job.dropped && !job.replied);
                job.replied = true;
            }
            Action::Fail { job, .. } => {
                let job = self.jobs.get_mut(job).expect("known");
                assert!(!job.dropped && !job.replied);
                job.replied = true;
            }
            Action::Complete { job, lease } => {
                let job = self.jobs.get_mut(job).expect("known");
                assert_eq!(job.granted.or(job.unknown), Some(*lease), "a complete without a grant");
                assert!(!job.completing && !job.settled, "completed twice");
                assert!(job.dropped || job.replied, "completed while its caller waits");
                job.granted = Some(*lease);
                job.completing = true;
            }
            Action::Forget { job, end } => {
                let job = self.jobs.get_mut(job).expect("known");
                assert!(!job.forgotten && !job.completing && job.reserving.is_none());
                assert!(job.dropped || job.replied, "its caller has no reply");
                assert_eq!(job.granted.is_none(), *end == LeaseEnd::NotGranted);
                assert_eq!(job.settled, *end == LeaseEnd::Completed);
                job.forgotten = true;
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Submit { queue, keys } => {
                let job = JobNumber(self.jobs.len() as u64);
                self.jobs.insert(job, ModelJob { keys: keys.clone(), ..ModelJob::default() });
                let keys = keys.iter().map(|number| key(&number.to_string())).collect();
                self.handle(Event::Submitted { job, queue: QueueKey::new(&queue.to_string(), "m"), keys });
            }
            Step::AnswerReserve { pick, answer } => {
                if let Some(job) = self.pick(pick, |job| job.reserving.is_some()) {
                    self.answer(job, answer);
                }
            }
            Step::AnswerComplete { pick, answer } => {
                if let Some(job) = self.pick(pick, |job| job.completing) {
                    let seen = self.jobs.get_mut(&job).expect("picked");
                    (seen.completing, seen.settled) = (false, answer == CompleteAnswer::Settled);
                    self.handle(Event::Completed { job, answer });
                }
            }
            Step::Drop { pick } => {
                if let Some(job) = self.pick(pick, |job| !job.dropped) {
                    self.jobs.get_mut(&job).expect("picked").dropped = true;
                    self.handle(Event::Dropped { job });
                }
            }
            Step::Pass { ms } => {
                self.now += Duration::from_millis(ms);
                self.handle(Event::Woken);
            }
            Step::ShutDown => {
                self.is_shut_down = true;
                self.handle(Event::ShutDown);
            }
        }
    }

    fn answer(&mut self, job: JobNumber, answer: Answer) {
        let seen = self.jobs.get_mut(&job).expect("picked");
        let lease = seen.reserving.take();
        let answer = match answer {
            Answer::Granted => {
                seen.granted = lease;
                ReserveAnswer::Granted
            }
            Answer::Denied { key: pick, ms } => {
                let keys: Vec<&u8> = seen.keys.iter().collect();
                let retry_after = Duration::from_millis(ms);
                seen.not_before = Some(self.now + retry_after);
                ReserveAnswer::Denied {
                    key: key(&keys[usize::from(pick) % keys.len()].to_string()),
                    retry_after,
                }
            }
            Answer::Refused => ReserveAnswer::Refused(ScheduleError::Call(CallError::Closed)),
            Answer::TooLate => ReserveAnswer::TooLate,
            Answer::Unknown => {
                seen.unknown = lease;
                ReserveAnswer::Unknown(CallError::unknown(std::fmt::Error))
            }
        };
        self.handle(Event::Reserved { job, answer });
    }

    fn pick(&self, pick: u8, is_fit: impl Fn(&ModelJob) -> bool) -> Option<JobNumber> {
        let fit: Vec<JobNumber> =
            self.jobs.iter().filter(|(_, job)| is_fit(job)).map(|(job, _)| *job).collect();
        fit.get(usize::from(pick) % fit.len().max(1)).copied()
    }

    /// Answers every call with success until all jobs are forgotten. Returns the number of rounds.
    fn finish(&mut self) -> usize {
        for round in 0..1_000 {
            if self.jobs.values().all(|job| job.forgotten) {
                return round;
            }
            while let Some(job) = self.pick(0, |job| job.reserving.is_some()) {
                self.answer(job, Answer::Granted);
            }
            let is_running = |job: &ModelJob| job.granted.is_some() && !job.dropped;
            while let Some(job) = self.pick(0, is_running) {
                self.jobs.get_mut(&job).expect("picked").dropped = true;
                self.handle(Event::Dropped { job });
            }
            while let Some(job) = self.pick(0, |job| job.completing) {
                let seen = self.jobs.get_mut(&job).expect("picked");
                (seen.completing, seen.settled) = (false, true);
                self.handle(Event::Completed { job, answer: CompleteAnswer::Settled });
            }
            self.now = self.state.wakes_at().unwrap_or(self.now);
            self.handle(Event::Woken);
        }
        panic!("a job never ends");
    }
}

proptest! {
    #[test]
    fn every_caller_gets_one_reply_and_every_grant_is_completed_and_no_job_starves(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        let replied_before: BTreeSet<JobNumber> =
            world.jobs.iter().filter(|(_, job)| job.replied || job.dropped).map(|(job, _)| *job).collect();
        world.finish();
        for (number, job) in &world.jobs {
            prop_assert!(job.replied || job.dropped, "{:?} starved", number);
            // A job that waited until the calls succeeded has run. After a shutdown no job waits.
            let waited = !replied_before.contains(number);
            prop_assert!(!waited || job.settled, "{:?} was not run", number);
        }
        if !world.is_shut_down {
            prop_assert!(!world.state.is_done());
            world.handle(Event::ShutDown);
        }
        prop_assert!(world.state.is_done());
        // Limits may still be in backoff, without a waiting job.
        while let Some(at) = world.state.wakes_at() {
            world.now = at;
            world.handle(Event::Woken);
        }
        prop_assert_eq!(world.state.jobs_waiting(), 0);
    }
}
