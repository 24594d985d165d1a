//! Renewals of slots that this replica serves from allotments.

use std::sync::Arc;

use super::pool::{Pool, Units};
use super::step::AccountState;
use super::table::{Entry, Leg, State};
use crate::ledger::{Ledger, LedgerError};
use crate::limiter::{Limiter, LimiterError};
use crate::protocol::{EXTENDS_MAX, Renew, RenewOutcome, ReserveOutcome};
use crate::time::unix_ms;

/// How often allotments are stepped so that they cover a renewal.
const ROUNDS_MAX: usize = 4;

/// How a renewal goes on, by the entry of its lease.
enum Begin {
    /// The lease holds no slots in allotments: the ledger answers.
    NotAllotted,
    Answer(RenewOutcome),
    /// These slots are in allotments, and the ledger may have a part of the lease, too.
    Renew {
        has_rest: bool,
    },
}

impl<L: Ledger> Limiter<L> {
    /// Renews the slots of a lease that it holds in allotments. `None` if it holds none there.
    pub(in crate::limiter) async fn renew_allotted(
        &self,
        command: &Renew,
    ) -> Result<Option<RenewOutcome>, LimiterError> {
        if self.allotments.table.is_empty() {
            return Ok(None);
        }
        let has_rest = match self.begin_renew(command) {
            Begin::NotAllotted => return Ok(None),
            Begin::Answer(answer) => return Ok(Some(answer)),
            Begin::Renew { has_rest } => has_rest,
        };
        if has_rest {
            match self.renew_in_ledger(command).await? {
                RenewOutcome::NoSlots | RenewOutcome::Answered(ReserveOutcome::Granted { .. }) => {}
                refused @ (RenewOutcome::Answered(_) | RenewOutcome::TooMany) => return Ok(Some(refused)),
            }
        }
        for _ in 0..ROUNDS_MAX {
            match self.renew_entry(command) {
                Ok(answer) => return Ok(Some(answer)),
                Err((pool, units)) => {
                    if let Some(key) = self.deleted_pool(&pool).await? {
                        return Ok(Some(RenewOutcome::Answered(ReserveOutcome::UnknownKey { key })));
                    }
                    self.step_for_renewal(&pool, units).await?;
                }
            }
        }
        let message = format!("lease {} was not renewed after {ROUNDS_MAX} steps", command.lease);
        Err(LedgerError::Unexpected(message).into())
    }

    fn begin_renew(&self, command: &Renew) -> Begin {
        let mut shard = self.allotments.table.lock(command.lease);
        let Some(entry) = shard.get_mut(command.lease) else { return Begin::NotAllotted };
        let has_slots = entry.legs.iter().any(|leg| leg.are_slots);
        match entry.state {
            State::Direct | State::Denied(_) => return Begin::NotAllotted,
            _ if !has_slots && entry.rest.is_some() => return Begin::NotAllotted,
            State::Settled => return Begin::Answer(RenewOutcome::Answered(ReserveOutcome::LeaseSettled)),
            State::Expired => return Begin::Answer(RenewOutcome::Answered(ReserveOutcome::LeaseExpired)),
            State::Unknown => return Begin::Answer(RenewOutcome::Answered(ReserveOutcome::LeaseSettled)),
            State::Running if !has_slots => return Begin::Answer(RenewOutcome::NoSlots),
            State::Running => {}
        }
        match entry.renewed_before(command) {
            Some(answer) => Begin::Answer(answer),
            None => Begin::Renew { has_rest: entry.rest.is_some() },
        }
    }

    /// Begins the holds of all slots anew; or tells the slots whose allotment does not cover that.
    fn renew_entry(&self, command: &Renew) -> Result<RenewOutcome, (Arc<Pool>, Units)> {
        let mut shard = self.allotments.table.lock(command.lease);
        let running = |entry: &&mut Entry| entry.state == State::Running && !entry.busy;
        let answered = |answer| Ok(RenewOutcome::Answered(answer));
        let Some(entry) = shard.get_mut(command.lease).filter(running) else {
            return answered(ReserveOutcome::LeaseSettled);
        };
        if let Some(answer) = entry.renewed_before(command) {
            return Ok(answer);
        }
        let now_ns = self.ledger.now_ns();
        let slots = || entry.legs.iter().filter(|leg| leg.are_slots);
        if slots().any(|leg| leg.units.ends_at_ns <= now_ns) {
            return answered(ReserveOutcome::LeaseExpired);
        }
        let more = entry.more();
        if more.extends.len() + more.renewals.len() >= EXTENDS_MAX {
            return Ok(RenewOutcome::TooMany);
        }
        // A slot that is held longer, because a later one is not covered, is only held too long.
        for leg in entry.legs.iter_mut().filter(|leg| leg.are_slots) {
            let held_anew = self.hold_anew(leg).ok_or_else(|| (Arc::clone(&leg.pool), leg.units))?;
            leg.units = held_anew;
        }
        entry.more().renewals.push((command.renew_id, unix_ms(now_ns)));
        answered(ReserveOutcome::granted(unix_ms(now_ns)))
    }

    /// Begins a hold now of the slots of a leg; `None` if their allotment does not cover it.
    fn hold_anew(&self, leg: &Leg) -> Option<Units> {
        let mut state = leg.pool.lock();
        let now = self.allotment_now();
        let number = state.find(leg.units)?.number;
        let allotment = state.serving.iter_mut().find(|it| it.number == number && it.is_fresh(now))?;
        let ends_at_ns = allotment.hold_ends_at_ns(now);
        allotment.release(leg.units.number, leg.units.units);
        allotment.take(leg.units.units, ends_at_ns);
        Some(Units { number, ends_at_ns, ..leg.units })
    }

    /// Replaces the allotment of these slots by one that lasts for their whole time-out.
    async fn step_for_renewal(&self, pool: &Arc<Pool>, units: Units) -> Result<(), LimiterError> {
        let _turn = pool.chain_turn.lock().await;
        self.finish_under_way(pool).await?;
        let closing = match self.account_state(pool, true).await? {
            AccountState::Closed(closing) => Some(closing),
            AccountState::Open(_) | AccountState::Replaced => None,
        };
        {
            let now = self.allotment_now();
            let mut state = pool.lock();
            let Some(allotment) = state.find(units) else { return Ok(()) };
            let (number, keep, terms) = (allotment.number, allotment.used, allotment.terms);
            // Another step may have covered it meanwhile.
            if allotment.is_fresh(now) && state.serving.iter().any(|it| it.number == number) {
                return Ok(());
            }
            let step =
                state.renewing(pool.account, [number].into_iter().collect(), keep, terms, closing, now);
            state.under_way = Some(step);
        }
        self.finish_under_way(pool).await?;
        Ok(())
    }

    /// The key of a limit, if it was deleted or has another account.
    async fn deleted_pool(&self, pool: &Pool) -> Result<Option<crate::limit::LimitKey>, LimiterError> {
        self.registry.refresh().await?;
        let entry = self.registry.snapshot().get(&pool.key);
        let is_gone = entry
            .is_some_and(|entry| entry.limit.account != pool.account || entry.limit.state.status.is_gone());
        Ok(is_gone.then(|| pool.key.clone()))
    }
}

impl Entry {
    fn renewed_before(&self, command: &Renew) -> Option<RenewOutcome> {
        let renewals = &self.more.as_ref()?.renewals;
        let (_, at_unix_ms) = renewals.iter().find(|(renew_id, _)| *renew_id == command.renew_id)?;
        let granted = ReserveOutcome::granted(*at_unix_ms);
        Some(RenewOutcome::Answered(granted))
    }
}
