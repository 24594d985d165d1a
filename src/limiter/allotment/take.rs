//! Takes allotments.

use super::clock::Now;
use super::pool::{ALLOTMENTS_MAX, Pool, PoolState, UnderWay};
use crate::decide::allotment::{Take, Terms};
use crate::ledger::Ledger;
use crate::limit::LeaseId;
use crate::limiter::{Limiter, LimiterError};

/// An allotment is at most one part in this many of what is available, so that replicas do not starve each other.
const SHARE_PART: u128 = 4;

impl<L: Ledger> Limiter<L> {
    /// Takes an allotment for a caller that wants these units, if there is none with room and it is worth it.
    pub(super) async fn take_for(&self, pool: &Pool, terms: Terms, units: u64) -> Result<(), LimiterError> {
        if !pool.lock().lacks(terms, units, self.allotment_now()) {
            return Ok(());
        }
        let _turn = pool.chain_turn.lock().await;
        self.finish_under_way(pool).await?;
        // Another caller may have taken one meanwhile.
        if pool.lock().lacks(terms, units, self.allotment_now()) {
            self.take(pool, terms, units).await?;
        }
        Ok(())
    }

    /// Takes an allotment of at least these units. The caller has the pool's turn, and no chain is under way.
    pub(super) async fn take(&self, pool: &Pool, terms: Terms, units: u64) -> Result<(), LimiterError> {
        let account = self.ledger.accounts(vec![pool.account]).await?.into_iter().next().flatten();
        let available = account.filter(|account| !account.closed).map_or(0, |account| account.available());
        let share = u64::try_from(available / SHARE_PART).unwrap_or(u64::MAX);
        {
            let sent = self.allotment_now();
            let mut state = pool.lock();
            let wanted = units.saturating_add(state.demand.expected(terms.period_ns, sent));
            // Less than four calls' worth is left: the ledger shares it better.
            if share < units || wanted == 0 || state.stopped {
                state.be_quiet(terms, sent);
                return Ok(());
            }
            let take = Take {
                chain: LeaseId::generate(),
                account: pool.account,
                amount: wanted.min(share),
                timeout_seconds: terms.timeout_seconds(),
            };
            state.under_way = Some(UnderWay::Take { take, terms, sent });
        }
        self.finish_under_way(pool).await?;
        Ok(())
    }
}

impl PoolState {
    /// Whether a caller that wants these units needs an allotment that is worth taking.
    fn lacks(&mut self, terms: Terms, units: u64, now: Now) -> bool {
        self.room(terms.version, now) < units
            && !self.stopped
            && now.own_ns >= self.quiet_until_ns
            && self.serving.len() < ALLOTMENTS_MAX
            && self.demand.is_worth_an_allotment(terms.period_ns, now)
    }
}
