//! Reserve.

use futures_util::future::join_all;

use super::denial_cache::{Admission, AdmissionTickets};
use super::resolve::Resolved;
use super::{Limiter, LimiterError};
use crate::decide::lease::{Lease, LeaseStatus};
use crate::decide::reserve::{self, Denial, ReserveResult};
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError, Refusal};
use crate::protocol::{Reserve, ReserveOutcome};
use crate::time::unix_ms;

/// A reserve whose chain was sent.
struct Attempt<'a> {
    resolved: Resolved<'a>,
    tickets: AdmissionTickets,
    /// The chain, if its lease is to be remembered.
    chain: Option<Chain>,
}

/// A reserve that is ready to be sent, or was denied by the denial cache.
enum Prepared<'a> {
    Send(Chain, Attempt<'a>),
    Denied(ReserveOutcome),
}

/// A reserve of a batch whose outcome is among those of the batch, or which the denial cache denied.
enum BatchItem<'a> {
    Sent(Attempt<'a>),
    Denied(ReserveOutcome),
}

/// What the outcome of a chain says.
enum Conclusion<'a> {
    /// The answer.
    Answer(ReserveOutcome),
    /// The definitions may be stale, or the lease was granted before: look that up.
    LookUp(Resolved<'a>),
}

impl<L: Ledger> Limiter<L> {
    /// Reserves every requirement of the command, or nothing.
    ///
    /// If the future is dropped, the outcome is unknown; the same command finds out.
    pub async fn reserve(&self, command: &Reserve) -> Result<ReserveOutcome, LimiterError> {
        let resolved = self.resolve(command).await?;
        self.reserve_resolved(resolved).await
    }

    pub(super) async fn reserve_resolved(
        &self,
        resolved: Resolved<'_>,
    ) -> Result<ReserveOutcome, LimiterError> {
        let (chain, attempt) = match self.prepare(resolved)? {
            Prepared::Send(chain, attempt) => (chain, attempt),
            Prepared::Denied(answer) => return Ok(answer),
        };
        let outcome = self.ledger.submit_one(chain).await?;
        match self.conclude(attempt, outcome)? {
            Conclusion::Answer(answer) => Ok(answer),
            Conclusion::LookUp(resolved) => self.look_up_and_conclude(resolved, outcome).await,
        }
    }

    /// Reserves for each command, in order, in one submission to the ledger. The answers are in the order of the commands.
    pub async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<ReserveOutcome, LimiterError>> {
        let mut chains = Vec::with_capacity(commands.len());
        let mut items = Vec::with_capacity(commands.len());
        for resolved in self.resolve_batch(commands).await {
            items.push(match resolved.and_then(|resolved| self.prepare(resolved)) {
                Ok(Prepared::Send(chain, attempt)) => {
                    chains.push(chain);
                    Ok(BatchItem::Sent(attempt))
                }
                Ok(Prepared::Denied(answer)) => Ok(BatchItem::Denied(answer)),
                Err(error) => Err(error),
            });
        }
        let mut outcomes = self.ledger.submit(chains).await.into_iter();
        let mut answers: Vec<Option<Result<ReserveOutcome, LimiterError>>> =
            Vec::with_capacity(commands.len());
        let mut look_ups = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let attempt = match item {
                Ok(BatchItem::Sent(attempt)) => attempt,
                Ok(BatchItem::Denied(answer)) => {
                    answers.push(Some(Ok(answer)));
                    continue;
                }
                Err(error) => {
                    answers.push(Some(Err(error)));
                    continue;
                }
            };
            let outcome = outcomes.next().unwrap_or_else(|| Err(missing_outcome()));
            let concluded =
                outcome.map_err(LimiterError::from).and_then(|it| Ok((self.conclude(attempt, it)?, it)));
            answers.push(match concluded {
                Ok((Conclusion::Answer(answer), _)) => Some(Ok(answer)),
                Ok((Conclusion::LookUp(resolved), outcome)) => {
                    look_ups.push(async move { (index, self.look_up_and_conclude(resolved, outcome).await) });
                    None
                }
                Err(error) => Some(Err(error)),
            });
        }
        // Together, so that the look-ups share requests to the ledger.
        for (index, answer) in join_all(look_ups).await {
            if let Some(slot) = answers.get_mut(index) {
                *slot = Some(answer);
            }
        }
        answers.into_iter().flatten().collect()
    }

    /// Asks the denial cache, and plans the chain if the ledger is to be asked.
    fn prepare<'a>(&self, resolved: Resolved<'a>) -> Result<Prepared<'a>, LimiterError> {
        let (chain, tickets) = {
            let (command, limits, at_ns) = (resolved.command, resolved.limits(), resolved.at_ns());
            let tickets = match self.denial_cache.admit(command, &limits, at_ns) {
                Admission::Ask(tickets) => tickets,
                Admission::Deny { key, until_ns } => {
                    return Ok(Prepared::Denied(self.deny_until(&resolved, key, until_ns)));
                }
            };
            let empty = || LedgerError::Unexpected(format!("lease {} has no requirements", command.lease));
            (reserve::plan(self.ids, command, &limits, at_ns).ok_or_else(empty)?, tickets)
        };
        let remembered = self.lease_cache.is_on().then(|| chain.clone());
        Ok(Prepared::Send(chain, Attempt { resolved, tickets, chain: remembered }))
    }

    /// What the outcome of the chain says. It is nearly always the answer.
    fn conclude<'a>(
        &self,
        attempt: Attempt<'a>,
        outcome: ChainOutcome,
    ) -> Result<Conclusion<'a>, LimiterError> {
        match outcome {
            ChainOutcome::Created { timestamp_ns } => {
                Ok(Conclusion::Answer(self.conclude_grant(attempt, timestamp_ns)))
            }
            ChainOutcome::Refused { index, refusal } => self.conclude_refusal(attempt, index, refusal),
        }
    }

    fn conclude_grant(&self, attempt: Attempt<'_>, timestamp_ns: u64) -> ReserveOutcome {
        let Attempt { resolved, tickets, chain } = attempt;
        tickets.granted(&resolved.limits(), timestamp_ns);
        resolved.reset_denial_streaks();
        if let Some(chain) = chain
            && let Some(lease) = Lease::from_grant(resolved.command.lease, chain.transfers(), timestamp_ns)
        {
            self.lease_cache.insert(lease);
        }
        ReserveOutcome::Granted { reserved_at_unix_ms: unix_ms(timestamp_ns) }
    }

    fn conclude_refusal<'a>(
        &self,
        attempt: Attempt<'a>,
        index: usize,
        refusal: Refusal,
    ) -> Result<Conclusion<'a>, LimiterError> {
        let Attempt { resolved, tickets, chain: _ } = attempt;
        let outcome = ChainOutcome::Refused { index, refusal };
        let (command, limits) = (resolved.command, resolved.limits());
        let impossible = reserve::impossible(command, &limits);
        let room_at_ns = if refusal == Refusal::ExceedsCredits && impossible.is_none() {
            self.denial_cache.refused(tickets, command, &limits, index, self.ledger.now_ns())
        } else {
            None
        };
        if reserve::contradicts_definitions(&limits, outcome, impossible.as_ref()) {
            drop(limits);
            return Ok(Conclusion::LookUp(resolved));
        }
        let result = reserve::interpret(command, &limits, outcome, impossible)?;
        drop(limits);
        Ok(match result {
            ReserveResult::Granted { reserved_at_unix_ms } => {
                Conclusion::Answer(ReserveOutcome::Granted { reserved_at_unix_ms })
            }
            ReserveResult::Denied { denial: Denial::NoRoom(key), .. } if room_at_ns.is_some() => {
                Conclusion::Answer(self.deny_until(&resolved, key, room_at_ns))
            }
            ReserveResult::Denied { denial, repeated } => {
                Conclusion::Answer(self.deny(&resolved, denial, repeated))
            }
            ReserveResult::AlreadyGranted => Conclusion::LookUp(resolved),
        })
    }

    /// Concludes after a look at the definitions or at the lease.
    async fn look_up_and_conclude(
        &self,
        mut resolved: Resolved<'_>,
        outcome: ChainOutcome,
    ) -> Result<ReserveOutcome, LimiterError> {
        let impossible = resolved.impossible();
        if reserve::contradicts_definitions(&resolved.limits(), outcome, impossible.as_ref()) {
            resolved = self.resolve_again(resolved).await?;
        }
        let (limits, impossible) = (resolved.limits(), resolved.impossible());
        match reserve::interpret(resolved.command, &limits, outcome, impossible)? {
            ReserveResult::Granted { reserved_at_unix_ms } => {
                Ok(ReserveOutcome::Granted { reserved_at_unix_ms })
            }
            ReserveResult::Denied { denial, repeated } => Ok(self.deny(&resolved, denial, repeated)),
            ReserveResult::AlreadyGranted => self.status_of_granted(&resolved).await,
        }
    }

    /// The answer for a lease id that was granted before.
    async fn status_of_granted(&self, resolved: &Resolved<'_>) -> Result<ReserveOutcome, LimiterError> {
        let command = resolved.command;
        let Some(lease) = self.read_lease(command.lease).await? else {
            // One of the lease's transfer ids is taken, but not by a reservation of this lease.
            return Ok(ReserveOutcome::LeaseConflict);
        };
        Ok(match lease.status(self.ids, command, &resolved.limits(), self.ledger.now_ns()) {
            LeaseStatus::Granted { reserved_at_unix_ms } => ReserveOutcome::Granted { reserved_at_unix_ms },
            LeaseStatus::Conflict => ReserveOutcome::LeaseConflict,
            LeaseStatus::Settled => ReserveOutcome::LeaseSettled,
        })
    }
}

fn missing_outcome() -> LedgerError {
    LedgerError::Unexpected("the ledger returned fewer outcomes than chains".to_owned())
}
