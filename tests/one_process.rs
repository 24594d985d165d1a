//! What one process adds to the contract: admission tickets are handed back, changes of one key take turns, and a crash of the
//! bootstrap loses no seed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use futures_util::poll;
use ledger_limiter::decide::ids::Ids;
use ledger_limiter::engine::{Engine, EngineOptions};
use ledger_limiter::limit::{LimitState, Status};
use ledger_limiter::limiter::LimiterOptions;
use ledger_limiter::registry::file::{LockedFile, RegistryFile};

use crate::contract::crash::Crashing;
use crate::fixtures::*;
use crate::memory::MemoryBackend;
use crate::permits::ledger::TestLedger;

/// A replica whose denial cache knows that `slots` is exhausted but for one unit, which a complete has just released.
async fn with_one_known_unit() -> Replica<TestLedger> {
    let deny_alone_max = Duration::from_secs(3_600);
    let options = LimiterOptions { deny_alone_max, ..LimiterOptions::default() };
    let replica = Replica::start_with(TestLedger::new(), Ids::new(1), options).await;
    replica.put(concurrency("slots", 1, 600)).await;
    let held = lease();
    assert!(is_granted(&replica.reserve(held, &[("slots", 1)]).await));
    for _ in 0..2 {
        assert_eq!(no_room(&replica.take(&[("slots", 1)]).await), Some("slots"));
    }
    assert!(replica.limiter().denied_alone() > 0, "the cache denies");
    replica.complete(held, &[]).await;
    replica
}

/// The cache admits a caller to the ledger, which may have carried out the reserve whose answer was lost.
async fn assert_asks_the_ledger(replica: &Replica<TestLedger>) {
    let denied_alone = replica.limiter().denied_alone();
    replica.take(&[("slots", 1)]).await;
    assert_eq!(replica.limiter().denied_alone(), denied_alone, "the ticket was not handed back");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_reserve_hands_its_admission_back() {
    let replica = with_one_known_unit().await;
    let command = reserve(lease(), &[("slots", 1)]);
    let mut dropped = Box::pin(replica.limiter().reserve(&command));
    assert!(poll!(&mut dropped).is_pending(), "it has its ticket and waits for the ledger");
    assert_eq!(no_room(&replica.take(&[("slots", 1)]).await), Some("slots"), "the unit is promised");
    drop(dropped);
    assert_asks_the_ledger(&replica).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_reserve_hands_its_admission_back() {
    let replica = with_one_known_unit().await;
    replica.ledger.set_down(true);
    replica.limiter().reserve(&reserve(lease(), &[("slots", 1)])).await.expect_err("the ledger is down");
    replica.ledger.set_down(false);
    assert_asks_the_ledger(&replica).await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_and_a_first_use_of_one_key_take_turns() {
    let replica = Replica::start(TestLedger::new(), Ids::new(1), 0).await;
    replica.put(template(rolling("tenant:{name}:rpm", 10, 60), 0)).await;
    for round in 0..20 {
        let name = format!("tenant:{round}:rpm");
        let definition = rolling(&name, 20, 60);
        let command = reserve(lease(), &[(&name, 1)]);
        let refused_before = replica.ledger.refused();
        let (put, reserved) =
            join(replica.admin().put(&definition), replica.limiter().reserve(&command)).await;
        assert_eq!(put.expect("the ledger answers"), Status::Active);
        assert!(is_granted(&reserved.expect("the ledger answers")));
        assert_eq!(replica.ledger.refused(), refused_before, "neither chain met the other: {name}");
    }
}

#[tokio::test]
async fn a_crash_of_the_bootstrap_loses_no_decrease_of_the_registry_file() {
    let decreasing = |name: &str| LimitState {
        status: Status::Decreasing { to: capacity(2) },
        ..LimitState::active(rolling(name, 10, 60))
    };
    let seeds = vec![decreasing("first"), decreasing("second"), decreasing("third")];
    let mut crashes_at = 0;
    loop {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("registry.json");
        let file = || RegistryFile::new(path.clone(), true).lock().expect("no other service has it");
        let written = seeds.clone();
        file().write(|| written).await.expect("it is written");
        let backend = MemoryBackend::new();
        let crashing = Arc::new(Crashing::at_call(backend.connect(), crashes_at));
        let start = |file: LockedFile| {
            (file.read().expect("it is read"), EngineOptions::default().with_registry_file(file))
        };
        let (read, options) = start(file());
        let has_started = Engine::new(crashing, options).bootstrap(&read).await.is_ok();

        let (read, options) = start(file());
        let restarted = Engine::new(backend.connect(), options);
        restarted.bootstrap(&read).await.expect("the ledger answers");
        restarted.admin().apply_decreases().await.expect("the ledger answers");
        for seed in &seeds {
            let limit = restarted.registry().limit(&seed.definition.key).expect("it is defined");
            assert_eq!(limit.state.definition.capacity.get(), 2, "{} at {crashes_at}", seed.definition.key);
        }
        if has_started {
            break;
        }
        crashes_at += 1;
    }
    assert!(crashes_at > 5, "it crashed at each of several ledger calls, the last at {crashes_at}");
}
