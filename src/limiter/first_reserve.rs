//! The first reserve of instances that do not exist yet, or that were retired. The chain of the reserve makes them,
//! so a denied command makes none.

use futures_util::future::BoxFuture;

use super::denial_cache::Admission;
use super::resolve::Resolved;
use super::{Limiter, LimiterError};
use crate::decide::reserve::{self, is_shadow, takes_reservations};
use crate::ledger::{AccountId, Chain, ChainOutcome, Ledger, LedgerError};
use crate::protocol::ReserveOutcome;
use crate::registry::MakingOutcome;

/// How often a reserve is tried while other callers make its instances first.
const ATTEMPTS_MAX: usize = 64;

impl<L: Ledger> Limiter<L> {
    /// Reserves for a command that names instances which are not made yet.
    pub(super) fn reserve_first<'a>(
        &'a self,
        mut resolved: Resolved<'a>,
    ) -> BoxFuture<'a, Result<ReserveOutcome, LimiterError>> {
        Box::pin(async move {
            let command = resolved.command;
            for _ in 0..ATTEMPTS_MAX {
                let Some(key) = resolved.new_instances().first().map(|new| new.key().clone()) else {
                    return self.reserve(command).await;
                };
                // Of all callers that wait here, the first one makes the instance for all.
                let turn = self.registry.first_use(&key).await;
                if self.registry.snapshot().get(&key).is_none_or(|known| !takes_reservations(&known.limit))
                    && let Some(answer) = self.try_first_reserve(resolved).await?
                {
                    return Ok(answer);
                }
                drop(turn);
                resolved = self.resolve(command).await?;
            }
            let message = format!("the instances for lease {} are made or changed too often", command.lease);
            Err(LedgerError::Unexpected(message).into())
        })
    }

    /// The answer; `None` if another caller made an instance first.
    async fn try_first_reserve(
        &self,
        mut resolved: Resolved<'_>,
    ) -> Result<Option<ReserveOutcome>, LimiterError> {
        // Looks for room first, so that a flood of keys leaves no accounts behind.
        let is_impossible = resolved.impossible().is_some();
        let may_fit = !is_impossible && self.has_room(&resolved).await?;
        let mut limits = resolved.limits();
        let tickets =
            match self.denial_cache.admit(resolved.command, &limits, is_impossible, resolved.at_ns()) {
                Admission::Ask(tickets) => tickets,
                Admission::Deny { key, until_ns } => {
                    return Ok(Some(self.deny_until(&resolved, key, until_ns)));
                }
                Admission::DeniedBefore { key } => return self.deny_again(&resolved, key).await.map(Some),
            };
        let mut chain = self.plan(&resolved, &limits)?;
        let making = if may_fit {
            self.registry.submit_making(resolved.new_instances(), &chain).await?
        } else {
            self.submit_without_making(&resolved, &chain).await?
        };
        let outcome = match making {
            MakingOutcome::Submitted(outcome) => outcome,
            MakingOutcome::Superseded => return Ok(None),
            MakingOutcome::TooMany(key) => {
                drop(limits);
                resolved.make_none(key);
                limits = resolved.limits();
                chain = self.plan(&resolved, &limits)?;
                self.ledger.submit_one(chain.clone()).await?
            }
        };
        if reserve::refused_by_shadow(&limits, outcome) {
            drop(limits);
            return self.reserve_in_shadow(resolved, tickets, outcome).await.map(Some);
        }
        if let ChainOutcome::Created { .. } = outcome {
            for new in resolved.new_instances() {
                self.registry.find_current(new.key()).await?;
            }
        }
        let remembered = self.lease_cache.is_on().then_some(&chain);
        let impossible = resolved.impossible();
        match self.conclude(&resolved, &limits, impossible, tickets, remembered, outcome)? {
            Some(answer) => Ok(Some(answer)),
            None => self.look_up_and_conclude(resolved.command, outcome).await.map(Some),
        }
    }

    /// Sends a chain that the ledger refuses, so that it remembers the denial. The legs of missing instances come
    /// last, so that the denial names a limit without room rather than a missing one.
    async fn submit_without_making(
        &self,
        resolved: &Resolved<'_>,
        chain: &Chain,
    ) -> Result<MakingOutcome, LimiterError> {
        let (new, existing): (Vec<usize>, Vec<usize>) =
            (0..chain.transfers().len()).partition(|&index| resolved.is_new(index));
        let order = [existing, new].concat();
        let transfers = order.iter().filter_map(|&index| chain.transfers().get(index)).copied();
        let chain = Chain::new(transfers).unwrap_or_else(|| chain.clone());
        Ok(MakingOutcome::Submitted(match self.ledger.submit_one(chain).await? {
            ChainOutcome::Refused { index, refusal } => {
                ChainOutcome::Refused { index: order.get(index).copied().unwrap_or(index), refusal }
            }
            created @ ChainOutcome::Created { .. } => created,
        }))
    }

    /// Whether the limits that are made have room for the command, as far as their accounts tell.
    async fn has_room(&self, resolved: &Resolved<'_>) -> Result<bool, LimiterError> {
        let limits = resolved.limits();
        let requirements = resolved.command.requirements().iter();
        let wanted: Vec<(AccountId, u128)> = requirements
            .zip(&limits)
            .enumerate()
            .filter(|(index, (_, limit))| !resolved.is_new(*index) && !limit.is_some_and(is_shadow))
            .filter_map(|(_, (requirement, limit))| {
                Some((limit.as_ref()?.account, requirement.amount.into()))
            })
            .collect();
        if wanted.is_empty() {
            return Ok(true);
        }
        let ids = wanted.iter().map(|(account, _)| *account).collect();
        let accounts = self.ledger.accounts(ids).await?;
        Ok(wanted.iter().zip(accounts).all(|((_, amount), account)| {
            account.is_some_and(|account| !account.closed && account.available() >= *amount)
        }))
    }
}
