//! Definition versions: a change of a limit becomes the next version of its key, as one linked chain of the encoded definition
//! and the balance steps that it implies.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod.rs` | the plan: the state of the next version, and its balance steps |
//! | `removal.rs` | the versions that delete or retire a limit |
//! | `fresh_start.rs` | the versions that give a limit new accounts: a reset, a purge, another kind |
//! | `balance_step.rs` | the changes of the accounts of a limit |
//! | `chain.rs` | the transfers of a version and its steps |
//! | `chain_inputs.rs` | what the chain depends on, beside the version |
//!
//! The id of the chain's first transfer, the definition's first part, is made of the key and the version number. If two
//! replicas make the same version, the ledger refuses one of them at its first transfer. That replica reads the newer version
//! and retries.

mod balance_step;
mod chain;
mod chain_inputs;
mod fresh_start;
mod removal;

pub(crate) use balance_step::BalanceStep;
pub use chain_inputs::ChainInputs;
pub(crate) use fresh_start::{purge, reset, since_purge};
pub use removal::retire;
pub(crate) use removal::{close_instance, delete};

use std::cmp::Ordering;

use super::Limit;
use super::ids::Ids;
use super::replaced_account::replaces_account;
use super::schedule::{Schedule, whole_ms_ns};
use crate::ledger::{AccountCode, AccountId, AccountRule, NewAccount};
use crate::limit::{Capacity, Definition, KindName, LimitKey, LimitState, Origin, ScheduledKind, Status};

/// The number of the version that creates a key. Later versions count up from it.
pub(crate) const FIRST_VERSION: u64 = 1;

/// A version to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionPlan {
    /// The number of the version.
    pub(crate) version: u64,
    /// The state of the limit from this version on.
    pub(crate) state: LimitState,
    /// What changes on the limit's accounts, in order.
    pub(crate) balance_steps: Vec<BalanceStep>,
    /// Whether the version starts a new refill schedule, if its kind has one.
    starts_new_schedule: bool,
    /// The schedule that it replaces.
    replaced: Option<Box<ReplacedSchedule>>,
    /// The version to create instead if the ledger refuses this one because too much is reserved.
    if_no_room: Option<Box<VersionPlan>>,
}

/// A schedule that a version replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ReplacedSchedule {
    schedule: Schedule,
    /// The capacity before this version.
    capacity: u64,
    /// Whether the limit is of the same kind as before. Only a deleted limit changes its kind.
    keeps_kind: bool,
}

/// When a lower capacity is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lowering {
    /// By this version. The ledger refuses it if too much is reserved.
    AtOnce,
    /// By a later version, when enough is available. The limit is closed until then.
    Waits,
}

/// A change of kind, which is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is of kind {}, which cannot be changed to {}", .from.as_str(), .to.as_str())]
pub struct KindChange {
    /// The limit.
    pub key: LimitKey,
    /// The current kind.
    pub from: KindName,
    /// The requested kind.
    pub to: KindName,
}

/// The version for a definition that an operator puts; `None` if it changes nothing.
pub fn put(current: Option<&Limit>, wanted: &Definition) -> Result<Option<VersionPlan>, KindChange> {
    plan_version(current, LimitState::active(wanted.clone()), Lowering::Waits)
}

/// The version that makes an instance of a template, or gives it the template's current definition; `None` if it has
/// that definition already.
pub(crate) fn follow_template(
    current: Option<&Limit>,
    key: &LimitKey,
    template: &Limit,
    lowering: Lowering,
) -> Result<Option<VersionPlan>, KindChange> {
    let definition = template.state.definition.for_instance(key.clone());
    let origin = Origin { template: template.state.definition.key.clone(), version: template.version };
    let wanted = LimitState { origin: Some(Box::new(origin)), ..LimitState::active(definition) };
    if current.is_some_and(|limit| is_as_wanted(&limit.state, &wanted)) {
        return Ok(None);
    }
    let mut change = plan_version(current, wanted, lowering)?;
    let is_counted = current.is_some_and(|limit| limit.state.status != Status::Retired);
    if let (Some(change), false) = (&mut change, is_counted) {
        change.balance_steps.push(BalanceStep::CountInstance(template.account));
    }
    Ok(change)
}

/// Whether an instance has the definition that its template gives. The template's version does not matter: a template whose
/// `max_instances` changed need not change its instances.
fn is_as_wanted(state: &LimitState, wanted: &LimitState) -> bool {
    let template = |state: &LimitState| state.origin.as_ref().map(|origin| origin.template.clone());
    let capacity = match state.status {
        Status::Active => state.definition.capacity,
        Status::Decreasing { to } => to,
        Status::Deleted | Status::Retired => return false,
    };
    let definition = Definition { capacity, ..state.definition.clone() };
    template(state) == template(wanted) && definition == wanted.definition
}

fn plan_version(
    current: Option<&Limit>,
    wanted: LimitState,
    lowering: Lowering,
) -> Result<Option<VersionPlan>, KindChange> {
    let Some(limit) = current else {
        let balance_steps = vec![BalanceStep::Grant(wanted.definition.posted_balance())];
        return Ok(Some(VersionPlan {
            version: FIRST_VERSION,
            state: wanted,
            balance_steps,
            starts_new_schedule: true,
            replaced: None,
            if_no_room: None,
        }));
    };
    let wanted = LimitState { accounts_since: limit.state.accounts_since.clone(), ..wanted };
    if replaces_account(limit, &wanted) {
        return Ok(Some(fresh_start::after_deleted(limit, wanted)));
    }
    let (has, wants) = (&limit.state.definition, &wanted.definition);
    let (from, to) = (has.kind.name(), wants.kind.name());
    if from != to && !limit.state.status.is_gone() {
        return Err(KindChange { key: wants.key.clone(), from, to });
    }
    if is_bucket(&limit.state) && is_bucket(&wanted) && wants.capacity < has.capacity {
        let steps = cut_spent_first(limit, &wanted, has.capacity.get() - wants.capacity.get());
        let (waiting, waiting_steps) = compare_states(&limit.state, &wanted, Lowering::Waits);
        let waits_already = waiting == limit.state;
        let if_no_room = (!waits_already).then(|| Box::new(next(limit, waiting, waiting_steps)));
        return Ok(Some(VersionPlan { if_no_room, ..next(limit, wanted, steps) }));
    }
    let (state, balance_steps) = compare_states(&limit.state, &wanted, lowering);
    let unchanged = state == limit.state;
    Ok((!unchanged).then(|| next(limit, state, balance_steps)))
}

fn is_bucket(state: &LimitState) -> bool {
    match state.scheduled() {
        Some(ScheduledKind::TokenBucket(_)) => true,
        Some(
            ScheduledKind::FixedWindow(_) | ScheduledKind::SlidingWindow(_) | ScheduledKind::Calendar(_),
        )
        | None => false,
    }
}

/// The steps that lower a bucket at once. The ledger refuses them only if reservations of an earlier kind are pending.
fn cut_spent_first(limit: &Limit, wanted: &LimitState, by: u64) -> Vec<BalanceStep> {
    let continues = !wanted.starts_new_schedule(Some(&limit.state));
    let schedule = limit.schedule.as_ref().filter(|_| continues);
    let spent = schedule.and_then(|schedule| schedule.spent().first().copied());
    let reopen = (limit.state.status != Status::Active).then_some(BalanceStep::Reopen);
    reopen.into_iter().chain([BalanceStep::CutSpentFirst { spent, by }]).collect()
}

/// The next version of a limit. If it starts a new schedule, it carries over the balances of the replaced one.
fn next(limit: &Limit, state: LimitState, mut balance_steps: Vec<BalanceStep>) -> VersionPlan {
    let starts_new_schedule = state.starts_new_schedule(Some(&limit.state));
    let replaced = limit.schedule.as_deref().filter(|_| starts_new_schedule);
    if let Some(replaced) = replaced {
        let opened = usize::from(balance_steps.first() == Some(&BalanceStep::Reopen));
        let end = end_schedule(replaced, &state);
        // These steps may credit the limit, which a closed account would refuse.
        let stays_closed = limit.state.status != Status::Active && opened == 0;
        balance_steps.splice(opened..opened, end);
        if stays_closed {
            balance_steps.insert(0, BalanceStep::Reopen);
            balance_steps.push(BalanceStep::Close);
        }
    }
    let grants = balance_steps.iter().any(|step| matches!(step, BalanceStep::Grant(_)));
    let borrowed = limit.schedule.as_ref().and_then(|schedule| schedule.borrowed());
    balance_steps.extend(borrowed.filter(|_| grants && lends(&state)).map(BalanceStep::Repay));
    let replaced = replaced.map(|schedule| {
        Box::new(ReplacedSchedule {
            schedule: schedule.clone(),
            capacity: limit.state.definition.capacity.get(),
            keeps_kind: limit.state.definition.kind.name() == state.definition.kind.name(),
        })
    });
    let version = limit.version + 1;
    VersionPlan { version, state, balance_steps, starts_new_schedule, replaced, if_no_room: None }
}

fn lends(state: &LimitState) -> bool {
    state.scheduled().is_some_and(ScheduledKind::lends)
}

/// The steps that end a replaced schedule.
fn end_schedule(replaced: &Schedule, wanted: &LimitState) -> Vec<BalanceStep> {
    let settle = replaced.rate().map(|_| BalanceStep::SettleRate);
    let written_off = replaced.borrowed().filter(|_| !lends(wanted));
    let end = |&spent: &AccountId| {
        let write_off = written_off.map(|borrowed| BalanceStep::WriteOff { spent, borrowed });
        write_off.into_iter().chain([BalanceStep::CarryOver(spent)])
    };
    settle.into_iter().chain(replaced.spent().iter().flat_map(end)).collect()
}

fn compare_states(
    current: &LimitState,
    wanted: &LimitState,
    lowering: Lowering,
) -> (LimitState, Vec<BalanceStep>) {
    let is_closed = current.status != Status::Active;
    let mut balance_steps = Vec::new();
    let (has, wants) = (current.definition.capacity, wanted.definition.capacity);
    let is_template = wanted.definition.instances_max.is_some();
    if wants < has && !is_template && lowering == Lowering::Waits {
        if !is_closed {
            balance_steps.push(BalanceStep::Close);
        }
        let definition = Definition { capacity: has, ..wanted.definition.clone() };
        let status = Status::Decreasing { to: wants };
        return (LimitState { definition, status, ..wanted.clone() }, balance_steps);
    }
    let (has, wants) = (current.definition.posted_balance(), wanted.definition.posted_balance());
    if is_closed {
        balance_steps.push(BalanceStep::Reopen);
    }
    match wants.cmp(&has) {
        Ordering::Greater => balance_steps.push(BalanceStep::Grant(wants - has)),
        // The ledger refuses this if more is reserved, or if a template has made more instances than that.
        Ordering::Less => balance_steps.push(BalanceStep::Cut(has - wants)),
        Ordering::Equal => {}
    }
    (wanted.clone(), balance_steps)
}

/// The version that applies a waiting decrease; `None` if none waits.
pub(crate) fn apply_decrease(limit: &Limit) -> Option<VersionPlan> {
    let (delta, to) = decrease_of(limit)?;
    let definition = Definition { capacity: to, ..limit.state.definition.clone() };
    let state = LimitState { definition, status: Status::Active, ..limit.state.clone() };
    let balance_steps = if is_bucket(&state) {
        cut_spent_first(limit, &state, delta)
    } else {
        vec![BalanceStep::Reopen, BalanceStep::Cut(delta)]
    };
    Some(next(limit, state, balance_steps))
}

/// The amount that the accounts of [`decrease_takes_from`] must hold before a waiting decrease can be applied; `None` if none
/// waits.
pub(crate) fn decrease_needs(limit: &Limit) -> Option<u64> {
    decrease_of(limit).map(|(delta, _)| delta)
}

/// The accounts that a decrease takes from: that of the limit, and the spent accounts of a bucket.
pub(crate) fn decrease_takes_from(limit: &Limit) -> impl Iterator<Item = AccountId> {
    let schedule = limit.schedule.iter().filter(|_| is_bucket(&limit.state));
    std::iter::once(limit.account).chain(schedule.flat_map(|schedule| schedule.spent().iter().copied()))
}

fn decrease_of(limit: &Limit) -> Option<(u64, Capacity)> {
    match limit.state.status {
        Status::Decreasing { to } => {
            Some((limit.state.definition.capacity.get().saturating_sub(to.get()), to))
        }
        Status::Active | Status::Deleted | Status::Retired => None,
    }
}

impl VersionPlan {
    /// The version to create instead if the ledger refuses this one because too much is reserved.
    pub(crate) fn if_no_room(&self) -> Option<&Self> {
        self.if_no_room.as_deref()
    }

    /// Whether the chain voids the transfer that closed the account.
    pub(crate) fn reopens(&self) -> bool {
        self.balance_steps.contains(&BalanceStep::Reopen)
    }

    /// Whether the version gets a new account in the place of another one.
    fn has_new_account(&self) -> bool {
        self.state.has_accounts_since(self.version)
    }

    /// Whether a new account keeps reserved what leases hold on the replaced one.
    pub(crate) fn keeps_reserved(&self) -> bool {
        self.balance_steps.contains(&BalanceStep::KeepReserved)
    }

    /// The accounts to create before the chain is sent.
    pub fn accounts(&self, ids: Ids) -> Vec<NewAccount> {
        let key = &self.state.definition.key;
        let account = |id, rule, code| NewAccount { id, rule, code };
        let mut accounts = Vec::new();
        if self.version == FIRST_VERSION || self.has_new_account() {
            let rule = AccountRule::DebitsMustNotExceedCredits;
            accounts.push(account(ids.limit_of(&self.state), rule, AccountCode::Limit));
        }
        if self.version == FIRST_VERSION {
            accounts.push(account(ids.debt(key), AccountRule::Unconstrained, AccountCode::Debt));
        }
        accounts.extend(self.new_schedule(ids, 0).iter().flat_map(Schedule::accounts));
        accounts
    }

    /// The accounts of a replaced bucket that tell [its balances](crate::decide::schedule_change::ReplacedBalances):
    /// the refill clock, the account of borrowed tokens, and the spent account.
    pub(crate) fn replaced_accounts(&self) -> Option<[AccountId; 3]> {
        let schedule = &self.replaced.as_ref()?.schedule;
        Some([schedule.clock(), schedule.borrowed()?, *schedule.spent().first()?])
    }

    fn new_schedule(&self, ids: Ids, since_ns: u64) -> Option<Schedule> {
        let kind = self.state.scheduled().filter(|_| self.starts_new_schedule)?;
        Some(Schedule::new(ids, &self.state.definition.key, kind, self.version, since_ns))
    }

    /// The limit that this version makes, if it is created now: the first version, or the one after `retired`.
    pub(crate) fn limit(&self, ids: Ids, retired: Option<&Limit>, now_ns: u64) -> Limit {
        let continued = || self.state.scheduled().and(retired?.schedule.clone());
        Limit {
            version: self.version,
            state: self.state.clone(),
            account: ids.limit_of(&self.state),
            debt_account: ids.debt(&self.state.definition.key),
            schedule: self.new_schedule(ids, whole_ms_ns(now_ns)).map(Box::new).or_else(continued),
        }
    }
}
