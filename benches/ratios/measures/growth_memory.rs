//! Whether a reserve in memory takes longer among many limits or many live leases than among few.

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::time::{Duration, Instant};

use ledger_limiter::limit::LimitKey;
use ledger_limiter::protocol::{Complete, Reserve};

use super::Pace;
use crate::failure::Failure;
use crate::in_process::{InProcess, complete, concurrency, key, keys, reserve, rolling};
use crate::report::{Goal, Row, count, number};
use crate::rounds::Spread;

/// The commands of one round, built outside the measured time. A round is short, so that an interruption spoils few
/// rounds.
const CHUNK: usize = 2_000;
/// The time of each command. As in `pairs`, a window of 1 s holds 10,000 commands.
const STEP: Duration = Duration::from_micros(100);
const WINDOW_SECONDS: u64 = 1;
/// Longer than the measurement takes.
const TIMEOUT_SECONDS: u64 = 86_400;
/// The most that the time in the largest size may be, as a multiple of the time in the smallest.
const GOAL: Goal = Goal::AtMost(1.5);

pub(super) const NOTE: &str = "the memory ledger in process, on one thread, three sizes in turn. Limits: a reserve on \
    one limit that is picked at random among all, with the last 10,000 reservations live, as in `pairs`. Live leases: \
    a pair reserves one slot and completes the oldest live lease. At a million of either, the tables do not fit into \
    the processor's caches. The bare map shows what one access to memory costs then: it only looks a random key up in \
    a hash map of the standard library, which holds a boxed number for each limit.";

/// A store with a number of limits.
struct Limits {
    store: InProcess,
    keys: Vec<LimitKey>,
}

/// A bare hash map with the same number of keys, for comparison.
struct Bare {
    numbers: HashMap<LimitKey, Box<u64>>,
    keys: Vec<LimitKey>,
}

/// A store with a number of live leases.
struct Leases {
    store: InProcess,
    slots: LimitKey,
    /// The complete of each live lease, the oldest first.
    live: VecDeque<Complete>,
}

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let most = pace.pick(1_000_000, 50_000);
    Ok(vec![
        growth(pace, "limits, reserve", GOAL, [10, 10_000, most], Limits::start, Limits::reserve_ns)?,
        growth(pace, "keys, a bare map", Goal::None, [10, 10_000, most], Bare::start, Bare::look_up_ns)?,
        growth(pace, "live leases, reserve + complete", GOAL, [1, 10, most], Leases::start, Leases::pair_ns)?,
    ])
}

/// Measures stores of three sizes in turn.
fn growth<S>(
    pace: Pace,
    what: &str,
    goal: Goal,
    sizes: [usize; 3],
    start: fn(usize) -> Result<S, Failure>,
    measure_ns: fn(&mut S) -> Result<f64, Failure>,
) -> Result<Row, Failure> {
    let [smallest, middle, largest] = sizes;
    let (mut small, mut medium, mut large) = (start(smallest)?, start(middle)?, start(largest)?);
    let mut round = || Ok([measure_ns(&mut small)?, measure_ns(&mut medium)?, measure_ns(&mut large)?]);
    // The first rounds fill the stores until as many reservations expire as are made. They do not count.
    (0..10).try_for_each(|_| round().map(drop))?;
    let rounds: Vec<[f64; 3]> = (0..pace.pick(200, 20)).map(|_| round()).collect::<Result<_, Failure>>()?;
    let median = |size: fn(&[f64; 3]) -> f64| Spread::of(rounds.iter().map(size).collect());
    Ok(Row {
        what: format!("{} to {} {what}: time", count(smallest), count(largest)),
        goal,
        unit: "",
        measured: Spread::of(rounds.iter().map(|[small, _, large]| large / small).collect())?,
        detail: format!(
            "{} ns, {} ns at {}, {} ns",
            number(median(|times| times[0])?.median),
            number(median(|times| times[1])?.median),
            count(middle),
            number(median(|times| times[2])?.median)
        ),
    })
}

impl Limits {
    fn start(size: usize) -> Result<Self, Failure> {
        let store = InProcess::start(STEP)?;
        let keys = keys(size)?;
        store.define(keys.iter().map(|key| rolling(key, WINDOW_SECONDS)))?;
        Ok(Self { store, keys })
    }

    fn reserve_ns(&mut self) -> Result<f64, Failure> {
        let random_key = || self.keys.get(rand::random_range(0..self.keys.len())).ok_or(Failure::Nothing);
        let commands: Vec<Reserve> =
            (0..CHUNK).map(|_| reserve(&[(random_key()?, 1)])).collect::<Result<_, _>>()?;
        let started = Instant::now();
        self.store.reserve_all(&commands)?;
        Ok(started.elapsed().as_secs_f64() * 1e9 / CHUNK as f64)
    }
}

impl Bare {
    fn start(size: usize) -> Result<Self, Failure> {
        let keys = keys(size)?;
        let numbers = keys.iter().cloned().zip((0..).map(Box::new)).collect();
        Ok(Self { numbers, keys })
    }

    fn look_up_ns(&mut self) -> Result<f64, Failure> {
        // Each key is parsed again, because the key of a request is not the one in the map.
        let random_key = || {
            let known_key = self.keys.get(rand::random_range(0..self.keys.len())).ok_or(Failure::Nothing)?;
            key(known_key.as_str())
        };
        let keys: Vec<LimitKey> = (0..CHUNK).map(|_| random_key()).collect::<Result<_, _>>()?;
        let started = Instant::now();
        for key in &keys {
            black_box(self.numbers.get(key).map(|number| **number).ok_or(Failure::Nothing)?);
        }
        Ok(started.elapsed().as_secs_f64() * 1e9 / CHUNK as f64)
    }
}

impl Leases {
    fn start(size: usize) -> Result<Self, Failure> {
        let store = InProcess::start(STEP)?;
        let slots = key("global:llm:openai:gpt-4o:concurrency")?;
        store.define([concurrency(&slots, TIMEOUT_SECONDS)])?;
        let mut leases = Self { store, slots, live: VecDeque::with_capacity(size + CHUNK) };
        for _ in 0..size {
            let (reserve, complete) = leases.call()?;
            leases.store.reserve_all(&[reserve])?;
            leases.live.push_back(complete);
        }
        Ok(leases)
    }

    fn pair_ns(&mut self) -> Result<f64, Failure> {
        let calls: Vec<(Reserve, Complete)> = (0..CHUNK).map(|_| self.call()).collect::<Result<_, _>>()?;
        let (reserves, completes): (Vec<Reserve>, Vec<Complete>) = calls.into_iter().unzip();
        self.live.extend(completes);
        let oldest: Vec<Complete> = self.live.drain(..CHUNK).collect();
        let started = Instant::now();
        self.store.run_pairs(reserves.iter().zip(&oldest))?;
        Ok(started.elapsed().as_secs_f64() * 1e9 / CHUNK as f64)
    }

    fn call(&self) -> Result<(Reserve, Complete), Failure> {
        let reserve = reserve(&[(&self.slots, 1)])?;
        let complete = complete(reserve.lease, &[])?;
        Ok((reserve, complete))
    }
}
