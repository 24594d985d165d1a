//! Changing limits: what an operator wants, or a decrease that can be applied, becomes the next version of the key:
//! one linked chain of the encoded definition and the movement of capacity that it means.
//!
//! The chain begins with the definition's first part, whose id is made of key and version. So of two replicas that make
//! the same version one is refused there, before anything else of its chain was looked at; it reads and tries again.

use std::cmp::Ordering;

use smallvec::{SmallVec, smallvec};

use super::Limit;
use super::ids::Ids;
use super::record::{self, RecordError};
use super::schedule::{Schedule, repay};
use crate::clock::unix_ms;
use crate::ledger::{
    AccountCode, AccountId, AccountRule, Bound, Chain, Movement, NewAccount, Transfer, TransferCode,
    TransferId, UserData,
};
use crate::limit::{Amount, Definition, KindName, LimitKey, LimitState, Origin, Scheduled, Status};

/// A version that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub version: u64,
    /// What the limit becomes.
    pub state: LimitState,
    /// What that means for its account, in order.
    pub moves: Vec<Move>,
    /// Whether it is the first of its schedule, if it has one.
    begins_schedule: bool,
}

/// A step on a limit's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Takes what an account of an earlier schedule keeps over to the new one, or to the limit, and closes it.
    Retire(AccountId),
    /// Takes what was borrowed of an earlier schedule's future off what that one keeps: the new one lends nothing.
    Forgive {
        /// What it keeps.
        spent: AccountId,
        /// What was borrowed.
        borrowed: AccountId,
    },
    /// Pays back what was borrowed out of what was granted.
    Repay(AccountId),
    /// Voids the closing transfer.
    Reopen,
    /// Posts capacity to the limit.
    Grant(u64),
    /// Posts capacity back.
    Cut(u64),
    /// Closes the account.
    Close,
    /// Takes one from the account of the template that makes the limit.
    Count(AccountId),
}

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is of kind {}, which cannot be changed to {}", .from.as_str(), .to.as_str())]
pub struct KindChange {
    /// The limit.
    pub key: LimitKey,
    /// Its kind.
    pub from: KindName,
    /// The kind asked for.
    pub to: KindName,
}

/// What a definition put by an operator changes; `None` if nothing.
pub fn put(current: Option<&Limit>, wanted: &Definition) -> Result<Option<Change>, KindChange> {
    change_to(current, LimitState::active(wanted.clone()))
}

/// The change by which a limit that a template made, or is to make, becomes as the template is now; `None` if it is.
pub fn follow(
    current: Option<&Limit>,
    key: &LimitKey,
    template: &Limit,
) -> Result<Option<Change>, KindChange> {
    let definition = template.state.definition.for_instance(key.clone());
    let origin = Origin { template: template.state.definition.key.clone(), version: template.version };
    let wanted = LimitState { origin: Some(Box::new(origin)), ..LimitState::active(definition) };
    if current.is_some_and(|limit| is_as_wanted(&limit.state, &wanted)) {
        return Ok(None);
    }
    let mut change = change_to(current, wanted)?;
    if let (Some(change), None) = (&mut change, current) {
        change.moves.push(Move::Count(template.account));
    }
    Ok(change)
}

/// Whether a limit is what its template wants, but perhaps for the template's version: a template that may make more limits
/// need not change those that it has made.
fn is_as_wanted(state: &LimitState, wanted: &LimitState) -> bool {
    let template = |state: &LimitState| state.origin.as_ref().map(|origin| origin.template.clone());
    let capacity = match state.status {
        Status::Active => state.definition.capacity,
        Status::Decreasing { to } => to,
        Status::Deleted => return false,
    };
    let definition = Definition { capacity, ..state.definition.clone() };
    template(state) == template(wanted) && definition == wanted.definition
}

/// A template's account counts the limits that it may still make; a limit's holds its capacity.
fn balance_of(definition: &Definition) -> u64 {
    definition.instances_max.unwrap_or(definition.capacity).get()
}

fn change_to(current: Option<&Limit>, wanted: LimitState) -> Result<Option<Change>, KindChange> {
    let Some(limit) = current else {
        let moves = vec![Move::Grant(balance_of(&wanted.definition))];
        return Ok(Some(Change { version: 1, state: wanted, moves, begins_schedule: true }));
    };
    let (has, wants) = (&limit.state.definition, &wanted.definition);
    let (from, to) = (has.kind.name(), wants.kind.name());
    if from != to && limit.state.status != Status::Deleted {
        return Err(KindChange { key: wants.key.clone(), from, to });
    }
    let (state, moves) = put_over(&limit.state, &wanted);
    let unchanged = state == limit.state;
    Ok((!unchanged).then(|| next(limit, state, moves)))
}

/// The next version of a limit. Where another schedule begins, the one before is retired.
fn next(limit: &Limit, state: LimitState, mut moves: Vec<Move>) -> Change {
    let begins_schedule = state.begins_schedule(Some(&limit.state));
    if let (true, Some(replaced)) = (begins_schedule, &limit.schedule) {
        let opened = usize::from(moves.first() == Some(&Move::Reopen));
        moves.splice(opened..opened, retire(replaced, &state));
        // Without a schedule its heir is the limit itself, which takes nothing while it is closed.
        if state.scheduled().is_none() && opened == 0 {
            moves.insert(0, Move::Reopen);
            moves.push(Move::Close);
        }
    }
    let grants = moves.iter().any(|step| matches!(step, Move::Grant(_)));
    let borrowed = limit.schedule.as_ref().and_then(|schedule| schedule.borrowed());
    moves.extend(borrowed.filter(|_| grants && lends(&state)).map(Move::Repay));
    Change { version: limit.version + 1, state, moves, begins_schedule }
}

fn lends(state: &LimitState) -> bool {
    state.scheduled().is_some_and(Scheduled::lends)
}

/// What ends a schedule when another begins.
fn retire(replaced: &Schedule, wanted: &LimitState) -> Vec<Move> {
    let forgiven = replaced.borrowed().filter(|_| !lends(wanted));
    let end = |&spent: &AccountId| {
        let forgive = forgiven.map(|borrowed| Move::Forgive { spent, borrowed });
        forgive.into_iter().chain([Move::Retire(spent)])
    };
    replaced.spent().iter().flat_map(end).collect()
}

fn put_over(current: &LimitState, wanted: &LimitState) -> (LimitState, Vec<Move>) {
    let is_closed = current.status != Status::Active;
    let mut moves = Vec::new();
    let (has, wants) = (current.definition.capacity, wanted.definition.capacity);
    let is_template = wanted.definition.instances_max.is_some();
    if wants < has && !is_template {
        if !is_closed {
            moves.push(Move::Close);
        }
        let definition = Definition { capacity: has, ..wanted.definition.clone() };
        let status = Status::Decreasing { to: wants };
        return (LimitState { definition, status, origin: wanted.origin.clone() }, moves);
    }
    let (has, wants) = (balance_of(&current.definition), balance_of(&wanted.definition));
    if is_closed {
        moves.push(Move::Reopen);
    }
    match wants.cmp(&has) {
        Ordering::Greater => moves.push(Move::Grant(wants - has)),
        // Of a template: refused if it has made more limits than that.
        Ordering::Less => moves.push(Move::Cut(has - wants)),
        Ordering::Equal => {}
    }
    (wanted.clone(), moves)
}

/// The deletion of a limit; `None` if it is deleted already.
pub fn delete(limit: &Limit) -> Option<Change> {
    let moves = match limit.state.status {
        Status::Active => vec![Move::Close],
        Status::Decreasing { .. } => Vec::new(),
        Status::Deleted => return None,
    };
    // What an operator deleted is not for a template to make again.
    let state = LimitState { status: Status::Deleted, origin: None, ..limit.state.clone() };
    Some(next(limit, state, moves))
}

/// The application of a decrease that waits; `None` if none does.
pub fn apply_decrease(limit: &Limit) -> Option<Change> {
    let (delta, to) = decrease_of(limit)?;
    let definition = Definition { capacity: to, ..limit.state.definition.clone() };
    let state = LimitState { definition, status: Status::Active, ..limit.state.clone() };
    let moves = vec![Move::Reopen, Move::Cut(delta)];
    Some(next(limit, state, moves))
}

/// How much must be available before the decrease that waits can be applied.
pub fn decrease_needs(limit: &Limit) -> Option<u64> {
    decrease_of(limit).map(|(delta, _)| delta)
}

fn decrease_of(limit: &Limit) -> Option<(u64, Amount)> {
    match limit.state.status {
        Status::Decreasing { to } => {
            Some((limit.state.definition.capacity.get().saturating_sub(to.get()), to))
        }
        Status::Active | Status::Deleted => None,
    }
}

impl Change {
    /// Whether the chain needs the transfer that closed the account.
    pub fn reopens(&self) -> bool {
        self.moves.contains(&Move::Reopen)
    }

    /// The accounts to be made before it.
    pub fn accounts(&self, ids: Ids) -> Vec<NewAccount> {
        let key = &self.state.definition.key;
        let account = |id, rule, code| NewAccount { id, rule, code };
        let mut accounts = Vec::new();
        if self.version == 1 {
            let rule = AccountRule::DebitsMustNotExceedCredits;
            accounts.push(account(ids.limit(key), rule, AccountCode::Limit));
            accounts.push(account(ids.debt(key), AccountRule::Unconstrained, AccountCode::Debt));
        }
        accounts.extend(self.new_schedule(ids, 0).iter().flat_map(Schedule::accounts));
        accounts
    }

    fn new_schedule(&self, ids: Ids, since_ms: u64) -> Option<Schedule> {
        let kind = self.state.scheduled().filter(|_| self.begins_schedule)?;
        Some(Schedule::new(ids, &self.state.definition.key, kind, self.version, since_ms))
    }

    /// Where what was spent by an earlier schedule goes.
    fn heir(&self, ids: Ids, now_ns: u64) -> AccountId {
        let definition = &self.state.definition;
        let schedule = self.new_schedule(ids, unix_ms(now_ns));
        let spending = schedule.and_then(|schedule| schedule.spending(now_ns, definition.capacity.get()));
        spending.map_or_else(|| ids.limit(&definition.key), |spending| spending.spent)
    }

    /// The chain that makes this version. `closing` is the transfer that closed the account; `drawn` is a fresh ULID
    /// for the movements' ids: they may be refused for a passing reason, which uses their ids up, and what guards them
    /// from acting twice is the definition's first part.
    pub fn chain(
        &self,
        ids: Ids,
        closing: Option<TransferId>,
        drawn: u128,
        now_ns: u64,
    ) -> Result<Option<Chain>, RecordError> {
        let key = &self.state.definition.key;
        // What templates make is in a log that nobody follows: it is read when it is needed.
        let log = if self.state.origin.is_some() { ids.instances() } else { ids.registry() };
        let mut transfers = Vec::new();
        for part in record::encode(self.version, &self.state)? {
            transfers.push(Transfer {
                id: ids.definition_part(key, self.version, part.short as u16),
                code: TransferCode::Definition,
                user_data: part,
                movement: Movement::Post { debit: log, credit: ids.debt(key), amount: 0 },
            });
        }
        let heir = self.heir(ids, now_ns);
        let mut drawn = (0..=u8::MAX).map(|nth| ids.around(drawn, nth));
        for step in &self.moves {
            let Some(transfers_of_step) = transfers_of(ids, key, *step, closing, heir, &mut drawn) else {
                return Ok(None);
            };
            transfers.extend(transfers_of_step);
        }
        Ok(Chain::new(transfers))
    }
}

/// `None` if what it needs is not there.
fn transfers_of(
    ids: Ids,
    key: &LimitKey,
    step: Move,
    closing: Option<TransferId>,
    heir: AccountId,
    drawn: &mut impl Iterator<Item = TransferId>,
) -> Option<SmallVec<[Transfer; 2]>> {
    let (operator, limit) = (ids.operator(), ids.limit(key));
    let plain = |id, code, movement| Transfer { id, code, user_data: UserData::default(), movement };
    let close = |debit| Movement::Close { debit, credit: operator };
    Some(match step {
        Move::Reopen => {
            let pending = closing?;
            smallvec![plain(ids.reopen(pending), TransferCode::Close, Movement::Void { pending })]
        }
        Move::Retire(spent) => {
            let all = Movement::PostUpTo {
                debit: spent,
                credit: heir,
                amount: Amount::MAX.into(),
                bound: Bound::Has,
            };
            smallvec![
                plain(drawn.next()?, TransferCode::ComeBack, all),
                plain(drawn.next()?, TransferCode::Close, close(spent))
            ]
        }
        Move::Forgive { spent, borrowed } => smallvec![repay(drawn.next()?, spent, borrowed)],
        Move::Repay(borrowed) => smallvec![repay(drawn.next()?, limit, borrowed)],
        Move::Grant(amount) => {
            let movement = Movement::Post { debit: operator, credit: limit, amount: amount.into() };
            smallvec![plain(drawn.next()?, TransferCode::Grant, movement)]
        }
        Move::Cut(amount) => {
            let movement = Movement::Post { debit: limit, credit: operator, amount: amount.into() };
            smallvec![plain(drawn.next()?, TransferCode::Cut, movement)]
        }
        Move::Close => smallvec![plain(drawn.next()?, TransferCode::Close, close(limit))],
        Move::Count(template) => {
            let movement = Movement::Post { debit: template, credit: operator, amount: 1 };
            smallvec![plain(drawn.next()?, TransferCode::Cut, movement)]
        }
    })
}
