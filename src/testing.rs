//! Limiters on tokio's time, for tests of code that waits for room. Such tests pause the time, and take none.
//!
//! ```
//! use std::time::Duration;
//!
//! use ledger_limiter::client::{Limit, Limiter, Requirements};
//! use ledger_limiter::testing;
//!
//! // In a test: #[tokio::test(start_paused = true)], with tokio's feature `test-util`.
//! #[tokio::main(flavor = "current_thread", start_paused = true)]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let limits = testing::limits([Limit::fixed_window("calls", 2).per(Duration::from_secs(60))]).await?;
//!     let limiter = Limiter::new(limits);
//!     let two = Requirements::new([("calls", 2)])?;
//!     let _first = limiter.acquire(&two).await?;
//!     let asked_at = tokio::time::Instant::now();
//!     let _second = limiter.acquire(&two).await?;
//!     assert!(asked_at.elapsed() >= Duration::from_secs(60), "a minute of tokio's time");
//!     Ok(())
//! }
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{InProcess, InProcessError, IntoDefinition};
use crate::ledger::memory::{Clock, MemoryLedger};
use crate::time::saturating_nanos;

/// 2026-01-01, on the boundary of every window that divides a day.
const STARTED_UNIX_NS: u64 = 1_767_225_600_000_000_000;

/// Tokio's clock, which begins at 2026-01-01 and can be turned back.
#[derive(Debug)]
pub struct TokioClock {
    started: Instant,
    back_ns: AtomicU64,
}

/// A limiter in this process with these limits, whose ledger counts tokio's time.
///
/// # Errors
///
/// [`InProcessError::Limit`] if a limit is not valid.
pub async fn limits<D: IntoDefinition>(
    limits: impl IntoIterator<Item = D>,
) -> Result<InProcess<MemoryLedger<TokioClock>>, InProcessError> {
    InProcess::with_clock(TokioClock::new(), limits).await
}

impl TokioClock {
    /// A clock that shows 2026-01-01 now.
    pub fn new() -> Self {
        Self { started: Instant::now(), back_ns: AtomicU64::new(0) }
    }

    /// Turns the clock back, as no clock of a ledger ought to be.
    pub fn turn_back(&self, by: Duration) {
        self.back_ns.fetch_add(saturating_nanos(by), Ordering::SeqCst);
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now_ns(&self) -> u64 {
        let shown_ns = STARTED_UNIX_NS.saturating_add(saturating_nanos(self.started.elapsed()));
        shown_ns.saturating_sub(self.back_ns.load(Ordering::SeqCst))
    }
}
