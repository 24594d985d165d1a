//! The chain of a definition version: its parts, and the transfers of its balance steps.

use smallvec::{SmallVec, smallvec};

use super::{BalanceStep, ChainInputs, VersionPlan};
use crate::decide::definition_codec::{self, CodecError};
use crate::decide::ids::Ids;
use crate::decide::refill::{EVERYTHING, refill_transfer, repay};
use crate::decide::replaced_account::KeptReservation;
use crate::decide::schedule::{SpendTarget, whole_ms_ns};
use crate::decide::schedule_change::{Earned, ReplacedBalances, closing_data};
use crate::ledger::{Bound, Chain, Movement, Transfer, TransferCode, TransferId, UserData};

/// What changes with the schedule that a version replaces.
#[derive(Debug, Clone, Copy)]
struct ScheduleChange {
    /// What the replaced rate has earned, if time refilled the bucket.
    earned: Option<Earned>,
    /// The value of the refill clock that was read, in ticks.
    clock: u64,
    /// From when the new steps count, in nanoseconds since the Unix epoch.
    since_ns: u64,
    /// Where the new schedule keeps what was spent; `None` without one.
    target: Option<SpendTarget>,
    /// Whether earlier leases can release their unused amounts there.
    keeps_kind: bool,
}

impl VersionPlan {
    /// What changes with the schedule that this version replaces; `None` if it replaces none.
    fn schedule_change(&self, ids: Ids, balances: ReplacedBalances, now_ns: u64) -> Option<ScheduleChange> {
        let replaced = self.replaced.as_deref()?;
        let earned = Earned::at(&replaced.schedule, balances, now_ns);
        let at_ns = earned.map_or_else(|| whole_ms_ns(now_ns), |earned| earned.at_ns);
        let next_rate = self.new_schedule(ids, at_ns).and_then(|next| next.rate());
        let since_ns = match (earned, next_rate) {
            (Some(earned), Some(rate)) => earned.since_ns(rate),
            (_, _) => at_ns,
        };
        let spent_max = u64::try_from(balances.owed).unwrap_or(u64::MAX);
        let spent_max = spent_max.saturating_add(replaced.capacity.max(self.state.definition.capacity.get()));
        let target = self.new_schedule(ids, since_ns).and_then(|next| next.spend_target(at_ns, spent_max));
        let (clock, keeps_kind) = (balances.clock.refilled_to, replaced.keeps_kind);
        Some(ScheduleChange { earned, clock, since_ns, target, keeps_kind })
    }

    /// The chain that creates this version; `None` if it reopens the account and the transfer that closed it is not known.
    pub fn chain(&self, ids: Ids, inputs: ChainInputs) -> Result<Option<Chain>, CodecError> {
        let key = &self.state.definition.key;
        // No replica follows the log of instances: an instance is read when it is first used.
        let log = if self.state.origin.is_some() { ids.instances() } else { ids.registry() };
        let mut transfers = Vec::new();
        let change = self.schedule_change(ids, inputs.replaced, inputs.now_ns);
        let since_ns = change.map(|change| change.since_ns);
        let first_since_ns = since_ns.unwrap_or_else(|| whole_ms_ns(inputs.now_ns));
        let first_window_ends_ms =
            self.new_schedule(ids, first_since_ns).and_then(|schedule| schedule.window_ends_ms());
        for part in definition_codec::encode(self.version, &self.state, since_ns, first_window_ends_ms)? {
            transfers.push(Transfer {
                id: ids.definition_part(key, self.version, part.short as u16),
                code: TransferCode::Definition,
                user_data: part,
                movement: Movement::Post { debit: log, credit: ids.debt(key), amount: 0 },
            });
        }
        let mut fresh_ids = (0..=u8::MAX).map(|nth| ids.fresh(inputs.fresh_ulid, nth));
        for &step in &self.balance_steps {
            let of_step = match (step, &change) {
                (BalanceStep::SettleRate, Some(change)) => self.settle_rate(ids, change, &mut fresh_ids),
                (step, change) => self.transfers_of(ids, step, inputs, change.as_ref(), &mut fresh_ids),
            };
            let Some(of_step) = of_step else { return Ok(None) };
            transfers.extend(of_step);
        }
        Ok(Chain::new(transfers))
    }

    /// Refills what the rate of the replaced schedule has earned, and repays with it. The trace comes first.
    fn settle_rate(
        &self,
        ids: Ids,
        change: &ScheduleChange,
        fresh_ids: &mut impl Iterator<Item = TransferId>,
    ) -> Option<SmallVec<[Transfer; 3]>> {
        let key = &self.state.definition.key;
        let (replaced, earned) = (&self.replaced.as_deref()?.schedule, change.earned?);
        // A trace that advances nothing would use up the id of the next refill.
        let advances = earned.to > change.clock;
        let trace = advances.then(|| replaced.advance_clock(ids, key, change.clock, earned.to));
        let (limit, spent) = (ids.limit_of(&self.state), *replaced.spent().first()?);
        let refill_id = fresh_ids.next()?;
        let refill = (earned.tokens > 0).then(|| refill_transfer(refill_id, spent, limit, earned.tokens));
        let repay_id = fresh_ids.next()?;
        let repayment = replaced.borrowed().filter(|_| refill.is_some());
        let repayment = repayment.map(|borrowed| repay(repay_id, limit, borrowed));
        Some(trace.into_iter().chain(refill).chain(repayment).collect())
    }

    /// The transfers of a balance step; `None` if it needs the closing transfer and that is not known. `change` is that of the
    /// schedule, if this version replaces one.
    fn transfers_of(
        &self,
        ids: Ids,
        step: BalanceStep,
        inputs: ChainInputs,
        change: Option<&ScheduleChange>,
        fresh_ids: &mut impl Iterator<Item = TransferId>,
    ) -> Option<SmallVec<[Transfer; 3]>> {
        let (operator, limit) = (ids.operator(), ids.limit_of(&self.state));
        let target = change.and_then(|change| change.target);
        let successor = target.map_or(limit, |target| target.spent);
        let releasable = target.filter(|_| change.is_some_and(|change| change.keeps_kind));
        let plain = |id, code, movement| Transfer { id, code, user_data: UserData::default(), movement };
        let close = |debit| Movement::Close { debit, credit: operator };
        let cut = |amount: u64| Movement::Post { debit: limit, credit: operator, amount: amount.into() };
        Some(match step {
            BalanceStep::Reopen => {
                let pending = inputs.closing?;
                smallvec![plain(ids.reopen(pending), TransferCode::Close, Movement::Void { pending })]
            }
            BalanceStep::CarryOver(spent) => {
                let all = Movement::PostUpTo {
                    debit: spent,
                    credit: successor,
                    amount: EVERYTHING,
                    bound: Bound::DebitBalance,
                };
                let carry_over = plain(fresh_ids.next()?, TransferCode::Refill, all);
                let close = plain(fresh_ids.next()?, TransferCode::Close, close(spent));
                smallvec![carry_over, Transfer { user_data: closing_data(releasable), ..close }]
            }
            // Only a version that replaces a schedule has this step.
            BalanceStep::SettleRate => SmallVec::new(),
            BalanceStep::WriteOff { spent, borrowed } => smallvec![repay(fresh_ids.next()?, spent, borrowed)],
            BalanceStep::Repay(borrowed) => smallvec![repay(fresh_ids.next()?, limit, borrowed)],
            BalanceStep::Grant(amount) => {
                let movement = Movement::Post { debit: operator, credit: limit, amount: amount.into() };
                smallvec![plain(fresh_ids.next()?, TransferCode::Grant, movement)]
            }
            BalanceStep::Cut(amount) => smallvec![plain(fresh_ids.next()?, TransferCode::Cut, cut(amount))],
            BalanceStep::CutSpentFirst { spent, by } => {
                let spent = spent.unwrap_or(successor);
                let refill = refill_transfer(fresh_ids.next()?, spent, limit, by);
                smallvec![refill, plain(fresh_ids.next()?, TransferCode::Cut, cut(by))]
            }
            BalanceStep::KeepReserved => {
                let Some(KeptReservation { amount, timeout_seconds }) = inputs.kept else {
                    return Some(SmallVec::new());
                };
                let movement = Movement::Pend { debit: limit, credit: operator, amount, timeout_seconds };
                smallvec![plain(fresh_ids.next()?, TransferCode::KeepReserved, movement)]
            }
            BalanceStep::Close => smallvec![plain(fresh_ids.next()?, TransferCode::Close, close(limit))],
            BalanceStep::CloseReplaced(account) => {
                smallvec![plain(fresh_ids.next()?, TransferCode::Close, close(account))]
            }
            BalanceStep::ClearDebt => {
                let movement = Movement::PostUpTo {
                    debit: operator,
                    credit: ids.debt(&self.state.definition.key),
                    amount: EVERYTHING,
                    bound: Bound::CreditOwed,
                };
                smallvec![plain(fresh_ids.next()?, TransferCode::ClearDebt, movement)]
            }
            BalanceStep::CountInstance(template) => {
                let movement = Movement::Post { debit: template, credit: operator, amount: 1 };
                smallvec![plain(fresh_ids.next()?, TransferCode::Cut, movement)]
            }
            BalanceStep::ReturnPlace(template) => {
                let movement = Movement::Post { debit: operator, credit: template, amount: 1 };
                smallvec![plain(fresh_ids.next()?, TransferCode::Grant, movement)]
            }
        })
    }
}
