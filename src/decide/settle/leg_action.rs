//! What a complete does with each leg of a lease, from the amounts used.

use smallvec::SmallVec;

use crate::decide::ids::ATTEMPTS_MAX;
use crate::decide::lease::{HeldLeg, Hold};
use crate::ledger::{AccountId, TransferId};
use crate::limit::Overage;

/// The amount used of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The limit's account.
    pub account: AccountId,
    /// The amount used, in units of the limit.
    pub amount: u64,
    /// The account that records the limit's debt.
    pub debt_account: AccountId,
    /// The account of borrowed tokens, if the limit's kind lends: what the complete releases repays them.
    pub borrowed: Option<AccountId>,
}

/// What a complete does with one leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LegAction {
    /// The leg stays until it expires.
    Keep,
    /// The whole leg is released.
    Release,
    /// The leg is reduced to what was used.
    Shrink(Shrink),
    /// The overage is reserved in addition.
    ReserveOverage(Excess),
    /// The overage found no room and is posted as debt.
    RecordDebt { by: u128, debt_account: AccountId },
}

impl LegAction {
    /// The same under the ids of the next attempt; `None` if there is none.
    pub(super) fn next_attempt(self) -> Option<Self> {
        let next = |attempt: u8| Some(attempt + 1).filter(|&attempt| attempt < ATTEMPTS_MAX);
        match self {
            Self::Shrink(shrink) => Some(Self::Shrink(Shrink { attempt: next(shrink.attempt)?, ..shrink })),
            Self::ReserveOverage(excess) => {
                Some(Self::ReserveOverage(Excess { attempt: next(excess.attempt)?, ..excess }))
            }
            Self::Keep | Self::Release | Self::RecordDebt { .. } => None,
        }
    }
}

/// The overage of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Excess {
    /// The amount above the reservation.
    pub(super) by: u128,
    /// What happens if it finds no room.
    pub(super) overage: Overage,
    /// The account that records the limit's debt.
    pub(super) debt_account: AccountId,
    /// Counts the attempts: a refused transfer uses its id up.
    pub(super) attempt: u8,
}

/// The reduction of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shrink {
    /// The amount used. For a limit with a schedule it may be 0.
    pub(super) to: u128,
    /// Counts the attempts: a refused transfer uses its id up.
    pub(super) attempt: u8,
    /// The transfer that holds the limit's account closed, if it is known to be closed.
    pub(super) closing: Option<TransferId>,
    /// The account of borrowed tokens, if the limit's kind lends.
    pub(super) borrowed: Option<AccountId>,
}

/// The action for each leg, in the order of the legs.
pub(super) fn actions_of(legs: &[HeldLeg], used: &[Used]) -> SmallVec<[LegAction; 4]> {
    let action = |(index, leg): (usize, &HeldLeg)| match used.iter().find(|used| used.account == leg.account)
    {
        Some(used) => action_of(leg, Some((amount_used_of_leg(legs, index, used.amount), used))),
        None => action_of(leg, None),
    };
    legs.iter().enumerate().map(action).collect()
}

/// The part of a limit's actual amount that falls to one leg. The legs of one limit are filled in order; the last one, which
/// is held longest, takes whatever is left.
fn amount_used_of_leg(legs: &[HeldLeg], index: usize, actual: u64) -> u128 {
    let same_limit = |leg: &&HeldLeg| legs.get(index).is_some_and(|this| this.account == leg.account);
    let before: u128 = legs.iter().take(index).filter(same_limit).map(|leg| leg.amount).sum();
    let left = u128::from(actual).saturating_sub(before);
    match legs.get(index) {
        Some(leg) if legs.iter().skip(index + 1).any(|later| same_limit(&later)) => left.min(leg.amount),
        Some(_) | None => left,
    }
}

/// The action for a leg of which `used` tells the amount used, if the complete names its limit.
fn action_of(leg: &HeldLeg, used: Option<(u128, &Used)>) -> LegAction {
    let (overage, actual, used) = match (leg.hold, used) {
        (Hold::Concurrency, _) => return LegAction::Release,
        (Hold::Rolling(_) | Hold::Scheduled { .. }, None) => return LegAction::Keep,
        (Hold::Rolling(overage) | Hold::Scheduled { overage, .. }, Some((actual, used))) => {
            (overage, actual, used)
        }
    };
    let is_pending = !matches!(leg.hold, Hold::Scheduled { .. });
    if actual == 0 && is_pending {
        LegAction::Release
    } else if actual < leg.amount {
        LegAction::Shrink(Shrink { to: actual, attempt: 0, closing: None, borrowed: used.borrowed })
    } else if actual > leg.amount {
        let by = actual - leg.amount;
        LegAction::ReserveOverage(Excess { by, overage, debt_account: used.debt_account, attempt: 0 })
    } else {
        LegAction::Keep
    }
}
