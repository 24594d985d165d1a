//! The chain of a settlement: a step for each transfer, from the actions of the lease's legs.

use smallvec::SmallVec;

use super::Settlement;
use super::leg_action::{Exceed, LegAction, Shrink};
use crate::decide::allowance::owes_at_most;
use crate::decide::ids::Purpose;
use crate::decide::lease::{HeldLeg, Hold};
use crate::decide::refill::{reopen_and_close, repay};
use crate::decide::reservation_ahead::narrow;
use crate::ledger::{
    AccountId, Bound, Chain, LedgerError, Movement, Transfer, TransferCode, TransferId, UserData,
};
use crate::limit::Overage;

/// One transfer of the chain, and the leg that it belongs to (the marker belongs to none; its leg is 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) kind: StepKind,
    pub(super) leg: usize,
}

/// The transfers that a settlement is made of.
///
/// | step | moves | id | code |
/// | --- | --- | --- | --- |
/// | `Marker` | nothing, as the guard | guard | `Complete` |
/// | `Void` | releases a pending reservation | void; guard at the head | of the reservation |
/// | `Reopen` | voids the closing transfer | of the closing transfer | `Close` |
/// | `ReserveRemainder` | reserves what was used | shrink, attempt | `Shrink` |
/// | `ReserveOverage` | reserves the overage that fits | overage, attempt | `Overage` |
/// | `ReleaseUnused` | spent -> limit, what was not used | shrink, attempt | `Release` |
/// | `BoundOwed` | what is owed, if it is not more than was read, to the allowance and back | bound, attempt | `Allow`, `Measure` |
/// | `Repay` | limit -> borrowed | repay, attempt | `Repay` |
/// | `CloseAgain` | closes the account again | of the closing transfer | `Close` |
/// | `RecordDebt` | debt -> operator | debt | `Debt` |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepKind {
    Marker,
    Void,
    Reopen,
    ReserveRemainder,
    ReserveOverage,
    ReleaseUnused,
    BoundOwed,
    Repay,
    CloseAgain,
    RecordDebt,
}

/// The chain while it is built.
struct Steps {
    steps: SmallVec<[Step; 8]>,
    transfers: Vec<Transfer>,
}

impl Steps {
    /// Has room for a guard and for the transfers of these actions on open accounts.
    fn for_actions(actions: &[LegAction]) -> Self {
        let transfers_of = |action: &LegAction| match action {
            LegAction::Keep => 0,
            LegAction::Release => 1,
            LegAction::Shrink(_) | LegAction::Exceed(_) => 2,
        };
        let transfers = 1 + actions.iter().map(transfers_of).sum::<usize>();
        Self { steps: SmallVec::new(), transfers: Vec::with_capacity(transfers) }
    }

    fn push(&mut self, kind: StepKind, leg: usize, transfer: Transfer) {
        self.steps.push(Step { kind, leg });
        self.transfers.push(transfer);
    }
}

impl Settlement {
    /// The chain that settles the lease at `now_ns`.
    pub(super) fn plan(&mut self, now_ns: u64) -> Result<Chain, LedgerError> {
        let guard = self.guard_leg();
        let mut steps = Steps::for_actions(&self.actions);
        match guard {
            Some(leg) => steps.push(StepKind::Void, leg, self.void(leg, self.guard_id())?),
            None => steps.push(StepKind::Marker, 0, self.marker()),
        }
        for leg in (0..self.actions.len()).filter(|&leg| Some(leg) != guard) {
            self.plan_leg(leg, now_ns, &mut steps)?;
        }
        self.sent = steps.steps;
        Chain::from_vec(steps.transfers)
            .ok_or_else(|| LedgerError::Unexpected("a settlement without transfers".to_owned()))
    }

    /// The leg whose void is the guard: the first concurrency reservation that is released.
    fn guard_leg(&self) -> Option<usize> {
        let releases_slot = |(action, leg): (&LegAction, &HeldLeg)| {
            *action == LegAction::Release && leg.hold == Hold::Concurrency
        };
        self.actions.iter().zip(&self.lease.legs).position(releases_slot)
    }

    fn plan_leg(&self, leg: usize, now_ns: u64, steps: &mut Steps) -> Result<(), LedgerError> {
        let held = self.leg(leg)?;
        match (self.action(leg)?, held.remaining_seconds(now_ns)) {
            (LegAction::Keep, _) | (LegAction::Shrink(_), None) => {}
            (LegAction::Release, _) => steps.push(StepKind::Void, leg, self.void(leg, self.void_id(leg))?),
            (LegAction::Shrink(shrink), Some(seconds)) => self.plan_shrink(leg, shrink, seconds, steps)?,
            (LegAction::Exceed(exceed), seconds) => self.plan_exceed(leg, exceed, seconds, steps)?,
        }
        Ok(())
    }

    /// Reserves the part of the overage that fits, and posts the rest as debt if the limit says so.
    fn plan_exceed(
        &self,
        leg: usize,
        exceed: Exceed,
        remaining_seconds: Option<u32>,
        steps: &mut Steps,
    ) -> Result<(), LedgerError> {
        // Nothing more can be reserved for a leg that has expired.
        if let Some(seconds) = remaining_seconds
            && exceed.reserved > 0
        {
            let id = self.lease_ids.transfer(Purpose::Overage, exceed.attempt, leg);
            let (code, amount) = (TransferCode::Overage, exceed.reserved);
            let transfer = self.reserve(self.leg(leg)?, id, code, amount, seconds);
            steps.push(StepKind::ReserveOverage, leg, transfer);
        }
        if exceed.unreserved > 0 && exceed.overage == Overage::Debt {
            let movement = Movement::Post {
                debit: exceed.debt_account,
                credit: self.ids.operator(),
                amount: exceed.unreserved,
            };
            let id = self.lease_ids.transfer(Purpose::Debt, 0, leg);
            steps.push(StepKind::RecordDebt, leg, self.transfer(id, TransferCode::Debt, movement));
        }
        Ok(())
    }

    /// Reduces a leg to what was used. A pending reservation is voided and a smaller one made. On a limit with a
    /// schedule, the unused part of what was spent is released, as far as no refill has refilled it already.
    fn plan_shrink(
        &self,
        leg: usize,
        shrink: Shrink,
        remaining_seconds: u32,
        steps: &mut Steps,
    ) -> Result<(), LedgerError> {
        let Shrink { to, attempt, closing, .. } = shrink;
        let held = self.leg(leg)?;
        // A closed account refuses reservations, so the chain opens it and closes it again.
        let around = closing.map(|closing| {
            let closing = self.closing_after(held.account, closing, &steps.steps);
            reopen_and_close(self.ids, held.account, closing)
        });
        if let Some([reopen, _]) = around {
            steps.push(StepKind::Reopen, leg, reopen);
        }
        match held.hold {
            Hold::Scheduled { spent, .. } => self.plan_release(leg, shrink, spent, steps)?,
            Hold::Rolling(_) | Hold::Concurrency => {
                let id = self.lease_ids.transfer(Purpose::Shrink, attempt, leg);
                steps.push(StepKind::Void, leg, self.void(leg, self.void_id(leg))?);
                let remainder = self.reserve(held, id, TransferCode::Shrink, to, remaining_seconds);
                steps.push(StepKind::ReserveRemainder, leg, remainder);
            }
        }
        if let Some([_, close]) = around {
            steps.push(StepKind::CloseAgain, leg, close);
        }
        Ok(())
    }

    /// Moves what is released of a leg on a limit with a schedule, and repays borrowed tokens.
    fn plan_release(
        &self,
        leg: usize,
        shrink: Shrink,
        spent: AccountId,
        steps: &mut Steps,
    ) -> Result<(), LedgerError> {
        let held = self.leg(leg)?;
        let Shrink { to, attempt, borrowed, behind, .. } = shrink;
        let releases = shrink.releases(held.amount);
        let (debit, credit, bound) = (spent, held.account, Bound::DebitBalance);
        let movement = Movement::PostUpTo { debit, credit, amount: releases, bound };
        let id = self.lease_ids.transfer(Purpose::Shrink, attempt, leg);
        let mut release = self.transfer(id, TransferCode::Release, movement);
        if behind.is_some() {
            release.user_data.long = narrow(held.amount.saturating_sub(to));
        }
        steps.push(StepKind::ReleaseUnused, leg, release);
        let Some(borrowed) = borrowed else { return Ok(()) };
        if let Some(behind) = behind.filter(|_| releases > 0) {
            let id = |nth| self.lease_ids.transfer(Purpose::Bound, attempt, nth);
            for transfer in owes_at_most(self.ids, borrowed, behind.owed, id) {
                steps.push(StepKind::BoundOwed, leg, transfer);
            }
        }
        let id = self.lease_ids.transfer(Purpose::Repay, attempt, leg);
        steps.push(StepKind::Repay, leg, repay(id, held.account, borrowed));
        Ok(())
    }

    fn marker(&self) -> Transfer {
        let movement = Movement::Post { debit: self.ids.operator(), credit: self.ids.registry(), amount: 0 };
        self.transfer(self.guard_id(), TransferCode::Complete, movement)
    }

    fn guard_id(&self) -> TransferId {
        self.lease_ids.transfer(Purpose::Guard, 0, self.lease.guards_taken)
    }

    fn void_id(&self, leg: usize) -> TransferId {
        self.lease_ids.transfer(Purpose::Void, 0, leg)
    }

    fn void(&self, leg: usize, id: TransferId) -> Result<Transfer, LedgerError> {
        let held = self.leg(leg)?;
        Ok(self.transfer(id, held.hold.code(), Movement::Void { pending: held.transfer }))
    }

    /// Reserves on the limit of a leg, for the rest of the leg's time.
    fn reserve(
        &self,
        held: &HeldLeg,
        id: TransferId,
        code: TransferCode,
        amount: u128,
        timeout_seconds: u32,
    ) -> Transfer {
        let debit = held.account;
        let movement = match held.hold {
            Hold::Scheduled { spent, .. } => Movement::Post { debit, credit: spent, amount },
            Hold::Rolling(_) | Hold::Concurrency => {
                Movement::Pend { debit, credit: self.ids.operator(), amount, timeout_seconds }
            }
        };
        self.transfer(id, code, movement)
    }

    /// The transfer that holds an account closed at this point of the chain: earlier legs of the same limit have reopened the
    /// account and closed it again.
    fn closing_after(&self, account: AccountId, closing: TransferId, steps: &[Step]) -> TransferId {
        let reopens = |step: &&Step| {
            step.kind == StepKind::Reopen
                && self.lease.legs.get(step.leg).is_some_and(|other| other.account == account)
        };
        steps.iter().filter(reopens).fold(closing, |closing, _| self.ids.close_again(closing))
    }

    fn transfer(&self, id: TransferId, code: TransferCode, movement: Movement) -> Transfer {
        let user_data = UserData { wide: self.lease.id.as_u128(), ..UserData::default() };
        Transfer { id, code, user_data, movement }
    }
}
