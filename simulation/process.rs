//! One process: a runtime of its own, whose clocks run, stand still and jump apart from those of others.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep_until};

use crate::cluster::STARTED_UNIX_MS;

const NS_PER_MS: u64 = 1_000_000;
/// How often the tasks of a process are let run when nothing more is due. A chain of wakes is rarely longer; what is left runs
/// at the next step.
const TURNS: usize = 16;

/// How the clocks of a process differ from the time of the simulation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ClockSkew {
    /// By how many parts in a million the monotonic clock is fast.
    pub(crate) fast_ppm: i64,
    /// By how much the wall clock is ahead.
    pub(crate) ahead_ms: i64,
}

/// A runtime on paused time. It runs only in [`Process::step_to`], and is dropped in the middle of whatever it does.
pub(crate) struct Process {
    runtime: Runtime,
    origin: Instant,
    started_ms: u64,
    pub(crate) skew: ClockSkew,
}

impl Process {
    pub(crate) fn start(now_ms: u64, skew: ClockSkew) -> Self {
        let builder = || Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = builder().expect("a runtime starts");
        let origin = runtime.block_on(async { Instant::now() });
        Self { runtime, origin, started_ms: now_ms, skew }
    }

    /// Adds a task, which runs at the next step.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Runs the process until this time of the simulation, timer by timer.
    pub(crate) fn step_to(&self, now_ms: u64) {
        self.set_clocks(now_ms);
        let until = self.local(now_ms);
        self.runtime.block_on(async {
            if until > Instant::now() {
                sleep_until(until).await;
            }
            for _ in 0..TURNS {
                yield_now().await;
            }
        });
    }

    /// Lets the clocks of a process that was stalled jump to the present. All its timers that are due fire at once.
    pub(crate) fn resume(&self, now_ms: u64) {
        self.set_clocks(now_ms);
        let until = self.local(now_ms);
        self.runtime.block_on(async { advance(until.saturating_duration_since(Instant::now())).await });
    }

    /// The monotonic clock of the process at a time of the simulation.
    fn local(&self, now_ms: u64) -> Instant {
        self.origin + Duration::from_nanos(self.monotonic_ns(now_ms))
    }

    fn monotonic_ns(&self, now_ms: u64) -> u64 {
        let passed_ms = now_ms.saturating_sub(self.started_ms);
        (passed_ms * NS_PER_MS).saturating_add_signed(passed_ms as i64 * self.skew.fast_ppm)
    }

    fn set_clocks(&self, now_ms: u64) {
        let wall_ms = (STARTED_UNIX_MS + now_ms).saturating_add_signed(self.skew.ahead_ms);
        simulated_machine::set_clocks(wall_ms * NS_PER_MS, self.monotonic_ns(now_ms));
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};
    use std::thread;
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::fixtures::lease;

    const SKEW: ClockSkew = ClockSkew { fast_ppm: 1_000, ahead_ms: -300 };

    /// What a thread draws: the seed of a hash map, a number of `rand`, the random bits of a ULID.
    fn drawn_in_thread_of(seed: Option<u64>) -> (u64, u64, u128) {
        let draw = move || {
            seed.into_iter().for_each(simulated_machine::enter);
            (RandomState::new().hash_one(1), rand::random(), lease().as_u128())
        };
        thread::spawn(draw).join().expect("the thread draws")
    }

    #[test]
    fn what_is_random_follows_from_the_seed() {
        assert_eq!(drawn_in_thread_of(Some(7)), drawn_in_thread_of(Some(7)));
        let (seven, eight) = (drawn_in_thread_of(Some(7)), drawn_in_thread_of(Some(8)));
        assert!(seven.0 != eight.0 && seven.1 != eight.1 && seven.2 != eight.2, "{seven:?} {eight:?}");
        assert_ne!(drawn_in_thread_of(None), drawn_in_thread_of(None), "outside of simulations");
    }

    /// The monotonic and the wall clock of a process, in milliseconds since the start of the simulation.
    fn read_clocks(process: &Process) -> (u128, u64) {
        let origin = process.origin;
        process.runtime.block_on(async move {
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
            (origin.elapsed().as_millis(), wall.as_millis() as u64 - STARTED_UNIX_MS)
        })
    }

    #[test]
    fn a_process_has_clocks_of_its_own() {
        let clocks = || {
            simulated_machine::enter(1);
            let (skewed, stalled) = (Process::start(0, SKEW), Process::start(0, ClockSkew::default()));
            skewed.step_to(10_000);
            stalled.step_to(1_000);
            let before = read_clocks(&stalled);
            stalled.resume(10_000);
            skewed.step_to(10_000);
            let skewed = read_clocks(&skewed);
            stalled.step_to(10_000);
            (before.0, skewed, read_clocks(&stalled))
        };
        let (before, skewed, stalled) = thread::spawn(clocks).join().expect("the thread reads clocks");
        assert_eq!((before, skewed, stalled), (1_000, (10_010, 9_700), (10_000, 10_000)));
        assert!(SystemTime::now() > UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    }

    #[test]
    fn the_timers_of_a_stalled_process_fire_at_once_when_it_runs_again() {
        let process = Process::start(0, ClockSkew::default());
        let (sender, fired) = std::sync::mpsc::channel();
        for wait_ms in [500, 5_000] {
            let sender = sender.clone();
            process.spawn(async move {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                sender.send(wait_ms).expect("the test waits for it");
            });
        }
        process.step_to(100);
        assert!(fired.try_recv().is_err(), "not yet");
        process.resume(2_000);
        process.step_to(2_000);
        assert_eq!(fired.try_iter().collect::<Vec<_>>(), [500]);
        process.step_to(4_999);
        assert!(fired.try_recv().is_err(), "not yet");
        process.step_to(5_001);
        assert_eq!(fired.try_iter().collect::<Vec<_>>(), [5_000]);
    }
}
