//! A ledger that is a list of transfers, to be tampered with.

use std::sync::Arc;

use ledger_limiter::ledger::memory::{ManualClock, MemoryLedger};
use ledger_limiter::ledger::raw::{RawLedger, RawTransfer};
use ledger_limiter::ledger::{Account, AccountId, LedgerError, TransferCode};

/// The transfers of a memory ledger, as a copy, and its accounts as they are.
#[derive(Clone)]
pub struct ListLedger {
    pub transfers: Vec<RawTransfer>,
    memory: Arc<MemoryLedger<Arc<ManualClock>>>,
}

impl ListLedger {
    pub async fn copy(memory: &Arc<MemoryLedger<Arc<ManualClock>>>) -> Self {
        let mut transfers: Vec<RawTransfer> = Vec::new();
        loop {
            let after_ns = transfers.last().map_or(0, |last| last.timestamp_ns);
            let page = memory.raw_transfers(after_ns, u64::MAX).await.expect("the ledger answers");
            if page.is_empty() {
                return Self { transfers, memory: Arc::clone(memory) };
            }
            transfers.extend(page);
        }
    }

    /// The index of the first transfer for which this holds.
    pub fn find(&self, what: &str, holds: impl Fn(&RawTransfer) -> bool) -> usize {
        self.transfers.iter().position(holds).unwrap_or_else(|| panic!("the scenario makes {what}"))
    }

    /// The first transfer with this code and these flags.
    pub fn with_code(&self, code: TransferCode, flags: u16) -> usize {
        self.find("such a transfer", |transfer| transfer.code == code as u16 && transfer.has(flags))
    }

    /// Appends a transfer that is a chain by itself, 1 s after the last one.
    pub fn append(&mut self, transfer: RawTransfer) {
        let last_ns = self.transfers.last().map_or(0, |last| last.timestamp_ns);
        let flags = transfer.flags & !RawTransfer::LINKED;
        self.transfers.push(RawTransfer { timestamp_ns: last_ns + 1_000_000_000, flags, ..transfer });
    }
}

impl RawLedger for ListLedger {
    async fn raw_transfers(&self, after_ns: u64, until_ns: u64) -> Result<Vec<RawTransfer>, LedgerError> {
        let wanted = |transfer: &&RawTransfer| (after_ns + 1..=until_ns).contains(&transfer.timestamp_ns);
        // Small pages, so that a chain crosses their bounds.
        Ok(self.transfers.iter().filter(wanted).take(7).copied().collect())
    }

    async fn raw_transfers_of(&self, wide: u128) -> Result<Vec<RawTransfer>, LedgerError> {
        Ok(self.transfers.iter().filter(|transfer| transfer.wide == wide).copied().collect())
    }

    async fn raw_definitions(&self) -> Result<Vec<RawTransfer>, LedgerError> {
        let is_part = |transfer: &&RawTransfer| transfer.code == TransferCode::Definition as u16;
        Ok(self.transfers.iter().filter(is_part).copied().collect())
    }

    async fn raw_accounts(&self, ids: Vec<AccountId>) -> Result<(Vec<Option<Account>>, u64), LedgerError> {
        let (accounts, at_ns) = self.memory.raw_accounts(ids).await?;
        let last_ns = self.transfers.last().map_or(0, |last| last.timestamp_ns);
        Ok((accounts, at_ns.max(last_ns)))
    }
}
