//! Changes of limits. Each is the next version of its key: planned by [`crate::decide::change`], made as one chain, and
//! in force here once the log tells it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use ulid::Ulid;

use crate::comeback::{BroughtUp, Comeback, Replenished};
use crate::decide::Limit;
use crate::decide::change::{self, Change, KindChange};
use crate::decide::ids::Ids;
use crate::decide::record::{Assembler, RecordError, Version};
use crate::ledger::{
    Account, AccountCode, AccountId, AccountQuery, AccountRule, ChainOutcome, Ledger, LedgerError,
    NewAccount, Order, Refusal, Side, TransferCode, find_closing,
};
use crate::limit::{Definition, LimitKey, LimitState, Status};
use crate::registry::{Entry, Follower, RefreshError, Registry};
use crate::telemetry::with_sources;

/// How often a change is tried while other replicas get in first.
const TRIES_MAX: usize = 64;
/// How many limits are looked up or made at once: as many as fit into the smallest request that replicas are set to.
const LIMITS_PAGE: usize = 100;
/// How many accounts.
const ACCOUNTS_PAGE: usize = 200;
/// How many transfers of a limit's history are read at once.
const HISTORY_PAGE: u32 = 8_000;

/// Changes limits and tells of them.
pub struct Admin<L> {
    ledger: Arc<L>,
    ids: Ids,
    follower: Arc<Follower<L>>,
    comeback: Comeback<L>,
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
    /// Other replicas kept changing the same limit.
    #[error("limit {0} is being changed by others")]
    Contended(LimitKey),
}

/// What became of one try to make a version.
enum Try {
    Made,
    /// Another replica was quicker; read again.
    Lost,
    /// Too much is reserved still.
    NoRoomYet,
}

impl<L: Ledger> Admin<L> {
    /// Over the same ledger and log as the limiter.
    pub fn new(ledger: Arc<L>, ids: Ids, follower: Arc<Follower<L>>) -> Self {
        let comeback = Comeback::new(Arc::clone(&ledger), ids);
        Self { ledger, ids, follower, comeback, decrease_waits: Notify::new() }
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
                refused(&state.definition.key, index, refusal)?;
            }
        }
        Ok(())
    }

    /// Creates or changes a limit; answers how it stands then.
    pub async fn put(&self, definition: &Definition) -> Result<Status, AdminError> {
        let entry = self.make_version(&definition.key, |current| change::put(current, definition)).await?;
        if let Status::Decreasing { .. } = entry.limit.state.status {
            self.decrease_waits.notify_one();
        }
        Ok(entry.limit.state.status)
    }

    /// Takes a limit out of the registry and closes its account.
    pub async fn delete(&self, key: &LimitKey) -> Result<(), AdminError> {
        self.follower.refresh().await?;
        let entry = self.registry().get(key);
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
            let current = self.registry().get(key);
            if !self.is_up_to_date(current.as_deref()).await? {
                continue;
            }
            let Some(change) = plan(current.as_ref().map(|entry| &entry.limit))? else {
                self.follower.save().await?;
                return current.ok_or_else(|| AdminError::UnknownKey(key.clone()));
            };
            match self.try_version(key, &change).await? {
                Try::Made => {
                    self.follower.refresh_and_save().await?;
                    tracing::info!(%key, version = change.version, state = ?change.state.status, "limit changed");
                    return self.registry().get(key).ok_or_else(|| AdminError::UnknownKey(key.clone()));
                }
                Try::Lost => {}
                Try::NoRoomYet => return current.ok_or_else(|| AdminError::UnknownKey(key.clone())),
            }
        }
        Err(AdminError::Contended(key.clone()))
    }

    /// Lets come back what is due of a limit by the schedule that it has so far. False if it has another by now.
    async fn is_up_to_date(&self, entry: Option<&Entry>) -> Result<bool, AdminError> {
        let Some(entry) = entry else { return Ok(true) };
        Ok(self.comeback.bring_up(entry, self.ledger.now_ns()).await? != BroughtUp::Replaced)
    }

    async fn try_version(&self, key: &LimitKey, change: &Change) -> Result<Try, AdminError> {
        let accounts = change.accounts(self.ids);
        if !accounts.is_empty() {
            self.ledger.create_accounts(accounts).await?;
        }
        let closing =
            if change.reopens() { find_closing(&*self.ledger, self.ids.limit(key)).await? } else { None };
        // The account is open although it must be closed: another replica is ahead of what was read here.
        let Some(chain) = change.chain(self.ids, closing, Ulid::generate().0, self.ledger.now_ns())? else {
            return Ok(Try::Lost);
        };
        match self.ledger.submit_one(chain).await? {
            ChainOutcome::Created { .. } => Ok(Try::Made),
            ChainOutcome::Refused { index, refusal } => Ok(refused(key, index, refusal)?),
        }
    }

    /// Applies every decrease for which enough is available. One that fails does not stop the others.
    pub async fn apply_decreases(&self) -> Result<(), AdminError> {
        let mut result = Ok(());
        let waiting: Vec<_> =
            self.registry().decreasing().iter().filter_map(|key| self.registry().get(key)).collect();
        for entry in &waiting {
            // If it has another schedule by now, it is looked at again soon.
            self.is_up_to_date(Some(entry)).await?;
        }
        for page in waiting.chunks(LIMITS_PAGE) {
            // On a closed account only voids and expiries happen: what is available now stays available.
            let accounts =
                self.ledger.accounts(page.iter().map(|entry| entry.limit.account).collect()).await?;
            for (entry, account) in page.iter().zip(accounts) {
                let needs = change::decrease_needs(&entry.limit).map(u128::from);
                let available = account.map_or(0, |account| account.available());
                if needs.is_some_and(|needs| available >= needs) {
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
        let entry = self.shown(key)?;
        let usage = self.usage(&[entry]).await?;
        usage.into_iter().next().ok_or_else(|| AdminError::UnknownKey(key.clone()))
    }

    fn shown(&self, key: &LimitKey) -> Result<Arc<Entry>, AdminError> {
        let entry = self.registry().get(key).filter(|entry| entry.limit.state.status != Status::Deleted);
        entry.ok_or_else(|| AdminError::UnknownKey(key.clone()))
    }

    async fn usage(&self, entries: &[Arc<Entry>]) -> Result<Vec<LimitUsage>, AdminError> {
        let mut ids = Vec::with_capacity(2 * entries.len());
        for entry in entries {
            // If it has another schedule by now, what is told is a moment old.
            self.is_up_to_date(Some(entry)).await?;
            ids.extend([entry.limit.account, entry.limit.debt_account]);
            ids.extend(entry.limit.schedule.iter().flat_map(|schedule| schedule.spent()));
        }
        let mut accounts = Vec::with_capacity(ids.len());
        for page in ids.chunks(ACCOUNTS_PAGE) {
            accounts.extend(self.ledger.accounts(page.to_vec()).await?);
        }
        let mut accounts = accounts.into_iter();
        let mut usages = Vec::with_capacity(entries.len());
        for entry in entries {
            let places = entry.limit.schedule.as_ref().map_or(0, |schedule| schedule.spent().len());
            let accounts: Option<Vec<Account>> = accounts.by_ref().take(2 + places).collect();
            let Some([limit, debt, spent @ ..]) = accounts.as_deref() else {
                let missing = format!("limit {} has no account", entry.key());
                return Err(LedgerError::Unexpected(missing).into());
            };
            usages.push(usage_of(Arc::clone(entry), limit, debt, spent));
        }
        Ok(usages)
    }

    /// Refills a bucket that is refilled by hand; false if the limit is no such bucket. The same `replenishment` does so
    /// once.
    pub async fn replenish(&self, key: &LimitKey, replenishment: Ulid) -> Result<bool, AdminError> {
        for _ in 0..TRIES_MAX {
            self.follower.refresh().await?;
            match self.comeback.replenish(&*self.shown(key)?, replenishment).await? {
                Replenished::Once => return Ok(true),
                Replenished::NotByHand => return Ok(false),
                Replenished::Replaced => {}
            }
        }
        Err(AdminError::Contended(key.clone()))
    }

    /// Every version that a key ever had, oldest first.
    pub async fn history(&self, key: &LimitKey) -> Result<Vec<Version>, AdminError> {
        self.follower.refresh().await?;
        let entry = self.registry().get(key).ok_or_else(|| AdminError::UnknownKey(key.clone()))?;
        self.read_history(entry.limit.debt_account).await
    }

    async fn read_history(&self, account: AccountId) -> Result<Vec<Version>, AdminError> {
        let mut versions = Vec::new();
        let mut assembler = Assembler::default();
        let mut after_ns = 0;
        loop {
            let query = AccountQuery {
                account,
                side: Side::Credit,
                code: TransferCode::Definition,
                after_ns,
                order: Order::OldestFirst,
                count_max: HISTORY_PAGE,
            };
            let page = self.ledger.account_transfers(query).await?;
            for recorded in &page {
                after_ns = recorded.timestamp_ns;
                versions.extend(assembler.push(recorded)?);
            }
            if page.len() < HISTORY_PAGE as usize {
                return Ok(versions);
            }
        }
    }
}

fn refused(key: &LimitKey, index: usize, refusal: Refusal) -> Result<Try, LedgerError> {
    match refusal {
        // Another replica made this version, or settled on the closed account and closed it anew.
        Refusal::Exists | Refusal::ExistsWithDifferent(_) | Refusal::PendingAlreadyVoided => Ok(Try::Lost),
        Refusal::ExceedsCredits => Ok(Try::NoRoomYet),
        Refusal::IdAlreadyFailed
        | Refusal::ExceedsDebits
        | Refusal::DebitAccountNotFound
        | Refusal::CreditAccountNotFound
        | Refusal::DebitAccountClosed
        | Refusal::CreditAccountClosed
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::PendingExpired
        | Refusal::Overflow
        | Refusal::Malformed(_) => Err(LedgerError::Unexpected(format!(
            "a change of limit {key} was refused at transfer {index}: {refusal:?}"
        ))),
    }
}

fn usage_of(entry: Arc<Entry>, limit: &Account, debt: &Account, spent: &[Account]) -> LimitUsage {
    LimitUsage {
        entry,
        available: limit.available(),
        reserved: limit.debits_pending + spent.iter().map(Account::posted_balance).sum::<u128>(),
        debt: debt.debits_posted,
    }
}
