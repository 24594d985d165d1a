//! The versions that take a limit out of use.

use super::{BalanceStep, VersionPlan, next};
use crate::decide::Limit;
use crate::ledger::AccountId;
use crate::limit::{LimitState, Status};

/// The version that deletes a limit; `None` if it is deleted already. `counted_at` is the account of the template that counts
/// the limit among its instances.
pub(crate) fn delete(limit: &Limit, counted_at: Option<AccountId>) -> Option<VersionPlan> {
    let mut balance_steps = match limit.state.status {
        Status::Active => vec![BalanceStep::Close],
        Status::Decreasing { .. } | Status::Retired => Vec::new(),
        Status::Deleted => return None,
    };
    balance_steps.extend(counted_at.map(BalanceStep::ReturnPlace));
    // Without an origin no template makes the limit again.
    let state = LimitState { status: Status::Deleted, origin: None, ..limit.state.clone() };
    Some(next(limit, state, balance_steps))
}

/// The version that closes an instance whose template is of another kind now. The template makes the instance again, as for a
/// deleted limit that is defined again.
pub(crate) fn close_instance(limit: &Limit) -> VersionPlan {
    let balance_steps = match limit.state.status {
        Status::Active => vec![BalanceStep::Close],
        Status::Decreasing { .. } | Status::Deleted | Status::Retired => Vec::new(),
    };
    next(limit, LimitState { status: Status::Deleted, ..limit.state.clone() }, balance_steps)
}

/// The version that retires an idle instance: it gives its place back to the template that counts it. The version
/// cuts the whole capacity and grants it again, so the ledger refuses it if anything is reserved, spent or owed.
pub fn retire(limit: &Limit, counted_at: AccountId) -> VersionPlan {
    let capacity = limit.state.definition.capacity.get();
    let (empty, fill) = (BalanceStep::Cut(capacity), BalanceStep::Grant(capacity));
    VersionPlan {
        version: limit.version + 1,
        state: LimitState { status: Status::Retired, ..limit.state.clone() },
        balance_steps: vec![empty, fill, BalanceStep::Close, BalanceStep::ReturnPlace(counted_at)],
        starts_new_schedule: false,
        replaced: None,
        if_no_room: None,
    }
}
