//! Plans steps: what replaces the allotments of a limit.

use smallvec::SmallVec;

use super::clock::Now;
use super::held::Allotment;
use super::pool::{PoolState, UnderWay};
use crate::decide::allotment::{Step, Terms};
use crate::ledger::{AccountId, TransferId};
use crate::limit::LeaseId;
use crate::time::NS_PER_SECOND;

/// A chain that opens a closed account is sent at most this often.
const FRAMES_EVERY_NS: u64 = NS_PER_SECOND;

/// What the account of a limit is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccountState {
    /// It is open as far as is known, and hands out allotments by these terms, if any.
    Open(Option<Terms>),
    /// This transfer holds it closed.
    Closed(TransferId),
    /// A new account has replaced it.
    Replaced,
}

impl AccountState {
    fn terms(self) -> Option<Terms> {
        match self {
            Self::Open(terms) => terms,
            Self::Closed(_) | Self::Replaced => None,
        }
    }

    fn closing(self) -> Option<TransferId> {
        match self {
            Self::Closed(closing) => Some(closing),
            Self::Open(_) | Self::Replaced => None,
        }
    }
}

impl PoolState {
    /// The next step that is due; `None` if none is.
    pub(super) fn next_step(&mut self, account: AccountId, is: AccountState, now: Now) -> Option<UnderWay> {
        if let Some(terms) = is.terms().filter(|terms| terms.are_slots && !self.stopped)
            && let Some(renewing) = self.renewing_step(account, terms, now)
        {
            return Some(renewing);
        }
        self.last_step(account, is, now)
    }

    /// The renewing step of slots, if a period of theirs is over and one is needed.
    fn renewing_step(&mut self, account: AccountId, terms: Terms, now: Now) -> Option<UnderWay> {
        let expected = self.demand.expected(terms.period_ns, now);
        let of_version = |allotment: &&Allotment| allotment.terms.version == terms.version;
        let all = || self.serving.iter().filter(of_version);
        if !all().any(|allotment| allotment.is_period_over(now)) {
            return None;
        }
        let used: u64 = all().map(|allotment| allotment.used).sum();
        let amount: u64 = all().map(|allotment| allotment.amount).sum();
        let keep = used.saturating_add(expected).min(amount);
        let is_one = all().count() == 1;
        if is_one && keep == amount && expected == 0 {
            return None;
        }
        let numbers = all().map(|allotment| allotment.number).collect();
        Some(self.renewing(account, numbers, keep, terms, None, now))
    }

    /// A step that makes these allotments one, which serves on.
    pub(super) fn renewing(
        &self,
        account: AccountId,
        numbers: SmallVec<[u64; 2]>,
        keep: u64,
        terms: Terms,
        closing: Option<TransferId>,
        now: Now,
    ) -> UnderWay {
        let merged = self.each().filter(|allotment| numbers.contains(&allotment.number));
        let step = Step {
            chain: LeaseId::generate(),
            account,
            voids: merged.map(|allotment| allotment.pending).collect(),
            keep,
            timeout_seconds: terms.timeout_seconds(),
            closing: closing.filter(|_| keep > 0),
        };
        UnderWay::Renewing { step, numbers, terms, sent: now }
    }

    /// The last step of an allotment that serves no more, if it holds more than callers do.
    fn last_step(&mut self, account: AccountId, is: AccountState, now: Now) -> Option<UnderWay> {
        self.end(is.terms(), now);
        let stopped = self.stopped;
        let may_frame =
            self.framed_at_ns.is_none_or(|at_ns| now.own_ns >= at_ns.saturating_add(FRAMES_EVERY_NS));
        let allotment = self.ended.iter_mut().find(|allotment| {
            let keep = allotment.still_used(now);
            let can_step = keep == 0 || is != AccountState::Replaced && (is.closing().is_none() || may_frame);
            keep < allotment.amount && can_step && (stopped || allotment.may_step(now))
        })?;
        allotment.stepped_at_ns = Some(now.own_ns);
        let keep = allotment.still_used(now);
        let closing = is.closing().filter(|_| keep > 0);
        let step = Step {
            chain: LeaseId::generate(),
            account,
            voids: [allotment.pending].into_iter().collect(),
            keep,
            timeout_seconds: allotment.remaining_seconds(now),
            closing,
        };
        let number = allotment.number;
        if closing.is_some() {
            self.framed_at_ns = Some(now.own_ns);
        }
        Some(UnderWay::Last { step, number })
    }

    /// Ends the serving of rolling allotments whose period is over, and of all that these terms do not hand out.
    fn end(&mut self, terms: Option<Terms>, now: Now) {
        let stopped = self.stopped;
        let ends = |allotment: &Allotment| {
            stopped
                || terms.is_none_or(|terms| terms.version != allotment.terms.version)
                || !allotment.terms.are_slots && allotment.is_period_over(now)
        };
        let (ended, serving): (SmallVec<[Allotment; 2]>, _) =
            std::mem::take(&mut self.serving).into_iter().partition(ends);
        self.serving = serving;
        self.ended.extend(ended);
    }
}

impl Allotment {
    /// The units of it that callers hold now.
    fn still_used(&self, now: Now) -> u64 {
        if self.last_end_ns <= now.ledger_ns { 0 } else { self.used }
    }

    /// Whether its last step was a period ago, or never.
    fn may_step(&self, now: Now) -> bool {
        self.stepped_at_ns.is_none_or(|at_ns| now.own_ns >= at_ns.saturating_add(self.terms.period_ns))
    }
}
