use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::shared::{Duty, GivenBack, Shared};
use super::{
    AcquireError, CallError, Denial, KeyStats, Lease, LimitKey, RepeatPolicy, Repeating, Requirements,
    Reservation, ReserveOutcome, Transport,
};

/// How often an attempt is made anew whose lease was over before its grant was heard of.
pub(super) const LATE_GRANTS_MAX: usize = 3;

/// Leases of limits, over any transport. Cloning it is cheap, and the clones are one: they share their counts, and
/// closing one closes all.
pub struct Limiter<T> {
    shared: Arc<Shared<T>>,
}

/// The answer to one attempt.
pub enum Acquired<T: Transport> {
    /// Everything is reserved.
    Granted(Lease<T>),
    /// Nothing is.
    Denied(Denial),
}

impl<T> Clone for Limiter<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Transport> Limiter<T> {
    /// A limiter that repeats calls of unknown outcome as it does by default.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, which it needs to give back leases that are dropped.
    pub fn new(transport: T) -> Self {
        Self::with_policy(transport, RepeatPolicy::default())
    }

    /// A limiter that repeats calls of unknown outcome as `policy` says.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, which it needs to give back leases that are dropped.
    pub fn with_policy(transport: T, policy: RepeatPolicy) -> Self {
        Self { shared: Arc::new(Shared::new(Repeating::new(transport, policy))) }
    }

    /// The calls that this is made of, one lease id at a time: reserve, complete, and batches of them. What they reserve
    /// has no guard.
    pub fn calls(&self) -> &Repeating<T> {
        &self.shared.calls
    }

    /// Asks once, and does not wait for room.
    pub async fn try_acquire(&self, wants: &Requirements) -> Result<Acquired<T>, CallError> {
        self.attempt(wants, None).await
    }

    /// Waits until everything is reserved. Dropping the future gives up: what turns out to be reserved is given back.
    pub async fn acquire(&self, wants: &Requirements) -> Result<Lease<T>, AcquireError> {
        self.wait(wants, None).await
    }

    /// Waits until everything is reserved, at most until `deadline`: the last attempt begins then. So does the last
    /// repetition of an attempt whose outcome is unknown.
    pub async fn acquire_until(
        &self,
        wants: &Requirements,
        deadline: Instant,
    ) -> Result<Lease<T>, AcquireError> {
        self.wait(wants, Some(deadline)).await
    }

    /// Asks once. Where there is no room now, answers when to come back.
    pub async fn reserve(&self, wants: &Requirements) -> Result<Reservation<T>, AcquireError> {
        match self.attempt(wants, None).await? {
            Acquired::Granted(lease) => Ok(Reservation::held(lease)),
            Acquired::Denied(denial) => Reservation::waiting(self.clone(), wants.clone(), denial),
        }
    }

    /// What can be reserved of a limit now, `None` if there is none of this name.
    pub async fn available(&self, key: &LimitKey) -> Result<Option<u128>, CallError> {
        Ok(self.shared.calls.usage(key).await?.map(|usage| usage.available))
    }

    /// How a limit stands, and what its callers here got; `None` if there is none of this name.
    pub async fn stats(&self, key: &LimitKey) -> Result<Option<KeyStats>, CallError> {
        let Some(usage) = self.shared.calls.usage(key).await? else { return Ok(None) };
        let [queued, granted, denied] = self.shared.stats.read(key);
        let (available, reserved) = (usage.available, usage.reserved);
        Ok(Some(KeyStats { available, reserved, queued, granted, denied }))
    }

    /// Begins to count from zero again. Nothing that is reserved changes.
    pub fn reset(&self) {
        self.shared.stats.reset();
    }

    /// Lets nobody acquire any more, also those who wait. Leases can still be completed.
    pub fn close(&self) {
        self.shared.closed.cancel();
    }

    /// Closes, and waits until everything that is given back in the background is given back, or given up. There is no
    /// waiting in a drop: call this before the runtime ends.
    pub async fn shutdown(&self) {
        self.close();
        self.shared.drain().await;
    }

    /// What completes of these leases have given back.
    pub(super) fn given_back(&self) -> watch::Receiver<GivenBack> {
        self.shared.given_back.subscribe()
    }

    /// Some of every limit may have been given back by other means.
    pub(super) fn gave_back(&self) {
        self.shared.gave_back(true);
    }

    async fn wait(&self, wants: &Requirements, deadline: Option<Instant>) -> Result<Lease<T>, AcquireError> {
        let mut queued = None;
        loop {
            let denial = match self.attempt(wants, deadline).await? {
                Acquired::Granted(lease) => return Ok(lease),
                Acquired::Denied(denial) => denial,
            };
            let Some(retry_after) = denial.retry_after() else { return Err(AcquireError::Never(denial)) };
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(AcquireError::DeadlinePassed(denial));
            }
            queued.get_or_insert_with(|| self.shared.stats.queue(wants));
            let back_at = now + retry_after.max(Duration::from_millis(1));
            self.pause_until(deadline.map_or(back_at, |deadline| deadline.min(back_at))).await?;
        }
    }

    /// One attempt, under a lease id of its own.
    async fn attempt(
        &self,
        wants: &Requirements,
        deadline: Option<Instant>,
    ) -> Result<Acquired<T>, CallError> {
        for _ in 0..LATE_GRANTS_MAX {
            if self.shared.closed.is_cancelled() {
                return Err(CallError::Closed);
            }
            let command = wants.attempt();
            let mut duty = Duty::to_resolve(&self.shared, command.clone());
            let outcome = match deadline {
                Some(deadline) => self.shared.calls.reserve_until(&command, deadline).await,
                None => self.shared.calls.reserve(&command).await,
            };
            if !outcome.as_ref().is_err_and(CallError::is_unknown) {
                duty.discharge();
            }
            match Verdict::of(outcome?) {
                Verdict::Granted { reserved_at_unix_ms } => {
                    self.shared.stats.granted(wants);
                    return Ok(Acquired::Granted(Lease::new(duty, command, reserved_at_unix_ms)));
                }
                Verdict::Denied(denial) => {
                    self.shared.stats.denied(denial.key());
                    return Ok(Acquired::Denied(denial));
                }
                // It took so long to hear of the grant that nothing is left of it.
                Verdict::TooLate => {}
            }
        }
        Err(always_too_late())
    }

    pub(super) async fn pause_until(&self, moment: Instant) -> Result<(), CallError> {
        tokio::select! {
            () = self.shared.closed.cancelled() => Err(CallError::Closed),
            () = tokio::time::sleep_until(moment) => Ok(()),
        }
    }
}

impl<T: Transport> fmt::Debug for Acquired<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted(lease) => f.debug_tuple("Granted").field(lease).finish(),
            Self::Denied(denial) => f.debug_tuple("Denied").field(denial).finish(),
        }
    }
}

/// The answer to one whose every grant comes too late.
pub(super) fn always_too_late() -> CallError {
    CallError::Refused { message: "leases are over before their grants are heard of".to_owned() }
}

/// What an outcome means to one who asked under a fresh id.
pub(super) enum Verdict {
    Granted { reserved_at_unix_ms: u64 },
    Denied(Denial),
    TooLate,
}

impl Verdict {
    pub(super) fn of(outcome: ReserveOutcome) -> Self {
        let hint = Duration::from_millis;
        match outcome {
            ReserveOutcome::Granted { reserved_at_unix_ms } => Self::Granted { reserved_at_unix_ms },
            ReserveOutcome::NoRoom { key, retry_after_ms } => {
                Self::Denied(Denial::NoRoom { key, retry_after: hint(retry_after_ms) })
            }
            ReserveOutcome::Decreasing { key, retry_after_ms } => {
                Self::Denied(Denial::Decreasing { key, retry_after: hint(retry_after_ms) })
            }
            ReserveOutcome::ExceedsCapacity { key } => Self::Denied(Denial::ExceedsCapacity { key }),
            ReserveOutcome::UnknownKey { key } => Self::Denied(Denial::UnknownKey { key }),
            ReserveOutcome::TooManyInstances { key } => Self::Denied(Denial::TooManyInstances { key }),
            ReserveOutcome::LeaseConflict | ReserveOutcome::LeaseSettled => Self::TooLate,
        }
    }
}
