use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::repeat::{Pauses, repeat};
use super::{Amount, CallError, LeaseId, LimitKey, ObjectReservation, ObjectState, ReleaseId, RepeatPolicy};

/// One attempt at each call of a bucket as an object. Every call can be made again with the same ids, and is carried out
/// once.
pub trait ObjectTransport: Send + Sync + 'static {
    /// Takes tokens that are there, or none.
    fn try_reserve(
        &self,
        key: &LimitKey,
        tokens: Amount,
        lease: LeaseId,
    ) -> impl Future<Output = Result<bool, CallError>> + Send;

    /// Takes tokens that are there or will be, and tells when.
    fn reserve_ahead(
        &self,
        key: &LimitKey,
        tokens: Amount,
        lease: LeaseId,
    ) -> impl Future<Output = Result<ObjectReservation, CallError>> + Send;

    /// Gives back what a reservation took, unless it may act already.
    fn cancel(&self, key: &LimitKey, lease: LeaseId) -> impl Future<Output = Result<bool, CallError>> + Send;

    /// Puts tokens back; answers how many can be taken then.
    fn release(
        &self,
        key: &LimitKey,
        tokens: Amount,
        release: ReleaseId,
    ) -> impl Future<Output = Result<u64, CallError>> + Send;

    /// How many tokens can be taken at once.
    fn available_permits(&self, key: &LimitKey) -> impl Future<Output = Result<u64, CallError>> + Send;

    /// Sets how many tokens come per second and how many the bucket holds, and makes it if it is not there.
    fn set_rate(
        &self,
        key: &LimitKey,
        limit: f64,
        burst: Amount,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// How it stands.
    fn state(&self, key: &LimitKey) -> impl Future<Output = Result<ObjectState, CallError>> + Send;
}

/// The bucket of one key, for those who know limiters as objects. Calls of unknown outcome are repeated. Cloning it is
/// cheap.
///
/// ```
/// # use std::error::Error;
/// # use std::sync::Arc;
/// use ledger_limiter::client::{BucketObject, InProcess, LimitKey};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn Error>> {
/// let limits = Arc::new(InProcess::with_limits(Vec::new()).await?);
/// let bucket = BucketObject::new(limits, LimitKey::parse("user:ann")?);
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
}

/// A reservation of an object, which may take what will only be there in the future.
pub struct BucketReservation<T> {
    object: BucketObject<T>,
    lease: LeaseId,
    made: ObjectReservation,
}

impl<T> Clone for BucketObject<T> {
    fn clone(&self) -> Self {
        Self { transport: Arc::clone(&self.transport), key: self.key.clone(), policy: self.policy }
    }
}

impl<T: ObjectTransport> BucketObject<T> {
    /// The bucket of a key.
    pub fn new(transport: Arc<T>, key: LimitKey) -> Self {
        Self::with_policy(transport, key, RepeatPolicy::default())
    }

    /// The same, with calls of unknown outcome repeated as `policy` says.
    pub fn with_policy(transport: Arc<T>, key: LimitKey, policy: RepeatPolicy) -> Self {
        Self { transport, key, policy }
    }

    /// Its key.
    pub fn key(&self) -> &LimitKey {
        &self.key
    }

    /// Takes tokens that are there, or none.
    pub async fn try_reserve(&self, tokens: u64) -> Result<bool, CallError> {
        let (tokens, lease) = (amount("tokens", tokens)?, LeaseId::generate());
        repeat(self.pauses(), || self.transport.try_reserve(&self.key, tokens, lease)).await
    }

    /// Takes tokens that are there or will be, and tells when.
    pub async fn reserve(&self, tokens: u64) -> Result<BucketReservation<T>, CallError> {
        let (tokens, lease) = (amount("tokens", tokens)?, LeaseId::generate());
        let attempt = || self.transport.reserve_ahead(&self.key, tokens, lease);
        let made = repeat(self.pauses(), attempt).await?;
        Ok(BucketReservation { object: self.clone(), lease, made })
    }

    /// Puts tokens back, never more than it holds; answers how many can be taken then.
    pub async fn release(&self, tokens: u64) -> Result<u64, CallError> {
        let (tokens, release) = (amount("tokens", tokens)?, ReleaseId::generate());
        repeat(self.pauses(), || self.transport.release(&self.key, tokens, release)).await
    }

    /// How many tokens can be taken at once.
    pub async fn available_permits(&self) -> Result<u64, CallError> {
        repeat(self.pauses(), || self.transport.available_permits(&self.key)).await
    }

    /// Sets how many tokens come per second and how many it holds, and makes it if it is not there. What was due by then
    /// comes at the old rate.
    pub async fn set_rate(&self, limit: f64, burst: u64) -> Result<(), CallError> {
        let burst = amount("burst", burst)?;
        repeat(self.pauses(), || self.transport.set_rate(&self.key, limit, burst)).await
    }

    /// How it stands.
    pub async fn state(&self) -> Result<ObjectState, CallError> {
        repeat(self.pauses(), || self.transport.state(&self.key)).await
    }

    fn pauses(&self) -> Pauses {
        Pauses::new(self.policy, Instant::now())
    }
}

impl<T: ObjectTransport> BucketReservation<T> {
    /// Whether it was made. It is not if it is more than the bucket holds, or the limit is closed.
    pub fn ok(&self) -> bool {
        self.made.ok
    }

    /// How much it took, its dates and the rate it was made at.
    pub fn details(&self) -> ObjectReservation {
        self.made
    }

    /// The lease that it is; completing it settles with what was really used.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// How long after it was made it may act.
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.made.date_to_act.saturating_sub(self.made.creation_date))
    }

    /// Gives back what it took, unless it may act already. True if it is given back.
    pub async fn cancel(&self) -> Result<bool, CallError> {
        let BucketObject { transport, key, .. } = &self.object;
        repeat(self.object.pauses(), || transport.cancel(key, self.lease)).await
    }
}

impl<T> fmt::Debug for BucketReservation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("BucketReservation");
        debug.field("key", &self.object.key).field("lease", &self.lease).field("made", &self.made).finish()
    }
}

fn amount(field: &str, units: u64) -> Result<Amount, CallError> {
    Amount::new(units).map_err(|error| CallError::Refused { message: format!("{field} {error}") })
}
