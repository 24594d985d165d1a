//! The operation force: takes everything that a reserve names, whatever is free. The excess is debt. A reserve with limits in
//! shadow mode, of which one has too little room, is carried out in the same way: it forces those limits, and no others.

use futures_util::future::{BoxFuture, try_join_all};

use super::denial_cache::AdmissionTickets;
use super::look::{REREADS_MAX, closed_unexpectedly};
use super::reserve::Fallback;
use super::resolve::Resolved;
use super::{Limiter, LimiterError};
use crate::decide::force::{self, ForceResult, Forced};
use crate::decide::ids::ATTEMPTS_MAX;
use crate::decide::look::Room;
use crate::decide::renew::Closing;
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError, Refusal, find_closing};
use crate::protocol::{Reserve, ReserveOutcome};
use crate::registry::MakingOutcome;
use crate::time::unix_ms;

/// How often an attempt is repeated while other callers make its instances, or other replicas change its limits.
const REPEATS_MAX: usize = 64;

/// A step towards the end of a forced reserve.
enum Step {
    /// It is over.
    Answer(ReserveOutcome),
    /// The ledger refused a limit that enforces.
    Denied(ChainOutcome),
    /// The attempt is used up: make the next one.
    NextAttempt,
    /// Repeat the attempt, with the limits read again if `reload`.
    Repeat { reload: bool },
}

impl<L: Ledger> Limiter<L> {
    /// Takes every requirement of the command. What is free of a limit is reserved, the excess is posted as debt. It is denied
    /// only if a limit is unknown, or closed while its capacity is being lowered.
    ///
    /// If the future is dropped, the outcome is unknown; the same command finds out.
    pub async fn force(&self, command: &Reserve) -> Result<ReserveOutcome, LimiterError> {
        self.denial_cache.mark_sent(command.lease);
        let resolved = self.resolve(command).await?;
        if resolved.is_delegated() || self.allotments.knows(command.lease) {
            return self.reserve_allotted(resolved, Fallback::Force).await;
        }
        self.force_in_ledger(resolved).await
    }

    /// Takes everything in the ledger.
    pub(super) async fn force_in_ledger(
        &self,
        resolved: Resolved<'_>,
    ) -> Result<ReserveOutcome, LimiterError> {
        self.take_forced(resolved, Forced::All, 0, AdmissionTickets::default()).await
    }

    /// Reserves for a command of which the ledger has refused the first attempt, because a limit in shadow mode would deny.
    /// Boxed, so that it does not add to every reserve's future.
    pub(super) fn reserve_in_shadow<'a>(
        &'a self,
        mut resolved: Resolved<'a>,
        tickets: AdmissionTickets,
        outcome: ChainOutcome,
    ) -> BoxFuture<'a, Result<ReserveOutcome, LimiterError>> {
        Box::pin(async move {
            // Another refusal may mean that a definition known here is stale.
            if !matches!(outcome, ChainOutcome::Refused { refusal: Refusal::ExceedsCredits, .. }) {
                self.reload(&resolved).await?;
                resolved = self.resolve(resolved.command).await?;
            }
            self.take_forced(resolved, Forced::Shadow, 1, tickets).await
        })
    }

    async fn take_forced(
        &self,
        mut resolved: Resolved<'_>,
        forced: Forced,
        mut attempt: u8,
        tickets: AdmissionTickets,
    ) -> Result<ReserveOutcome, LimiterError> {
        let command = resolved.command;
        let mut repeats = 0;
        while attempt < ATTEMPTS_MAX && repeats < REPEATS_MAX {
            let reload = match self.try_forced(&mut resolved, forced, attempt, repeats).await? {
                Step::Answer(answer) => {
                    if let (ReserveOutcome::Granted { .. }, Forced::Shadow) = (&answer, forced) {
                        tickets.granted(&resolved.limits(), self.ledger.now_ns());
                        resolved.reset_denial_streaks();
                    }
                    return Ok(answer);
                }
                Step::Denied(outcome) => return self.deny_enforced(&resolved, tickets, outcome).await,
                Step::NextAttempt => {
                    attempt += 1;
                    true
                }
                Step::Repeat { reload } => {
                    repeats += 1;
                    reload
                }
            };
            if reload {
                self.reload(&resolved).await?;
            }
            resolved = self.resolve(command).await?;
        }
        let message =
            format!("lease {} was not taken in {attempt} attempts and {repeats} repetitions", command.lease);
        Err(LedgerError::Unexpected(message).into())
    }

    /// Sends one attempt.
    async fn try_forced(
        &self,
        resolved: &mut Resolved<'_>,
        forced: Forced,
        attempt: u8,
        repeats: usize,
    ) -> Result<Step, LimiterError> {
        let command = resolved.command;
        let at_ns = resolved.at_ns_or(|| self.ledger.now_ns());
        let rooms = self.rooms(resolved, at_ns).await?;
        if closed_unexpectedly(resolved, &rooms) && repeats < REREADS_MAX {
            return Ok(Step::Repeat { reload: true });
        }
        let denial = match forced {
            Forced::All => force::denial(command, &resolved.limits(), &rooms),
            // The ledger denies, so that the lease stays denied.
            Forced::Shadow | Forced::ShadowOfWaiter => None,
        };
        if let Some(denial) = denial {
            return Ok(Step::Answer(match self.read_lease(command.lease).await? {
                Some(lease) => self.status_of(&lease, resolved).await?,
                None => self.deny(resolved, denial, true),
            }));
        }
        let closings = self.closings_of_forced(resolved, forced, &rooms).await?;
        let mut chain = self.plan_forced(resolved, forced, &rooms, &closings, attempt)?;
        let outcome = match self.submit_forced(resolved, &chain).await? {
            MakingOutcome::Submitted(outcome) => outcome,
            // Another caller made the instance. No id of this attempt is used up, and another call of the same lease may have
            // made the attempt, so it is repeated and not the next one made.
            MakingOutcome::Superseded => return Ok(Step::Repeat { reload: false }),
            MakingOutcome::TooMany(key) if forced == Forced::All => {
                return Ok(Step::Answer(ReserveOutcome::TooManyInstances { key }));
            }
            MakingOutcome::TooMany(key) => {
                resolved.make_none(key);
                chain = self.plan_forced(resolved, forced, &rooms, &closings, attempt)?;
                self.ledger.submit_one(chain.clone()).await?
            }
        };
        Ok(match force::interpret(command, forced, &resolved.limits(), &chain, outcome)? {
            ForceResult::Taken { timestamp_ns } => {
                self.remember_forced(resolved, &chain, timestamp_ns).await?;
                Step::Answer(ReserveOutcome::Granted {
                    reserved_at_unix_ms: unix_ms(timestamp_ns),
                    would_deny: force::would_deny(command, &chain),
                })
            }
            ForceResult::AlreadyGranted => Step::Answer(self.status_of_granted(resolved).await?),
            ForceResult::UsedUp => Step::NextAttempt,
            ForceResult::ClosingChanged => Step::Repeat { reload: true },
            ForceResult::Denied { index, refusal } => Step::Denied(ChainOutcome::Refused { index, refusal }),
        })
    }

    /// The answer after the ledger refused a limit that enforces.
    async fn deny_enforced(
        &self,
        resolved: &Resolved<'_>,
        tickets: AdmissionTickets,
        outcome: ChainOutcome,
    ) -> Result<ReserveOutcome, LimiterError> {
        let (limits, impossible) = (resolved.limits(), resolved.impossible());
        match self.conclude(resolved, &limits, impossible, tickets, None, outcome)? {
            Some(answer) => Ok(answer),
            None => self.look_up_and_conclude(resolved.command, outcome).await,
        }
    }

    /// The transfers that hold closed accounts of forced limits closed. Of a reserve that forces all its limits there are none:
    /// a closed limit denies it.
    async fn closings_of_forced(
        &self,
        resolved: &Resolved<'_>,
        forced: Forced,
        rooms: &[Room],
    ) -> Result<Vec<Closing>, LimiterError> {
        let limits = resolved.limits();
        let is_closed = |(limit, room): &(_, &Room)| **room == Room::Closed && forced.applies_to(*limit);
        let closed = limits.iter().copied().zip(rooms).filter(is_closed).filter_map(|(limit, _)| limit);
        let closing = async |account| {
            let closing = find_closing(&*self.ledger, account).await?;
            Ok::<_, LedgerError>(closing.map(|closing| (account, closing)))
        };
        let closings = try_join_all(closed.map(|limit| closing(limit.account))).await?;
        Ok(closings.into_iter().flatten().collect())
    }

    fn plan_forced(
        &self,
        resolved: &Resolved<'_>,
        forced: Forced,
        rooms: &[Room],
        closings: &[Closing],
        attempt: u8,
    ) -> Result<Chain, LedgerError> {
        let (command, limits, at_ns) = (resolved.command, resolved.limits(), resolved.at_ns());
        let empty = || LedgerError::Unexpected(format!("lease {} has no requirements", command.lease));
        force::plan(self.ids, command, forced, &limits, rooms, closings, attempt, at_ns).ok_or_else(empty)
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
        timestamp_ns: u64,
    ) -> Result<(), LimiterError> {
        for new in resolved.new_instances() {
            self.registry.find_current(new.key()).await?;
        }
        if self.lease_cache.is_on() {
            self.remember(resolved.command, Some(chain), timestamp_ns);
        }
        Ok(())
    }
}
