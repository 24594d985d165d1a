//! Creates definition versions in the ledger, each as one chain, and reads a limit's history back.

use std::sync::Arc;

use ulid::Ulid;

use super::error::RegistryError;
use crate::decide::clock_value::ClockValue;
use crate::decide::definition_codec::{Assembler, DefinitionVersion};
use crate::decide::definition_version::{ChainInputs, VersionPlan};
use crate::decide::ids::Ids;
use crate::decide::replaced_account::{KeptReservation, kept_reservation};
use crate::decide::schedule_change::ReplacedBalances;
use crate::ledger::{
    AccountQuery, ChainOutcome, Ledger, LedgerError, Order, Recorded, Refusal, Side, TransferCode,
    find_closing,
};
use crate::limit::LimitKey;

/// The transfers of a history that are read at first. They are nearly always all, and so few that the TigerBeetle client joins
/// such look-ups into one request.
const HISTORY_FIRST: u32 = 128;
/// The transfers read at once if there are more.
const HISTORY_PAGE: u32 = 8_000;

/// Creates and reads definition versions.
pub(super) struct DefinitionStore<L> {
    ledger: Arc<L>,
    ids: Ids,
}

/// The result of one attempt to create a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreResult {
    /// The version was created.
    Created,
    /// Another replica created a version first: read the definitions again.
    Superseded,
    /// Too much is reserved, or the template has reached `max_instances`.
    NoRoom,
}

impl<L: Ledger> DefinitionStore<L> {
    pub(super) fn new(ledger: Arc<L>, ids: Ids) -> Self {
        Self { ledger, ids }
    }

    /// Tries to create a version, or the one to create instead if there is no room for it.
    pub(super) async fn create(&self, plan: &VersionPlan) -> Result<StoreResult, RegistryError> {
        match (self.try_to_create(plan).await?, plan.if_no_room()) {
            (StoreResult::NoRoom, Some(instead)) => self.try_to_create(instead).await,
            (result, _) => Ok(result),
        }
    }

    async fn try_to_create(&self, plan: &VersionPlan) -> Result<StoreResult, RegistryError> {
        let key = &plan.state.definition.key;
        let accounts = plan.accounts(self.ids);
        if !accounts.is_empty() {
            self.ledger.create_accounts(accounts).await?;
        }
        let closing = if plan.reopens() {
            find_closing(&*self.ledger, self.ids.limit_of(&plan.state)).await?
        } else {
            None
        };
        let kept = if plan.keeps_reserved() { self.kept_reservation(plan).await? } else { None };
        let replaced = self.read_replaced(plan).await?;
        let (fresh_ulid, now_ns) = (Ulid::generate().0, self.ledger.now_ns());
        let inputs = ChainInputs { closing, kept, replaced, fresh_ulid, now_ns };
        // Without a closing transfer the account is open, although the version known here closed it: another replica has
        // created a newer version.
        let Some(chain) = plan.chain(self.ids, inputs)? else {
            return Ok(StoreResult::Superseded);
        };
        match self.ledger.submit_one(chain).await? {
            ChainOutcome::Created { .. } => Ok(StoreResult::Created),
            ChainOutcome::Refused { index, refusal } => Ok(interpret_refusal(key, index, refusal)?),
        }
    }

    /// The amount that the new account of a version keeps reserved. The replaced account is closed, so its
    /// reservations can only shrink until the version is created.
    async fn kept_reservation(&self, plan: &VersionPlan) -> Result<Option<KeptReservation>, RegistryError> {
        let Some(replaced) = self.ids.replaced_accounts(&plan.state).last() else { return Ok(None) };
        let accounts = self.ledger.accounts(vec![replaced]).await?;
        let Some(account) = accounts.into_iter().next().flatten() else { return Ok(None) };
        let definition = &plan.state.definition;
        let history = self.history(&definition.key).await?;
        Ok(kept_reservation(&account, &history, definition.capacity.get(), self.ledger.now_ns()))
    }

    /// What the ledger says of the schedule that a version replaces.
    pub(super) async fn read_replaced(&self, plan: &VersionPlan) -> Result<ReplacedBalances, RegistryError> {
        let Some(accounts) = plan.replaced_accounts() else { return Ok(ReplacedBalances::default()) };
        let accounts = self.ledger.accounts(accounts.to_vec()).await?;
        let [Some(clock), Some(borrowed), Some(spent)] = accounts.as_slice() else {
            let key = &plan.state.definition.key;
            return Err(LedgerError::Unexpected(format!("an account of limit {key} is missing")).into());
        };
        Ok(ReplacedBalances {
            clock: ClockValue::of(clock)?,
            spent: spent.available(),
            owed: borrowed.owed(),
        })
    }

    /// Every version of a key, oldest first.
    pub(super) async fn history(&self, key: &LimitKey) -> Result<Vec<DefinitionVersion>, RegistryError> {
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
            // A ledger may answer with fewer transfers than were asked for, so only an empty page is the end.
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

/// The meaning of the refusal of a version's chain.
pub(super) fn interpret_refusal(
    key: &LimitKey,
    index: usize,
    refusal: Refusal,
) -> Result<StoreResult, LedgerError> {
    match refusal {
        // Another replica created this version, made a refill by the schedule that it replaces, settled a lease on
        // the closed account and closed it again, or deleted the template.
        Refusal::Exists
        | Refusal::ExistsWithDifferent(_)
        | Refusal::PendingAlreadyVoided
        | Refusal::DebitAccountClosed
        | Refusal::CreditAccountClosed => Ok(StoreResult::Superseded),
        Refusal::ExceedsCredits => Ok(StoreResult::NoRoom),
        Refusal::IdAlreadyFailed
        | Refusal::ExceedsDebits
        | Refusal::DebitAccountNotFound
        | Refusal::CreditAccountNotFound
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::PendingExpired
        | Refusal::Overflow
        | Refusal::Malformed(_) => Err(LedgerError::Unexpected(format!(
            "a new version of limit {key} was refused at transfer {index}: {refusal:?}"
        ))),
    }
}
