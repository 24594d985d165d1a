//! The load generator itself, against a service over the memory ledger and over a limiter of its own.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::server::Metrics;
use ledger_limiter::server::api::{self, Api, Readiness};
use ledger_limiter::telemetry::MetricsRegistry;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::fixtures::*;
use crate::memory::MemoryBackend;

/// A service on a port of its own; it ends with the test.
async fn service() -> (String, Replica<<MemoryBackend as Backend>::Ledger>) {
    let backend = MemoryBackend::new();
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let api = Api {
        limiter: replica.limiter.clone(),
        admin: Arc::clone(&replica.admin),
        readiness: Readiness::new(Arc::clone(&replica.ledger), replica.ids.operator()),
        request_timeout: Duration::from_secs(5),
        batch_requests_max: 256,
        metrics: Metrics::new(MetricsRegistry::default()),
    };
    api.readiness.set_bootstrapped();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(axum::serve(listener, api::router(Arc::new(api))).into_future());
    (format!("http://{address}"), replica)
}

/// Runs the program for a short time, and reads its report.
async fn report(flags: &str) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_ratelimiter-loadtest"))
        .args(["--warmup", "100ms", "--concurrency", "4"])
        .args(flags.split_whitespace())
        .arg("--json")
        .arg(&path)
        .output()
        .await
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{flags}: {told}");
    serde_json::from_slice(&std::fs::read(path).expect("a report")).expect("JSON")
}

fn count(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} is no number: {report}"))
}

fn has_order(latency: &Value) -> bool {
    let at = |name: &str| latency[name].as_f64().expect("a latency");
    let points = ["p50", "p90", "p99", "p999", "max"].map(at);
    points[0] > 0.0 && points.is_sorted()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_loaded_over_http() {
    let (url, replica) = service().await;
    let report = report(&format!(
        "--target {url} --duration 1s --batch 3 --limits 8 --llm --complete below --prefix over/http"
    ))
    .await;
    assert_eq!(report["settings"]["target"], json!(url));
    assert_eq!(report["server"], Value::Null, "the memory ledger has no requests");
    for name in ["denied", "conflicts", "unknown", "errors", "not_started"] {
        assert_eq!(count(&report, name), 0, "{name}: {report}");
    }
    let granted = count(&report, "granted");
    assert!(granted > 0 && granted.is_multiple_of(3), "{report}");
    let seconds = report["seconds"].as_f64().expect("seconds");
    let rate = report["reserves_per_second"].as_f64().expect("a rate");
    assert!((rate * seconds - granted as f64).abs() < 0.5, "{report}");
    assert!(report["completes_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{report}");
    assert!(
        has_order(&report["reserve_latency_us"]) && has_order(&report["complete_latency_us"]),
        "{report}"
    );
    // What was granted is in the books: half of each estimate stays reserved, and the slots are free again.
    let (_, tokens, _) = replica.usage("over/http:llm:0:tpm").await;
    assert!(tokens > 0 && tokens.is_multiple_of(500), "{tokens}");
    let (_, slots, _) = replica.usage("over/http:llm:0:concurrency").await;
    assert_eq!(slots, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_callers_come_back_and_a_rate_is_offered_whole() {
    let flags =
        "--backend memory --duration 1s --rate 200 --limits 1 --capacity 50 --window-seconds 1 --retry";
    let report = report(flags).await;
    for name in ["conflicts", "unknown", "errors", "not_started"] {
        assert_eq!(count(&report, name), 0, "{name}: {report}");
    }
    let (granted, denied) = (count(&report, "granted"), count(&report, "denied"));
    // The capacity of a second, of which the warm-up took its part, and what came back of that.
    assert!((30..=80).contains(&granted), "{report}");
    assert!(granted + denied > 200, "those that were denied came back: {report}");
}

#[tokio::test]
async fn a_target_that_is_not_there_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_ratelimiter-loadtest"))
        .args(["--target", "http://127.0.0.1:1"])
        .output()
        .await
        .expect("it runs");
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("127.0.0.1:1 does not answer"), "{told}");
}
