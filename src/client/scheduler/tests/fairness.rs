//! Nobody waits behind another provider.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::queues::Queues;
use super::super::state::{Action, Event, JobNumber, ReserveAnswer, State};
use super::super::{QueueKey, SchedulerOptions};
use super::{Counted, OPTIONS, key};

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
fn a_blocked_provider_does_not_delay_another_by_more_than_one_poll() {
    let options = SchedulerOptions { reserves_in_flight_max: 1, ..OPTIONS };
    let mut state = State::new(options, Counted::default());
    let mut now = Instant::now();
    let mut in_flight = None;
    for number in 1..=40 {
        let polled = attempts(&state.handle(now, submitted(number, "blocked")));
        in_flight = in_flight.or(polled.first().copied());
    }
    for free in 100..130 {
        let mut polled = attempts(&state.handle(now, submitted(free, "free")));
        let mut blocked_polls = 0;
        while polled != [free] {
            // Whatever was polled, it is denied; and its hint is over by the time.
            let number = polled.first().copied().or(in_flight).expect("the one attempt that there may be");
            now += Duration::from_millis(20);
            polled = attempts(&state.handle(now, denied(number, "blocked")));
            blocked_polls += 1;
            assert!(blocked_polls <= 1, "the free provider waits for the blocked one");
        }
        let granted = Event::Reserved { job: JobNumber(free), answer: ReserveAnswer::Granted };
        in_flight = attempts(&state.handle(now, granted)).first().copied();
    }
}

/// What may happen to the queues.
#[derive(Debug, Clone)]
enum Step {
    Ready(u8),
    Next,
    /// The next one is held back, as well as so many behind it.
    HoldBack(u8),
    Leave(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..5_u8).prop_map(Step::Ready),
        4 => Just(Step::Next),
        1 => (0..3_u8).prop_map(Step::HoldBack),
        1 => any::<u8>().prop_map(Step::Leave),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn between_two_turns_of_a_queue_every_other_that_is_ready_has_one(steps in steps()) {
        let mut queues = Queues::new(1_000, 1_000);
        let name = |queue: u8| QueueKey::new(&queue.to_string(), "m");
        // The jobs that are ready, by queue; and since a queue is ready, the turns of the others.
        let mut ready: BTreeMap<u8, Vec<JobNumber>> = BTreeMap::new();
        let mut turns: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Ready(queue) => {
                    prop_assert!(queues.enter(&name(queue)));
                    queues.ready(&name(queue), JobNumber(number));
                    ready.entry(queue).or_default().push(JobNumber(number));
                    turns.entry(queue).or_default();
                }
                Step::Leave(pick) => {
                    let jobs: Vec<_> = ready.iter().flat_map(|(q, jobs)| jobs.iter().map(|job| (*q, *job))).collect();
                    if let Some((queue, job)) = jobs.get(usize::from(pick) % jobs.len().max(1)).copied() {
                        queues.leave(&name(queue), job);
                        ready.get_mut(&queue).expect("it is there").retain(|other| *other != job);
                    }
                }
                Step::Next | Step::HoldBack(_) => {
                    let mut to_hold = if let Step::HoldBack(more) = step { more + 1 } else { 0 };
                    let mut held = Vec::new();
                    let next = queues.next(|job| {
                        let holds = to_hold > 0;
                        to_hold = to_hold.saturating_sub(1);
                        if holds { held.push(job); }
                        holds
                    });
                    for jobs in ready.values_mut() {
                        jobs.retain(|job| !held.contains(job));
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
