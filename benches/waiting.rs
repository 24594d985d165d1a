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
use ledger_limiter::limit::{Capacity, Definition, Kind, KindFields, KindName, LeaseId, LimitKey, Overage};
use ledger_limiter::limiter::Limiter;
use ledger_limiter::protocol::{Complete, Requirement, Reserve, ReserveOutcome, Wait};
use ledger_limiter::testing::TokioClock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

const CLIENTS: usize = 1_000;
/// Every limit grants ten units in a second, in the long run.
const UNITS_PER_SECOND: f64 = 10.0;
const HELD: Duration = Duration::from_secs(1);
const RUN: Duration = Duration::from_secs(600);
const LOADS: &[f64] = &[0.5, 1.0, 2.0, 10.0, 20.0];
/// The run of `--quick`.
const QUICK_RUN: Duration = Duration::from_secs(60);
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
    asked: u64,
    waits_ms: Vec<u64>,
}

type Core = Limiter<MemoryLedger<TokioClock>>;

fn main() {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let (length, loads) = if is_quick { (QUICK_RUN, QUICK_LOADS) } else { (RUN, LOADS) };
    println!(
        "| limit | load | policy | goodput | attempts per grant | p50 s | p99 s | Jain | share of priority 9 |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for kind in [KindName::Rolling, KindName::Concurrency, KindName::TokenBucket, KindName::FixedWindow] {
        for &load in loads {
            for (policy, name) in POLICIES {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
                let clients = runtime.expect("a runtime").block_on(run(kind, load, policy, length));
                println!("{}", row(kind, load, name, policy, length, &clients));
            }
        }
    }
}

fn definition(kind: KindName) -> Definition {
    let (fields, capacity) = match kind {
        KindName::Rolling | KindName::FixedWindow | KindName::SlidingWindow => {
            (KindFields { window_seconds: 10, ..KindFields::default() }, 100)
        }
        KindName::Concurrency => (KindFields { timeout_seconds: 60, ..KindFields::default() }, 10),
        KindName::TokenBucket => {
            (KindFields { refill_amount: 1, refill_interval_ms: 100, ..KindFields::default() }, 10)
        }
        KindName::Calendar => unreachable!("its shortest window is a day, and the simulation takes minutes"),
    };
    let kind = Kind::from_fields(kind, &fields).expect("a kind");
    let capacity = Capacity::new(capacity).expect("a capacity");
    Definition::new(key(), kind, capacity, "", "", Overage::Debt).expect("a definition")
}

fn key() -> LimitKey {
    LimitKey::parse("limit").expect("a key")
}

async fn run(kind: KindName, load: f64, policy: Policy, length: Duration) -> Vec<Client> {
    let ledger = Arc::new(MemoryLedger::new(TokioClock::new(), RETENTION));
    let engine = Arc::new(Engine::new(ledger, EngineOptions::default()));
    engine.bootstrap(&[]).await.expect("the ledger answers");
    engine.admin().put(&definition(kind)).await.expect("it is put");
    let pause_s = CLIENTS as f64 / (load * UNITS_PER_SECOND);
    let ends = Instant::now() + length;
    let clients = (0..CLIENTS as u64).map(|number| {
        let limiter = engine.limiter().clone();
        tokio::spawn(async move {
            let random = StdRng::seed_from_u64(number);
            tokio::time::timeout_at(ends, client(limiter, kind, policy, number, pause_s, random, ends)).await
        })
    });
    let clients = join_all(clients).await.into_iter();
    clients.map(|client| client.expect("no panic").unwrap_or_default()).collect()
}

async fn client(
    limiter: Core,
    kind: KindName,
    policy: Policy,
    number: u64,
    pause_s: f64,
    mut random: StdRng,
    ends: Instant,
) -> Client {
    let mut client = Client::default();
    // It ends a little earlier than the run, so that its figures are not lost with it.
    let last = ends - Duration::from_millis(1);
    loop {
        let pause = Duration::from_secs_f64(-pause_s * (1.0 - random.random::<f64>()).ln());
        tokio::time::sleep_until((Instant::now() + pause).min(last)).await;
        let asked_at = Instant::now();
        let lease =
            tokio::time::timeout_at(last, acquire(&limiter, policy, number, &mut client, &mut random));
        let Ok(lease) = lease.await else { return client };
        if Instant::now() >= last {
            return client;
        }
        client.grants += 1;
        client.waits_ms.push(u64::try_from(asked_at.elapsed().as_millis()).unwrap_or(u64::MAX));
        if kind == KindName::Concurrency {
            tokio::time::sleep(HELD).await;
            let complete = Complete::new(lease, String::new(), Vec::new()).expect("a complete");
            limiter.complete(&complete).await.expect("the ledger answers");
        }
    }
}

async fn acquire(
    limiter: &Core,
    policy: Policy,
    number: u64,
    client: &mut Client,
    random: &mut StdRng,
) -> LeaseId {
    let mut backoff_ms = 100;
    loop {
        let (max_ms, priority) = match policy {
            Policy::FixedSleep | Policy::Backoff | Policy::Hints => (0, 5),
            Policy::AtServer => (60_000, 5),
            Policy::TwoPriorities => (60_000, if number.is_multiple_of(2) { 9 } else { 1 }),
        };
        let lease = LeaseId::generate();
        let amount = ledger_limiter::limit::Amount::ONE;
        let wait = Wait::new(max_ms, priority).expect("a wait");
        let command = Reserve::of_one(lease, Requirement { key: key(), amount }).with_wait(wait);
        client.asked += 1;
        let hint_ms = match limiter.reserve(&command).await.expect("the ledger answers") {
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

fn row(
    kind: KindName,
    load: f64,
    name: &str,
    policy: Policy,
    length: Duration,
    clients: &[Client],
) -> String {
    let grants: u64 = clients.iter().map(|client| client.grants).sum();
    let asked: u64 = clients.iter().map(|client| client.asked).sum();
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
    let attempts = asked as f64 / grants.max(1) as f64;
    format!(
        "| {} | {load} | {name} | {goodput:.3} | {attempts:.2} | {:.2} | {:.2} | {jain:.3} | {share} |",
        kind.as_str(),
        at(0.5),
        at(0.99)
    )
}
