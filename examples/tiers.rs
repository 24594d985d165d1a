//! Several limits of one tenant, reserved together: a rate per second, a rate per minute and a daily budget.
//!
//! `cargo run --example tiers [-- --target http://HOST:PORT]`

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Write, stdout};
use std::time::Duration;

use ledger_limiter::client::{Acquired, Limiter, Requirements, Transport};
use target::Target;
use tokio::time::{Instant, sleep};

mod target;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match target::from_args().await? {
        Target::InProcess(transport) => run(transport, &mut stdout()).await,
        Target::Server(transport) => run(transport, &mut stdout()).await,
    }
}

/// Reserves as fast as it can, and prints how many reserves each limit denied.
pub(crate) async fn run<T: Transport>(transport: T, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let limiter = Limiter::new(transport);
    let wants = Requirements::new([
        ("tenant:acme:per_second", 1),
        ("tenant:acme:per_minute", 1),
        ("tenant:acme:llm:daily_tokens", 100),
    ])?;
    let (mut granted, mut denied) = (0, BTreeMap::<String, u64>::new());
    let until = Instant::now() + Duration::from_millis(1_500);
    while Instant::now() < until {
        match limiter.try_acquire(&wants).await? {
            Acquired::Granted(lease) => {
                // The requests stay reserved until their windows have passed. Unused tokens are released at once.
                lease.complete([("tenant:acme:llm:daily_tokens", 40)]).await?;
                granted += 1;
            }
            Acquired::Denied(denial) => {
                *denied.entry(denial.key().to_string()).or_default() += 1;
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
    writeln!(out, "granted: {granted}")?;
    for (key, times) in denied {
        writeln!(out, "denied by {key}: {times}")?;
    }
    limiter.shutdown().await;
    Ok(())
}
