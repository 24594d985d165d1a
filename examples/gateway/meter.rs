//! Counts the tokens of an answer while it streams.

use axum::body::Bytes;
use ledger_limiter::client::{Lease, LlmCall, Transport};

use super::upstream::Event;

/// The lease of a call, and the tokens that it has used so far. Dropping it completes the lease with these tokens, so
/// the lease is completed however the stream ends.
pub(crate) struct Meter<T: Transport> {
    call: LlmCall,
    lease: Option<Lease<T>>,
    tokens: u64,
    /// The start of an event that continues in the next chunk.
    line: Vec<u8>,
}

impl<T: Transport> Meter<T> {
    /// The meter of a call whose prompt was sent.
    pub(crate) fn new(call: LlmCall, lease: Lease<T>, prompt_tokens: u64) -> Self {
        Self { call, lease: Some(lease), tokens: prompt_tokens, line: Vec::new() }
    }

    /// Counts the events that end in this chunk. A chunk may end in the middle of an event.
    pub(crate) fn count(&mut self, chunk: &Bytes) {
        for byte in chunk {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            match line.strip_prefix(b"data: ").map(serde_json::from_slice) {
                Some(Ok(Event::Token(_))) => self.tokens += 1,
                // The provider's total replaces the own count.
                Some(Ok(Event::TokensTotal(total))) => self.tokens = total,
                Some(Err(_)) | None => {}
            }
        }
    }
}

impl<T: Transport> Drop for Meter<T> {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let used: Vec<(String, u64)> =
            self.call.actuals(self.tokens).map(|(key, tokens)| (key.to_owned(), tokens)).collect();
        tokio::spawn(async move {
            if let Err(error) = lease.complete(used).await {
                tracing::warn!(%error, "a lease could not be completed");
            }
        });
    }
}
