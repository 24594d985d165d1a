//! Leases that were served from allotments: of them the ledger has only what they used beyond it.

use std::time::Duration;

use ledger_limiter::audit::{Law, audit};
use ledger_limiter::ledger::TransferCode as Code;
use ledger_limiter::ledger::raw::RawTransfer;
use ledger_limiter::limit::{AllotmentPeriod, LeaseId};

use super::list_ledger::ListLedger;
use crate::audited::assert_clean;
use crate::fixtures::*;
use crate::memory::MemoryBackend;

/// Settles a lease that holds one unit of `tpm` from an allotment, and a unit of each of these limits, with overage and debt.
async fn overage_beside(backend: &MemoryBackend, others: &[&str]) -> LeaseId {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let period = AllotmentPeriod::new(10_000).expect("valid");
    replica.put(rolling("tpm", 100, 3_600).with_allotment(period).expect("a rolling limit")).await;
    for other in others {
        replica.put(rolling(other, 10, 3_600)).await;
    }
    let served = || replica.limiter().allotment_counts().served();
    for _ in 0..100 {
        assert!(is_granted(&replica.take(&[("tpm", 1)]).await));
        if served() > 0 {
            break;
        }
    }
    let mut wants: Vec<(&str, u64)> = others.iter().map(|other| (*other, 1)).collect();
    wants.push(("tpm", 1));
    let (id, served_before) = (lease(), served());
    assert!(is_granted(&replica.reserve(id, &wants).await));
    assert!(served() > served_before || !others.is_empty(), "an allotment serves it");
    replica.complete(id, &[("tpm", 150)]).await;
    id
}

#[tokio::test]
async fn overage_of_a_lease_without_a_grant_is_lawful() {
    let backend = MemoryBackend::keeping_all();
    let id = overage_beside(&backend, &[]).await;
    let list = ListLedger::copy(&backend.ledger).await;
    let codes: Vec<u16> =
        list.transfers.iter().filter(|it| it.wide == id.as_u128()).map(|it| it.code).collect();
    assert_eq!(codes, [Code::Complete, Code::Overage, Code::Debt].map(|code| code as u16));
    assert_clean(&list, 1).await;
}

#[tokio::test]
async fn a_lease_may_hold_allotments_beside_what_the_ledger_granted() {
    let backend = MemoryBackend::keeping_all();
    overage_beside(&backend, &["daily"]).await;
    backend.pass(Duration::from_secs(1)).await;
    assert_clean(&*backend.connect(), 1).await;
}

#[tokio::test]
async fn a_lease_of_allotments_is_settled_once() {
    let backend = MemoryBackend::keeping_all();
    let id = overage_beside(&backend, &[]).await;
    let mut list = ListLedger::copy(&backend.ledger).await;
    let guard = list.find("a guard", |it| it.wide == id.as_u128() && it.code == Code::Complete as u16);
    let again = list.transfers[guard];
    list.append(RawTransfer { id: again.id + 7, ..again });
    let report = audit(&list, 1, |_| {}).await.expect("the ledger answers");
    assert!(report.findings.iter().any(|finding| finding.law == Law::SettledOnce), "{report:?}");
}
