//! The time to try again that a denial tells.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::client::{Acquired, InProcess, Limiter, Rate, Requirements};
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::testing::{self, TokioClock};
use tokio::time::advance;

use super::world::KEY;

/// The most that is added to a hint at random, so that callers do not come at once. It grows with denials in a row.
const JITTER_MAX: Duration = Duration::from_millis(50);

type Calls = Limiter<InProcess<MemoryLedger<TokioClock>>>;

/// The hint of a denial, or `None` if the units are granted.
async fn hint(limiter: &Calls, units: u64) -> Option<Duration> {
    let wants = Requirements::new([(KEY, units)]).expect("valid");
    match limiter.try_acquire(&wants).await.expect("an answer") {
        Acquired::Granted(_) => None,
        Acquired::Denied(denial) => Some(denial.retry_after().expect("a time")),
    }
}

async fn limiter(rate: Rate) -> Arc<Calls> {
    Arc::new(Limiter::new(testing::limits([rate.limit(KEY)]).await.expect("valid")))
}

#[tokio::test(start_paused = true)]
async fn a_denial_hints_at_the_next_refill_or_a_little_later() {
    for (rate, step_ms) in [
        (Rate::per_second(10), 100),
        (Rate::per_second(10).burst(1), 100),
        (Rate::per_second(3), 333),
        (Rate::per_second(999).burst(7), 1),
        (Rate::per_minute(7), 8_571),
        (Rate::every(Duration::from_millis(90)).burst(2), 90),
    ] {
        let limiter = limiter(rate).await;
        while hint(&limiter, 1).await.is_none() {}
        let step = Duration::from_millis(step_ms);
        // The denial that ends the loop was the first one.
        advance(step - Duration::from_millis(1)).await;
        let hinted = hint(&limiter, 1).await.unwrap_or_else(|| panic!("{rate:?}: too early"));
        assert!(hinted <= Duration::from_millis(2) + JITTER_MAX, "{rate:?}: {hinted:?}");
        advance(hinted).await;
        assert_eq!(hint(&limiter, 1).await, None, "{rate:?}: {hinted:?} were hinted");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_obeys_every_hint_is_never_denied_twice() {
    let limiter = limiter(Rate::per_second(5)).await;
    for call in 0..20 {
        advance(Duration::from_millis(1)).await;
        if let Some(hinted) = hint(&limiter, 1).await {
            advance(hinted).await;
            assert_eq!(hint(&limiter, 1).await, None, "call {call}");
        }
    }
}
