//! When callers start their next call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::schedule::Schedule;

/// The shortest sleep of the pacer. Calls start late by about this much.
const SLEEP_MIN: Duration = Duration::from_micros(50);

/// The measured time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
}

/// When a caller may start its next call.
#[derive(Debug, Clone)]
pub(crate) enum Pace {
    /// As soon as its call before is answered, until the window ends.
    Closed(Window),
    /// At the next intended start of a shared schedule. Any free caller takes it.
    Open(Arc<OpenLoop>),
}

/// Calls that start by a schedule, even while earlier calls wait for their answers.
///
/// Latencies count from the intended start. So the latency of a call includes its wait for a target that stood still.
#[derive(Debug)]
pub(crate) struct OpenLoop {
    schedule: Schedule,
    started: Instant,
    /// A permit for each call whose intended start has passed and that no caller has taken.
    startable: Semaphore,
    /// How many calls were taken by callers.
    taken: AtomicU64,
}

impl Pace {
    /// Waits for the intended start of the next call, and returns it; `None` after the last call.
    pub(crate) async fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed(window) => Some(Instant::now()).filter(|now| *now < window.end),
            Self::Open(open) => open.next().await,
        }
    }

    /// Whether the report counts a call with this intended start and this time of its answer.
    ///
    /// A closed loop counts the calls that start and are answered in the measured time. An open loop counts all that
    /// should start in it, however late the answer, because the slowest calls must not be left out.
    pub(crate) fn counts(&self, window: Window, started: Instant, answered: Instant) -> bool {
        match self {
            Self::Closed(_) => window.begin <= started && answered <= window.end,
            Self::Open(_) => window.begin <= started,
        }
    }

    /// How many calls never started, because no caller was free.
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
    /// Starts a thread that adds a permit at each intended start. The runtime's timers are too coarse for that: their
    /// unit is a millisecond.
    ///
    /// After the last call the thread adds one permit for each of the `callers`, so that all of them end.
    pub(crate) fn start(schedule: Schedule, started: Instant, callers: usize) -> Arc<Self> {
        let open =
            Arc::new(Self { schedule, started, startable: Semaphore::new(0), taken: AtomicU64::new(0) });
        let pacer = Arc::clone(&open);
        std::thread::spawn(move || pacer.pace(callers));
        open
    }

    fn pace(&self, callers: usize) {
        let mut call = 0;
        while let Some(start) = self.schedule.start_of(call) {
            let elapsed = self.started.elapsed();
            if start > elapsed {
                std::thread::sleep((start - elapsed).max(SLEEP_MIN));
                continue;
            }
            let first = call;
            while self.schedule.start_of(call).is_some_and(|start| start <= elapsed) {
                call += 1;
            }
            self.startable.add_permits(usize::try_from(call - first).unwrap_or(Semaphore::MAX_PERMITS));
        }
        self.startable.add_permits(callers);
    }

    async fn next(&self) -> Option<Instant> {
        self.startable.acquire().await.ok()?.forget();
        let start = self.schedule.start_of(self.taken.fetch_add(1, Ordering::Relaxed))?;
        Some(self.started + start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start_open_loop(profile: &str, millis: u64, callers: usize) -> Pace {
        let profile = profile.parse().expect("a profile");
        let schedule = Schedule::new(&profile, Duration::ZERO, Duration::from_millis(millis), 1);
        Pace::Open(OpenLoop::start(schedule, Instant::now(), callers))
    }

    #[tokio::test]
    async fn an_open_loop_gives_each_start_once_and_never_early() {
        let pace = start_open_loop("constant:1000", 50, 1);
        let mut starts = Vec::new();
        while let Some(start) = pace.next().await {
            assert!(start <= Instant::now());
            starts.push(start);
        }
        assert_eq!(starts.len(), 50);
        assert!(starts.is_sorted_by(|a, b| a < b));
    }

    #[tokio::test]
    async fn a_late_caller_gets_the_intended_start_of_its_call() {
        let pace = start_open_loop("constant:100", 100, 1);
        let first = pace.next().await.expect("a start");
        tokio::time::sleep(Duration::from_millis(60)).await;
        let second = pace.next().await.expect("a start");
        assert_eq!(second - first, Duration::from_millis(10));
        assert!(
            second.elapsed() >= Duration::from_millis(50),
            "its latency includes the wait for a free caller"
        );
        assert_eq!(pace.not_started(), 8);
    }

    #[test]
    fn a_call_answered_after_the_end_counts_in_an_open_loop_only() {
        let begin = Instant::now();
        let window = Window { begin, end: begin + Duration::from_secs(1) };
        let at = |millis| begin + Duration::from_millis(millis);
        let (closed, open) = (Pace::Closed(window), start_open_loop("constant:1", 1, 0));
        for (started, answered, in_closed, in_open) in [(0, 1_000, true, true), (999, 1_001, false, true)] {
            assert_eq!(closed.counts(window, at(started), at(answered)), in_closed);
            assert_eq!(open.counts(window, at(started), at(answered)), in_open);
        }
        assert!(
            !open.counts(Window { begin: at(1), end: at(2) }, begin, at(2)),
            "a start in the warm-up does not count"
        );
    }
}
