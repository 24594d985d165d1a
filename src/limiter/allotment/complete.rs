//! Completes of leases that this replica serves from allotments.

use std::pin::pin;

use futures_util::future::BoxFuture;

use super::claim::Claim;
use super::table::{Entry, Settling, State};
use crate::decide::lease::HeldLeg;
use crate::ledger::{Ledger, LedgerError};
use crate::limiter::{Limiter, LimiterError};
use crate::protocol::{Actual, Complete, CompleteOutcome};

/// How a complete goes on, by the entry of its lease.
pub(in crate::limiter) enum Completion {
    /// The lease holds nothing of allotments: the ledger settles it.
    NotAllotted,
    Answer(CompleteOutcome),
    /// The ledger has a part in it, or another call works on the lease.
    Later,
}

/// What to do for a complete that the ledger has a part in.
enum Begin<'a> {
    NotAllotted,
    Answer(CompleteOutcome),
    Wait,
    Settle(Claim<'a>, Settling, Vec<HeldLeg>),
}

impl<L: Ledger> Limiter<L> {
    /// Settles a lease that is in allotments as a whole.
    pub(in crate::limiter) fn complete_at_once(&self, command: &Complete) -> Completion {
        let table = &self.allotments.table;
        if table.is_empty() {
            return Completion::NotAllotted;
        }
        let now_ns = || self.ledger.now_ns();
        let mut shard = table.lock(command.lease);
        let completion = shard.change(command.lease, |entry| {
            let completion = entry.complete_at_once(command, now_ns);
            (completion, entry.state == State::Settled)
        });
        completion.unwrap_or(Completion::NotAllotted)
    }

    /// Settles a lease of which a part is in allotments.
    pub(in crate::limiter) fn complete_allotted<'a>(
        &'a self,
        command: &'a Complete,
    ) -> BoxFuture<'a, Result<CompleteOutcome, LimiterError>> {
        Box::pin(async move {
            loop {
                let mut freed = pin!(self.allotments.table.freed.notified());
                freed.as_mut().enable();
                match self.begin_complete(command) {
                    Begin::NotAllotted => return self.complete_in_ledger(command, &[]).await,
                    Begin::Answer(answer) => return Ok(answer),
                    Begin::Wait => freed.await,
                    Begin::Settle(claim, settling, exceeded) => {
                        return self.settle_allotted(claim, &settling, &exceeded).await;
                    }
                }
            }
        })
    }

    fn begin_complete(&self, command: &Complete) -> Begin<'_> {
        let lease = command.lease;
        let mut shard = self.allotments.table.lock(lease);
        let Some(entry) = shard.get_mut(lease) else { return Begin::NotAllotted };
        if entry.busy {
            return Begin::Wait;
        }
        match entry.state {
            State::Direct | State::Denied(_) => return Begin::NotAllotted,
            State::Settled => return Begin::Answer(CompleteOutcome::NothingToDo),
            State::Running | State::Unknown | State::Expired => {}
        }
        let now_ns = self.ledger.now_ns();
        let is_over = entry.rest.is_none() && entry.legs.iter().all(|leg| leg.units.ends_at_ns <= now_ns);
        if !is_over && let Some(index) = entry.index_outside(command) {
            return Begin::Answer(CompleteOutcome::NotInLease { index });
        }
        let settling = match entry.more.as_ref().and_then(|more| more.settling.clone()) {
            Some(settling) => settling,
            None => {
                let exceeded = self.take_overages(entry, command);
                Settling { command: command.clone(), exceeded }
            }
        };
        if entry.rest.is_none() && settling.exceeded.is_empty() {
            entry.settle_legs(&settling.command);
            entry.state = State::Settled;
            shard.list(lease);
            return Begin::Answer(match is_over {
                true => CompleteOutcome::NothingToDo,
                false => CompleteOutcome::Settled { overages: Vec::new() },
            });
        }
        entry.more().settling = Some(settling.clone());
        entry.busy = true;
        let exceeded = entry.exceeded_legs(&settling.exceeded);
        Begin::Settle(Claim::new(&self.allotments, lease, true), settling, exceeded)
    }

    /// Settles the part of the ledger first: its guard decides which complete settles.
    async fn settle_allotted(
        &self,
        claim: Claim<'_>,
        settling: &Settling,
        exceeded: &[HeldLeg],
    ) -> Result<CompleteOutcome, LimiterError> {
        let (command, indexes) = self.part_of_ledger(settling)?;
        let outcome = self.complete_in_ledger(&command, exceeded).await?;
        if let CompleteOutcome::NotInLease { index } = outcome {
            claim.finish(|entry| entry.more().settling = None);
            let index = indexes.get(index).copied().unwrap_or(index);
            return Ok(CompleteOutcome::NotInLease { index });
        }
        claim.finish(|entry| {
            entry.settle_legs(&settling.command);
            entry.state = State::Settled;
        });
        Ok(outcome)
    }

    /// The complete of what the ledger has of the lease, and the indexes of its amounts in the whole complete.
    fn part_of_ledger(&self, settling: &Settling) -> Result<(Complete, Vec<usize>), LimiterError> {
        let whole = &settling.command;
        let mut shard = self.allotments.table.lock(whole.lease);
        let entry = shard.get_mut(whole.lease);
        let rest = entry.as_ref().and_then(|entry| entry.rest.as_ref());
        let is_part = |actual: &Actual| {
            rest.is_some_and(|rest| rest.requirements().iter().any(|it| it.key == actual.key))
                || settling.exceeded.iter().any(|pool| pool.key == actual.key)
        };
        let part = whole.actuals().iter().enumerate().filter(|(_, actual)| is_part(actual));
        let (indexes, actuals) = part.map(|(index, actual)| (index, actual.clone())).unzip();
        let part = Complete::new(whole.lease, whole.job_id.clone(), actuals);
        let part = part.map_err(|error| LedgerError::Unexpected(error.to_string()))?;
        Ok((part, indexes))
    }
}

impl Entry {
    /// Settles a lease that is in allotments as a whole, was neither extended nor renewed, and used no more than it holds.
    fn complete_at_once(&mut self, command: &Complete, now_ns: impl FnOnce() -> u64) -> Completion {
        if self.busy {
            return Completion::Later;
        }
        match self.state {
            State::Direct | State::Denied(_) => Completion::NotAllotted,
            State::Settled => Completion::Answer(CompleteOutcome::NothingToDo),
            State::Running if self.rest.is_none() && self.more.is_none() => {
                if let Some(index) = self.index_outside(command) {
                    return Completion::Answer(CompleteOutcome::NotInLease { index });
                }
                if self.is_exceeded_by(command) || self.has_ended_part(now_ns()) {
                    return Completion::Later;
                }
                self.settle_legs(command);
                self.state = State::Settled;
                Completion::Answer(CompleteOutcome::Settled { overages: Vec::new() })
            }
            State::Running | State::Unknown | State::Expired => Completion::Later,
        }
    }

    /// The index of the first amount of a limit that the lease does not hold.
    fn index_outside(&self, command: &Complete) -> Option<usize> {
        let rest = self.rest.as_ref().map_or(&[][..], |rest| rest.requirements());
        let is_outside = |actual: &Actual| {
            !self.legs.iter().any(|leg| leg.pool.key == actual.key)
                && !rest.iter().any(|requirement| requirement.key == actual.key)
        };
        command.actuals().iter().position(is_outside)
    }

    fn is_exceeded_by(&self, command: &Complete) -> bool {
        let is_exceeded = |actual: &Actual| {
            let holds = self.legs.iter().any(|leg| leg.pool.key == actual.key && !leg.are_slots);
            holds && actual.amount > self.reserved(&actual.key)
        };
        command.actuals().iter().any(is_exceeded)
    }

    /// Releases what was not used, and all slots.
    fn settle_legs(&mut self, command: &Complete) {
        for index in 0..self.legs.len() {
            let (before, from) = self.legs.split_at_mut(index);
            let Some(leg) = from.first_mut() else { return };
            let actual = command.actuals().iter().find(|actual| actual.key == leg.pool.key);
            let keep = match actual {
                _ if leg.are_slots => 0,
                None => leg.units.units,
                Some(actual) => {
                    let earlier = before.iter().filter(|earlier| earlier.pool.key == leg.pool.key);
                    let used_of_earlier: u64 = earlier.map(|earlier| earlier.reserved).sum();
                    actual.amount.saturating_sub(used_of_earlier).min(leg.units.units)
                }
            };
            leg.release(leg.units.units - keep);
            leg.units.units = keep;
        }
    }
}
