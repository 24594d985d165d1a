//! Changing limits: what an operator wants, or a decrease that can be applied, becomes the next version of the key:
//! one linked chain of the encoded definition and the movement of capacity that it means.
//!
//! The chain begins with the definition's first part, whose id is made of key and version. So of two replicas that make
//! the same version one is refused there, before anything else of its chain was looked at; it reads and tries again.

use super::Limit;
use super::ids::Ids;
use super::record::{self, RecordError};
use crate::ledger::{
    AccountCode, AccountRule, Chain, Movement, NewAccount, Transfer, TransferCode, TransferId, UserData,
};
use crate::limit::{Amount, Definition, KindName, LimitKey, LimitState, Status};

/// A version that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub version: u64,
    /// What the limit becomes.
    pub state: LimitState,
    /// What that means for its account, in order.
    pub moves: Vec<Move>,
}

/// A step on a limit's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Voids the closing transfer.
    Reopen,
    /// Posts capacity to the limit.
    Grant(u64),
    /// Posts capacity back.
    Cut(u64),
    /// Closes the account.
    Close,
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
    let Some(limit) = current else {
        let state = LimitState { definition: wanted.clone(), status: Status::Active };
        return Ok(Some(Change { version: 1, state, moves: vec![Move::Grant(wanted.capacity.get())] }));
    };
    let (from, to) = (limit.state.definition.kind.name(), wanted.kind.name());
    if from != to && limit.state.status != Status::Deleted {
        return Err(KindChange { key: wanted.key.clone(), from, to });
    }
    let (state, moves) = put_over(&limit.state, wanted);
    let unchanged = state == limit.state;
    Ok((!unchanged).then_some(Change { version: limit.version + 1, state, moves }))
}

fn put_over(current: &LimitState, wanted: &Definition) -> (LimitState, Vec<Move>) {
    let (has, wants) = (current.definition.capacity, wanted.capacity);
    let is_closed = current.status != Status::Active;
    let mut moves = Vec::new();
    if wants < has {
        if !is_closed {
            moves.push(Move::Close);
        }
        let definition = Definition { capacity: has, ..wanted.clone() };
        return (LimitState { definition, status: Status::Decreasing { to: wants } }, moves);
    }
    if is_closed {
        moves.push(Move::Reopen);
    }
    if wants > has {
        moves.push(Move::Grant(wants.get() - has.get()));
    }
    (LimitState { definition: wanted.clone(), status: Status::Active }, moves)
}

/// The deletion of a limit; `None` if it is deleted already.
pub fn delete(limit: &Limit) -> Option<Change> {
    let moves = match limit.state.status {
        Status::Active => vec![Move::Close],
        Status::Decreasing { .. } => Vec::new(),
        Status::Deleted => return None,
    };
    let state = LimitState { status: Status::Deleted, ..limit.state.clone() };
    Some(Change { version: limit.version + 1, state, moves })
}

/// The application of a decrease that waits; `None` if none does.
pub fn apply_decrease(limit: &Limit) -> Option<Change> {
    let (delta, to) = decrease_of(limit)?;
    let definition = Definition { capacity: to, ..limit.state.definition.clone() };
    let state = LimitState { definition, status: Status::Active };
    Some(Change { version: limit.version + 1, state, moves: vec![Move::Reopen, Move::Cut(delta)] })
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

/// The accounts of a limit, to be made before its first version.
pub fn accounts(ids: Ids, key: &LimitKey) -> Vec<NewAccount> {
    vec![
        NewAccount {
            id: ids.limit(key),
            rule: AccountRule::DebitsMustNotExceedCredits,
            code: AccountCode::Limit,
        },
        NewAccount { id: ids.debt(key), rule: AccountRule::Unconstrained, code: AccountCode::Debt },
    ]
}

impl Change {
    /// Whether the chain needs the transfer that closed the account.
    pub fn reopens(&self) -> bool {
        self.moves.contains(&Move::Reopen)
    }

    /// The chain that makes this version. `closing` is the transfer that closed the account; `drawn` is a fresh ULID
    /// for the movements' ids: they may be refused for a passing reason, which uses their ids up, and what guards them
    /// from acting twice is the definition's first part.
    pub fn chain(
        &self,
        ids: Ids,
        closing: Option<TransferId>,
        drawn: u128,
    ) -> Result<Option<Chain>, RecordError> {
        let key = &self.state.definition.key;
        let mut transfers = Vec::new();
        for part in record::encode(self.version, &self.state)? {
            transfers.push(Transfer {
                id: ids.definition_part(key, self.version, part.short as u16),
                code: TransferCode::Definition,
                user_data: part,
                movement: Movement::Post { debit: ids.registry(), credit: ids.debt(key), amount: 0 },
            });
        }
        for (nth, step) in (0..).zip(&self.moves) {
            let Some(transfer) = transfer_of(ids, key, *step, closing, ids.around(drawn, nth)) else {
                return Ok(None);
            };
            transfers.push(transfer);
        }
        Ok(Chain::new(transfers))
    }
}

fn transfer_of(
    ids: Ids,
    key: &LimitKey,
    step: Move,
    closing: Option<TransferId>,
    fresh: TransferId,
) -> Option<Transfer> {
    let (operator, limit) = (ids.operator(), ids.limit(key));
    let (id, code, movement) = match step {
        Move::Reopen => {
            let pending = closing?;
            (ids.reopen(pending), TransferCode::Close, Movement::Void { pending })
        }
        Move::Grant(amount) => {
            let movement = Movement::Post { debit: operator, credit: limit, amount: amount.into() };
            (fresh, TransferCode::Grant, movement)
        }
        Move::Cut(amount) => {
            let movement = Movement::Post { debit: limit, credit: operator, amount: amount.into() };
            (fresh, TransferCode::Cut, movement)
        }
        Move::Close => (fresh, TransferCode::Close, Movement::Close { debit: limit, credit: operator }),
    };
    Some(Transfer { id, code, user_data: UserData::default(), movement })
}
