//! 200 callers use two services over three TigerBeetle replicas, while replicas and services are killed, paused, restarted and
//! cut off from each other, one fault at a time, and then healed.
//!
//! `CHAOS_SECONDS` sets the duration, `CHAOS_SEED` the order of the faults; `scripts/chaos` sets them.

mod callers;
mod faults;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ledger_limiter::decide::ids::{Ids, Purpose};
use ledger_limiter::ledger::Ledger;
use ledger_limiter::ledger::tigerbeetle::{TigerBeetleLedger, TigerBeetleOptions};
use ledger_limiter::limit::LeaseId;
use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::StatusCode;
use serde_json::json;

use self::callers::{Callers, SLACK, SLOTS};
use self::faults::Fault;
use crate::audited::assert_clean;
use crate::fixtures::eventually;
use crate::support::options;
use crate::support::server::Cluster;
use crate::support::service::Service;

const CALLERS: usize = 200;
const LEDGER_NUMBER: u32 = 1;
/// The longest time until calls are granted again after a fault was healed. Mostly it is less than a tenth of a second; a cluster
/// whose replicas were cut off one after the other has taken ten.
const RECOVERY: Duration = Duration::from_secs(20);
/// The share of calls that may fail while only a service is away.
const LATE_SHARE_MAX: f64 = 0.2;
/// Every allotment has expired and every window has ended so long after the last call.
const SETTLED: Duration = Duration::from_secs(20);

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_limit_is_exceeded_and_every_slot_is_released() {
    let seconds = from_environment("CHAOS_SECONDS").unwrap_or(120);
    let seed = from_environment("CHAOS_SEED").unwrap_or_else(rand::random);
    eprintln!("CHAOS_SECONDS={seconds} CHAOS_SEED={seed}");
    let mut cluster = Cluster::start(2).await;
    let network = cluster.network();
    let [first, second] = [0, 1].map(|service| network.addresses(network.service(service)));
    let mut services = [Service::start(&first).await, Service::start(&second).await];
    for service in &services {
        service.ready().await;
    }
    for limit in callers::limits() {
        assert_eq!(services[0].put("/v1/admin/limits", &limit).await.0, StatusCode::OK, "{limit}");
    }

    let callers = Arc::new(Callers::new(services.each_ref().map(Service::base)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let callers = Arc::clone(&callers);
        tasks.spawn(async move { callers.call().await });
    }
    let mut figures = Figures::default();
    for fault in Fault::sequence(StdRng::seed_from_u64(seed)) {
        figures.add(fault, break_and_heal(&mut cluster, &mut services, &callers, fault).await);
        if callers.started.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    callers.stop.store(true, Ordering::SeqCst);
    tasks.join_all().await;
    let counts = &callers.counts;
    let [granted, denied, unknown, slowest_ms] =
        [&counts.granted, &counts.denied, &counts.unknown, &counts.slowest_ms]
            .map(|count| count.load(Ordering::SeqCst));
    figures.print();
    eprintln!(
        "{granted} granted, {denied} denied, {unknown} of unknown outcome; the slowest answer took {slowest_ms} ms"
    );
    assert!(granted > 1_000 && unknown > 0, "calls were granted, and the faults made some outcomes unknown");

    tokio::time::sleep(SETTLED).await;
    for (key, capacity) in [("slots", SLOTS), ("hot", 4_000), ("rate", 2_000)] {
        let (_, body) = services[1].get(&format!("/v1/admin/limits/{key}")).await;
        assert_eq!(
            body["limit"]["usage"]["available"],
            json!(capacity),
            "everything is available again: {body}"
        );
    }
    let ledger = TigerBeetleLedger::connect(TigerBeetleOptions {
        addresses: cluster.addresses().to_vec(),
        ..options("", LEDGER_NUMBER)
    });
    let report = assert_clean(&ledger, LEDGER_NUMBER).await;
    eprintln!("the audit is clean: {} transfers", report.transfers);
    let leases = std::mem::take(&mut *counts.leases.lock().expect("no panic"));
    assert_all_in_ledger(&ledger, &leases).await;
    eprintln!("{} grants that callers saw are in the ledger", leases.len());
}

/// Fails if the reservation of a granted lease is not in the ledger.
async fn assert_all_in_ledger<L: Ledger>(ledger: &L, leases: &[LeaseId]) {
    let ids = Ids::new(LEDGER_NUMBER);
    for some in leases.chunks(100) {
        let found = join_all(some.iter().map(|lease| ledger.lease_transfers(ids.lease_query(*lease)))).await;
        for (lease, found) in some.iter().zip(found) {
            let reservation = ids.of_lease(*lease).transfer(Purpose::Reserve, 0, 0);
            let found = found.expect("the ledger answers");
            let is_reserved = found.iter().any(|recorded| recorded.transfer.id == reservation);
            assert!(is_reserved, "{lease} was granted and is not in the ledger");
        }
    }
}

/// Injects a fault, and waits until calls are granted again. Returns the calls that failed, and the time that it took.
async fn break_and_heal(
    cluster: &mut Cluster,
    services: &mut [Service; 2],
    callers: &Callers,
    fault: Fault,
) -> (u64, Duration) {
    let counts = &callers.counts;
    let failed_and_answered = || {
        let [failed, granted, denied] =
            [&counts.unavailable, &counts.granted, &counts.denied].map(|count| count.load(Ordering::SeqCst));
        (failed, granted + denied)
    };
    let before = failed_and_answered();
    fault.inject(cluster, services, callers).await;
    let after = failed_and_answered();
    let (failed, answered) = (after.0 - before.0, after.1 - before.1);
    // On two busy cores the ledger is late now and then.
    let is_late = failed as f64 <= LATE_SHARE_MAX * answered as f64;
    let last = counts.last_unavailable.lock().expect("no panic").clone();
    assert!(
        fault.hits_the_ledger() || is_late,
        "{fault:?}: {failed} calls failed, {answered} did not, although all replicas ran: {last}"
    );
    let (healed, healed_ms) = (Instant::now(), callers.elapsed_ms());
    let recovered = || async { counts.last_grant_ms.load(Ordering::SeqCst) > healed_ms };
    eventually("calls are granted again", RECOVERY + SLACK, recovered).await;
    (failed, healed.elapsed())
}

/// What the faults did, by fault.
#[derive(Default)]
struct Figures(BTreeMap<Fault, Vec<(u64, Duration)>>);

impl Figures {
    fn add(&mut self, fault: Fault, (failed, recovered): (u64, Duration)) {
        eprintln!(
            "{fault:?}: {failed} calls failed; granted again {} ms after it was healed",
            recovered.as_millis()
        );
        self.0.entry(fault).or_default().push((failed, recovered));
    }

    fn print(&self) {
        eprintln!("| fault | times | calls that failed, at most | granted again after, at most |");
        eprintln!("| --- | --- | --- | --- |");
        for (fault, figures) in &self.0 {
            let failed = figures.iter().map(|(failed, _)| failed).max().copied().unwrap_or_default();
            let recovered = figures.iter().map(|(_, recovered)| recovered).max().copied().unwrap_or_default();
            eprintln!("| {fault:?} | {} | {failed} | {} ms |", figures.len(), recovered.as_millis());
        }
    }
}
