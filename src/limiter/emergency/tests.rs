//! The leases of an outage, without a ledger.

use std::time::Duration;

use super::*;
use crate::ledger::AccountId;
use crate::limit::{Amount, LeaseId};
use crate::protocol::{Actual, CompleteOutcome};

const MINUTE: Duration = Duration::from_secs(60);

fn lease(number: u128) -> LeaseId {
    LeaseId::from_ulid(ulid::Ulid(number)).expect("not zero")
}

fn key(name: &str) -> LimitKey {
    LimitKey::parse(name).expect("valid")
}

/// A part of a reserve on a limit that grants 10 units in 60 s; on one whose name begins with `s`, slots.
fn wanted(name: &str, amount: u64) -> WantedLeg {
    let leg = EmergencyLeg {
        key: key(name),
        amount: Amount::new(amount).expect("valid"),
        debt_account: AccountId::from_u128(1),
        is_slot: name.starts_with('s'),
        used: None,
    };
    WantedLeg { leg, units_max: 10, seconds: 60 }
}

fn grants(leases: &mut EmergencyLeases, id: u128, wants: &[(&str, u64)], now: Instant) -> bool {
    let wanted = wants.iter().map(|&(name, amount)| wanted(name, amount)).collect();
    leases.grant(lease(id), wanted, ReserveOutcome::granted(7), now)
}

fn complete(leases: &mut EmergencyLeases, id: u128, used: &[(&str, u64)]) -> EmergencyCompletion {
    let actuals = used.iter().map(|&(name, amount)| Actual { key: key(name), amount }).collect();
    leases.complete(&Complete::new(lease(id), String::new(), actuals).expect("valid"), |_| true)
}

fn settled() -> EmergencyCompletion {
    EmergencyCompletion::Outcome(CompleteOutcome::Settled { overages: Vec::new() })
}

/// The leases of a process whose first call without an answer came at this moment.
fn in_outage(now: Instant) -> EmergencyLeases {
    let mut leases = EmergencyLeases::default();
    leases.failed(now);
    leases
}

/// The amounts that become debt, by lease.
fn debts(leases: &EmergencyLeases, debt: EmergencyDebt, now: Instant) -> Vec<(LeaseId, Vec<u64>)> {
    let unrecorded = leases.unrecorded(debt, now, usize::MAX);
    let amounts = |it: &leases::Unrecorded| it.used.iter().map(|used| used.amount).collect();
    let mut debts: Vec<_> = unrecorded.iter().map(|it| (it.lease, amounts(it))).collect();
    debts.sort_unstable();
    debts
}

#[test]
fn nothing_is_granted_before_a_call_failed() {
    let now = Instant::now();
    assert!(!grants(&mut EmergencyLeases::default(), 1, &[("a", 1)], now));
    assert!(grants(&mut in_outage(now), 1, &[("a", 1)], now));
}

#[test]
fn a_limit_grants_its_share_and_a_lease_all_or_nothing() {
    let now = Instant::now();
    let mut leases = in_outage(now);
    for (id, wants, expected) in [
        (1, &[("a", 6)][..], true),
        (2, &[("a", 5)], false),
        (3, &[("a", 5), ("b", 1)], false),
        (4, &[("b", 10)], true),
        (5, &[("a", 4), ("b", 1)], false),
        (6, &[("a", 4), ("c", 1)], true),
        (7, &[("a", 1)], false),
        (8, &[("d", u64::MAX / 4)], false),
    ] {
        assert_eq!(grants(&mut leases, id, wants, now), expected, "lease {id}");
    }
    assert_eq!(leases.len(), 3);
}

#[test]
fn a_limit_grants_in_the_first_seconds_of_an_outage() {
    let began = Instant::now();
    let mut leases = in_outage(began);
    let last = began + MINUTE - Duration::from_millis(1);
    leases.failed(last);
    assert!(grants(&mut leases, 1, &[("a", 1)], last));
    assert!(!grants(&mut leases, 2, &[("a", 1)], began + MINUTE));
}

#[test]
fn an_answer_begins_no_new_share_within_a_minute() {
    let began = Instant::now();
    for (answered, calm, expected) in [
        (true, MINUTE, true),
        (true, MINUTE - Duration::from_millis(1), false),
        (false, MINUTE, false),
        (false, 60 * MINUTE, false),
    ] {
        let mut leases = in_outage(began);
        assert!(grants(&mut leases, 1, &[("a", 10)], began));
        if answered {
            leases.answered();
        }
        leases.failed(began + calm);
        let granted = grants(&mut leases, 2, &[("a", 10)], began + calm);
        assert_eq!(granted, expected, "answered {answered}, {calm:?} later");
    }
}

#[test]
fn a_complete_returns_slots_and_nothing_else() {
    let now = Instant::now();
    let mut leases = in_outage(now);
    assert!(grants(&mut leases, 1, &[("a", 5), ("slots", 10)], now));
    assert!(!grants(&mut leases, 2, &[("slots", 1)], now));
    assert_eq!(complete(&mut leases, 1, &[("a", 0)]), settled());
    assert!(grants(&mut leases, 3, &[("slots", 10)], now));
    assert!(!grants(&mut leases, 4, &[("a", 6)], now), "the unused units are not granted again");
    let nothing = EmergencyCompletion::Outcome(CompleteOutcome::NothingToDo);
    assert_eq!(complete(&mut leases, 1, &[]), nothing);
    assert!(!grants(&mut leases, 5, &[("slots", 1)], now), "a slot is returned once");
}

#[test]
fn slots_that_are_still_taken_count_in_the_next_outage() {
    let began = Instant::now();
    let mut leases = in_outage(began);
    assert!(grants(&mut leases, 1, &[("slots", 4)], began));
    assert!(grants(&mut leases, 2, &[("a", 10), ("slots", 6)], began));
    complete(&mut leases, 1, &[]);
    leases.answered();
    let next = began + MINUTE;
    leases.failed(next);
    assert!(!grants(&mut leases, 3, &[("slots", 5)], next));
    assert!(grants(&mut leases, 4, &[("a", 10), ("slots", 4)], next));
    complete(&mut leases, 2, &[]);
    assert!(grants(&mut leases, 5, &[("slots", 6)], next));
}

#[test]
fn usage_above_the_reservation_uses_the_share_up() {
    let now = Instant::now();
    let mut leases = in_outage(now);
    assert!(grants(&mut leases, 1, &[("a", 2)], now));
    complete(&mut leases, 1, &[("a", 9)]);
    assert!(!grants(&mut leases, 2, &[("a", 2)], now));
    assert!(grants(&mut leases, 3, &[("a", 1)], now));
    complete(&mut leases, 3, &[("a", Amount::MAX.get())]);
    assert!(!grants(&mut leases, 4, &[("a", 1)], now));
}

#[test]
fn a_complete_is_checked_as_one_of_the_ledger() {
    let now = Instant::now();
    let mut leases = in_outage(now);
    assert!(grants(&mut leases, 1, &[("a", 2), ("b", 2)], now));
    assert_eq!(complete(&mut leases, 2, &[]), EmergencyCompletion::NotEmergency);
    let outside = EmergencyCompletion::Outcome(CompleteOutcome::NotInLease { index: 1 });
    assert_eq!(complete(&mut leases, 1, &[("a", 1), ("c", 1)]), outside);
    let command = Complete::new(lease(1), String::new(), Vec::new()).expect("valid");
    assert_eq!(leases.complete(&command, |key| key.as_str() == "a"), EmergencyCompletion::Forbidden);
    assert_eq!(complete(&mut leases, 1, &[("a", 1)]), settled(), "what was refused changed nothing");
}

#[test]
fn a_repeated_reserve_gets_its_first_answer() {
    let now = Instant::now();
    let mut leases = in_outage(now);
    assert!(grants(&mut leases, 1, &[("a", 2), ("b", 2)], now));
    let reserve = |id, wants: &[(&str, u64)]| {
        let requirement = |&(name, amount): &(&str, u64)| Requirement {
            key: key(name),
            amount: Amount::new(amount).expect("valid"),
        };
        Reserve::new(lease(id), String::new(), wants.iter().map(requirement).collect()).expect("valid")
    };
    let granted = ReserveOutcome::granted(7);
    let same = reserve(1, &[("b", 2), ("a", 2)]);
    assert_eq!(leases.repeated(&same), Some(granted));
    assert_eq!(leases.reserve(lease(1)), Some(same.clone()));
    for other in [&[("a", 2)][..], &[("a", 2), ("b", 1)], &[("a", 2), ("c", 2)]] {
        assert_eq!(leases.repeated(&reserve(1, other)), Some(ReserveOutcome::LeaseConflict), "{other:?}");
    }
    assert_eq!(leases.repeated(&reserve(2, &[("a", 2)])), None);
    complete(&mut leases, 1, &[]);
    assert_eq!(leases.repeated(&same), Some(ReserveOutcome::LeaseSettled));
}

#[test]
fn a_lease_becomes_debt_when_it_is_completed_or_its_time_has_passed() {
    let now = Instant::now();
    let mut leases = in_outage(now);
    assert!(grants(&mut leases, 1, &[("a", 2), ("slots", 2)], now));
    assert!(grants(&mut leases, 2, &[("b", 3)], now));
    assert_eq!(debts(&leases, EmergencyDebt::Due, now), []);
    complete(&mut leases, 1, &[("a", 5), ("slots", 2)]);
    assert_eq!(debts(&leases, EmergencyDebt::Due, now), [(lease(1), vec![5, 0])]);
    let both = [(lease(1), vec![5, 0]), (lease(2), vec![3])];
    assert_eq!(debts(&leases, EmergencyDebt::All, now), both);
    assert_eq!(debts(&leases, EmergencyDebt::Due, now + MINUTE), both);
    assert_eq!(leases.completed_or_forget(lease(2)), None);
    assert_eq!(leases.completed_or_forget(lease(1)).map(|it| it.actuals().len()), Some(2));
    assert!(leases.forget(lease(1)) && !leases.forget(lease(1)) && leases.len() == 0);
}

#[test]
fn leases_and_reservations_are_bounded() {
    let now = Instant::now();
    let mut leases = in_outage(now);
    let roomy = |name: &str| WantedLeg { units_max: u64::MAX, ..wanted(name, 1) };
    let granted = ReserveOutcome::LeaseConflict;
    for id in 1..=65_536 {
        assert!(leases.grant(lease(id), vec![roomy("a")], granted.clone(), now), "lease {id}");
    }
    assert!(!leases.grant(lease(65_537), vec![roomy("a")], granted.clone(), now));
    leases.forget(lease(1));
    assert!(leases.grant(lease(65_537), vec![roomy("a")], granted.clone(), now));

    let mut leases = in_outage(now);
    let many = || (0..32).map(|number| roomy(&format!("k{number}"))).collect::<Vec<_>>();
    let fits = (1..).take_while(|&id| leases.grant(lease(id), many(), granted.clone(), now)).count();
    assert_eq!(fits, 8_192, "of 32 limits each");
}
