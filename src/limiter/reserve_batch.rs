//! The operation reserve for many commands: in one submission to the ledger, as far as they need nothing more.

use futures_util::future::join_all;

use super::denial_cache::{Admission, AdmissionTickets};
use super::reserve::Fallback;
use super::resolve::Resolved;
use super::{Limiter, LimiterError};
use crate::decide::reserve::{self, Denial};
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError};
use crate::limit::LimitKey;
use crate::protocol::{Reserve, ReserveOutcome};

/// A reserve of a batch.
enum BatchItem<'a> {
    /// Its chain is among those submitted.
    Sent {
        resolved: Resolved<'a>,
        impossible: Option<Denial>,
        tickets: AdmissionTickets,
        remembered: Option<Chain>,
    },
    /// The denial cache denied its lease id before, because of this key.
    DeniedBefore { resolved: Resolved<'a>, key: LimitKey },
    /// Its chain makes instances, so it is sent alone, after the others.
    First(Resolved<'a>),
    /// One of its limits hands out allotments, so it is reserved alone, after the others.
    Delegated(Resolved<'a>),
    /// It needs no outcome.
    Answered(Result<ReserveOutcome, LimiterError>),
}

/// What a reserve of a batch needs for its answer beyond the outcome of its chain.
enum LookUp<'a> {
    /// The ledger refused its chain in a way that the definitions known here do not explain.
    Refused { command: &'a Reserve, outcome: ChainOutcome },
    /// The denial cache denied its lease id before, because of this key.
    DeniedBefore { resolved: Resolved<'a>, key: LimitKey },
    /// A limit in shadow mode would deny.
    InShadow { resolved: Resolved<'a>, tickets: Box<AdmissionTickets>, outcome: ChainOutcome },
    /// Its chain makes instances.
    First(Resolved<'a>),
    /// One of its limits hands out allotments.
    Delegated(Resolved<'a>),
}

impl<L: Ledger> Limiter<L> {
    /// Reserves for each command, in order, in one submission to the ledger. The answers are in the order of the commands.
    pub async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<ReserveOutcome, LimiterError>> {
        self.reserve_all(&commands.iter().collect::<Vec<_>>()).await
    }

    /// The same, of commands that need not lie together.
    pub(super) async fn reserve_all(
        &self,
        commands: &[&Reserve],
    ) -> Vec<Result<ReserveOutcome, LimiterError>> {
        if commands.iter().any(|command| self.waiting.concerns(command)) {
            // In their order, and together, so that they share requests to the ledger.
            return join_all(commands.iter().map(|command| self.reserve(command))).await;
        }
        let mut chains = Vec::with_capacity(commands.len());
        let resolved = self.resolve_batch(commands).await;
        let items: Vec<_> =
            resolved.into_iter().map(|resolved| self.admit_item(resolved, &mut chains)).collect();
        let mut outcomes = self.ledger.submit(chains).await.into_iter();
        let mut answers: Vec<Option<Result<ReserveOutcome, LimiterError>>> = Vec::with_capacity(items.len());
        let mut look_ups = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let mut next_outcome = || outcomes.next().unwrap_or_else(|| Err(missing_outcome()));
            answers.push(match self.conclude_item(item, &mut next_outcome) {
                Ok(answer) => Some(answer),
                Err(look_up) => {
                    look_ups.push(async move { (index, self.look_up_item(look_up).await) });
                    None
                }
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

    /// Admits and plans one reserve of a batch, and adds its chain to those to submit.
    fn admit_item<'a>(
        &self,
        resolved: Result<Resolved<'a>, LimiterError>,
        chains: &mut Vec<Chain>,
    ) -> BatchItem<'a> {
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(error) => return BatchItem::Answered(Err(error)),
        };
        if self.is_allotted(&resolved) {
            return match self.serve_at_once(&resolved) {
                Some(answer) => BatchItem::Answered(Ok(answer)),
                None => BatchItem::Delegated(resolved),
            };
        }
        if !resolved.new_instances().is_empty() {
            return BatchItem::First(resolved);
        }
        let (limits, command) = (resolved.limits(), resolved.command);
        let impossible = reserve::impossible(command, &limits);
        let is_impossible = impossible.is_some();
        let tickets = match self.denial_cache.admit(command, &limits, is_impossible, resolved.at_ns()) {
            Admission::Ask(tickets) => tickets,
            Admission::Deny { key, until_ns } => {
                return BatchItem::Answered(Ok(self.deny_until(&resolved, key, until_ns)));
            }
            Admission::DeniedBefore { key } => {
                drop(limits);
                return BatchItem::DeniedBefore { resolved, key };
            }
        };
        let chain = match self.plan(&resolved, &limits) {
            Ok(chain) => chain,
            Err(error) => return BatchItem::Answered(Err(error.into())),
        };
        drop(limits);
        let remembered = self.lease_cache.is_on().then(|| chain.clone());
        chains.push(chain);
        BatchItem::Sent { resolved, impossible, tickets, remembered }
    }

    /// The answer of one reserve of a batch, or else what to look up for it. `next_outcome` is called if its chain was sent.
    fn conclude_item<'a>(
        &self,
        item: BatchItem<'a>,
        next_outcome: &mut impl FnMut() -> Result<ChainOutcome, LedgerError>,
    ) -> Result<Result<ReserveOutcome, LimiterError>, LookUp<'a>> {
        let (resolved, impossible, tickets, remembered) = match item {
            BatchItem::Sent { resolved, impossible, tickets, remembered } => {
                (resolved, impossible, tickets, remembered)
            }
            BatchItem::DeniedBefore { resolved, key } => return Err(LookUp::DeniedBefore { resolved, key }),
            BatchItem::First(resolved) => return Err(LookUp::First(resolved)),
            BatchItem::Delegated(resolved) => return Err(LookUp::Delegated(resolved)),
            BatchItem::Answered(answer) => return Ok(answer),
        };
        let outcome = match next_outcome() {
            Ok(outcome) => outcome,
            Err(error) => return Ok(Err(error.into())),
        };
        if reserve::refused_by_shadow(&resolved.limits(), outcome) {
            return Err(LookUp::InShadow { resolved, tickets: Box::new(tickets), outcome });
        }
        let (limits, command) = (resolved.limits(), resolved.command);
        let answer = self.conclude(&resolved, &limits, impossible, tickets, remembered.as_ref(), outcome);
        answer.transpose().ok_or(LookUp::Refused { command, outcome })
    }

    async fn look_up_item(&self, look_up: LookUp<'_>) -> Result<ReserveOutcome, LimiterError> {
        match look_up {
            LookUp::Refused { command, outcome } => self.look_up_and_conclude(command, outcome).await,
            LookUp::DeniedBefore { resolved, key } => self.deny_again(&resolved, key).await,
            LookUp::InShadow { resolved, tickets, outcome } => {
                self.reserve_in_shadow(resolved, *tickets, outcome).await
            }
            LookUp::First(resolved) => self.reserve_first(resolved).await,
            LookUp::Delegated(resolved) => self.reserve_allotted(resolved, Fallback::Reserve).await,
        }
    }
}

pub(super) fn missing_outcome() -> LedgerError {
    LedgerError::Unexpected("the ledger returned fewer outcomes than chains".to_owned())
}
