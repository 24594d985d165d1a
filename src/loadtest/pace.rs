//! When callers start their next call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::schedule::Schedule;

/// The shortest sleep of the pacer: how late a call may be started for the generator's own reasons.
const NAP: Duration = Duration::from_micros(50);

/// The measured time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
}

/// What a caller waits for before each call.
#[derive(Debug, Clone)]
pub(crate) enum Pace {
    /// Nothing: the next call starts when the one before is answered.
    Closed(Window),
    /// The intended start of a call, whoever makes it.
    Open(Arc<OpenLoop>),
}

/// Calls that are due at their times, whether or not those before are answered. Latencies count from the intended
/// start, so that a target that stands still is charged for the calls that had to wait for it.
#[derive(Debug)]
pub(crate) struct OpenLoop {
    schedule: Schedule,
    started: Instant,
    /// A permit for each call that is due.
    due: Semaphore,
    taken: AtomicU64,
}

impl Pace {
    /// The intended start of the next call; `None` when there is none any more.
    pub(crate) async fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed(window) => Some(Instant::now()).filter(|now| *now < window.end),
            Self::Open(open) => open.next().await,
        }
    }

    /// Whether a call counts that was to start and was answered at these times. In a closed loop those do that lie in
    /// the measured time whole; in an open loop all that were due in it, or the slowest would be left out.
    pub(crate) fn counts(&self, window: Window, started: Instant, answered: Instant) -> bool {
        match self {
            Self::Closed(_) => window.begin <= started && answered <= window.end,
            Self::Open(_) => window.begin <= started,
        }
    }

    /// How many calls were due and nobody was free to start them.
    pub(crate) fn not_started(&self) -> u64 {
        match self {
            Self::Closed(_) => 0,
            Self::Open(open) => {
                let mut taken = open.taken.load(Ordering::Relaxed);
                let first = taken;
                while open.schedule.start_of(taken).is_some() {
                    taken += 1;
                }
                taken - first
            }
        }
    }
}

impl OpenLoop {
    /// Starts a thread that says when calls are due. The runtime's timers are too coarse for that: they go by whole
    /// milliseconds. `callers` are let go after the last call.
    pub(crate) fn start(schedule: Schedule, started: Instant, callers: usize) -> Arc<Self> {
        let open = Arc::new(Self { schedule, started, due: Semaphore::new(0), taken: AtomicU64::new(0) });
        let pacer = Arc::clone(&open);
        std::thread::spawn(move || pacer.pace(callers));
        open
    }

    fn pace(&self, callers: usize) {
        let mut call = 0;
        while let Some(start) = self.schedule.start_of(call) {
            let elapsed = self.started.elapsed();
            if start > elapsed {
                std::thread::sleep((start - elapsed).max(NAP));
                continue;
            }
            let first = call;
            while self.schedule.start_of(call).is_some_and(|start| start <= elapsed) {
                call += 1;
            }
            self.due.add_permits(usize::try_from(call - first).unwrap_or(Semaphore::MAX_PERMITS));
        }
        self.due.add_permits(callers);
    }

    async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        let start = self.schedule.start_of(self.taken.fetch_add(1, Ordering::Relaxed))?;
        Some(self.started + start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(rate: &str, millis: u64, callers: usize) -> Pace {
        let profile = rate.parse().expect("a profile");
        let schedule = Schedule::new(&profile, Duration::ZERO, Duration::from_millis(millis), 1);
        Pace::Open(OpenLoop::start(schedule, Instant::now(), callers))
    }

    #[tokio::test]
    async fn an_open_loop_hands_out_each_start_once_and_never_early() {
        let pace = open("constant:1000", 50, 1);
        let mut starts = Vec::new();
        while let Some(start) = pace.next().await {
            assert!(start <= Instant::now());
            starts.push(start);
        }
        assert_eq!(starts.len(), 50);
        assert!(starts.is_sorted_by(|a, b| a < b));
    }

    #[tokio::test]
    async fn a_caller_that_comes_late_gets_the_start_that_was_intended() {
        let pace = open("constant:100", 100, 1);
        let first = pace.next().await.expect("a start");
        tokio::time::sleep(Duration::from_millis(60)).await;
        let second = pace.next().await.expect("a start");
        assert_eq!(second - first, Duration::from_millis(10));
        assert!(second.elapsed() >= Duration::from_millis(50), "the wait belongs to its latency");
        assert_eq!(pace.not_started(), 8);
    }

    #[test]
    fn what_is_answered_after_the_end_counts_in_an_open_loop_only() {
        let begin = Instant::now();
        let window = Window { begin, end: begin + Duration::from_secs(1) };
        let at = |millis| begin + Duration::from_millis(millis);
        let (closed, open) = (Pace::Closed(window), open("constant:1", 1, 0));
        for (started, answered, in_closed, in_open) in [(0, 1_000, true, true), (999, 1_001, false, true)] {
            assert_eq!(closed.counts(window, at(started), at(answered)), in_closed);
            assert_eq!(open.counts(window, at(started), at(answered)), in_open);
        }
        assert!(!open.counts(Window { begin: at(1), end: at(2) }, begin, at(2)), "that is the warm-up");
    }
}
