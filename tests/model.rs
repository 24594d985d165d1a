//! A limiter is held against a plain model of limits: no ledger, no transfers, just what was promised.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::memory::MemoryBackend;
use crate::operations::{KEYS, LONG_SECONDS, Operation, PASS, SHORT_SECONDS, operations, run};

/// Seconds since the run began; nothing but `Pass` takes a second.
type Second = u64;

#[derive(Default)]
struct Model {
    now: Second,
    limits: BTreeMap<usize, Limit>,
    leases: BTreeMap<u8, Lease>,
}

struct Limit {
    capacity: u64,
    standing: Standing,
    holds: Vec<Hold>,
    debt: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Standing {
    Active,
    Decreasing(u64),
    Deleted,
}

struct Hold {
    lease: u8,
    /// Its place among the legs of its lease.
    leg: usize,
    amount: u64,
    expires: Second,
}

#[derive(Clone, Copy)]
struct Leg {
    key: usize,
    amount: u64,
    expires: Second,
}

enum Lease {
    Granted {
        wants: Vec<(usize, u64)>,
        /// Those of the grant, then the top-ups.
        legs: Vec<Leg>,
        /// What attempts to extend it came to: the wish that was granted, or a denial.
        attempts: BTreeMap<u8, Option<(usize, u64)>>,
        settled: bool,
    },
    /// At this leg at least; a chain that fails there again is denied again.
    Denied { legs: Vec<usize> },
}

impl Limit {
    fn reserved(&self) -> u64 {
        self.holds.iter().map(|hold| hold.amount).sum()
    }

    fn available(&self) -> u64 {
        self.capacity - self.reserved()
    }
}

fn seconds(key: usize) -> Second {
    if KEYS[key] == "short" { SHORT_SECONDS } else { LONG_SECONDS }
}

fn is_slots(key: usize) -> bool {
    KEYS[key] == "slots"
}

fn are_over(legs: &[Leg], now: Second) -> bool {
    legs.iter().all(|leg| leg.expires <= now)
}

impl Model {
    fn apply(&mut self, operation: &Operation) -> String {
        match operation {
            Operation::Reserve { lease, wants } => self.reserve(*lease, &sorted(wants)),
            Operation::Complete { lease, used } => self.complete(*lease, used),
            Operation::Extend { lease, attempt, key, amount } => {
                self.extend(*lease, *attempt, (*key, *amount))
            }
            Operation::Put { key, capacity } => self.put(*key, *capacity),
            Operation::Delete { key } => match self.limits.get_mut(key) {
                Some(limit) if limit.standing != Standing::Deleted => {
                    limit.standing = Standing::Deleted;
                    "deleted".to_owned()
                }
                _ => "unknown".to_owned(),
            },
            Operation::ApplyDecreases => {
                for limit in self.limits.values_mut() {
                    if let Standing::Decreasing(to) = limit.standing
                        && limit.reserved() <= to
                    {
                        (limit.capacity, limit.standing) = (to, Standing::Active);
                    }
                }
                "applied".to_owned()
            }
            Operation::Restart => "restarted".to_owned(),
            Operation::Pass => {
                self.now += PASS.as_secs();
                let now = self.now;
                self.limits.values_mut().for_each(|limit| limit.holds.retain(|hold| hold.expires > now));
                "passed".to_owned()
            }
        }
    }

    fn reserve(&mut self, id: u8, wants: &[(usize, u64)]) -> String {
        let now = self.now;
        let mut burnt = Vec::new();
        match self.leases.get(&id) {
            Some(Lease::Granted { wants: before, legs, settled, .. }) => {
                return if before != wants {
                    "conflict".to_owned()
                } else if *settled || are_over(legs, now) {
                    "settled".to_owned()
                } else {
                    "granted".to_owned()
                };
            }
            Some(Lease::Denied { legs }) => burnt.clone_from(legs),
            None => {}
        }
        let fails = |leg: usize| burnt.contains(&leg) || !self.has_room(wants[leg]);
        let Some(leg) = (0..wants.len()).find(|&leg| fails(leg)) else {
            let legs = wants.iter().enumerate().map(|(place, &want)| self.hold(id, place, want)).collect();
            let (wants, attempts) = (wants.to_vec(), BTreeMap::new());
            self.leases.insert(id, Lease::Granted { wants, legs, attempts, settled: false });
            return "granted".to_owned();
        };
        burnt.push(leg);
        self.leases.insert(id, Lease::Denied { legs: burnt });
        self.denial(wants, leg)
    }

    fn has_room(&self, (key, amount): (usize, u64)) -> bool {
        let limit = self.limits.get(&key);
        limit.is_some_and(|limit| limit.standing == Standing::Active && limit.available() >= amount)
    }

    fn hold(&mut self, lease: u8, leg: usize, (key, amount): (usize, u64)) -> Leg {
        let expires = self.now + seconds(key);
        let limit = self.limits.get_mut(&key).expect("it has room");
        limit.holds.push(Hold { lease, leg, amount, expires });
        Leg { key, amount, expires }
    }

    fn extend(&mut self, id: u8, attempt: u8, wish: (usize, u64)) -> String {
        let Some(Lease::Granted { legs, attempts, settled, .. }) = self.leases.get(&id) else {
            return "settled".to_owned();
        };
        if *settled || are_over(legs, self.now) {
            return "settled".to_owned();
        }
        let before = attempts.get(&attempt).copied();
        match before {
            Some(Some(granted)) if granted == wish => return "granted".to_owned(),
            Some(Some(_)) => return "conflict".to_owned(),
            Some(None) | None => {}
        }
        if legs.iter().all(|leg| leg.key != wish.0) {
            return "not in lease".to_owned();
        }
        let place = legs.len();
        let granted = before.is_none() && self.has_room(wish);
        let top_up = granted.then(|| self.hold(id, place, wish));
        if let Some(Lease::Granted { legs, attempts, .. }) = self.leases.get_mut(&id) {
            attempts.insert(attempt, top_up.map(|_| wish));
            legs.extend(top_up);
        }
        if granted { "granted".to_owned() } else { self.denial(&[wish], 0) }
    }

    fn denial(&self, wants: &[(usize, u64)], leg: usize) -> String {
        let gone = |key: &usize| self.limits.get(key).is_none_or(|limit| limit.standing == Standing::Deleted);
        if let Some((key, _)) = wants.iter().find(|(key, _)| gone(key)) {
            return format!("unknown: {}", KEYS[*key]);
        }
        if let Some((key, _)) = wants.iter().find(|(key, amount)| *amount > self.limits[key].capacity) {
            return format!("exceeds: {}", KEYS[*key]);
        }
        let (key, _) = wants[leg];
        match self.limits[&key].standing {
            Standing::Decreasing(_) => format!("decreasing: {}", KEYS[key]),
            Standing::Active | Standing::Deleted => format!("no room: {}", KEYS[key]),
        }
    }

    fn complete(&mut self, id: u8, used: &[(usize, u64)]) -> String {
        let now = self.now;
        let Some(Lease::Granted { wants, legs, settled, .. }) = self.leases.get_mut(&id) else {
            return "nothing to do".to_owned();
        };
        if *settled || are_over(legs, now) {
            return "nothing to do".to_owned();
        }
        if used.iter().any(|(key, _)| wants.iter().all(|(wanted, _)| wanted != key)) {
            return "not in lease".to_owned();
        }
        *settled = true;
        let mut over = 0;
        let legs = legs.clone();
        for (key, _) in wants.clone() {
            let actual = used.iter().find(|(name, _)| *name == key).map(|(_, amount)| *amount);
            let of_key = || legs.iter().enumerate().filter(|(_, leg)| leg.key == key);
            let mut left = if is_slots(key) { 0 } else { actual.unwrap_or(u64::MAX) };
            let limit = self.limits.get_mut(&key).expect("it was reserved");
            for (place, leg) in of_key() {
                let kept = left.min(leg.amount);
                left -= kept;
                let hold = limit.holds.iter_mut().find(|hold| (hold.lease, hold.leg) == (id, place));
                if let Some(hold) = hold.filter(|_| leg.expires > now) {
                    hold.amount = kept;
                }
            }
            let last = of_key().next_back().map(|(place, leg)| (place, leg.expires));
            let (place, expires) = last.expect("it was reserved");
            if left == 0 || actual.is_none() || is_slots(key) {
                continue;
            }
            if expires > now && limit.standing == Standing::Active && limit.available() >= left {
                limit.holds.push(Hold { lease: id, leg: place, amount: left, expires });
            } else {
                over += left;
                limit.debt += if KEYS[key] == "deny" { 0 } else { left };
            }
        }
        format!("settled, {over} over")
    }

    fn put(&mut self, key: usize, capacity: u64) -> String {
        let fresh = Limit { capacity, standing: Standing::Active, holds: Vec::new(), debt: 0 };
        let limit = self.limits.entry(key).or_insert(fresh);
        if capacity < limit.capacity {
            limit.standing = Standing::Decreasing(capacity);
            return format!("Decreasing {{ to: Amount({capacity}) }}");
        }
        (limit.capacity, limit.standing) = (capacity, Standing::Active);
        "Active".to_owned()
    }

    fn standing(&self) -> Vec<String> {
        let shown = self.limits.iter().filter(|(_, limit)| limit.standing != Standing::Deleted);
        let mut rows: Vec<String> = shown
            .map(|(key, limit)| {
                let status = match limit.standing {
                    Standing::Decreasing(to) => format!("Decreasing {{ to: Amount({to}) }}"),
                    Standing::Active | Standing::Deleted => "Active".to_owned(),
                };
                let (available, reserved) = (limit.available(), limit.reserved());
                format!("{} {status} {}: {available} {reserved} {}", KEYS[*key], limit.capacity, limit.debt)
            })
            .collect();
        rows.sort();
        rows
    }
}

/// A chain's legs stand in the order of their keys' names.
fn sorted(wants: &[(usize, u64)]) -> Vec<(usize, u64)> {
    let mut wants = wants.to_vec();
    wants.sort_by_key(|(key, _)| KEYS[*key]);
    wants
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_limiter_does_what_the_model_says(operations in operations(60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let backend = MemoryBackend::new();
            let mut model = Model::default();
            let mut told = Vec::new();
            run(&backend, &operations, |operation, answer, standing| {
                // Nothing happens at the same nanosecond as anything else.
                backend.clock.advance(std::time::Duration::from_micros(1));
                told.push(format!("{operation:?} -> {answer} {standing:?}"));
                assert_eq!(answer, model.apply(operation), "after {told:#?}");
                assert_eq!(standing, model.standing(), "after {told:#?}");
            })
            .await;
        });
    }
}
