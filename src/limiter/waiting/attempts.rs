//! The attempts at a lease that waits, and the end of its wait. [`later_attempt`] decides what is sent; this file sends it.

use tokio::time::{Duration, Instant};

use super::waiter::{Answer, Progress, Turn};
use crate::decide::Limit;
use crate::decide::force;
use crate::decide::later_attempt::{self, AttemptResult, ExclusionResult, LAST_ATTEMPT};
use crate::decide::reserve::{self, Denial, is_shadow};
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError};
use crate::limit::{Kind, LimitKey};
use crate::limiter::resolve::Resolved;
use crate::limiter::{Limiter, LimiterError};
use crate::protocol::{Requirement, Reserve, ReserveOutcome};
use crate::registry::MakingOutcome;
use crate::time::{NS_PER_SECOND, unix_ms};

/// How often an attempt is repeated while other callers make its instances.
const REPEATS_MAX: usize = 64;

/// The ledger makes an expiry a moment late.
const EXPIRY_LAG: Duration = Duration::from_millis(1);

/// What an attempt has led to.
#[derive(Debug)]
pub(super) enum Tried {
    /// The outcome of the lease.
    Outcome(ReserveOutcome),
    /// The lease waits on.
    WaitsOn(Progress),
}

/// An attempt that is ready to be sent: its limits and its chain. `None` if its chain makes instances, or its limits have changed:
/// then it is carried out by itself.
pub(super) type Prepared<'a> = Option<(Resolved<'a>, Chain)>;

impl<L: Ledger> Limiter<L> {
    /// Prepares the next attempt at a lease.
    pub(super) async fn prepare<'a>(&self, turn: &'a Turn) -> Result<Prepared<'a>, LimiterError> {
        let resolved = self.resolve(&turn.command).await?;
        if !resolved.new_instances().is_empty() || resolved.impossible().is_some() {
            return Ok(None);
        }
        let chain = self.plan_attempt(&resolved, turn.progress.attempt).await?;
        Ok(Some((resolved, chain)))
    }

    async fn plan_attempt(&self, resolved: &Resolved<'_>, attempt: u8) -> Result<Chain, LimiterError> {
        let (command, limits) = (resolved.command, resolved.limits());
        let at_ns = resolved.at_ns_or(|| self.ledger.now_ns());
        let planned = match limits.iter().any(|limit| limit.is_some_and(is_shadow)) {
            false => later_attempt::plan(self.ids, command, &limits, attempt, at_ns),
            // It went into shadow mode while the lease waited.
            true => {
                let rooms = self.rooms(resolved, at_ns).await?;
                later_attempt::plan_in_shadow(self.ids, command, &limits, &rooms, attempt, at_ns)
            }
        };
        let empty = || LedgerError::Unexpected(format!("lease {} has no requirements", command.lease));
        Ok(planned.ok_or_else(empty)?)
    }

    /// Carries the next attempt at a lease out.
    pub(super) async fn try_alone(&self, turn: &Turn) -> Result<Tried, LimiterError> {
        let attempt = turn.progress.attempt;
        for _ in 0..REPEATS_MAX {
            let mut resolved = self.resolve(&turn.command).await?;
            if resolved.impossible().is_some() {
                // Another replica may have changed the limit.
                self.reload(&resolved).await?;
                resolved = self.resolve(&turn.command).await?;
            }
            if let Some(denial) = resolved.impossible() {
                return self.give_up(&resolved, attempt, denial).await;
            }
            let chain = self.plan_attempt(&resolved, attempt).await?;
            if resolved.new_instances().is_empty() {
                let outcome = self.ledger.submit_one(chain.clone()).await?;
                return self.conclude_attempt(&resolved, &chain, turn.progress, outcome).await;
            }
            match self.registry.submit_making(resolved.new_instances(), &chain).await? {
                MakingOutcome::Submitted(outcome) => {
                    if let ChainOutcome::Created { .. } = outcome {
                        for new in resolved.new_instances() {
                            self.registry.find_current(new.key()).await?;
                        }
                    }
                    return self.conclude_attempt(&resolved, &chain, turn.progress, outcome).await;
                }
                MakingOutcome::Superseded => {}
                MakingOutcome::TooMany(key) => {
                    resolved.make_none(key.clone());
                    return self.give_up(&resolved, attempt, Denial::UnknownKey(key)).await;
                }
            }
        }
        let lease = turn.command.lease;
        let message = format!("the instances for lease {lease} are made or changed too often");
        Err(LedgerError::Unexpected(message).into())
    }

    /// Denies a lease that can never be granted.
    async fn give_up(
        &self,
        resolved: &Resolved<'_>,
        attempt: u8,
        denial: Denial,
    ) -> Result<Tried, LimiterError> {
        self.deny_at_end(resolved, attempt, denial).await.map(Tried::Outcome)
    }

    /// What the outcome of an attempt means for its lease.
    pub(super) async fn conclude_attempt(
        &self,
        resolved: &Resolved<'_>,
        chain: &Chain,
        progress: Progress,
        outcome: ChainOutcome,
    ) -> Result<Tried, LimiterError> {
        let (command, attempt) = (resolved.command, progress.attempt);
        match later_attempt::interpret(command, chain, outcome)? {
            AttemptResult::Granted { reserved_at_ns } => {
                resolved.reset_denial_streaks();
                self.note_expiries(resolved, reserved_at_ns);
                if let (ChainOutcome::Created { timestamp_ns }, true) = (outcome, self.lease_cache.is_on()) {
                    self.remember(command, Some(chain), timestamp_ns);
                }
                let would_deny = force::would_deny(command, chain);
                let reserved_at_unix_ms = unix_ms(reserved_at_ns);
                Ok(Tried::Outcome(ReserveOutcome::Granted { reserved_at_unix_ms, would_deny }))
            }
            AttemptResult::AlreadyGranted => self.status_of_granted(resolved).await.map(Tried::Outcome),
            AttemptResult::RefusedFresh { leg } => {
                self.reload_if_stale(resolved, leg, outcome).await?;
                let progress = Progress { limiting: leg, ..progress };
                match attempt {
                    0 => self.seal_others(resolved, progress).await,
                    LAST_ATTEMPT.. => self.exhausted(resolved, progress).await,
                    _ => Ok(Tried::WaitsOn(Progress { attempt: attempt + 1, ..progress })),
                }
            }
            AttemptResult::UsedUp if attempt == 0 || attempt >= LAST_ATTEMPT => {
                self.exhausted(resolved, progress).await
            }
            AttemptResult::UsedUp => Ok(Tried::WaitsOn(Progress { attempt: attempt + 1, ..progress })),
            AttemptResult::Waived => self.exhausted(resolved, progress).await,
        }
    }

    /// Notes when the legs of a grant expire, for those who wait behind it.
    fn note_expiries(&self, resolved: &Resolved<'_>, reserved_at_ns: u64) {
        let (now, now_ns) = (Instant::now(), self.ledger.now_ns());
        let limits = resolved.limits();
        let expiry = |(requirement, limit): (&'_ Requirement, &Option<&Limit>)| {
            let seconds = match limit.as_ref()?.state.definition.kind {
                Kind::Rolling(rolling) => rolling.window_seconds(),
                Kind::Concurrency(concurrency) => concurrency.timeout_seconds(),
                Kind::TokenBucket(_) | Kind::FixedWindow(_) | Kind::SlidingWindow(_) | Kind::Calendar(_) => {
                    return None;
                }
            };
            let at_ns = reserved_at_ns.saturating_add(u64::from(seconds) * NS_PER_SECOND);
            let left = Duration::from_nanos(at_ns.saturating_sub(now_ns));
            Some((requirement.key.clone(), now.checked_add(left + EXPIRY_LAG)?))
        };
        let expiries: Vec<(LimitKey, Instant)> =
            resolved.command.requirements().iter().zip(&limits).filter_map(expiry).collect();
        self.waiting.note_expiries(expiries.iter().map(|(key, at)| (key, *at)));
    }

    /// Reads the definitions again if the refusal of a leg contradicts them.
    async fn reload_if_stale(
        &self,
        resolved: &Resolved<'_>,
        leg: usize,
        outcome: ChainOutcome,
    ) -> Result<(), LimiterError> {
        let ChainOutcome::Refused { refusal, .. } = outcome else { return Ok(()) };
        let of_leg = ChainOutcome::Refused { index: leg, refusal };
        if reserve::contradicts_definitions(&resolved.limits(), of_leg, None) {
            self.reload(resolved).await?;
        }
        Ok(())
    }

    /// The first attempt was refused at a leg, and nobody was told so. Makes sure that nobody will be: a wait goes on only if it
    /// heard the first refusal of every leg.
    async fn seal_others(&self, resolved: &Resolved<'_>, progress: Progress) -> Result<Tried, LimiterError> {
        let command = resolved.command;
        let seals = later_attempt::seals_but(self.ids, command, progress.limiting);
        let outcomes = if seals.is_empty() { Vec::new() } else { self.ledger.submit(seals).await };
        let mut all_fresh = true;
        for outcome in outcomes {
            match later_attempt::interpret_exclusion(command, outcome?)? {
                ExclusionResult::Fresh => {}
                ExclusionResult::Before | ExclusionResult::Created => all_fresh = false,
            }
        }
        match all_fresh {
            true => Ok(Tried::WaitsOn(Progress { attempt: 1, ..progress })),
            false => self.exhausted(resolved, progress).await,
        }
    }

    /// Denies a lease that has no attempts left.
    async fn exhausted(&self, resolved: &Resolved<'_>, progress: Progress) -> Result<Tried, LimiterError> {
        self.deny_for_good(resolved, no_room(resolved.command, progress)?).await.map(Tried::Outcome)
    }

    /// Ends a wait: the lease is denied for good, unless it was granted before.
    pub(super) async fn end_of_wait(&self, command: &Reserve, progress: Progress) -> Answer {
        let mut resolved = self.resolve_definitions(command).await?;
        if resolved.impossible().is_some() {
            // Another replica may have changed the limit.
            resolved = self.resolve_again(&resolved).await?;
        }
        if let Some(key) = self.registry.instance_without_place(resolved.new_instances()).await? {
            resolved.make_none(key);
        }
        let denial = match resolved.impossible() {
            Some(denial) => denial,
            None => no_room(command, progress)?,
        };
        self.deny_at_end(&resolved, progress.attempt, denial).await
    }

    /// Denies a lease for good whose next attempt would have this number.
    async fn deny_at_end(&self, resolved: &Resolved<'_>, attempt: u8, denial: Denial) -> Answer {
        let command = resolved.command;
        let seal = if attempt == 0 { later_attempt::seal(self.ids, command, 0) } else { None };
        let Some(seal) = seal else { return self.deny_for_good(resolved, denial).await };
        match later_attempt::interpret_exclusion(command, self.ledger.submit_one(seal).await?)? {
            ExclusionResult::Fresh => Ok(self.deny(resolved, denial, true)),
            ExclusionResult::Before => self.deny_for_good(resolved, denial).await,
            ExclusionResult::Created => self.status_of_granted(resolved).await,
        }
    }
}

/// The denial of a wait, which names the limit that lacked room last.
fn no_room(command: &Reserve, progress: Progress) -> Result<Denial, LedgerError> {
    let requirements = command.requirements();
    let requirement = requirements.get(progress.limiting).or(requirements.first());
    let empty = || LedgerError::Unexpected(format!("lease {} has no requirements", command.lease));
    Ok(Denial::NoRoom(requirement.ok_or_else(empty)?.key.clone()))
}
