//! What is to become of each reservation of a lease, from what was really used.

use smallvec::SmallVec;

use crate::decide::lease::{Hold, Leg};
use crate::ledger::{AccountId, TransferId};
use crate::limit::Overage;

/// What was really used of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The limit's account.
    pub account: AccountId,
    /// How much was used.
    pub amount: u64,
    /// Where debt is recorded.
    pub debt_account: AccountId,
    /// Of a limit that lends of its future, what was borrowed: what is given back pays it back.
    pub borrowed: Option<AccountId>,
}

/// What is to become of a leg. To shrink is to keep that much of it, of what a schedule brings back even nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Keep,
    Release,
    Shrink { to: u128, attempt: u8, way: ShrinkWay, borrowed: Option<AccountId> },
    Extend { by: u128, overage: Overage, debt_account: AccountId },
    Debt { by: u128, debt_account: AccountId },
}

/// On a closed account nothing can be reserved again, so it is reopened for the length of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShrinkWay {
    Open,
    Through { closing: TransferId },
}

pub(super) fn goals_of(legs: &[Leg], used: &[Used]) -> SmallVec<[Goal; 4]> {
    let goal = |(place, leg): (usize, &Leg)| match used.iter().find(|used| used.account == leg.account) {
        Some(used) => goal_of(leg, Some((share_of(legs, place, used.amount), used))),
        None => goal_of(leg, None),
    };
    legs.iter().enumerate().map(goal).collect()
}

/// What a leg has to bear of an actual amount: the legs of one limit are filled in order, and the last one, which is held
/// for longest, bears whatever is left.
fn share_of(legs: &[Leg], place: usize, actual: u64) -> u128 {
    let same_limit = |leg: &&Leg| legs.get(place).is_some_and(|this| this.account == leg.account);
    let before: u128 = legs.iter().take(place).filter(same_limit).map(|leg| leg.amount).sum();
    let left = u128::from(actual).saturating_sub(before);
    match legs.get(place) {
        Some(leg) if legs.iter().skip(place + 1).any(|later| same_limit(&later)) => left.min(leg.amount),
        Some(_) | None => left,
    }
}

/// Of `used` the leg has to bear so much.
fn goal_of(leg: &Leg, used: Option<(u128, &Used)>) -> Goal {
    let (overage, actual, used) = match (leg.hold, used) {
        (Hold::Concurrency, _) => return Goal::Release,
        (Hold::Rolling(_) | Hold::Scheduled { .. }, None) => return Goal::Keep,
        (Hold::Rolling(overage) | Hold::Scheduled { overage, .. }, Some((actual, used))) => {
            (overage, actual, used)
        }
    };
    let is_pending = !matches!(leg.hold, Hold::Scheduled { .. });
    if actual == 0 && is_pending {
        Goal::Release
    } else if actual < leg.amount {
        Goal::Shrink { to: actual, attempt: 0, way: ShrinkWay::Open, borrowed: used.borrowed }
    } else if actual > leg.amount {
        Goal::Extend { by: actual - leg.amount, overage, debt_account: used.debt_account }
    } else {
        Goal::Keep
    }
}
