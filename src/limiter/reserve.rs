//! The operation reserve: reserves all requirements of a command or none. `reserve_batch.rs` reserves for many.

use futures_util::future::Either;

use super::denial_cache::{Admission, AdmissionTickets};
use super::resolve::{Limits, Resolved};
use super::{Limiter, LimiterError};
use crate::decide::later_attempt;
use crate::decide::lease::{Lease, LeaseStatus};
use crate::decide::reserve::{self, Denial, ReserveResult};
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError, Refusal};
use crate::limit::LimitKey;
use crate::protocol::{Reserve, ReserveOutcome};
use crate::time::unix_ms;

/// Where a reserve looks for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// In this process's allotments first, if one of its limits hands out any.
    Any,
    /// In the ledger only.
    Ledger,
}

/// How the ledger is asked for a lease of which it has everything, or nobody has anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallback {
    /// For a reserve.
    Reserve,
    /// For a forced reserve, which allotments never serve.
    Force,
}

impl<L: Ledger> Limiter<L> {
    /// Reserves every requirement of the command, or nothing. A command that waits does so in a task of the runtime.
    ///
    /// If the future is dropped, the outcome is unknown; the same command finds out. A command that still waits for its turn is
    /// given up then.
    pub fn reserve<'a>(
        &'a self,
        command: &'a Reserve,
    ) -> impl Future<Output = Result<ReserveOutcome, LimiterError>> + Send + 'a {
        match self.waiting.concerns(command)
            && self.may_wait(command)
            && !self.allotments.knows(command.lease)
        {
            true => Either::Left(self.reserve_in_turn(command)),
            false => Either::Right(self.reserve_now(command)),
        }
    }

    /// The same, without waiting, and whoever waits.
    pub(super) fn reserve_now(
        &self,
        command: &Reserve,
    ) -> impl Future<Output = Result<ReserveOutcome, LimiterError>> + Send {
        self.reserve_by(command, Way::Any)
    }

    pub(super) async fn reserve_by(
        &self,
        command: &Reserve,
        way: Way,
    ) -> Result<ReserveOutcome, LimiterError> {
        let mut resolved = self.look_up(command);
        // Not through `resolve`: another future around limits that are ready costs a tenth of a reserve in memory
        // (`scripts/bench --only pairs`, the hot key).
        if !self.is_ready(&resolved) {
            resolved = self.make_ready(resolved).await?;
        }
        if way == Way::Any && self.is_allotted(&resolved) {
            return match self.serve_at_once(&resolved) {
                Some(answer) => Ok(answer),
                None => self.reserve_allotted(resolved, Fallback::Reserve).await,
            };
        }
        if !resolved.new_instances().is_empty() {
            return self.reserve_first(resolved).await;
        }
        let limits = resolved.limits();
        let impossible = reserve::impossible(command, &limits);
        let tickets = match self.denial_cache.admit(command, &limits, impossible.is_some(), resolved.at_ns())
        {
            Admission::Ask(tickets) => tickets,
            Admission::Deny { key, until_ns } => return Ok(self.deny_until(&resolved, key, until_ns)),
            Admission::DeniedBefore { key } => return self.deny_again(&resolved, key).await,
        };
        let chain = self.plan(&resolved, &limits)?;
        let remembered = self.lease_cache.is_on().then(|| chain.clone());
        let outcome = self.ledger.submit_one(chain).await?;
        if reserve::refused_by_shadow(&limits, outcome) {
            drop(limits);
            return self.reserve_in_shadow(resolved, tickets, outcome).await;
        }
        match self.conclude(&resolved, &limits, impossible, tickets, remembered.as_ref(), outcome)? {
            Some(answer) => Ok(answer),
            None => self.look_up_and_conclude(resolved.command, outcome).await,
        }
    }

    /// Whether a reserve goes by the allotments of this process: one of its limits hands out some, or did until now.
    pub(super) fn is_allotted(&self, resolved: &Resolved<'_>) -> bool {
        resolved.is_delegated()
            || self.allotments.knows(resolved.command.lease) && resolved.impossible().is_none()
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
        impossible: Option<Denial>,
        tickets: AdmissionTickets,
        remembered: Option<&Chain>,
        outcome: ChainOutcome,
    ) -> Result<Option<ReserveOutcome>, LimiterError> {
        match outcome {
            ChainOutcome::Created { timestamp_ns } => {
                tickets.granted(limits, timestamp_ns);
                resolved.reset_denial_streaks();
                resolved.note_taken();
                self.remember(resolved.command, remembered, timestamp_ns);
                Ok(Some(ReserveOutcome::granted(unix_ms(timestamp_ns))))
            }
            ChainOutcome::Refused { index, refusal } => {
                self.conclude_refusal(resolved, limits, impossible, tickets, index, refusal)
            }
        }
    }

    pub(super) fn remember(&self, command: &Reserve, granted: Option<&Chain>, timestamp_ns: u64) {
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
        impossible: Option<Denial>,
        tickets: AdmissionTickets,
        index: usize,
        refusal: Refusal,
    ) -> Result<Option<ReserveOutcome>, LimiterError> {
        let outcome = ChainOutcome::Refused { index, refusal };
        let command = resolved.command;
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
                Some(ReserveOutcome::granted(reserved_at_unix_ms))
            }
            ReserveResult::Denied { denial: Denial::NoRoom(key), .. } if room_at_ns.is_some() => {
                Some(self.deny_until(resolved, key, room_at_ns))
            }
            // Another attempt at this lease may be granted, or be under way: it waits, or a limit was in shadow mode.
            ReserveResult::Denied { repeated: true, .. } | ReserveResult::AlreadyGranted => None,
            ReserveResult::Denied { denial, .. } => Some(self.deny(resolved, denial, false)),
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
            resolved = self.resolve_again(&resolved).await?;
        }
        let (limits, impossible) = (resolved.limits(), resolved.impossible());
        match reserve::interpret(resolved.command, &limits, outcome, impossible)? {
            ReserveResult::Granted { reserved_at_unix_ms } => {
                Ok(ReserveOutcome::granted(reserved_at_unix_ms))
            }
            ReserveResult::Denied { denial, repeated: true } => self.deny_for_good(&resolved, denial).await,
            ReserveResult::Denied { denial, .. } => Ok(self.deny(&resolved, denial, false)),
            ReserveResult::AlreadyGranted => self.status_of_granted(&resolved).await,
        }
    }

    /// Excludes every later attempt at a lease whose first attempt can never be granted, and denies it. A later attempt or a forced
    /// reserve that was granted before is the answer instead.
    pub(super) async fn deny_for_good(
        &self,
        resolved: &Resolved<'_>,
        denial: Denial,
    ) -> Result<ReserveOutcome, LimiterError> {
        let command = resolved.command;
        if let Some(waiver) = later_attempt::waiver(self.ids, command) {
            later_attempt::interpret_exclusion(command, self.ledger.submit_one(waiver).await?)?;
        }
        match self.read_lease(command.lease).await? {
            Some(lease) => self.status_of(&lease, resolved).await,
            None => Ok(self.deny(resolved, denial, true)),
        }
    }

    /// The answer for a lease id that the denial cache denied because of `key`. The ledger does not know that denial, so another
    /// replica may have granted the lease since.
    pub(super) async fn deny_again(
        &self,
        resolved: &Resolved<'_>,
        key: LimitKey,
    ) -> Result<ReserveOutcome, LimiterError> {
        let command = resolved.command;
        if let Some(lease) = self.read_lease(command.lease).await? {
            return self.status_of(&lease, resolved).await;
        }
        let names_key = command.requirements().iter().any(|requirement| requirement.key == key);
        // A denial names a key of the command. Without the key this is another command under the same id.
        Ok(match names_key {
            true => self.deny(resolved, Denial::NoRoom(key), true),
            false => ReserveOutcome::LeaseConflict,
        })
    }

    /// The answer for a lease id that was granted before.
    pub(super) async fn status_of_granted(
        &self,
        resolved: &Resolved<'_>,
    ) -> Result<ReserveOutcome, LimiterError> {
        Ok(match self.read_lease(resolved.command.lease).await? {
            Some(lease) => self.status_of(&lease, resolved).await?,
            // One of the lease's transfer ids is taken, but not by a reservation of this lease.
            None => ReserveOutcome::LeaseConflict,
        })
    }

    pub(super) async fn status_of(
        &self,
        lease: &Lease,
        resolved: &Resolved<'_>,
    ) -> Result<ReserveOutcome, LimiterError> {
        let status = self.known_status_of(lease, resolved);
        if status != ReserveOutcome::LeaseConflict || lease.borrowed_ahead() {
            return Ok(status);
        }
        // Another replica may have given a limit a new account. Boxed, so that it does not add to every reserve's future.
        let again = Box::pin(self.resolve_again(resolved)).await?;
        Ok(self.known_status_of(lease, &again))
    }

    fn known_status_of(&self, lease: &Lease, resolved: &Resolved<'_>) -> ReserveOutcome {
        if lease.borrowed_ahead() {
            // Not all its tokens were available at that time, so it is not the grant of a reserve.
            return ReserveOutcome::LeaseConflict;
        }
        match lease.status(self.ids, resolved.command, &resolved.limits(), self.ledger.now_ns()) {
            LeaseStatus::Granted { reserved_at_unix_ms } => {
                let would_deny = lease.would_deny(resolved.command);
                ReserveOutcome::Granted { reserved_at_unix_ms, would_deny }
            }
            LeaseStatus::Conflict => ReserveOutcome::LeaseConflict,
            LeaseStatus::Settled => ReserveOutcome::LeaseSettled,
            LeaseStatus::Expired => ReserveOutcome::LeaseExpired,
        }
    }
}
