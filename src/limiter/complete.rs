use futures_util::future::join_all;

use super::{CompleteOutcome, ExcessUse, Limiter, LimiterError};
use crate::decide::command::{Actual, Complete};
use crate::decide::lease::Lease;
use crate::decide::settle::{Ending, Excess, Next, Settlement, Used};
use crate::ledger::{Ledger, find_closing};
use crate::limit::LeaseId;

impl<L: Ledger> Limiter<L> {
    /// Settles a lease with what was really used.
    pub async fn complete(&self, command: &Complete) -> Result<CompleteOutcome, LimiterError> {
        let Some(lease) = self.find_lease(command).await? else { return Ok(CompleteOutcome::NothingToDo) };
        let used = self.used(command.actuals());
        let mut settlement = match Settlement::new(self.ids, lease, &used, self.ledger.now_ns()) {
            Ok(settlement) => settlement,
            Err(error) => return Ok(CompleteOutcome::NotInLease { index: error.index }),
        };
        loop {
            match settlement.next(self.ledger.now_ns())? {
                Next::Send(chain) => settlement.heard(self.ledger.submit_one(chain).await?)?,
                Next::FindClosing(account) => {
                    settlement.found_closing(find_closing(&*self.ledger, account).await?)?;
                }
                Next::Recall => settlement.recalled(self.read_lease(command.lease).await?, &used),
                Next::Done(Ending::AlreadyOver) => return Ok(CompleteOutcome::NothingToDo),
                Next::Done(Ending::Settled) => {
                    let excess = |excess| excess_use(command, &used, excess);
                    let excesses: Vec<ExcessUse> = settlement.excesses().iter().filter_map(excess).collect();
                    excesses.iter().for_each(|excess| tell(command, excess));
                    return Ok(CompleteOutcome::Settled { excesses });
                }
            }
        }
    }

    /// Settles each lease; answers each in its place.
    pub async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<CompleteOutcome, LimiterError>> {
        // Together, so that their look-ups and chains share the ledger's requests.
        join_all(commands.iter().map(|command| self.complete(command))).await
    }

    /// From the cache, or else from the ledger.
    async fn find_lease(&self, command: &Complete) -> Result<Option<Lease>, LimiterError> {
        if let Some(lease) = self.leases.take(command.lease) {
            return Ok(Some(lease));
        }
        self.read_lease(command.lease).await
    }

    async fn read_lease(&self, lease: LeaseId) -> Result<Option<Lease>, LimiterError> {
        let transfers = self.ledger.lease_transfers(lease, self.ids.of_lease(lease).family()).await?;
        Ok(Lease::from_transfers(lease, &transfers))
    }

    fn used(&self, actuals: &[Actual]) -> Vec<Used> {
        let used = |actual: &Actual| {
            let entry = self.registry().get(&actual.key);
            let accounts = entry.map(|entry| (entry.limit.account, entry.limit.debt_account));
            let (account, debt_account) =
                accounts.unwrap_or_else(|| (self.ids.limit(&actual.key), self.ids.debt(&actual.key)));
            Used { account, amount: actual.amount, debt_account }
        };
        actuals.iter().map(used).collect()
    }
}

fn excess_use(command: &Complete, used: &[Used], excess: &Excess) -> Option<ExcessUse> {
    let index = used.iter().position(|used| used.account == excess.account)?;
    let key = command.actuals().get(index)?.key.clone();
    Some(ExcessUse { key, amount: excess.amount, overage: excess.overage })
}

fn tell(command: &Complete, excess: &ExcessUse) {
    let (lease_id, job_id) = (command.lease, &command.job_id);
    let ExcessUse { key, amount, overage } = excess;
    tracing::info!(%lease_id, job_id, %key, amount, ?overage, "used more than could be reserved");
}
