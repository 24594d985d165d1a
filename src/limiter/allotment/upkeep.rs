//! What the background loop does with allotments, and what a replica does that stops.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::chains::ChainEnd;
use super::pool::Pool;
use super::step::AccountState;
use crate::decide::allotment::Terms;
use crate::ledger::{Ledger, find_closing};
use crate::limit::Status;
use crate::limiter::{Limiter, LimiterError};
use crate::telemetry::with_sources;

/// The time between two looks at the allotments.
const TICK: Duration = Duration::from_millis(50);
/// The time between two looks at the holds of leases that were not completed.
const ENDS_EVERY: Duration = Duration::from_secs(1);
/// How often a step is planned anew before the next look.
const ROUNDS_MAX: usize = 32;

impl<L: Ledger> Limiter<L> {
    /// Steps allotments, and takes the next ones before callers wait for them. Runs forever.
    pub async fn run_allotments(&self) {
        let mut ended_at = Instant::now();
        loop {
            let wanted = self.allotments.wanted.notified();
            if self.allotments.pools.is_empty() {
                wanted.await;
            } else {
                // Either way it is time to look.
                let _woken = tokio::time::timeout(TICK, wanted).await;
            }
            // It looks at every lease.
            if ended_at.elapsed() >= ENDS_EVERY {
                self.allotments.table.end_holds(self.ledger.now_ns());
                ended_at = Instant::now();
            }
            self.tend_pools().await;
        }
    }

    /// Does what is due now with the allotments of all limits.
    pub async fn tend_allotments(&self) {
        self.allotments.table.end_holds(self.ledger.now_ns());
        self.tend_pools().await;
    }

    async fn tend_pools(&self) {
        let pools = self.allotments.all_pools();
        for (pool, tended) in pools.iter().zip(join_all(pools.iter().map(|pool| self.tend(pool))).await) {
            if let Err(error) = tended {
                tracing::debug!(
                    error = with_sources(&error), key = %pool.key,
                    "the allotments of a limit could not be stepped; trying again"
                );
            }
        }
        self.forget_idle_pools(&pools);
        let (mut held, mut units) = (0, 0);
        for pool in &pools {
            let state = pool.lock();
            held += state.each().count() as u64;
            units += state.units().0;
        }
        self.allotments.counts.set_held(held, units);
    }

    /// Serves nobody from allotments any more, and returns what no caller holds: the replica stops.
    ///
    /// # Errors
    ///
    /// The first failure. What could not be returned expires.
    pub async fn return_allotments(&self) -> Result<(), LimiterError> {
        self.allotments.stopped.store(true, Ordering::Release);
        let pools = self.allotments.all_pools();
        self.allotments.table.end_holds(self.ledger.now_ns());
        pools.iter().for_each(|pool| pool.lock().stopped = true);
        let tended = join_all(pools.iter().map(|pool| self.tend(pool))).await;
        tended.into_iter().collect()
    }

    /// Does what is due with the allotments of one limit.
    async fn tend(&self, pool: &Arc<Pool>) -> Result<(), LimiterError> {
        let _turn = pool.chain_turn.lock().await;
        let mut end = self.finish_under_way(pool).await?;
        for _ in 0..ROUNDS_MAX {
            if pool.lock().is_idle() {
                return Ok(());
            }
            let is = self.account_state(pool, end == ChainEnd::ClosingChanged).await?;
            let now = self.allotment_now();
            {
                let mut state = pool.lock();
                self.allotments.counts.count_expired(state.remove_expired(now));
                let Some(next) = state.next_step(pool.account, is, now) else { break };
                state.under_way = Some(next);
            }
            end = self.finish_under_way(pool).await?;
        }
        let wants_next = |terms: &Terms| {
            let (mut state, now) = (pool.lock(), self.allotment_now());
            let left = state.room(terms.version, now);
            state.wants_next(left, *terms, now) || state.ends_soon(*terms, now)
        };
        if let Some(terms) = self.current_terms(pool).filter(wants_next) {
            self.take(pool, terms, 1).await?;
        }
        Ok(())
    }

    /// What the account is like by the definitions known here; the ledger is asked if they say that it is closed, or if
    /// `contradicts` says that a chain was refused.
    pub(super) async fn account_state(
        &self,
        pool: &Pool,
        contradicts: bool,
    ) -> Result<AccountState, LimiterError> {
        let entry = self.registry.snapshot().get(&pool.key);
        let is_replaced = entry.as_ref().is_some_and(|entry| entry.limit.account != pool.account);
        if is_replaced {
            return Ok(AccountState::Replaced);
        }
        let is_active = entry.is_none_or(|entry| entry.limit.state.status == Status::Active);
        if (!is_active || contradicts)
            && let Some(closing) = find_closing(&*self.ledger, pool.account).await?
        {
            return Ok(AccountState::Closed(closing));
        }
        Ok(AccountState::Open(self.current_terms(pool)))
    }

    /// Forgets the pools of limits that nobody asks for.
    fn forget_idle_pools(&self, pools: &[Arc<Pool>]) {
        for pool in pools {
            let terms = self.current_terms(pool);
            let now = self.allotment_now();
            let mut state = pool.lock();
            let is_asked = terms.is_some_and(|terms| state.demand.expected(terms.period_ns, now) > 0);
            if !is_asked && state.is_idle() {
                // A call that still has it takes nothing of it any more.
                state.stopped = true;
                drop(state);
                self.allotments.pools.pin().remove(&pool.account);
            }
        }
    }
}
