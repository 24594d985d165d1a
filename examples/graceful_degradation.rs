//! Falls back to a smaller model, and then to a cache, when a limit has no room.
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

/// The models, the best first.
const MODELS: [&str; 2] = ["gpt-4o", "gpt-4o-mini"];

/// Starts more calls than all models together have slots.
pub(crate) async fn run<T: Transport>(transport: T, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let limiter = Limiter::new(transport);
    // The leases of the calls that have not ended. They keep their slots.
    let mut running = Vec::new();
    for number in 1..=65 {
        let answered_by = match best_model(&limiter).await {
            Ok(Some((model, lease))) => {
                running.push(lease);
                model
            }
            Ok(None) => "the cache, because no model has room",
            // It is unknown whether a model has room, so no model is asked: the limits hold during an outage too.
            Err(ReserveError::Call(error)) => {
                writeln!(out, "{error}")?;
                "the cache, because the limiter does not answer"
            }
            Err(ReserveError::Requirements(error)) => return Err(error.into()),
        };
        if [1, 11, 60, 61, 65].contains(&number) {
            writeln!(out, "{number}: answered by {answered_by}")?;
        }
    }
    drop(running);
    limiter.shutdown().await;
    Ok(())
}

/// Why the limiter gave no answer.
#[derive(Debug, thiserror::Error)]
enum ReserveError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Requirements(#[from] RequirementsError),
}

/// The best model with room, and a lease for it. `None` if no model has room.
async fn best_model<T: Transport>(
    limiter: &Limiter<T>,
) -> Result<Option<(&'static str, Lease<T>)>, ReserveError> {
    for model in MODELS {
        let wants = LlmCall::new("openai", model).requirements("Summarize this.", 100)?;
        if let Acquired::Granted(lease) = limiter.try_acquire(&wants).await? {
            return Ok(Some((model, lease)));
        }
    }
    Ok(None)
}
