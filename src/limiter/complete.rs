//! The operation complete: settles a lease with the amounts that were used, in as many chains as the ledger asks for.

use std::sync::Arc;

use futures_util::future::join_all;
use smallvec::SmallVec;

use super::allotment::Completion;
use super::{Limiter, LimiterError};
use crate::decide::Limit;
use crate::decide::borrow;
use crate::decide::lease::{HeldLeg, Lease};
use crate::decide::schedule_change::{self, Successor};
use crate::decide::settle::{Behind, Ending, LegOverage, Next, Settlement, Used, index_outside_lease};
use crate::ledger::{AccountId, Ledger, LedgerError, find_closing, newest_closing};
use crate::limit::{LimitKey, Status};
use crate::protocol::{Actual, Complete, CompleteOutcome, UnreservedOverage};
use crate::registry::{CaughtUp, Entry};
use crate::telemetry::Occurrences;

static UNRESERVED_OVERAGES: Occurrences = Occurrences::new();

/// The most replaced schedules through which a complete follows the spent units of a lease. Each takes a look-up.
const SUCCESSORS_MAX: usize = 64;

impl<L: Ledger> Limiter<L> {
    /// Settles a lease with the amounts that were used.
    ///
    /// If the future is dropped, the outcome is unknown; the same command finds out.
    pub async fn complete(&self, command: &Complete) -> Result<CompleteOutcome, LimiterError> {
        match self.complete_at_once(command) {
            Completion::NotAllotted => self.complete_in_ledger(command, &[]).await,
            Completion::Answer(answer) => Ok(answer),
            Completion::Later => self.complete_allotted(command).await,
        }
    }

    /// Settles what the ledger has of a lease. `also` are limits of which the lease holds something in allotments and used
    /// more; their overage is settled in the same chain.
    pub(super) async fn complete_in_ledger(
        &self,
        command: &Complete,
        also: &[HeldLeg],
    ) -> Result<CompleteOutcome, LimiterError> {
        let now_ns = self.ledger.now_ns();
        let cached = self.lease_cache.take(command.lease);
        // Another replica may have extended or renewed a lease that has expired as far as the cache knows.
        let lease = match cached.filter(|lease| !lease.is_expired(now_ns)) {
            Some(lease) => lease,
            None => match self.read_lease(command.lease).await? {
                Some(lease) => lease,
                None if also.is_empty() => return Ok(CompleteOutcome::NothingToDo),
                None => Lease::without_legs(command.lease),
            },
        };
        let lease = lease.with_legs(also);
        let mut used = self.used(command.actuals(), &lease);
        if index_outside_lease(&lease, &used, now_ns).is_some() || used.iter().any(|used| !used.is_known) {
            // Another replica may have defined a limit, or given it a new account.
            let keys = command.actuals().iter().map(|actual| &actual.key);
            Box::pin(self.registry.refresh_limits(keys)).await?;
            used = self.used(command.actuals(), &lease);
            if let Some(index) = index_outside_lease(&lease, &used, now_ns) {
                let part = self.without_allotted(command, &lease, &used);
                return match part.filter(|part| part.actuals().len() < command.actuals().len()) {
                    Some(part) => Box::pin(self.complete_in_ledger(&part, also)).await,
                    None => Ok(CompleteOutcome::NotInLease { index }),
                };
            }
        }
        if exceeded(&lease, &used).next().is_some() {
            self.refill_exceeded(command, &lease, &used).await?;
        }
        let mut settlement = Settlement::new(self.ids, lease, &used);
        self.settle(command, &used, &mut settlement, now_ns, also).await
    }

    /// The complete without the limits that another replica may have served from an allotment. `None` if it names other limits
    /// that the lease does not hold.
    fn without_allotted(&self, command: &Complete, lease: &Lease, used: &[Used]) -> Option<Complete> {
        let is_held = |used: &Used| lease.legs.iter().any(|leg| used.is_of(leg.account));
        let is_delegated = |actual: &Actual| {
            let entry = self.registry.snapshot().get(&actual.key);
            entry.is_some_and(|entry| entry.limit.state.definition.allotment.is_some())
        };
        let actuals = || command.actuals().iter().zip(used);
        if actuals().any(|(actual, used)| !is_held(used) && !is_delegated(actual)) {
            return None;
        }
        let held = actuals().filter(|(_, used)| is_held(used)).map(|(actual, _)| actual.clone()).collect();
        Complete::new(command.lease, command.job_id.clone(), held).ok()
    }

    /// Settles each lease. The answers are in the order of the commands.
    pub async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<CompleteOutcome, LimiterError>> {
        // Together, so that look-ups and chains share requests to the ledger.
        join_all(commands.iter().map(|command| self.complete(command))).await
    }

    async fn settle(
        &self,
        command: &Complete,
        used: &[Used],
        settlement: &mut Settlement,
        now_ns: u64,
        also: &[HeldLeg],
    ) -> Result<CompleteOutcome, LimiterError> {
        // The first round uses the time that was read just now.
        let mut now_ns = Some(now_ns);
        loop {
            match settlement.next(|| now_ns.take().unwrap_or_else(|| self.ledger.now_ns()))? {
                Next::Send(chain) => {
                    let release = self.denial_cache.guard_release(settlement.accounts());
                    let outcome = self.ledger.submit_one(chain).await?;
                    release.outcome_known();
                    settlement.apply_outcome(outcome)?;
                }
                Next::FindClosing(account) => {
                    settlement.closing_found(find_closing(&*self.ledger, account).await?)?;
                }
                Next::FindRoom(account) => {
                    let accounts = self.ledger.accounts(vec![account]).await?;
                    let account = accounts.into_iter().next().flatten();
                    settlement.room_found(account.map_or(0, |account| account.available()))?;
                }
                Next::ReadOwed { account, acts_at_unix_ms } => {
                    let key = used.iter().position(|used| used.is_of(account));
                    let key = key.and_then(|index| command.actuals().get(index)).map(|actual| &actual.key);
                    settlement.owed_read(self.behind(key, acts_at_unix_ms).await?)?;
                }
                Next::FindSuccessor(spent) => {
                    let found = self.find_successor(spent).await?;
                    settlement.successor_found(found, self.ledger.now_ns())?;
                }
                Next::ReadLease => {
                    let lease = self.read_lease(command.lease).await?;
                    settlement.lease_read(lease.map(|lease| lease.with_legs(also)), used);
                }
                Next::Done(Ending::AlreadyOver) => return Ok(CompleteOutcome::NothingToDo),
                Next::Done(Ending::Settled) => return Ok(self.settled(command, used, settlement)),
            }
        }
    }

    /// What the bucket owes behind a reservation ahead with this date to act.
    async fn behind(&self, key: Option<&LimitKey>, acts_at_unix_ms: u64) -> Result<Behind, LimiterError> {
        let known = |key: &LimitKey| self.registry.snapshot().get(key);
        let unknown = || LedgerError::Unexpected("a reservation ahead on an unknown bucket".to_owned());
        let mut entry = key.and_then(known).ok_or_else(unknown)?;
        let mut at_ns = self.ledger.now_ns();
        match self.registry.refiller().catch_up(&[&entry], at_ns).await? {
            CaughtUp::At { at_ns: caught_up_ns } => at_ns = caught_up_ns,
            CaughtUp::ScheduleReplaced => {
                self.registry.refresh().await?;
                entry = key.and_then(known).unwrap_or(entry);
            }
        }
        let borrowed = entry.limit.borrowed_account();
        let accounts = self.ledger.accounts(borrowed.into_iter().collect()).await?;
        let owed = accounts.into_iter().flatten().map(|account| account.owed()).sum();
        Ok(borrow::behind(&entry.limit, entry.clock_value(), at_ns, acts_at_unix_ms, owed))
    }

    /// Makes the due refills of limits of which more was used than reserved. Without them the overage would not find
    /// the room that they make, or they would refill the overage, which came later.
    async fn refill_exceeded(
        &self,
        command: &Complete,
        lease: &Lease,
        used: &[Used],
    ) -> Result<(), LimiterError> {
        let keys = exceeded(lease, used).filter_map(|index| command.actuals().get(index));
        let entries = keys.filter_map(|actual| self.registry.snapshot().get(&actual.key));
        // A closed account has no room for overage.
        let entries: Vec<Arc<Entry>> =
            entries.filter(|entry| entry.limit.state.status == Status::Active).collect();
        let entries: Vec<&Entry> = entries.iter().map(|entry| &**entry).collect();
        // If a new version has replaced a schedule, the settlement finds the spent account closed.
        self.registry.refiller().catch_up_to_take(&entries, self.ledger.now_ns()).await?;
        Ok(())
    }

    /// The account that took over the balance of a closed spent account, through all schedules that were replaced
    /// since. `None` if there is none, or if too many schedules were replaced.
    async fn find_successor(&self, spent: AccountId) -> Result<Option<Successor>, LimiterError> {
        let (mut spent, mut until_ns, mut found) = (spent, u64::MAX, None);
        for _ in 0..SUCCESSORS_MAX {
            let Some(closing) = newest_closing(&*self.ledger, spent).await? else { return Ok(found) };
            let Some(successor) = schedule_change::successor_of(&closing) else { return Ok(None) };
            (spent, until_ns) = (successor.spent, until_ns.min(successor.until_ns));
            found = Some(Successor { spent, until_ns });
        }
        Ok(None)
    }

    fn settled(&self, command: &Complete, used: &[Used], settlement: &Settlement) -> CompleteOutcome {
        self.waiting.lease_settled(command.lease);
        settlement.released().for_each(|(account, units)| {
            self.denial_cache.released(account, units);
            self.waiting.released(account);
        });
        if settlement.released().next().is_some() {
            let entries = command.actuals().iter().filter_map(|it| self.registry.snapshot().get(&it.key));
            entries.for_each(|entry| entry.note_given_back());
        }
        let overage = |overage| unreserved_overage(command, used, overage);
        let overages: Vec<UnreservedOverage> = settlement.overages().filter_map(overage).collect();
        for UnreservedOverage { key, amount, overage } in &overages {
            let Some(times) = UNRESERVED_OVERAGES.count() else { continue };
            let (lease_id, job_id) = (command.lease, &command.job_id);
            tracing::info!(
                times, %lease_id, job_id, %key, amount, ?overage,
                "usage above the reservation found no room; the last of so many times"
            );
        }
        CompleteOutcome::Settled { overages }
    }

    fn used(&self, actuals: &[Actual], lease: &Lease) -> SmallVec<[Used; 4]> {
        let used = |actual: &Actual| {
            let entry = self.registry.snapshot().get(&actual.key);
            // Overage is usage, and may come long after the reserve.
            entry.iter().for_each(|entry| self.registry.snapshot().note_usage_changed(entry));
            let limit = entry.as_ref().map(|entry| &entry.limit);
            let mut accounts: SmallVec<[AccountId; 1]> =
                limit.into_iter().flat_map(|limit| lease.accounts_of(self.ids, limit)).collect();
            if accounts.is_empty() {
                accounts.push(limit.map_or_else(|| self.ids.limit(&actual.key), |limit| limit.account));
            }
            Used {
                accounts,
                amount: actual.amount,
                debt_account: limit.map_or_else(|| self.ids.debt(&actual.key), |limit| limit.debt_account),
                borrowed: limit.and_then(Limit::borrowed_account),
                is_known: limit.is_some(),
            }
        };
        actuals.iter().map(used).collect()
    }
}

/// The indexes of the limits of which more was used than reserved.
fn exceeded(lease: &Lease, used: &[Used]) -> impl Iterator<Item = usize> {
    let is_exceeded = |(_, used): &(usize, &Used)| u128::from(used.amount) > lease.taken(&used.accounts);
    used.iter().enumerate().filter(is_exceeded).map(|(index, _)| index)
}

fn unreserved_overage(command: &Complete, used: &[Used], overage: LegOverage) -> Option<UnreservedOverage> {
    let index = used.iter().position(|used| used.is_of(overage.account))?;
    let key = command.actuals().get(index)?.key.clone();
    Some(UnreservedOverage { key, amount: overage.amount, overage: overage.overage })
}
