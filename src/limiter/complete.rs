use futures_util::future::join_all;
use smallvec::SmallVec;
use ulid::Ulid;

use super::{CompleteOutcome, ExcessUse, Limiter, LimiterError};
use crate::decide::command::{Actual, Complete};
use crate::decide::lease::Lease;
use crate::decide::settle::{Ending, Excess, Next, Settlement, Used};
use crate::decide::share::share;
use crate::ledger::{ChainOutcome, Ledger, LedgerError, find_closing};
use crate::limit::LeaseId;

type AllUsed = SmallVec<[Used; 4]>;

/// A complete of a batch on its way.
struct Settling<'a> {
    command: &'a Complete,
    used: AllUsed,
    settlement: Settlement,
}

impl<L: Ledger> Limiter<L> {
    /// Settles a lease with what was really used.
    pub async fn complete(&self, command: &Complete) -> Result<CompleteOutcome, LimiterError> {
        let Some(lease) = self.find_lease(command).await? else { return Ok(CompleteOutcome::NothingToDo) };
        let used = self.used(command.actuals());
        let now_ns = self.ledger.now_ns();
        match Settlement::new(self.ids, lease, &used, now_ns) {
            Ok(mut settlement) => self.settle(command, &used, &mut settlement, Some(now_ns)).await,
            Err(error) => Ok(CompleteOutcome::NotInLease { index: error.index }),
        }
    }

    /// Settles each lease; answers each in its place. Leases that settle below their estimates share what stays taken.
    pub async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<CompleteOutcome, LimiterError>> {
        // Together, so that their look-ups share the ledger's requests.
        let leases = join_all(commands.iter().map(|command| self.find_lease(command))).await;
        let mut places = Vec::with_capacity(commands.len());
        let mut settlings = Vec::with_capacity(commands.len());
        for (command, lease) in commands.iter().zip(leases) {
            places.push(match lease.map(|lease| self.settling(command, lease)) {
                Ok(Ok(settling)) => {
                    settlings.push(settling);
                    None
                }
                Ok(Err(outcome)) => Some(Ok(outcome)),
                Err(error) => Some(Err(error)),
            });
        }
        self.settle_together(&mut settlings).await;
        let settled = join_all(settlings.iter_mut().map(|settling| {
            let Settling { command, used, settlement } = settling;
            self.settle(command, used, settlement, None)
        }));
        let settled = settled.await;
        let mut settled = settled.into_iter();
        let missing = || Err(LedgerError::Unexpected("a complete without an answer".to_owned()).into());
        places.into_iter().map(|known| known.or_else(|| settled.next()).unwrap_or_else(missing)).collect()
    }

    /// Settles by shared chains what can share one. What the ledger refuses is left to be settled by itself.
    async fn settle_together(&self, settlings: &mut [Settling<'_>]) {
        let settlements = settlings.iter().map(|settling| &settling.settlement);
        let shared = share(self.ids, settlements, self.ledger.now_ns(), Ulid::generate().0);
        let (places, chains): (Vec<_>, Vec<_>) = shared.into_iter().map(|s| (s.places, s.chain)).unzip();
        if chains.is_empty() {
            return;
        }
        for (places, outcome) in places.into_iter().zip(self.ledger.submit(chains).await) {
            // Whatever else it says, each settlement finds out for itself, and its guard keeps it from acting twice.
            if let Ok(ChainOutcome::Created { .. }) = outcome {
                for place in places {
                    if let Some(settling) = settlings.get_mut(place) {
                        settling.settlement.settled_together();
                    }
                }
            }
        }
    }

    /// The settlement of a lease, or the answer if there is nothing to settle.
    fn settling<'a>(
        &self,
        command: &'a Complete,
        lease: Option<Lease>,
    ) -> Result<Settling<'a>, CompleteOutcome> {
        let lease = lease.ok_or(CompleteOutcome::NothingToDo)?;
        let used = self.used(command.actuals());
        match Settlement::new(self.ids, lease, &used, self.ledger.now_ns()) {
            Ok(settlement) => Ok(Settling { command, used, settlement }),
            Err(error) => Err(CompleteOutcome::NotInLease { index: error.index }),
        }
    }

    /// `now_ns` is the ledger's time, where it was read just now.
    async fn settle(
        &self,
        command: &Complete,
        used: &[Used],
        settlement: &mut Settlement,
        mut now_ns: Option<u64>,
    ) -> Result<CompleteOutcome, LimiterError> {
        loop {
            match settlement.next(|| now_ns.take().unwrap_or_else(|| self.ledger.now_ns()))? {
                Next::Send(chain) => settlement.heard(self.ledger.submit_one(chain).await?)?,
                Next::FindClosing(account) => {
                    settlement.found_closing(find_closing(&*self.ledger, account).await?)?;
                }
                Next::Recall => settlement.recalled(self.read_lease(command.lease).await?, used),
                Next::Done(Ending::AlreadyOver) => return Ok(CompleteOutcome::NothingToDo),
                Next::Done(Ending::Settled) => {
                    settlement.freed().for_each(|(account, units)| self.local_denials.freed(account, units));
                    let excess = |excess| excess_use(command, used, excess);
                    let excesses: Vec<ExcessUse> = settlement.excesses().iter().filter_map(excess).collect();
                    excesses.iter().for_each(|excess| tell(command, excess));
                    return Ok(CompleteOutcome::Settled { excesses });
                }
            }
        }
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

    fn used(&self, actuals: &[Actual]) -> AllUsed {
        let used = |actual: &Actual| {
            let entry = self.registry().get(&actual.key);
            let limit = entry.as_ref().map(|entry| &entry.limit);
            let account = limit.map_or_else(|| self.ids.limit(&actual.key), |limit| limit.account);
            let debt_account = limit.map_or_else(|| self.ids.debt(&actual.key), |limit| limit.debt_account);
            let borrowed = limit.and_then(|limit| limit.schedule.as_ref()?.borrowed());
            Used { account, amount: actual.amount, debt_account, borrowed }
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
