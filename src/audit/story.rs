//! The story of a lease or a limit, in words.

use super::accounts::Role;
use super::auditor::Auditor;
use super::codes;
use super::definition::{Kind, Status, Version};
use super::run::read;
use crate::ledger::raw::{RawLedger, RawTransfer};
use crate::ledger::{LedgerError, TransferCode as Code};
use crate::time::NS_PER_SECOND;

/// The most leases that the story of a limit names.
const HOLDERS_MAX: usize = 20;

/// Tells what happened to a lease, a line for each transfer; empty if the ledger holds none. Each line has its time in the ledger's
/// nanoseconds.
///
/// # Errors
///
/// If the ledger does not answer.
pub async fn lease_story<L: RawLedger>(
    ledger: &L,
    ledger_number: u32,
    lease: u128,
) -> Result<Vec<(u64, String)>, LedgerError> {
    let transfers = ledger.raw_transfers_of(lease).await?;
    let mut auditor = Auditor::new(ledger_number);
    if transfers.is_empty() {
        return Ok(Vec::new());
    }
    auditor.learn(&ledger.raw_definitions().await?);
    let of_lease = transfers.iter().filter_map(|transfer| Some((transfer, codes::code_of(transfer)?)));
    let of_lease = of_lease.filter(|(_, code)| codes::is_of_lease(*code));
    Ok(of_lease.map(|(transfer, code)| (transfer.timestamp_ns, tell(&auditor, transfer, code))).collect())
}

/// A sentence about a transfer of a lease.
fn tell(auditor: &Auditor, transfer: &RawTransfer, code: Code) -> String {
    let limit = [transfer.debit, transfer.credit]
        .into_iter()
        .find_map(|id| auditor.accounts().role(id).and_then(Role::limit))
        .map_or("a limit that is not known", |limit| auditor.limits().key(limit));
    let RawTransfer { amount, timeout_seconds, .. } = *transfer;
    if transfer.has(RawTransfer::VOID_PENDING) {
        return format!("voids the reservation {:032x}", transfer.pending_id);
    }
    match code {
        Code::ReserveRolling | Code::ReserveRollingDeny => {
            format!("reserves {amount} of {limit} for {timeout_seconds} s")
        }
        Code::ReserveConcurrency => {
            format!("takes {amount} slots of {limit} for at most {timeout_seconds} s")
        }
        Code::Spend | Code::SpendDeny => format!("spends {amount} of {limit}"),
        Code::Shrink => format!("leaves {amount} of {limit} reserved for {timeout_seconds} s more"),
        Code::Overage => format!("reserves {amount} more of {limit} as overage"),
        Code::Debt if amount == 0 => "claims the lease for emergency debt".to_owned(),
        Code::Debt => format!("records {amount} of {limit} as debt"),
        Code::Excess => format!("records {amount} of {limit} as excess of a forced reserve"),
        Code::Pass => "begins a later attempt".to_owned(),
        Code::Complete => "settles the lease".to_owned(),
        Code::Extend => "extends the lease".to_owned(),
        Code::Renew => format!("renews {} slots", transfer.short),
        Code::Release => format!("releases {amount} of {limit}"),
        Code::Borrow => format!("borrows for {amount} of {limit}"),
        Code::Grant
        | Code::Cut
        | Code::Definition
        | Code::Close
        | Code::KeepReserved
        | Code::ClearDebt
        | Code::AdvanceClock
        | Code::Refill
        | Code::Repay
        | Code::Measure
        | Code::Allow
        | Code::Allot
        | Code::Announce
        | Code::AnnounceUrl
        | Code::Alert => format!("moves {amount} with code {}", transfer.code),
    }
}

/// Tells the versions of a limit, and how it stood at a moment, in the ledger's nanoseconds; empty if no version defines it.
/// Reads every transfer up to then.
///
/// # Errors
///
/// If the ledger does not answer.
pub async fn limit_story<L: RawLedger>(
    ledger: &L,
    ledger_number: u32,
    key: &str,
    at_ns: u64,
) -> Result<Vec<(u64, String)>, LedgerError> {
    let mut auditor = Auditor::new(ledger_number).watching(key);
    read(ledger, &mut auditor, 0, at_ns, &mut |_| {}).await?;
    let Some(limit) = auditor.limits().find(key) else { return Ok(Vec::new()) };
    let mut lines: Vec<(u64, String)> =
        auditor.history().iter().map(|(at_ns, version)| (*at_ns, tell_version(version))).collect();
    let sums = auditor.accounts().sums(limit.account);
    let owed = limit.borrowed.map_or(0, |borrowed| -auditor.accounts().sums(borrowed).posted());
    lines.push((
        at_ns,
        format!(
            "capacity {}, {} available, {} reserved, {} spent, {owed} owed",
            limit.version.capacity,
            sums.available(),
            sums.debits_pending,
            limit.spent
        ),
    ));
    let of_limit =
        auditor.accounts().all_live().filter(|live| live.debit == limit.account && live.lease != 0);
    let mut holders: Vec<_> = of_limit.collect();
    holders.sort_unstable_by_key(|live| std::cmp::Reverse(live.amount));
    for live in holders.into_iter().take(HOLDERS_MAX) {
        let left_s = live.expires_ns.saturating_sub(at_ns).div_ceil(NS_PER_SECOND);
        let lease = ulid::Ulid(live.lease);
        lines.push((at_ns, format!("lease {lease} holds {} for {left_s} s more", live.amount)));
    }
    Ok(lines)
}

fn tell_version(version: &Version) -> String {
    let kind = match version.kind {
        Kind::Rolling { window_seconds } => format!("rolling over {window_seconds} s"),
        Kind::Concurrency { timeout_seconds } => format!("concurrency, at most {timeout_seconds} s"),
        Kind::Bucket { refill_amount, interval_ms, per_interval, is_timed: true } => {
            format!("bucket, {per_interval} x {refill_amount} in {interval_ms} ms")
        }
        Kind::Bucket { refill_amount, is_timed: false, .. } => {
            format!("bucket, {refill_amount} on request")
        }
        Kind::FixedWindow { window_ms, .. } => format!("window of {}", length(window_ms)),
        Kind::Calendar => "window of a calendar".to_owned(),
        Kind::SlidingWindow { window_ms, segments, .. } => {
            format!("sliding window of {} in {segments} segments", length(window_ms))
        }
    };
    let status = match version.status {
        Status::Active => String::new(),
        Status::Decreasing { to } => format!(", waits to be lowered to {to}"),
        Status::Deleted => ", deleted".to_owned(),
        Status::Retired => ", retired".to_owned(),
    };
    format!("version {}: {kind}, capacity {}{status}", version.number, version.capacity)
}

/// In seconds if they are whole, else in milliseconds.
fn length(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { format!("{ms} ms") }
}
