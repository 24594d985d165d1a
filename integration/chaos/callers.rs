//! Callers that reserve, work a little and complete, as callers should: they repeat a request until its outcome is known.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ledger_limiter::limit::LeaseId;
use rand::Rng;
use rand::seq::IndexedRandom;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::fixtures::lease;
use crate::support::service::Service;

/// The longest time that a request may take beyond the service's time-out and its wait, on two busy cores.
pub const SLACK: Duration = Duration::from_secs(10);
pub const SLOTS: u64 = 50;
/// Longer than the test, so that a slot that is available again was released and did not expire.
const SLOT_TIMEOUT_SECONDS: u64 = 3_600;
const MAX_WAIT_MS: u64 = 300;
/// The share of the leases that were granted which is remembered.
const REMEMBERED_SHARE: f64 = 0.1;

/// The limits that the callers use: all kinds, and one with allotments.
pub fn limits() -> [Value; 6] {
    [
        json!({ "key": "slots", "kind": "concurrency", "capacity": SLOTS, "timeout_seconds": SLOT_TIMEOUT_SECONDS }),
        json!({ "key": "rate", "kind": "rolling", "capacity": 2_000, "window_seconds": 5 }),
        json!({ "key": "bucket", "kind": "token_bucket", "capacity": 500, "refill_amount": 5, "refill_interval_ms": 20 }),
        json!({ "key": "window", "kind": "fixed_window", "capacity": 1_000, "window_seconds": 4 }),
        json!({ "key": "sliding", "kind": "sliding_window", "capacity": 1_000, "window_seconds": 6, "segments": 3 }),
        json!({ "key": "hot", "kind": "rolling", "capacity": 4_000, "window_seconds": 5, "allotment": { "period_ms": 500 } }),
    ]
}

/// What a caller reserves, by key, and what it says that it used.
struct Work {
    amounts: &'static [(&'static str, u64)],
    used: &'static [(&'static str, u64)],
    /// Whether a limit with allotments is among them: then the service that granted a lease knows it best.
    is_allotted: bool,
}

const WORK: &[Work] = &[
    Work { amounts: &[("slots", 1), ("rate", 10)], used: &[("rate", 3)], is_allotted: false },
    Work {
        amounts: &[("slots", 1), ("bucket", 3), ("window", 2)],
        used: &[("bucket", 1)],
        is_allotted: false,
    },
    Work {
        amounts: &[("window", 5), ("sliding", 4)],
        used: &[("window", 9), ("sliding", 1)],
        is_allotted: false,
    },
    Work { amounts: &[("hot", 5)], used: &[("hot", 2)], is_allotted: true },
    Work { amounts: &[("hot", 3), ("rate", 2)], used: &[("hot", 3), ("rate", 1)], is_allotted: true },
];

/// What became of the calls.
#[derive(Default)]
pub struct Counts {
    pub granted: AtomicU64,
    pub denied: AtomicU64,
    pub unknown: AtomicU64,
    pub unavailable: AtomicU64,
    pub last_grant_ms: AtomicU64,
    pub slowest_ms: AtomicU64,
    pub last_unavailable: Mutex<String>,
    /// Some of the leases that were granted by the ledger alone.
    pub leases: Mutex<Vec<LeaseId>>,
}

/// What all callers share.
pub struct Callers {
    bases: [String; 2],
    /// Which services a load balancer would send calls to.
    in_rotation: [AtomicBool; 2],
    pub counts: Counts,
    pub started: Instant,
    pub stop: AtomicBool,
}

impl Callers {
    pub fn new(bases: [String; 2]) -> Self {
        Self {
            bases,
            in_rotation: [true, true].map(AtomicBool::new),
            counts: Counts::default(),
            started: Instant::now(),
            stop: AtomicBool::new(false),
        }
    }

    /// Says whether a service gets calls.
    pub fn set_in_rotation(&self, service: usize, is_in: bool) {
        self.in_rotation[service].store(is_in, Ordering::SeqCst);
    }

    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).expect("a short test")
    }

    /// Reserves and completes until `stop` is set.
    pub async fn call(&self) {
        let client = Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
        let home = [rand::rng().random_range(0..2)];
        while !self.stop.load(Ordering::SeqCst) {
            let work = WORK.choose(&mut rand::rng()).expect("there is work");
            let services = if work.is_allotted { home.as_slice() } else { &[0, 1] };
            self.work(&client, services, work).await;
        }
    }

    async fn work(&self, client: &Client, services: &[usize], work: &Work) {
        let lease = lease();
        let max_wait_ms = if rand::rng().random_bool(0.3) { MAX_WAIT_MS } else { 0 };
        let requirements: Vec<_> =
            work.amounts.iter().map(|(key, amount)| json!({ "key": key, "amount": amount })).collect();
        let reserve = json!({
            "lease_id": lease.to_string(), "requirements": requirements, "max_wait_ms": max_wait_ms,
        });
        let answer = self.until_known(client, services, "/v1/reserve", &reserve).await;
        match (answer["allowed"].as_bool(), answer["error"].as_str()) {
            (Some(true), _) => self.note_grant(lease, work),
            // Its window ended while the outcome was unknown. The call does not start, and its complete releases the slot.
            (_, Some("lease_expired")) => {}
            // The service that served a part of it from an allotment was killed.
            (_, Some("lease_conflict" | "lease_settled")) if work.is_allotted => {}
            (Some(false), Some("")) => {
                self.counts.denied.fetch_add(1, Ordering::SeqCst);
                let hint_ms = answer["retry_after_ms"].as_u64().unwrap_or(0).clamp(20, 500);
                return tokio::time::sleep(Duration::from_millis(hint_ms)).await;
            }
            (_, _) => panic!("{reserve}: {answer}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let actuals: Vec<_> =
            work.used.iter().map(|(key, used)| json!({ "key": key, "actual_amount": used })).collect();
        let complete = json!({ "lease_id": lease.to_string(), "actuals": actuals });
        let answer = self.until_known(client, services, "/v1/complete", &complete).await;
        assert_eq!(answer["ok"], json!(true), "{complete}: {answer}");
    }

    fn note_grant(&self, lease: LeaseId, work: &Work) {
        self.counts.granted.fetch_add(1, Ordering::SeqCst);
        self.counts.last_grant_ms.store(self.elapsed_ms(), Ordering::SeqCst);
        if !work.is_allotted && rand::rng().random_bool(REMEMBERED_SHARE) {
            self.counts.leases.lock().expect("no panic").push(lease);
        }
    }

    /// The URL of one of the services, when one of them is in rotation.
    async fn base_of_one(&self, services: &[usize]) -> &str {
        let is_in = |service: &&usize| self.in_rotation[**service].load(Ordering::SeqCst);
        loop {
            let present: Vec<usize> = services.iter().filter(is_in).copied().collect();
            let chosen = present.choose(&mut rand::rng()).copied();
            match chosen {
                Some(service) => return &self.bases[service],
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Repeats a request, with the same lease, until its outcome is known.
    async fn until_known(&self, client: &Client, services: &[usize], path: &str, body: &Value) -> Value {
        let longest = Service::REQUEST_TIMEOUT + Duration::from_millis(MAX_WAIT_MS) + SLACK;
        loop {
            let base = self.base_of_one(services).await;
            let sent = Instant::now();
            let response = client.post(format!("{base}{path}")).json(body).send().await;
            assert!(sent.elapsed() < longest, "{path} took {:?}", sent.elapsed());
            let took_ms = u64::try_from(sent.elapsed().as_millis()).expect("a short test");
            self.counts.slowest_ms.fetch_max(took_ms, Ordering::SeqCst);
            match response {
                Ok(response) if [StatusCode::OK, StatusCode::CONFLICT].contains(&response.status()) => {
                    if let Ok(answer) = response.json().await {
                        return answer;
                    }
                }
                Ok(response) => {
                    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
                    self.counts.unavailable.fetch_add(1, Ordering::SeqCst);
                    let answer = response.text().await.unwrap_or_default();
                    *self.counts.last_unavailable.lock().expect("no panic") =
                        format!("{base}{path}, after {took_ms} ms: {answer}");
                }
                // This service is down.
                Err(_) => {}
            }
            self.counts.unknown.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
