//! The versions that give a limit new accounts, so that nothing is used of it.
//!
//! The replaced account is closed, and so are its spent accounts. So a replica that does not know the new version is refused
//! whatever it tries, and reads it. Leases on the replaced account are settled there; what they release there makes no room on
//! the new one. `docs/resets.md` has the transfers, and why no unit is granted twice.

use super::{BalanceStep, VersionPlan};
use crate::decide::Limit;
use crate::decide::definition_codec::DefinitionVersion;
use crate::ledger::AccountId;
use crate::limit::{Definition, LimitState, Status};

/// The most versions with new accounts that a limit remembers. Every later version stores them. A lease from before the
/// oldest of them can no longer name the limit in its complete; its reservation expires.
const ACCOUNTS_SINCE_MAX: usize = 32;

/// The next version of a deleted limit, as another kind. Its new account keeps reserved what leases hold on the old one.
pub(super) fn after_deleted(deleted: &Limit, wanted: LimitState) -> VersionPlan {
    let steps = [BalanceStep::Grant(wanted.definition.posted_balance()), BalanceStep::KeepReserved];
    on_new_accounts(deleted, wanted, steps.into())
}

/// The version that sets usage and debt to zero. A decrease that waits is applied by it. `None` if the limit is gone, or if it is
/// a template, of which nothing is used.
pub(crate) fn reset(limit: &Limit) -> Option<VersionPlan> {
    let capacity = match limit.state.status {
        Status::Active => limit.state.definition.capacity,
        Status::Decreasing { to } => to,
        Status::Deleted | Status::Retired => return None,
    };
    if limit.state.definition.instances_max.is_some() {
        return None;
    }
    let definition = Definition { capacity, ..limit.state.definition.clone() };
    let state = LimitState { definition, status: Status::Active, ..limit.state.clone() };
    let mut steps = close_replaced(limit);
    steps.push(BalanceStep::Grant(capacity.get()));
    steps.push(BalanceStep::ClearDebt);
    Some(on_new_accounts(limit, state, steps))
}

/// The version that deletes a limit for good: a later definition of the key begins without usage, debt and history. `counted_at`
/// is the account of the template that counts the limit among its instances. `None` if it is purged already.
pub(crate) fn purge(limit: &Limit, counted_at: Option<AccountId>) -> Option<VersionPlan> {
    if limit.is_purged() {
        return None;
    }
    let mut steps = close_replaced(limit);
    // Closed with its capacity, as the account of every deleted limit.
    steps.push(BalanceStep::Grant(limit.state.definition.posted_balance()));
    steps.push(BalanceStep::ClearDebt);
    steps.push(BalanceStep::Close);
    steps.extend(counted_at.map(BalanceStep::ReturnPlace));
    let state = LimitState { status: Status::Deleted, origin: None, ..limit.state.clone() };
    Some(on_new_accounts(limit, state, steps))
}

/// The versions of a key since it was last purged.
pub(crate) fn since_purge(mut history: Vec<DefinitionVersion>) -> Vec<DefinitionVersion> {
    let is_purge = |version: &DefinitionVersion| {
        version.state.status == Status::Deleted && version.state.has_accounts_since(version.number)
    };
    let begins_at = history.iter().rposition(is_purge).map_or(0, |purge| purge + 1);
    history.split_off(begins_at)
}

impl Limit {
    /// Whether the limit was deleted for good.
    pub(crate) fn is_purged(&self) -> bool {
        self.state.status == Status::Deleted && self.has_new_accounts()
    }

    /// Whether its newest version gave it new accounts.
    pub(crate) fn has_new_accounts(&self) -> bool {
        self.state.has_accounts_since(self.version)
    }
}

/// The steps that close the accounts of a limit, so that nothing more is reserved or refilled on them.
fn close_replaced(limit: &Limit) -> Vec<BalanceStep> {
    let is_open = limit.state.status == Status::Active;
    let borrowed = limit.borrowed_account();
    let spent = limit.schedule.iter().flat_map(|schedule| schedule.spent().iter().copied());
    let close = |spent: AccountId| {
        let write_off = borrowed.map(|borrowed| BalanceStep::WriteOff { spent, borrowed });
        write_off.into_iter().chain([BalanceStep::CloseReplaced(spent)])
    };
    let of_limit = is_open.then_some(BalanceStep::CloseReplaced(limit.account));
    of_limit.into_iter().chain(spent.flat_map(close)).collect()
}

fn on_new_accounts(limit: &Limit, wanted: LimitState, balance_steps: Vec<BalanceStep>) -> VersionPlan {
    let version = limit.version + 1;
    let earlier = &limit.state.accounts_since;
    let forgotten = earlier.len().saturating_sub(ACCOUNTS_SINCE_MAX - 1);
    let accounts_since = earlier.iter().skip(forgotten).copied().chain([version]).collect();
    let state = LimitState { accounts_since, ..wanted };
    VersionPlan { version, state, balance_steps, starts_new_schedule: true, replaced: None, if_no_room: None }
}
