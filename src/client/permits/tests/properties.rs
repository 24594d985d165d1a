//! Whatever comes, the queue does what a plain list would.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::options::{PermitOptions, QueueOrder};
use super::super::pause::Denied;
use super::super::queue::{Joined, Next, Number, Queue};
use super::wanted;

#[derive(Debug, Clone, Copy)]
enum Step {
    Join(u64),
    /// The one at this place, counted from the oldest, goes.
    Leave(usize),
    /// The one who is next is granted, or denied for so many milliseconds.
    Answer(Option<u64>),
    GiveBack,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..8_u64).prop_map(Step::Join),
        1 => (0..8_usize).prop_map(Step::Leave),
        3 => prop::option::of(0..500_u64).prop_map(Step::Answer),
        1 => Just(Step::GiveBack),
        1 => (1..300_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..200)
}

fn orders() -> impl Strategy<Value = QueueOrder> {
    prop_oneof![Just(QueueOrder::OldestFirst), Just(QueueOrder::NewestFirst)]
}

/// Who waits, oldest first: the name and its permits.
type Model = Vec<(u64, u64)>;

/// What joining comes to: who has to go, or `None` if there is no place.
fn model_join(model: &mut Model, options: PermitOptions, name: u64, permits: u64) -> Option<Vec<u64>> {
    let sum = |model: &Model| model.iter().map(|(_, permits)| permits).sum::<u64>();
    let mut evicted = Vec::new();
    if sum(model) + permits > options.queue_permits_max {
        if options.order == QueueOrder::OldestFirst || permits > options.queue_permits_max {
            return None;
        }
        while sum(model) + permits > options.queue_permits_max {
            evicted.push(model.remove(0).0);
        }
    }
    model.push((name, permits));
    Some(evicted)
}

proptest! {
    #[test]
    fn it_does_what_a_list_would(order in orders(), queue_permits_max in 0..20_u64, steps in steps()) {
        let options = PermitOptions { queue_permits_max, order };
        let (mut queue, mut model) = (Queue::new(options), Model::new());
        let (mut now, mut given_back, mut numbers) = (Instant::now(), 0, Vec::<Number>::new());
        for step in steps {
            let (mut attended, was_empty) = (None, model.is_empty());
            match step {
                Step::Join(permits) => {
                    let name = numbers.len() as u64;
                    let expected = model_join(&mut model, options, name, permits);
                    match queue.join(wanted(permits), None, name) {
                        Joined::Waits { number, evicted, needs_attendant } => {
                            prop_assert_eq!(Some(evicted), expected);
                            numbers.push(number);
                            attended = Some(needs_attendant);
                        }
                        Joined::NoPlace => prop_assert_eq!(expected, None),
                        Joined::ShutDown => prop_assert!(false, "nobody shut it down"),
                    }
                }
                Step::Leave(place) if place < model.len() => {
                    let (name, _) = model.remove(place);
                    prop_assert_eq!(queue.take(numbers[name as usize]), Some(name));
                }
                Step::Leave(_) => {}
                Step::Answer(denied_ms) => {
                    let head = match order {
                        QueueOrder::OldestFirst => model.first().copied(),
                        QueueOrder::NewestFirst => model.last().copied(),
                    };
                    match (queue.next(now, given_back), denied_ms, head) {
                        (Next::Over, _, None) => {}
                        (Next::WaitUntil(moment), _, Some(_)) => prop_assert!(moment > now),
                        (Next::Ask { number, wanted }, denied_ms, Some((name, permits))) => {
                            prop_assert_eq!((number, wanted.permits()), (numbers[name as usize], permits));
                            match denied_ms {
                                Some(ms) => {
                                    let hint_at = now + Duration::from_millis(ms);
                                    let given_back_before = given_back;
                                    queue.denied(number, Denied { at: now, given_back_before, hint_at, expected_at: None });
                                }
                                None => {
                                    prop_assert_eq!(queue.take(number), Some(name));
                                    model.retain(|(other, _)| *other != name);
                                }
                            }
                        }
                        (next, _, head) => prop_assert!(false, "{next:?} with {head:?}"),
                    }
                }
                Step::GiveBack => {
                    given_back += 1;
                    let is_asked = matches!(queue.next(now, given_back), Next::Ask { .. });
                    prop_assert_eq!(is_asked, !model.is_empty(), "whoever is next is asked for");
                }
                Step::Pass(ms) => now += Duration::from_millis(ms),
            }
            let permits: u64 = model.iter().map(|(_, permits)| permits).sum();
            prop_assert_eq!(queue.permits(), permits);
            prop_assert!(permits <= queue_permits_max);
            if attended == Some(true) {
                prop_assert!(was_empty, "who waited was attended");
            }
        }
        // Nobody is forgotten.
        let mut left: Vec<u64> = model.iter().map(|(name, _)| *name).collect();
        if order == QueueOrder::NewestFirst {
            left.reverse();
        }
        prop_assert_eq!(queue.shut_down(), left);
    }
}
