//! What a change of a limit costs among 5,000 limits in the registry file, alone and with others in flight: `cargo
//! bench --no-default-features --features server --bench registry_file`. A time is that of all changes in flight
//! together; a rate counts single changes.
#![expect(clippy::expect_used, reason = "a bench fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use futures_util::future::join_all;
use ledger_limiter::engine::{Engine, EngineOptions};
use ledger_limiter::ledger::memory::{MemoryLedger, SystemClock};
use ledger_limiter::limit::{Amount, Definition, Kind, KindFields, KindName, LimitKey, LimitState, Overage};
use ledger_limiter::registry::file::RegistryFile;
use tokio::runtime::Runtime;

const LIMITS: u64 = 5_000;

fn main() {
    divan::main();
}

fn definition(number: u64, capacity: u64) -> Definition {
    let key = LimitKey::parse_name(&format!("tenant:{number:04}:llm:daily_tokens")).expect("a key");
    let fields = KindFields { window_seconds: 86_400, ..KindFields::default() };
    let kind = Kind::from_fields(KindName::Rolling, &fields).expect("a kind");
    let capacity = Amount::new(capacity).expect("a capacity");
    Definition::new(key, kind, capacity, "tokens", "", Overage::Debt).expect("a definition")
}

/// The changes in flight at a time, each of another limit. A change is answered when a write that holds it has ended.
#[divan::bench(args = [1, 16, 256], sample_count = 30, sample_size = 1)]
fn changes_in_flight(bencher: Bencher, count: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = Runtime::new().expect("a runtime");
    let file = RegistryFile::new(folder.path().join("registry.json"), false).lock().expect("it is free");
    let ledger = Arc::new(MemoryLedger::new(SystemClock::new(), Duration::from_secs(60)));
    let engine = Engine::new(ledger, EngineOptions::default().with_registry_file(file));
    let seed: Vec<LimitState> = (0..LIMITS).map(|number| LimitState::active(definition(number, 1))).collect();
    runtime.block_on(engine.bootstrap(&seed)).expect("the limits are made");
    let capacity = AtomicU64::new(1);
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let capacity = capacity.fetch_add(1, Ordering::Relaxed) + 1;
        let changes: Vec<Definition> = (0..count).map(|number| definition(number, capacity)).collect();
        for result in runtime.block_on(join_all(changes.iter().map(|change| engine.admin().put(change)))) {
            result.expect("it is saved");
        }
    });
}
