//! Refuses calls at once while the ledger does not answer, instead of letting each wait for its time-out.
//!
//! - *Closed*: every call passes. [`FAILURES_TO_OPEN`] failures in a row, without an answer between them, open the circuit.
//! - *Open*: one call in [`PROBE_INTERVAL_MS`] passes as a probe. All others are refused; nothing is sent for them.
//! - The first answer of the ledger closes it, whichever call gets it.
//!
//! See Nygard, *Release It!*, "Circuit Breaker".

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::time::Instant;

use crate::server::Metrics;
use crate::telemetry::{Counter, Gauge};
use crate::time::saturating_ms;

/// One failure may be a slow call; three in a row without an answer between them are an outage.
const FAILURES_TO_OPEN: u32 = 3;
/// The time between two probes, and behind a failed one, in milliseconds. A ledger that is back waits no longer to be used.
const PROBE_INTERVAL_MS: u64 = 500;

/// Whether calls may go to the ledger.
#[derive(Debug)]
pub struct Circuit {
    started: Instant,
    /// Failures since the last answer.
    failures: AtomicU32,
    /// When the next probe may pass, in milliseconds after `started`; [`CLOSED`] while every call passes.
    probe_at_ms: AtomicU64,
    is_open: Gauge,
    refused: Counter,
}

const CLOSED: u64 = u64::MAX;

impl Circuit {
    /// A closed circuit, which tells its state and its refusals by these metrics.
    pub fn new(metrics: &Metrics) -> Self {
        let (is_open, refused) = (metrics.circuit_open.clone(), metrics.refused_early.clone());
        Self {
            started: Instant::now(),
            failures: AtomicU32::new(0),
            probe_at_ms: AtomicU64::new(CLOSED),
            is_open,
            refused,
        }
    }

    /// Whether a call may pass. Costs one read while the circuit is closed.
    pub(super) fn lets_pass(&self) -> bool {
        let probe_at_ms = self.probe_at_ms.load(Ordering::Relaxed);
        if probe_at_ms == CLOSED {
            return true;
        }
        let now_ms = self.now_ms();
        let next_ms = now_ms + PROBE_INTERVAL_MS;
        let is_probe = now_ms >= probe_at_ms
            && self
                .probe_at_ms
                .compare_exchange(probe_at_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !is_probe {
            self.refused.inc();
        }
        is_probe
    }

    /// The ledger answered a call. Returns whether calls before it failed.
    pub(super) fn answered(&self) -> bool {
        // Read first: writes of every call would contend for the line. Both, because a failure at the same time may open the
        // circuit behind the reset of its count.
        let is_closed = self.probe_at_ms.load(Ordering::Relaxed) == CLOSED;
        if is_closed && self.failures.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.failures.store(0, Ordering::Relaxed);
        if self.probe_at_ms.swap(CLOSED, Ordering::Relaxed) != CLOSED {
            self.is_open.set(0);
            tracing::info!("the ledger answers again");
        }
        true
    }

    /// The ledger did not answer a call.
    pub(super) fn failed(&self) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < FAILURES_TO_OPEN {
            return;
        }
        // The first probe passes at once: the failed calls may have been slow ones. Behind a failed probe the interval
        // begins anew: a time-out may be longer.
        let now_ms = self.now_ms();
        let next_probe = |at_ms| Some(if at_ms == CLOSED { now_ms } else { now_ms + PROBE_INTERVAL_MS });
        let before = self.probe_at_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next_probe);
        if before == Ok(CLOSED) {
            self.is_open.set(1);
            tracing::warn!(
                failures,
                probe_interval_ms = PROBE_INTERVAL_MS,
                "the ledger does not answer; requests are refused at once, but for one in each probe interval"
            );
        }
    }

    fn now_ms(&self) -> u64 {
        saturating_ms(self.started.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::MetricsRegistry;

    fn circuit() -> Circuit {
        Circuit::new(&Metrics::new(MetricsRegistry::default()))
    }

    async fn pass(ms: u64) {
        tokio::time::advance(Duration::from_millis(ms)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_probes_pass_until_an_answer_closes_it() {
        let circuit = circuit();
        for _ in 0..2 {
            circuit.failed();
            assert!(circuit.lets_pass());
        }
        circuit.failed();
        assert_eq!(
            (circuit.lets_pass(), circuit.lets_pass()),
            (true, false),
            "the first probe passes at once"
        );
        for _ in 0..10 {
            pass(499).await;
            assert!(!circuit.lets_pass());
            pass(1).await;
            assert_eq!((circuit.lets_pass(), circuit.lets_pass()), (true, false));
            circuit.failed();
        }
        assert_eq!((circuit.is_open.get(), circuit.refused.get()), (1, 21));
        circuit.answered();
        assert!((0..100).all(|_| circuit.lets_pass()));
        assert_eq!((circuit.is_open.get(), circuit.refused.get()), (0, 21));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_between_failures_keeps_it_closed() {
        let circuit = circuit();
        for _ in 0..100 {
            circuit.failed();
            circuit.failed();
            circuit.answered();
            assert!(circuit.lets_pass());
        }
    }
}
