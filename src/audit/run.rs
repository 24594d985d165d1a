//! Reads a ledger from its first transfer to its last, while it is in use, and audits what it reads.

use futures_util::future::join;

use super::auditor::Auditor;
use super::report::{Progress, Report};
use crate::ledger::raw::{RawLedger, RawTransfer};
use crate::ledger::{AccountId, LedgerError};

/// How many accounts one look-up reads. A cluster in development mode takes small requests only.
const ACCOUNTS_MAX: usize = 1_000;

/// Audits a whole ledger. `progress` hears of every page that was read.
///
/// # Errors
///
/// If the ledger does not answer.
pub async fn audit<L: RawLedger>(
    ledger: &L,
    ledger_number: u32,
    mut progress: impl FnMut(Progress),
) -> Result<Report, LedgerError> {
    let mut auditor = Auditor::new(ledger_number);
    let (_, now_ns) = ledger.raw_accounts(vec![AccountId::from_u128(1)]).await?;
    let mut read_ns = read(ledger, &mut auditor, 0, now_ns, &mut progress).await?;
    let ids: Vec<u128> = auditor.accounts().ids().collect();
    for ids in ids.chunks(ACCOUNTS_MAX) {
        let wanted = ids.iter().map(|&id| AccountId::from_u128(id)).collect();
        let (found, at_ns) = ledger.raw_accounts(wanted).await?;
        read_ns = read(ledger, &mut auditor, read_ns, at_ns, &mut progress).await?;
        auditor.check_sums(ids, &found);
    }
    for lease in auditor.take_late_leases() {
        auditor.check_lease(&ledger.raw_transfers_of(lease).await?);
    }
    Ok(auditor.finish())
}

/// Reads the transfers in an interval. Returns its end.
pub(super) async fn read<L: RawLedger>(
    ledger: &L,
    auditor: &mut Auditor,
    after_ns: u64,
    until_ns: u64,
    progress: &mut impl FnMut(Progress),
) -> Result<u64, LedgerError> {
    let mut page = ledger.raw_transfers(after_ns, until_ns).await?;
    while let Some(&RawTransfer { timestamp_ns: last_ns, .. }) = page.last() {
        // The ledger reads the next page while this one is audited.
        let (next, ()) = join(ledger.raw_transfers(last_ns, until_ns), async {
            for transfer in &page {
                auditor.add(transfer);
            }
        })
        .await;
        progress(auditor.progress());
        page = next?;
    }
    auditor.advance(until_ns);
    Ok(until_ns)
}
