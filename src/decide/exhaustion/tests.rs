//! The decisions of exhaustion: which callers are admitted or denied, and until when.

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
    assert!(is_denied(exhaustion.ask(1, 1)), "all nine units below the refused amount are admitted");
}

#[test]
fn a_release_admits_a_caller_even_if_an_older_refusal_arrives_after_it() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    let probe = ticket(exhaustion.ask(BOUND, 1));
    exhaustion.released(1);
    exhaustion.refused(BOUND + MS, probe);
    ticket(exhaustion.ask(BOUND + MS, 1));
    assert!(is_denied(exhaustion.ask(BOUND + MS, 1)));
}

#[test]
fn an_expiry_admits_only_the_units_that_it_freed() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    let probe = ticket(exhaustion.ask(BOUND, 3));
    exhaustion.granted(BOUND, probe, Some(BOUND + 50 * MS));
    // The grant of the probe admits twice its units, but the limit has no more room.
    let second = ticket(exhaustion.ask(BOUND + MS, 6));
    exhaustion.refused(BOUND + 2 * MS, second);
    assert!(is_denied(exhaustion.ask(BOUND + 3 * MS, 1)));
    // The refusal took back the six units that the grant had assumed, so only the expiry of the probe's three counts.
    let later = BOUND + 60 * MS;
    let admitted = (0..100).filter(|_| matches!(exhaustion.ask(later, 1), Advice::Ask(_))).count();
    assert_eq!(admitted, 3);
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
    assert_eq!(until(exhaustion.ask(1, 2)), None, "only one promised unit is left, not two");
    assert_eq!(until(exhaustion.ask(1, 1)), Some(12 * MS));
    ticket(exhaustion.ask(10 * MS, 1));
    assert!(is_denied(exhaustion.ask(10 * MS, 1)));
}

#[test]
fn each_round_of_grants_doubles_the_admitted_callers() {
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
fn a_refusal_before_a_late_expiry_hints_at_the_next_retry() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    for at_ns in [10 * MS, 20 * MS] {
        exhaustion.expect(ExpectedRelease { at_ns, units: 1 });
    }
    exhaustion.has_expiries = true;
    let late = ticket(exhaustion.ask(10 * MS, 1));
    assert_eq!(exhaustion.refused(11 * MS, late), Some(11 * MS + RETRY_NS));
    // The late expiry stays promised to the refused caller, so the next caller is promised the following expiry.
    let next = exhaustion.ask(11 * MS, 1);
    assert_eq!(next, Advice::Wait { until_ns: Some(20 * MS + LAG_STEP_NS) });
    ticket(exhaustion.ask(11 * MS + RETRY_NS, 1));
}

#[test]
fn a_grant_for_a_known_expiry_admits_no_further_caller() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    exhaustion.lag_ns = LAG_MAX_NS;
    exhaustion.expect(ExpectedRelease { at_ns: BOUND, units: 1 });
    let expired = ticket(exhaustion.ask(BOUND, 1));
    exhaustion.granted(BOUND, expired, None);
    assert!(is_denied(exhaustion.ask(BOUND + MS, 1)), "the expired unit is taken");
    assert!(is_denied(exhaustion.ask(BOUND + 2 * LAG_MAX_NS - MS, 1)), "and the expiry is not counted twice");
}

#[test]
fn an_expiry_that_the_ledger_makes_late_is_not_lost() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    (exhaustion.lag_ns, exhaustion.opening, exhaustion.has_expiries) = (LAG_MAX_NS, true, true);
    exhaustion.expect(ExpectedRelease { at_ns: BOUND, units: 1 });
    let too_early = ticket(exhaustion.ask(BOUND, 1));
    assert_eq!(exhaustion.refused(BOUND + MS, too_early), Some(BOUND + MS + RETRY_NS));
    assert!(is_denied(exhaustion.ask(BOUND + LAG_MAX_NS - MS, 1)));
    let in_time = ticket(exhaustion.ask(BOUND + LAG_MAX_NS, 1));
    exhaustion.unused(in_time);
    ticket(exhaustion.ask(BOUND + LAG_MAX_NS, 1));
}

#[test]
fn the_next_caller_takes_over_an_unused_probe() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 1);
    let probe = ticket(exhaustion.ask(BOUND, 1));
    exhaustion.unused(probe);
    let probe = ticket(exhaustion.ask(BOUND + 1, 1));
    exhaustion.refused(BOUND + 2, probe);
    // The refusal of a bypassing caller does not delay the next probe.
    let bypass = exhaustion.bypass(BOUND + 3, 100);
    exhaustion.refused(2 * BOUND, bypass);
    ticket(exhaustion.ask(2 * BOUND + 2, 1));
}

#[test]
fn a_refusal_without_a_known_expiry_has_no_hint() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 10);
    let below_the_refused = ticket(exhaustion.ask(1, 9));
    assert_eq!(exhaustion.refused(2, below_the_refused), None);
}

#[test]
fn the_units_of_a_bypassing_caller_count() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 3);
    let tickets = [2, 1].map(|units| exhaustion.bypass(1, units));
    assert_eq!(
        tickets.map(|ticket| ticket.reason),
        [Reason::Free, Reason::Bypass],
        "the first takes both units below the refused amount"
    );
    let [granted, refused] = tickets;
    exhaustion.granted(1, granted, Some(50 * MS));
    exhaustion.refused(2, refused);
    assert_eq!(
        exhaustion.ask(3, 2),
        Advice::Wait { until_ns: None },
        "one of the two expiring units was promised to the refused caller"
    );
    assert!(is_denied(exhaustion.ask(50 * MS - 1, 1)));
    ticket(exhaustion.ask(50 * MS, 2));
}

#[test]
fn a_late_expiry_is_retried_up_to_a_maximum() {
    let mut exhaustion = Exhaustion::exhausted(0, u64::MAX / 4, 1);
    exhaustion.expect(ExpectedRelease { at_ns: MS, units: 1 });
    let mut attempts = 0;
    for now_ns in (MS..).step_by(MS as usize).take(1_000) {
        if let Advice::Ask(ticket) = exhaustion.ask(now_ns, 1) {
            attempts += 1;
            exhaustion.refused(now_ns, ticket);
        }
    }
    assert_eq!(attempts, 1 + RETRIES_MAX);
}

#[test]
fn a_caller_that_was_told_a_time_is_admitted_at_it_however_late_expiries_are() {
    let mut exhaustion = Exhaustion::exhausted(0, BOUND, 10);
    exhaustion.expect_caller(60 * MS, 1);
    exhaustion.expect_caller(50 * MS, 10);
    // A refusal of units that were thought to be free is taken for a late expiry.
    let refused = ticket(exhaustion.ask(1, 9));
    exhaustion.refused(2, refused);
    assert!(exhaustion.lag_ns > 0);
    assert!(is_denied(exhaustion.ask(49 * MS, 10)));
    ticket(exhaustion.ask(50 * MS, 10));
}
