//! Tables of whose turn it is, and random waiters against a naive search.

use proptest::prelude::*;

use super::*;
use crate::limit::{Amount, LeaseId};
use crate::protocol::Requirement;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn key(name: &str) -> LimitKey {
    LimitKey::parse(name).expect("valid")
}

fn command(wants: &[(&str, u64)]) -> Arc<Reserve> {
    let requirement = |(name, units): &(&str, u64)| Requirement {
        key: key(name),
        amount: Amount::new(*units).expect("valid"),
    };
    let lease = LeaseId::from_ulid(ulid::Ulid(1)).expect("not zero");
    Arc::new(Reserve::new(lease, String::new(), wants.iter().map(requirement).collect()).expect("valid"))
}

fn ordered(order: QueueOrder) -> impl Fn(&LimitKey) -> Queueing + Copy {
    move |_| Queueing { order, max_waiting: None }
}

fn rooms(rooms: &[(&str, u128)]) -> HashMap<LimitKey, u128> {
    rooms.iter().map(|(name, units)| (key(name), *units)).collect()
}

/// Waiters that came a second apart, with priority 5 and an aging of a second, in queues of this order.
fn queues(order: QueueOrder, waiters: &[(&[(&str, u64)], u8)]) -> Queues {
    let mut queues = Queues::default();
    for ((wants, priority), nth) in waiters.iter().zip(0..) {
        let rank = Rank::new(nth * 1_000_000, *priority, 1_000_000);
        queues.insert(WaiterId(nth.unsigned_abs()), command(wants), rank, ordered(order));
    }
    queues
}

fn fitting(queues: &Queues, room: &[(&str, u128)]) -> Vec<u64> {
    let keys: Vec<LimitKey> = queues.keys().cloned().collect();
    queues.turns(&keys, &rooms(room)).fitting.into_iter().map(|id| id.0).collect()
}

#[test]
fn the_first_that_fit_are_served_and_a_large_head_is_not_overtaken() {
    let small = &[("a", 1)][..];
    let large = &[("a", 5)][..];
    for (waiters, room, expected) in [
        (vec![(small, 5), (small, 5), (small, 5)], 2, vec![0, 1]),
        (vec![(large, 5), (small, 5)], 4, vec![]),
        (vec![(large, 5), (small, 5)], 6, vec![0, 1]),
        (vec![(small, 5), (large, 5), (small, 5)], 5, vec![0]),
    ] {
        let queues = queues(QueueOrder::OldestFirst, &waiters);
        assert_eq!(fitting(&queues, &[("a", room)]), expected, "{waiters:?} with room for {room}");
    }
}

#[test]
fn a_higher_priority_is_served_first_until_the_others_are_old() {
    let one = &[("a", 1)][..];
    for (priorities, expected) in [
        (vec![5, 9], vec![1, 0]),
        // Two levels are worth two seconds.
        (vec![5, 5, 7], vec![0, 2, 1]),
        (vec![5, 5, 5, 7], vec![0, 1, 3, 2]),
        (vec![0, 0, 0, 0, 2], vec![0, 1, 2, 4, 3]),
    ] {
        let waiters: Vec<_> = priorities.iter().map(|priority| (one, *priority)).collect();
        let queues = queues(QueueOrder::OldestFirst, &waiters);
        assert_eq!(fitting(&queues, &[("a", 9)]), expected, "{priorities:?}");
    }
}

#[test]
fn a_waiter_of_several_limits_is_served_when_it_is_the_first_of_each() {
    let both = &[("a", 2), ("b", 2)][..];
    let of_a = &[("a", 1)][..];
    let of_b = &[("b", 1)][..];
    for (waiters, room, expected) in [
        (vec![(both, 5), (of_a, 5), (of_b, 5)], [("a", 9), ("b", 1)], vec![]),
        (vec![(both, 5), (of_a, 5), (of_b, 5)], [("a", 3), ("b", 2)], vec![0, 1]),
        (vec![(of_b, 5), (both, 5), (of_a, 5)], [("a", 9), ("b", 2)], vec![0]),
        (vec![(of_b, 5), (both, 5), (of_a, 5)], [("a", 2), ("b", 3)], vec![0, 1]),
    ] {
        let queues = queues(QueueOrder::OldestFirst, &waiters);
        assert_eq!(fitting(&queues, &room), expected, "{waiters:?} with room {room:?}");
    }
}

#[test]
fn the_newest_are_served_first_and_waiters_of_several_limits_block_nobody() {
    let both = &[("a", 2), ("b", 2)][..];
    let one = &[("a", 1)][..];
    for (waiters, room, expected) in [
        (vec![(one, 5), (one, 5), (one, 5)], [("a", 2), ("b", 0)], vec![2, 1]),
        (vec![(one, 9), (one, 5), (one, 5)], [("a", 2), ("b", 0)], vec![0, 2]),
        (vec![(both, 5), (one, 5), (one, 5)], [("a", 3), ("b", 1)], vec![2, 1]),
        (vec![(one, 5), (both, 5), (one, 5)], [("a", 3), ("b", 2)], vec![1, 2]),
    ] {
        let queues = queues(QueueOrder::NewestFirst, &waiters);
        assert_eq!(fitting(&queues, &room), expected, "{waiters:?} with room {room:?}");
    }
}

#[test]
fn a_waiter_of_an_unknown_limit_is_unseen_and_holds_its_place() {
    let queues = queues(QueueOrder::OldestFirst, &[(&[("a", 1), ("b", 1)], 5), (&[("a", 1)], 5)]);
    let turns = queues.turns([&key("a")], &rooms(&[("a", 9)]));
    assert_eq!(turns, Turns { fitting: vec![], unseen: vec![WaiterId(0)] });
}

#[test]
fn the_order_of_a_queue_may_change() {
    let mut queues = queues(QueueOrder::OldestFirst, &[(&[("a", 1)], 5), (&[("a", 1)], 5)]);
    let rank = Rank::new(9_000_000, 5, 1_000_000);
    queues.insert(WaiterId(2), command(&[("a", 1)]), rank, ordered(QueueOrder::NewestFirst));
    assert_eq!(fitting(&queues, &[("a", 9)]), [2, 1, 0]);
    assert!(queues.remove(WaiterId(1)));
    assert_eq!(fitting(&queues, &[("a", 9)]), [2, 0]);
}

#[test]
fn a_queue_is_bounded_in_units() {
    let queues = queues(QueueOrder::OldestFirst, &[(&[("a", 3)], 5)]);
    for (units, max_waiting, has_place) in
        [(2, Some(5), true), (3, Some(5), false), (3, None, true), (1, Some(0), false)]
    {
        let queueing = |_: &LimitKey| Queueing { max_waiting, ..Queueing::default() };
        assert_eq!(
            queues.has_places(&command(&[("a", units)]), queueing),
            has_place,
            "{units} of {max_waiting:?}"
        );
    }
}

/// Serves by looking at everything again and again.
fn naive(waiters: &[(WaiterId, Arc<Reserve>, Rank)], mut room: HashMap<LimitKey, u128>) -> HashSet<WaiterId> {
    let mut left: Vec<_> = waiters.to_vec();
    left.sort_by_key(|(id, _, rank)| (rank.ranked_us, *id));
    let mut served = HashSet::new();
    loop {
        let names =
            |command: &Reserve, key: &LimitKey| command.requirements().iter().any(|it| it.key == *key);
        let turn = left.iter().position(|(id, command, _)| {
            command.requirements().iter().all(|requirement| {
                let first = left.iter().find(|(_, other, _)| names(other, &requirement.key));
                first.is_some_and(|(first, _, _)| first == id)
                    && room[&requirement.key] >= u128::from(requirement.amount)
            })
        });
        let Some(turn) = turn else { return served };
        let (id, command, _) = left.remove(turn);
        for requirement in command.requirements() {
            *room.get_mut(&requirement.key).expect("every limit has a room") -=
                u128::from(requirement.amount);
        }
        served.insert(id);
    }
}

proptest! {
    #[test]
    fn turns_are_those_of_a_naive_search(
        waiters in prop::collection::vec(
            (prop::collection::btree_map(0..3_usize, 1..4_u64, 1..=3), 0..10_u8, 0..20_i64, any::<bool>()), 0..12),
        room in prop::array::uniform3(0..12_u128),
    ) {
        let mut queues = Queues::default();
        let mut left = Vec::new();
        for ((wants, priority, arrived, stays), nth) in waiters.iter().zip(0..) {
            let wants: Vec<_> = wants.iter().map(|(index, units)| (NAMES[*index], *units)).collect();
            let (id, command, rank) = (WaiterId(nth), command(&wants), Rank::new(*arrived, *priority, 3));
            queues.insert(id, Arc::clone(&command), rank, ordered(QueueOrder::OldestFirst));
            match stays {
                true => left.push((id, command, rank)),
                false => prop_assert!(queues.remove(id)),
            }
        }
        let room: HashMap<_, _> = NAMES.iter().map(|name| key(name)).zip(room).collect();
        let keys: Vec<_> = queues.keys().cloned().collect();
        let turns = queues.turns(&keys, &room);
        prop_assert_eq!(turns.fitting.iter().copied().collect::<HashSet<_>>(), naive(&left, room.clone()));
        for name in NAMES.map(key) {
            let units: u128 = left.iter().flat_map(|(_, command, _)| command.requirements())
                .filter(|it| it.key == name).map(|it| u128::from(it.amount)).sum();
            prop_assert_eq!(queues.units(&name), units);
        }
        let lowest = left.iter().min_by_key(|(id, _, rank)| (rank.ranked_us, *id));
        if let Some((id, _, _)) = lowest {
            let unseen = queues.turns(&keys, &HashMap::new()).unseen;
            prop_assert!(unseen.contains(id), "the waiter of the lowest rank is the first of all its queues");
        }
    }
}

#[test]
fn a_newcomer_is_behind_those_that_block_it() {
    use QueueOrder::{NewestFirst, OldestFirst};
    let alone = &[("a", 1)][..];
    let several = &[("a", 1), ("b", 1)][..];
    for (order, waiters, newcomer, priority, expected) in [
        (OldestFirst, vec![(alone, 5)], alone, 5, true),
        (OldestFirst, vec![(several, 5)], alone, 5, true),
        (NewestFirst, vec![(alone, 5)], alone, 5, false),
        (NewestFirst, vec![(alone, 6)], alone, 5, true),
        (NewestFirst, vec![(alone, 4)], several, 5, false),
        (NewestFirst, vec![(alone, 9)], several, 5, true),
        // Waiters over several limits block nobody in such a queue, whatever their priority.
        (NewestFirst, vec![(several, 5)], alone, 5, false),
        (NewestFirst, vec![(several, 9)], alone, 5, false),
        (NewestFirst, vec![(several, 9), (alone, 8), (several, 7)], alone, 5, true),
        (NewestFirst, vec![(several, 9), (several, 5), (alone, 4)], several, 5, false),
    ] {
        let queues = queues(order, &waiters);
        let command = command(newcomer);
        let behind = queues.behind(&command, Rank::new(60_000_000, priority, 1_000_000));
        assert_eq!(behind.is_some(), expected, "{order:?}, {waiters:?}, {newcomer:?}");
    }
}
