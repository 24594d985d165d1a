//! A ledger on which everything happened that the limiter can do.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::limit::{AlertThresholds, Definition, EmergencyShare, LeaseId, OnUnavailable, RenewId};
use ledger_limiter::limiter::{Alert, AlertObserver};
use ledger_limiter::protocol::Renew;
use ledger_limiter::registry::Admin;

use crate::fixtures::*;
use crate::memory::MemoryBackend;

pub const TEMPLATE: &str = "{user}:slots";

/// What the scenario leaves behind.
pub struct Made {
    pub backend: MemoryBackend,
    /// A lease that was settled below its reservation.
    pub settled: LeaseId,
    /// A lease that was neither settled nor expired when the scenario ended, on `tokens`.
    pub open: LeaseId,
}

/// Carries everything out on a fresh ledger.
pub async fn everything() -> Made {
    let backend = MemoryBackend::keeping_all();
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(rolling("tokens", 100, 60)).await;
    replica.put(concurrency("slots", 4, 60)).await;
    replica.put(token_bucket("bucket", 10, 2, 1_000)).await;
    replica.put(manual_bucket("manual", 10, 3)).await;
    replica.put(fixed_window("window", 10, 60, 0)).await;
    replica.put(sliding_window("sliding", 10, 60, 3)).await;
    replica.put(window_by_hand("by-hand", 10, 500, 2)).await;
    replica.put(template(concurrency(TEMPLATE, 2, 60), 2)).await;
    let settled = leases(&replica, &backend).await;
    debts(&replica).await;
    changes(&replica, &backend).await;
    instances(&replica).await;
    alerts(&replica).await;
    backend.pass(Duration::from_secs(120)).await;
    let open = lease();
    assert!(is_granted(&replica.reserve(open, &[("tokens", 40)]).await));
    Made { backend, settled, open }
}

type OnMemory = Replica<<MemoryBackend as Backend>::Ledger>;

/// Grants, extends, renewals, refills and completes of every kind.
async fn leases(replica: &OnMemory, backend: &MemoryBackend) -> LeaseId {
    let wants = [("bucket", 6), ("manual", 5), ("sliding", 5), ("slots", 1), ("tokens", 50), ("window", 5)];
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &wants).await));
    let command = extend(id, extend_id(), "tokens", 20);
    replica.limiter().extend(&command).await.expect("the ledger answers");
    let renew = Renew { lease: id, renew_id: RenewId::generate() };
    replica.limiter().renew(&renew).await.expect("the ledger answers");
    backend.pass(Duration::from_millis(300)).await;
    let used = [("bucket", 1), ("manual", 2), ("sliding", 2), ("tokens", 30), ("window", 2)];
    replica.complete(id, &used).await;
    let unsettled = lease();
    assert!(is_granted(&replica.reserve(unsettled, &[("bucket", 8), ("manual", 6), ("sliding", 6)]).await));
    backend.pass(Duration::from_secs(3)).await;
    assert!(is_granted(&replica.take(&[("bucket", 3), ("by-hand", 3), ("window", 3)]).await));
    for name in ["manual", "by-hand"] {
        replica.admin().replenish(&key(name), replenish_id()).await.expect("the ledger answers");
    }
    backend.pass(Duration::from_secs(61)).await;
    assert!(is_granted(&replica.take(&[("sliding", 3), ("window", 3)]).await));
    replica.set_rate("ahead", 1.0, 2).await;
    assert!(replica.reserve_ahead("ahead", 2, lease()).await.ok);
    assert!(replica.reserve_ahead("ahead", 2, lease()).await.ok);
    backend.pass(Duration::from_secs(1)).await;
    assert!(!replica.try_take("ahead", 1).await);
    id
}

/// Overage, forces and emergency debt.
async fn debts(replica: &OnMemory) {
    let over = lease();
    assert!(is_granted(&replica.reserve(over, &[("tokens", 90)]).await));
    replica.complete(over, &[("tokens", 130)]).await;
    let forced = reserve(lease(), &[("tokens", 30), ("window", 12)]);
    replica.limiter().force(&forced).await.expect("the ledger answers");
    replica.admin().reset(&key("tokens")).await.expect("it is reset");
    let share = EmergencyShare::new(0.5, 3_600).expect("valid");
    let wide = Definition { on_unavailable: OnUnavailable::Allow(share), ..rolling("wide", 100, 60) };
    replica.put(wide).await;
}

/// Lower and higher capacities, another rate, a deleted limit, another kind.
async fn changes(replica: &OnMemory, backend: &MemoryBackend) {
    assert!(is_granted(&replica.take(&[("wide", 80)]).await));
    replica.put(rolling("wide", 50, 60)).await;
    replica.put(token_bucket("bucket", 12, 5, 700)).await;
    replica.put(token_bucket("bucket", 3, 5, 700)).await;
    backend.pass(Duration::from_secs(61)).await;
    apply_decreases(replica.admin()).await;
    assert!(is_granted(&replica.take(&[("wide", 20)]).await));
    replica.admin().delete(&key("wide")).await.expect("it is deleted");
    replica.put(concurrency("wide", 30, 30)).await;
    assert!(is_granted(&replica.take(&[("wide", 4)]).await));
    replica.admin().delete(&key("manual")).await.expect("it is deleted");
}

async fn apply_decreases<L: ledger_limiter::ledger::Ledger>(admin: &Admin<L>) {
    admin.apply_decreases().await.expect("the ledger answers");
}

/// Thresholds that are crossed in two windows, and armed anew.
async fn alerts(replica: &OnMemory) {
    replica.limiter().observe_alerts(Arc::new(Unheard));
    let alerts = AlertThresholds::new(&[50, 100]).expect("valid");
    for definition in [concurrency("told", 2, 60), fixed_window("told:window", 2, 60, 0)] {
        let name = definition.key.to_string();
        replica.put(Definition { alerts, ..definition }).await;
        for units in [1, 1, 2] {
            let id = lease();
            assert!(is_granted(&replica.reserve(id, &[(&name, units)]).await));
            replica.limiter().look_for_alerts().await.expect("the ledger answers");
            replica.complete(id, &[(&name, 0)]).await;
            replica.limiter().look_for_alerts().await.expect("the ledger answers");
        }
    }
}

struct Unheard;

impl AlertObserver for Unheard {
    fn crossed(&self, _alert: &Alert) {}
}

/// Two instances, one of which is retired and makes room for a third.
async fn instances(replica: &OnMemory) {
    for name in ["ann:slots", "bob:slots"] {
        let id = lease();
        assert!(is_granted(&replica.reserve(id, &[(name, 1)]).await));
        replica.complete(id, &[]).await;
    }
    for _ in 0..2 {
        replica.registry().retire_idle_instances(Duration::ZERO).await.expect("the ledger answers");
    }
    assert!(is_granted(&replica.take(&[("cyd:slots", 1)]).await));
}
