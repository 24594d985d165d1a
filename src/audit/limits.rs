//! The limits, as their definition versions tell them.

use hashbrown::{HashMap, HashSet};

use super::accounts::{Accounts, Role};
use super::definition::{Status, Version};
use super::ids::Ids;
use super::report::{Finding, Law, Report};
use super::schedule::{self, Clock, Schedule};
use crate::ledger::raw::RawTransfer;

const NS_PER_MS: u64 = 1_000_000;

/// A limit, or a template.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    pub(super) version: Version,
    pub(super) account: u128,
    pub(super) schedule: Option<Schedule>,
    /// What the spent accounts of the schedule hold.
    pub(super) spent: i128,
    /// Of a bucket: the account of borrowed tokens.
    pub(super) borrowed: Option<u128>,
    /// Of an instance: the index of the template that counts it.
    pub(super) counted_at: Option<u32>,
    /// Of a template: how many instances it counts.
    pub(super) instances: u64,
    /// Whether any of its versions had an allotment. Leases may have been served from it in memory.
    pub(super) had_allotment: bool,
}

/// A version that a chain makes.
#[derive(Debug, Clone)]
pub(super) struct NewVersion {
    pub(super) limit: u32,
    /// The schedule that it replaces, and the value of the clock before.
    pub(super) replaced: Option<(Schedule, Clock)>,
    /// Whether it starts a new schedule.
    pub(super) starts_schedule: bool,
}

/// Tells the limits that accounts belong to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owners<'a> {
    pub(super) accounts: &'a Accounts,
    pub(super) limits: &'a Limits,
}

impl Owners<'_> {
    pub(super) fn limit_of(self, account: u128) -> Option<u32> {
        self.accounts.role(account).and_then(Role::limit)
    }

    /// Whether leases may hold the limit of an account although no transfer of theirs says so.
    pub(super) fn had_allotment(self, account: u128) -> bool {
        let limit = self.limit_of(account).and_then(|limit| self.limits.get(limit));
        limit.is_some_and(|limit| limit.had_allotment)
    }
}

/// All limits.
#[derive(Debug, Default)]
pub(super) struct Limits {
    all: Vec<Limit>,
    by_key: HashMap<String, u32>,
    /// The keys of which a version was not understood.
    unclear: HashSet<String>,
}

impl Limits {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, index: u32) -> Option<&Limit> {
        self.all.get(index as usize)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Limit> {
        self.all.get_mut(index as usize)
    }

    pub(super) fn find(&self, key: &str) -> Option<&Limit> {
        self.get(*self.by_key.get(key)?)
    }

    pub(super) fn key(&self, index: u32) -> &str {
        self.get(index).map_or("?", |limit| &limit.version.key)
    }

    /// Forgets a limit of which a version cannot be understood: nothing of it is judged until a version is.
    pub(super) fn forget(&mut self, key: &str, accounts: &mut Accounts) {
        self.unclear.insert(key.to_owned());
        if let Some(limit) = self.by_key.remove(key).and_then(|index| self.get(index)) {
            accounts.unassign(limit.account);
        }
    }

    /// Takes a version from its parts.
    pub(super) fn add(
        &mut self,
        ids: Ids,
        version: Version,
        parts: &[RawTransfer],
        accounts: &mut Accounts,
        report: &mut Report,
    ) -> Option<NewVersion> {
        let (first, last) = (parts.first()?, parts.last()?);
        let known = self.by_key.get(&version.key).copied();
        let earlier = known.and_then(|index| self.get(index)).cloned();
        if !self.unclear.remove(&version.key) {
            check(ids, earlier.as_ref(), &version, first, report);
        }
        let index = known.unwrap_or_else(|| u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        let account = ids.limit(&version.key, version.accounts_since.last().copied());
        accounts.assign(account, Role::Limit(index));
        accounts.assign(ids.debt(&version.key), Role::Debt(index));
        let starts_schedule = earlier.as_ref().is_none_or(|earlier| starts_schedule(earlier, &version));
        let old = earlier.as_ref().and_then(|earlier| earlier.schedule.clone());
        let schedule = if starts_schedule {
            new_schedule(ids, &version, index, last.timestamp_ns, accounts)
        } else {
            old.clone()
        };
        let alerts_of = schedule.as_ref().map_or(account, |it| ids.spent(&version.key, it.since_version, 0));
        if version.has_alerts {
            accounts.assign(ids.alert(alerts_of), Role::Alert(index));
        }
        let replaced = old.filter(|_| starts_schedule).map(|old| {
            let clock = Clock::of(&accounts.sums(old.clock));
            (old, clock)
        });
        let bucket = schedule.as_ref().is_some_and(Schedule::is_bucket);
        let limit = Limit {
            account,
            spent: earlier.as_ref().filter(|_| !starts_schedule).map_or(0, |earlier| earlier.spent),
            schedule,
            borrowed: bucket.then(|| ids.borrowed(&version.key)),
            counted_at: earlier.as_ref().and_then(|earlier| earlier.counted_at),
            instances: earlier.as_ref().map_or(0, |earlier| earlier.instances),
            had_allotment: version.has_allotment
                || earlier.as_ref().is_some_and(|earlier| earlier.had_allotment),
            version,
        };
        match self.get_mut(index) {
            Some(known) => *known = limit,
            None => {
                self.by_key.insert(limit.version.key.clone(), index);
                self.all.push(limit);
            }
        }
        Some(NewVersion { limit: index, replaced, starts_schedule })
    }

    /// Takes note of a change of a posted balance.
    pub(super) fn posted(&mut self, role: Option<Role>, change: i128) {
        let Some(Role::Spent { limit, since_version, .. }) = role else { return };
        if let Some(limit) = self.get_mut(limit)
            && limit.schedule.as_ref().is_some_and(|schedule| schedule.since_version == since_version)
        {
            limit.spent += change;
        }
    }

    /// Checks the laws of a limit's balances between two chains. `last` is the last transfer of the chain before.
    pub(super) fn check_balances(
        &self,
        index: u32,
        accounts: &Accounts,
        last: &RawTransfer,
        report: &mut Report,
    ) {
        let Some(limit) = self.get(index) else { return };
        let version = &limit.version;
        let sums = accounts.sums(limit.account);
        let owed = limit.borrowed.map_or(0, |borrowed| -accounts.sums(borrowed).posted());
        let (sum, expected) = match version.instances_max {
            Some(max) => (sums.posted() + i128::from(limit.instances), i128::from(max)),
            None => (sums.posted() + limit.spent - owed, i128::from(version.capacity)),
        };
        if sum != expected {
            let available = sums.posted();
            let (law, parts) = match version.instances_max {
                Some(_) => (Law::Instances, format!("{} instances", limit.instances)),
                None => (Law::CapacitySum, format!("{} spent and {owed} owed", limit.spent)),
            };
            let sentence = format!(
                "version {} says {expected}, but a balance of {available} with {parts} makes {sum}",
                version.number
            );
            report.add(Finding::new(law, last, sentence).of_key(&version.key));
        }
        if owed > 0 && sums.available() > 0 && !sums.has_expired {
            let sentence =
                format!("the bucket owes {owed} tokens although {} are available", sums.available());
            report.add(Finding::new(Law::Owed, last, sentence).of_key(&version.key));
        }
    }
}

/// Checks the number of a version, its first id, and its accounts.
fn check(ids: Ids, earlier: Option<&Limit>, version: &Version, first: &RawTransfer, report: &mut Report) {
    let mut wrong = |sentence: String| {
        report.add(Finding::new(Law::Versions, first, sentence).of_key(&version.key));
    };
    let expected = earlier.map_or(0, |earlier| earlier.version.number) + 1;
    if version.number != expected {
        wrong(format!("version {} stands where version {expected} is expected", version.number));
    }
    if first.id != ids.first_part(&version.key, version.number) {
        wrong(format!("version {} has an id that does not keep others from making it", version.number));
    }
    let log = if version.origin.is_some() { ids.instances() } else { ids.registry() };
    if first.debit != log || first.credit != ids.debt(&version.key) {
        wrong(format!("version {} is not in the log that it belongs to", version.number));
    }
    if let Status::Decreasing { to } = version.status
        && to >= version.capacity
    {
        wrong(format!("version {} waits to be lowered from {} to {to}", version.number, version.capacity));
    }
}

/// Whether a version starts a new schedule: another kind or new accounts; or an operator took over an instance.
fn starts_schedule(earlier: &Limit, version: &Version) -> bool {
    earlier.version.kind != version.kind
        || earlier.version.calendar != version.calendar
        || earlier.version.accounts_since != version.accounts_since
        || earlier.version.origin.is_some() && version.origin.is_none()
}

fn new_schedule(
    ids: Ids,
    version: &Version,
    limit: u32,
    timestamp_ns: u64,
    accounts: &mut Accounts,
) -> Option<Schedule> {
    let count = schedule::spent_accounts(version.kind);
    if count == 0 || version.instances_max.is_some() {
        return None;
    }
    let (key, since_version) = (&version.key, version.number);
    let clock = if schedule::shows_step_end(version.kind) {
        ids.window_end(key, since_version)
    } else {
        ids.clock(key, schedule::counts_ns(version.kind))
    };
    let since_ns = version.schedule_since_ns.unwrap_or(timestamp_ns / NS_PER_MS * NS_PER_MS);
    let mut schedule = Schedule {
        since_version,
        kind: version.kind,
        clock,
        since_ns,
        phases_from_ns: since_ns,
        first_window_ends_ms: version.first_window_ends_ms,
    };
    if version.schedule_since_ns.is_some() {
        schedule.phases_from_ns = timestamp_ns.next_multiple_of(schedule.tick_ns());
    }
    for index in 0..count {
        accounts.assign(ids.spent(key, since_version, index), Role::Spent { limit, since_version, index });
    }
    accounts.assign(schedule.clock, Role::Clock(limit));
    if schedule.is_bucket() {
        accounts.assign(ids.borrowed(key), Role::Borrowed(limit));
    }
    Some(schedule)
}
