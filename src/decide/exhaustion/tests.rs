//! Exhaustion, step by step.

use super::*;

const MS: u64 = 1_000_000;
const BOUND: u64 = 100 * MS;

fn ticket(advice: Advice) -> Ticket {
    match advice {
        Advice::Ask(ticket) => ticket,
        Advice::Wait { until_ns } => panic!("denied until {until_ns:?}"),
    }
}

fn is_denied(advice: Advice) -> bool {
    matches!(advice, Advice::Wait { .. })
}

#[test]
fn an_exhausted_limit_denies_for_the_bound_and_then_admits_one_probe() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    assert!(is_denied(exhaustion.ask(1, 1)));
    assert!(is_denied(exhaustion.ask(BOUND - 1, 1)));
    let probe = ticket(exhaustion.ask(BOUND, 1));
    assert!(is_denied(exhaustion.ask(BOUND, 1)), "one probe at a time");
    exhaustion.refused(BOUND + MS, probe);
    assert!(is_denied(exhaustion.ask(2 * BOUND, 1)), "the bound begins again");
    ticket(exhaustion.ask(2 * BOUND + MS, 1));
}

#[test]
fn an_amount_below_the_refused_one_is_admitted() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 10);
    assert!(is_denied(exhaustion.ask(1, 10)));
    ticket(exhaustion.ask(1, 9));
    assert!(is_denied(exhaustion.ask(1, 1)), "nine of at most nine are taken");
}

#[test]
fn a_release_admits_at_once_even_if_an_older_refusal_arrives_later() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    let probe = ticket(exhaustion.ask(BOUND, 1));
    exhaustion.released(1);
    exhaustion.refused(BOUND + MS, probe);
    ticket(exhaustion.ask(BOUND + MS, 1));
    assert!(is_denied(exhaustion.ask(BOUND + MS, 1)));
}

#[test]
fn an_expiry_admits_what_it_freed_and_no_more() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    let probe = ticket(exhaustion.ask(BOUND, 3));
    exhaustion.granted(BOUND, probe, Some(BOUND + 50 * MS));
    // The probe opened twice its size, and there was no more room.
    let second = ticket(exhaustion.ask(BOUND + MS, 6));
    exhaustion.refused(BOUND + 2 * MS, second);
    assert!(is_denied(exhaustion.ask(BOUND + 3 * MS, 1)));
    // The six that the opening assumed are not there.
    let later = BOUND + 60 * MS;
    let through = (0..100).filter(|_| matches!(exhaustion.ask(later, 1), Advice::Ask(_))).count();
    assert_eq!(through, 3);
}

#[test]
fn expiries_are_promised_in_order() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    for n in 0..3 {
        exhaustion.expect(ExpectedRelease { at_ns: (10 + n) * MS, units: 1 });
    }
    let until = |advice| match advice {
        Advice::Wait { until_ns } => until_ns,
        Advice::Ask(ticket) => panic!("admitted: {ticket:?}"),
    };
    assert_eq!(until(exhaustion.ask(1, 1)), Some(10 * MS));
    assert_eq!(until(exhaustion.ask(1, 1)), Some(11 * MS));
    assert_eq!(until(exhaustion.ask(1, 2)), None, "one unit is left, and two are wanted");
    assert_eq!(until(exhaustion.ask(1, 1)), Some(12 * MS));
    ticket(exhaustion.ask(10 * MS, 1));
    assert!(is_denied(exhaustion.ask(10 * MS, 1)));
}

#[test]
fn a_limit_with_room_again_opens_quickly() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    let mut sent = vec![ticket(exhaustion.ask(BOUND, 1))];
    for _round in 0..10 {
        for ticket in std::mem::take(&mut sent) {
            exhaustion.granted(BOUND, ticket, None);
        }
        while let Advice::Ask(ticket) = exhaustion.ask(BOUND + MS, 1) {
            sent.push(ticket);
        }
    }
    assert_eq!(sent.len(), 1 << 10);
}

#[test]
fn a_refusal_of_a_late_expiry_hints_at_the_next_try() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    for at_ns in [10 * MS, 20 * MS] {
        exhaustion.expect(ExpectedRelease { at_ns, units: 1 });
    }
    exhaustion.has_expiries = true;
    let late = ticket(exhaustion.ask(10 * MS, 1));
    assert_eq!(exhaustion.refused(11 * MS, late), Some(11 * MS + RETRY_NS));
    // That expiry is promised to it: the next caller is promised the following one.
    let next = exhaustion.ask(11 * MS, 1);
    assert_eq!(next, Advice::Wait { until_ns: Some(20 * MS + LAG_STEP_NS) });
    ticket(exhaustion.ask(11 * MS + RETRY_NS, 1));
}

#[test]
fn a_grant_for_a_due_expiry_opens_nothing_more() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    exhaustion.lag_ns = LAG_MAX_NS;
    exhaustion.expect(ExpectedRelease { at_ns: BOUND, units: 1 });
    let due = ticket(exhaustion.ask(BOUND, 1));
    exhaustion.granted(BOUND, due, None);
    assert!(is_denied(exhaustion.ask(BOUND + MS, 1)), "the due expiry is used");
    assert!(is_denied(exhaustion.ask(BOUND + 2 * LAG_MAX_NS - MS, 1)), "and is not counted twice");
}

#[test]
fn a_due_expiry_that_was_not_made_yet_is_not_lost() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    (exhaustion.lag_ns, exhaustion.opening, exhaustion.has_expiries) = (LAG_MAX_NS, true, true);
    exhaustion.expect(ExpectedRelease { at_ns: BOUND, units: 1 });
    let due = ticket(exhaustion.ask(BOUND, 1));
    assert_eq!(exhaustion.refused(BOUND + MS, due), Some(BOUND + MS + RETRY_NS));
    assert!(is_denied(exhaustion.ask(BOUND + LAG_MAX_NS - MS, 1)));
    let there = ticket(exhaustion.ask(BOUND + LAG_MAX_NS, 1));
    exhaustion.unused(there);
    ticket(exhaustion.ask(BOUND + LAG_MAX_NS, 1));
}

#[test]
fn an_unused_probe_is_left_to_the_next_caller() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    let probe = ticket(exhaustion.ask(BOUND, 1));
    exhaustion.unused(probe);
    let probe = ticket(exhaustion.ask(BOUND + 1, 1));
    exhaustion.refused(BOUND + 2, probe);
    // The refusal of a bypassing caller does not delay the next probe.
    let must = exhaustion.bypass(BOUND + 3, 100);
    exhaustion.refused(2 * BOUND, must);
    ticket(exhaustion.ask(2 * BOUND + 2, 1));
}

#[test]
fn nothing_without_a_known_expiry_is_promised() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 10);
    let guessed = ticket(exhaustion.ask(1, 9));
    assert_eq!(exhaustion.refused(2, guessed), None);
}

#[test]
fn a_bypassing_caller_is_counted_too() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 3);
    let passes = [2, 1].map(|units| exhaustion.bypass(1, units));
    assert_eq!(
        passes.map(|ticket| ticket.reason),
        [Reason::Free, Reason::Bypass],
        "two of at most two are taken"
    );
    let [granted, refused] = passes;
    exhaustion.granted(1, granted, Some(50 * MS));
    exhaustion.refused(2, refused);
    assert_eq!(exhaustion.ask(3, 2), Advice::Wait { until_ns: None }, "one of the two was promised");
    assert!(is_denied(exhaustion.ask(50 * MS - 1, 1)));
    ticket(exhaustion.ask(50 * MS, 2));
}

#[test]
fn a_late_expiry_is_tried_again_a_few_times() {
    let mut exhaustion = Exhaustion::exhausted(0, u64::MAX / 4, 1);
    exhaustion.expect(ExpectedRelease { at_ns: MS, units: 1 });
    let mut tries = 0;
    for now_ns in (MS..).step_by(MS as usize).take(1_000) {
        if let Advice::Ask(ticket) = exhaustion.ask(now_ns, 1) {
            tries += 1;
            exhaustion.refused(now_ns, ticket);
        }
    }
    assert_eq!(tries, 1 + RETRIES_MAX);
}
