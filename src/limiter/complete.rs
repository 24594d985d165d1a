use super::{Completion, ExcessUse, Limiter, LimiterError, find_closing};
use crate::decide::command::{Actual, Complete};
use crate::decide::lease::Lease;
use crate::decide::settle::{Ending, Excess, Next, Settlement, Used};
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError};
use crate::limit::Overage;

impl<L: Ledger> Limiter<L> {
    /// Settles a lease with what was really used.
    pub async fn complete(&self, command: &Complete) -> Result<Completion, LimiterError> {
        let Some(lease) = self.find_lease(command).await? else { return Ok(Completion::NothingToDo) };
        let used = self.used(command.actuals()).await?;
        let mut settlement = match Settlement::new(self.ids, lease, &used) {
            Ok(settlement) => settlement,
            Err(error) => return Ok(Completion::NotInLease { index: error.index }),
        };
        loop {
            match settlement.next(self.ledger.now_ns())? {
                Next::Send(chain) => settlement.heard(self.submit_one(chain).await?)?,
                Next::FindClosing(account) => {
                    settlement.found_closing(find_closing(&*self.ledger, account).await?)?;
                }
                Next::Done(Ending::AlreadyOver) => return Ok(Completion::NothingToDo),
                Next::Done(Ending::Settled) => {
                    let excess = |excess| excess_use(command, &used, excess);
                    let excesses = settlement.excesses().iter().filter_map(excess).collect();
                    return Ok(Completion::Settled { excesses });
                }
            }
        }
    }

    /// Settles each lease; answers each in its place.
    pub async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<Completion, LimiterError>>
    where
        L: Ledger,
    {
        // Together, so that their chains share the ledger's batches.
        futures_util::future::join_all(commands.iter().map(|command| self.complete(command))).await
    }

    /// From the cache, or else from the ledger.
    async fn find_lease(&self, command: &Complete) -> Result<Option<Lease>, LimiterError> {
        if let Some(lease) = self.leases.take(command.lease) {
            return Ok(Some(lease));
        }
        let transfers = self.ledger.lease_transfers(command.lease).await?;
        Ok(Lease::from_transfers(command.lease, &transfers))
    }

    async fn used(&self, actuals: &[Actual]) -> Result<Vec<Used>, LimiterError> {
        let find = || self.entries(actuals.iter().map(|actual| &actual.key));
        let mut entries = find();
        if entries.iter().any(Option::is_none) {
            self.refresh().await?;
            entries = find();
        }
        let used = |(actual, entry): (&Actual, &Option<std::sync::Arc<crate::registry::Entry>>)| match entry {
            Some(entry) => Used {
                account: entry.limit.account,
                amount: actual.amount,
                overage: entry.limit.state.definition.overage,
                debt_account: entry.limit.debt_account,
            },
            None => Used {
                account: self.ids.limit(&actual.key),
                amount: actual.amount,
                overage: Overage::default(),
                debt_account: self.ids.debt(&actual.key),
            },
        };
        Ok(actuals.iter().zip(&entries).map(used).collect())
    }

    async fn submit_one(&self, chain: Chain) -> Result<ChainOutcome, LedgerError> {
        let outcomes = self.ledger.submit(vec![chain]).await;
        let missing = || LedgerError::Unexpected("a chain without an outcome".to_owned());
        outcomes.into_iter().next().ok_or_else(missing)?
    }
}

fn excess_use(command: &Complete, used: &[Used], excess: &Excess) -> Option<ExcessUse> {
    let index = used.iter().position(|used| used.account == excess.account)?;
    let key = command.actuals().get(index)?.key.clone();
    Some(ExcessUse { key, amount: excess.amount, overage: excess.overage })
}
