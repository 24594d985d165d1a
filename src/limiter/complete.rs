//! Complete.

use futures_util::future::join_all;
use smallvec::SmallVec;

use super::{Limiter, LimiterError};
use crate::decide::Limit;
use crate::decide::schedule_change::{self, Successor};
use crate::decide::settle::{Ending, LegOverage, Next, Settlement, Used};
use crate::ledger::{AccountId, Ledger, find_closing, newest_closing};
use crate::protocol::{Actual, Complete, CompleteOutcome, UnreservedOverage};

/// The most replaced schedules through which a complete follows what a lease spent. Each takes a look-up.
const SUCCESSORS_MAX: usize = 64;

impl<L: Ledger> Limiter<L> {
    /// Settles a lease with the amounts that were used.
    ///
    /// If the future is dropped, the outcome is unknown; the same command finds out.
    pub async fn complete(&self, command: &Complete) -> Result<CompleteOutcome, LimiterError> {
        let lease = match self.lease_cache.take(command.lease) {
            Some(lease) => lease,
            None => match self.read_lease(command.lease).await? {
                Some(lease) => lease,
                None => return Ok(CompleteOutcome::NothingToDo),
            },
        };
        let used = self.used(command.actuals());
        let now_ns = self.ledger.now_ns();
        match Settlement::new(self.ids, lease, &used, now_ns) {
            Ok(mut settlement) => self.settle(command, &used, &mut settlement, now_ns).await,
            Err(error) => Ok(CompleteOutcome::NotInLease { index: error.index }),
        }
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
    ) -> Result<CompleteOutcome, LimiterError> {
        // The first round uses the time that was read just now.
        let mut now_ns = Some(now_ns);
        loop {
            match settlement.next(|| now_ns.take().unwrap_or_else(|| self.ledger.now_ns()))? {
                Next::Send(chain) => settlement.apply_outcome(self.ledger.submit_one(chain).await?)?,
                Next::FindClosing(account) => {
                    settlement.closing_found(find_closing(&*self.ledger, account).await?)?;
                }
                Next::FindSuccessor(spent) => {
                    let found = self.find_successor(spent).await?;
                    settlement.successor_found(found, self.ledger.now_ns())?;
                }
                Next::ReadLease => settlement.lease_read(self.read_lease(command.lease).await?, used),
                Next::Done(Ending::AlreadyOver) => return Ok(CompleteOutcome::NothingToDo),
                Next::Done(Ending::Settled) => return Ok(self.settled(command, used, settlement)),
            }
        }
    }

    /// The account that has what a closed spent account held, over all schedules that were replaced since. `None` if there is
    /// none, or if it went through too many.
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
        settlement.released().for_each(|(account, units)| self.denial_cache.released(account, units));
        let overage = |overage| unreserved_overage(command, used, overage);
        let overages: Vec<UnreservedOverage> = settlement.overages().iter().filter_map(overage).collect();
        for UnreservedOverage { key, amount, overage } in &overages {
            let (lease_id, job_id) = (command.lease, &command.job_id);
            tracing::info!(%lease_id, job_id, %key, amount, ?overage, "usage above the reservation found no room");
        }
        CompleteOutcome::Settled { overages }
    }

    fn used(&self, actuals: &[Actual]) -> SmallVec<[Used; 4]> {
        let used = |actual: &Actual| {
            let entry = self.registry.snapshot().get(&actual.key);
            let limit = entry.as_ref().map(|entry| &entry.limit);
            Used {
                account: limit.map_or_else(|| self.ids.limit(&actual.key), |limit| limit.account),
                amount: actual.amount,
                debt_account: limit.map_or_else(|| self.ids.debt(&actual.key), |limit| limit.debt_account),
                borrowed: limit.and_then(Limit::borrowed_account),
            }
        };
        actuals.iter().map(used).collect()
    }
}

fn unreserved_overage(command: &Complete, used: &[Used], overage: &LegOverage) -> Option<UnreservedOverage> {
    let index = used.iter().position(|used| used.account == overage.account)?;
    let key = command.actuals().get(index)?.key.clone();
    Some(UnreservedOverage { key, amount: overage.amount, overage: overage.overage })
}
