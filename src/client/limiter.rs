//! The handle of the client library: acquires leases and waits for room.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "permits")]
use tokio::sync::watch;
use tokio::time::Instant;

#[cfg(feature = "permits")]
use super::shared::Releases;
use super::shared::{CompletionGuard, Shared};
use super::turns::Turn;
use super::{
    AcquireError, AttemptResult, CallError, Complete, Denial, ErrorKind, IntoLimitKey, KeyStats, Lease,
    LimitKey, RepeatPolicy, Repeating, Requirements, Reservation, Transport,
};

/// How often one attempt is made when each grant expires before its answer arrives.
pub(super) const LATE_GRANTS_MAX: usize = 3;

/// The least time between two attempts of a waiter, when hints are shorter or leases are completed faster.
const ASK_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// Acquires leases over any transport.
///
/// Cloning it is cheap. All clones share their counters, and closing one closes all.
///
/// # Cancellation
///
/// Any of its futures can be dropped at any point. If a request is under way then, the limiter finds out its
/// outcome in the background and cancels what was granted. So a dropped future never leaves a reservation behind.
pub struct Limiter<T> {
    shared: Arc<Shared<T>>,
}

/// The answer to one attempt.
pub enum Acquired<T: Transport> {
    /// Everything is reserved.
    Granted(Lease<T>),
    /// Nothing is reserved.
    Denied(Denial),
}

impl<T> Clone for Limiter<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Transport> Limiter<T> {
    /// A limiter with the default [`RepeatPolicy`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, on which it completes dropped leases.
    pub fn new(transport: T) -> Self {
        Self::with_policy(transport, RepeatPolicy::default())
    }

    /// A limiter that repeats calls of unknown outcome as `policy` says.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, on which it completes dropped leases.
    pub fn with_policy(transport: T, policy: RepeatPolicy) -> Self {
        Self { shared: Arc::new(Shared::new(Repeating::new(transport, policy))) }
    }

    /// The calls under the leases: reserve, complete, and batches of them, with repetitions.
    ///
    /// Nothing guards what they reserve: the caller must complete it.
    pub fn calls(&self) -> &Repeating<T> {
        &self.shared.calls
    }

    /// Asks once and does not wait for room.
    ///
    /// # Errors
    ///
    /// [`CallError`] if the call has no answer, or the limiter is closed. A denial is not an error.
    pub async fn try_acquire(&self, wants: &Requirements) -> Result<Acquired<T>, CallError> {
        self.attempt(wants, None).await
    }

    /// Waits until everything is reserved.
    ///
    /// The waiters of this limiter, and of its clones, take turns at each limit, the oldest first: it asks again when the hint
    /// of its denial has passed or a lease of this limiter is completed, each time under a fresh lease id. Callers elsewhere may
    /// take the room first.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Never`] if waiting does not help; [`AcquireError::Call`] if a call has no answer or the
    /// limiter is closed.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up. What was granted by then is cancelled in the background.
    pub async fn acquire(&self, wants: &Requirements) -> Result<Lease<T>, AcquireError> {
        self.wait(wants, None).await
    }

    /// Waits like [`acquire`](Self::acquire), but the last attempt begins at `deadline`.
    ///
    /// The last repetition of an attempt of unknown outcome begins at the deadline too. An attempt under way is not
    /// cut off, so the answer may come later.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire), and [`AcquireError::DeadlinePassed`].
    pub async fn acquire_until(
        &self,
        wants: &Requirements,
        deadline: Instant,
    ) -> Result<Lease<T>, AcquireError> {
        self.wait(wants, Some(deadline)).await
    }

    /// Asks once. Returns a reservation that holds a lease or says when to ask again.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub async fn reserve(&self, wants: &Requirements) -> Result<Reservation<T>, AcquireError> {
        match self.attempt(wants, None).await? {
            Acquired::Granted(lease) => Ok(Reservation::held(lease)),
            Acquired::Denied(denial) => Reservation::waiting(self.clone(), wants.clone(), denial),
        }
    }

    /// What can be reserved of a limit now, in its units; `None` if there is no limit of this key.
    pub async fn available(&self, key: impl IntoLimitKey) -> Result<Option<u128>, CallError> {
        let key = key.into_limit_key()?;
        Ok(self.shared.calls.usage(&key).await?.map(|usage| usage.available))
    }

    /// The use of a limit, and what the callers of this limiter got of it; `None` if there is no limit of this key.
    pub async fn stats(&self, key: impl IntoLimitKey) -> Result<Option<KeyStats>, CallError> {
        let key = key.into_limit_key()?;
        let Some(usage) = self.shared.calls.usage(&key).await? else { return Ok(None) };
        let [queued, granted, denied] = self.shared.stats.read(&key);
        let (available, reserved) = (usage.available, usage.reserved);
        Ok(Some(KeyStats { available, reserved, queued, granted, denied }))
    }

    /// Sets the counters `granted` and `denied` of all keys to 0. Reservations do not change.
    pub fn reset(&self) {
        self.shared.stats.reset();
    }

    /// Refuses new attempts from now on, and ends all waiting with [`CallError::Closed`]. Leases can still be
    /// completed.
    pub fn close(&self) {
        self.shared.closed.cancel();
    }

    /// Closes the limiter and waits for everything that it completes in the background.
    ///
    /// A drop does not wait, so call this before the runtime ends. A complete that keeps failing ends with the
    /// [`RepeatPolicy`]. Dropping the future only stops the waiting.
    pub async fn shutdown(&self) {
        self.close();
        self.shared.drain().await;
    }

    /// Counts the completes that may have released room.
    #[cfg(feature = "permits")]
    pub(super) fn releases(&self) -> watch::Receiver<Releases> {
        self.shared.releases.subscribe()
    }

    /// Wakes the waiters, because room of any limit may have become available without a complete.
    #[cfg(feature = "permits")]
    pub(super) fn count_release(&self) {
        self.shared.count_release(true);
    }

    async fn wait(&self, wants: &Requirements, deadline: Option<Instant>) -> Result<Lease<T>, AcquireError> {
        let mut queued = None;
        // Not before the waiters that came earlier.
        let mut turn =
            match wants.list().iter().find(|requirement| self.shared.turns.are_taken(&requirement.key)) {
                Some(requirement) => self.take_turn(&requirement.key, deadline).await?,
                None => None,
            };
        loop {
            let mut releases = self.shared.releases.subscribe();
            let asked_at = Instant::now();
            let denial = match self.attempt(wants, deadline).await? {
                Acquired::Granted(lease) => return Ok(lease),
                Acquired::Denied(denial) => denial,
            };
            let Some(retry_after) = denial.retry_after() else { return Err(AcquireError::Never(denial)) };
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(AcquireError::DeadlinePassed(denial));
            }
            queued.get_or_insert_with(|| self.shared.stats.queue(wants));
            if turn.as_ref().is_none_or(|turn| !turn.is_of(denial.key())) {
                // First, so that no two waiters wait for each other's turns.
                drop(turn.take());
                let is_first = !self.shared.turns.are_taken(denial.key());
                turn = self.take_turn(denial.key(), deadline).await?;
                if !is_first {
                    // The waiter before was granted or gave up. There may be more room.
                    continue;
                }
            }
            let pause = turn.as_mut().map_or(retry_after, |turn| turn.shortest_pause(retry_after));
            let ask_at = asked_at + pause.max(ASK_INTERVAL_MIN);
            let ask_at = deadline.map_or(ask_at, |deadline| deadline.min(ask_at));
            tokio::select! {
                paused = self.pause_until(ask_at) => paused?,
                // This cannot fail: the sender lives as long as the limiter.
                _ = releases.changed() => self.pause_until(ask_at.min(asked_at + ASK_INTERVAL_MIN)).await?,
            }
        }
    }

    /// Waits for the turn to ask for a limit; `None` at the deadline.
    async fn take_turn(&self, key: &LimitKey, deadline: Option<Instant>) -> Result<Option<Turn>, CallError> {
        let passes = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.shared.closed.cancelled() => Err(CallError::Closed),
            () = passes => Ok(None),
            taken = self.shared.turns.take(key) => Ok(Some(taken)),
        }
    }

    /// One attempt, under a fresh lease id.
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
            let mut guard = CompletionGuard::for_reserve(&self.shared, command.clone());
            let result = match deadline {
                Some(deadline) => self.shared.calls.reserve_until(&command, deadline).await,
                None => self.shared.calls.reserve(&command).await,
            };
            if !result.as_ref().is_err_and(CallError::is_unknown) {
                guard.disarm();
            }
            match result? {
                AttemptResult::Granted { reserved_at, would_deny } => {
                    self.shared.stats.granted(wants);
                    let lease = Lease::new(guard, command, reserved_at, would_deny);
                    return Ok(Acquired::Granted(lease));
                }
                AttemptResult::Denied(denial) => {
                    self.shared.stats.denied(denial.key());
                    return Ok(Acquired::Denied(denial));
                }
                // The id is fresh, so a part of the grant expired before its answer arrived. Dropping the guard releases the
                // rest.
                AttemptResult::LeaseExpired => guard.set_complete(Complete::of_unused(&command)),
                AttemptResult::LeaseConflict | AttemptResult::LeaseSettled => {}
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

/// The error of a caller whose every grant expired before its answer arrived.
pub(super) fn always_too_late() -> CallError {
    let message = "the lease expired before its grant arrived; raise the window or the time-out";
    CallError::refused(ErrorKind::LeaseExpired, message)
}
