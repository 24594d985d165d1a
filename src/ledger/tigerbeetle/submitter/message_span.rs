//! What a trace shows of a message: a span from the queue to the answer, and in it one for each request that carried the message.
//!
//! Callers share requests. Each gets a span of its own for a shared one, so that its trace is whole, whatever the traces of the
//! others are. The number of the request tells which callers shared it.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{Level, Span};

/// The target of the spans.
const TARGET: &str = "ledger_limiter::ledger";

/// Counts the requests of this process.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// The span of one message. Nothing is recorded, and nothing costs, if nobody asks for it.
#[derive(Debug)]
pub(super) struct MessageSpan(Option<Span>);

/// A request under way, as the traces of its callers show it.
#[derive(Debug, Default)]
pub(super) struct RequestSpans {
    /// They end when this is dropped.
    _spans: Vec<Span>,
}

impl MessageSpan {
    /// Begins when the message enters the queue. Its parent is the current span.
    pub(super) fn begin(transfers: usize) -> Self {
        if !tracing::span_enabled!(target: TARGET, Level::DEBUG, "submit") {
            return Self(None);
        }
        Self(Some(tracing::debug_span!(target: TARGET, "submit", otel.name = "ledger submit", transfers)))
    }
}

impl RequestSpans {
    /// Begins when a worker sends these messages. If the ledger finds their request too large, the spans cover its parts.
    pub(super) fn begin<'a>(
        messages: impl Iterator<Item = &'a MessageSpan>,
        callers: usize,
        transfers: usize,
    ) -> Self {
        let mut traced = messages.filter_map(|message| message.0.as_ref()).peekable();
        if traced.peek().is_none() {
            return Self::default();
        }
        let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
        let of = |message: &Span| {
            tracing::debug_span!(
                target: TARGET, parent: message, "request",
                otel.name = "create_transfers", otel.kind = "client", db.system.name = "tigerbeetle",
                db.operation.name = "create_transfers", db.operation.batch.size = transfers,
                ledger.request.number = number, ledger.request.callers = callers,
            )
        };
        Self { _spans: traced.map(of).collect() }
    }
}
