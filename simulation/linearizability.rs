//! Whether the operations on one limit can have happened one after the other, each at a moment between its call and its
//! answer. The search is that of Wing and Gong, with the memory of Lowe: a set of operations that led nowhere is not tried
//! again.
//!
//! Nothing expires on the limits that are checked, so their state is one number: the units in use.

use std::collections::HashSet;

/// The most sets of operations that are tried for one limit.
const TRIES_MAX: usize = 200_000;

/// An operation with its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) called_ms: u64,
    pub(crate) answered_ms: u64,
    pub(crate) change: Change,
}

/// What an operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// A reserve was granted: there was room for this much.
    Took(u64),
    /// A reserve was denied: there was no room for this much.
    Refused(u64),
    /// A complete released this much.
    Freed(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Linearizable,
    NotLinearizable,
    /// The search was given up.
    Unknown,
}

/// The search for an order.
struct Search {
    capacity: u64,
    /// Sorted by call.
    operations: Vec<Operation>,
    tried: HashSet<Vec<u64>>,
}

pub(crate) fn check(capacity: u64, operations: &[Operation]) -> Verdict {
    let mut operations = operations.to_vec();
    operations.sort_unstable_by_key(|operation| (operation.called_ms, operation.answered_ms));
    let words = operations.len().div_ceil(64);
    let mut search = Search { capacity, operations, tried: HashSet::new() };
    search.run(vec![0; words])
}

/// A set of operations that happened, the units in use after them, and the next candidate.
struct Point {
    happened: Vec<u64>,
    used: u64,
    candidates: Vec<usize>,
}

impl Search {
    fn run(&mut self, nothing: Vec<u64>) -> Verdict {
        let mut path = vec![self.point(nothing, 0)];
        while let Some(point) = path.last_mut() {
            if self.tried.len() > TRIES_MAX {
                return Verdict::Unknown;
            }
            let Some(candidate) = point.candidates.pop() else {
                path.pop();
                continue;
            };
            let Some(used) = self.after(point.used, candidate) else { continue };
            let mut happened = point.happened.clone();
            happened[candidate / 64] |= 1 << (candidate % 64);
            if self.tried.contains(&happened) {
                continue;
            }
            self.tried.insert(happened.clone());
            let next = self.point(happened, used);
            if next.candidates.is_empty() && self.is_complete(&next.happened) {
                return Verdict::Linearizable;
            }
            path.push(next);
        }
        if self.operations.is_empty() { Verdict::Linearizable } else { Verdict::NotLinearizable }
    }

    fn is_complete(&self, happened: &[u64]) -> bool {
        happened.iter().map(|word| word.count_ones() as usize).sum::<usize>() == self.operations.len()
    }

    /// The operations that may be next: those that were called before any other was answered. The earliest is tried first.
    fn point(&self, happened: Vec<u64>, used: u64) -> Point {
        let has_happened = |index: usize| happened[index / 64] >> (index % 64) & 1 == 1;
        let open = || (0..self.operations.len()).filter(|&index| !has_happened(index));
        let first_answer = open().map(|index| self.operations[index].answered_ms).min().unwrap_or(0);
        let mut candidates: Vec<usize> =
            open().take_while(|&index| self.operations[index].called_ms <= first_answer).collect();
        candidates.reverse();
        Point { happened, used, candidates }
    }

    /// The units in use after an operation; `None` if it cannot happen now.
    fn after(&self, used: u64, index: usize) -> Option<u64> {
        match self.operations[index].change {
            Change::Took(units) => used.checked_add(units).filter(|&used| used <= self.capacity),
            Change::Refused(units) => (used + units > self.capacity).then_some(used),
            Change::Freed(units) => used.checked_sub(units),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Change::{Freed, Refused, Took};
    use super::*;

    /// A name, operations with their calls and answers, and the verdict.
    type Case = (&'static str, &'static [(u64, u64, Change)], Verdict);

    fn operation((called_ms, answered_ms, change): (u64, u64, Change)) -> Operation {
        Operation { called_ms, answered_ms, change }
    }

    #[test]
    fn good_histories_are_accepted_and_bad_ones_are_not() {
        let cases: [Case; 9] = [
            ("nothing", &[], Verdict::Linearizable),
            ("within the capacity", &[(0, 1, Took(6)), (2, 3, Took(4))], Verdict::Linearizable),
            ("over the capacity", &[(0, 1, Took(6)), (2, 3, Took(5))], Verdict::NotLinearizable),
            (
                "over the capacity at one moment",
                &[(0, 9, Took(6)), (0, 9, Took(5))],
                Verdict::NotLinearizable,
            ),
            (
                "again what was freed before",
                &[(0, 1, Took(10)), (2, 3, Freed(10)), (4, 5, Took(10))],
                Verdict::Linearizable,
            ),
            (
                "again what is freed only later",
                &[(0, 1, Took(10)), (2, 3, Took(10)), (4, 5, Freed(10))],
                Verdict::NotLinearizable,
            ),
            (
                "again what is freed meanwhile",
                &[(0, 1, Took(10)), (2, 6, Took(10)), (4, 5, Freed(10))],
                Verdict::Linearizable,
            ),
            (
                "refused although there was room",
                &[(0, 1, Took(3)), (2, 3, Refused(7))],
                Verdict::NotLinearizable,
            ),
            (
                "refused before it was freed",
                &[(0, 1, Took(3)), (2, 5, Freed(3)), (3, 4, Refused(8))],
                Verdict::Linearizable,
            ),
        ];
        for (name, operations, expected) in cases {
            let operations: Vec<Operation> = operations.iter().copied().map(operation).collect();
            assert_eq!(check(10, &operations), expected, "{name}");
        }
    }

    #[test]
    fn one_grant_too_many_is_found_in_a_long_history() {
        let rounds = |extra| {
            let round = move |number: u64| {
                let at_ms = 10 * number;
                let taken = (0..5).map(move |_| (at_ms, at_ms + 3, Took(2)));
                taken.chain((extra == Some(number)).then_some((at_ms, at_ms + 3, Took(1)))).chain([
                    (at_ms + 2, at_ms + 5, Refused(1)),
                    (at_ms + 6, at_ms + 8, Freed(if extra == Some(number) { 11 } else { 10 })),
                ])
            };
            (0..60).flat_map(round).map(operation).collect::<Vec<_>>()
        };
        assert_eq!(check(10, &rounds(None)), Verdict::Linearizable);
        assert_eq!(check(10, &rounds(Some(41))), Verdict::NotLinearizable);
    }
}
