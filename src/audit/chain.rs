//! Checks the transfers of one chain that move capacity, debt and refills, in their order.

use super::accounts::{Accounts, Role};
use super::definition::Kind;
use super::ids::Ids;
use super::limits::{Limits, NewVersion};
use super::report::{Finding, Law, Report};
use super::schedule::{Clock, step_by_hand_ms};
use crate::ledger::TransferCode as Code;
use crate::ledger::raw::RawTransfer;

/// The numbers of an alert account in one era.
const ALERT_ERA: u128 = 128;

/// What the transfers of a chain so far mean for the next ones.
#[derive(Debug, Default)]
pub(super) struct ChainContext {
    /// The newest version that the chain makes.
    version: Option<NewVersion>,
    /// What the transfers of this version took from the capacity, and what they moved back from spent accounts to the limit.
    cut: u128,
    moved_back: u128,
    /// The limit whose clock was advanced, from and to which value.
    advanced: Option<(u32, Clock, Clock)>,
    refilled: u128,
    has_manual_trace: bool,
    /// The accounts that were closed or opened, and how often more closed than opened.
    closings: Vec<(u128, i32)>,
    touched: Vec<u32>,
}

/// What a check looks at.
pub(super) struct Books<'a> {
    pub(super) ids: Ids,
    pub(super) accounts: &'a mut Accounts,
    pub(super) limits: &'a mut Limits,
    pub(super) report: &'a mut Report,
}

impl Books<'_> {
    fn wrong(&mut self, law: Law, transfer: &RawTransfer, limit: Option<u32>, sentence: impl Into<String>) {
        let finding = Finding::new(law, transfer, sentence);
        let key = limit.map(|limit| self.limits.key(limit).to_owned());
        self.report.add(match key {
            Some(key) => finding.of_key(&key),
            None => finding,
        });
    }

    fn roles(&self, transfer: &RawTransfer) -> [Option<Role>; 2] {
        [transfer.debit, transfer.credit].map(|id| self.accounts.role(id))
    }
}

impl ChainContext {
    /// Begins the transfers of another version.
    pub(super) fn begin_version(&mut self, version: NewVersion, books: &mut Books<'_>, at: &RawTransfer) {
        self.end_version(books, at);
        self.touched.push(version.limit);
        (self.version, self.cut, self.moved_back) = (Some(version), 0, 0);
    }

    /// The limits whose balances the chain may have changed.
    pub(super) fn touched(&mut self) -> Vec<u32> {
        self.touched.sort_unstable();
        self.touched.dedup();
        std::mem::take(&mut self.touched)
    }

    /// Checks a transfer before its effect on the sums.
    pub(super) fn check(&mut self, transfer: &RawTransfer, code: Code, books: &mut Books<'_>) {
        if transfer.has(RawTransfer::VOID_PENDING) {
            self.note_void(transfer, code, books);
            return;
        }
        let [debit, credit] = books.roles(transfer);
        for limit in [debit, credit].into_iter().flatten().filter_map(Role::limit) {
            if self.touched.last() != Some(&limit) {
                self.touched.push(limit);
            }
        }
        if debit.is_none() || credit.is_none() {
            // It is reported as not understood.
            return;
        }
        match code {
            Code::Grant | Code::Cut => self.check_capacity_move(transfer, code, [debit, credit], books),
            Code::KeepReserved if self.version.is_none() => {
                books.wrong(
                    Law::CapacityMoves,
                    transfer,
                    None,
                    "capacity is kept reserved without a version",
                );
            }
            Code::Close => self.note_closing(transfer.debit, 1),
            Code::AdvanceClock => self.check_clock(transfer, [debit, credit], books),
            Code::Refill => self.check_refill(transfer, [debit, credit], books),
            Code::Spend | Code::SpendDeny => check_spend(transfer, credit, books),
            Code::ClearDebt => self.check_clear_debt(transfer, credit, books),
            Code::Debt | Code::Excess => {
                if !matches!((debit, credit), (Some(Role::Debt(_)), Some(Role::Operator))) {
                    books.wrong(Law::Debt, transfer, None, "debt is not on the debt account of a limit");
                }
            }
            Code::Alert => check_alert(transfer, [debit, credit], books),
            Code::KeepReserved
            | Code::Definition
            | Code::ReserveRolling
            | Code::ReserveRollingDeny
            | Code::ReserveConcurrency
            | Code::Shrink
            | Code::Overage
            | Code::Complete
            | Code::Extend
            | Code::Renew
            | Code::Release
            | Code::Borrow
            | Code::Repay
            | Code::Measure
            | Code::Allow
            | Code::Allot
            | Code::Pass
            | Code::Announce
            | Code::AnnounceUrl => {
                if let [Some(Role::Debt(limit)), _] | [_, Some(Role::Debt(limit))] = [debit, credit]
                    && transfer.amount > 0
                {
                    books.wrong(Law::Debt, transfer, Some(limit), "a transfer that is no debt moves debt");
                }
            }
        }
    }

    fn note_void(&mut self, transfer: &RawTransfer, code: Code, books: &Books<'_>) {
        let Some(live) = books.accounts.live(transfer.pending_id) else { return };
        let account = live.debit;
        self.touched.extend(books.accounts.role(account).and_then(Role::limit));
        if code == Code::Close {
            self.note_closing(account, -1);
        }
    }

    fn note_closing(&mut self, account: u128, change: i32) {
        match self.closings.iter_mut().find(|(other, _)| *other == account) {
            Some((_, sum)) => *sum += change,
            None => self.closings.push((account, change)),
        }
    }

    fn check_capacity_move(
        &mut self,
        transfer: &RawTransfer,
        code: Code,
        roles: [Option<Role>; 2],
        books: &mut Books<'_>,
    ) {
        let is_cut = code == Code::Cut;
        let ((true, [Some(Role::Limit(moved)), Some(Role::Operator)])
        | (false, [Some(Role::Operator), Some(Role::Limit(moved))])) = (is_cut, roles)
        else {
            let sentence = "capacity moves between accounts that hold none";
            books.wrong(Law::CapacityMoves, transfer, None, sentence);
            return;
        };
        let Some(version) = &self.version else {
            books.wrong(Law::CapacityMoves, transfer, Some(moved), "capacity moves without a version");
            return;
        };
        if version.limit == moved {
            self.cut += if is_cut { transfer.amount } else { 0 };
            return;
        }
        let instance = version.limit;
        if transfer.amount != 1 {
            let sentence = "capacity of a limit moves in a version of another limit";
            books.wrong(Law::CapacityMoves, transfer, Some(moved), sentence);
            return;
        }
        let counted_at = books.limits.get(instance).and_then(|limit| limit.counted_at);
        let expected = if is_cut { None } else { Some(moved) };
        if counted_at != expected {
            let sentence = format!(
                "the instance {} is {}",
                books.limits.key(instance),
                if is_cut { "counted a second time" } else { "not counted by the template that it leaves" }
            );
            books.wrong(Law::Instances, transfer, Some(moved), sentence);
        }
        if let Some(limit) = books.limits.get_mut(instance) {
            limit.counted_at = is_cut.then_some(moved);
        }
        if let Some(template) = books.limits.get_mut(moved) {
            let count = template.instances;
            template.instances = if is_cut { count + 1 } else { count.saturating_sub(1) };
        }
    }

    fn check_clock(&mut self, transfer: &RawTransfer, roles: [Option<Role>; 2], books: &mut Books<'_>) {
        let (limit, account) = match roles {
            [Some(Role::Operator), Some(Role::Clock(limit))] => (limit, transfer.credit),
            [Some(Role::Clock(limit)), Some(Role::Operator)] => {
                self.check_phase(transfer, limit, books);
                return;
            }
            [_, _] => {
                books.wrong(Law::Refills, transfer, None, "an advance of a clock is not on a clock");
                return;
            }
        };
        let from = Clock::of(&books.accounts.sums(account));
        let to = Clock { refilled_to: from.refilled_to.saturating_add(transfer.amount), ..from };
        let replaced = self.version.as_ref().and_then(|version| version.replaced.as_ref());
        // A version settles the rate of the schedule that it replaces.
        let schedule = replaced.map(|(schedule, _)| schedule);
        let schedule = schedule.or_else(|| books.limits.get(limit).and_then(|limit| limit.schedule.as_ref()));
        let may_advance =
            schedule.is_some_and(|schedule| schedule.may_advance(from, to, transfer.timestamp_ns));
        if !may_advance {
            let sentence = "the refill clock is ahead of the ledger's time, or a window ends early";
            books.wrong(Law::Refills, transfer, Some(limit), sentence);
        }
        (self.advanced, self.refilled) = (Some((limit, from, to)), 0);
    }

    /// A phase is the moment up to which the same chain has advanced the clock. Of a window that is refilled on request, it counts the
    /// steps that have ended.
    fn check_phase(&mut self, transfer: &RawTransfer, limit: u32, books: &mut Books<'_>) {
        let before = Clock::of(&books.accounts.sums(transfer.debit));
        let phase = before.phase.saturating_add(transfer.amount);
        let is_advanced = self.advanced.is_some_and(|(of, _, _)| of == limit);
        let schedule = books.limits.get(limit).and_then(|limit| limit.schedule.as_ref());
        let is_counted = schedule.is_some_and(|schedule| step_by_hand_ms(schedule.kind).is_some());
        let expected = if is_counted { before.phase.saturating_add(1) } else { before.refilled_to };
        if !is_advanced || phase != expected {
            let sentence = "the refills of a bucket count from another moment than its clock shows";
            books.wrong(Law::Refills, transfer, Some(limit), sentence);
        }
    }

    fn check_refill(&mut self, transfer: &RawTransfer, roles: [Option<Role>; 2], books: &mut Books<'_>) {
        let (limit, index, into_limit) = match roles {
            [Some(Role::Operator), Some(Role::Log)] if transfer.amount == 0 => {
                self.has_manual_trace = true;
                return;
            }
            [Some(Role::Spent { limit, index, .. }), Some(Role::Limit(of))] if limit == of => {
                (limit, index, true)
            }
            [Some(Role::Spent { limit, index, .. }), Some(Role::Spent { limit: of, .. })] if limit == of => {
                (limit, index, false)
            }
            [_, _] => {
                books.wrong(
                    Law::Refills,
                    transfer,
                    None,
                    "a refill moves between accounts of different limits",
                );
                return;
            }
        };
        if self.version.as_ref().is_some_and(|version| version.limit == limit) {
            self.moved_back += if into_limit { transfer.amount } else { 0 };
            return;
        }
        let Some(schedule) = books.limits.get(limit).and_then(|limit| limit.schedule.clone()) else {
            books.wrong(Law::Refills, transfer, Some(limit), "a limit without a schedule is refilled");
            return;
        };
        let advanced = self.advanced.filter(|(of, _, _)| *of == limit);
        let sentence = match advanced {
            None if self.has_manual_trace && schedule.is_bucket() && into_limit => None,
            None => Some("a refill has no trace that makes it once"),
            Some((_, from, to)) => {
                self.refilled = self.refilled.saturating_add(transfer.amount);
                match schedule.refilled_between(from, to) {
                    Some(due) if self.refilled > due => Some("a refill adds more than is due"),
                    None if transfer.amount > 0 && schedule.steps_between(from, to) == 0 => {
                        Some("a window is refilled before its step has ended")
                    }
                    None if transfer.amount > 0 && schedule.keeps(index, from, to) => {
                        Some("a window is refilled with what was spent in it")
                    }
                    Some(_) | None => None,
                }
            }
        };
        if let Some(sentence) = sentence {
            books.wrong(Law::Refills, transfer, Some(limit), sentence);
        }
    }

    fn check_clear_debt(&mut self, transfer: &RawTransfer, credit: Option<Role>, books: &mut Books<'_>) {
        let owed = -books.accounts.sums(transfer.credit).posted();
        let limit = credit.and_then(Role::limit);
        let is_of_version = self.version.as_ref().map(|version| version.limit) == limit && limit.is_some();
        if !is_of_version {
            books.wrong(Law::Debt, transfer, limit, "debt is cleared without a version of the limit");
        } else if i128::try_from(transfer.amount).ok() != Some(owed) {
            let sentence = format!("{} of debt are cleared, but {owed} are owed", transfer.amount);
            books.wrong(Law::Debt, transfer, limit, sentence);
        }
    }

    /// Checks what the transfers of a version moved in total.
    fn end_version(&mut self, books: &mut Books<'_>, last: &RawTransfer) {
        let Some(version) = self.version.take() else { return };
        let has_schedule = books.limits.get(version.limit).is_some_and(|limit| limit.schedule.is_some());
        if version.starts_schedule && !has_schedule {
            // The limit itself takes over what was spent.
            return;
        }
        let earned = version.replaced.as_ref().map_or(0, |(schedule, clock)| {
            let advanced = self.advanced.filter(|(limit, _, _)| *limit == version.limit);
            let (from, to) = advanced.map_or((*clock, *clock), |(_, from, to)| (from, to));
            match schedule.kind {
                Kind::Bucket { .. } => {
                    let whole = schedule.refilled_between(from, to).unwrap_or(0);
                    whole.saturating_add(schedule.earned_of_step(to))
                }
                Kind::FixedWindow { .. }
                | Kind::SlidingWindow { .. }
                | Kind::Calendar
                | Kind::Rolling { .. }
                | Kind::Concurrency { .. } => 0,
            }
        });
        if self.moved_back > earned.saturating_add(self.cut) {
            let sentence = format!(
                "a version moves {} back from spent accounts, but the replaced rate has earned {earned} and the version cuts {}",
                self.moved_back, self.cut
            );
            books.wrong(Law::Refills, last, Some(version.limit), sentence);
        }
    }

    /// Checks the chain as a whole, behind its last transfer.
    pub(super) fn end(&mut self, books: &mut Books<'_>, last: &RawTransfer) {
        let makes_version = self.version.is_some();
        self.end_version(books, last);
        if !makes_version {
            for &(account, _) in self.closings.iter().filter(|(_, change)| *change != 0) {
                let Some(role) = books.accounts.role(account) else { continue };
                let limit = role.limit();
                let sentence = "an account is closed or opened for good without a version";
                books.wrong(Law::Closed, last, limit, sentence);
            }
        }
        for account in [books.ids.measure(), books.ids.allowance()] {
            if books.accounts.sums(account).posted() != 0 {
                books.wrong(Law::Measures, last, None, "a chain leaves something on a shared account");
            }
        }
    }
}

/// Checks a step of an alert account: its id is that of the number that it leaves, and the new number has a level in percent.
fn check_alert(transfer: &RawTransfer, roles: [Option<Role>; 2], books: &mut Books<'_>) {
    let [Some(Role::Operator), Some(Role::Alert(limit))] = roles else {
        books.wrong(Law::Alerts, transfer, None, "a step of an alert account is not on one");
        return;
    };
    let number = books.accounts.sums(transfer.credit).credits_posted;
    if transfer.id != books.ids.alert_step(transfer.credit, number) {
        let sentence = "a step of an alert account has an id that does not keep others from making it";
        books.wrong(Law::Alerts, transfer, Some(limit), sentence);
    }
    let level = number.saturating_add(transfer.amount) % ALERT_ERA;
    if transfer.amount == 0 || level > 100 {
        let sentence = format!("a step of an alert account leads to a level of {level} percent");
        books.wrong(Law::Alerts, transfer, Some(limit), sentence);
    }
}

/// Checks where a reservation on a window is kept.
fn check_spend(transfer: &RawTransfer, credit: Option<Role>, books: &mut Books<'_>) {
    let Some(Role::Spent { limit, since_version, index }) = credit else {
        books.wrong(Law::Refills, transfer, None, "a reservation is not kept on a spent account");
        return;
    };
    let schedule = books.limits.get(limit).and_then(|limit| limit.schedule.as_ref());
    let schedule = schedule.filter(|schedule| schedule.since_version == since_version);
    let is_kept =
        schedule.is_some_and(|schedule| schedule.may_spend(index, transfer.long, transfer.timestamp_ns));
    if !is_kept {
        let sentence = "a reservation is kept on the spent account of another step or schedule";
        books.wrong(Law::Refills, transfer, Some(limit), sentence);
    }
}
