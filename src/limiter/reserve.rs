//! Reserve.

use futures_util::future::{BoxFuture, join_all};

use super::denial_cache::{Admission, AdmissionTickets};
use super::resolve::{Limits, Resolved};
use super::{Limiter, LimiterError};
use crate::decide::lease::{Lease, LeaseStatus};
use crate::decide::reserve::{self, Denial, ReserveResult};
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError, Refusal};
use crate::protocol::{Reserve, ReserveOutcome};
use crate::time::unix_ms;

/// A reserve of a batch.
enum BatchItem<'a> {
    /// Its chain is among those submitted.
    Sent { resolved: Resolved<'a>, tickets: AdmissionTickets, remembered: Option<Chain> },
    /// Its chain makes instances, so it is sent alone, after the others.
    First(Resolved<'a>),
    /// It needs no outcome.
    Answered(Result<ReserveOutcome, LimiterError>),
}

impl<L: Ledger> Limiter<L> {
    /// Reserves every requirement of the command, or nothing.
    ///
    /// If the future is dropped, the outcome is unknown; the same command finds out.
    pub async fn reserve(&self, command: &Reserve) -> Result<ReserveOutcome, LimiterError> {
        let mut resolved = self.look_up(command);
        // Not through `resolve`: another future around limits that are ready costs a tenth of a reserve in memory
        // (`scripts/bench --only pairs`, the hot key).
        if !self.is_ready(&resolved) {
            resolved = self.make_ready(resolved).await?;
            if !resolved.new_instances().is_empty() {
                return self.reserve_first(resolved).await;
            }
        }
        let limits = resolved.limits();
        let tickets = match self.denial_cache.admit(command, &limits, resolved.at_ns()) {
            Admission::Ask(tickets) => tickets,
            Admission::Deny { key, until_ns } => return Ok(self.deny_until(&resolved, key, until_ns)),
        };
        let chain = self.plan(&resolved, &limits)?;
        let remembered = self.lease_cache.is_on().then(|| chain.clone());
        let outcome = self.ledger.submit_one(chain).await?;
        match self.conclude(&resolved, &limits, tickets, remembered.as_ref(), outcome)? {
            Some(answer) => Ok(answer),
            None => self.look_up_and_conclude(resolved.command, outcome).await,
        }
    }

    /// Reserves for each command, in order, in one submission to the ledger. The answers are in the order of the commands.
    pub async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<ReserveOutcome, LimiterError>> {
        let mut chains = Vec::with_capacity(commands.len());
        let mut items = Vec::with_capacity(commands.len());
        for resolved in self.resolve_batch(commands).await {
            let resolved = match resolved {
                Ok(resolved) => resolved,
                Err(error) => {
                    items.push(BatchItem::Answered(Err(error)));
                    continue;
                }
            };
            if !resolved.new_instances().is_empty() {
                items.push(BatchItem::First(resolved));
                continue;
            }
            let admission = self.denial_cache.admit(resolved.command, &resolved.limits(), resolved.at_ns());
            let tickets = match admission {
                Admission::Ask(tickets) => tickets,
                Admission::Deny { key, until_ns } => {
                    let denied = self.deny_until(&resolved, key, until_ns);
                    items.push(BatchItem::Answered(Ok(denied)));
                    continue;
                }
            };
            let chain = self.plan(&resolved, &resolved.limits());
            items.push(match chain {
                Ok(chain) => {
                    let remembered = self.lease_cache.is_on().then(|| chain.clone());
                    chains.push(chain);
                    BatchItem::Sent { resolved, tickets, remembered }
                }
                Err(error) => BatchItem::Answered(Err(error.into())),
            });
        }
        let mut outcomes = self.ledger.submit(chains).await.into_iter();
        let mut answers: Vec<Option<Result<ReserveOutcome, LimiterError>>> =
            Vec::with_capacity(commands.len());
        let mut look_ups: Vec<BoxFuture<'_, (usize, Result<ReserveOutcome, LimiterError>)>> = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let (resolved, tickets, remembered) = match item {
                BatchItem::Sent { resolved, tickets, remembered } => (resolved, tickets, remembered),
                BatchItem::First(resolved) => {
                    answers.push(None);
                    look_ups.push(Box::pin(async move { (index, self.reserve_first(resolved).await) }));
                    continue;
                }
                BatchItem::Answered(answer) => {
                    answers.push(Some(answer));
                    continue;
                }
            };
            let outcome = match outcomes.next().unwrap_or_else(|| Err(missing_outcome())) {
                Ok(outcome) => outcome,
                Err(error) => {
                    answers.push(Some(Err(error.into())));
                    continue;
                }
            };
            let answer = self
                .conclude(&resolved, &resolved.limits(), tickets, remembered.as_ref(), outcome)
                .transpose();
            if answer.is_none() {
                let command = resolved.command;
                look_ups.push(Box::pin(
                    async move { (index, self.look_up_and_conclude(command, outcome).await) },
                ));
            }
            answers.push(answer);
        }
        // Together, so that the look-ups share requests to the ledger.
        for (index, answer) in join_all(look_ups).await {
            if let Some(slot) = answers.get_mut(index) {
                *slot = Some(answer);
            }
        }
        answers.into_iter().flatten().collect()
    }

    pub(super) fn plan(&self, resolved: &Resolved<'_>, limits: &Limits<'_>) -> Result<Chain, LedgerError> {
        let empty =
            || LedgerError::Unexpected(format!("lease {} has no requirements", resolved.command.lease));
        reserve::plan(self.ids, resolved.command, limits, resolved.at_ns()).ok_or_else(empty)
    }

    /// The answer, if the outcome of the chain tells it: nearly always. `None` if the definitions may be stale or the lease was
    /// granted before.
    pub(super) fn conclude(
        &self,
        resolved: &Resolved<'_>,
        limits: &Limits<'_>,
        tickets: AdmissionTickets,
        remembered: Option<&Chain>,
        outcome: ChainOutcome,
    ) -> Result<Option<ReserveOutcome>, LimiterError> {
        match outcome {
            ChainOutcome::Created { timestamp_ns } => {
                tickets.granted(limits, timestamp_ns);
                resolved.reset_denial_streaks();
                self.remember(resolved.command, remembered, timestamp_ns);
                Ok(Some(ReserveOutcome::Granted { reserved_at_unix_ms: unix_ms(timestamp_ns) }))
            }
            ChainOutcome::Refused { index, refusal } => {
                self.conclude_refusal(resolved, limits, tickets, index, refusal)
            }
        }
    }

    fn remember(&self, command: &Reserve, granted: Option<&Chain>, timestamp_ns: u64) {
        if let Some(chain) = granted
            && let Some(lease) = Lease::from_grant(command.lease, chain.transfers(), timestamp_ns)
        {
            self.lease_cache.insert(lease);
        }
    }

    fn conclude_refusal(
        &self,
        resolved: &Resolved<'_>,
        limits: &Limits<'_>,
        tickets: AdmissionTickets,
        index: usize,
        refusal: Refusal,
    ) -> Result<Option<ReserveOutcome>, LimiterError> {
        let outcome = ChainOutcome::Refused { index, refusal };
        let command = resolved.command;
        let impossible = reserve::impossible(command, limits);
        let room_at_ns = if refusal == Refusal::ExceedsCredits && impossible.is_none() {
            self.denial_cache.refused(tickets, command, limits, index, self.ledger.now_ns())
        } else {
            None
        };
        if reserve::contradicts_definitions(limits, outcome, impossible.as_ref()) {
            return Ok(None);
        }
        Ok(match reserve::interpret(command, limits, outcome, impossible)? {
            ReserveResult::Granted { reserved_at_unix_ms } => {
                Some(ReserveOutcome::Granted { reserved_at_unix_ms })
            }
            ReserveResult::Denied { denial: Denial::NoRoom(key), .. } if room_at_ns.is_some() => {
                Some(self.deny_until(resolved, key, room_at_ns))
            }
            ReserveResult::Denied { denial, repeated } => Some(self.deny(resolved, denial, repeated)),
            ReserveResult::AlreadyGranted => None,
        })
    }

    /// Concludes after a look at the definitions, and at the lease if it was granted before.
    pub(super) async fn look_up_and_conclude(
        &self,
        command: &Reserve,
        outcome: ChainOutcome,
    ) -> Result<ReserveOutcome, LimiterError> {
        // Another call may have read newer definitions meanwhile.
        let mut resolved = self.resolve_definitions(command).await?;
        let impossible = resolved.impossible();
        if reserve::contradicts_definitions(&resolved.limits(), outcome, impossible.as_ref()) {
            resolved = self.resolve_again(resolved).await?;
        }
        let impossible = resolved.impossible();
        let result = reserve::interpret(command, &resolved.limits(), outcome, impossible)?;
        match result {
            ReserveResult::Granted { reserved_at_unix_ms } => {
                Ok(ReserveOutcome::Granted { reserved_at_unix_ms })
            }
            ReserveResult::Denied { denial, repeated } => Ok(self.deny(&resolved, denial, repeated)),
            ReserveResult::AlreadyGranted => self.status_of_granted(resolved).await,
        }
    }

    /// The answer for a lease id that was granted before.
    async fn status_of_granted(&self, mut resolved: Resolved<'_>) -> Result<ReserveOutcome, LimiterError> {
        let command = resolved.command;
        let Some(lease) = self.read_lease(command.lease).await? else {
            // One of the lease's transfer ids is taken, but not by a reservation of this lease.
            return Ok(ReserveOutcome::LeaseConflict);
        };
        let now_ns = self.ledger.now_ns();
        let mut status = lease.status(self.ids, command, &resolved.limits(), now_ns);
        if status == LeaseStatus::Conflict {
            // Another replica may have given a limit a new account. Boxed, so that it does not add to every reserve's future.
            resolved = Box::pin(self.resolve_again(resolved)).await?;
            status = lease.status(self.ids, command, &resolved.limits(), now_ns);
        }
        Ok(match status {
            LeaseStatus::Granted { reserved_at_unix_ms } => ReserveOutcome::Granted { reserved_at_unix_ms },
            LeaseStatus::Conflict => ReserveOutcome::LeaseConflict,
            LeaseStatus::Settled => ReserveOutcome::LeaseSettled,
        })
    }
}

fn missing_outcome() -> LedgerError {
    LedgerError::Unexpected("the ledger returned fewer outcomes than chains".to_owned())
}
