//! One call to a model: reserves before the call, and completes with the tokens that it used.
//!
//! `cargo run --example basic [-- --target http://HOST:PORT]`

use std::error::Error;
use std::io::{Write, stdout};

use ledger_limiter::client::{Limiter, LlmCall, Transport};
use target::Target;

mod target;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match target::from_args().await? {
        Target::InProcess(transport) => run(transport, &mut stdout()).await,
        Target::Server(transport) => run(transport, &mut stdout()).await,
    }
}

/// Makes one call.
pub(crate) async fn run<T: Transport>(transport: T, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let limiter = Limiter::new(transport);
    let call = LlmCall::new("openai", "gpt-4o").with_daily_tokens("acme");
    let prompt = "Why is the sky blue?";
    // Reserves a request, a slot, and the most tokens that the call can use: all of them or none.
    let lease = limiter.acquire(&call.requirements(prompt, 500)?).await?;
    let (answer, tokens_used) = ask_model(prompt);
    lease.complete(call.actuals(tokens_used)).await?;
    writeln!(out, "{answer} ({tokens_used} tokens)")?;
    limiter.shutdown().await;
    Ok(())
}

/// Stands for the call to the provider. Returns the answer, and the tokens of prompt and answer together.
fn ask_model(_prompt: &str) -> (&'static str, u64) {
    ("Because air scatters blue light more than red.", 17)
}
