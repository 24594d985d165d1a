//! Checks a complete against what its lease holds.

use super::lease::{Lease, Leg, OfLease};
use super::limits::Owners;
use super::report::{Finding, Law, Report};
use crate::ledger::TransferCode as Code;
use crate::ledger::raw::RawTransfer;
use crate::time::NS_PER_SECOND;

/// How much later than its reservation a remainder may expire: remaining time is rounded up to a second, and the chain may have
/// been sent again for a while after it was planned.
const LATER_NS_MAX: u64 = 31 * NS_PER_SECOND;

/// Whether a complete settles a lease of which the ledger may have no grant: it was served from allotments in memory, and only
/// its overage is recorded.
pub(super) fn is_of_allotments(transfers: &[OfLease], owners: Owners<'_>) -> bool {
    let Some(((_, Code::Complete), overages)) = transfers.split_first() else { return false };
    !overages.is_empty()
        && overages.iter().all(|(transfer, code)| {
            matches!(code, Code::Overage | Code::Debt)
                && !transfer.has(RawTransfer::VOID_PENDING)
                && owners.had_allotment(transfer.debit)
        })
}

/// Checks the transfers of a complete.
pub(super) fn check(
    id: u128,
    lease: &mut Lease,
    transfers: &[OfLease],
    owners: Owners<'_>,
    report: &mut Report,
) {
    let mut voided: Option<Leg> = None;
    let mut released: Vec<(u128, u128)> = Vec::new();
    for (transfer, code) in transfers {
        let mut wrong = |law, sentence: String, more: Option<u128>| {
            report.add(Finding::new(law, transfer, sentence).of_lease(id).with(more));
        };
        if transfer.has(RawTransfer::VOID_PENDING) {
            voided = void(lease, transfer);
            if voided.is_none() {
                let sentence = "a complete voids what the lease does not hold".to_owned();
                wrong(Law::LeaseShape, sentence, Some(transfer.pending_id));
            }
            continue;
        }
        match code {
            Code::Complete => {}
            Code::Shrink => match voided.take().filter(|leg| leg.account == transfer.debit) {
                None => {
                    let sentence =
                        "a remainder stays reserved of a limit whose reservation is not voided before it";
                    wrong(Law::LeaseShape, sentence.to_owned(), None);
                }
                Some(leg) => {
                    if transfer.amount >= leg.amount {
                        let sentence = format!(
                            "a remainder of {} is no less than the {} reserved",
                            transfer.amount, leg.amount
                        );
                        wrong(Law::Released, sentence, Some(leg.transfer));
                    }
                    if let Some(sentence) = other_expiry(transfer, &leg) {
                        wrong(Law::ShrinkExpiry, sentence, Some(leg.transfer));
                    }
                }
            },
            Code::Release => {
                let account = transfer.credit;
                let held: u128 = legs(lease, account).map(|leg| leg.amount).sum();
                let sum = match released.iter_mut().find(|(other, _)| *other == account) {
                    Some((_, sum)) => {
                        *sum += transfer.amount;
                        *sum
                    }
                    None => {
                        released.push((account, transfer.amount));
                        transfer.amount
                    }
                };
                if sum > held {
                    let sentence =
                        format!("a complete releases {sum} of a limit of which {held} are reserved");
                    wrong(Law::Released, sentence, legs(lease, account).next().map(|leg| leg.transfer));
                }
            }
            Code::Overage => {
                let pending = transfer.has(RawTransfer::PENDING);
                let of_limit = || legs(lease, transfer.debit);
                if of_limit().next().is_none() {
                    if owners.had_allotment(transfer.debit) {
                        // The lease holds it in an allotment.
                        continue;
                    }
                    let sentence = "overage is reserved of a limit that the lease does not hold".to_owned();
                    wrong(Law::LeaseShape, sentence, None);
                } else if pending && of_limit().all(|leg| other_expiry(transfer, leg).is_some()) {
                    let sentence = "overage expires at another time than its reservation".to_owned();
                    wrong(Law::ShrinkExpiry, sentence, of_limit().next().map(|leg| leg.transfer));
                }
            }
            Code::Debt => {
                let limit = owners.limit_of(transfer.debit);
                let is_of_limit = |leg: &Leg| limit.is_some() && owners.limit_of(leg.account) == limit;
                if !lease.legs.iter().any(is_of_limit) && !owners.had_allotment(transfer.debit) {
                    let sentence = "debt is recorded for a limit that the lease does not hold".to_owned();
                    wrong(Law::Debt, sentence, None);
                }
            }
            Code::Grant
            | Code::Cut
            | Code::Definition
            | Code::Close
            | Code::KeepReserved
            | Code::ClearDebt
            | Code::ReserveRolling
            | Code::ReserveRollingDeny
            | Code::ReserveConcurrency
            | Code::Extend
            | Code::Renew
            | Code::Excess
            | Code::Spend
            | Code::SpendDeny
            | Code::AdvanceClock
            | Code::Refill
            | Code::Borrow
            | Code::Repay
            | Code::Measure
            | Code::Allow
            | Code::Allot
            | Code::Pass
            | Code::Announce
            | Code::AnnounceUrl
            | Code::Alert => {
                let sentence = "a complete contains a transfer that does not belong to it".to_owned();
                wrong(Law::LeaseShape, sentence, None);
            }
        }
    }
}

fn legs(lease: &Lease, account: u128) -> impl Iterator<Item = &Leg> {
    lease.legs.iter().filter(move |leg| leg.account == account)
}

/// Marks the leg that a transfer voids.
fn void(lease: &mut Lease, transfer: &RawTransfer) -> Option<Leg> {
    let leg = lease.legs.iter_mut().find(|leg| leg.transfer == transfer.pending_id && !leg.is_voided)?;
    leg.is_voided = true;
    Some(*leg)
}

/// What is wrong if a reservation for the rest of a leg's time expires at another time.
fn other_expiry(transfer: &RawTransfer, leg: &Leg) -> Option<String> {
    let timeout_ns = u64::from(transfer.timeout_seconds) * NS_PER_SECOND;
    let expires_ns = transfer.timestamp_ns.saturating_add(timeout_ns);
    if expires_ns < leg.expires_ns {
        let earlier_ms = (leg.expires_ns - expires_ns).div_ceil(1_000_000);
        Some(format!("a remainder expires {earlier_ms} ms before its reservation would have"))
    } else if expires_ns > leg.expires_ns.saturating_add(LATER_NS_MAX) {
        let later_ms = (expires_ns - leg.expires_ns) / 1_000_000;
        Some(format!("a remainder expires {later_ms} ms after its reservation would have"))
    } else {
        None
    }
}
