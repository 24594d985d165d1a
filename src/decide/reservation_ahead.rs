//! Reads a reservation ahead back from its lease's transfers. [`super::borrow`] makes such reservations.

use std::num::NonZeroU32;

use crate::ledger::{Recorded, TransferCode};
use crate::limit::{Amount, RefillRate, Steps};
use crate::time::NS_PER_MS;

/// A reservation ahead, as the lease's transfers tell it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ReservationAhead {
    /// The tokens taken.
    pub(crate) tokens: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub(crate) created_at_unix_ms: u64,
    /// The date to act: when all its tokens are available, in milliseconds since the Unix epoch.
    pub(crate) acts_at_unix_ms: u64,
    /// The refill rate at that time, in tokens per second.
    pub(crate) per_second: f64,
}

/// Reads the reservation ahead of a lease that was granted at `created_at_unix_ms` from its transfers; `None` if it borrowed
/// nothing.
pub(crate) fn reservation_ahead(created_at_unix_ms: u64, transfers: &[Recorded]) -> Option<ReservationAhead> {
    let of = |code| transfers.iter().filter(move |recorded| recorded.transfer.code == code);
    let borrow = of(TransferCode::Borrow).next()?.transfer;
    let mut measures = of(TransferCode::Measure).map(|recorded| recorded.transfer);
    let (there, back) = (measures.next()?, measures.next()?);
    let refill = RefillRate::new(Amount::new(borrow.user_data.long).ok()?, there.user_data.long)
        .with_per_interval(NonZeroU32::new(there.user_data.short).unwrap_or(NonZeroU32::MIN));
    let anchor_ns = back.user_data.long.saturating_mul(NS_PER_MS);
    let steps = refill.steps(anchor_ns.saturating_add(back.user_data.short.into()));
    let repaid = repaid_at_ms(refill, steps, created_at_unix_ms, there.movement.amount());
    Some(ReservationAhead {
        tokens: narrow(borrow.movement.amount()),
        created_at_unix_ms,
        acts_at_unix_ms: repaid.unwrap_or(created_at_unix_ms),
        per_second: refill.units_per_second(),
    })
}

/// When refills will have repaid what is owed at `now_ms`; `None` if nothing is owed. It assumes that every refill due until
/// the end of that millisecond has been made. If one has not, the result is late by it, and never early.
pub(super) fn repaid_at_ms(refill: RefillRate, steps: Steps, now_ms: u64, owed: u128) -> Option<u64> {
    let refills = owed.div_ceil(refill.amount().into());
    let step = steps.at(millisecond_end_ns(now_ms));
    (refills > 0).then(|| steps.starts_at_ms(step.saturating_add(narrow(refills))))
}

/// The last nanosecond of a millisecond.
pub(super) fn millisecond_end_ns(unix_ms: u64) -> u64 {
    unix_ms.saturating_mul(NS_PER_MS).saturating_add(NS_PER_MS - 1)
}

pub(super) fn narrow(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}
