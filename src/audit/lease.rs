//! A lease, and the operations that change what it holds.

use super::codes;
use crate::ledger::TransferCode as Code;
use crate::ledger::raw::RawTransfer;
use crate::time::{NS_PER_MS, NS_PER_SECOND};

/// A transfer of a lease, with its code.
pub(super) type OfLease = (RawTransfer, Code);

/// A reservation of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) transfer: u128,
    pub(super) account: u128,
    pub(super) amount: u128,
    /// When it expires or is refilled, in nanoseconds since the Unix epoch.
    pub(super) expires_ns: u64,
    pub(super) timeout_seconds: u32,
    pub(super) is_pending: bool,
    pub(super) is_voided: bool,
}

/// A lease.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) legs: Vec<Leg>,
    /// The transfer that settled it.
    pub(super) settled_by: Option<u128>,
}

impl Leg {
    pub(super) fn of(transfer: &RawTransfer) -> Self {
        let is_pending = transfer.has(RawTransfer::PENDING);
        let timeout_ns = u64::from(transfer.timeout_seconds) * NS_PER_SECOND;
        Self {
            transfer: transfer.id,
            account: transfer.debit,
            amount: transfer.amount,
            expires_ns: if is_pending {
                transfer.timestamp_ns.saturating_add(timeout_ns)
            } else {
                transfer.long.saturating_mul(NS_PER_MS)
            },
            timeout_seconds: transfer.timeout_seconds,
            is_pending,
            is_voided: false,
        }
    }
}

impl Lease {
    /// When its last leg is over.
    pub(super) fn ends_ns(&self) -> u64 {
        self.legs.iter().map(|leg| leg.expires_ns).max().unwrap_or(0)
    }

    /// Takes an extend: a trace and a reservation. Returns what is wrong with it.
    pub(super) fn extend(&mut self, transfers: &[OfLease]) -> Option<&'static str> {
        match transfers {
            // In shadow mode the amount is debt.
            [_, (reservation, code)] | [_, (reservation, code), (_, Code::Excess)]
                if codes::reserves(*code) && !reservation.has(RawTransfer::VOID_PENDING) =>
            {
                self.legs.push(Leg::of(reservation));
                None
            }
            _ => Some("an extend is not a trace and a reservation"),
        }
    }

    /// Takes a renewal: a trace, then for each slot a void and the same reservation again. Returns what is wrong with it.
    pub(super) fn renew(&mut self, transfers: &[OfLease]) -> Option<&'static str> {
        let ((trace, _), slots) = transfers.split_first()?;
        let slot_count = usize::try_from(trace.short).unwrap_or(usize::MAX);
        if slots.len() != slot_count.saturating_mul(2) {
            return Some("a renewal has another number of slots than its trace says");
        }
        for pair in slots.chunks(2) {
            let [(void, _), (again, _)] = pair else { return Some("a renewal is not made of pairs") };
            let leg = self.legs.iter_mut().find(|leg| leg.transfer == void.pending_id && !leg.is_voided);
            let Some(leg) = leg.filter(|_| void.has(RawTransfer::VOID_PENDING)) else {
                return Some("a renewal voids what the lease does not hold");
            };
            let renewed = Leg::of(again);
            let is_same = (renewed.account, renewed.amount, renewed.timeout_seconds)
                == (leg.account, leg.amount, leg.timeout_seconds);
            if !is_same || !renewed.is_pending {
                return Some("a renewal holds another limit, amount or time-out than before");
            }
            *leg = renewed;
        }
        None
    }
}
