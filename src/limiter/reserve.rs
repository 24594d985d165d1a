use std::sync::Arc;

use futures_util::future::join_all;

use super::{Limiter, LimiterError, ReserveOutcome};
use crate::decide::Limit;
use crate::decide::command::Reserve;
use crate::decide::lease::{Lease, Standing};
use crate::decide::reserve::{self, Denial, Verdict};
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError};
use crate::limit::LimitKey;
use crate::registry::Entry;

/// A command on its way, with the limits it names in the order of its requirements.
struct Planned<'a> {
    command: &'a Reserve,
    entries: Vec<Option<Arc<Entry>>>,
}

impl Planned<'_> {
    fn limits(&self) -> Vec<Option<&Limit>> {
        self.entries.iter().map(|entry| entry.as_ref().map(|entry| &entry.limit)).collect()
    }

    fn entry(&self, key: &LimitKey) -> Option<&Arc<Entry>> {
        self.entries.iter().flatten().find(|entry| entry.key() == key)
    }
}

impl<L: Ledger> Limiter<L> {
    /// Reserves everything that the command wants, or nothing.
    pub async fn reserve(&self, command: &Reserve) -> Result<ReserveOutcome, LimiterError> {
        let answers = self.reserve_batch(std::slice::from_ref(command)).await;
        answers
            .into_iter()
            .next()
            .unwrap_or_else(|| Err(LedgerError::Unexpected("a reserve without an answer".to_owned()).into()))
    }

    /// Reserves for each command, in order, in one hand-over to the ledger; answers each in its place.
    pub async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<ReserveOutcome, LimiterError>> {
        let planned = match self.look_up(commands).await {
            Ok(planned) => planned,
            Err(failed) => return failed,
        };
        let chains: Vec<Chain> = planned
            .iter()
            .filter_map(|planned| reserve::plan(self.ids, planned.command, &planned.limits()))
            .collect();
        // A command has at least one requirement, so each has its chain.
        let outcomes = self.ledger.submit(chains.clone()).await;
        let conclude = |((planned, chain), outcome)| self.conclude(planned, chain, outcome);
        // Together, so that those which must be looked up share the ledger's requests.
        join_all(planned.into_iter().zip(&chains).zip(outcomes).map(conclude)).await
    }

    /// Finds the limits of every command. A key that is not known here may have been defined at another replica a
    /// moment ago, so the log is read once more before it counts as unknown.
    async fn look_up<'a>(
        &self,
        commands: &'a [Reserve],
    ) -> Result<Vec<Planned<'a>>, Vec<Result<ReserveOutcome, LimiterError>>> {
        let find = || commands.iter().map(|command| self.plan_for(command)).collect::<Vec<_>>();
        let planned = find();
        if planned.iter().all(|planned| reserve::all_known(&planned.limits())) {
            return Ok(planned);
        }
        match self.refresh().await {
            Ok(()) => Ok(find()),
            Err(LimiterError::Registry(error)) => {
                Err(commands.iter().map(|_| Err(LimiterError::Registry(Arc::clone(&error)))).collect())
            }
            Err(LimiterError::Ledger(error)) => {
                Err(commands.iter().map(|_| Err(LimiterError::Ledger(error.clone()))).collect())
            }
        }
    }

    fn plan_for<'a>(&self, command: &'a Reserve) -> Planned<'a> {
        let keys = command.requirements().iter().map(|requirement| &requirement.key);
        Planned { command, entries: self.entries(keys) }
    }

    async fn conclude(
        &self,
        mut planned: Planned<'_>,
        chain: &Chain,
        outcome: Result<ChainOutcome, LedgerError>,
    ) -> Result<ReserveOutcome, LimiterError> {
        let outcome = outcome?;
        // A definition that the refusal does not fit to is stale.
        if reserve::doubts_definitions(planned.command, &planned.limits(), outcome) {
            self.refresh().await?;
            planned = self.plan_for(planned.command);
        }
        match reserve::interpret(planned.command, &planned.limits(), outcome)? {
            Verdict::Granted { reserved_at_unix_ms } => {
                planned.entries.iter().flatten().for_each(|entry| entry.granted());
                self.remember(planned.command, chain, outcome);
                Ok(ReserveOutcome::Granted { reserved_at_unix_ms })
            }
            Verdict::Denied { denial, repeated } => Ok(self.deny(&planned, denial, repeated)),
            Verdict::Recall => self.recall(&planned).await,
        }
    }

    fn remember(&self, command: &Reserve, chain: &Chain, outcome: ChainOutcome) {
        if let (true, ChainOutcome::Created { timestamp_ns }) = (self.leases.is_on(), outcome)
            && let Some(lease) = Lease::from_grant(command.lease, chain.transfers(), timestamp_ns)
        {
            self.leases.insert(lease);
        }
    }

    fn deny(&self, planned: &Planned<'_>, denial: Denial, repeated: bool) -> ReserveOutcome {
        match denial {
            Denial::UnknownKey(key) => ReserveOutcome::UnknownKey { key },
            Denial::ExceedsCapacity(key) => ReserveOutcome::ExceedsCapacity { key },
            Denial::Decreasing(key) => {
                ReserveOutcome::Decreasing { key, retry_after_ms: self.retry_policy.decreasing_ms }
            }
            Denial::NoRoom(key) => {
                let hint_ms = planned.entry(&key).map(|entry| {
                    let kind = entry.limit.state.definition.kind;
                    // A lease that is sent again is no further call that found no room.
                    let streak = if repeated { entry.denials_in_a_row() } else { entry.denied() };
                    self.retry_policy.no_room_ms(kind, streak, rand::random())
                });
                ReserveOutcome::NoRoom { key, retry_after_ms: hint_ms.unwrap_or(1) }
            }
        }
    }

    /// The lease was granted before: its transfers tell how it stands.
    async fn recall(&self, planned: &Planned<'_>) -> Result<ReserveOutcome, LimiterError> {
        let command = planned.command;
        let transfers = self.ledger.lease_transfers(command.lease).await?;
        let Some(lease) = Lease::from_transfers(command.lease, &transfers) else {
            // An id of it is taken, but not by a reservation of this lease.
            return Ok(ReserveOutcome::LeaseConflict);
        };
        Ok(match lease.standing(self.ids, command, &planned.limits(), self.ledger.now_ns()) {
            Standing::Granted { reserved_at_unix_ms } => ReserveOutcome::Granted { reserved_at_unix_ms },
            Standing::Conflict => ReserveOutcome::LeaseConflict,
            Standing::Settled => ReserveOutcome::LeaseSettled,
        })
    }
}
