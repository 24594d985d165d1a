//! Extends of leases that this replica serves from allotments.

use std::pin::pin;
use std::sync::Arc;

use super::pool::Pool;
use super::table::{Entry, Extended, State};
use crate::decide::reserve::Denial;
use crate::ledger::Ledger;
use crate::limiter::{Limiter, LimiterError};
use crate::protocol::{EXTENDS_MAX, Extend, ExtendOutcome, ReserveOutcome};
use crate::time::unix_ms;

/// How an extend goes on, by the entry of its lease.
enum Begin {
    /// The lease holds nothing of the limit in allotments: the ledger answers.
    NotAllotted,
    Answer(ExtendOutcome),
    /// Another call works on the lease.
    Wait,
    /// The lease is running, and holds some of this limit.
    Take(Arc<Pool>),
}

impl<L: Ledger> Limiter<L> {
    /// Takes more of a limit for a lease that holds it in allotments. `None` if the ledger holds what the lease has of it.
    ///
    /// Only allotments extend such a lease. What is beside them in the ledger is not asked for.
    pub(in crate::limiter) async fn extend_allotted(
        &self,
        command: &Extend,
    ) -> Result<Option<ExtendOutcome>, LimiterError> {
        if self.allotments.table.is_empty() {
            return Ok(None);
        }
        loop {
            let mut freed = pin!(self.allotments.table.freed.notified());
            freed.as_mut().enable();
            match self.begin_extend(command) {
                Begin::NotAllotted => return Ok(None),
                Begin::Answer(answer) => return Ok(Some(answer)),
                Begin::Wait => freed.await,
                Begin::Take(pool) => {
                    if let Some(answer) = self.extend_from(&pool, command).await? {
                        return Ok(Some(answer));
                    }
                }
            }
        }
    }

    /// Takes the units from allotments of a limit. `None` if another call works on the lease by now.
    async fn extend_from(
        &self,
        pool: &Arc<Pool>,
        command: &Extend,
    ) -> Result<Option<ExtendOutcome>, LimiterError> {
        let (wanted, units) = (command.as_reserve(), command.requirement.amount.get());
        let resolved = self.resolve(&wanted).await?;
        if let Some(terms) = self.current_terms(pool) {
            pool.lock().demand.ask(units, terms.period_ns, self.allotment_now());
            self.take_for(pool, terms, units).await?;
        }
        let denial = || {
            let key = command.requirement.key.clone();
            let denial = resolved.impossible().unwrap_or(Denial::NoRoom(key));
            self.deny(&resolved, denial, false)
        };
        Ok(self.extend_entry(command, pool, denial))
    }

    fn begin_extend(&self, command: &Extend) -> Begin {
        let mut shard = self.allotments.table.lock(command.lease);
        let Some(entry) = shard.get_mut(command.lease) else { return Begin::NotAllotted };
        if let Some(answer) = entry.extended_before(command) {
            return Begin::Answer(answer);
        }
        if entry.busy {
            return Begin::Wait;
        }
        if entry.legs.is_empty() {
            return Begin::NotAllotted;
        }
        let is_in_rest = |rest: &crate::protocol::Reserve| {
            rest.requirements().iter().any(|it| it.key == command.requirement.key)
        };
        let is_allotted = entry.legs.iter().any(|leg| leg.pool.key == command.requirement.key);
        match &entry.state {
            State::Direct | State::Denied(_) => return Begin::NotAllotted,
            // The ledger knows how long its part runs.
            State::Running | State::Expired
                if !is_allotted && entry.rest.as_deref().is_some_and(is_in_rest) =>
            {
                return Begin::NotAllotted;
            }
            State::Running if !entry.is_expired(self.ledger.now_ns()) => {}
            State::Running | State::Unknown | State::Expired | State::Settled => {
                return Begin::Answer(ExtendOutcome::Answered(ReserveOutcome::LeaseSettled));
            }
        }
        match entry.legs.iter().find(|leg| leg.pool.key == command.requirement.key) {
            Some(leg) => Begin::Take(Arc::clone(&leg.pool)),
            None => Begin::Answer(ExtendOutcome::NotInLease),
        }
    }

    /// Takes the units, unless the lease changed meanwhile, and remembers the answer. `None` if another call works on it.
    fn extend_entry(
        &self,
        command: &Extend,
        pool: &Arc<Pool>,
        denial: impl FnOnce() -> ReserveOutcome,
    ) -> Option<ExtendOutcome> {
        let mut shard = self.allotments.table.lock(command.lease);
        let now_ns = self.ledger.now_ns();
        let running =
            |entry: &&mut Entry| entry.busy || entry.state == State::Running && !entry.is_expired(now_ns);
        let Some(entry) = shard.get_mut(command.lease).filter(running) else {
            return Some(ExtendOutcome::Answered(ReserveOutcome::LeaseSettled));
        };
        if entry.busy {
            return None;
        }
        if let Some(answer) = entry.extended_before(command) {
            return Some(answer);
        }
        if entry.more().extensions() >= EXTENDS_MAX {
            return Some(ExtendOutcome::TooMany);
        }
        let answer = if self.add_units(entry, pool, command.requirement.amount.get()) {
            ReserveOutcome::granted(unix_ms(now_ns))
        } else {
            denial()
        };
        let Extend { extend_id, requirement, .. } = command.clone();
        entry.more().remember(Extended { extend_id, requirement, answer: answer.clone() });
        Some(ExtendOutcome::Answered(answer))
    }
}

impl Entry {
    /// Whether everything that it holds in allotments has ended.
    fn is_expired(&self, now_ns: u64) -> bool {
        self.legs.iter().all(|leg| leg.units.ends_at_ns <= now_ns)
    }

    /// The answer to an extend that was answered before.
    fn extended_before(&self, command: &Extend) -> Option<ExtendOutcome> {
        let extends = &self.more.as_ref()?.extends;
        let earlier = extends.iter().find(|earlier| earlier.extend_id == command.extend_id)?;
        Some(ExtendOutcome::Answered(match earlier.requirement == command.requirement {
            true => earlier.answer.clone(),
            false => ReserveOutcome::LeaseConflict,
        }))
    }
}
