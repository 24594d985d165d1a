//! The sums of every account, and the pending transfers that are live.

use std::collections::{BTreeSet, VecDeque};

use hashbrown::HashMap;

use super::report::{Finding, Law, Report};
use crate::ledger::raw::RawTransfer;
use crate::time::NS_PER_SECOND;

/// How long the ledger may take to release an expired reservation. It does so in large steps between requests.
const EXPIRY_LAG_NS: u64 = 60 * NS_PER_SECOND;

/// What an account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Operator,
    /// A log: of the versions of operators, of those of instances, or of the announcements of replicas.
    Log,
    Measure,
    Allowance,
    /// The account of a limit, by the limit's index.
    Limit(u32),
    Debt(u32),
    Spent {
        limit: u32,
        since_version: u64,
        index: u32,
    },
    Clock(u32),
    Borrowed(u32),
    Alert(u32),
}

impl Role {
    /// The index of the limit that the account belongs to.
    pub(super) fn limit(self) -> Option<u32> {
        match self {
            Self::Limit(limit)
            | Self::Debt(limit)
            | Self::Spent { limit, .. }
            | Self::Clock(limit)
            | Self::Borrowed(limit)
            | Self::Alert(limit) => Some(limit),
            Self::Operator | Self::Log | Self::Measure | Self::Allowance => None,
        }
    }

    /// Whether its debits must not exceed its credits.
    fn is_bounded(self) -> bool {
        match self {
            Self::Limit(_) | Self::Spent { .. } | Self::Allowance => true,
            Self::Operator
            | Self::Log
            | Self::Measure
            | Self::Debt(_)
            | Self::Clock(_)
            | Self::Borrowed(_)
            | Self::Alert(_) => false,
        }
    }
}

/// The sums of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    pub(super) role: Option<Role>,
    pub(super) debits_posted: u128,
    pub(super) credits_posted: u128,
    /// Of transfers that are live.
    pub(super) debits_pending: u128,
    pub(super) credits_pending: u128,
    /// The transfer that holds it closed; 0 while it is open.
    pub(super) closed_by: u128,
    /// Whether a reservation on it ever expired.
    pub(super) has_expired: bool,
}

impl Sums {
    /// Posted credits less posted debits.
    pub(super) fn posted(&self) -> i128 {
        signed(self.credits_posted) - signed(self.debits_posted)
    }

    /// The same less pending debits.
    pub(super) fn available(&self) -> i128 {
        self.posted() - signed(self.debits_pending)
    }
}

fn signed(amount: u128) -> i128 {
    i128::try_from(amount).unwrap_or(i128::MAX)
}

/// A pending transfer that was neither voided nor posted, and has not expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) debit: u128,
    pub(super) credit: u128,
    pub(super) amount: u128,
    /// When it expires, in nanoseconds; the largest number for never.
    pub(super) expires_ns: u64,
    pub(super) lease: u128,
    code: u16,
    closes: bool,
}

/// All accounts that transfers named.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    by_id: HashMap<u128, Sums>,
    live: HashMap<u128, Live>,
    expiries: BTreeSet<(u64, u128)>,
    /// What expired a short while ago: the ledger's own sums may still hold it.
    expired: VecDeque<Live>,
}

impl Accounts {
    /// Tells what an account is for.
    pub(super) fn assign(&mut self, id: u128, role: Role) {
        self.by_id.entry(id).or_default().role = Some(role);
    }

    /// Forgets what an account is for.
    pub(super) fn unassign(&mut self, id: u128) {
        self.by_id.entry(id).or_default().role = None;
    }

    pub(super) fn sums(&self, id: u128) -> Sums {
        self.by_id.get(&id).copied().unwrap_or_default()
    }

    pub(super) fn role(&self, id: u128) -> Option<Role> {
        self.by_id.get(&id)?.role
    }

    pub(super) fn live(&self, id: u128) -> Option<&Live> {
        self.live.get(&id)
    }

    /// Every live pending transfer.
    pub(super) fn all_live(&self) -> impl Iterator<Item = &Live> {
        self.live.values()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u128> {
        self.by_id.keys().copied()
    }

    /// Lets reservations expire up to a moment.
    pub(super) fn advance(&mut self, now_ns: u64) {
        while let Some(&(expires_ns, id)) = self.expiries.first()
            && expires_ns <= now_ns
        {
            self.expiries.pop_first();
            if let Some(live) = self.live.remove(&id) {
                self.end(live);
                self.by_id.entry(live.debit).or_default().has_expired = true;
                self.expired.push_back(live);
            }
        }
        while self.expired.front().is_some_and(|live| live.expires_ns.saturating_add(EXPIRY_LAG_NS) < now_ns)
        {
            self.expired.pop_front();
        }
    }

    /// Takes a live transfer's amount out of the pending sums.
    fn end(&mut self, live: Live) {
        let debit = self.by_id.entry(live.debit).or_default();
        debit.debits_pending = debit.debits_pending.saturating_sub(live.amount);
        if live.closes {
            debit.closed_by = 0;
        }
        let credit = self.by_id.entry(live.credit).or_default();
        credit.credits_pending = credit.credits_pending.saturating_sub(live.amount);
    }

    /// Applies a transfer. `amount_changed` hears of each account whose posted balance changes, and by how much.
    pub(super) fn apply(
        &mut self,
        transfer: &RawTransfer,
        report: &mut Report,
        mut posted: impl FnMut(Option<Role>, i128),
    ) {
        let &RawTransfer { id, debit, credit, amount, timestamp_ns, .. } = transfer;
        if transfer.has(RawTransfer::VOID_PENDING) || transfer.has(RawTransfer::POST_PENDING) {
            let Some(live) = self.take(transfer, report) else { return };
            self.end(live);
            if transfer.has(RawTransfer::POST_PENDING) {
                self.post(live.debit, live.credit, amount.min(live.amount), &mut posted);
            }
            return;
        }
        self.check_open(transfer, report);
        if transfer.has(RawTransfer::PENDING) {
            let timeout_ns = u64::from(transfer.timeout_seconds) * NS_PER_SECOND;
            let expires_ns = if timeout_ns == 0 { u64::MAX } else { timestamp_ns.saturating_add(timeout_ns) };
            let closes = transfer.has(RawTransfer::CLOSING_DEBIT);
            let (lease, code) = (transfer.wide, transfer.code);
            self.live.insert(id, Live { debit, credit, amount, expires_ns, lease, code, closes });
            if timeout_ns != 0 {
                self.expiries.insert((expires_ns, id));
            }
            let sums = self.by_id.entry(debit).or_default();
            sums.debits_pending = sums.debits_pending.saturating_add(amount);
            if closes {
                sums.closed_by = id;
            }
            let sums = self.by_id.entry(credit).or_default();
            sums.credits_pending = sums.credits_pending.saturating_add(amount);
        } else {
            self.post(debit, credit, amount, &mut posted);
        }
    }

    fn post(&mut self, debit: u128, credit: u128, amount: u128, posted: &mut impl FnMut(Option<Role>, i128)) {
        let sums = self.by_id.entry(debit).or_default();
        sums.debits_posted = sums.debits_posted.saturating_add(amount);
        posted(sums.role, -signed(amount));
        let sums = self.by_id.entry(credit).or_default();
        sums.credits_posted = sums.credits_posted.saturating_add(amount);
        posted(sums.role, signed(amount));
    }

    /// Takes the pending transfer that a void ends.
    fn take(&mut self, transfer: &RawTransfer, report: &mut Report) -> Option<Live> {
        let pending = transfer.pending_id;
        let Some(live) = self.live.remove(&pending) else {
            let sentence =
                "a transfer ends a reservation that was ended before, had expired or never existed";
            report.add(Finding::new(Law::Voids, transfer, sentence).with([pending]));
            return None;
        };
        self.expiries.remove(&(live.expires_ns, pending));
        if live.code != transfer.code {
            let sentence = format!("a void of code {} ends a transfer of code {}", transfer.code, live.code);
            report.add(Finding::new(Law::Voids, transfer, sentence).with([pending]));
        }
        Some(live)
    }

    fn check_open(&self, transfer: &RawTransfer, report: &mut Report) {
        for id in [transfer.debit, transfer.credit] {
            let closed_by = self.by_id.get(&id).map_or(0, |sums| sums.closed_by);
            if closed_by != 0 {
                let finding = Finding::new(Law::Closed, transfer, "a transfer moves on a closed account");
                report.add(finding.with([closed_by]));
            }
        }
    }

    /// Whether an account has more debits than credits although it must not.
    pub(super) fn is_overdrawn(&self, id: u128) -> bool {
        let sums = self.sums(id);
        sums.role.is_some_and(Role::is_bounded) && sums.available() < 0
    }

    /// What expired a short while ago, by account: as debits, and as credits.
    pub(super) fn recently_expired(&self) -> HashMap<u128, (u128, u128)> {
        let mut by_account = HashMap::<u128, (u128, u128)>::new();
        for live in &self.expired {
            by_account.entry(live.debit).or_default().0 += live.amount;
            by_account.entry(live.credit).or_default().1 += live.amount;
        }
        by_account
    }
}
