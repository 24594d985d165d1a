use std::fmt;

use tokio::time::Instant;

use super::{AcquireError, CallError, Denial, Lease, Limiter, Requirements, Transport};

/// A hold with the time at which it is ready.
///
/// One that is ready at once holds a lease already, and dropping it gives everything back. One that is ready later holds
/// nothing: nobody can hold what is not free yet, so its time is the limiter's hint when to come back, and others may be
/// there first.
#[must_use = "a reservation that is dropped is given back"]
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

    /// Where no waiting helps, there is no reservation.
    pub(super) fn waiting(
        limiter: Limiter<T>,
        wants: Requirements,
        denial: Denial,
    ) -> Result<Self, AcquireError> {
        let Some(retry_after) = denial.retry_after() else { return Err(AcquireError::Never(denial)) };
        let ready_at = Instant::now() + retry_after;
        Ok(Self { ready_at, state: State::Waiting { limiter, wants, denial } })
    }

    /// When to take its lease.
    pub fn ready_at(&self) -> Instant {
        self.ready_at
    }

    /// Why it is not ready at once.
    pub fn denial(&self) -> Option<&Denial> {
        match &self.state {
            State::Held(_) => None,
            State::Waiting { denial, .. } => Some(denial),
        }
    }

    /// Waits until it is ready and takes its lease, then waits on where others were there first.
    pub async fn lease(self) -> Result<Lease<T>, AcquireError> {
        match self.state {
            State::Held(lease) => Ok(lease.handed_out()),
            State::Waiting { limiter, wants, .. } => {
                limiter.pause_until(self.ready_at).await?;
                limiter.acquire(&wants).await
            }
        }
    }

    /// Gives back what it holds, and waits until that is done.
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
