//! The operation extend: reserves more of a limit for a running lease.

use super::denial::retry_at_once;
use super::{Limiter, LimiterError};
use crate::decide::extend::{self, ExtendPlan, ExtendResult};
use crate::decide::reserve;
use crate::ledger::{Ledger, LedgerError};
use crate::protocol::{EXTENDS_MAX, Extend, ExtendOutcome, ReserveOutcome};

/// How often a lease is read again: each time another extend of it was first.
const ROUNDS_MAX: usize = 2 * EXTENDS_MAX;

impl<L: Ledger> Limiter<L> {
    /// Reserves more of a limit for a running lease.
    ///
    /// If the future is dropped, the outcome is unknown; the same command finds out.
    pub async fn extend(&self, command: &Extend) -> Result<ExtendOutcome, LimiterError> {
        if let Some(answer) = self.extend_allotted(command).await? {
            return Ok(answer);
        }
        let wanted = command.as_reserve();
        let lease = command.lease;
        let mut resolved = self.resolve(&wanted).await?;
        let mut in_debt = false;
        for _ in 0..ROUNDS_MAX {
            let transfers = self.ledger.lease_transfers(self.ids.lease_query(lease)).await?;
            let limit = resolved.limits().first().copied().flatten();
            let now_ns = resolved.at_ns_or(|| self.ledger.now_ns());
            let mut plan = extend::plan(self.ids, command, limit, &transfers, in_debt, now_ns);
            if plan == ExtendPlan::NotInLease || plan == ExtendPlan::Conflict {
                // Another replica may have given the limit a new account.
                self.reload(&resolved).await?;
                resolved = self.resolve(&wanted).await?;
                let limit = resolved.limits().first().copied().flatten();
                plan = extend::plan(self.ids, command, limit, &transfers, in_debt, now_ns);
            }
            let (chain, lease_expires_at_ns) = match plan {
                ExtendPlan::Send { chain, lease_expires_at_ns } => (chain, lease_expires_at_ns),
                ExtendPlan::AlreadyGranted { reserved_at_unix_ms, is_debt } => {
                    return Ok(granted(command, reserved_at_unix_ms, is_debt));
                }
                ExtendPlan::Conflict => {
                    return Ok(ExtendOutcome::Answered(ReserveOutcome::LeaseConflict));
                }
                ExtendPlan::NotRunning => {
                    return Ok(ExtendOutcome::Answered(ReserveOutcome::LeaseSettled));
                }
                ExtendPlan::NotInLease => return Ok(ExtendOutcome::NotInLease),
                ExtendPlan::TooMany => return Ok(ExtendOutcome::TooMany),
                ExtendPlan::IdCollision => {
                    let key = command.requirement.key.clone();
                    return Ok(ExtendOutcome::Answered(retry_at_once(key)));
                }
            };
            let outcome = self.ledger.submit_one(chain).await?;
            let of_reservation = extend::reservation_outcome(outcome);
            let is_stale = of_reservation.is_some_and(|of_reservation| {
                let impossible = resolved.impossible();
                reserve::contradicts_definitions(&resolved.limits(), of_reservation, impossible.as_ref())
            });
            if is_stale {
                self.reload(&resolved).await?;
                resolved = self.resolve(&wanted).await?;
            }
            let would_deny = of_reservation
                .is_some_and(|of_reservation| reserve::refused_by_shadow(&resolved.limits(), of_reservation));
            if would_deny && !in_debt {
                in_debt = true;
                continue;
            }
            let interpret_reservation = |of_reservation| {
                reserve::interpret(&wanted, &resolved.limits(), of_reservation, resolved.impossible())
            };
            match extend::interpret(lease, lease_expires_at_ns, outcome, interpret_reservation)? {
                ExtendResult::Granted { reserved_at_unix_ms } => {
                    // The cached lease does not hold the extension.
                    self.lease_cache.take(lease);
                    resolved.note_taken();
                    return Ok(granted(command, reserved_at_unix_ms, in_debt));
                }
                ExtendResult::Expired => {
                    return Ok(ExtendOutcome::Answered(ReserveOutcome::LeaseSettled));
                }
                ExtendResult::Denied { denial, repeated } => {
                    return Ok(ExtendOutcome::Answered(self.deny(&resolved, denial, repeated)));
                }
                ExtendResult::ReadAgain => {}
            }
        }
        Err(LedgerError::Unexpected(format!("lease {lease} was not extended after {ROUNDS_MAX} attempts"))
            .into())
    }
}

fn granted(command: &Extend, reserved_at_unix_ms: u64, is_debt: bool) -> ExtendOutcome {
    let would_deny = is_debt.then(|| command.requirement.key.clone()).into_iter().collect();
    ExtendOutcome::Answered(ReserveOutcome::Granted { reserved_at_unix_ms, would_deny })
}
