//! What becomes of callers that want more than a limit has, by how they wait: `scripts/simulate`. The limiter runs over the memory
//! ledger on virtual time, so a run says nothing of speed.
//!
//! A client wants one unit at random moments. It asks until it is granted, by its policy, and wants the next one then.
#![expect(clippy::expect_used, clippy::panic, reason = "a bench fails by panicking")]
#![expect(clippy::print_stdout, reason = "the table is what it is run for")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::engine::{Engine, EngineOptions};
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::limit::{
    Amount, Capacity, Definition, Kind, KindFields, KindName, LeaseId, LimitKey, Overage,
};
use ledger_limiter::limiter::Limiter;
use ledger_limiter::protocol::{Complete, Requirement, Reserve, ReserveOutcome, Wait};
use ledger_limiter::testing::TokioClock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::Runtime;
use tokio::time::Instant;

const CLIENTS: usize = 1_000;
/// Every limit grants a hundred units in a second, in the long run.
const UNITS_PER_SECOND: f64 = 100.0;
const HELD: Duration = Duration::from_secs(1);
const RUN: Duration = Duration::from_secs(120);
const LOADS: &[f64] = &[0.5, 1.0, 2.0, 10.0, 20.0];
/// The run of `--quick`.
const QUICK_RUN: Duration = Duration::from_secs(60);
/// The waiters of `--memory`.
const FIRST_WAITERS: usize = 1_000;
const WAITERS: usize = 9_000;
const QUICK_LOADS: &[f64] = &[10.0];
const RETENTION: Duration = Duration::from_secs(60);

/// How a client waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    FixedSleep,
    Backoff,
    Hints,
    AtServer,
    TwoPriorities,
}

const POLICIES: [(Policy, &str); 5] = [
    (Policy::FixedSleep, "fixed sleep of 1 s"),
    (Policy::Backoff, "exponential backoff"),
    (Policy::Hints, "hints"),
    (Policy::AtServer, "at the server"),
    (Policy::TwoPriorities, "at the server, priorities 9 and 1"),
];

/// What one client got.
#[derive(Default)]
struct Client {
    grants: u64,
    /// The answers that it got: a reserve that still waits at the end has none.
    answers: u64,
    waits_ms: Vec<u64>,
}

type Core = Limiter<MemoryLedger<TokioClock>>;

fn main() {
    let is_asked = |wanted| std::env::args().any(|argument| argument == wanted);
    if is_asked("--memory") {
        return print_memory();
    }
    let (length, loads) = if is_asked("--quick") { (QUICK_RUN, QUICK_LOADS) } else { (RUN, LOADS) };
    println!(
        "| limit | load | policy | goodput | attempts per grant | p50 s | p99 s | Jain | share of priority 9 |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for kind in [KindName::Rolling, KindName::Concurrency, KindName::TokenBucket, KindName::FixedWindow] {
        for &load in loads {
            for (policy, name) in POLICIES {
                let clients = paused_runtime().block_on(run(kind, load, policy, length));
                println!("{}", row(kind, load, name, policy, length, &clients));
            }
        }
    }
}

fn definition(kind: KindName) -> Definition {
    let (fields, capacity) = match kind {
        KindName::Rolling | KindName::FixedWindow | KindName::SlidingWindow => {
            (KindFields { window_seconds: 1, ..KindFields::default() }, 100)
        }
        KindName::Concurrency => (KindFields { timeout_seconds: 60, ..KindFields::default() }, 100),
        KindName::TokenBucket => {
            (KindFields { refill_amount: 1, refill_interval_ms: 10, ..KindFields::default() }, 100)
        }
        KindName::Calendar => unreachable!("its shortest window is a day, and the simulation takes minutes"),
    };
    let kind = Kind::from_fields(kind, &fields).expect("a kind");
    let capacity = Capacity::new(capacity).expect("a capacity");
    Definition::new(key(), kind, capacity, "", "", Overage::Debt).expect("a definition")
}

async fn engine(kind: KindName) -> Arc<Engine<MemoryLedger<TokioClock>>> {
    let ledger = Arc::new(MemoryLedger::new(TokioClock::new(), RETENTION));
    let engine = Arc::new(Engine::new(ledger, EngineOptions::default()));
    engine.bootstrap(&[]).await.expect("the ledger answers");
    engine.admin().put(&definition(kind)).await.expect("it is put");
    engine
}

fn reserve(lease: LeaseId, wait: Wait) -> Reserve {
    let requirement = Requirement { key: key(), amount: Amount::ONE };
    Reserve::of_one(lease, requirement).with_wait(wait)
}

fn paused_runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime")
}

fn key() -> LimitKey {
    LimitKey::parse("limit").expect("a key")
}

/// Prints what a waiter takes: its place in the queue, and the future that waits.
fn print_memory() {
    paused_runtime().block_on(async {
        let engine = engine(KindName::Concurrency).await;
        let wait = Wait::new(60_000, 5).expect("a wait");
        let spawn = || {
            let limiter = engine.limiter().clone();
            tokio::spawn(async move { limiter.reserve(&reserve(LeaseId::generate(), wait)).await })
        };
        let mut waiters = Vec::with_capacity(FIRST_WAITERS + WAITERS);
        // The first ones take the slots, and make the tables that all share.
        waiters.extend((0..FIRST_WAITERS).map(|_| spawn()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before_bytes = resident_bytes();
        for _ in 0..WAITERS {
            waiters.push(spawn());
            // Its first attempt ends before the next one comes.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let each_bytes = resident_bytes().saturating_sub(before_bytes) / WAITERS;
        let command = reserve(LeaseId::generate(), wait);
        let future_bytes = size_of_val(&engine.limiter().reserve(&command));
        let waiting = engine.limiter().waiting_counts().callers();
        println!(
            "{waiting} waiters, {each_bytes} bytes each; of these, {future_bytes} are the future of a reserve"
        );
    });
}

/// The memory of this process, in bytes.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells it");
    let pages = statm.split(' ').nth(1).expect("the second figure").parse::<usize>().expect("a number");
    pages * 4_096
}

async fn run(kind: KindName, load: f64, policy: Policy, length: Duration) -> Vec<Client> {
    let engine = engine(kind).await;
    let pause_s = CLIENTS as f64 / (load * UNITS_PER_SECOND);
    let ends = Instant::now() + length;
    let clients = (0..CLIENTS as u64).map(|number| {
        let limiter = engine.limiter().clone();
        tokio::spawn(async move {
            let random = StdRng::seed_from_u64(number);
            let mut client = Client::default();
            let use_it = client.use_limit(&limiter, kind, policy, number, pause_s, random);
            // The run ends them all, wherever they are.
            let _ended = tokio::time::timeout_at(ends, use_it).await;
            client
        })
    });
    join_all(clients).await.into_iter().map(|client| client.expect("no panic")).collect()
}

impl Client {
    /// Wants a unit at random moments, until it is cancelled.
    async fn use_limit(
        &mut self,
        limiter: &Core,
        kind: KindName,
        policy: Policy,
        number: u64,
        pause_s: f64,
        mut random: StdRng,
    ) {
        loop {
            let pause = Duration::from_secs_f64(-pause_s * (1.0 - random.random::<f64>()).ln());
            tokio::time::sleep(pause).await;
            let asked_at = Instant::now();
            let lease = self.acquire(limiter, policy, number, &mut random).await;
            self.grants += 1;
            self.waits_ms.push(u64::try_from(asked_at.elapsed().as_millis()).unwrap_or(u64::MAX));
            if kind == KindName::Concurrency {
                tokio::time::sleep(HELD).await;
                let complete = Complete::new(lease, String::new(), Vec::new()).expect("a complete");
                limiter.complete(&complete).await.expect("the ledger answers");
            }
        }
    }

    /// Asks until a unit is granted.
    async fn acquire(&mut self, limiter: &Core, policy: Policy, number: u64, random: &mut StdRng) -> LeaseId {
        let mut backoff_ms = 100;
        loop {
            let (max_ms, priority) = match policy {
                Policy::FixedSleep | Policy::Backoff | Policy::Hints => (0, 5),
                Policy::AtServer => (60_000, 5),
                Policy::TwoPriorities => (60_000, if number.is_multiple_of(2) { 9 } else { 1 }),
            };
            let lease = LeaseId::generate();
            let wait = Wait::new(max_ms, priority).expect("a wait");
            let outcome = limiter.reserve(&reserve(lease, wait)).await.expect("the ledger answers");
            self.answers += 1;
            let hint_ms = match outcome {
                ReserveOutcome::Granted { .. } => return lease,
                ReserveOutcome::NoRoom { retry_after_ms, .. } => retry_after_ms,
                other @ (ReserveOutcome::Decreasing { .. }
                | ReserveOutcome::ExceedsCapacity { .. }
                | ReserveOutcome::UnknownKey { .. }
                | ReserveOutcome::TooManyInstances { .. }
                | ReserveOutcome::LeaseConflict
                | ReserveOutcome::LeaseSettled
                | ReserveOutcome::LeaseExpired) => panic!("{other:?}"),
            };
            let pause_ms = match policy {
                Policy::FixedSleep => 1_000,
                Policy::Backoff => {
                    let pause_ms = random.random_range(backoff_ms / 2..=backoff_ms);
                    backoff_ms = (backoff_ms * 2).min(10_000);
                    pause_ms
                }
                Policy::Hints => hint_ms,
                // The wait of a minute was too short.
                Policy::AtServer | Policy::TwoPriorities => 1,
            };
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }
}

fn row(
    kind: KindName,
    load: f64,
    name: &str,
    policy: Policy,
    length: Duration,
    clients: &[Client],
) -> String {
    let grants: u64 = clients.iter().map(|client| client.grants).sum();
    let answers: u64 = clients.iter().map(|client| client.answers).sum();
    let goodput = grants as f64 / (UNITS_PER_SECOND * length.as_secs_f64());
    let squares: f64 = clients.iter().map(|client| (client.grants as f64).powi(2)).sum();
    let jain = (grants as f64).powi(2) / (clients.len() as f64 * squares.max(1.0));
    let mut waits: Vec<u64> = clients.iter().flat_map(|client| client.waits_ms.iter().copied()).collect();
    waits.sort_unstable();
    let at =
        |share: f64| waits.get((waits.len() as f64 * share) as usize).map_or(0.0, |ms| *ms as f64 / 1_000.0);
    let high: u64 = clients.iter().step_by(2).map(|client| client.grants).sum();
    let share = match policy {
        Policy::TwoPriorities => format!("{:.2}", high as f64 / grants.max(1) as f64),
        Policy::FixedSleep | Policy::Backoff | Policy::Hints | Policy::AtServer => String::new(),
    };
    let attempts = answers as f64 / grants.max(1) as f64;
    format!(
        "| {} | {load} | {name} | {goodput:.3} | {attempts:.2} | {:.2} | {:.2} | {jain:.3} | {share} |",
        kind.as_str(),
        at(0.5),
        at(0.99)
    )
}
