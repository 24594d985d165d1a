//! The codes of transfers, by the table of `ARCHITECTURE.md`.

use crate::ledger::TransferCode;
use crate::ledger::raw::RawTransfer;

/// The code of a transfer; `None` if this version does not know it.
pub(super) fn code_of(transfer: &RawTransfer) -> Option<TransferCode> {
    TransferCode::from_u16(transfer.code)
}

/// Whether a code belongs to a lease, which its wide user data names.
pub(super) fn is_of_lease(code: TransferCode) -> bool {
    use TransferCode as Code;
    match code {
        Code::ReserveRolling
        | Code::ReserveRollingDeny
        | Code::ReserveConcurrency
        | Code::Shrink
        | Code::Overage
        | Code::Debt
        | Code::Complete
        | Code::Extend
        | Code::Renew
        | Code::Excess
        | Code::Spend
        | Code::SpendDeny
        | Code::Release
        | Code::Borrow
        | Code::Pass => true,
        // A measure of a release names no lease. An allotment names its own chain, and an announcement its replica.
        Code::Measure
        | Code::Allot
        | Code::Announce
        | Code::AnnounceUrl
        | Code::Grant
        | Code::Cut
        | Code::Definition
        | Code::Close
        | Code::KeepReserved
        | Code::ClearDebt
        | Code::AdvanceClock
        | Code::Refill
        | Code::Repay
        | Code::Allow
        | Code::Alert => false,
    }
}

/// Whether a code reserves for a lease.
pub(super) fn reserves(code: TransferCode) -> bool {
    is_pending_reservation(code) || matches!(code, TransferCode::Spend | TransferCode::SpendDeny)
}

/// Whether a code reserves for a lease until a time-out.
pub(super) fn is_pending_reservation(code: TransferCode) -> bool {
    matches!(
        code,
        TransferCode::ReserveRolling | TransferCode::ReserveRollingDeny | TransferCode::ReserveConcurrency
    )
}
