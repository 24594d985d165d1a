//! Which steps looks ask for, and what their outcomes mean.

use proptest::prelude::*;

use super::*;
use crate::ledger::{Field, TransferId};

fn thresholds(percents: &[u64]) -> AlertThresholds {
    AlertThresholds::new(percents).expect("valid")
}

fn look(used: u128, window_ends_ms: Option<u64>, fired: Fired) -> Look {
    let usage = Usage { available: 0, reserved: used, debt: 0, is_closed: false };
    Look { usage, used, window_ends_ms, fired, has_account: true }
}

fn fired(era: u128, level: u64) -> Fired {
    Fired { era, level }
}

/// The new era and level, and the percents that were crossed.
fn asked(look: Look, percents: &[u64], capacity: u64) -> Option<(u128, u64, Vec<u64>)> {
    let thresholds = thresholds(percents);
    let step = look.step(thresholds, capacity)?;
    Some((step.to.era, step.to.level, step.crossed(thresholds).collect()))
}

#[test]
fn thresholds_of_a_limit_without_windows_fire_once_until_they_are_armed() {
    for (used, level, expected) in [
        (79, 0, None),
        (80, 0, Some((7, 80, vec![80]))),
        (94, 0, Some((7, 80, vec![80]))),
        (100, 0, Some((7, 100, vec![80, 95, 100]))),
        (100, 80, Some((7, 100, vec![95, 100]))),
        (100, 100, None),
        (95, 100, None),
        (94, 100, Some((8, 95, vec![]))),
        (90, 95, None),
        (89, 95, Some((8, 80, vec![]))),
        (89, 100, Some((8, 80, vec![]))),
        (75, 80, None),
        (74, 80, Some((8, 0, vec![]))),
        (0, 100, Some((8, 0, vec![]))),
        (0, 0, None),
    ] {
        let look = look(used, None, fired(7, level));
        assert_eq!(asked(look, &[80, 95, 100], 100), expected, "{used} used, {level} has fired");
    }
}

#[test]
fn thresholds_of_a_window_fire_once_in_each_window() {
    for (used, ends_ms, level, expected) in [
        (80, 60_000, 0, Some((60_000, 80, vec![80]))),
        (80, 60_000, 80, None),
        (99, 60_000, 80, Some((60_000, 95, vec![95]))),
        // What was released in a window arms nothing.
        (0, 60_000, 95, None),
        (80, 120_000, 95, Some((120_000, 80, vec![80]))),
        (100, 120_000, 100, Some((120_000, 100, vec![80, 95, 100]))),
        (0, 120_000, 95, None),
        // Of the window before the era.
        (100, 59_999, 0, None),
    ] {
        let look = look(used, Some(ends_ms), fired(60_000, level));
        assert_eq!(asked(look, &[80, 95, 100], 100), expected, "{used} used until {ends_ms}, {level}");
    }
}

#[test]
fn percents_are_compared_exactly() {
    for (percent, capacity, used, is_at) in [
        (80, 7, 5, false),
        (80, 7, 6, true),
        (1, 1, 0, false),
        (1, 1, 1, true),
        (100, u64::MAX >> 1, u128::from(u64::MAX >> 1) - 1, false),
        (100, u64::MAX >> 1, u128::from(u64::MAX >> 1), true),
        (50, 0, 0, false),
    ] {
        let crossed = asked(look(used, None, fired(0, 0)), &[percent], capacity).is_some();
        assert_eq!(crossed, is_at, "{used} of {capacity} at {percent} %");
    }
    for (percent, capacity, used, is_armed) in [
        // Half of a small threshold.
        (1, 1_000, 5, false),
        (1, 1_000, 4, true),
        (8, 100, 4, false),
        (8, 100, 3, true),
        (10, 100, 5, false),
        (10, 100, 4, true),
        (100, 1, 1, false),
        (100, 1, 0, true),
    ] {
        let armed = asked(look(used, None, fired(0, percent)), &[percent], capacity);
        assert_eq!(armed.is_some(), is_armed, "{used} of {capacity} at {percent} %");
    }
}

#[test]
fn a_new_list_of_thresholds_goes_on_with_what_has_fired() {
    // 80 has fired, and now there are 50 and 90.
    assert_eq!(asked(look(85, None, fired(0, 80)), &[50, 90], 100), Some((1, 50, vec![])));
    assert_eq!(asked(look(90, None, fired(0, 80)), &[50, 90], 100), Some((0, 90, vec![90])));
    assert_eq!(asked(look(85, None, fired(0, 80)), &[], 100), Some((1, 0, vec![])));
}

#[test]
fn every_outcome_of_a_step_has_a_meaning() {
    let refused = |refusal| interpret(ChainOutcome::Refused { index: 0, refusal }).ok();
    assert_eq!(interpret(ChainOutcome::Created { timestamp_ns: 1 }).ok(), Some(StepResult::Made));
    for (refusal, expected) in [
        (Refusal::Exists, Some(StepResult::Made)),
        (Refusal::ExistsWithDifferent(Field::UserDataWide), Some(StepResult::MadeByOther)),
        (Refusal::ExistsWithDifferent(Field::Amount), Some(StepResult::MadeByOther)),
        (Refusal::IdAlreadyFailed, None),
        (Refusal::CreditAccountNotFound, None),
        (Refusal::Overflow, None),
    ] {
        assert_eq!(refused(refusal), expected, "{refusal:?}");
    }
}

/// One account, which several replicas step from what they last saw of it.
#[derive(Default)]
struct AlertAccount {
    number: u128,
    taken: std::collections::HashSet<TransferId>,
}

proptest! {
    /// Replicas look at any time and step later: whatever they saw, each crossing is told once, and the number grows.
    #[test]
    fn whatever_replicas_saw_a_threshold_is_told_once_in_an_era(
        moves in proptest::collection::vec((0..3_usize, 0..=100_u128, any::<bool>()), 1..200),
        is_window in any::<bool>(),
    ) {
        let (ids, thresholds) = (Ids::new(1), thresholds(&[20, 50, 80, 100]));
        let alert_account = ids.alert(AccountId::from_u128(9));
        let mut account = AlertAccount::default();
        let mut seen: [Option<Step>; 3] = [None; 3];
        let mut told = std::collections::HashSet::new();
        for (time, (replica, used, steps)) in moves.into_iter().enumerate() {
            if !steps {
                let ends_ms = is_window.then_some(60_000 * (1 + time as u64 / 20));
                seen[replica] = look(used, ends_ms, Fired::of_number(account.number)).step(thresholds, 100);
                continue;
            }
            let Some(step) = seen[replica].take() else { continue };
            if !account.taken.insert(ids.alert_step(alert_account, step.from.number())) {
                continue;
            }
            prop_assert_eq!(step.from.number(), account.number, "the id of an earlier number is taken");
            prop_assert!(step.to.number() > account.number, "it grows");
            account.number = step.to.number();
            for percent in step.crossed(thresholds) {
                prop_assert!(told.insert((step.to.era, percent)), "{percent} % in era {}", step.to.era);
            }
        }
    }
}
