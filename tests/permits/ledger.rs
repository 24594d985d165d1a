//! The memory ledger on tokio's clock. Each call takes several polls, and the chains sent to it are recorded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::ledger::{Chain, ChainOutcome, LedgerError};
use ledger_limiter::testing::TokioClock;
use tokio::task::yield_now;

use crate::ledger_wrapper::{CallHook, LedgerWrapper};
use crate::memory::RETENTION;

pub type TestLedger = LedgerWrapper<MemoryLedger<Arc<TokioClock>>, CallRecorder>;

/// Records chains, and makes calls take several polls, or fail.
pub struct CallRecorder {
    clock: Arc<TokioClock>,
    /// The lease of each chain, in order: the id of its first transfer without the last 16 bits, which all ids of a
    /// lease share.
    chains: Mutex<Vec<u128>>,
    refused: AtomicU64,
    is_down: Mutex<bool>,
}

impl LedgerWrapper<MemoryLedger<Arc<TokioClock>>, CallRecorder> {
    pub fn new() -> Arc<Self> {
        let clock = Arc::new(TokioClock::new());
        let inner = Arc::new(MemoryLedger::new(Arc::clone(&clock), RETENTION));
        let (chains, refused, is_down) = (Mutex::default(), AtomicU64::new(0), Mutex::default());
        Arc::new(Self { inner, hook: CallRecorder { clock, chains, refused, is_down } })
    }

    /// Turns the clock back.
    pub fn turn_back(&self, by: Duration) {
        self.hook.clock.turn_back(by);
    }

    /// Makes every call fail while `is_down`.
    pub fn set_down(&self, is_down: bool) {
        *self.hook.is_down.lock().expect("no panic") = is_down;
    }

    /// The number of chains that the ledger refused.
    pub fn refused(&self) -> u64 {
        self.hook.refused.load(Ordering::SeqCst)
    }

    /// The number of chains sent.
    pub fn chains(&self) -> usize {
        self.hook.chains.lock().expect("no panic").len()
    }

    /// The leases that were released, in order, each as its index in the order of the grants.
    pub fn released_leases(&self) -> Vec<usize> {
        let chains = self.hook.chains.lock().expect("no panic");
        let mut seen: Vec<u128> = Vec::new();
        let mut released = Vec::new();
        for lease in chains.iter() {
            match seen.iter().position(|earlier| earlier == lease) {
                Some(index) => released.push(index),
                None => seen.push(*lease),
            }
        }
        released
    }

    /// Clears the recorded chains.
    pub fn forget_chains(&self) {
        self.hook.chains.lock().expect("no panic").clear();
    }
}

impl CallHook for CallRecorder {
    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        yield_now().await;
        if *self.is_down.lock().expect("no panic") {
            return Err(LedgerError::ShutDown);
        }
        let answer = call.await;
        yield_now().await;
        answer
    }

    fn chain_sent(&self, chain: &Chain) {
        let first = chain.transfers().first().expect("a chain is never empty");
        self.chains.lock().expect("no panic").push(first.id.as_u128() >> 16);
    }

    fn chain_answered(&self, answer: &Result<ChainOutcome, LedgerError>) {
        if let Ok(ChainOutcome::Refused { .. }) = answer {
            self.refused.fetch_add(1, Ordering::SeqCst);
        }
    }
}
