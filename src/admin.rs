//! Changes of limits. Each is the next version of its key: planned by [`crate::decide::change`], made as one chain, and
//! in force here once the log tells it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use ulid::Ulid;

use crate::decide::Limit;
use crate::decide::change::{self, Change, KindChange};
use crate::decide::ids::Ids;
use crate::decide::record::{RecordError, Version};
use crate::decide::{object, schedule};
use crate::instances::{InstanceError, Instances};
use crate::ledger::{
    Account, AccountCode, AccountId, AccountRule, ChainOutcome, Ledger, LedgerError, NewAccount,
};
use crate::limit::{Amount, Definition, LeaseId, LimitKey, LimitState, RefillRate, Status};
use crate::registry::{Entry, Follower, RefreshError, Registry};
use crate::telemetry::with_sources;
use crate::versions::{self, Try, VersionError, Versions};

/// How often a change is tried while other replicas get in first.
const TRIES_MAX: usize = 64;
/// How many limits are looked up or made at once: as many as fit into the smallest request that replicas are set to.
const LIMITS_PAGE: usize = 100;
/// How many accounts.
const ACCOUNTS_PAGE: usize = 200;

/// Changes limits and tells of them.
pub struct Admin<L> {
    ledger: Arc<L>,
    ids: Ids,
    follower: Arc<Follower<L>>,
    versions: Arc<Versions<L>>,
    instances: Instances<L>,
    decrease_waits: Notify,
}

/// A limit and what is used of it.
#[derive(Debug, Clone)]
pub struct LimitUsage {
    /// The limit.
    pub entry: Arc<Entry>,
    /// What can be reserved now.
    pub available: u128,
    /// What is reserved.
    pub reserved: u128,
    /// What was used beyond what could be reserved, ever.
    pub debt: u128,
}

/// Why a limit was not changed, or cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no such limit.
    #[error("there is no limit {0}")]
    UnknownKey(LimitKey),
    /// A kind cannot be changed.
    #[error(transparent)]
    KindChange(#[from] KindChange),
    /// The ledger gave no answer; the change may have been made.
    #[error("the ledger gave no answer")]
    Ledger(#[from] LedgerError),
    /// The definitions could not be read, or the registry file not written; the change may have been made.
    #[error("the definitions are not up to date")]
    Refresh(#[from] RefreshError),
    /// A definition could not be encoded or decoded.
    #[error("a definition could not be encoded")]
    Record(#[from] RecordError),
    /// A template has made more limits than it would be allowed to.
    #[error("max_instances of {0} is below the number of limits that it has made")]
    TooManyInstances(LimitKey),
    /// Other replicas kept changing the same limit.
    #[error("limit {0} is being changed by others")]
    Contended(LimitKey),
}

impl From<VersionError> for AdminError {
    fn from(error: VersionError) -> Self {
        match error {
            VersionError::Ledger(error) => Self::Ledger(error),
            VersionError::Record(error) => Self::Record(error),
        }
    }
}

impl From<InstanceError> for AdminError {
    fn from(error: InstanceError) -> Self {
        match error {
            InstanceError::Version(error) => error.into(),
            InstanceError::Refresh(error) => Self::Refresh(error),
            InstanceError::Contended(key) => Self::Contended(key),
        }
    }
}

impl<L: Ledger> Admin<L> {
    /// Over the same ledger and log as the limiter.
    pub fn new(ledger: Arc<L>, ids: Ids, follower: Arc<Follower<L>>) -> Self {
        let versions = Arc::new(Versions::new(Arc::clone(&ledger), ids));
        let instances = Instances::new(Arc::clone(&ledger), Arc::clone(&versions), Arc::clone(&follower));
        Self { ledger, ids, follower, versions, instances, decrease_waits: Notify::new() }
    }

    fn registry(&self) -> &Arc<Registry> {
        self.follower.registry()
    }

    /// Makes the ledger ready: the accounts that everything needs, the definitions it has, and those of `seed` that it
    /// never had.
    pub async fn bootstrap(&self, seed: &[LimitState]) -> Result<(), AdminError> {
        let account = |id, code| NewAccount { id, rule: AccountRule::Unconstrained, code };
        let accounts = vec![
            account(self.ids.operator(), AccountCode::Operator),
            account(self.ids.registry(), AccountCode::Registry),
            account(self.ids.instances(), AccountCode::Registry),
            account(self.ids.measure(), AccountCode::Measure),
        ];
        self.ledger.create_accounts(accounts).await?;
        self.follower.refresh().await?;
        let unknown: Vec<&LimitState> =
            seed.iter().filter(|state| self.registry().get(&state.definition.key).is_none()).collect();
        for page in unknown.chunks(LIMITS_PAGE) {
            self.seed(page).await?;
        }
        self.follower.refresh().await?;
        for state in unknown {
            if let Status::Decreasing { to } = state.status {
                let target = Definition { capacity: to, ..state.definition.clone() };
                self.make_version(&target.key, |current| change::put(current, &target)).await?;
            }
        }
        // Only now: what is not seeded yet stands in the file alone.
        self.follower.refresh_and_save().await?;
        Ok(())
    }

    /// Makes the first versions of limits. Another replica may seed the same: it is refused then, or this one.
    async fn seed(&self, states: &[&LimitState]) -> Result<(), AdminError> {
        let mut accounts = Vec::new();
        let mut chains = Vec::with_capacity(states.len());
        for state in states {
            if let Some(change) = change::put(None, &state.definition)? {
                accounts.extend(change.accounts(self.ids));
                chains.extend(change.chain(self.ids, None, Ulid::generate().0, self.ledger.now_ns())?);
            }
        }
        for page in accounts.chunks(ACCOUNTS_PAGE) {
            self.ledger.create_accounts(page.to_vec()).await?;
        }
        for (state, outcome) in states.iter().zip(self.ledger.submit(chains).await) {
            if let ChainOutcome::Refused { index, refusal } = outcome? {
                versions::refused(&state.definition.key, index, refusal)?;
            }
        }
        Ok(())
    }

    /// Creates or changes a limit; answers how it stands then.
    pub async fn put(&self, definition: &Definition) -> Result<Status, AdminError> {
        self.change(&definition.key, |current| change::put(current, definition)).await
    }

    /// Sets how fast a bucket is refilled and how much it holds, and makes it if it is not there; answers how it stands then.
    /// What was due by then comes back at the old rate.
    pub async fn set_rate(
        &self,
        key: &LimitKey,
        rate: RefillRate,
        burst: Amount,
    ) -> Result<Status, AdminError> {
        let plan =
            |current: Option<&Limit>| change::put(current, &object::at_rate(current, key, rate, burst));
        self.change(key, plan).await
    }

    async fn change(
        &self,
        key: &LimitKey,
        plan: impl Fn(Option<&Limit>) -> Result<Option<Change>, KindChange>,
    ) -> Result<Status, AdminError> {
        let entry = self.make_version(key, plan).await?;
        if let Status::Decreasing { .. } = entry.limit.state.status {
            self.decrease_waits.notify_one();
        }
        Ok(entry.limit.state.status)
    }

    /// Takes a limit out of the registry and closes its account.
    pub async fn delete(&self, key: &LimitKey) -> Result<(), AdminError> {
        self.follower.refresh().await?;
        let entry = self.instances.known(key).await?;
        if entry.is_none_or(|entry| entry.limit.state.status == Status::Deleted) {
            return Err(AdminError::UnknownKey(key.clone()));
        }
        self.make_version(key, |current| Ok(current.and_then(change::delete))).await?;
        Ok(())
    }

    /// Makes the next version of a key as `plan` says, until there is nothing to change or it is made.
    async fn make_version(
        &self,
        key: &LimitKey,
        plan: impl Fn(Option<&Limit>) -> Result<Option<Change>, KindChange>,
    ) -> Result<Arc<Entry>, AdminError> {
        for _ in 0..TRIES_MAX {
            self.follower.refresh().await?;
            let current = self.instances.known(key).await?;
            if !self.versions.bring_up(current.as_deref()).await? {
                continue;
            }
            let Some(change) = plan(current.as_ref().map(|entry| &entry.limit))? else {
                self.follower.save().await?;
                return current.ok_or_else(|| AdminError::UnknownKey(key.clone()));
            };
            match self.versions.make(&change).await? {
                Try::Made => {
                    self.follower.refresh_and_save().await?;
                    tracing::info!(%key, version = change.version, state = ?change.state.status, "limit changed");
                    // Of one that a template made, the log that was read just now does not tell.
                    let made = self.instances.known(key).await?;
                    return made.ok_or_else(|| AdminError::UnknownKey(key.clone()));
                }
                Try::Lost => {}
                Try::NoRoom if change.state.definition.instances_max.is_some() => {
                    return Err(AdminError::TooManyInstances(key.clone()));
                }
                Try::NoRoom => return current.ok_or_else(|| AdminError::UnknownKey(key.clone())),
            }
        }
        Err(AdminError::Contended(key.clone()))
    }

    /// Applies every decrease for which enough is available. One that fails does not stop the others.
    pub async fn apply_decreases(&self) -> Result<(), AdminError> {
        let mut result = Ok(());
        let waiting: Vec<_> =
            self.registry().decreasing().iter().filter_map(|key| self.registry().get(key)).collect();
        for entry in &waiting {
            // If it has another schedule by now, it is looked at again soon.
            result =
                result.and(self.versions.bring_up(Some(entry)).await.map(drop).map_err(AdminError::from));
        }
        for page in waiting.chunks(LIMITS_PAGE) {
            // On a closed account only voids and expiries happen: what is available now stays available.
            let accounts =
                self.ledger.accounts(page.iter().map(|entry| entry.limit.account).collect()).await?;
            for (entry, account) in page.iter().zip(accounts) {
                let needs = change::decrease_needs(&entry.limit).map(u128::from);
                // An account that is open tells of another replica that has applied it.
                let is_ready = |needs| account.is_some_and(|it| it.available() >= needs || !it.closed);
                if needs.is_some_and(is_ready) {
                    let apply = |current: Option<&Limit>| Ok(current.and_then(change::apply_decrease));
                    result = result.and(self.make_version(entry.key(), apply).await.map(drop));
                }
            }
        }
        result
    }

    /// Applies decreases for ever: when one was asked for here, and every `interval` for those of other replicas.
    pub async fn run_decreases(&self, interval: Duration) {
        loop {
            if let Err(error) = self.apply_decreases().await {
                tracing::warn!(
                    error = with_sources(&error),
                    "decreases could not be applied; they are tried again"
                );
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let wake = self.decrease_waits.notified();
            // It is the pause that ends, not the waiting that fails.
            tokio::time::timeout(interval, wake).await.ok();
        }
    }

    /// Every limit and its usage, sorted by key.
    pub async fn list(&self) -> Result<Vec<LimitUsage>, AdminError> {
        self.follower.refresh().await?;
        let mut list = Vec::new();
        for page in self.registry().list().chunks(LIMITS_PAGE) {
            list.extend(self.usage(page).await?);
        }
        Ok(list)
    }

    /// One limit and its usage.
    pub async fn get(&self, key: &LimitKey) -> Result<LimitUsage, AdminError> {
        self.follower.refresh().await?;
        let entry = self.shown(key).await?;
        let usage = self.usage(&[entry]).await?;
        usage.into_iter().next().ok_or_else(|| AdminError::UnknownKey(key.clone()))
    }

    /// A limit that is defined, or that a template made.
    async fn shown(&self, key: &LimitKey) -> Result<Arc<Entry>, AdminError> {
        let entry = self.instances.find(key).await?;
        let entry = entry.filter(|entry| entry.limit.state.status != Status::Deleted);
        entry.ok_or_else(|| AdminError::UnknownKey(key.clone()))
    }

    async fn usage(&self, entries: &[Arc<Entry>]) -> Result<Vec<LimitUsage>, AdminError> {
        let mut ids = Vec::with_capacity(2 * entries.len());
        for entry in entries {
            // If it has another schedule by now, what is told is a moment old.
            self.versions.bring_up(Some(entry)).await?;
            ids.extend([entry.limit.account, entry.limit.debt_account]);
            ids.extend(places_of(entry));
        }
        let mut accounts = Vec::with_capacity(ids.len());
        for page in ids.chunks(ACCOUNTS_PAGE) {
            accounts.extend(self.ledger.accounts(page.to_vec()).await?);
        }
        let mut accounts = accounts.into_iter();
        let mut usages = Vec::with_capacity(entries.len());
        for entry in entries {
            let places = places_of(entry).count();
            let accounts: Option<Vec<Account>> = accounts.by_ref().take(2 + places).collect();
            let Some([limit, debt, places @ ..]) = accounts.as_deref() else {
                let missing = format!("limit {} has no account", entry.key());
                return Err(LedgerError::Unexpected(missing).into());
            };
            usages.push(usage_of(Arc::clone(entry), limit, debt, places));
        }
        Ok(usages)
    }

    /// Refills a bucket that is refilled by hand; false if the limit is no such bucket. The same `replenishment` does so
    /// once.
    pub async fn replenish(&self, key: &LimitKey, replenishment: LeaseId) -> Result<bool, AdminError> {
        let trace = self.ids.put_back(key, replenishment);
        for _ in 0..TRIES_MAX {
            self.follower.refresh().await?;
            let entry = self.shown(key).await?;
            let Some(amount) = schedule::refill_by_hand(&entry.limit) else { return Ok(false) };
            if self.versions.comeback().put_back(&entry, trace, amount).await? {
                return Ok(true);
            }
        }
        Err(AdminError::Contended(key.clone()))
    }

    /// Every version that a key ever had, oldest first.
    pub async fn history(&self, key: &LimitKey) -> Result<Vec<Version>, AdminError> {
        self.follower.refresh().await?;
        let versions = self.versions.history(key).await?;
        if versions.is_empty() { Err(AdminError::UnknownKey(key.clone())) } else { Ok(versions) }
    }
}

/// The accounts of what was spent of a limit, and of what of that was borrowed.
fn places_of(entry: &Entry) -> impl Iterator<Item = AccountId> {
    let schedule = entry.limit.schedule.iter();
    schedule.flat_map(|schedule| schedule.spent().iter().copied().chain(schedule.borrowed()))
}

/// Of a template: how many limits it may still make, and how many it has made.
fn usage_of(entry: Arc<Entry>, limit: &Account, debt: &Account, places: &[Account]) -> LimitUsage {
    let available = limit.available();
    let spent: u128 = places.iter().map(Account::posted_balance).sum();
    let owed: u128 = places.iter().map(Account::owed).sum();
    let reserved = match entry.limit.state.definition.instances_max {
        Some(instances_max) => u128::from(instances_max).saturating_sub(available),
        // What was borrowed is spent as well, and was never in the limit.
        None => limit.debits_pending + spent.saturating_sub(owed),
    };
    LimitUsage { entry, available, reserved, debt: debt.debits_posted }
}
