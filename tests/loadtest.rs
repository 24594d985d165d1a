//! The program `ratelimiter-loadtest`, against a service over the memory ledger and against a limiter of its own.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::server::Metrics;
use ledger_limiter::server::api::{self, Api, Audience, Gate};
use ledger_limiter::telemetry::MetricsRegistry;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::fixtures::*;
use crate::memory::MemoryBackend;

/// Starts a service on a free port, which ends with the test; answers its URL and its replica.
async fn service() -> (String, Replica<<MemoryBackend as Backend>::Ledger>) {
    let backend = MemoryBackend::new();
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let metrics = Metrics::new(MetricsRegistry::default());
    let api = Api {
        request_timeout: Duration::from_secs(5),
        ..Api::new(Arc::clone(&replica.engine), Gate::open(), metrics)
    };
    api.readiness.set_bootstrapped();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(axum::serve(listener, api::router(Arc::new(api), Audience::Everybody)).into_future());
    (format!("http://{address}"), replica)
}

/// Runs the program with the flags, and reads its report.
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
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{flags}: {stderr}");
    serde_json::from_slice(&std::fs::read(path).expect("a report")).expect("JSON")
}

fn count(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} is not a number: {report}"))
}

fn assert_none(report: &Value, names: &[&str]) {
    for name in names {
        assert_eq!(count(report, name), 0, "{name}: {report}");
    }
}

fn assert_rising_quantiles(latency: &Value) {
    let quantiles =
        ["p50", "p90", "p99", "p999", "max"].map(|name| latency[name].as_f64().expect("a latency"));
    assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{latency}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_over_http_reports_what_the_service_granted() {
    let (url, replica) = service().await;
    let report = report(&format!(
        "--target {url} --duration 1s --batch 3 --limits 8 --llm --complete below --prefix over/http"
    ))
    .await;
    assert_eq!(report["settings"]["target"], json!(url));
    assert_eq!(report.get("server"), Some(&Value::Null), "the memory ledger has no request metrics");
    assert_none(&report, &["denied", "conflicts", "unknown", "errors", "not_started"]);
    let granted = count(&report, "granted");
    assert!(granted > 0 && granted.is_multiple_of(3), "{report}");
    let seconds = report["seconds"].as_f64().expect("seconds");
    let rate = report["reserves_per_second"].as_f64().expect("a rate");
    assert!((rate * seconds - granted as f64).abs() < 0.5, "{report}");
    assert!(report["completes_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{report}");
    assert_rising_quantiles(&report["reserve_latency_us"]);
    assert_rising_quantiles(&report["complete_latency_us"]);
    // Half of each estimate of 1,000 tokens stays reserved after the complete, and every slot is released.
    let tokens = replica.info("over/http:llm:0:tpm").await.reserved;
    assert!(tokens > 0 && tokens.is_multiple_of(500), "{tokens}");
    assert_eq!(replica.info("over/http:llm:0:concurrency").await.reserved, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_callers_retry_while_the_offered_rate_stays() {
    let flags =
        "--backend memory --duration 1s --rate 200 --limits 1 --capacity 50 --window-seconds 1 --retry";
    let report = report(flags).await;
    assert_none(&report, &["conflicts", "unknown", "errors", "not_started"]);
    let (granted, denied) = (count(&report, "granted"), count(&report, "denied"));
    // The capacity of one second less the part of the warm-up, and what expired of that part.
    assert!((30..=80).contains(&granted), "{report}");
    assert!(granted + denied > 200, "the retries add to the 200 offered reserves: {report}");
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_ratelimiter-loadtest"))
        .args(["--target", "http://127.0.0.1:1"])
        .output()
        .await
        .expect("it runs");
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("127.0.0.1:1 does not answer"), "{stderr}");
}
