//! Reads a log of definition versions: that of operators, which every process follows, or that of template instances.

use crate::decide::definition_codec::{Assembler, DefinitionVersion};
use crate::ledger::{AccountId, AccountQuery, Ledger, LedgerError, Order, Side, TransferCode};
use crate::telemetry::with_sources;

/// The transfers read at once; a ledger's answer holds no more than 8,189.
const PAGE_TRANSFERS: u32 = 8_000;

/// How far a log was read.
pub(super) struct LogReader {
    /// The account that every version of the log debits.
    account: AccountId,
    read_to_ns: u64,
    assembler: Assembler,
}

impl LogReader {
    /// Starts at the beginning of a log.
    pub(super) fn new(account: AccountId) -> Self {
        Self { account, read_to_ns: 0, assembler: Assembler::default() }
    }

    /// Reads on to the end of the log. If the future is dropped, the next call goes on behind the last page that was taken.
    pub(super) async fn read_on<L: Ledger>(
        &mut self,
        ledger: &L,
        mut take: impl FnMut(DefinitionVersion),
    ) -> Result<(), LedgerError> {
        while self.read_page(ledger, &mut take).await? {}
        Ok(())
    }

    /// Reads one page on. False at the end of the log.
    pub(super) async fn read_page<L: Ledger>(
        &mut self,
        ledger: &L,
        mut take: impl FnMut(DefinitionVersion),
    ) -> Result<bool, LedgerError> {
        let query = AccountQuery {
            account: self.account,
            side: Side::Debit,
            code: TransferCode::Definition,
            after_ns: self.read_to_ns,
            order: Order::OldestFirst,
            count_max: PAGE_TRANSFERS,
        };
        let page = ledger.account_transfers(query).await?;
        for recorded in &page {
            self.read_to_ns = recorded.timestamp_ns;
            match self.assembler.push(recorded) {
                Ok(None) => {}
                Ok(Some(version)) => take(version),
                // A newer program may have written it: the limit keeps its last readable version, and the others go on.
                Err(error) => {
                    tracing::error!(
                        error = with_sources(&error),
                        "a definition in the ledger cannot be read and is skipped; is this program older than the one that wrote it?"
                    );
                }
            }
        }
        // A ledger may answer with fewer transfers than were asked for, so only an empty page is the end.
        Ok(!page.is_empty())
    }
}
