//! The state of a bucket, also of one that nobody has used or defined.

use super::{Object, ObjectError, bucket};
use crate::decide::borrow;
use crate::ledger::{Account, Ledger, LedgerError};
use crate::limiter::LimiterError;
use crate::protocol::ObjectState;
use crate::registry::{Entry, InstanceLookup, RefillClock};
use crate::time::unix_ms;

impl<L: Ledger> Object<'_, L> {
    /// The tokens available now.
    pub async fn available_permits(&self) -> Result<u64, ObjectError> {
        Ok(self.state().await?.tokens.max(0).unsigned_abs())
    }

    /// The state of the bucket. One that is not made yet has the state in which its template would make it; without a template
    /// it has no tokens, and none are ever added.
    pub async fn state(&self) -> Result<ObjectState, ObjectError> {
        match self.refilled_bucket().await {
            Ok((entry, now_ns)) => self.state_of(&entry, now_ns).await,
            Err(ObjectError::UnknownKey(_)) => self.state_before_use().await,
            Err(error) => Err(error),
        }
    }

    async fn state_before_use(&self) -> Result<ObjectState, ObjectError> {
        match self.limiter.registry.find_current(self.key).await.map_err(LimiterError::from)? {
            InstanceLookup::New(new) => {
                let bucket = bucket(self.key, Some(&new.entry))?;
                let burst = bucket.limit.state.definition.capacity.get();
                let last = unix_ms(self.limiter.ledger.now_ns());
                let (limit, tokens) = (borrow::per_second(&bucket.limit), burst.cast_signed());
                Ok(ObjectState { limit, burst, tokens, last, last_event: 0 })
            }
            InstanceLookup::NotFound => {
                Ok(ObjectState { limit: 0.0, burst: 0, tokens: 0, last: 0, last_event: 0 })
            }
            // It was deleted.
            InstanceLookup::Found(_) => Err(ObjectError::UnknownKey(self.key.clone())),
        }
    }

    async fn state_of(&self, entry: &Entry, now_ns: u64) -> Result<ObjectState, ObjectError> {
        let [available, borrowed] = self.balances(entry).await?;
        let no_schedule = || LedgerError::Unexpected(format!("bucket {} has no schedule", self.key));
        let state = borrow::state(&entry.limit, entry.clock_value(), now_ns, &available, &borrowed);
        let state = state.ok_or_else(no_schedule)?;
        Ok(ObjectState {
            limit: state.per_second,
            burst: state.burst,
            tokens: state.tokens,
            last: state.last_refill_unix_ms,
            last_event: state
                .repaid_at_unix_ms
                .unwrap_or_default()
                .max(entry.clock().map_or(0, RefillClock::latest_date_to_act_ms)),
        })
    }

    /// The bucket's account, and that of its borrowed tokens.
    pub(super) async fn balances(&self, entry: &Entry) -> Result<[Account; 2], ObjectError> {
        let limit = &entry.limit;
        let ids = std::iter::once(limit.account).chain(limit.borrowed_account()).collect();
        match self.limiter.ledger.accounts(ids).await?.as_slice() {
            &[Some(available), Some(borrowed)] => Ok([available, borrowed]),
            _ => Err(LedgerError::Unexpected(format!("an account of bucket {} is missing", self.key)).into()),
        }
    }
}
