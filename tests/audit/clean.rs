//! Ledgers that the limiter wrote.

use ledger_limiter::audit::audit;
use ledger_limiter::ledger::raw::RawLedger;

use super::list_ledger::ListLedger;
use super::scenario::{Made, everything};
use crate::audited::assert_clean;
use crate::fixtures::Backend;
use crate::memory::MemoryBackend;

#[tokio::test]
async fn a_ledger_on_which_everything_happened_is_clean() {
    let Made { backend, .. } = everything().await;
    let report = assert_clean(&*backend.connect(), 1).await;
    assert_eq!(report.limits, 15, "eleven limits, a template and three instances");
    assert!(report.leases > 12 && report.transfers > 100 && report.accounts > 40, "{report:?}");
}

#[tokio::test]
async fn an_empty_ledger_is_clean() {
    assert_eq!(assert_clean(&*MemoryBackend::new().connect(), 1).await.transfers, 0);
}

#[tokio::test]
async fn pages_may_end_within_chains() {
    let Made { backend, .. } = everything().await;
    let list = ListLedger::copy(&backend.ledger).await;
    let (whole, paged) = (assert_clean(&*backend.ledger, 1).await, assert_clean(&list, 1).await);
    assert_eq!((whole.chains, whole.leases), (paged.chains, paged.leases));
}

/// An audit of another ledger number derives other ids, so it cannot explain one account.
#[tokio::test]
async fn a_ledger_of_another_number_is_not_understood() {
    let Made { backend, .. } = everything().await;
    let transfers = backend.ledger.raw_transfers(0, u64::MAX).await.expect("the ledger answers");
    assert!(!transfers.is_empty());
    let report = audit(&*backend.ledger, 2, |_| {}).await.expect("the ledger answers");
    assert!(!report.is_clean());
}

#[tokio::test]
async fn progress_ends_at_the_last_transfer() {
    let Made { backend, .. } = everything().await;
    let list = ListLedger::copy(&backend.ledger).await;
    let mut seen = Vec::new();
    audit(&list, 1, |progress| seen.push(progress)).await.expect("the ledger answers");
    let last = seen.last().expect("pages were read");
    assert_eq!(last.transfers, list.transfers.len() as u64);
    assert_eq!(last.last_ns, list.transfers.last().expect("there are transfers").timestamp_ns);
    assert_eq!(last.first_ns, list.transfers[0].timestamp_ns);
    assert_eq!(last.open_leases, 2, "the open one, and one that spent of a bucket without refills by time");
}
