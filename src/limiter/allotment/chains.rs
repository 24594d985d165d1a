//! Sends the chains of a limit's allotments. One at a time is under way, and it is sent again as it is until its outcome is
//! known, also if the call that began it is given up.

use smallvec::SmallVec;

use super::clock::Now;
use super::held::Allotment;
use super::pool::{Pool, PoolState, UnderWay};
use crate::decide::allotment::{Step, StepResult, Take, TakeResult, Terms, recorded_at_ns};
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError, TransferId};
use crate::limit::LeaseId;
use crate::limiter::{Limiter, LimiterError};
use crate::time::{NS_PER_MS, NS_PER_SECOND};

/// At least this long no allotment is taken behind a take that found nothing.
const QUIET_NS_MIN: u64 = 250 * NS_PER_MS;
/// The same, as a part of the period.
const QUIET_PERIODS: u64 = 4;

/// What became of the chain that was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChainEnd {
    /// There was none, or it was made.
    Made,
    /// Nothing was done.
    Refused,
    /// Nothing was done, because the account is closed, or was closed or opened anew.
    ClosingChanged,
}

impl<L: Ledger> Limiter<L> {
    /// Sends the chain that is under way, and takes over its outcome. The caller has the pool's turn.
    pub(super) async fn finish_under_way(&self, pool: &Pool) -> Result<ChainEnd, LimiterError> {
        let Some(under_way) = pool.lock().under_way.clone() else { return Ok(ChainEnd::Made) };
        match under_way {
            UnderWay::Take { take, terms, sent } => self.finish_take(pool, take, terms, sent).await,
            UnderWay::Last { step, number } => {
                let made =
                    |state: &mut PoolState, at_ns| state.stepped(&step, number, self.pending(&step), at_ns);
                self.finish_step(pool, &step, made).await
            }
            UnderWay::Renewing { step, numbers, terms, sent } => {
                let made = |state: &mut PoolState, at_ns| {
                    state.renewed(&step, &numbers, self.pending(&step), terms, sent, at_ns);
                };
                self.finish_step(pool, &step, made).await
            }
        }
    }

    fn pending(&self, step: &Step) -> TransferId {
        step.pending(self.ids)
    }

    async fn finish_take(
        &self,
        pool: &Pool,
        take: Take,
        terms: Terms,
        sent: Now,
    ) -> Result<ChainEnd, LimiterError> {
        let outcome = self.send(pool, take.chain(self.ids)).await?;
        let result = take.interpret(outcome);
        let taken_at_ns = match result {
            Ok(TakeResult::Taken { recorded_at_ns }) => Some(recorded_at_ns),
            Ok(TakeResult::TakenBefore) => self.recorded_at_ns(take.chain, take.pending(self.ids)).await?,
            Ok(TakeResult::NoRoom | TakeResult::Closed) | Err(_) => None,
        };
        let mut state = pool.lock();
        // Also behind a refusal that cannot be: nothing was done.
        state.under_way = None;
        let result = result?;
        match taken_at_ns {
            Some(at_ns) => {
                state.add(terms, take.pending(self.ids), take.amount, sent, at_ns);
                self.allotments.counts.count_taken();
                Ok(ChainEnd::Made)
            }
            None => {
                state.be_quiet(terms, self.allotment_now());
                Ok(if result == TakeResult::Closed { ChainEnd::ClosingChanged } else { ChainEnd::Refused })
            }
        }
    }

    async fn finish_step(
        &self,
        pool: &Pool,
        step: &Step,
        made: impl FnOnce(&mut PoolState, u64),
    ) -> Result<ChainEnd, LimiterError> {
        let release = self.denial_cache.guard_release([pool.account].into_iter());
        let outcome = self.send(pool, step.chain(self.ids)).await?;
        let mut result = step.interpret(outcome);
        if let Ok(StepResult::LookUp) = result {
            let last = if step.keep > 0 { self.pending(step) } else { step.first_void(self.ids) };
            result = Ok(match self.recorded_at_ns(step.chain, last).await? {
                Some(recorded_at_ns) => StepResult::Made { recorded_at_ns },
                // The account's closing transfer was replaced by another chain.
                None => StepResult::ClosingChanged,
            });
        }
        release.outcome_known();
        let mut state = pool.lock();
        state.under_way = None;
        match result? {
            StepResult::Made { recorded_at_ns } => {
                let before = state.units().0;
                made(&mut state, recorded_at_ns);
                let returned = before.saturating_sub(state.units().0);
                drop(state);
                self.denial_cache.released(pool.account, returned.into());
                self.allotments.counts.count_settled();
                Ok(ChainEnd::Made)
            }
            StepResult::Expired { index } => {
                let number = |pending| state.each().find(|it| it.pending == pending);
                let number = step.voids.get(index).and_then(|&pending| number(pending)).map(|it| it.number);
                number.into_iter().for_each(|number| state.remove_expired_one(number));
                self.allotments.counts.count_expired(1);
                Ok(ChainEnd::Refused)
            }
            StepResult::ClosingChanged => Ok(ChainEnd::ClosingChanged),
            StepResult::RefusedBefore | StepResult::LookUp => Ok(ChainEnd::Refused),
        }
    }

    async fn send(&self, pool: &Pool, chain: Option<Chain>) -> Result<ChainOutcome, LimiterError> {
        let empty = || LedgerError::Unexpected(format!("an empty chain for allotments of {}", pool.key));
        let chain = chain.ok_or_else(empty)?;
        self.allotments.counts.count_transfers(chain.transfers().len());
        Ok(self.ledger.submit_one(chain).await?)
    }

    /// When a transfer of a chain was recorded; `None` if it was not.
    async fn recorded_at_ns(&self, chain: LeaseId, id: TransferId) -> Result<Option<u64>, LimiterError> {
        let transfers = self.ledger.lease_transfers(self.ids.lease_query(chain)).await?;
        Ok(recorded_at_ns(&transfers, id))
    }
}

impl PoolState {
    /// Takes nothing for a while.
    pub(super) fn be_quiet(&mut self, terms: Terms, now: Now) {
        let pause_ns = QUIET_NS_MIN.max(terms.period_ns / QUIET_PERIODS);
        self.quiet_until_ns = now.own_ns.saturating_add(pause_ns);
    }

    /// A last step replaced an allotment by what callers hold of it.
    fn stepped(&mut self, step: &Step, number: u64, pending: TransferId, at_ns: u64) {
        if step.keep == 0 {
            self.remove(|allotment| allotment.number == number);
        } else if let Some(allotment) = self.ended.iter_mut().find(|it| it.number == number) {
            allotment.pending = pending;
            allotment.amount = step.keep;
            allotment.expires_at_ns = at_ns.saturating_add(u64::from(step.timeout_seconds) * NS_PER_SECOND);
        }
    }

    /// A renewing step made these allotments one.
    fn renewed(
        &mut self,
        step: &Step,
        numbers: &[u64],
        pending: TransferId,
        terms: Terms,
        sent: Now,
        at_ns: u64,
    ) {
        let is_merged = |allotment: &Allotment| numbers.contains(&allotment.number);
        let merged = || self.each().filter(|allotment| is_merged(allotment));
        let used_of: SmallVec<[(u64, u64); 4]> =
            merged().flat_map(|allotment| allotment.used_of.iter().copied()).collect();
        let last_end_ns = merged().map(|allotment| allotment.last_end_ns).max().unwrap_or(0);
        self.remove(is_merged);
        if step.keep > 0 {
            let renewed = self.add(terms, pending, step.keep, sent, at_ns);
            renewed.last_end_ns = last_end_ns;
            used_of.iter().for_each(|&(number, units)| renewed.count_used(number, units));
        }
    }
}
