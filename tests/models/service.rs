//! The model of a service with several limits. It knows no ledger and no transfers, only the contract.

use std::collections::{BTreeMap, BTreeSet};

use ledger_limiter::limit::Definition;

use super::NS_PER_MS;
use super::limit::{Leg, LegId, Limit, Status};
use crate::limits::Named;
use crate::operations::{Operation, lease_after};
use crate::run::definition;

pub struct Service {
    names: &'static [Named],
    now_ns: u64,
    now_ms: u64,
    limits: BTreeMap<usize, Limit>,
    leases: BTreeMap<u8, Lease>,
    /// The manual refills that were made: the limit, and the number of the refill.
    refills: BTreeSet<(usize, u8)>,
}

enum Lease {
    Granted {
        wants: Vec<(usize, u64)>,
        /// The legs of the reserve, then the extensions.
        legs: Vec<Leg>,
        /// The result of each extend by its number: the requirement that was granted, or `None` for a denial.
        extends: BTreeMap<u8, Option<(usize, u64)>>,
        /// The numbers of the renewals that were made.
        renewals: BTreeSet<u8>,
        settled: bool,
    },
    /// The legs whose transfer ids are used up. A repetition fails at the first of them, or at an earlier leg without room.
    Denied { legs: Vec<usize> },
}

/// Whether a leg with a timeout has expired. A refill is no expiry, but a lease of which every leg has ended is
/// expired, too.
fn has_expired_leg(legs: &[Leg], now_ms: u64) -> bool {
    have_ended(legs, now_ms) || legs.iter().any(|leg| !leg.is_scheduled() && leg.ends_ms <= now_ms)
}

/// Whether more was used of a limit than the lease reserved. A slot is not exceeded.
fn exceeds(legs: &[Leg], key: usize, used: u64) -> bool {
    let of_key: Vec<_> = legs.iter().filter(|leg| leg.key == key && !leg.is_slot).collect();
    !of_key.is_empty() && used > of_key.iter().map(|leg| leg.amount).sum()
}

fn have_ended(legs: &[Leg], now_ms: u64) -> bool {
    legs.iter().all(|leg| leg.ends_ms <= now_ms)
}

impl Service {
    pub fn new(names: &'static [Named], now_ns: u64) -> Self {
        let (limits, leases, refills) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { names, now_ns, now_ms: now_ns / NS_PER_MS, limits, leases, refills }
    }

    pub fn pass_to(&mut self, now_ns: u64) {
        let now_ms = now_ns / NS_PER_MS;
        (self.now_ns, self.now_ms) = (now_ns, now_ms);
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
                let settled = [*lease, lease_after(*lease)].map(|lease| self.complete(lease, used));
                settled.join(" / ")
            }
            Operation::Extend { lease, extend, key, amount } => self.extend(*lease, *extend, (*key, *amount)),
            Operation::Renew { lease, renew } => self.renew(*lease, *renew),
            Operation::Put { key, form, capacity } => {
                self.put(*key, definition(&self.names[*key], *form, *capacity))
            }
            Operation::Delete { key } => self.delete(*key),
            Operation::Replenish { key, refill } => self.replenish(*key, *refill),
            Operation::ApplyDecreases => self.apply_decreases(),
            Operation::Restart => {
                self.limits.values_mut().for_each(Limit::look_now);
                "restarted".to_owned()
            }
            Operation::Pass { .. } | Operation::PassToStep { .. } => "passed".to_owned(),
        }
    }

    /// The requirements in the order of their keys, as in a chain.
    fn sorted(&self, wants: &[(usize, u64)]) -> Vec<(usize, u64)> {
        let mut wants = wants.to_vec();
        wants.sort_by_key(|(key, _)| self.names[*key].name);
        wants
    }

    /// A command is about to take from these limits. One that can never be granted takes nothing.
    fn look_before(&mut self, wants: &[(usize, u64)]) {
        let is_possible = |&(key, amount): &(usize, u64)| {
            self.limits.get(&key).is_some_and(|limit| !limit.is_deleted() && amount <= limit.capacity)
        };
        if wants.iter().all(is_possible) {
            self.look(wants.iter().map(|(key, _)| *key));
        }
    }

    fn look(&mut self, keys: impl Iterator<Item = usize>) {
        for key in keys {
            self.limits.get_mut(&key).into_iter().for_each(|limit| limit.look(self.now_ns));
        }
    }

    fn reserve(&mut self, id: u8, wants: &[(usize, u64)]) -> String {
        let now_ms = self.now_ms;
        self.look_before(wants);
        let mut used_up = Vec::new();
        match self.leases.get(&id) {
            Some(Lease::Granted { wants: before, legs, settled, .. }) => {
                return if before != wants {
                    "conflict".to_owned()
                } else if *settled {
                    "settled".to_owned()
                } else if has_expired_leg(legs, now_ms) {
                    "expired".to_owned()
                } else {
                    "granted".to_owned()
                };
            }
            Some(Lease::Denied { legs }) => used_up.clone_from(legs),
            None => {}
        }
        let fails = |leg: usize| used_up.contains(&leg) || !self.has_room(wants[leg]);
        let Some(leg) = (0..wants.len()).find(|&leg| fails(leg)) else {
            let legs = wants
                .iter()
                .enumerate()
                .map(|(leg, &want)| self.take(LegId { lease: id, leg }, want))
                .collect();
            let (wants, extends, renewals) = (wants.to_vec(), BTreeMap::new(), BTreeSet::new());
            self.leases.insert(id, Lease::Granted { wants, legs, extends, renewals, settled: false });
            return "granted".to_owned();
        };
        used_up.push(leg);
        self.leases.insert(id, Lease::Denied { legs: used_up });
        self.denial(wants, leg)
    }

    fn has_room(&self, (key, amount): (usize, u64)) -> bool {
        self.limits.get(&key).is_some_and(|limit| limit.has_room(amount))
    }

    fn take(&mut self, leg_id: LegId, (key, amount): (usize, u64)) -> Leg {
        let limit = self.limits.get_mut(&key).expect("it has room");
        limit.reserve(leg_id, key, amount, self.now_ms)
    }

    fn extend(&mut self, id: u8, extend: u8, want: (usize, u64)) -> String {
        self.look_before(&[want]);
        let Some(Lease::Granted { legs, extends, settled, .. }) = self.leases.get(&id) else {
            return "settled".to_owned();
        };
        if *settled || have_ended(legs, self.now_ms) {
            return "settled".to_owned();
        }
        let before = extends.get(&extend).copied();
        match before {
            Some(Some(granted)) if granted == want => return "granted".to_owned(),
            Some(Some(_)) => return "conflict".to_owned(),
            Some(None) | None => {}
        }
        if legs.iter().all(|leg| leg.key != want.0) {
            return "not in lease".to_owned();
        }
        let leg_id = LegId { lease: id, leg: legs.len() };
        let granted = before.is_none() && self.has_room(want);
        let extension = granted.then(|| self.take(leg_id, want));
        if let Some(Lease::Granted { legs, extends, .. }) = self.leases.get_mut(&id) {
            extends.insert(extend, extension.map(|_| want));
            legs.extend(extension);
        }
        if granted { "granted".to_owned() } else { self.denial(&[want], 0) }
    }

    fn renew(&mut self, id: u8, renew: u8) -> String {
        let now_ms = self.now_ms;
        let Some(Lease::Granted { legs, renewals, settled: false, .. }) = self.leases.get_mut(&id) else {
            return "settled".to_owned();
        };
        if have_ended(legs, now_ms) || legs.iter().any(|leg| leg.is_slot && leg.ends_ms <= now_ms) {
            return "expired".to_owned();
        }
        if renewals.contains(&renew) {
            return "granted".to_owned();
        }
        let mut slots: Vec<_> = legs.iter_mut().enumerate().filter(|(_, leg)| leg.is_slot).collect();
        if slots.is_empty() {
            return "no slots".to_owned();
        }
        if let Some((_, leg)) = slots.iter().find(|(_, leg)| !self.limits[&leg.key].has_account_of(leg)) {
            return format!("unknown: {}", self.names[leg.key].name);
        }
        for (index, leg) in &mut slots {
            let limit = self.limits.get_mut(&leg.key).expect("it was reserved");
            limit.renew(LegId { lease: id, leg: *index }, leg, now_ms);
        }
        renewals.insert(renew);
        "granted".to_owned()
    }

    fn denial(&self, wants: &[(usize, u64)], leg: usize) -> String {
        let name = |key: usize| self.names[key].name;
        let is_unknown = |key: &usize| self.limits.get(key).is_none_or(Limit::is_deleted);
        if let Some((key, _)) = wants.iter().find(|(key, _)| is_unknown(key)) {
            return format!("unknown: {}", name(*key));
        }
        if let Some((key, _)) = wants.iter().find(|(key, amount)| *amount > self.limits[key].capacity) {
            return format!("exceeds: {}", name(*key));
        }
        let (key, _) = wants[leg];
        match self.limits[&key].status {
            Status::Decreasing(_) => format!("decreasing: {}", name(key)),
            Status::Active | Status::Deleted => format!("no room: {}", name(key)),
        }
    }

    fn complete(&mut self, id: u8, used: &[(usize, u64)]) -> String {
        let now_ms = self.now_ms;
        if let Some(Lease::Granted { legs, .. }) = self.leases.get(&id) {
            let exceeded = used.iter().filter(|(key, amount)| exceeds(legs, *key, *amount));
            let active = exceeded.filter(|(key, _)| self.limits[key].status == Status::Active);
            let keys: Vec<_> = active.map(|(key, _)| *key).collect();
            self.look(keys.into_iter());
        }
        let Some(Lease::Granted { wants, legs, settled, .. }) = self.leases.get_mut(&id) else {
            return "nothing to do".to_owned();
        };
        let has_ended = have_ended(legs, now_ms);
        if *settled || has_ended && !used.iter().any(|&(key, amount)| exceeds(legs, key, amount)) {
            return "nothing to do".to_owned();
        }
        if !has_ended && used.iter().any(|(key, _)| wants.iter().all(|(wanted, _)| wanted != key)) {
            return "not in lease".to_owned();
        }
        *settled = true;
        let mut overage = 0;
        for (key, _) in wants {
            let limit = self.limits.get_mut(key).expect("it was reserved");
            let actual = used.iter().find(|(name, _)| name == key).map(|(_, amount)| *amount);
            let of_key: Vec<_> = legs.iter().enumerate().filter(|(_, leg)| leg.key == *key).collect();
            overage += limit.settle(id, &of_key, actual, now_ms);
        }
        format!("settled, {overage} over")
    }

    fn put(&mut self, key: usize, wanted: Definition) -> String {
        let before =
            self.limits.get(&key).map(|limit| (limit.definition.clone(), limit.capacity, limit.status));
        let answer = self.redefine(key, wanted);
        let limit = self.limits.get_mut(&key).expect("it is defined");
        if before != Some((limit.definition.clone(), limit.capacity, limit.status)) {
            limit.look_now();
        }
        answer
    }

    fn redefine(&mut self, key: usize, wanted: Definition) -> String {
        let capacity = wanted.capacity.get();
        let now_ms = self.now_ms;
        let limit = self.limits.entry(key).or_insert_with(|| Limit::new(wanted.clone(), now_ms));
        if limit.definition.kind.name() != wanted.kind.name() && !limit.is_deleted() {
            return "another kind".to_owned();
        }
        if limit.replaces_account(&wanted) {
            limit.redefine_on_new_account(wanted, now_ms);
            return "Active".to_owned();
        }
        let was_bucket = limit.is_bucket();
        limit.redefine(wanted, now_ms);
        if capacity < limit.capacity && was_bucket && limit.lower_bucket(capacity) {
            limit.status = Status::Active;
            return "Active".to_owned();
        }
        if capacity < limit.capacity {
            limit.status = Status::Decreasing(capacity);
            return format!("Decreasing {{ to: Capacity({capacity}) }}");
        }
        (limit.capacity, limit.status) = (capacity, Status::Active);
        "Active".to_owned()
    }

    fn delete(&mut self, key: usize) -> String {
        let existing = self.limits.get_mut(&key).filter(|limit| !limit.is_deleted());
        existing
            .map_or("unknown", |limit| {
                limit.status = Status::Deleted;
                limit.look_now();
                "deleted"
            })
            .to_owned()
    }

    fn replenish(&mut self, key: usize, refill: u8) -> String {
        let existing = self.limits.get_mut(&key).filter(|limit| !limit.is_deleted());
        let Some(limit) = existing else { return "unknown".to_owned() };
        if !limit.refill_manually(self.refills.contains(&(key, refill))) {
            return "not manual".to_owned();
        }
        self.refills.insert((key, refill));
        "refilled".to_owned()
    }

    fn apply_decreases(&mut self) -> String {
        for limit in self.limits.values_mut() {
            let Status::Decreasing(to) = limit.status else { continue };
            if limit.lower_bucket(to) {
                limit.status = Status::Active;
                limit.look_now();
            } else if limit.reserved() <= to {
                (limit.capacity, limit.status) = (to, Status::Active);
            }
        }
        "applied".to_owned()
    }

    /// A line for each limit, as [`crate::run::run`] writes it.
    pub fn rows(&self) -> Vec<String> {
        let shown = self.limits.iter().filter(|(_, limit)| !limit.is_deleted());
        let mut rows: Vec<String> = shown
            .map(|(key, limit)| {
                let status = match limit.status {
                    Status::Decreasing(to) => format!("Decreasing {{ to: Capacity({to}) }}"),
                    Status::Active | Status::Deleted => "Active".to_owned(),
                };
                let (name, capacity, debt) = (self.names[*key].name, limit.capacity, limit.debt);
                format!("{name} {status} {capacity}: {} {} {debt}", limit.available(), limit.reserved())
            })
            .collect();
        rows.sort();
        rows
    }
}
