//! Token types and money: one reserve covers the tokens of a call by type, and the most that it can cost.
//!
//! `cargo run --example money [-- --target http://HOST:PORT]`

use std::error::Error;
use std::io::{Write, stdout};
use std::time::SystemTime;

use ledger_limiter::client::{
    Acquired, Limiter, LlmCall, OpenAiUsage, PriceTable, TokenUsage, Transport, UnitMicros,
};
use target::Target;

mod target;

/// Example prices. Put those of your contract into a file of your own.
const PRICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/prices.json");
const BUDGET: &str = "tenant:acme:llm:cost:usd";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match target::from_args().await? {
        Target::InProcess(transport) => run(transport, &mut stdout()).await,
        Target::Server(transport) => run(transport, &mut stdout()).await,
    }
}

/// Makes a call, and asks for one that the budget does not allow.
pub(crate) async fn run<T: Transport>(transport: T, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let limiter = Limiter::new(transport);
    let prices = PriceTable::read(PRICES)?;
    let micros = UnitMicros::new(1)?;

    // The call keeps its price, so a new price while it runs changes nothing.
    let price = prices.price("openai", "gpt-4o", SystemTime::now())?;
    let call = LlmCall::new("openai", "gpt-4o").with_token_types().with_cost("acme", price);
    let prompt = "Why is the sky blue? ".repeat(100);
    let before = limiter.available(BUDGET).await?.ok_or("there is no budget")?;
    let lease = limiter.acquire(&call.requirements(&prompt, 500)?).await?;
    let reserved = lease.requirements().iter().find(|wants| wants.key.as_str() == BUDGET);
    let most = reserved.map_or(0, |wants| wants.amount.get());
    writeln!(out, "at most {} USD", micros.worth(most))?;

    let usage = TokenUsage::try_from(ask_model(&prompt))?;
    lease.complete(call.actuals_of(&usage)?).await?;
    let spent = before - limiter.available(BUDGET).await?.ok_or("there is no budget")?;
    writeln!(out, "{} tokens for {} USD", usage.total()?, micros.worth(u64::try_from(spent)?))?;

    match limiter.try_acquire(&call.requirements(&prompt, 3_000)?).await? {
        Acquired::Granted(_) => writeln!(out, "granted")?,
        Acquired::Denied(denial) => writeln!(out, "denied by {}", denial.key())?,
    }
    if let Err(error) = prices.price("openai", "gpt-unknown", SystemTime::UNIX_EPOCH) {
        writeln!(out, "{error}")?;
    }
    limiter.shutdown().await;
    Ok(())
}

/// Stands for the call to the provider. Returns the usage as the provider tells it.
fn ask_model(_prompt: &str) -> OpenAiUsage {
    OpenAiUsage { prompt_tokens: 601, cached_tokens: 512, completion_tokens: 40, reasoning_tokens: 0 }
}
