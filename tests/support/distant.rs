//! A ledger far away: each request to it takes a round trip, and is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ledger_limiter::ledger::LedgerError;

use crate::ledger_wrapper::{CallHook, LedgerWrapper};

pub type Distant<L> = LedgerWrapper<L, RoundTrips>;

/// Delays and counts requests.
pub struct RoundTrips {
    round_trip: Duration,
    requests: AtomicUsize,
}

impl<L> LedgerWrapper<L, RoundTrips> {
    pub fn new(inner: Arc<L>, round_trip: Duration) -> Arc<Self> {
        Arc::new(Self { inner, hook: RoundTrips { round_trip, requests: AtomicUsize::new(0) } })
    }

    /// The requests so far. What is submitted at once is one request.
    pub fn requests(&self) -> usize {
        self.hook.requests.load(Ordering::SeqCst)
    }
}

impl CallHook for RoundTrips {
    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.round_trip / 2).await;
        let answer = call.await;
        tokio::time::sleep(self.round_trip / 2).await;
        answer
    }
}
