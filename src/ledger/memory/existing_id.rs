//! The refusal of a transfer whose id exists. It names the first field that differs, in TigerBeetle's order.

use super::definition_log::PartIndex;
use super::slots::TransferSlot;
use super::state::LedgerState;
use super::stored_transfer::TransferState;
use crate::ledger::{AccountId, Bound, Field, Movement, Refusal, Transfer, TransferId, UserData};

impl LedgerState {
    /// Refuses a transfer whose id is that of a stored one.
    #[cold]
    pub(super) fn refuse_existing(&self, transfer: &Transfer, linked: bool, slot: TransferSlot) -> Refusal {
        let existing = self.transfers.get(slot);
        if existing.state == TransferState::IdFailed {
            return Refusal::IdAlreadyFailed;
        }
        let user_data = match transfer.movement {
            Movement::Void { pending } => match self.transfers.find(pending).transfer {
                Some(slot) if self.transfers.get(slot).state != TransferState::IdFailed => {
                    self.inherit_user_data(transfer.user_data, slot)
                }
                Some(_) | None => transfer.user_data,
            },
            Movement::Post { .. }
            | Movement::PostUpTo { .. }
            | Movement::Pend { .. }
            | Movement::Close { .. } => transfer.user_data,
        };
        let transfer = Transfer { user_data, ..*transfer };
        compare(&transfer, linked, &self.recorded(existing).transfer, existing.linked)
    }

    /// Refuses a transfer whose id is that of a part of a definition.
    #[cold]
    pub(super) fn refuse_existing_part(&self, transfer: &Transfer, linked: bool, part: PartIndex) -> Refusal {
        let existing = self.definitions.recorded(part, &self.accounts).transfer;
        compare(transfer, linked, &existing, self.definitions.is_linked(part))
    }

    /// The user data of a void: it takes each part that is 0 from the transfer that it voids.
    pub(super) fn inherit_user_data(&self, own: UserData, voided: TransferSlot) -> UserData {
        let voided = self.transfers.user_data(self.transfers.get(voided));
        UserData {
            wide: if own.wide == 0 { voided.wide } else { own.wide },
            long: if own.long == 0 { voided.long } else { own.long },
            short: if own.short == 0 { voided.short } else { own.short },
        }
    }
}

/// Names the first field in which two transfers of one id differ.
fn compare(new: &Transfer, new_linked: bool, existing: &Transfer, existing_linked: bool) -> Refusal {
    let (from, to) = (MovementFields::of(&new.movement), MovementFields::of(&existing.movement));
    // A `PostUpTo` moves at most its amount, so it matches an existing one that moved less.
    let amount_differs = match new.movement {
        Movement::PostUpTo { .. } => from.amount < to.amount,
        Movement::Post { .. } | Movement::Pend { .. } | Movement::Close { .. } | Movement::Void { .. } => {
            from.amount != to.amount
        }
    };
    let differences = [
        (new_linked != existing_linked || from.kind != to.kind, Field::Flags),
        (from.pending != to.pending, Field::PendingId),
        (from.timeout_seconds != to.timeout_seconds, Field::Timeout),
        (from.debit != to.debit, Field::DebitAccount),
        (from.credit != to.credit, Field::CreditAccount),
        (amount_differs, Field::Amount),
        (new.user_data.wide != existing.user_data.wide, Field::UserDataWide),
        (new.user_data.long != existing.user_data.long, Field::UserDataLong),
        (new.user_data.short != existing.user_data.short, Field::UserDataShort),
        (new.code != existing.code, Field::Code),
    ];
    let first = differences.into_iter().find(|(differs, _)| *differs);
    first.map_or(Refusal::Exists, |(_, field)| Refusal::ExistsWithDifferent(field))
}

/// The fields of a movement, those that it does not have as 0 or `None`.
#[derive(Default)]
struct MovementFields {
    kind: Option<MovementKind>,
    pending: Option<TransferId>,
    timeout_seconds: u32,
    debit: Option<AccountId>,
    credit: Option<AccountId>,
    amount: u128,
}

/// What TigerBeetle encodes in the flags of a transfer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MovementKind {
    Post,
    PostUpTo(Bound),
    Pend,
    Close,
    Void,
}

impl MovementFields {
    fn of(movement: &Movement) -> Self {
        let of = |kind, debit, credit, amount| Self {
            kind: Some(kind),
            debit: Some(debit),
            credit: Some(credit),
            amount,
            ..Self::default()
        };
        match *movement {
            Movement::Post { debit, credit, amount } => of(MovementKind::Post, debit, credit, amount),
            Movement::PostUpTo { debit, credit, amount, bound } => {
                of(MovementKind::PostUpTo(bound), debit, credit, amount)
            }
            Movement::Pend { debit, credit, amount, timeout_seconds } => {
                Self { timeout_seconds, ..of(MovementKind::Pend, debit, credit, amount) }
            }
            Movement::Close { debit, credit } => of(MovementKind::Close, debit, credit, 0),
            Movement::Void { pending } => {
                Self { kind: Some(MovementKind::Void), pending: Some(pending), ..Self::default() }
            }
        }
    }
}
