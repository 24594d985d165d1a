//! Tables of calls to the queue: the time in milliseconds, the call, and its expected result.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::backoff::DeniedAttempt;
use super::super::options::{PermitOptions, QueueOrder};
use super::super::queue::{EnqueueResult, NextStep, Queue, WaiterId};
use super::count;

const OLDEST_FIRST: PermitOptions = PermitOptions { queue_permits_max: 10, order: QueueOrder::OldestFirst };
const NEWEST_FIRST: PermitOptions = PermitOptions { queue_permits_max: 10, order: QueueOrder::NewestFirst };

struct Table {
    start: Instant,
    queue: Queue<&'static str>,
    ids: HashMap<&'static str, WaiterId>,
    releases: u64,
}

fn check(options: PermitOptions, rows: &[(u64, &'static str, &str)]) {
    let (start, queue) = (Instant::now(), Queue::new(options));
    let mut table = Table { start, queue, ids: HashMap::new(), releases: 0 };
    for (row, (at_ms, call, expected)) in rows.iter().enumerate() {
        let result = table.call(*at_ms, call);
        assert_eq!(result, *expected, "row {row}: {at_ms} ms, {call}");
    }
}

impl Table {
    fn call(&mut self, at_ms: u64, call: &'static str) -> String {
        let words: Vec<&'static str> = call.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().expect("a number");
        let moment = |ms| self.start + Duration::from_millis(ms);
        match words[..] {
            ["may_bypass", permits] => self.queue.may_bypass(count(number(permits))).to_string(),
            ["enqueue", name, permits] => self.enqueue(name, number(permits)),
            ["next_step"] => self.next_step(moment(at_ms)),
            ["release"] => {
                self.releases += 1;
                String::new()
            }
            ["remove", name] => self.queue.remove(self.ids[name]).unwrap_or_default().to_owned(),
            ["deny", name, hint_ms, ref expected_ms @ ..] => {
                let denied = DeniedAttempt {
                    at: moment(at_ms),
                    releases_before: self.releases,
                    hint_at: moment(number(hint_ms)),
                    expected_at: expected_ms.first().map(|ms| moment(number(ms))),
                };
                self.queue.back_off(self.ids[name], denied);
                String::new()
            }
            ["queued_permits"] => self.queue.queued_permits().to_string(),
            ["shut_down"] => self.queue.shut_down().join(" "),
            _ => panic!("unknown call: {call}"),
        }
    }

    fn enqueue(&mut self, name: &'static str, permits: u64) -> String {
        match self.queue.enqueue(count(permits), None, name) {
            EnqueueResult::Queued { id, evicted, needs_worker } => {
                self.ids.insert(name, id);
                let evicted = evicted.iter().map(|name| format!("{name} evicted, ")).collect::<String>();
                let worker = if needs_worker { ", needs a worker" } else { "" };
                format!("{evicted}{name} queued{worker}")
            }
            EnqueueResult::Full => "full".to_owned(),
            EnqueueResult::ShutDown => "shut down".to_owned(),
        }
    }

    fn next_step(&mut self, now: Instant) -> String {
        match self.queue.next_step(now, self.releases) {
            NextStep::Ask { id, count } => {
                let name = self.ids.iter().find(|(_, of)| **of == id).expect("it is queued").0;
                format!("ask {} for {name}", count.get())
            }
            NextStep::WaitUntil(moment) => format!("wait until {}", (moment - self.start).as_millis()),
            NextStep::End => "end".to_owned(),
        }
    }
}

#[test]
fn the_oldest_waiter_is_next() {
    check(
        OLDEST_FIRST,
        &[
            (0, "enqueue a 3", "a queued, needs a worker"),
            (0, "enqueue b 2", "b queued"),
            (0, "next_step", "ask 3 for a"),
            (1, "remove a", "a"),
            (1, "next_step", "ask 2 for b"),
            (1, "enqueue c 1", "c queued"),
            (1, "queued_permits", "3"),
            (2, "remove b", "b"),
            (2, "next_step", "ask 1 for c"),
            (3, "remove c", "c"),
            (3, "next_step", "end"),
            (4, "enqueue d 1", "d queued, needs a worker"),
        ],
    );
}

#[test]
fn the_newest_waiter_is_next() {
    check(
        NEWEST_FIRST,
        &[
            (0, "enqueue a 3", "a queued, needs a worker"),
            (0, "enqueue b 2", "b queued"),
            (0, "next_step", "ask 2 for b"),
            (0, "enqueue c 1", "c queued"),
            (1, "next_step", "ask 1 for c"),
            (1, "remove c", "c"),
            (1, "next_step", "ask 2 for b"),
            (2, "remove b", "b"),
            (2, "next_step", "ask 3 for a"),
            (3, "remove a", "a"),
            (3, "next_step", "end"),
        ],
    );
}

#[test]
fn a_denied_waiter_backs_off_and_blocks_the_waiters_behind_it() {
    check(
        OLDEST_FIRST,
        &[
            (0, "enqueue a 3", "a queued, needs a worker"),
            (0, "enqueue b 1", "b queued"),
            (10, "deny a 110", ""),
            (10, "next_step", "wait until 110"),
            (109, "next_step", "wait until 110"),
            (110, "next_step", "ask 3 for a"),
            (115, "deny a 300 200", ""),
            (115, "next_step", "wait until 200"),
            (200, "next_step", "ask 3 for a"),
            (201, "deny a 500", ""),
            (201, "next_step", "wait until 211"),
            (211, "remove a", "a"),
            (211, "next_step", "ask 1 for b"),
        ],
    );
}

#[test]
fn a_release_ends_the_backoff_of_every_waiter() {
    check(
        OLDEST_FIRST,
        &[
            (0, "enqueue a 3", "a queued, needs a worker"),
            (0, "enqueue b 1", "b queued"),
            (0, "deny a 1000", ""),
            (0, "deny b 1000", ""),
            (1, "next_step", "wait until 1000"),
            (2, "release", ""),
            (2, "next_step", "ask 3 for a"),
            (3, "deny a 1000", ""),
            (3, "next_step", "wait until 1000"),
            (4, "remove a", "a"),
            (4, "next_step", "ask 1 for b"),
            (5, "deny b 900", ""),
            (5, "next_step", "wait until 900"),
        ],
    );
}

#[test]
fn new_callers_bypass_the_queue_by_its_order() {
    check(
        OLDEST_FIRST,
        &[
            (0, "may_bypass 5", "true"),
            (0, "enqueue zero 0", "zero queued, needs a worker"),
            (0, "may_bypass 5", "true"),
            (0, "enqueue a 1", "a queued"),
            (0, "may_bypass 1", "false"),
            (0, "may_bypass 0", "true"),
            (0, "remove a", "a"),
            (0, "may_bypass 1", "true"),
        ],
    );
    check(NEWEST_FIRST, &[(0, "enqueue a 1", "a queued, needs a worker"), (0, "may_bypass 1", "true")]);
}

#[test]
fn a_full_oldest_first_queue_takes_no_waiter() {
    check(
        OLDEST_FIRST,
        &[
            (0, "enqueue a 11", "full"),
            (0, "enqueue a 6", "a queued, needs a worker"),
            (0, "enqueue b 5", "full"),
            (0, "enqueue c 4", "c queued"),
            (0, "enqueue d 1", "full"),
            (0, "enqueue e 0", "e queued"),
            (0, "queued_permits", "10"),
            (0, "remove c", "c"),
            (0, "remove c", ""),
            (0, "enqueue f 4", "f queued"),
        ],
    );
}

#[test]
fn a_full_newest_first_queue_evicts_its_oldest_waiters() {
    check(
        NEWEST_FIRST,
        &[
            (0, "enqueue a 11", "full"),
            (0, "enqueue a 4", "a queued, needs a worker"),
            (0, "enqueue b 0", "b queued"),
            (0, "enqueue c 6", "c queued"),
            (0, "enqueue d 1", "a evicted, d queued"),
            (0, "queued_permits", "7"),
            (0, "enqueue e 11", "full"),
            (0, "queued_permits", "7"),
            (0, "enqueue f 4", "b evicted, c evicted, f queued"),
            (0, "queued_permits", "5"),
            (0, "remove c", ""),
            (0, "enqueue g 10", "d evicted, f evicted, g queued"),
            (0, "next_step", "ask 10 for g"),
        ],
    );
}

#[test]
fn a_queue_that_is_shut_down_takes_no_waiter() {
    check(
        OLDEST_FIRST,
        &[
            (0, "enqueue a 3", "a queued, needs a worker"),
            (0, "enqueue b 0", "b queued"),
            (0, "shut_down", "a b"),
            (0, "queued_permits", "0"),
            (0, "next_step", "end"),
            (0, "enqueue c 1", "shut down"),
            (0, "remove a", ""),
            (0, "deny a 100", ""),
            (0, "next_step", "end"),
            (0, "shut_down", ""),
        ],
    );
    check(
        NEWEST_FIRST,
        &[
            (0, "enqueue a 3", "a queued, needs a worker"),
            (0, "enqueue b 0", "b queued"),
            (0, "shut_down", "b a"),
        ],
    );
}
