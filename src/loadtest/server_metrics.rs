//! Reads from the target's metrics how much the ledger had to do.

use std::time::{Duration, Instant};

use ledger_limiter::telemetry::names;
use serde::Serialize;
use tokio::time::sleep_until;

use crate::pace::Window;
use crate::target::Target;

/// The time between two samples of the queue.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);

/// The ledger's work in the measured time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct LedgerUse {
    pub(crate) ledger_requests: u64,
    pub(crate) ledger_transfers: u64,
    /// The most transfers that waited in the queue at any sample.
    pub(crate) queue_transfers_max: u64,
}

/// One sample of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    requests: u64,
    transfers: u64,
    queue_transfers: u64,
}

/// Samples the target's metrics over the measured time; `None` if it has none about the ledger.
pub(crate) async fn watch<T: Target>(
    target: &T,
    mut connection: T::Connection,
    window: Window,
) -> Option<LedgerUse> {
    sleep_until(window.begin.into()).await;
    let first = Sample::at(&target.metrics(&mut connection).await?)?;
    let mut queue_transfers_max = first.queue_transfers;
    loop {
        sleep_until((Instant::now() + SAMPLE_INTERVAL).min(window.end).into()).await;
        let look = Sample::at(&target.metrics(&mut connection).await?)?;
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

impl Sample {
    fn at(text: &str) -> Option<Self> {
        Some(Self {
            requests: value(text, &format!("{}_count", names::LEDGER_REQUEST_TRANSFERS))?,
            transfers: value(text, &format!("{}_sum", names::LEDGER_REQUEST_TRANSFERS))?,
            queue_transfers: value(text, names::LEDGER_QUEUE_TRANSFERS)?,
        })
    }
}

/// The value of a metric without labels. The text may have a decimal point, but these metrics are whole numbers.
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
    fn a_sample_matches_whole_names() {
        let text = "# TYPE ratelimiterd_ledger_request_transfers histogram\n\
            ratelimiterd_ledger_request_transfers_sum 1200.0\n\
            ratelimiterd_ledger_request_transfers_count 7\n\
            ratelimiterd_ledger_request_transfers_max 300\n\
            ratelimiterd_ledger_queue_transfers 42\n# EOF\n";
        assert_eq!(Sample::at(text), Some(Sample { requests: 7, transfers: 1_200, queue_transfers: 42 }));
        assert_eq!(Sample::at("ratelimiterd_requests_in_flight 0\n# EOF\n"), None);
    }
}
