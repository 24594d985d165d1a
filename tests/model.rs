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
    amount: u64,
    expires: Second,
}

enum Lease {
    Granted {
        wants: Vec<(usize, u64)>,
        expires: BTreeMap<usize, Second>,
        settled: bool,
    },
    /// At this leg at least; a chain that fails there again is denied again.
    Denied {
        legs: Vec<usize>,
    },
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

impl Model {
    fn apply(&mut self, operation: &Operation) -> String {
        match operation {
            Operation::Reserve { lease, wants } => self.reserve(*lease, &sorted(wants)),
            Operation::Complete { lease, used } => self.complete(*lease, used),
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
            Some(Lease::Granted { wants: before, expires, settled }) => {
                return if before != wants {
                    "conflict".to_owned()
                } else if *settled || expires.values().all(|&at| at <= now) {
                    "settled".to_owned()
                } else {
                    "granted".to_owned()
                };
            }
            Some(Lease::Denied { legs }) => burnt.clone_from(legs),
            None => {}
        }
        let fails = |leg: usize, (key, amount): (usize, u64)| {
            burnt.contains(&leg)
                || self
                    .limits
                    .get(&key)
                    .is_none_or(|limit| limit.standing != Standing::Active || limit.available() < amount)
        };
        let Some(leg) = (0..wants.len()).find(|&leg| fails(leg, wants[leg])) else {
            for &(key, amount) in wants {
                let hold = Hold { lease: id, amount, expires: now + seconds(key) };
                self.limits.get_mut(&key).expect("it does not fail").holds.push(hold);
            }
            let expires = wants.iter().map(|&(key, _)| (key, now + seconds(key))).collect();
            self.leases.insert(id, Lease::Granted { wants: wants.to_vec(), expires, settled: false });
            return "granted".to_owned();
        };
        burnt.push(leg);
        self.leases.insert(id, Lease::Denied { legs: burnt });
        self.denial(wants, leg)
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
        let Some(Lease::Granted { wants, expires, settled }) = self.leases.get_mut(&id) else {
            return "nothing to do".to_owned();
        };
        if *settled || expires.values().all(|&at| at <= now) {
            return "nothing to do".to_owned();
        }
        if used.iter().any(|(key, _)| wants.iter().all(|(wanted, _)| wanted != key)) {
            return "not in lease".to_owned();
        }
        *settled = true;
        let mut over = 0;
        for (key, reserved) in wants.clone() {
            let expired = expires[&key] <= now;
            let limit = self.limits.get_mut(&key).expect("it was reserved");
            let actual = used.iter().find(|(name, _)| *name == key).map(|(_, amount)| *amount);
            let kept = if is_slots(key) { 0 } else { actual.unwrap_or(reserved) };
            let fits = !expired && limit.standing == Standing::Active && limit.available() + reserved >= kept;
            if kept > reserved && !fits {
                over += kept - reserved;
                limit.debt += if KEYS[key] == "deny" { 0 } else { kept - reserved };
                continue;
            }
            if expired {
                continue;
            }
            let hold = limit.holds.iter_mut().find(|hold| hold.lease == id).expect("it is held");
            hold.amount = kept;
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
