//! The operation extend: reserves more of a limit for a running lease.

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
        for _ in 0..ROUNDS_MAX {
            let transfers = self.ledger.lease_transfers(self.ids.lease_query(lease)).await?;
            let limit = resolved.limits().first().copied().flatten();
            let now_ns = resolved.at_ns_or(|| self.ledger.now_ns());
            let mut plan = extend::plan(self.ids, command, limit, &transfers, now_ns);
            if plan == ExtendPlan::NotInLease || plan == ExtendPlan::Conflict {
                // Another replica may have given the limit a new account.
                self.reload(&resolved).await?;
                resolved = self.resolve(&wanted).await?;
                let limit = resolved.limits().first().copied().flatten();
                plan = extend::plan(self.ids, command, limit, &transfers, now_ns);
            }
            let (chain, lease_expires_at_ns) = match plan {
                ExtendPlan::Send { chain, lease_expires_at_ns } => (chain, lease_expires_at_ns),
                ExtendPlan::AlreadyGranted { reserved_at_unix_ms } => {
                    return Ok(granted(reserved_at_unix_ms));
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
                    return Ok(ExtendOutcome::Answered(ReserveOutcome::NoRoom { key, retry_after_ms: 1 }));
                }
            };
            let outcome = self.ledger.submit_one(chain).await?;
            let is_stale = extend::reservation_outcome(outcome).is_some_and(|of_reservation| {
                let impossible = resolved.impossible();
                reserve::contradicts_definitions(&resolved.limits(), of_reservation, impossible.as_ref())
            });
            if is_stale {
                self.reload(&resolved).await?;
                resolved = self.resolve(&wanted).await?;
            }
            let interpret_reservation = |of_reservation| {
                reserve::interpret(&wanted, &resolved.limits(), of_reservation, resolved.impossible())
            };
            match extend::interpret(lease, lease_expires_at_ns, outcome, interpret_reservation)? {
                ExtendResult::Granted { reserved_at_unix_ms } => {
                    // The cached lease does not hold the extension.
                    self.lease_cache.take(lease);
                    return Ok(granted(reserved_at_unix_ms));
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

fn granted(reserved_at_unix_ms: u64) -> ExtendOutcome {
    ExtendOutcome::Answered(ReserveOutcome::Granted { reserved_at_unix_ms })
}
