//! Renewals of slots that this replica serves from allotments.

use std::pin::pin;
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
    /// Another call works on the lease.
    Wait,
    /// It holds slots in allotments.
    Renew(Rest),
}

/// What the ledger has of a lease that holds slots in allotments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    /// It has nothing to renew, and may have expired since.
    NoSlots,
    Slots,
}

/// What became of the slots in allotments.
enum Renewed {
    Answer(RenewOutcome),
    /// The allotment of these slots does not cover a hold that begins now.
    NotCovered(Arc<Pool>, Units),
    /// Another call works on the lease.
    Busy,
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
        loop {
            let mut freed = pin!(self.allotments.table.freed.notified());
            freed.as_mut().enable();
            let rest = match self.begin_renew(command) {
                Begin::NotAllotted => return Ok(None),
                Begin::Answer(answer) => return Ok(Some(answer)),
                Begin::Wait => {
                    freed.await;
                    continue;
                }
                Begin::Renew(rest) => rest,
            };
            if let Some(refused) = self.renew_rest(command, rest).await? {
                return Ok(Some(refused));
            }
            if let Some(answer) = self.renew_slots(command).await? {
                return Ok(Some(answer));
            }
        }
    }

    /// Renews what the ledger has of the lease. Returns the answer if that refuses the renewal.
    async fn renew_rest(&self, command: &Renew, rest: Rest) -> Result<Option<RenewOutcome>, LimiterError> {
        match rest {
            Rest::Nothing => Ok(None),
            Rest::NoSlots => {
                // Another replica may have completed it.
                let is_settled = self.read_lease(command.lease).await?.is_some_and(|lease| lease.settled);
                Ok(is_settled.then_some(RenewOutcome::Answered(ReserveOutcome::LeaseSettled)))
            }
            Rest::Slots => Ok(match self.renew_in_ledger(command).await? {
                RenewOutcome::NoSlots | RenewOutcome::Answered(ReserveOutcome::Granted { .. }) => None,
                refused @ (RenewOutcome::Answered(_) | RenewOutcome::TooMany) => Some(refused),
            }),
        }
    }

    /// Renews the slots in allotments, and steps those that do not cover that. `None` if another call works on the lease.
    async fn renew_slots(&self, command: &Renew) -> Result<Option<RenewOutcome>, LimiterError> {
        for _ in 0..ROUNDS_MAX {
            match self.renew_entry(command) {
                Renewed::Answer(answer) => return Ok(Some(answer)),
                Renewed::Busy => return Ok(None),
                Renewed::NotCovered(pool, units) => {
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
        if entry.busy {
            return Begin::Wait;
        }
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
            None if entry.rest.is_none() => Begin::Renew(Rest::Nothing),
            None => Begin::Renew(if entry.rest_has_slots { Rest::Slots } else { Rest::NoSlots }),
        }
    }

    /// Begins the holds of all slots anew.
    fn renew_entry(&self, command: &Renew) -> Renewed {
        let mut shard = self.allotments.table.lock(command.lease);
        let running = |entry: &&mut Entry| entry.busy || entry.state == State::Running;
        let answered = |answer| Renewed::Answer(RenewOutcome::Answered(answer));
        let Some(entry) = shard.get_mut(command.lease).filter(running) else {
            return answered(ReserveOutcome::LeaseSettled);
        };
        if entry.busy {
            return Renewed::Busy;
        }
        if let Some(answer) = entry.renewed_before(command) {
            return Renewed::Answer(answer);
        }
        let now_ns = self.ledger.now_ns();
        let slots = || entry.legs.iter().filter(|leg| leg.are_slots);
        if slots().any(|leg| leg.units.ends_at_ns <= now_ns) {
            return answered(ReserveOutcome::LeaseExpired);
        }
        if entry.more().extensions() >= EXTENDS_MAX {
            return Renewed::Answer(RenewOutcome::TooMany);
        }
        // A slot that is held longer, because a later one is not covered, is only held too long.
        for leg in entry.legs.iter_mut().filter(|leg| leg.are_slots) {
            match self.hold_anew(leg) {
                Some(held_anew) => leg.units = held_anew,
                None => return Renewed::NotCovered(Arc::clone(&leg.pool), leg.units),
            }
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
