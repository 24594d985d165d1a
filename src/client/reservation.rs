//! A lease that is taken later.

use std::fmt;

use tokio::time::Instant;

use super::{AcquireError, CallError, Denial, Lease, Limiter, Requirements, Transport};

/// A lease, or the time at which to ask for one.
///
/// If there was room, the reservation holds a lease. Otherwise it holds nothing, because capacity that is not free
/// yet cannot be held. Its time is then the limiter's hint, and other callers may take the room first.
///
/// # Dropping
///
/// A reservation that holds a lease cancels it in the background: everything is released, because nothing was used.
/// Dropping one without a lease does nothing.
#[must_use = "dropping a reservation releases it"]
pub struct Reservation<T: Transport> {
    ready_at: Instant,
    state: State<T>,
}

enum State<T: Transport> {
    Held(Lease<T>),
    Waiting { limiter: Limiter<T>, wants: Requirements, denial: Denial },
}

impl<T: Transport> Reservation<T> {
    pub(super) fn held(lease: Lease<T>) -> Self {
        Self { ready_at: Instant::now(), state: State::Held(lease.kept_unused()) }
    }

    /// Fails if waiting does not help.
    pub(super) fn waiting(
        limiter: Limiter<T>,
        wants: Requirements,
        denial: Denial,
    ) -> Result<Self, AcquireError> {
        let Some(retry_after) = denial.retry_after() else { return Err(AcquireError::Never(denial)) };
        let ready_at = Instant::now() + retry_after;
        Ok(Self { ready_at, state: State::Waiting { limiter, wants, denial } })
    }

    /// When to take the lease; now or earlier if it is held.
    pub fn ready_at(&self) -> Instant {
        self.ready_at
    }

    /// Why there is no lease yet; `None` if one is held.
    pub fn denial(&self) -> Option<&Denial> {
        match &self.state {
            State::Held(_) => None,
            State::Waiting { denial, .. } => Some(denial),
        }
    }

    /// Returns the lease that is held, or waits until [`ready_at`](Self::ready_at) and then for room, like
    /// [`Limiter::acquire`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up. A lease that is granted by then is cancelled in the background.
    pub async fn lease(self) -> Result<Lease<T>, AcquireError> {
        match self.state {
            State::Held(lease) => Ok(lease.handed_out()),
            State::Waiting { limiter, wants, .. } => {
                limiter.pause_until(self.ready_at).await?;
                limiter.acquire(&wants).await
            }
        }
    }

    /// Releases everything that is held and waits for the answer. Dropping the future does not stop it.
    pub async fn cancel(self) -> Result<(), CallError> {
        match self.state {
            State::Held(lease) => lease.cancel().await,
            State::Waiting { .. } => Ok(()),
        }
    }
}

impl<T: Transport> fmt::Debug for Reservation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ready_at, .. } = self;
        f.debug_struct("Reservation")
            .field("ready_at", ready_at)
            .field("denial", &self.denial())
            .finish_non_exhaustive()
    }
}
