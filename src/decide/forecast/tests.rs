//! Tables of promises. `tests/models/exact_hints.rs` holds every kind against the ledger.

use super::*;
use crate::decide::Limit;
use crate::decide::ids::Ids;
use crate::ledger::{Account, PendingDebit};
use crate::limit::{Capacity, Definition, Kind, KindName, LimitKey, LimitState, Overage, Status};
use crate::time::NS_PER_SECOND;

const NOW_NS: u64 = 1_000 * NS_PER_SECOND;

/// A moment so many seconds from now.
fn after(seconds: u64) -> u64 {
    NOW_NS + seconds * NS_PER_SECOND
}

/// A rolling limit of 10 in 60 s.
fn limit(status: Status) -> Limit {
    let key = LimitKey::parse("limit").expect("valid");
    let kind = Kind::new(KindName::Rolling, 60, 0).expect("valid");
    let capacity = Capacity::new(10).expect("valid");
    let definition = Definition::new(key.clone(), kind, capacity, "", "", Overage::Debt).expect("valid");
    let ids = Ids::new(1);
    Limit {
        version: 1,
        state: LimitState { status, ..LimitState::active(definition) },
        account: ids.limit(&key),
        debt_account: ids.debt(&key),
        schedule: None,
    }
}

fn account(limit: &Limit, pending: u128) -> Account {
    Account {
        id: limit.account,
        debits_pending: pending,
        debits_posted: 0,
        credits_pending: 0,
        credits_posted: 10,
        closed: false,
    }
}

/// Units, and when they expire.
fn debits(debits: &[(u128, u64)]) -> Vec<PendingDebit> {
    debits.iter().map(|&(units, expires_at_ns)| PendingDebit { units, expires_at_ns }).collect()
}

fn supply(pending: u128, found: &[(u128, u64)]) -> Option<Supply> {
    let limit = limit(Status::Active);
    Supply::of_reservations(&limit, &account(&limit, pending), debits(found), 0, NOW_NS)
}

#[test]
fn each_caller_is_promised_what_those_before_it_leave() {
    let supply = supply(10, &[(4, after(5)), (3, after(2)), (3, after(9))]).expect("complete");
    let mut forecast = Forecast::new(NOW_NS, supply);
    // What the first takes at 2 s is free again at 62.05 s.
    let again_ns = after(62) + 50_000_000;
    for (units, expected) in [(3, after(2)), (2, after(5)), (2, after(5)), (3, after(9)), (1, again_ns)] {
        let at_ns = forecast.earliest_ns(NOW_NS, units);
        assert_eq!(at_ns, Some(expected), "{units} units");
        forecast.promise(expected, units);
    }
    assert_eq!(forecast.earliest_ns(after(100), 2), Some(after(100)), "all of it has expired by then");
    assert_eq!(forecast.earliest_ns(NOW_NS, 11), None, "more than there is");
}

#[test]
fn a_reading_that_misses_something_is_not_used() {
    let two = &[(4, after(5)), (3, after(2))];
    assert!(supply(7, two).is_some());
    for pending in [8, 6, 4, 0] {
        assert_eq!(supply(pending, two), None, "{pending} are pending");
    }
    let closed = limit(Status::Decreasing { to: Capacity::new(1).expect("valid") });
    assert_eq!(Supply::of_reservations(&closed, &account(&closed, 7), debits(two), 0, NOW_NS), None);
}

#[test]
fn what_has_expired_is_left_out_as_far_as_the_ledger_has_noticed() {
    let found = &[(4, NOW_NS - 2), (3, NOW_NS - 1), (2, after(5))];
    for (pending, units, expected) in [
        // The ledger has made both expiries, one, or none of them.
        (2, 9, Some(after(5))),
        (5, 9, Some(after(5))),
        (5, 8, Some(NOW_NS + 5_000_000)),
        (9, 8, Some(NOW_NS + 5_000_000)),
    ] {
        let forecast = Forecast::new(NOW_NS, supply(pending, found).expect("complete"));
        assert_eq!(forecast.earliest_ns(NOW_NS, units), expected, "{pending} are pending");
    }
    assert_eq!(supply(3, found), None, "the ledger makes expiries in their order");
}

#[test]
fn promises_survive_a_reading_until_their_time() {
    let first = supply(10, &[(5, after(2)), (5, after(4))]).expect("complete");
    let mut forecast = Forecast::new(NOW_NS, first);
    for at_ns in [after(2), after(4)] {
        assert_eq!(forecast.earliest_ns(NOW_NS, 5), Some(at_ns));
        forecast.promise(at_ns, 5);
    }
    // The first caller has come. Another one, who was told nothing, took 3 at 3 s.
    let second = supply(10, &[(5, after(4)), (5, after(62))]).expect("complete");
    forecast.read_again(after(3), second);
    assert_eq!(forecast.earliest_ns(after(3), 5), Some(after(62)), "those at 4 s are promised");
    assert_eq!(forecast.read_at_ns(), after(3));
}

#[test]
fn promises_are_bounded() {
    let mut forecast = Forecast::new(NOW_NS, supply(10, &[(10, after(2))]).expect("complete"));
    while let Some(at_ns) = forecast.earliest_ns(NOW_NS, 10) {
        forecast.promise(at_ns, 10);
    }
    assert_eq!(forecast.promises.len(), PROMISES_MAX);
}
