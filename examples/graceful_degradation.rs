//! What to do without room: ask a smaller model, and in the end answer from what is at hand, instead of failing.
//!
//! `cargo run --example graceful_degradation [-- --target http://HOST:PORT]`

use std::error::Error;
use std::io::{Write, stdout};

use ledger_limiter::client::{Acquired, CallError, Lease, Limiter, LlmCall, RequirementsError, Transport};
use target::Target;

mod target;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match target::from_args().await? {
        Target::InProcess(transport) => run(transport, &mut stdout()).await,
        Target::Server(transport) => run(transport, &mut stdout()).await,
    }
}

/// The models to ask, the best first.
const MODELS: [&str; 2] = ["gpt-4o", "gpt-4o-mini"];

/// Asks for answers until nobody is left to give one.
pub(crate) async fn run<T: Transport>(transport: T, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let limiter = Limiter::new(transport);
    // Calls that go on while further ones come.
    let mut under_way = Vec::new();
    for number in 1..=65 {
        let answered_by = match best_model(&limiter).await {
            Ok(Some((model, lease))) => {
                under_way.push(lease);
                model
            }
            Ok(None) => "the cache, because no model has room",
            // Whether there is room is unknown. Going on without limit would be the wrong way to fail.
            Err(Degraded::Call(error)) => {
                writeln!(out, "{error}")?;
                "the cache, because the limiter does not answer"
            }
            Err(Degraded::Requirements(error)) => return Err(error.into()),
        };
        if [1, 11, 60, 61, 65].contains(&number) {
            writeln!(out, "{number}: answered by {answered_by}")?;
        }
    }
    drop(under_way);
    limiter.shutdown().await;
    Ok(())
}

/// Why there is no model to ask.
#[derive(Debug, thiserror::Error)]
enum Degraded {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Requirements(#[from] RequirementsError),
}

/// The best model with room, and a lease of it.
async fn best_model<T: Transport>(
    limiter: &Limiter<T>,
) -> Result<Option<(&'static str, Lease<T>)>, Degraded> {
    for model in MODELS {
        let wants = LlmCall::new("openai", model).requirements("Summarize this.", 100)?;
        if let Acquired::Granted(lease) = limiter.try_acquire(&wants).await? {
            return Ok(Some((model, lease)));
        }
    }
    Ok(None)
}
