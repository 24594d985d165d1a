//! A provider without room does not delay the others.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::event::{Action, Event, ReserveAnswer};
use super::super::fair_queues::FairQueues;
use super::super::job::JobNumber;
use super::super::state::State;
use super::super::{QueueKey, SchedulerOptions};
use super::{FixedRandom, OPTIONS, key};

fn submitted(number: u64, provider: &str) -> Event {
    let keys = [key(provider)].into();
    Event::Submitted { job: JobNumber(number), queue: QueueKey::new(provider, "m"), keys }
}

fn denied(number: u64, provider: &str) -> Event {
    let answer = ReserveAnswer::Denied { key: key(provider), retry_after: Duration::from_millis(1) };
    Event::Reserved { job: JobNumber(number), answer }
}

fn attempts(actions: &[Action]) -> Vec<u64> {
    let attempt = |action: &Action| match action {
        Action::Reserve { job, .. } => Some(job.0),
        Action::Start { .. } | Action::Fail { .. } | Action::Complete { .. } | Action::Forget { .. } => None,
    };
    actions.iter().filter_map(attempt).collect()
}

#[test]
fn a_blocked_provider_delays_another_by_at_most_one_attempt() {
    let options = SchedulerOptions { reserves_in_flight_max: 1, ..OPTIONS };
    let mut state = State::new(options, FixedRandom::default());
    let mut now = Instant::now();
    let mut in_flight = None;
    for number in 1..=40 {
        let attempted = attempts(&state.handle(now, submitted(number, "blocked")));
        in_flight = in_flight.or(attempted.first().copied());
    }
    for free in 100..130 {
        let mut attempted = attempts(&state.handle(now, submitted(free, "free")));
        let mut blocked_attempts = 0;
        while attempted != [free] {
            // The attempt in flight is denied, and its hint has passed by the next round.
            let number = attempted.first().copied().or(in_flight).expect("an attempt is in flight");
            now += Duration::from_millis(20);
            attempted = attempts(&state.handle(now, denied(number, "blocked")));
            blocked_attempts += 1;
            assert!(blocked_attempts <= 1, "the free provider waits for the blocked one");
        }
        let granted = Event::Reserved { job: JobNumber(free), answer: ReserveAnswer::Granted };
        in_flight = attempts(&state.handle(now, granted)).first().copied();
    }
}

/// A step of the queues.
#[derive(Debug, Clone)]
enum Step {
    /// A job of this queue is submitted.
    Submit(u8),
    TakeNext,
    /// The next job must wait, and this many behind it.
    Wait(u8),
    /// A ready job is removed, picked by this number.
    Remove(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..5_u8).prop_map(Step::Submit),
        4 => Just(Step::TakeNext),
        1 => (0..3_u8).prop_map(Step::Wait),
        1 => any::<u8>().prop_map(Step::Remove),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn between_two_turns_of_a_queue_every_other_ready_queue_has_one(steps in steps()) {
        let mut queues = FairQueues::new(1_000, 1_000);
        let name = |queue: u8| QueueKey::new(&queue.to_string(), "m");
        // The ready jobs of each queue, and the turns of the others since its own last turn.
        let mut ready: BTreeMap<u8, Vec<JobNumber>> = BTreeMap::new();
        let mut turns: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Submit(queue) => {
                    prop_assert!(queues.add_job(&name(queue)));
                    queues.make_ready(&name(queue), JobNumber(number));
                    ready.entry(queue).or_default().push(JobNumber(number));
                    turns.entry(queue).or_default();
                }
                Step::Remove(pick) => {
                    let jobs: Vec<_> = ready.iter().flat_map(|(q, jobs)| jobs.iter().map(|job| (*q, *job))).collect();
                    if let Some((queue, job)) = jobs.get(usize::from(pick) % jobs.len().max(1)).copied() {
                        queues.remove_job(&name(queue), job);
                        ready.get_mut(&queue).expect("it is there").retain(|other| *other != job);
                    }
                }
                Step::TakeNext | Step::Wait(_) => {
                    let mut to_skip = if let Step::Wait(more) = step { more + 1 } else { 0 };
                    let mut skipped = Vec::new();
                    let next = queues.take_next(|job| {
                        let must_wait = to_skip > 0;
                        to_skip = to_skip.saturating_sub(1);
                        if must_wait { skipped.push(job); }
                        must_wait
                    });
                    for jobs in ready.values_mut() {
                        jobs.retain(|job| !skipped.contains(job));
                    }
                    turns.retain(|queue, _| ready.get(queue).is_some_and(|jobs| !jobs.is_empty()));
                    let Some(job) = next else {
                        prop_assert!(ready.values().all(Vec::is_empty));
                        turns.clear();
                        continue;
                    };
                    let (queue, jobs) = ready.iter_mut().find(|(_, jobs)| jobs.contains(&job)).expect("it was ready");
                    prop_assert_eq!(jobs.remove(0), job, "not the oldest of its queue");
                    let queue = *queue;
                    turns.insert(queue, Vec::new());
                    for (other, seen) in turns.iter_mut().filter(|(other, _)| **other != queue) {
                        prop_assert!(!seen.contains(&queue), "{} has two turns while {} waits", queue, other);
                        seen.push(queue);
                    }
                }
            }
            turns.retain(|queue, _| ready.get(queue).is_some_and(|jobs| !jobs.is_empty()));
        }
    }
}
