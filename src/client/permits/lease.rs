//! The permits of one call, or its failure to get them.

use std::fmt;
use std::future::ready;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::client::{CallError, LeaseId};

/// The permits that a call acquired, or its failure to acquire them.
///
/// # Dropping
///
/// A lease that is dropped is released in the background. That frees the permits of concurrency limits at once. The
/// permits of other limits count as used: they expire or are refilled.
///
/// # Time-outs
///
/// A slot of a concurrency limit that is held for longer than the limit's time-out is free for others. From then on
/// its lease says that it is not acquired, and [`failure`](Self::failure) is [`FailureReason::TimedOut`].
#[must_use = "dropping a lease releases its permits"]
pub struct PermitLease(Outcome);

enum Outcome {
    Acquired(Holdings),
    Failed(Failure),
}

/// Why a lease has no permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureReason {
    /// The limit has no room now, and the call does not wait.
    NoRoom,
    /// The limit has no room now, and the queue is full.
    QueueFull,
    /// A newer waiter took the room in the queue.
    Evicted,
    /// The limiter was shut down while the caller waited.
    ShutDown,
    /// The permits were acquired, and the time-out of their limit freed them before they were released.
    TimedOut,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    reason: FailureReason,
    retry_after: Option<Duration>,
}

/// What a lease holds. It is released when this is dropped.
struct Holdings {
    /// Oldest first, released in reverse order. A chain has one for each of its limiters.
    held: Vec<Box<dyn HeldPermits>>,
    permits: u64,
    permit_use: PermitUse,
}

/// The permits of one limiter. Dropping them releases them in the background.
pub(super) trait HeldPermits: Send + Sync {
    /// The lease that holds them, for logs.
    fn id(&self) -> Option<LeaseId>;

    /// When the time-out of the limit frees them; `None` if none does.
    fn timed_out_at(&self) -> Option<Instant>;

    /// Begins their time-out anew, if they have one. Returns false if it has freed them.
    fn renew(&mut self) -> BoxFuture<'_, Result<bool, CallError>>;

    /// Sets what a drop of them means.
    fn set_use(&mut self, permit_use: PermitUse);

    /// Releases them, and waits for the answer.
    fn release(self: Box<Self>) -> BoxFuture<'static, Result<(), CallError>>;
}

/// Whether a caller may have used the permits of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PermitUse {
    /// No caller has them yet, or the caller says that it used none. A release frees all of them.
    Unused,
    /// A caller has them. A release frees only those of concurrency limits.
    HandedOut,
}

/// The permits of a limiter outside of this crate: a call that releases them.
struct Hook(Option<Box<dyn FnOnce() + Send + Sync>>);

impl PermitLease {
    /// An acquired lease, for a limiter of your own. It holds nothing but what [`on_release`](Self::on_release) adds.
    pub fn acquired(permits: u64) -> Self {
        Self(Outcome::Acquired(Holdings { held: Vec::new(), permits, permit_use: PermitUse::HandedOut }))
    }

    /// Calls `release` once, when the lease is released, cancelled or dropped. A failed lease calls nothing.
    pub fn on_release(mut self, release: impl FnOnce() + Send + Sync + 'static) -> Self {
        if let Outcome::Acquired(holdings) = &mut self.0 {
            holdings.held.push(Box::new(Hook(Some(Box::new(release)))));
        }
        self
    }

    /// A failed lease.
    pub fn failed(reason: FailureReason, retry_after: Option<Duration>) -> Self {
        Self(Outcome::Failed(Failure { reason, retry_after }))
    }

    /// An acquired lease that no caller has yet. Until it is handed out, dropping it frees all its permits.
    pub(super) fn unused(permits: u64, held: Option<Box<dyn HeldPermits>>) -> Self {
        let mut holdings =
            Holdings { held: held.into_iter().collect(), permits, permit_use: PermitUse::Unused };
        holdings.set_use(PermitUse::Unused);
        Self(Outcome::Acquired(holdings))
    }

    /// Whether the lease has its permits: the call got them, and no time-out has freed them since.
    pub fn is_acquired(&self) -> bool {
        self.failure().is_none()
    }

    /// The permits that may be used; 0 if the lease failed or timed out.
    pub fn permits(&self) -> u64 {
        match &self.0 {
            Outcome::Acquired(holdings) if !holdings.is_timed_out() => holdings.permits,
            Outcome::Acquired(_) | Outcome::Failed(_) => 0,
        }
    }

    /// Why the lease has no permits; `None` if it is acquired.
    pub fn failure(&self) -> Option<FailureReason> {
        match &self.0 {
            Outcome::Acquired(holdings) => holdings.is_timed_out().then_some(FailureReason::TimedOut),
            Outcome::Failed(failure) => Some(failure.reason),
        }
    }

    /// When the first time-out frees permits of the lease; `None` if no limit of it has one.
    pub fn timed_out_at(&self) -> Option<Instant> {
        match &self.0 {
            Outcome::Acquired(holdings) => holdings.timed_out_at(),
            Outcome::Failed(_) => None,
        }
    }

    /// When to try again, from the failure on. Other callers may take the room first.
    ///
    /// `None` if the lease is acquired, or if trying again does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.0 {
            Outcome::Acquired(_) => None,
            Outcome::Failed(failure) => failure.retry_after,
        }
    }

    /// Holds slots of concurrency limits for their whole time-out again, from now on. Other permits do not change.
    ///
    /// Returns false if the lease has no permits: it failed, or a slot has timed out. No second slot is taken.
    ///
    /// # Errors
    ///
    /// The first error of its limiters, such as that of a slot that was renewed too often. A service refuses to renew permits
    /// that are no slots if it did not tell this client the kind of the limit.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, it is unknown what was renewed.
    pub async fn renew(&mut self) -> Result<bool, CallError> {
        match &mut self.0 {
            Outcome::Acquired(holdings) if !holdings.is_timed_out() => holdings.renew().await,
            Outcome::Acquired(_) | Outcome::Failed(_) => Ok(false),
        }
    }

    /// Releases the lease as dropping it does, and waits for the answer.
    ///
    /// # Errors
    ///
    /// The first error of its limiters. The others are released all the same.
    ///
    /// # Cancellation
    ///
    /// Dropping the future does not stop the release: it goes on in the background.
    pub async fn release(self) -> Result<(), CallError> {
        match self.0 {
            Outcome::Acquired(holdings) => holdings.release().await,
            Outcome::Failed(_) => Ok(()),
        }
    }

    /// Frees all permits, of any kind of limit, because none was used. Waits for the answer.
    ///
    /// # Errors
    ///
    /// As [`release`](Self::release).
    ///
    /// # Cancellation
    ///
    /// As [`release`](Self::release).
    pub async fn cancel(self) -> Result<(), CallError> {
        match self.0 {
            Outcome::Acquired(mut holdings) => {
                holdings.set_use(PermitUse::Unused);
                holdings.release().await
            }
            Outcome::Failed(_) => Ok(()),
        }
    }

    /// From now on the caller may use the permits.
    pub(super) fn handed_out(mut self) -> Self {
        if let Outcome::Acquired(holdings) = &mut self.0 {
            holdings.set_use(PermitUse::HandedOut);
        }
        self
    }

    /// Adds what another lease holds.
    pub(super) fn absorb(&mut self, other: Self) {
        if let (Outcome::Acquired(holdings), Outcome::Acquired(mut more)) = (&mut self.0, other.0) {
            more.set_use(holdings.permit_use);
            holdings.held.append(&mut more.held);
        }
    }
}

impl Holdings {
    fn set_use(&mut self, permit_use: PermitUse) {
        self.permit_use = permit_use;
        for held in &mut self.held {
            held.set_use(permit_use);
        }
    }

    fn timed_out_at(&self) -> Option<Instant> {
        self.held.iter().filter_map(|held| held.timed_out_at()).min()
    }

    fn is_timed_out(&self) -> bool {
        self.timed_out_at().is_some_and(|at| at <= Instant::now())
    }

    async fn renew(&mut self) -> Result<bool, CallError> {
        for held in &mut self.held {
            if !held.renew().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Releases all. A release that fails is repeated in the background and does not stop the others.
    async fn release(mut self) -> Result<(), CallError> {
        let mut result = Ok(());
        while let Some(held) = self.held.pop() {
            result = result.and(held.release().await);
        }
        result
    }
}

impl Drop for Holdings {
    fn drop(&mut self) {
        while self.held.pop().is_some() {}
    }
}

impl HeldPermits for Hook {
    fn id(&self) -> Option<LeaseId> {
        None
    }

    fn timed_out_at(&self) -> Option<Instant> {
        None
    }

    fn renew(&mut self) -> BoxFuture<'_, Result<bool, CallError>> {
        Box::pin(ready(Ok(true)))
    }

    fn set_use(&mut self, _: PermitUse) {}

    fn release(self: Box<Self>) -> BoxFuture<'static, Result<(), CallError>> {
        Box::pin(async move {
            drop(self);
            Ok(())
        })
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        if let Some(release) = self.0.take() {
            release();
        }
    }
}

impl fmt::Debug for PermitLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Outcome::Acquired(Holdings { permits, held, .. }) => {
                let leases = held.iter().filter_map(|held| held.id()).collect::<Vec<_>>();
                f.debug_struct("Acquired").field("permits", permits).field("leases", &leases).finish()
            }
            Outcome::Failed(failure) => failure.fmt(f),
        }
    }
}
