//! What .NET's `System.Threading.RateLimiting` calls a chain of a `ConcurrencyLimiter` with a queue and a limit of calls.
//! `docs/coming-from/system-threading-ratelimiting.md` shows it.
//!
//! `cargo run --example coming_from_system_threading_ratelimiting`

use std::error::Error;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::client::permits::{ChainedLimiter, PermitLimiter, PermitOptions, Permits};
use ledger_limiter::client::{InProcess, Limit};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(&mut stdout()).await
}

pub(crate) async fn run(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    // Three calls in any hour, two of them at once. `Http::new(url)?` in this place asks a service.
    let home = Arc::new(
        InProcess::with_limits([
            Limit::concurrency("slots", 2).timeout(Duration::from_secs(30)),
            Limit::rolling("calls", 3).per(Duration::from_secs(3_600)),
        ])
        .await?,
    );
    // One caller may wait for a slot, nobody for a call.
    let queue = PermitOptions::default().queue_permits_max(1);
    let slots = PermitLimiter::new(Arc::clone(&home), "slots", queue)?;
    let calls = PermitLimiter::new(home, "calls", PermitOptions::default())?;
    let both = ChainedLimiter::new(slots.clone(), []).then(calls.clone());

    let first = both.attempt_acquire(1).await?;
    let second = both.attempt_acquire(1).await?;
    let third = both.attempt_acquire(1).await?;
    writeln!(out, "acquired: {}, {}, {}", first.is_acquired(), second.is_acquired(), third.is_acquired())?;

    // Waits in the queue until the first lease is released.
    let (fourth, released) = tokio::join!(both.acquire(1), first.release());
    released?;
    let fourth = fourth?;
    writeln!(out, "after a wait: {}", fourth.is_acquired())?;
    // A dropped lease is released in the background; this waits for it.
    fourth.release().await?;
    second.release().await?;

    let fifth = both.attempt_acquire(1).await?;
    let hour = fifth.retry_after().is_some_and(|span| span <= Duration::from_secs(3_600));
    writeln!(out, "the fourth call of the hour: {}, a time to try again: {hour}", fifth.is_acquired())?;

    let statistics = slots.statistics().await?;
    writeln!(out, "slots: {} granted, {} failed", statistics.granted, statistics.failed)?;
    slots.shutdown().await;
    calls.shutdown().await;
    Ok(())
}
