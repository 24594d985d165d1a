//! The audit behind tests: whatever a test did, its ledger must keep every law.

use std::sync::Arc;

use ledger_limiter::audit::{Report, audit};
use ledger_limiter::ledger::raw::RawLedger;

use crate::memory::MemoryBackend;

/// A backend whose ledger can be audited when its test is over.
pub trait Audited {
    /// Another connection to the ledger, and the ledger's number.
    fn raw(&self) -> (Arc<impl RawLedger + 'static>, u32);
}

impl Audited for MemoryBackend {
    fn raw(&self) -> (Arc<impl RawLedger + 'static>, u32) {
        (Arc::clone(&self.ledger), 1)
    }
}

/// The contract tests that write definitions of their own, which mean nothing to an audit.
const WRITES_NO_DEFINITIONS: &str = "definitions";

/// Fails with all findings unless the ledger of a contract test is clean.
pub async fn assert_lawful<L: RawLedger>(ledger: &L, number: u32, module: &str) {
    if module != WRITES_NO_DEFINITIONS {
        assert_clean(ledger, number).await;
    }
}

/// Fails with all findings unless the ledger is clean.
pub async fn assert_clean<L: RawLedger>(ledger: &L, number: u32) -> Report {
    let report = audit(ledger, number, |_| {}).await.expect("the ledger answers");
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(report.is_clean(), "{findings:#?}, not understood: {:?}", report.not_understood);
    report
}
