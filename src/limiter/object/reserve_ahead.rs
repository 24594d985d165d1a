//! Reservations ahead: tokens that are available now, or that later refills will add.

use std::sync::Arc;

use super::{Object, ObjectError, acts_at_once};
use crate::decide::borrow::{self, BorrowResult, Wanted};
use crate::decide::ids::ATTEMPTS_MAX;
use crate::decide::lease::{Lease, LeaseStatus};
use crate::decide::reservation_ahead::reservation_ahead;
use crate::ledger::{Chain, Ledger};
use crate::limit::{Amount, LeaseId};
use crate::limiter::LimiterError;
use crate::limiter::resolve::Resolved;
use crate::protocol::{ObjectReservation, Reserve};
use crate::registry::{Entry, MakingOutcome};

impl<L: Ledger> Object<'_, L> {
    /// Takes tokens that are available now or that later refills will add; the result tells when.
    pub async fn reserve(&self, tokens: Amount, lease: LeaseId) -> Result<ObjectReservation, ObjectError> {
        self.reserve_within(tokens, lease, None).await
    }

    /// The same, but takes nothing if the refills come later than in `wait_max_ms` milliseconds. `None` waits as long as the
    /// bucket's definition allows.
    pub async fn reserve_within(
        &self,
        tokens: Amount,
        lease: LeaseId,
        wait_max_ms: Option<u64>,
    ) -> Result<ObjectReservation, ObjectError> {
        let limiter = self.limiter;
        let command = self.command(tokens, lease)?;
        let mut resolved = limiter.resolve(&command).await?;
        if resolved.entry(self.key).is_some_and(|entry| !entry.limit.state.definition.capacity.holds(tokens))
        {
            // Another replica may have raised the capacity.
            limiter.registry.refresh().await.map_err(LimiterError::from)?;
            resolved = limiter.resolve(&command).await?;
        }
        for attempt in 0..ATTEMPTS_MAX {
            let entry = Arc::clone(self.resolved_bucket(&resolved)?);
            let owed = self.owed(&entry).await?;
            let (limit, now_ns) = (&entry.limit, resolved.at_ns());
            let clock = entry.clock_value();
            let wanted = Wanted { command: &command, limit, clock, wait_max_ms, now_ns };
            let chain = borrow::borrow(limiter.ids, wanted, owed, attempt);
            // A manually refilled bucket cannot lend: the time of its next refill is unknown.
            let Some(chain) = chain else {
                return self.take(&command, &entry).await;
            };
            let outcome = match self.submit(&resolved, chain).await? {
                MakingOutcome::Submitted(outcome) => outcome,
                MakingOutcome::Superseded => {
                    resolved = limiter.resolve(&command).await?;
                    continue;
                }
                MakingOutcome::TooMany(key) => return Err(ObjectError::TooManyInstances(key)),
            };
            match borrow::interpret(&command, outcome)? {
                BorrowResult::Granted | BorrowResult::AlreadyGranted => {
                    resolved.note_taken();
                    return self.read_reservation(&command, &entry).await;
                }
                BorrowResult::Denied => {
                    // Another replica may have retired it.
                    limiter.registry.forget_instance(&entry);
                    return Ok(self.denied(&entry));
                }
                BorrowResult::WaitTooLong => return self.waits_too_long(tokens, &entry).await,
                BorrowResult::ScheduleReplaced => {
                    limiter.registry.refresh().await.map_err(LimiterError::from)?;
                    resolved = limiter.resolve(&command).await?;
                }
            }
        }
        Err(self.changes_too_fast())
    }

    /// Submits a chain, behind the chains that make the instances it needs. Tokens that can never fit make no instance.
    async fn submit(&self, resolved: &Resolved<'_>, chain: Chain) -> Result<MakingOutcome, ObjectError> {
        let limiter = self.limiter;
        match resolved.new_instances() {
            _ if resolved.impossible().is_some() => {
                Ok(MakingOutcome::Submitted(limiter.ledger.submit_one(chain).await?))
            }
            [] => Ok(MakingOutcome::Submitted(limiter.ledger.submit_one(chain).await?)),
            new => {
                let making = limiter.registry.submit_making(new, &chain).await;
                Ok(making.map_err(LimiterError::from)?)
            }
        }
    }

    /// The reservation of a lease that was granted, now or before, from its transfers.
    pub(super) async fn read_reservation(
        &self,
        command: &Reserve,
        entry: &Entry,
    ) -> Result<ObjectReservation, ObjectError> {
        let transfers = self.transfers(command.lease).await?;
        let conflict = || ObjectError::LeaseConflict(command.lease);
        let lease = Lease::from_transfers(command.lease, &transfers).ok_or_else(conflict)?;
        let (ids, now_ns) = (self.limiter.ids, self.limiter.ledger.now_ns());
        match lease.status(ids, command, &[Some(&entry.limit)], now_ns) {
            LeaseStatus::Settled => Err(ObjectError::LeaseSettled(command.lease)),
            // A fast bucket is soon full again, but its reservation stays valid.
            LeaseStatus::Granted { .. } | LeaseStatus::Expired => {
                let created_at_unix_ms = lease.reserved_at_unix_ms();
                let ahead = reservation_ahead(created_at_unix_ms, &transfers);
                let reservation = ahead.map_or_else(
                    || acts_at_once(command, entry, created_at_unix_ms),
                    |ahead| ObjectReservation {
                        ok: true,
                        tokens: ahead.tokens,
                        creation_date: ahead.created_at_unix_ms,
                        date_to_act: ahead.acts_at_unix_ms,
                        limit: ahead.per_second,
                        wait_ms: 0,
                    },
                );
                self.record_date_to_act(reservation.date_to_act);
                Ok(reservation)
            }
            LeaseStatus::Conflict => Err(conflict()),
        }
    }

    /// The answer for a reservation that would wait too long: with the wait, as the bucket is now.
    async fn waits_too_long(&self, tokens: Amount, entry: &Entry) -> Result<ObjectReservation, ObjectError> {
        let [available, borrowed] = self.balances(entry).await?;
        let now_ns = self.limiter.ledger.now_ns();
        let wait_ms =
            borrow::wait_ms(&entry.limit, entry.clock_value(), now_ns, tokens, &available, &borrowed);
        // Refills may have made room since. A wait of 0 would contradict the reason of the refusal.
        Ok(ObjectReservation { wait_ms: wait_ms.unwrap_or_default().max(1), ..self.denied(entry) })
    }

    /// The tokens that reservations ahead have borrowed and refills have not repaid.
    async fn owed(&self, entry: &Entry) -> Result<u128, ObjectError> {
        let borrowed = entry.limit.borrowed_account();
        let accounts = self.limiter.ledger.accounts(borrowed.into_iter().collect()).await?;
        Ok(accounts.into_iter().flatten().map(|account| account.owed()).sum())
    }
}
