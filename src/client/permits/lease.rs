//! The permits of one call, or its failure to get them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::source::{PermitSource, PermitUse};
use crate::client::{CallError, InProcess, Lease};
use crate::ledger::Ledger;

/// The permits that a call acquired, or its failure to acquire them.
///
/// # Dropping
///
/// A lease that is dropped is released in the background. That frees the permits of concurrency limits at once. The
/// permits of other limits count as used: they expire or are refilled.
#[must_use = "dropping a lease releases its permits"]
pub struct PermitLease<L: Ledger>(Outcome<L>);

enum Outcome<L: Ledger> {
    Acquired(Holdings<L>),
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
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    reason: FailureReason,
    retry_after: Option<Duration>,
}

/// What a lease holds. It is released when this is dropped.
struct Holdings<L: Ledger> {
    /// Oldest first, released in reverse order. A chain has one for each of its limiters.
    held: Vec<Held<L>>,
    permits: u64,
    permit_use: PermitUse,
}

/// The permits of one limiter.
pub(super) struct Held<L: Ledger> {
    pub(super) source: Arc<PermitSource<L>>,
    pub(super) lease: Lease<Arc<InProcess<L>>>,
}

impl<L: Ledger> PermitLease<L> {
    /// An acquired lease that no caller has yet. Until it is handed out, dropping it frees all its permits.
    pub(super) fn unused(permits: u64, held: Option<Held<L>>) -> Self {
        let held = held.map(|held| held.with_use(PermitUse::Unused)).into_iter().collect();
        Self(Outcome::Acquired(Holdings { held, permits, permit_use: PermitUse::Unused }))
    }

    pub(super) fn failed(reason: FailureReason, retry_after: Option<Duration>) -> Self {
        Self(Outcome::Failed(Failure { reason, retry_after }))
    }

    /// Whether the call got its permits.
    pub fn is_acquired(&self) -> bool {
        match &self.0 {
            Outcome::Acquired(_) => true,
            Outcome::Failed(_) => false,
        }
    }

    /// The permits that may be used; 0 if the lease failed.
    pub fn permits(&self) -> u64 {
        match &self.0 {
            Outcome::Acquired(holdings) => holdings.permits,
            Outcome::Failed(_) => 0,
        }
    }

    /// Why the lease failed; `None` if it is acquired.
    pub fn failure(&self) -> Option<FailureReason> {
        match &self.0 {
            Outcome::Acquired(_) => None,
            Outcome::Failed(failure) => Some(failure.reason),
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

impl<L: Ledger> Holdings<L> {
    fn set_use(&mut self, permit_use: PermitUse) {
        self.permit_use = permit_use;
        let held = std::mem::take(&mut self.held);
        self.held.extend(held.into_iter().map(|held| held.with_use(permit_use)));
    }

    /// Releases all. A release that fails is repeated in the background and does not stop the others.
    async fn release(mut self) -> Result<(), CallError> {
        let mut result = Ok(());
        while let Some(held) = self.held.pop() {
            result = result.and(held.release(self.permit_use).await);
        }
        result
    }
}

impl<L: Ledger> Drop for Holdings<L> {
    fn drop(&mut self) {
        while let Some(held) = self.held.pop() {
            held.source.note_release(held.lease.id(), self.permit_use);
        }
    }
}

impl<L: Ledger> Held<L> {
    fn with_use(self, permit_use: PermitUse) -> Self {
        let Self { source, lease } = self;
        let lease = match permit_use {
            PermitUse::Unused => lease.kept_unused(),
            PermitUse::HandedOut => lease.handed_out(),
        };
        Self { source, lease }
    }

    async fn release(self, permit_use: PermitUse) -> Result<(), CallError> {
        self.source.note_release(self.lease.id(), permit_use);
        match permit_use {
            PermitUse::Unused => self.lease.cancel().await,
            PermitUse::HandedOut => self.lease.release().await,
        }
    }
}

impl<L: Ledger> fmt::Debug for PermitLease<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Outcome::Acquired(Holdings { permits, held, .. }) => {
                let leases = held.iter().map(|held| held.lease.id()).collect::<Vec<_>>();
                f.debug_struct("Acquired").field("permits", permits).field("leases", &leases).finish()
            }
            Outcome::Failed(failure) => failure.fmt(f),
        }
    }
}
