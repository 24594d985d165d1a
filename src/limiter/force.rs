//! The operation force: takes everything that a reserve names, whatever is free. The excess is debt.

use super::look::{REREADS_MAX, closed_unexpectedly};
use super::resolve::Resolved;
use super::{Limiter, LimiterError};
use crate::decide::force::{self, ForceResult};
use crate::decide::ids::ATTEMPTS_MAX;
use crate::decide::look::Room;
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError};
use crate::protocol::{Reserve, ReserveOutcome};
use crate::registry::MakingOutcome;

/// How often an attempt is repeated while other callers make its instances, or other replicas change its limits.
const REPEATS_MAX: usize = 64;

impl<L: Ledger> Limiter<L> {
    /// Takes every requirement of the command. What is free of a limit is reserved, the excess is posted as debt. It is denied
    /// only if a limit is unknown, or closed while its capacity is being lowered.
    ///
    /// If the future is dropped, the outcome is unknown; the same command finds out.
    pub async fn force(&self, command: &Reserve) -> Result<ReserveOutcome, LimiterError> {
        self.denial_cache.mark_sent(command.lease);
        let mut resolved = self.resolve(command).await?;
        if resolved.is_delegated() && !self.allotments.note_direct(command.lease) {
            // The lease was granted or denied before, so this takes nothing.
            return self.reserve_allotted(resolved).await;
        }
        let (mut attempt, mut repeats) = (0, 0);
        while attempt < ATTEMPTS_MAX && repeats < REPEATS_MAX {
            let at_ns = resolved.at_ns_or(|| self.ledger.now_ns());
            let rooms = self.rooms(&resolved, at_ns).await?;
            if closed_unexpectedly(&resolved, &rooms) && repeats < REREADS_MAX {
                repeats += 1;
                self.reload(&resolved).await?;
                resolved = self.resolve(command).await?;
                continue;
            }
            if let Some(denial) = force::denial(command, &resolved.limits(), &rooms) {
                return match self.read_lease(command.lease).await? {
                    Some(lease) => self.status_of(&lease, &resolved).await,
                    None => Ok(self.deny(&resolved, denial, true)),
                };
            }
            let chain = self.plan_forced(&resolved, &rooms, attempt)?;
            let outcome = match self.submit_forced(&resolved, &chain).await? {
                MakingOutcome::Submitted(outcome) => outcome,
                // Another caller made the instance. No id of this attempt is used up, and another call of the same lease may have
                // made the attempt, so it is repeated and not the next one made.
                MakingOutcome::Superseded => {
                    repeats += 1;
                    resolved = self.resolve(command).await?;
                    continue;
                }
                MakingOutcome::TooMany(key) => return Ok(ReserveOutcome::TooManyInstances { key }),
            };
            match force::interpret(command, outcome)? {
                ForceResult::Taken { reserved_at_unix_ms } => {
                    self.remember_forced(&resolved, &chain, outcome).await?;
                    return Ok(ReserveOutcome::Granted { reserved_at_unix_ms });
                }
                ForceResult::AlreadyGranted => return self.status_of_granted(&resolved).await,
                ForceResult::UsedUp => {
                    attempt += 1;
                    self.reload(&resolved).await?;
                    resolved = self.resolve(command).await?;
                }
            }
        }
        let message =
            format!("lease {} was not taken in {attempt} attempts and {repeats} repetitions", command.lease);
        Err(LedgerError::Unexpected(message).into())
    }

    fn plan_forced(
        &self,
        resolved: &Resolved<'_>,
        rooms: &[Room],
        attempt: u8,
    ) -> Result<Chain, LedgerError> {
        let (command, limits) = (resolved.command, resolved.limits());
        let empty = || LedgerError::Unexpected(format!("lease {} has no requirements", command.lease));
        force::plan(self.ids, command, &limits, rooms, attempt, resolved.at_ns()).ok_or_else(empty)
    }

    async fn submit_forced(
        &self,
        resolved: &Resolved<'_>,
        chain: &Chain,
    ) -> Result<MakingOutcome, LimiterError> {
        if resolved.new_instances().is_empty() {
            return Ok(MakingOutcome::Submitted(self.ledger.submit_one(chain.clone()).await?));
        }
        Ok(self.registry.submit_making(resolved.new_instances(), chain).await?)
    }

    /// Remembers a lease that was taken, and the instances that its chain made.
    async fn remember_forced(
        &self,
        resolved: &Resolved<'_>,
        chain: &Chain,
        outcome: ChainOutcome,
    ) -> Result<(), LimiterError> {
        for new in resolved.new_instances() {
            self.registry.find_current(new.key()).await?;
        }
        if let (ChainOutcome::Created { timestamp_ns }, true) = (outcome, self.lease_cache.is_on()) {
            self.remember(resolved.command, Some(chain), timestamp_ns);
        }
        Ok(())
    }
}
