//! Reads everything that a ledger of the cluster holds, for an audit.

use tigerbeetle_unofficial::core::{self as client, query_filter::QueryFilter};

use super::session::Request;
use super::{TigerBeetleLedger, decode, encode};
use crate::ledger::raw::{RawLedger, RawTransfer};
use crate::ledger::{Account, AccountId, LedgerError, TransferCode};

impl TigerBeetleLedger {
    async fn query(
        &self,
        wide: u128,
        code: u16,
        after_ns: u64,
        until_ns: u64,
    ) -> Result<Vec<RawTransfer>, LedgerError> {
        let mut filter = QueryFilter::new(encode::QUERY_TRANSFERS_MAX).with_ledger(self.ledger);
        let raw = filter.as_raw_mut();
        raw.user_data_128 = wide;
        raw.code = code;
        raw.timestamp_min = if after_ns == 0 { 0 } else { after_ns + 1 };
        // 0 means no bound to TigerBeetle, and it refuses the largest number.
        raw.timestamp_max = if until_ns == u64::MAX { 0 } else { until_ns };
        let reply = self.request(Request::QueryTransfers(filter)).await?;
        let transfers: Vec<client::Transfer> = bytemuck::pod_collect_to_vec(&reply.payload);
        Ok(transfers.iter().map(raw_transfer).collect())
    }

    async fn query_all(&self, wide: u128, code: u16) -> Result<Vec<RawTransfer>, LedgerError> {
        let mut all: Vec<RawTransfer> = Vec::new();
        loop {
            let after_ns = all.last().map_or(0, |last| last.timestamp_ns);
            let page = self.query(wide, code, after_ns, u64::MAX).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }
}

fn raw_transfer(transfer: &client::Transfer) -> RawTransfer {
    RawTransfer {
        id: transfer.id(),
        debit: transfer.debit_account_id(),
        credit: transfer.credit_account_id(),
        amount: transfer.amount(),
        pending_id: transfer.pending_id(),
        wide: transfer.user_data_128(),
        long: transfer.user_data_64(),
        short: transfer.user_data_32(),
        timeout_seconds: transfer.timeout(),
        code: transfer.code(),
        flags: transfer.flags().bits(),
        timestamp_ns: transfer.as_raw().timestamp,
    }
}

impl RawLedger for TigerBeetleLedger {
    async fn raw_transfers(&self, after_ns: u64, until_ns: u64) -> Result<Vec<RawTransfer>, LedgerError> {
        if after_ns >= until_ns {
            return Ok(Vec::new());
        }
        self.query(0, 0, after_ns, until_ns).await
    }

    async fn raw_transfers_of(&self, wide: u128) -> Result<Vec<RawTransfer>, LedgerError> {
        self.query_all(wide, 0).await
    }

    async fn raw_definitions(&self) -> Result<Vec<RawTransfer>, LedgerError> {
        self.query_all(0, TransferCode::Definition as u16).await
    }

    async fn raw_accounts(&self, ids: Vec<AccountId>) -> Result<(Vec<Option<Account>>, u64), LedgerError> {
        let wanted = ids.iter().map(|id| id.as_u128()).collect();
        let reply = self.request(Request::LookupAccounts(wanted)).await?;
        // The reply leaves out accounts that do not exist and keeps the order of the others.
        let mut found = decode::accounts(&reply.payload).into_iter().peekable();
        let accounts = ids.into_iter().map(|id| found.next_if(|account| account.id == id)).collect();
        Ok((accounts, reply.timestamp_ns))
    }
}
