//! What a complete does with each leg of a lease, from the amounts used.

use smallvec::SmallVec;

use crate::decide::ids::ATTEMPTS_MAX;
use crate::decide::lease::{HeldLeg, Hold};
use crate::ledger::{AccountId, TransferId};
use crate::limit::Overage;

/// The amount used of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The accounts of the limit that the lease holds: more than one if it was extended after the limit got a new account. If
    /// it holds none, the limit's present account.
    pub accounts: SmallVec<[AccountId; 1]>,
    /// The amount used, in units of the limit.
    pub amount: u64,
    /// The account that records the limit's debt.
    pub debt_account: AccountId,
    /// The account of borrowed tokens, if the limit's kind lends: what the complete releases repays them.
    pub borrowed: Option<AccountId>,
    /// Whether the limit's definition is known. Without it nothing is repaid.
    pub is_known: bool,
}

impl Used {
    /// Whether the limit has or had this account.
    pub(crate) fn is_of(&self, account: AccountId) -> bool {
        self.accounts.contains(&account)
    }
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
    /// More was used than reserved.
    Exceed(Exceed),
}

impl LegAction {
    /// The same under the ids of the next attempt; `None` if there is none.
    pub(super) fn next_attempt(self) -> Option<Self> {
        let next = |attempt: u8| Some(attempt + 1).filter(|&attempt| attempt < ATTEMPTS_MAX);
        match self {
            Self::Shrink(shrink) => Some(Self::Shrink(Shrink { attempt: next(shrink.attempt)?, ..shrink })),
            Self::Exceed(exceed) => Some(Self::Exceed(Exceed { attempt: next(exceed.attempt)?, ..exceed })),
            Self::Keep | Self::Release => None,
        }
    }
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
    /// What was reserved behind it, once that is known. Only of a reservation ahead.
    pub(super) behind: Option<Behind>,
}

/// What later reservations ahead borrowed behind one that is to be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    /// What the bucket owed when this was read. If it owes more by now, this is out of date.
    pub(crate) owed: u64,
    /// The part of it that refills will repay after the date to act of the reservation.
    pub(crate) tokens: u128,
}

impl Behind {
    /// As if everything had been reserved behind it: nothing is released.
    pub(super) const EVERYTHING: Self = Self { owed: u64::MAX, tokens: u128::MAX };
}

impl Shrink {
    /// The amount that is released of a leg of this amount: what was not used, without what was reserved behind it.
    /// Callers who reserved behind it were told when they may act. Tokens that are released before would be used
    /// twice at that moment.
    pub(super) fn releases(self, amount: u128) -> u128 {
        let unused = amount.saturating_sub(self.to);
        unused.saturating_sub(self.behind.map_or(0, |behind| behind.tokens))
    }
}

/// Usage above the reservation of a leg. What fits is reserved in addition; the rest is debt, or only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exceed {
    /// The part that is reserved.
    pub(super) reserved: u128,
    /// The part that finds no room.
    pub(super) unreserved: u128,
    /// Counts the attempts to reserve: a refused transfer uses its id up.
    pub(super) attempt: u8,
    /// What happens to the part without room.
    pub(super) overage: Overage,
    /// The account that records the limit's debt.
    pub(super) debt_account: AccountId,
}

impl Exceed {
    /// The same usage, of which at most `room` fits.
    pub(super) fn within(self, room: u128) -> Self {
        let total = self.reserved.saturating_add(self.unreserved);
        let reserved = total.min(room);
        Self { reserved, unreserved: total - reserved, ..self }
    }
}

/// The action for each leg, in the order of the legs.
pub(super) fn actions_of(legs: &[HeldLeg], used: &[Used]) -> SmallVec<[LegAction; 4]> {
    let action = |(index, leg): (usize, &HeldLeg)| {
        let used = used.iter().find(|used| used.is_of(leg.account));
        action_of(leg, used.map(|used| (amount_used_of_leg(legs, index, used), used)))
    };
    legs.iter().enumerate().map(action).collect()
}

/// The part of a limit's actual amount that falls to one leg. The legs of one limit are filled in order; the last one, which
/// is held longest, takes whatever is left.
fn amount_used_of_leg(legs: &[HeldLeg], index: usize, used: &Used) -> u128 {
    let same_limit = |leg: &&HeldLeg| used.is_of(leg.account);
    let before: u128 = legs.iter().take(index).filter(same_limit).map(HeldLeg::taken).sum();
    let left = u128::from(used.amount).saturating_sub(before);
    match legs.get(index) {
        Some(leg) if legs.iter().skip(index + 1).any(|later| same_limit(&later)) => left.min(leg.taken()),
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
        let (closing, borrowed, behind) = (None, used.borrowed, None);
        LegAction::Shrink(Shrink { to: actual, attempt: 0, closing, borrowed, behind })
    } else if actual > leg.taken() {
        LegAction::Exceed(Exceed {
            reserved: actual - leg.taken(),
            unreserved: 0,
            attempt: 0,
            overage,
            debt_account: used.debt_account,
        })
    } else {
        // Excess that was not used stays debt: it was taken from nobody.
        LegAction::Keep
    }
}
