//! The chain of a settlement, from the goals of its legs.

use smallvec::SmallVec;

use super::Settlement;
use super::goals::{Goal, ShrinkWay};
use crate::decide::ids::Purpose;
use crate::decide::lease::{Hold, Leg};
use crate::decide::schedule::{around_closed, repay};
use crate::ledger::{
    AccountId, Bound, Chain, LedgerError, Movement, Transfer, TransferCode, TransferId, UserData,
};

/// Which transfer of the chain stands at an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Marker,
    Void { leg: usize },
    Reopen { leg: usize },
    Reserve { leg: usize },
    GiveBack { leg: usize },
    Repay { leg: usize },
    CloseAgain { leg: usize },
    Debt { leg: usize },
}

/// The chain as it is put together.
struct Steps {
    roles: SmallVec<[Role; 8]>,
    transfers: Vec<Transfer>,
}

impl Steps {
    /// With room for a guard and for what these goals take, unless an account is closed.
    fn for_goals(goals: &[Goal]) -> Self {
        let steps_of = |goal: &Goal| match goal {
            Goal::Keep => 0,
            Goal::Release | Goal::Extend { .. } | Goal::Debt { .. } => 1,
            Goal::Shrink { .. } => 2,
        };
        let steps = 1 + goals.iter().map(steps_of).sum::<usize>();
        Self { roles: SmallVec::new(), transfers: Vec::with_capacity(steps) }
    }

    fn push(&mut self, (role, transfer): (Role, Transfer)) {
        self.roles.push(role);
        self.transfers.push(transfer);
    }

    fn extend(&mut self, steps: impl IntoIterator<Item = (Role, Transfer)>) {
        steps.into_iter().for_each(|step| self.push(step));
    }
}

impl Settlement {
    pub(super) fn plan(&mut self, now_ns: u64) -> Result<Chain, LedgerError> {
        self.exceed_expired(now_ns)?;
        let guard = self.guard();
        let mut steps = Steps::for_goals(&self.goals);
        steps.push(self.guard_step(guard)?);
        for leg in (0..self.goals.len()).filter(|&leg| Some(leg) != guard) {
            self.plan_leg(leg, now_ns, &mut steps)?;
        }
        self.sent = steps.roles;
        Chain::from_vec(steps.transfers)
            .ok_or_else(|| LedgerError::Unexpected("a settlement without transfers".to_owned()))
    }

    /// The leg whose void heads the chain, if there is one.
    pub(super) fn guard(&self) -> Option<usize> {
        let releases = |(goal, leg): (&Goal, &Leg)| *goal == Goal::Release && leg.hold == Hold::Concurrency;
        self.goals.iter().zip(&self.lease.legs).position(releases)
    }

    fn plan_leg(&self, leg: usize, now_ns: u64, steps: &mut Steps) -> Result<(), LedgerError> {
        let reservation = self.leg(leg)?;
        let remaining_seconds = reservation.remaining_seconds(now_ns);
        match (self.goal(leg)?, remaining_seconds) {
            (Goal::Keep, _) | (Goal::Extend { .. } | Goal::Shrink { .. }, None) => {}
            (Goal::Release, _) => steps.push(self.void(leg)?),
            (Goal::Shrink { to, attempt, way, borrowed }, Some(seconds)) => {
                let around = match way {
                    ShrinkWay::Open => None,
                    ShrinkWay::Through { closing } => {
                        let closing = self.closed_again(leg, closing, &steps.roles)?;
                        Some(around_closed(self.ids, reservation.account, closing))
                    }
                };
                if let Some([open, _]) = around {
                    steps.push((Role::Reopen { leg }, open));
                }
                match reservation.hold {
                    Hold::Scheduled { spent, .. } => {
                        steps.push(self.give_back(leg, attempt, to, spent)?);
                        steps.extend(self.repay(leg, attempt, borrowed)?);
                    }
                    Hold::Rolling(_) | Hold::Concurrency => {
                        steps.push(self.void(leg)?);
                        steps.push(self.reserve(leg, Purpose::Shrink, attempt, to, seconds)?);
                    }
                }
                if let Some([_, close]) = around {
                    steps.push((Role::CloseAgain { leg }, close));
                }
            }
            (Goal::Extend { by, .. }, Some(seconds)) => {
                steps.push(self.reserve(leg, Purpose::Extend, 0, by, seconds)?);
            }
            (Goal::Debt { by, debt_account }, _) => {
                let movement =
                    Movement::Post { debit: debt_account, credit: self.ids.operator(), amount: by };
                let id = self.lease_ids.transfer(Purpose::Debt, 0, leg);
                steps.push((Role::Debt { leg }, self.transfer(id, TransferCode::Debt, movement)));
            }
        }
        Ok(())
    }

    /// What heads the chain: the void of a leg, or a marker.
    pub(super) fn guard_step(&self, leg: Option<usize>) -> Result<(Role, Transfer), LedgerError> {
        if let Some(leg) = leg {
            return self.void_as(leg, self.guard_id());
        }
        let movement = Movement::Post { debit: self.ids.operator(), credit: self.ids.registry(), amount: 0 };
        Ok((Role::Marker, self.transfer(self.guard_id(), TransferCode::Complete, movement)))
    }

    fn guard_id(&self) -> TransferId {
        self.lease_ids.transfer(Purpose::Guard, 0, self.lease.top_ups)
    }

    pub(super) fn void(&self, leg: usize) -> Result<(Role, Transfer), LedgerError> {
        self.void_as(leg, self.lease_ids.transfer(Purpose::Void, 0, leg))
    }

    fn void_as(&self, leg: usize, id: TransferId) -> Result<(Role, Transfer), LedgerError> {
        let reservation = self.leg(leg)?;
        let code = reservation.hold.code();
        let movement = Movement::Void { pending: reservation.transfer };
        Ok((Role::Void { leg }, self.transfer(id, code, movement)))
    }

    fn reserve(
        &self,
        leg: usize,
        purpose: Purpose,
        attempt: u8,
        amount: u128,
        timeout_seconds: u32,
    ) -> Result<(Role, Transfer), LedgerError> {
        let code = if purpose == Purpose::Extend { TransferCode::Extend } else { TransferCode::Shrink };
        let reservation = self.leg(leg)?;
        let debit = reservation.account;
        let movement = match reservation.hold {
            Hold::Scheduled { spent, .. } => Movement::Post { debit, credit: spent, amount },
            Hold::Rolling(_) | Hold::Concurrency => {
                Movement::Pend { debit, credit: self.ids.operator(), amount, timeout_seconds }
            }
        };
        let id = self.lease_ids.transfer(purpose, attempt, leg);
        Ok((Role::Reserve { leg }, self.transfer(id, code, movement)))
    }

    /// What holds a leg's account closed, after earlier legs of the chain have opened it and closed it again.
    fn closed_again(
        &self,
        leg: usize,
        closing: TransferId,
        roles: &[Role],
    ) -> Result<TransferId, LedgerError> {
        let account = self.leg(leg)?.account;
        let opened = roles.iter().filter(|role| match **role {
            Role::Reopen { leg } => self.lease.legs.get(leg).is_some_and(|other| other.account == account),
            Role::Marker
            | Role::Void { .. }
            | Role::Reserve { .. }
            | Role::GiveBack { .. }
            | Role::CloseAgain { .. }
            | Role::Repay { .. }
            | Role::Debt { .. } => false,
        });
        Ok(opened.fold(closing, |closing, _| self.ids.close_again(closing)))
    }

    /// Moves what was not used of a leg back to its limit, unless that has come back by itself.
    pub(super) fn give_back(
        &self,
        leg: usize,
        attempt: u8,
        used: u128,
        spent: AccountId,
    ) -> Result<(Role, Transfer), LedgerError> {
        let reservation = self.leg(leg)?;
        let amount = reservation.amount.saturating_sub(used);
        let (credit, bound) = (reservation.account, Bound::Has);
        let movement = Movement::PostUpTo { debit: spent, credit, amount, bound };
        let id = self.lease_ids.transfer(Purpose::Shrink, attempt, leg);
        Ok((Role::GiveBack { leg }, self.transfer(id, TransferCode::GiveBack, movement)))
    }

    /// Pays back what was borrowed of the leg's limit, out of what was given back.
    pub(super) fn repay(
        &self,
        leg: usize,
        attempt: u8,
        borrowed: Option<AccountId>,
    ) -> Result<Option<(Role, Transfer)>, LedgerError> {
        let limit = self.leg(leg)?.account;
        let id = self.lease_ids.transfer(Purpose::Repay, attempt, leg);
        Ok(borrowed.map(|borrowed| (Role::Repay { leg }, repay(id, limit, borrowed))))
    }

    fn transfer(&self, id: TransferId, code: TransferCode, movement: Movement) -> Transfer {
        let user_data = UserData { wide: self.lease.id.as_u128(), ..UserData::default() };
        Transfer { id, code, user_data, movement }
    }
}
