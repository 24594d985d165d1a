//! What the service itself says of its requests to the ledger.

use std::time::{Duration, Instant};

use ledger_limiter::telemetry::names;
use serde::Serialize;
use tokio::time::sleep_until;

use crate::pace::Window;
use crate::target::Target;

/// How often the queue is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);

/// What the ledger had to do in the measured time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct LedgerUse {
    pub(crate) ledger_requests: u64,
    pub(crate) ledger_transfers: u64,
    /// The most that waited at any of the looks.
    pub(crate) queue_transfers_max: u64,
}

/// One look at the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    requests: u64,
    transfers: u64,
    queue_transfers: u64,
}

/// Watches the service over the measured time; `None` if it does not tell.
pub(crate) async fn watch<T: Target>(
    target: &T,
    mut connection: T::Connection,
    window: Window,
) -> Option<LedgerUse> {
    sleep_until(window.begin.into()).await;
    let first = Look::at(&target.metrics(&mut connection).await?)?;
    let mut queue_transfers_max = first.queue_transfers;
    loop {
        sleep_until((Instant::now() + SAMPLE_INTERVAL).min(window.end).into()).await;
        let look = Look::at(&target.metrics(&mut connection).await?)?;
        queue_transfers_max = queue_transfers_max.max(look.queue_transfers);
        if Instant::now() >= window.end {
            return Some(LedgerUse {
                ledger_requests: look.requests.saturating_sub(first.requests),
                ledger_transfers: look.transfers.saturating_sub(first.transfers),
                queue_transfers_max,
            });
        }
    }
}

impl Look {
    fn at(text: &str) -> Option<Self> {
        Some(Self {
            requests: value(text, &format!("{}_count", names::LEDGER_REQUEST_TRANSFERS))?,
            transfers: value(text, &format!("{}_sum", names::LEDGER_REQUEST_TRANSFERS))?,
            queue_transfers: value(text, names::LEDGER_QUEUE_TRANSFERS)?,
        })
    }
}

/// The value of a metric without labels, which are whole numbers here even where the text form has a point.
fn value(text: &str, name: &str) -> Option<u64> {
    let of_name = |line: &str| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
    let value: f64 = text.lines().find_map(of_name)?.trim().parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just before")]
    (0.0..9e15).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_reads_whole_names_only() {
        let text = "# TYPE ratelimiterd_ledger_request_transfers histogram\n\
            ratelimiterd_ledger_request_transfers_sum 1200.0\n\
            ratelimiterd_ledger_request_transfers_count 7\n\
            ratelimiterd_ledger_request_transfers_max 300\n\
            ratelimiterd_ledger_queue_transfers 42\n# EOF\n";
        assert_eq!(Look::at(text), Some(Look { requests: 7, transfers: 1_200, queue_transfers: 42 }));
        assert_eq!(Look::at("ratelimiterd_requests_in_flight 0\n# EOF\n"), None);
    }
}
