//! 200 callers use two services over three TigerBeetle replicas, while each service and each replica in turn, the
//! primary included, is killed or paused and then healed. `scripts/test --chaos-seconds N`, or the variable
//! `CHAOS_SECONDS`, sets the duration.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::tigerbeetle::{TigerBeetleLedger, TigerBeetleOptions};
use ledger_limiter::ledger::{AccountQuery, Ledger, Movement, Order, Recorded, Side, TransferCode};
use ledger_limiter::limit::LimitKey;
use rand::seq::IndexedRandom;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::fixtures::{eventually, key, lease};
use crate::support::options;
use crate::support::server::Cluster;
use crate::support::service::Service;

const CALLERS: usize = 200;
const SLOTS: u64 = 50;
const RATE: u64 = 2_000;
/// Longer than the test, so that a slot that is available again was released and did not expire.
const SLOT_TIMEOUT_SECONDS: u64 = 600;
const WINDOW_SECONDS: u64 = 5;
/// The kinds of faults: each replica killed (0 to 2), each replica paused (3 to 5), each service killed (6 and 7).
const FAULTS: usize = 8;
/// The longest time that a request may take beyond the service's time-out, on two busy cores.
const SLACK: Duration = Duration::from_secs(10);
/// The longest time until calls are granted again after a fault was healed.
const RECOVERY: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Counts {
    granted: AtomicU64,
    denied: AtomicU64,
    unknown: AtomicU64,
    unavailable: AtomicU64,
    last_grant_ms: AtomicU64,
}

fn chaos_seconds() -> u64 {
    std::env::var("CHAOS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(120)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_limit_is_exceeded_and_every_slot_is_released() {
    let mut cluster = Cluster::start().await;
    let addresses = cluster.addresses();
    let mut services = [Service::start(&addresses).await, Service::start(&addresses).await];
    for service in &services {
        let ready = || async { service.get("/readyz").await.0 == StatusCode::OK };
        eventually("a service is ready", Duration::from_secs(30), ready).await;
    }
    for limit in [
        json!({ "key": "slots", "kind": "concurrency", "capacity": SLOTS, "timeout_seconds": SLOT_TIMEOUT_SECONDS }),
        json!({ "key": "rate", "kind": "rolling", "capacity": RATE, "window_seconds": WINDOW_SECONDS }),
    ] {
        assert_eq!(services[0].put("/v1/admin/limits", &limit).await.0, StatusCode::OK);
    }

    let (stop, counts, started) =
        (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()), Instant::now());
    let bases: Arc<[String]> = services.iter().map(Service::base).collect();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call(Arc::clone(&bases), Arc::clone(&stop), Arc::clone(&counts), started));
    }
    let mut fault = 0;
    while started.elapsed() < Duration::from_secs(chaos_seconds()) {
        let unavailable_before = counts.unavailable.load(Ordering::SeqCst);
        inject(&mut cluster, &mut services, fault).await;
        let unavailable = counts.unavailable.load(Ordering::SeqCst) - unavailable_before;
        let hits_the_ledger = fault % FAULTS < 6;
        assert!(
            hits_the_ledger || unavailable == 0,
            "{unavailable} requests failed although all three replicas ran"
        );
        fault += 1;
        let healed = Instant::now();
        let since_ms = u64::try_from(started.elapsed().as_millis()).expect("a short test");
        let recovered = || async { counts.last_grant_ms.load(Ordering::SeqCst) > since_ms };
        eventually("calls are granted again", RECOVERY + SLACK, recovered).await;
        let recovered_ms = healed.elapsed().as_millis();
        eprintln!(
            "fault {fault}: {unavailable} unavailable; granted again {recovered_ms} ms after it was healed"
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    stop.store(true, Ordering::SeqCst);
    callers.join_all().await;
    let [granted, denied, unknown] =
        [&counts.granted, &counts.denied, &counts.unknown].map(|count| count.load(Ordering::SeqCst));
    eprintln!("{fault} faults: {granted} granted, {denied} denied, {unknown} of unknown outcome");
    assert!(granted > 1_000 && unknown > 0, "calls were granted, and the faults made some outcomes unknown");

    let (_, body) = services[1].get("/v1/admin/limits/slots").await;
    assert_eq!(body["limit"]["usage"]["available"], json!(SLOTS), "every slot was released: {body}");
    let ledger = TigerBeetleLedger::connect(TigerBeetleOptions {
        addresses: addresses.split(',').map(str::to_owned).collect(),
        ..options("", 1)
    });
    let peak = audit(&ledger, &key("slots"), &[TransferCode::ReserveConcurrency]).await;
    assert!(peak <= SLOTS.into() && peak > 0, "slots: at most {peak} of {SLOTS} were reserved at once");
    let rolling = [TransferCode::ReserveRolling, TransferCode::Shrink, TransferCode::Overage];
    let peak = audit(&ledger, &key("rate"), &rolling).await;
    assert!(peak <= RATE.into() && peak > 0, "rate: at most {peak} of {RATE} were reserved at once");
}

/// Kills or pauses one part for three seconds and heals it. Two of the three replicas always run.
async fn inject(cluster: &mut Cluster, services: &mut [Service; 2], fault: usize) {
    let down = Duration::from_secs(3);
    match fault % FAULTS {
        victim @ 0..3 => {
            cluster.kill(victim).await;
            tokio::time::sleep(down).await;
            cluster.run(victim).await;
        }
        victim @ 3..6 => {
            cluster.pause(victim - 3).await;
            tokio::time::sleep(down).await;
            cluster.resume(victim - 3).await;
        }
        victim => {
            services[victim - 6].kill().await;
            tokio::time::sleep(down).await;
            services[victim - 6].run().await;
        }
    }
}

/// Reserves and completes until `stop` is set, as a caller should, at a random service each time.
async fn call(bases: Arc<[String]>, stop: Arc<AtomicBool>, counts: Arc<Counts>, started: Instant) {
    let client = Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
    while !stop.load(Ordering::SeqCst) {
        let lease_id = lease().to_string();
        let requirements = json!([{ "key": "slots", "amount": 1 }, { "key": "rate", "amount": 10 }]);
        let reserve = json!({ "lease_id": lease_id, "requirements": requirements });
        let answer = until_known(&client, &bases, "/v1/reserve", &reserve, &counts).await;
        // The window ended while the outcome was unknown. The call does not start, and its complete releases the slot.
        let has_expired = answer["error"] == json!("lease_expired");
        if answer["allowed"] != json!(true) && !has_expired {
            assert_eq!(answer["error"], json!(""), "{answer}");
            counts.denied.fetch_add(1, Ordering::SeqCst);
            let hint_ms = answer["retry_after_ms"].as_u64().unwrap_or(0).clamp(20, 500);
            tokio::time::sleep(Duration::from_millis(hint_ms)).await;
            continue;
        }
        if !has_expired {
            counts.granted.fetch_add(1, Ordering::SeqCst);
            let now_ms = u64::try_from(started.elapsed().as_millis()).expect("a short test");
            counts.last_grant_ms.store(now_ms, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let complete = json!({ "lease_id": lease_id, "actuals": [{ "key": "rate", "actual_amount": 3 }] });
        let answer = until_known(&client, &bases, "/v1/complete", &complete, &counts).await;
        assert_eq!(answer["ok"], json!(true), "{answer}");
    }
}

/// Repeats a request, with the same lease, until its outcome is known.
async fn until_known(client: &Client, bases: &[String], path: &str, body: &Value, counts: &Counts) -> Value {
    loop {
        let base = bases.choose(&mut rand::rng()).expect("there are services");
        let sent = Instant::now();
        let response = client.post(format!("{base}{path}")).json(body).send().await;
        assert!(sent.elapsed() < Service::REQUEST_TIMEOUT + SLACK, "{path} took {:?}", sent.elapsed());
        match response {
            Ok(response) if [StatusCode::OK, StatusCode::CONFLICT].contains(&response.status()) => {
                if let Ok(answer) = response.json().await {
                    return answer;
                }
            }
            Ok(response) => {
                assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
                counts.unavailable.fetch_add(1, Ordering::SeqCst);
            }
            // This service is down.
            Err(_) => {}
        }
        counts.unknown.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The most that was ever reserved of a limit at one instant, computed from the ledger's transfers alone.
async fn audit<L: Ledger>(ledger: &L, key: &LimitKey, codes: &[TransferCode]) -> i128 {
    let mut transfers = Vec::new();
    for code in codes {
        transfers.extend(read_all(ledger, key, *code).await);
    }
    let held: std::collections::HashMap<_, _> = transfers
        .iter()
        .filter_map(|recorded| match recorded.transfer.movement {
            Movement::Pend { amount, timeout_seconds, .. } => {
                let until_ns = recorded.timestamp_ns + u64::from(timeout_seconds) * 1_000_000_000;
                Some((recorded.transfer.id, (i128::try_from(amount).expect("a small amount"), until_ns)))
            }
            Movement::Void { .. }
            | Movement::Post { .. }
            | Movement::PostUpTo { .. }
            | Movement::Close { .. } => None,
        })
        .collect();
    let voided: std::collections::HashMap<_, _> = transfers
        .iter()
        .filter_map(|recorded| match recorded.transfer.movement {
            Movement::Void { pending } => Some((pending, recorded.timestamp_ns)),
            Movement::Pend { .. }
            | Movement::Post { .. }
            | Movement::PostUpTo { .. }
            | Movement::Close { .. } => None,
        })
        .collect();
    let mut steps = Vec::with_capacity(transfers.len() * 2);
    for recorded in &transfers {
        if let Some((amount, until_ns)) = held.get(&recorded.transfer.id) {
            let end_ns = voided.get(&recorded.transfer.id).unwrap_or(until_ns);
            steps.extend([(recorded.timestamp_ns, *amount), (*end_ns, -amount)]);
        }
    }
    steps.sort_unstable();
    let running = steps.iter().scan(0, |sum, (_, step)| {
        *sum += step;
        Some(*sum)
    });
    running.max().unwrap_or(0)
}

/// All transfers with this code that debit the limit's account or void such a transfer.
async fn read_all<L: Ledger>(ledger: &L, key: &LimitKey, code: TransferCode) -> Vec<Recorded> {
    let account = Ids::new(1).limit(key);
    let mut transfers: Vec<Recorded> = Vec::new();
    loop {
        let after_ns = transfers.last().map_or(0, |last| last.timestamp_ns);
        let order = Order::OldestFirst;
        let query = AccountQuery { account, side: Side::Debit, code, after_ns, order, count_max: 8_000 };
        let page = ledger.account_transfers(query).await.expect("the ledger answers");
        if page.is_empty() {
            return transfers;
        }
        transfers.extend(page);
    }
}
