//! A daily budget for each tenant: a tenant without budget does not affect the others.
//!
//! `cargo run --example per_user [-- --target http://HOST:PORT]`

use std::error::Error;
use std::io::{Write, stdout};

use ledger_limiter::client::{Acquired, Limiter, LlmCall, Transport};
use target::Target;

mod target;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match target::from_args().await? {
        Target::InProcess(transport) => run(transport, &mut stdout()).await,
        Target::Server(transport) => run(transport, &mut stdout()).await,
    }
}

/// Makes the same three calls for two tenants.
pub(crate) async fn run<T: Transport>(transport: T, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let limiter = Limiter::new(transport);
    for tenant in ["zorg", "acme"] {
        let call = LlmCall::new("openai", "gpt-4o").with_daily_tokens(tenant);
        for number in 1..=3 {
            match limiter.try_acquire(&call.requirements("Write me a poem.", 900)?).await? {
                Acquired::Granted(lease) => {
                    lease.complete(call.actuals(850)).await?;
                    writeln!(out, "{tenant} {number}: granted")?;
                }
                // A denied reserve takes nothing, not even on the limits that have room.
                Acquired::Denied(denial) => writeln!(out, "{tenant} {number}: denied by {}", denial.key())?,
            }
        }
    }
    limiter.shutdown().await;
    Ok(())
}
