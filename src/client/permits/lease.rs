use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::meter::Meter;
use crate::client::{CallError, InProcess, Lease};
use crate::ledger::Ledger;

/// What one asked for, or the failure to get it.
///
/// Dropping it gives its permits back in the background: those of concurrency limits at once, those of other limits come
/// back by their kind, as if they were used.
#[must_use = "a lease that is dropped is over"]
pub struct PermitLease<L: Ledger>(Outcome<L>);

enum Outcome<L: Ledger> {
    Acquired(Holds<L>),
    Failed(Failure),
}

/// Why there are no permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    /// There is no room now, and nobody was to wait for it.
    NoRoom,
    /// There is no room now, and none in the queue.
    QueueFull,
    /// A newer caller needed the place in the queue.
    Evicted,
    /// The limiter was shut down while the caller waited.
    ShutDown,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    reason: FailureReason,
    retry_after: Option<Duration>,
}

/// What a lease holds, oldest first; given back in reverse order.
struct Holds<L: Ledger> {
    held: Vec<Held<L>>,
    permits: u64,
    state: Use,
}

/// Whether permits may be used by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Nobody has them: all are given back, whatever their kind.
    Unused,
    /// Somebody has them: only those come back that do so when a lease is over.
    HandedOut,
}

/// Permits of one limiter.
pub(super) struct Held<L: Ledger> {
    pub(super) meter: Arc<Meter<L>>,
    pub(super) lease: Lease<Arc<InProcess<L>>>,
}

impl<L: Ledger> PermitLease<L> {
    /// Of so many permits. Until it is handed out, dropping it gives all of them back, whatever their kind.
    pub(super) fn unused(permits: u64, held: Option<Held<L>>) -> Self {
        let held = held.map(|held| held.with_use(Use::Unused)).into_iter().collect();
        Self(Outcome::Acquired(Holds { held, permits, state: Use::Unused }))
    }

    pub(super) fn failed(reason: FailureReason, retry_after: Option<Duration>) -> Self {
        Self(Outcome::Failed(Failure { reason, retry_after }))
    }

    /// Whether its permits may be used.
    pub fn is_acquired(&self) -> bool {
        match &self.0 {
            Outcome::Acquired(_) => true,
            Outcome::Failed(_) => false,
        }
    }

    /// How many permits may be used.
    pub fn permits(&self) -> u64 {
        match &self.0 {
            Outcome::Acquired(holds) => holds.permits,
            Outcome::Failed(_) => 0,
        }
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<FailureReason> {
        match &self.0 {
            Outcome::Acquired(_) => None,
            Outcome::Failed(failure) => Some(failure.reason),
        }
    }

    /// When to try again, if it failed and trying again may help. Others may be there first.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.0 {
            Outcome::Acquired(_) => None,
            Outcome::Failed(failure) => failure.retry_after,
        }
    }

    /// Gives its permits back as dropping it does, and waits until that is done.
    pub async fn release(self) -> Result<(), CallError> {
        match self.0 {
            Outcome::Acquired(holds) => holds.give_back().await,
            Outcome::Failed(_) => Ok(()),
        }
    }

    /// Gives all of its permits back, whatever their kind, because nothing was used; waits until that is done.
    pub async fn cancel(self) -> Result<(), CallError> {
        match self.0 {
            Outcome::Acquired(mut holds) => {
                holds.set_use(Use::Unused);
                holds.give_back().await
            }
            Outcome::Failed(_) => Ok(()),
        }
    }

    /// From now on its permits may be used.
    pub(super) fn handed_out(mut self) -> Self {
        if let Outcome::Acquired(holds) = &mut self.0 {
            holds.set_use(Use::HandedOut);
        }
        self
    }

    /// Holds from now on what another lease holds, too.
    pub(super) fn absorb(&mut self, other: Self) {
        if let (Outcome::Acquired(holds), Outcome::Acquired(mut more)) = (&mut self.0, other.0) {
            more.set_use(holds.state);
            holds.held.append(&mut more.held);
        }
    }
}

impl<L: Ledger> Holds<L> {
    fn set_use(&mut self, state: Use) {
        self.state = state;
        let held = std::mem::take(&mut self.held);
        self.held.extend(held.into_iter().map(|held| held.with_use(state)));
    }

    /// One that fails does not stop the others: it is tried further in the background.
    async fn give_back(mut self) -> Result<(), CallError> {
        let mut result = Ok(());
        while let Some(held) = self.held.pop() {
            result = result.and(held.give_back(self.state).await);
        }
        result
    }
}

impl<L: Ledger> Drop for Holds<L> {
    fn drop(&mut self) {
        while let Some(held) = self.held.pop() {
            held.meter.gives_back(held.lease.id(), self.state);
        }
    }
}

impl<L: Ledger> Held<L> {
    fn with_use(self, state: Use) -> Self {
        let Self { meter, lease } = self;
        let lease = match state {
            Use::Unused => lease.kept_unused(),
            Use::HandedOut => lease.handed_out(),
        };
        Self { meter, lease }
    }

    async fn give_back(self, state: Use) -> Result<(), CallError> {
        self.meter.gives_back(self.lease.id(), state);
        match state {
            Use::Unused => self.lease.cancel().await,
            Use::HandedOut => self.lease.release().await,
        }
    }
}

impl<L: Ledger> fmt::Debug for PermitLease<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Outcome::Acquired(Holds { permits, held, .. }) => {
                let leases = held.iter().map(|held| held.lease.id()).collect::<Vec<_>>();
                f.debug_struct("Acquired").field("permits", permits).field("leases", &leases).finish()
            }
            Outcome::Failed(failure) => failure.fmt(f),
        }
    }
}
