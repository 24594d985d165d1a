//! Runs seeds, each in a thread of its own, and says what they were.
//!
//! `SIMULATION_SEED=S` runs one seed and prints everything that happens. `SIMULATION_SEEDS=FROM..TO` runs those instead of the
//! few hundred of `cargo test`. `scripts/simulate-faults` sets both.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Once;
use std::thread;
use std::time::Instant;

use crate::world::{Report, World};

/// The seeds of `cargo test`.
const SEEDS: std::ops::Range<u64> = 0..200;
/// Enough for the deepest chain of futures in a debug build.
const STACK_BYTES: usize = 16 << 20;

thread_local! {
    /// Panics of tasks, which their runtime catches.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Notes panics of tasks in simulated threads.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
            report(panic);
        }));
    });
}

/// Runs one seed.
fn run(seed: u64, prints: bool) -> Report {
    note_panics();
    let simulated = move || {
        simulated_machine::enter(seed);
        let mut world = World::new(seed, prints);
        world.run();
        let mut report = world.report();
        report.violations.extend(PANICS.take());
        report
    };
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(simulated).expect("a thread starts");
    thread.join().unwrap_or_else(|_| panic!("seed {seed}: the simulation itself panicked"))
}

/// The sums of some runs.
#[derive(Default)]
struct Totals {
    seeds: u64,
    simulated_ms: u64,
    transfers: usize,
    faults: BTreeMap<&'static str, u64>,
    answers: BTreeMap<&'static str, u64>,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.simulated_ms += report.simulated_ms;
        self.transfers += report.transfers;
        report.faults.iter().for_each(|(sort, count)| *self.faults.entry(sort).or_default() += count);
        report.answers.iter().for_each(|(sort, count)| *self.answers.entry(sort).or_default() += count);
    }

    fn print(&self, took: std::time::Duration) {
        println!(
            "{} seeds in {:.1} s, {} s simulated",
            self.seeds,
            took.as_secs_f64(),
            self.simulated_ms / 1_000
        );
        println!("{} transfers", self.transfers);
        for (sort, count) in self.faults.iter().chain(&self.answers) {
            println!("{count:>9} {sort}");
        }
    }
}

/// The seeds that the environment names.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("SIMULATION_SEEDS") else { return SEEDS };
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or_else(|| panic!("SIMULATION_SEEDS must be FROM..TO, got {text}"))
}

#[test]
fn every_seed_keeps_every_promise() {
    let (started, mut totals) = (Instant::now(), Totals::default());
    for seed in seeds() {
        let report = run(seed, false);
        totals.add(&report);
        assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
    }
    totals.print(started.elapsed());
}

#[test]
fn a_seed_runs_twice_in_the_same_way() {
    for seed in 0..10 {
        assert_eq!(run(seed, false).hash, run(seed, false).hash, "seed {seed}");
    }
}

#[test]
fn one_seed_is_shown() {
    let Ok(seed) = std::env::var("SIMULATION_SEED") else { return };
    let seed = seed.parse().unwrap_or_else(|_| panic!("SIMULATION_SEED must be a number, got {seed}"));
    let report = run(seed, true);
    println!("seed {seed}: hash {:x}, {report:#?}", report.hash);
    assert!(report.violations.is_empty(), "seed {seed}");
}
