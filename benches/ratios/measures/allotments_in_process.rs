//! One hot limit that hands out allotments, in this process: what a reserve costs that asks no ledger.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger_limiter::engine::{Engine, EngineOptions};
use ledger_limiter::ledger::Ledger;
use ledger_limiter::ledger::memory::{MemoryLedger, SystemClock};
use ledger_limiter::ledger::tigerbeetle::TigerBeetleLedger;
use ledger_limiter::limit::{AllotmentPeriod, LimitKey};
use ledger_limiter::protocol::{Complete, CompleteOutcome, Reserve, ReserveOutcome};
use ledger_limiter::server::config::TigerBeetleSettings;
use tokio::runtime::Runtime;

use super::Pace;
use crate::failure::Failure;
use crate::in_process::{complete, key, reserve, rolling};
use crate::processes::TigerBeetle;
use crate::report::{Goal, Row, number};
use crate::rounds::Spread;

/// The commands of one round, built outside the measured time.
const CHUNK: usize = 10_000;
/// Behind so many pairs the background loops have their turn.
const PAIRS_BETWEEN_TURNS: usize = 500;
const WINDOW_SECONDS: u64 = 2;
const PERIOD_MS: u64 = 1_000;
/// The tokens that a reserve takes and those that its complete names.
const RESERVED: u64 = 10;
const USED: u64 = 7;

pub(super) const NOTE: &str = "one rolling limit with a window of 2 s and allotments of 1 s, on one thread, which also \
    runs the background loops; over TigerBeetle the client library has threads of its own. A pair reserves 10 units \
    and completes 7. Commands are built outside the measured time. The detail says how many reserves were served \
    without the ledger.";

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let memory = Hot::start(|| MemoryLedger::new(SystemClock::new(), Duration::ZERO))?;
    let mut rows = vec![memory.row("the memory ledger", pace)?];
    let tigerbeetle = TigerBeetle::start()?;
    let settings = TigerBeetleSettings { addresses: vec![tigerbeetle.address.clone()], ..Default::default() };
    let hot = Hot::start(|| TigerBeetleLedger::connect((&settings).into()))?;
    rows.push(hot.row("TigerBeetle", pace)?);
    Ok(rows)
}

/// A limiter with one limit.
struct Hot<L> {
    engine: Arc<Engine<L>>,
    runtime: Runtime,
    key: LimitKey,
}

impl<L: Ledger> Hot<L> {
    fn start(connect: impl FnOnce() -> L) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::file("the runtime cannot be started"))?;
        let key = key("global:llm:openai:gpt-4o:tpm")?;
        let period = AllotmentPeriod::new(PERIOD_MS).map_err(|error| Failure::invalid(&error))?;
        let definition = rolling(&key, WINDOW_SECONDS)?.with_allotment(period);
        let definition = definition.map_err(|error| Failure::invalid(&error))?;
        let engine = runtime.block_on(async {
            let engine = Arc::new(Engine::new(Arc::new(connect()), EngineOptions::default()));
            engine.bootstrap_until_ready(&[]).await;
            engine.admin().put(&definition).await?;
            let looping = Arc::clone(&engine);
            tokio::spawn(async move { looping.run_loops().await });
            Ok::<_, Failure>(engine)
        })?;
        Ok(Self { engine, runtime, key })
    }

    fn row(&self, ledger: &str, pace: Pace) -> Result<Row, Failure> {
        // The first rounds fill the table of leases.
        let warmup = pace.pick(30, 3);
        Spread::of_rounds(warmup, || self.round())?;
        let served_before = self.engine.limiter().allotment_counts().served();
        let rounds = pace.pick(100, 10);
        let measured = Spread::of_rounds(rounds, || self.round())?;
        let served = self.engine.limiter().allotment_counts().served() - served_before;
        let percent = 100.0 * served as f64 / (rounds * CHUNK) as f64;
        let detail =
            format!("{} ns for a pair; {percent:.2} % without the ledger", number(1e9 / measured.median));
        let what = format!(
            "one hot delegated limit, reserve + complete below, over {ledger}, in process, one thread"
        );
        Ok(Row { what, goal: Goal::AtLeast(1_000_000.0), unit: "/s", measured, detail })
    }

    /// Pairs per second.
    fn round(&self) -> Result<f64, Failure> {
        let pair = || -> Result<(Reserve, Complete), Failure> {
            let reserve = reserve(&[(&self.key, RESERVED)])?;
            let complete = complete(reserve.lease, &[(&self.key, USED)])?;
            Ok((reserve, complete))
        };
        let pairs: Vec<_> = (0..CHUNK).map(|_| pair()).collect::<Result<_, _>>()?;
        self.runtime.block_on(async {
            let started = Instant::now();
            for pairs in pairs.chunks(PAIRS_BETWEEN_TURNS) {
                for (reserve, complete) in pairs {
                    self.call(reserve, complete).await?;
                }
                tokio::task::yield_now().await;
            }
            Ok(CHUNK as f64 / started.elapsed().as_secs_f64())
        })
    }

    async fn call(&self, reserve: &Reserve, complete: &Complete) -> Result<(), Failure> {
        let limiter = self.engine.limiter();
        let granted = limiter.reserve(reserve).await?;
        if !matches!(granted, ReserveOutcome::Granted { .. }) {
            return Err(Failure::Load(format!("{granted:?}")));
        }
        let settled = limiter.complete(complete).await?;
        if !matches!(settled, CompleteOutcome::Settled { .. }) {
            return Err(Failure::Load(format!("{settled:?}")));
        }
        Ok(())
    }
}
