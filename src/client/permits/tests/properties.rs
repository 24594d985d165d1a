//! Under random steps, the queue has the same waiters as a plain list.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::backoff::DeniedAttempt;
use super::super::options::{PermitOptions, QueueOrder};
use super::super::queue::{EnqueueResult, NextStep, Queue, WaiterId};
use super::count;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A caller asks for this many permits.
    Enqueue(u64),
    /// The waiter at this position, counted from the oldest, is cancelled.
    Cancel(usize),
    /// The next waiter is granted its permits, or denied for this many milliseconds.
    Attempt(Option<u64>),
    Release,
    /// Milliseconds pass.
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..8_u64).prop_map(Step::Enqueue),
        1 => (0..8_usize).prop_map(Step::Cancel),
        3 => prop::option::of(0..500_u64).prop_map(Step::Attempt),
        1 => Just(Step::Release),
        1 => (1..300_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..200)
}

fn orders() -> impl Strategy<Value = QueueOrder> {
    prop_oneof![Just(QueueOrder::OldestFirst), Just(QueueOrder::NewestFirst)]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ModelWaiter {
    name: u64,
    permits: u64,
}

/// The waiters, oldest first.
#[derive(Default)]
struct Model(Vec<ModelWaiter>);

impl Model {
    fn permits(&self) -> u64 {
        self.0.iter().map(|waiter| waiter.permits).sum()
    }

    /// Returns the names of the evicted waiters, or `None` if the queue is full.
    fn enqueue(&mut self, options: PermitOptions, name: u64, permits: u64) -> Option<Vec<u64>> {
        let mut evicted = Vec::new();
        if self.permits() + permits > options.queue_permits_max {
            if options.order == QueueOrder::OldestFirst || permits > options.queue_permits_max {
                return None;
            }
            while self.permits() + permits > options.queue_permits_max {
                evicted.push(self.0.remove(0).name);
            }
        }
        self.0.push(ModelWaiter { name, permits });
        Some(evicted)
    }

    fn head(&self, order: QueueOrder) -> Option<ModelWaiter> {
        match order {
            QueueOrder::OldestFirst => self.0.first().copied(),
            QueueOrder::NewestFirst => self.0.last().copied(),
        }
    }
}

proptest! {
    #[test]
    fn the_queue_has_the_same_waiters_as_a_list(order in orders(), queue_permits_max in 0..20_u64, steps in steps()) {
        let options = PermitOptions { queue_permits_max, order };
        let (mut queue, mut model) = (Queue::new(options), Model::default());
        let (mut now, mut releases, mut ids) = (Instant::now(), 0, Vec::<WaiterId>::new());
        for step in steps {
            let (mut worker_needed, was_empty) = (None, model.0.is_empty());
            match step {
                Step::Enqueue(permits) => {
                    let name = ids.len() as u64;
                    let expected = model.enqueue(options, name, permits);
                    match queue.enqueue(count(permits), None, name) {
                        EnqueueResult::Queued { id, evicted, needs_worker } => {
                            prop_assert_eq!(Some(evicted), expected);
                            ids.push(id);
                            worker_needed = Some(needs_worker);
                        }
                        EnqueueResult::Full => prop_assert_eq!(expected, None),
                        EnqueueResult::ShutDown => prop_assert!(false, "the queue is not shut down"),
                    }
                }
                Step::Cancel(position) if position < model.0.len() => {
                    let ModelWaiter { name, .. } = model.0.remove(position);
                    prop_assert_eq!(queue.remove(ids[name as usize]), Some(name));
                }
                Step::Cancel(_) => {}
                Step::Attempt(denied_ms) => {
                    match (queue.next_step(now, releases), denied_ms, model.head(order)) {
                        (NextStep::End, _, None) => {}
                        (NextStep::WaitUntil(moment), _, Some(_)) => prop_assert!(moment > now),
                        (NextStep::Ask { id, count }, denied_ms, Some(head)) => {
                            prop_assert_eq!(id, ids[head.name as usize]);
                            prop_assert_eq!(count.get(), head.permits);
                            match denied_ms {
                                Some(ms) => {
                                    let hint_at = now + Duration::from_millis(ms);
                                    let (at, releases_before, expected_at) = (now, releases, None);
                                    queue.back_off(id, DeniedAttempt { at, releases_before, hint_at, expected_at });
                                }
                                None => {
                                    prop_assert_eq!(queue.remove(id), Some(head.name));
                                    model.0.retain(|other| *other != head);
                                }
                            }
                        }
                        (next, _, head) => prop_assert!(false, "{next:?} with {head:?}"),
                    }
                }
                Step::Release => {
                    releases += 1;
                    let is_asked = matches!(queue.next_step(now, releases), NextStep::Ask { .. });
                    prop_assert_eq!(is_asked, !model.0.is_empty(), "a release ends the backoff of the next waiter");
                }
                Step::Pass(ms) => now += Duration::from_millis(ms),
            }
            prop_assert_eq!(queue.queued_permits(), model.permits());
            prop_assert!(model.permits() <= queue_permits_max);
            if worker_needed == Some(true) {
                prop_assert!(was_empty, "the waiters had a worker");
            }
        }
        // No waiter is lost.
        let mut left: Vec<u64> = model.0.iter().map(|waiter| waiter.name).collect();
        if order == QueueOrder::NewestFirst {
            left.reverse();
        }
        prop_assert_eq!(queue.shut_down(), left);
    }
}
