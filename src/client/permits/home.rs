//! Where permits come from: this process, or a service.

use std::future::Future;

use super::error::PermitError;
use super::kind::KnownLimit;
use crate::client::{CallError, Http, InProcess, LimitKey, Transport, Usage};
use crate::ledger::Ledger;
use crate::limit::ReplenishId;
use crate::registry::AdminError;

/// A transport whose limits can be shared out as permits: [`InProcess`] or [`Http`].
#[expect(private_bounds, reason = "the home must tell more than a transport does")]
pub trait PermitHome: Home {}

impl<T: Home> PermitHome for T {}

/// What a limiter of permits asks beside the calls of a transport.
pub(super) trait Home: Transport {
    /// Whether [`known`](Self::known) is `None` only if there is no such limit.
    const KNOWS_ALL: bool;

    /// The limit, or else the template of its key, without asking anybody. `last_read` is from the last
    /// [`read`](Self::read).
    fn known(&self, key: &LimitKey, last_read: Option<KnownLimit>) -> Option<KnownLimit>;

    /// Makes [`known`](Self::known) up to date.
    fn refresh(&self) -> impl Future<Output = Result<(), CallError>> + Send;

    /// The limit and its free permits; `None` if there is no such limit.
    fn read(
        &self,
        key: &LimitKey,
    ) -> impl Future<Output = Result<Option<(KnownLimit, u128)>, PermitError>> + Send;

    /// The ledger's time in nanoseconds since the Unix epoch.
    fn now_ns(&self) -> u64;

    /// Refills a bucket that is refilled manually. Returns false if the limit is not such a bucket.
    fn refill(&self, key: &LimitKey) -> impl Future<Output = Result<bool, PermitError>> + Send;
}

impl<L: Ledger> Home for InProcess<L> {
    const KNOWS_ALL: bool = true;

    fn known(&self, key: &LimitKey, _: Option<KnownLimit>) -> Option<KnownLimit> {
        Some(KnownLimit::of(&*self.entry(key)?))
    }

    async fn refresh(&self) -> Result<(), CallError> {
        self.read_definitions().await
    }

    async fn read(&self, key: &LimitKey) -> Result<Option<(KnownLimit, u128)>, PermitError> {
        match self.admin().get(key).await {
            Ok(usage) => Ok(Some((KnownLimit::of(&usage.entry), usage.available))),
            // Its template has not created it yet, so all of its permits are free.
            Err(AdminError::UnknownKey(_) | AdminError::Deleted(_)) => {
                Ok(self.known(key, None).map(|limit| (limit, limit.capacity.into())))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn now_ns(&self) -> u64 {
        self.ledger_now_ns()
    }

    async fn refill(&self, key: &LimitKey) -> Result<bool, PermitError> {
        Ok(self.admin().replenish(key, ReplenishId::generate()).await?)
    }
}

impl Home for Http {
    /// A service is asked about a limit only if its callers need more than permits.
    const KNOWS_ALL: bool = false;

    fn known(&self, _: &LimitKey, last_read: Option<KnownLimit>) -> Option<KnownLimit> {
        last_read
    }

    async fn refresh(&self) -> Result<(), CallError> {
        Ok(())
    }

    async fn read(&self, key: &LimitKey) -> Result<Option<(KnownLimit, u128)>, PermitError> {
        let limit = self.limit(key).await?;
        Ok(limit.map(|limit| {
            let Usage { available, .. } = limit.usage;
            (KnownLimit::of_definition(&limit.definition, limit.status), available)
        }))
    }

    fn now_ns(&self) -> u64 {
        let since_epoch = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
    }

    async fn refill(&self, key: &LimitKey) -> Result<bool, PermitError> {
        Ok(self.replenish(key).await?)
    }
}
