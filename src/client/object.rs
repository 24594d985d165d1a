//! A token bucket as an object per key: take tokens now, or borrow those of later refills.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::object_answer::{ObjectReservation, ObjectState, unlimited};
use super::repeat::{Pauses, repeat};
use super::{Amount, CallError, IntoLimitKey, LeaseId, LimitKey, RepeatPolicy};
use crate::limit::{BucketRate, Capacity, ReleaseId};
use crate::telemetry::with_sources;

/// Makes one attempt at each call of a bucket as an object.
///
/// Every call is idempotent: made again with the same ids, it is carried out once.
pub trait ObjectTransport: Send + Sync + 'static {
    /// Takes tokens if they are available. Returns whether it took them.
    fn try_reserve(
        &self,
        key: &LimitKey,
        tokens: Amount,
        lease: LeaseId,
    ) -> impl Future<Output = Result<bool, CallError>> + Send;

    /// Takes tokens that are available or that later refills will bring. Takes nothing if the refills come later than
    /// after `max_wait`; `None` waits as long as the bucket allows.
    fn reserve_ahead(
        &self,
        key: &LimitKey,
        tokens: Amount,
        lease: LeaseId,
        max_wait: Option<Duration>,
    ) -> impl Future<Output = Result<ObjectReservation, CallError>> + Send;

    /// Releases the tokens of a reservation, unless its date to act has passed. Returns whether they are released.
    fn cancel(&self, key: &LimitKey, lease: LeaseId) -> impl Future<Output = Result<bool, CallError>> + Send;

    /// Adds tokens to the bucket, up to its burst. Returns the tokens available then.
    fn release(
        &self,
        key: &LimitKey,
        tokens: Amount,
        release: ReleaseId,
    ) -> impl Future<Output = Result<u64, CallError>> + Send;

    /// The tokens available now.
    fn available_permits(&self, key: &LimitKey) -> impl Future<Output = Result<u64, CallError>> + Send;

    /// Sets the refill rate, in tokens per second, the burst, or both. With both it creates the bucket if there is none.
    fn set_rate(
        &self,
        key: &LimitKey,
        limit: Option<f64>,
        burst: Option<Capacity>,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// The state of the bucket.
    fn state(&self, key: &LimitKey) -> impl Future<Output = Result<ObjectState, CallError>> + Send;
}

/// The bucket of one key, for callers that know rate limiters as objects.
///
/// Calls of unknown outcome are repeated. Cloning it is cheap.
///
/// ```
/// # use std::error::Error;
/// use std::sync::Arc;
///
/// use ledger_limiter::client::{BucketObject, InProcess};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn Error>> {
/// let limits = Arc::new(InProcess::without_limits().await?);
/// let bucket = BucketObject::new(limits, "user:ann")?;
/// // 10 tokens per second, at most 3 at once.
/// bucket.set_rate(10.0, 3).await?;
/// assert!(bucket.try_reserve(2).await?);
/// let reservation = bucket.reserve(3).await?;
/// assert!(reservation.ok());
/// tokio::time::sleep(reservation.delay()).await;
/// # Ok(())
/// # }
/// ```
pub struct BucketObject<T> {
    transport: Arc<T>,
    key: LimitKey,
    policy: RepeatPolicy,
    is_unlimited: bool,
}

/// A reservation of tokens, some of which may only be available later.
///
/// Dropping it releases nothing: the tokens stay taken until they are cancelled or the bucket is refilled.
pub struct BucketReservation<T> {
    object: BucketObject<T>,
    lease: LeaseId,
    made: ObjectReservation,
}

impl<T> Clone for BucketObject<T> {
    fn clone(&self) -> Self {
        let Self { transport, key, policy, is_unlimited } = self;
        let (transport, key) = (Arc::clone(transport), key.clone());
        Self { transport, key, policy: *policy, is_unlimited: *is_unlimited }
    }
}

impl<T: ObjectTransport> BucketObject<T> {
    /// The bucket of a key, with the default [`RepeatPolicy`]. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// If the text is not a key.
    pub fn new(transport: Arc<T>, key: impl IntoLimitKey) -> Result<Self, CallError> {
        Self::with_policy(transport, key, RepeatPolicy::default())
    }

    /// The same, with calls of unknown outcome repeated as `policy` says.
    pub fn with_policy(
        transport: Arc<T>,
        key: impl IntoLimitKey,
        policy: RepeatPolicy,
    ) -> Result<Self, CallError> {
        Ok(Self { transport, key: key.into_limit_key()?, policy, is_unlimited: false })
    }

    /// The same without a limit: `rate.Inf` of Go's `x/time/rate`. It grants every call at once, whatever the burst, and asks
    /// nobody: what it grants is taken from no bucket. It has no rate that could be set.
    #[must_use]
    pub fn unlimited(self) -> Self {
        Self { is_unlimited: true, ..self }
    }

    /// The key of the bucket.
    pub fn key(&self) -> &LimitKey {
        &self.key
    }

    /// Takes tokens if they are available. Returns whether it took them.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, it is unknown whether the tokens are taken. That holds for every call of an object.
    pub async fn try_reserve(&self, tokens: u64) -> Result<bool, CallError> {
        if self.is_unlimited {
            return Ok(true);
        }
        let (tokens, lease) = (amount("tokens", tokens)?, LeaseId::generate());
        repeat(self.pauses(), || self.transport.try_reserve(&self.key, tokens, lease)).await
    }

    /// Takes tokens that are available or that later refills will bring. [`BucketReservation::delay`] says when to
    /// act.
    pub async fn reserve(&self, tokens: u64) -> Result<BucketReservation<T>, CallError> {
        self.reserve_ahead(tokens, None).await
    }

    /// The same, but takes nothing if the refills come later than after `max_wait`, which counts in whole milliseconds.
    /// [`BucketReservation::ok`] is false then, and [`ObjectReservation::too_long_wait`] says how long it would wait.
    pub async fn reserve_within(
        &self,
        tokens: u64,
        max_wait: Duration,
    ) -> Result<BucketReservation<T>, CallError> {
        self.reserve_ahead(tokens, Some(max_wait)).await
    }

    /// Takes a token if one is available: `Allow` of Go's `x/time/rate`.
    pub async fn allow(&self) -> Result<bool, CallError> {
        self.allow_n(1).await
    }

    /// Takes tokens if they are available: [`try_reserve`](Self::try_reserve) by its name in Go.
    pub async fn allow_n(&self, tokens: u64) -> Result<bool, CallError> {
        self.try_reserve(tokens).await
    }

    /// Takes tokens, and waits until they are available. Returns false at once, and takes nothing, if they exceed the burst
    /// or would take longer than the bucket lets reservations wait.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped while it waits, the tokens are released in the background.
    pub async fn wait(&self, tokens: u64) -> Result<bool, CallError> {
        Ok(self.reserve_ahead(tokens, None).await?.wait().await)
    }

    /// The same, but returns false at once also if the tokens would take longer than `max_wait`.
    pub async fn wait_max(&self, tokens: u64, max_wait: Duration) -> Result<bool, CallError> {
        Ok(self.reserve_ahead(tokens, Some(max_wait)).await?.wait().await)
    }

    async fn reserve_ahead(
        &self,
        tokens: u64,
        max_wait: Option<Duration>,
    ) -> Result<BucketReservation<T>, CallError> {
        if self.is_unlimited {
            let (object, lease) = (self.clone(), LeaseId::generate());
            return Ok(BucketReservation { object, lease, made: unlimited::reservation(tokens) });
        }
        let (tokens, lease) = (amount("tokens", tokens)?, LeaseId::generate());
        let attempt = || self.transport.reserve_ahead(&self.key, tokens, lease, max_wait);
        let made = repeat(self.pauses(), attempt).await?;
        Ok(BucketReservation { object: self.clone(), lease, made })
    }

    /// Adds tokens to the bucket, up to its burst. Returns the tokens available then.
    pub async fn release(&self, tokens: u64) -> Result<u64, CallError> {
        if self.is_unlimited {
            return Ok(unlimited::TOKENS);
        }
        let (tokens, release) = (amount("tokens", tokens)?, ReleaseId::generate());
        repeat(self.pauses(), || self.transport.release(&self.key, tokens, release)).await
    }

    /// The tokens available now.
    pub async fn available_permits(&self) -> Result<u64, CallError> {
        if self.is_unlimited {
            return Ok(unlimited::TOKENS);
        }
        repeat(self.pauses(), || self.transport.available_permits(&self.key)).await
    }

    /// Sets the refill rate, in tokens per second, and the burst. Creates the bucket if there is none.
    ///
    /// `limit` may be 0: then what is taken stays taken, until somebody releases it. A burst of 0 grants nothing. `limit` may be a
    /// fraction, such as `1.0 / 60.0` for one token per minute. What the old rate has
    /// added by then is kept, fractions of a token included.
    pub async fn set_rate(&self, limit: f64, burst: u64) -> Result<(), CallError> {
        self.change_rate(Some(limit), Some(burst)).await
    }

    /// Sets the refill rate, in tokens per second, and keeps the burst as it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownKey`](super::ErrorKind::UnknownKey) if there is no bucket.
    pub async fn set_limit(&self, limit: f64) -> Result<(), CallError> {
        self.change_rate(Some(limit), None).await
    }

    /// Sets the burst, and keeps the refill rate as it is; see [`set_limit`](Self::set_limit).
    pub async fn set_burst(&self, burst: u64) -> Result<(), CallError> {
        self.change_rate(None, Some(burst)).await
    }

    async fn change_rate(&self, limit: Option<f64>, burst: Option<u64>) -> Result<(), CallError> {
        if self.is_unlimited {
            let key = &self.key;
            let message = format!("bucket {key} is unlimited here: set the rate by an object that is not");
            return Err(CallError::invalid(message));
        }
        // A number that is none would be left out of JSON.
        let rate = limit.map(BucketRate::per_second).transpose();
        rate.map_err(|error| CallError::invalid(format!("limit {error}")))?;
        let burst = burst.map(Capacity::new).transpose();
        let burst = burst.map_err(|error| CallError::invalid(format!("burst {error}")))?;
        repeat(self.pauses(), || self.transport.set_rate(&self.key, limit, burst)).await
    }

    /// The state of the bucket.
    pub async fn state(&self) -> Result<ObjectState, CallError> {
        if self.is_unlimited {
            return Ok(unlimited::state());
        }
        repeat(self.pauses(), || self.transport.state(&self.key)).await
    }

    fn pauses(&self) -> Pauses {
        Pauses::new(self.policy, Instant::now())
    }
}

impl<T: ObjectTransport> BucketReservation<T> {
    /// Whether the reservation was made. It is not if the tokens exceed the burst, if the limit is closed, or if the
    /// wait would be too long.
    pub fn ok(&self) -> bool {
        self.made.ok
    }

    /// The tokens, the dates and the rate of the reservation.
    pub fn details(&self) -> ObjectReservation {
        self.made
    }

    /// The id of the lease that holds the tokens. Completing that lease settles it with what was really used.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// How long after the reservation was made all its tokens are available; zero if they were available at once.
    pub fn delay(&self) -> Duration {
        let date_to_act = self.made.date_to_act.unwrap_or(self.made.creation_date);
        date_to_act.duration_since(self.made.creation_date).unwrap_or_default()
    }

    /// Waits until the tokens are available. A dropped wait cancels the reservation.
    async fn wait(self) -> bool {
        if !self.ok() {
            return false;
        }
        let delay = self.delay();
        let mut waiting = Waiting(Some(self));
        tokio::time::sleep(delay).await;
        waiting.0 = None;
        true
    }

    /// Releases the tokens, unless the date to act has passed. Returns whether they are released.
    pub async fn cancel(&self) -> Result<bool, CallError> {
        let BucketObject { transport, key, is_unlimited, .. } = &self.object;
        if *is_unlimited {
            return Ok(false);
        }
        repeat(self.object.pauses(), || transport.cancel(key, self.lease)).await
    }
}

/// A reservation whose caller waits for its date to act. Dropping it before cancels it in the background.
struct Waiting<T: ObjectTransport>(Option<BucketReservation<T>>);

impl<T: ObjectTransport> Drop for Waiting<T> {
    fn drop(&mut self) {
        // A runtime that has ended cancels nothing: the tokens stay taken until they are refilled.
        if let (Some(reservation), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(error) = reservation.cancel().await {
                    tracing::debug!(
                        error = with_sources(&error),
                        "a reservation that nobody waits for was not cancelled"
                    );
                }
            });
        }
    }
}

impl<T> fmt::Debug for BucketReservation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("BucketReservation");
        debug.field("key", &self.object.key).field("lease", &self.lease).field("made", &self.made).finish()
    }
}

fn amount(field: &str, units: u64) -> Result<Amount, CallError> {
    Amount::new(units).map_err(|error| CallError::invalid(format!("{field} {error}")))
}
