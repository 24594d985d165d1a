//! A service of several limits: no ledger, no transfers, just what was promised.

use std::collections::{BTreeMap, BTreeSet};

use ledger_limiter::limit::Definition;

use super::limit::{Leg, Limit, Standing};
use crate::limits::Named;
use crate::operations::{Operation, lease_behind};
use crate::run::definition;

pub struct Service {
    names: &'static [Named],
    now_ms: u64,
    limits: BTreeMap<usize, Limit>,
    leases: BTreeMap<u8, Lease>,
    /// The refills by hand that were made, of which limit and by which attempt.
    refills: BTreeSet<(usize, u8)>,
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

fn are_over(legs: &[Leg], now_ms: u64) -> bool {
    legs.iter().all(|leg| leg.over_ms <= now_ms)
}

impl Service {
    pub fn new(names: &'static [Named], now_ms: u64) -> Self {
        let (limits, leases, refills) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { names, now_ms, limits, leases, refills }
    }

    pub fn pass_to(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.limits.values_mut().for_each(|limit| limit.pass_to(now_ms));
    }

    pub fn next_step_ms(&self, key: usize) -> Option<u64> {
        self.limits.get(&key)?.next_step_ms(self.now_ms)
    }

    pub fn apply(&mut self, operation: &Operation) -> String {
        match operation {
            Operation::Reserve { lease, wants } => self.reserve(*lease, &self.sorted(wants)),
            Operation::Complete { lease, used } => self.complete(*lease, used),
            Operation::CompleteTogether { lease, used } => {
                let settled = [*lease, lease_behind(*lease)].map(|lease| self.complete(lease, used));
                settled.join(" / ")
            }
            Operation::Extend { lease, attempt, key, amount } => {
                self.extend(*lease, *attempt, (*key, *amount))
            }
            Operation::Put { key, form, capacity } => {
                self.put(*key, definition(&self.names[*key], *form, *capacity))
            }
            Operation::Delete { key } => self.delete(*key),
            Operation::Replenish { key, attempt } => self.replenish(*key, *attempt),
            Operation::ApplyDecreases => self.apply_decreases(),
            Operation::Restart => "restarted".to_owned(),
            Operation::Pass { .. } | Operation::PassToStep { .. } => "passed".to_owned(),
        }
    }

    /// A chain's legs stand in the order of their keys' names.
    fn sorted(&self, wants: &[(usize, u64)]) -> Vec<(usize, u64)> {
        let mut wants = wants.to_vec();
        wants.sort_by_key(|(key, _)| self.names[*key].name);
        wants
    }

    fn reserve(&mut self, id: u8, wants: &[(usize, u64)]) -> String {
        let now_ms = self.now_ms;
        let mut burnt = Vec::new();
        match self.leases.get(&id) {
            Some(Lease::Granted { wants: before, legs, settled, .. }) => {
                return if before != wants {
                    "conflict".to_owned()
                } else if *settled || are_over(legs, now_ms) {
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
            let legs = wants.iter().enumerate().map(|(place, &want)| self.take(id, place, want)).collect();
            let (wants, attempts) = (wants.to_vec(), BTreeMap::new());
            self.leases.insert(id, Lease::Granted { wants, legs, attempts, settled: false });
            return "granted".to_owned();
        };
        burnt.push(leg);
        self.leases.insert(id, Lease::Denied { legs: burnt });
        self.denial(wants, leg)
    }

    fn has_room(&self, (key, amount): (usize, u64)) -> bool {
        self.limits.get(&key).is_some_and(|limit| limit.has_room(amount))
    }

    fn take(&mut self, lease: u8, leg: usize, (key, amount): (usize, u64)) -> Leg {
        let limit = self.limits.get_mut(&key).expect("it has room");
        limit.take((lease, leg), key, amount, self.now_ms)
    }

    fn extend(&mut self, id: u8, attempt: u8, wish: (usize, u64)) -> String {
        let Some(Lease::Granted { legs, attempts, settled, .. }) = self.leases.get(&id) else {
            return "settled".to_owned();
        };
        if *settled || are_over(legs, self.now_ms) {
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
        let top_up = granted.then(|| self.take(id, place, wish));
        if let Some(Lease::Granted { legs, attempts, .. }) = self.leases.get_mut(&id) {
            attempts.insert(attempt, top_up.map(|_| wish));
            legs.extend(top_up);
        }
        if granted { "granted".to_owned() } else { self.denial(&[wish], 0) }
    }

    fn denial(&self, wants: &[(usize, u64)], leg: usize) -> String {
        let name = |key: usize| self.names[key].name;
        let gone = |key: &usize| self.limits.get(key).is_none_or(Limit::is_deleted);
        if let Some((key, _)) = wants.iter().find(|(key, _)| gone(key)) {
            return format!("unknown: {}", name(*key));
        }
        if let Some((key, _)) = wants.iter().find(|(key, amount)| *amount > self.limits[key].capacity) {
            return format!("exceeds: {}", name(*key));
        }
        let (key, _) = wants[leg];
        match self.limits[&key].standing {
            Standing::Decreasing(_) => format!("decreasing: {}", name(key)),
            Standing::Active | Standing::Deleted => format!("no room: {}", name(key)),
        }
    }

    fn complete(&mut self, id: u8, used: &[(usize, u64)]) -> String {
        let now_ms = self.now_ms;
        let Some(Lease::Granted { wants, legs, settled, .. }) = self.leases.get_mut(&id) else {
            return "nothing to do".to_owned();
        };
        if *settled || are_over(legs, now_ms) {
            return "nothing to do".to_owned();
        }
        if used.iter().any(|(key, _)| wants.iter().all(|(wanted, _)| wanted != key)) {
            return "not in lease".to_owned();
        }
        *settled = true;
        let mut over = 0;
        for (key, _) in wants {
            let limit = self.limits.get_mut(key).expect("it was reserved");
            let actual = used.iter().find(|(name, _)| name == key).map(|(_, amount)| *amount);
            let of_key: Vec<_> = legs.iter().enumerate().filter(|(_, leg)| leg.key == *key).collect();
            over += limit.settle(id, &of_key, actual, now_ms);
        }
        format!("settled, {over} over")
    }

    fn put(&mut self, key: usize, wanted: Definition) -> String {
        let capacity = wanted.capacity.get();
        let now_ms = self.now_ms;
        let limit = self.limits.entry(key).or_insert_with(|| Limit::new(wanted.clone(), now_ms));
        if limit.definition.kind.name() != wanted.kind.name() && !limit.is_deleted() {
            return "another kind".to_owned();
        }
        let was_bucket = limit.is_bucket();
        limit.redefine(wanted, now_ms);
        if capacity < limit.capacity && was_bucket && limit.lower_bucket(capacity) {
            limit.standing = Standing::Active;
            return "Active".to_owned();
        }
        if capacity < limit.capacity {
            limit.standing = Standing::Decreasing(capacity);
            return format!("Decreasing {{ to: Amount({capacity}) }}");
        }
        (limit.capacity, limit.standing) = (capacity, Standing::Active);
        "Active".to_owned()
    }

    fn delete(&mut self, key: usize) -> String {
        let there = self.limits.get_mut(&key).filter(|limit| !limit.is_deleted());
        there
            .map_or("unknown", |limit| {
                limit.standing = Standing::Deleted;
                "deleted"
            })
            .to_owned()
    }

    fn replenish(&mut self, key: usize, attempt: u8) -> String {
        let there = self.limits.get_mut(&key).filter(|limit| !limit.is_deleted());
        let Some(limit) = there else { return "unknown".to_owned() };
        if !limit.refill(self.refills.contains(&(key, attempt))) {
            return "not by hand".to_owned();
        }
        self.refills.insert((key, attempt));
        "refilled".to_owned()
    }

    fn apply_decreases(&mut self) -> String {
        for limit in self.limits.values_mut() {
            let Standing::Decreasing(to) = limit.standing else { continue };
            if limit.lower_bucket(to) {
                limit.standing = Standing::Active;
            } else if limit.reserved() <= to {
                (limit.capacity, limit.standing) = (to, Standing::Active);
            }
        }
        "applied".to_owned()
    }

    pub fn standing(&self) -> Vec<String> {
        let shown = self.limits.iter().filter(|(_, limit)| !limit.is_deleted());
        let mut rows: Vec<String> = shown
            .map(|(key, limit)| {
                let status = match limit.standing {
                    Standing::Decreasing(to) => format!("Decreasing {{ to: Amount({to}) }}"),
                    Standing::Active | Standing::Deleted => "Active".to_owned(),
                };
                let (name, capacity, debt) = (self.names[*key].name, limit.capacity, limit.debt);
                format!("{name} {status} {capacity}: {} {} {debt}", limit.available(), limit.reserved())
            })
            .collect();
        rows.sort();
        rows
    }
}
