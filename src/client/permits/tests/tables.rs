//! One row for each call: when, what, and what comes of it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::options::{PermitOptions, QueueOrder};
use super::super::pause::Denied;
use super::super::queue::{Joined, Next, Number, Queue};
use super::wanted;

const OLDEST_FIRST: PermitOptions = PermitOptions { queue_permits_max: 10, order: QueueOrder::OldestFirst };
const NEWEST_FIRST: PermitOptions = PermitOptions { queue_permits_max: 10, order: QueueOrder::NewestFirst };

struct Table {
    start: Instant,
    queue: Queue<&'static str>,
    numbers: HashMap<&'static str, Number>,
    given_back: u64,
}

fn check(options: PermitOptions, rows: &[(u64, &'static str, &str)]) {
    let (start, queue) = (Instant::now(), Queue::new(options));
    let mut table = Table { start, queue, numbers: HashMap::new(), given_back: 0 };
    for (row, (at_ms, call, expected)) in rows.iter().enumerate() {
        let told = table.call(*at_ms, call);
        assert_eq!(told, *expected, "row {row}: {at_ms} ms, {call}");
    }
}

impl Table {
    fn call(&mut self, at_ms: u64, call: &'static str) -> String {
        let words: Vec<&'static str> = call.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().expect("a number");
        let moment = |ms| self.start + Duration::from_millis(ms);
        match words[..] {
            ["pass", permits] => self.queue.may_pass(wanted(number(permits))).to_string(),
            ["join", name, permits] => self.join(name, number(permits)),
            ["next"] => self.next(moment(at_ms)),
            ["give_back"] => {
                self.given_back += 1;
                String::new()
            }
            ["take", name] => self.queue.take(self.numbers[name]).unwrap_or_default().to_owned(),
            ["deny", name, hint_ms, ref expected_ms @ ..] => {
                let denied = Denied {
                    at: moment(at_ms),
                    given_back_before: self.given_back,
                    hint_at: moment(number(hint_ms)),
                    expected_at: expected_ms.first().map(|ms| moment(number(ms))),
                };
                self.queue.denied(self.numbers[name], denied);
                String::new()
            }
            ["permits"] => self.queue.permits().to_string(),
            ["shut_down"] => self.queue.shut_down().join(" "),
            _ => panic!("no call: {call}"),
        }
    }

    fn join(&mut self, name: &'static str, permits: u64) -> String {
        match self.queue.join(wanted(permits), None, name) {
            Joined::Waits { number, evicted, needs_attendant } => {
                self.numbers.insert(name, number);
                let evicted = evicted.iter().map(|name| format!("{name} goes, ")).collect::<String>();
                let attended = if needs_attendant { ", to be attended" } else { "" };
                format!("{evicted}{name} waits{attended}")
            }
            Joined::NoPlace => "no place".to_owned(),
            Joined::ShutDown => "shut down".to_owned(),
        }
    }

    fn next(&mut self, now: Instant) -> String {
        match self.queue.next(now, self.given_back) {
            Next::Ask { number, wanted } => {
                let name = self.numbers.iter().find(|(_, of)| **of == number).expect("it waits").0;
                format!("ask {} for {name}", wanted.permits())
            }
            Next::WaitUntil(moment) => format!("until {}", (moment - self.start).as_millis()),
            Next::Over => "over".to_owned(),
        }
    }
}

#[test]
fn the_oldest_are_asked_for_first() {
    check(
        OLDEST_FIRST,
        &[
            (0, "join a 3", "a waits, to be attended"),
            (0, "join b 2", "b waits"),
            (0, "next", "ask 3 for a"),
            (1, "take a", "a"),
            (1, "next", "ask 2 for b"),
            (1, "join c 1", "c waits"),
            (1, "permits", "3"),
            (2, "take b", "b"),
            (2, "next", "ask 1 for c"),
            (3, "take c", "c"),
            (3, "next", "over"),
            (4, "join d 1", "d waits, to be attended"),
        ],
    );
}

#[test]
fn the_newest_are_asked_for_first() {
    check(
        NEWEST_FIRST,
        &[
            (0, "join a 3", "a waits, to be attended"),
            (0, "join b 2", "b waits"),
            (0, "next", "ask 2 for b"),
            (0, "join c 1", "c waits"),
            (1, "next", "ask 1 for c"),
            (1, "take c", "c"),
            (1, "next", "ask 2 for b"),
            (2, "take b", "b"),
            (2, "next", "ask 3 for a"),
            (3, "take a", "a"),
            (3, "next", "over"),
        ],
    );
}

#[test]
fn who_was_denied_waits_and_those_behind_wait_with_it() {
    check(
        OLDEST_FIRST,
        &[
            (0, "join a 3", "a waits, to be attended"),
            (0, "join b 1", "b waits"),
            (10, "deny a 110", ""),
            (10, "next", "until 110"),
            (109, "next", "until 110"),
            (110, "next", "ask 3 for a"),
            (115, "deny a 300 200", ""),
            (115, "next", "until 200"),
            (200, "next", "ask 3 for a"),
            (201, "deny a 500", ""),
            (201, "next", "until 211"),
            (211, "take a", "a"),
            (211, "next", "ask 1 for b"),
        ],
    );
}

#[test]
fn what_is_given_back_ends_a_pause_also_for_those_who_come_up_later() {
    check(
        OLDEST_FIRST,
        &[
            (0, "join a 3", "a waits, to be attended"),
            (0, "join b 1", "b waits"),
            (0, "deny a 1000", ""),
            (0, "deny b 1000", ""),
            (1, "next", "until 1000"),
            (2, "give_back", ""),
            (2, "next", "ask 3 for a"),
            (3, "deny a 1000", ""),
            (3, "next", "until 1000"),
            (4, "take a", "a"),
            (4, "next", "ask 1 for b"),
            (5, "deny b 900", ""),
            (5, "next", "until 900"),
        ],
    );
}

#[test]
fn newcomers_pass_where_they_may() {
    check(
        OLDEST_FIRST,
        &[
            (0, "pass 5", "true"),
            (0, "join nothing 0", "nothing waits, to be attended"),
            (0, "pass 5", "true"),
            (0, "join a 1", "a waits"),
            (0, "pass 1", "false"),
            (0, "pass 0", "true"),
            (0, "take a", "a"),
            (0, "pass 1", "true"),
        ],
    );
    check(NEWEST_FIRST, &[(0, "join a 1", "a waits, to be attended"), (0, "pass 1", "true")]);
}

#[test]
fn a_full_queue_of_the_oldest_lets_nobody_in() {
    check(
        OLDEST_FIRST,
        &[
            (0, "join a 11", "no place"),
            (0, "join a 6", "a waits, to be attended"),
            (0, "join b 5", "no place"),
            (0, "join c 4", "c waits"),
            (0, "join d 1", "no place"),
            (0, "join e 0", "e waits"),
            (0, "permits", "10"),
            (0, "take c", "c"),
            (0, "take c", ""),
            (0, "join f 4", "f waits"),
        ],
    );
}

#[test]
fn a_full_queue_of_the_newest_lets_its_oldest_go() {
    check(
        NEWEST_FIRST,
        &[
            (0, "join a 11", "no place"),
            (0, "join a 4", "a waits, to be attended"),
            (0, "join b 0", "b waits"),
            (0, "join c 6", "c waits"),
            (0, "join d 1", "a goes, d waits"),
            (0, "permits", "7"),
            (0, "join e 11", "no place"),
            (0, "permits", "7"),
            (0, "join f 4", "b goes, c goes, f waits"),
            (0, "permits", "5"),
            (0, "take c", ""),
            (0, "join g 10", "d goes, f goes, g waits"),
            (0, "next", "ask 10 for g"),
        ],
    );
}

#[test]
fn after_the_end_nobody_waits() {
    check(
        OLDEST_FIRST,
        &[
            (0, "join a 3", "a waits, to be attended"),
            (0, "join b 0", "b waits"),
            (0, "shut_down", "a b"),
            (0, "permits", "0"),
            (0, "next", "over"),
            (0, "join c 1", "shut down"),
            (0, "take a", ""),
            (0, "deny a 100", ""),
            (0, "next", "over"),
            (0, "shut_down", ""),
        ],
    );
    check(
        NEWEST_FIRST,
        &[(0, "join a 3", "a waits, to be attended"), (0, "join b 0", "b waits"), (0, "shut_down", "b a")],
    );
}
