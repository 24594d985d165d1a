//! Why a settlement was refused.

use crate::ledger::Refusal;

/// Why the ledger refused a step, as far as settlement tells the reasons apart.
pub(super) enum Cause {
    DoneBefore,
    Expired,
    NoRoom,
    /// The debited account is closed.
    DebitClosed,
    /// The credited account is closed.
    CreditClosed,
    /// A bug, or another program that writes to the ledger.
    Impossible,
}

pub(super) fn cause(refusal: Refusal) -> Cause {
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) | Refusal::PendingAlreadyVoided => {
            Cause::DoneBefore
        }
        Refusal::PendingExpired => Cause::Expired,
        Refusal::ExceedsCredits | Refusal::IdAlreadyFailed => Cause::NoRoom,
        Refusal::DebitAccountClosed => Cause::DebitClosed,
        Refusal::CreditAccountClosed => Cause::CreditClosed,
        Refusal::ExceedsDebits
        | Refusal::DebitAccountNotFound
        | Refusal::CreditAccountNotFound
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::Overflow
        | Refusal::Malformed(_) => Cause::Impossible,
    }
}
