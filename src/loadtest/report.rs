//! The report of a run, as text and as JSON.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::measure::Tally;
use crate::pace::Window;
use crate::server_metrics::LedgerUse;
use crate::settings::Settings;

/// Rates, counts and latencies of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    /// The measured time. In an open loop it ends with the last answer.
    seconds: f64,
    settings: &'a Settings,
    reserves_per_second: f64,
    completes_per_second: f64,
    granted: u64,
    denied: u64,
    conflicts: u64,
    /// Items of reserves and completes whose outcome the target did not know.
    unknown: u64,
    /// Items of reserves and completes without a valid answer.
    errors: u64,
    /// Calls of an open loop that never started, because no caller was free.
    not_started: u64,
    reserve_latency_us: Latency,
    complete_latency_us: Latency,
    server: Option<LedgerUse>,
    pub(crate) first_error: Option<String>,
    #[serde(skip)]
    answers: u64,
}

/// How long calls took, in microseconds.
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl<'a> Report<'a> {
    pub(crate) fn new(
        settings: &'a Settings,
        window: Window,
        total: Tally,
        server: Option<LedgerUse>,
        not_started: u64,
    ) -> Self {
        let end = total.last_answer.unwrap_or(window.end).max(window.end);
        let seconds = (end - window.begin).as_secs_f64();
        let (reserves, completes) = (total.reserves, total.completes);
        Self {
            seconds,
            settings,
            reserves_per_second: per_second(reserves.items, seconds),
            completes_per_second: per_second(completes.items, seconds),
            granted: reserves.granted,
            denied: reserves.denied,
            conflicts: reserves.conflicts,
            unknown: total.unknown,
            errors: total.errors,
            not_started,
            reserve_latency_us: Latency::of(&reserves.latency_ns),
            complete_latency_us: Latency::of(&completes.latency_ns),
            server,
            first_error: total.first_error,
            answers: reserves.items + completes.items,
        }
    }

    /// Whether no item was answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.answers == 0
    }
}

impl Latency {
    fn of(latency_ns: &Histogram<u64>) -> Self {
        let at = |quantile| micros(latency_ns.value_at_quantile(quantile));
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: micros(latency_ns.max()) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people and plots")]
fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "for people and plots")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seconds      {:.2}", self.seconds)?;
        writeln!(f, "reserves/s   {:.0}   {}", self.reserves_per_second, self.reserve_latency_us)?;
        writeln!(f, "completes/s  {:.0}   {}", self.completes_per_second, self.complete_latency_us)?;
        writeln!(
            f,
            "reserves     granted {}, denied {}, conflicts {}",
            self.granted, self.denied, self.conflicts
        )?;
        write!(
            f,
            "no answer    unknown {}, errors {}, not started {}",
            self.unknown, self.errors, self.not_started
        )?;
        if let Some(server) = self.server {
            let batch =
                per_second(server.ledger_transfers, 1.0) / per_second(server.ledger_requests.max(1), 1.0);
            let transfers_per_second = per_second(server.ledger_transfers, self.seconds);
            write!(
                f,
                "\nledger       transfers/s {transfers_per_second:.0}, requests {}, transfers per request {batch:.1}, most in the queue {}",
                server.ledger_requests, server.queue_transfers_max
            )?;
        }
        if let Some(error) = &self.first_error {
            write!(f, "\nfirst error  {error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, p999, max } = self;
        write!(f, "latency us: p50 {p50:.0}, p90 {p90:.0}, p99 {p99:.0}, p99.9 {p999:.0}, max {max:.0}")
    }
}
