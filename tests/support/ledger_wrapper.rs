//! A ledger around another one. A [`CallHook`] decides what becomes of each call: it delays, counts, records or loses it.

use std::sync::Arc;

use ledger_limiter::ledger::{
    Account, AccountId, AccountQuery, Chain, ChainOutcome, LeaseQuery, Ledger, LedgerError, NewAccount,
    PendingDebit, PendingQuery, Recorded,
};

pub struct LedgerWrapper<L, H> {
    pub inner: Arc<L>,
    pub hook: H,
}

/// What happens around the calls of a [`LedgerWrapper`].
pub trait CallHook: Send + Sync + 'static {
    /// Carries a call out, or answers in its place. Chains that are submitted at once are one call.
    fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> impl Future<Output = Result<T, LedgerError>> + Send;

    /// Whether the wrapper can send chains, as far as the hook knows.
    fn can_send_chains(&self) -> bool {
        true
    }

    /// Sees a chain before its call.
    fn chain_sent(&self, _chain: &Chain) {}

    /// Sees the answer to a chain after its call.
    fn chain_answered(&self, _answer: &Result<ChainOutcome, LedgerError>) {}
}

impl<L: Ledger, H: CallHook> Ledger for LedgerWrapper<L, H> {
    async fn submit(&self, chains: Vec<Chain>) -> Vec<Result<ChainOutcome, LedgerError>> {
        let count = chains.len();
        chains.iter().for_each(|chain| self.hook.chain_sent(chain));
        let call = async { Ok(self.inner.submit(chains).await) };
        let answers = self.hook.around(call).await.unwrap_or_else(|error| vec![Err(error); count]);
        answers.iter().for_each(|answer| self.hook.chain_answered(answer));
        answers
    }

    async fn submit_one(&self, chain: Chain) -> Result<ChainOutcome, LedgerError> {
        self.hook.chain_sent(&chain);
        // The memory ledger applies a chain before its future is polled, also one that the hook drops.
        let answer = self.hook.around(async { self.inner.submit_one(chain).await }).await;
        self.hook.chain_answered(&answer);
        answer
    }

    async fn create_accounts(&self, accounts: Vec<NewAccount>) -> Result<(), LedgerError> {
        self.hook.around(self.inner.create_accounts(accounts)).await
    }

    async fn accounts(&self, ids: Vec<AccountId>) -> Result<Vec<Option<Account>>, LedgerError> {
        self.hook.around(self.inner.accounts(ids)).await
    }

    async fn lease_transfers(&self, query: LeaseQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.hook.around(self.inner.lease_transfers(query)).await
    }

    async fn account_transfers(&self, query: AccountQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.hook.around(self.inner.account_transfers(query)).await
    }

    async fn pending_debits(&self, query: PendingQuery) -> Result<Option<Vec<PendingDebit>>, LedgerError> {
        self.hook.around(self.inner.pending_debits(query)).await
    }

    fn now_ns(&self) -> u64 {
        self.inner.now_ns()
    }

    fn can_send_chains(&self) -> bool {
        self.inner.can_send_chains() && self.hook.can_send_chains()
    }

    /// Does nothing, because other connections may share the inner ledger.
    async fn shutdown(&self) {}
}
