//! Whether a caller that may use some limits only may touch a lease. A lease knows its limits by their accounts, so the keys of
//! the accounts are searched. Callers that may use all limits do not ask.

use smallvec::SmallVec;

use super::{Limiter, LimiterError};
use crate::ledger::{AccountId, Ledger};
use crate::limit::{LeaseId, LimitKey};

impl<L: Ledger> Limiter<L> {
    /// Whether `allows` holds for every limit of a lease; also true if there is no such lease. `named` are keys that are
    /// allowed and likely in the lease, so that their accounts need no search.
    ///
    /// A limit that was deleted and made again under another account, and that this process does not know, is not found: then
    /// the answer is false.
    pub async fn lease_holds_only<'a>(
        &self,
        lease: LeaseId,
        named: impl IntoIterator<Item = &'a LimitKey>,
        allows: impl Fn(&LimitKey) -> bool,
    ) -> Result<bool, LimiterError> {
        if !self.allotments.holds_only(lease, &allows) {
            return Ok(false);
        }
        let lease = match self.lease_cache.get(lease) {
            Some(lease) => Some(lease),
            None => self.read_lease(lease).await?,
        };
        let Some(lease) = lease else { return Ok(true) };
        let mut accounts: SmallVec<[AccountId; 4]> = lease.legs.iter().map(|leg| leg.account).collect();
        for key in named {
            self.remove_accounts_of(&mut accounts, key);
        }
        if accounts.is_empty() {
            return Ok(true);
        }
        for entry in self.registry.snapshot().matching(&allows) {
            accounts.retain(|account| !entry.limit.has_or_had_account(self.ids, *account));
        }
        if accounts.is_empty() {
            return Ok(true);
        }
        // Another replica made these instances, or this one has forgotten them.
        for key in self.registry.logged_instances(&allows).await? {
            self.remove_accounts_of(&mut accounts, &key);
        }
        Ok(accounts.is_empty())
    }

    fn remove_accounts_of(&self, accounts: &mut SmallVec<[AccountId; 4]>, key: &LimitKey) {
        let entry = self.registry.snapshot().get(key);
        let first = self.ids.limit(key);
        accounts.retain(|account| {
            let is_known =
                entry.as_ref().is_some_and(|entry| entry.limit.has_or_had_account(self.ids, *account));
            *account != first && !is_known
        });
    }
}
