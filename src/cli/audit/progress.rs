//! One line on standard error that says how far an audit is, if that is a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use ledger_limiter::audit::Progress;

const REDRAW_INTERVAL: Duration = Duration::from_millis(200);

pub(super) struct ProgressLine {
    is_shown: bool,
    started: Instant,
    drawn: Option<Instant>,
    /// The time up to which transfers are read, in the ledger's nanoseconds.
    until_ns: u64,
}

impl ProgressLine {
    pub(super) fn new(until_ns: u64) -> Self {
        Self { is_shown: std::io::stderr().is_terminal(), started: Instant::now(), drawn: None, until_ns }
    }

    /// Draws the line, unless it was drawn a moment ago. How much is left is known by time only: nobody knows how many transfers
    /// a ledger holds.
    pub(super) fn show(&mut self, progress: Progress) {
        let is_recent = self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW_INTERVAL);
        if !self.is_shown || is_recent {
            return;
        }
        self.drawn = Some(Instant::now());
        let elapsed_s = self.started.elapsed().as_secs_f64().max(0.001);
        let per_second = progress.transfers as f64 / elapsed_s;
        let read_ns = progress.last_ns.saturating_sub(progress.first_ns) as f64;
        let all_ns = self.until_ns.saturating_sub(progress.first_ns).max(1) as f64;
        let done = (read_ns / all_ns).clamp(0.000_1, 1.0);
        let left_s = elapsed_s / done * (1.0 - done);
        // The audit goes on if standard error is closed.
        write!(
            std::io::stderr(),
            "\r\x1b[K{} transfers, {per_second:.0}/s, {:.0} % of the time, {left_s:.0} s left",
            progress.transfers,
            done * 100.0
        )
        .ok();
    }

    pub(super) fn clear(&self) {
        if self.drawn.is_some() {
            write!(std::io::stderr(), "\r\x1b[K").ok();
        }
    }
}
