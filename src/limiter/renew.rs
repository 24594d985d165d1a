//! The operation renew: the time-outs of the slots of a running lease begin anew.

use super::{Limiter, LimiterError};
use crate::decide::renew::{self, Closing, RenewPlan, RenewResult};
use crate::ledger::{AccountId, Ledger, LedgerError, find_closing};
use crate::limit::LimitKey;
use crate::protocol::{EXTENDS_MAX, Renew, RenewOutcome, ReserveOutcome};

/// How often a lease is read again: each time another operation on it was first, or a limit was closed or opened.
const ROUNDS_MAX: usize = 2 * EXTENDS_MAX;

impl<L: Ledger> Limiter<L> {
    /// Holds the slots of a running lease for their whole timeout again, from now on.
    ///
    /// If the future is dropped, the outcome is unknown; the same command finds out.
    pub async fn renew(&self, command: &Renew) -> Result<RenewOutcome, LimiterError> {
        let lease = command.lease;
        let (mut attempt, mut closings) = (0, Vec::<Closing>::new());
        for _ in 0..ROUNDS_MAX {
            let transfers = self.ledger.lease_transfers(self.ids.lease_query(lease)).await?;
            let now_ns = self.ledger.now_ns();
            let chain = match renew::plan(self.ids, command, &transfers, &closings, attempt, now_ns) {
                RenewPlan::Send(chain) => chain,
                RenewPlan::AlreadyRenewed { renewed_at_unix_ms } => return Ok(renewed(renewed_at_unix_ms)),
                RenewPlan::NotRunning => return Ok(RenewOutcome::Answered(ReserveOutcome::LeaseSettled)),
                RenewPlan::Expired => return Ok(RenewOutcome::Answered(ReserveOutcome::LeaseExpired)),
                RenewPlan::NoSlots => return Ok(RenewOutcome::NoSlots),
                RenewPlan::TooMany => return Ok(RenewOutcome::TooMany),
            };
            let outcome = self.ledger.submit_one(chain.clone()).await?;
            match renew::interpret(command, &chain, &closings, outcome)? {
                RenewResult::Renewed { renewed_at_unix_ms } => {
                    // The cached lease holds the slots that were voided.
                    self.lease_cache.take(lease);
                    return Ok(renewed(renewed_at_unix_ms));
                }
                RenewResult::Expired => return Ok(RenewOutcome::Answered(ReserveOutcome::LeaseExpired)),
                RenewResult::ReadAgain => {}
                RenewResult::ClosingChanged(account) => {
                    closings.retain(|&(closed, _)| closed != account);
                    if let Some(closing) = find_closing(&*self.ledger, account).await? {
                        if let Some(key) = self.deleted_limit_of(account).await? {
                            return Ok(RenewOutcome::Answered(ReserveOutcome::UnknownKey { key }));
                        }
                        closings.push((account, closing));
                    }
                    attempt += 1;
                    if !renew::has_attempt(attempt) {
                        break;
                    }
                }
            }
        }
        Err(LedgerError::Unexpected(format!("lease {lease} was not renewed after {attempt} attempts")).into())
    }

    /// The key of the limit with this closed account, if the limit was deleted. Otherwise it is decreasing.
    async fn deleted_limit_of(&self, account: AccountId) -> Result<Option<LimitKey>, LimiterError> {
        self.registry.refresh().await?;
        let entries = self.registry.snapshot().matching(|_| true);
        let entry = entries.iter().find(|entry| entry.limit.has_or_had_account(self.ids, account));
        let unknown = || LedgerError::Unexpected("a slot of an account that no limit has".to_owned());
        let limit = &entry.ok_or_else(unknown)?.limit;
        let is_in_use = limit.account == account && !limit.state.status.is_gone();
        Ok((!is_in_use).then(|| limit.state.definition.key.clone()))
    }
}

fn renewed(renewed_at_unix_ms: u64) -> RenewOutcome {
    RenewOutcome::Answered(ReserveOutcome::granted(renewed_at_unix_ms))
}
