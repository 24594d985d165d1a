//! Versions of limits: made as one chain each, and read back.

use std::sync::Arc;

use ulid::Ulid;

use crate::comeback::{BroughtUp, Comeback};
use crate::decide::change::Change;
use crate::decide::ids::Ids;
use crate::decide::record::{Assembler, RecordError, Version};
use crate::ledger::{
    AccountQuery, ChainOutcome, Ledger, LedgerError, Order, Recorded, Refusal, Side, TransferCode,
    find_closing,
};
use crate::limit::LimitKey;
use crate::registry::Entry;

/// How many transfers of a limit's history are read at first: as a rule they are all, and so few that the client joins such
/// look-ups into one request.
const HISTORY_FIRST: u32 = 128;
/// How many are read at once if there are more.
const HISTORY_PAGE: u32 = 8_000;

/// Makes versions of limits and reads them.
pub struct Versions<L> {
    ledger: Arc<L>,
    ids: Ids,
    comeback: Comeback<L>,
}

/// Why a version could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// The ledger gave no answer; the version may have been made.
    #[error("the ledger gave no answer")]
    Ledger(#[from] LedgerError),
    /// It could not be encoded or decoded.
    #[error("a definition could not be encoded or decoded")]
    Record(#[from] RecordError),
}

/// What became of one try to make a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// It was made.
    Made,
    /// Another replica was quicker; read again.
    Lost,
    /// Too much is reserved still, or a template may make no more limits.
    NoRoom,
}

impl<L: Ledger> Versions<L> {
    /// Over the same ledger as the limiter.
    pub fn new(ledger: Arc<L>, ids: Ids) -> Self {
        let comeback = Comeback::new(Arc::clone(&ledger), ids);
        Self { ledger, ids, comeback }
    }

    /// Whose ids are in force.
    pub fn ids(&self) -> Ids {
        self.ids
    }

    /// Lets come back what is due, or asked for.
    pub fn comeback(&self) -> &Comeback<L> {
        &self.comeback
    }

    /// Lets come back what is due of a limit by the schedule that it has so far. False if it has another by now.
    pub async fn bring_up(&self, entry: Option<&Entry>) -> Result<bool, LedgerError> {
        let Some(entry) = entry else { return Ok(true) };
        Ok(self.comeback.bring_up(entry, self.ledger.now_ns()).await? != BroughtUp::Replaced)
    }

    /// Tries to make a version.
    pub async fn make(&self, change: &Change) -> Result<Try, VersionError> {
        let key = &change.state.definition.key;
        let accounts = change.accounts(self.ids);
        if !accounts.is_empty() {
            self.ledger.create_accounts(accounts).await?;
        }
        let closing =
            if change.reopens() { find_closing(&*self.ledger, self.ids.limit(key)).await? } else { None };
        // The account is open although it must be closed: another replica is ahead of what was read here.
        let drawn = Ulid::generate().0;
        let Some(chain) = change.chain(self.ids, closing, drawn, self.ledger.now_ns())? else {
            return Ok(Try::Lost);
        };
        match self.ledger.submit_one(chain).await? {
            ChainOutcome::Created { .. } => Ok(Try::Made),
            ChainOutcome::Refused { index, refusal } => Ok(refused(key, index, refusal)?),
        }
    }

    /// Every version that a key ever had, oldest first. A ledger may answer with less than was asked for.
    pub async fn history(&self, key: &LimitKey) -> Result<Vec<Version>, VersionError> {
        let newest = self.page(key, Order::NewestFirst, 0, HISTORY_FIRST).await?;
        let is_first = |oldest: &Recorded| oldest.transfer.id == self.ids.definition_part(key, 1, 0);
        let mut assembler = Assembler::default();
        let mut versions = Vec::new();
        if newest.last().is_none_or(is_first) {
            for recorded in newest.iter().rev() {
                versions.extend(assembler.push(recorded)?);
            }
            return Ok(versions);
        }
        let mut after_ns = 0;
        loop {
            let page = self.page(key, Order::OldestFirst, after_ns, HISTORY_PAGE).await?;
            for recorded in &page {
                after_ns = recorded.timestamp_ns;
                versions.extend(assembler.push(recorded)?);
            }
            if page.is_empty() {
                return Ok(versions);
            }
        }
    }

    async fn page(
        &self,
        key: &LimitKey,
        order: Order,
        after_ns: u64,
        count_max: u32,
    ) -> Result<Vec<Recorded>, LedgerError> {
        let (account, side, code) = (self.ids.debt(key), Side::Credit, TransferCode::Definition);
        self.ledger.account_transfers(AccountQuery { account, side, code, after_ns, order, count_max }).await
    }
}

/// What a refusal of a version means.
pub(crate) fn refused(key: &LimitKey, index: usize, refusal: Refusal) -> Result<Try, LedgerError> {
    match refusal {
        // Another replica made this version, or settled on the closed account and closed it anew, or deleted the template.
        Refusal::Exists
        | Refusal::ExistsWithDifferent(_)
        | Refusal::PendingAlreadyVoided
        | Refusal::DebitAccountClosed => Ok(Try::Lost),
        Refusal::ExceedsCredits => Ok(Try::NoRoom),
        Refusal::IdAlreadyFailed
        | Refusal::ExceedsDebits
        | Refusal::DebitAccountNotFound
        | Refusal::CreditAccountNotFound
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
