//! Traces, logs and metrics as a collector gets them.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

/// Sampled, in the form of W3C Trace Context.
const TRACE_PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Sends the metrics as often as it can be set.
const EACH_SECOND: (&str, &str) = ("RATELIMITERD_OTLP_METRICS_INTERVAL_MS", "1000");

/// One export: the path, the headers, the message.
type Export = (String, HeaderMap, Bytes);

/// A collector that hands on what it gets.
async fn collector() -> (SocketAddr, UnboundedReceiver<Export>) {
    let (sender, exports) = unbounded_channel();
    let take =
        async |State(sender): State<UnboundedSender<Export>>, uri: Uri, headers: HeaderMap, body: Bytes| {
            sender.send((uri.path().to_owned(), headers, body)).ok();
        };
    let router = Router::new().fallback(take).with_state(sender);
    let listener = tokio::net::TcpListener::bind(LOOPBACK).await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async { axum::serve(listener, router).await });
    (address, exports)
}

/// A service with a collector and a limit of 1. The variables are settings.
async fn service(folder: &Path, variables: &[(&str, &str)]) -> (Server, UnboundedReceiver<Export>) {
    let (address, exports) = collector().await;
    let mut command = program(folder);
    command
        .env("RATELIMITERD_OTLP_ENDPOINT", format!("http://{address}"))
        .env("RATELIMITERD_OTLP_TRACES_SHARE", "0")
        .envs(variables.iter().copied());
    let server = Server::start_by(command);
    let limit = json!({ "key": "rpm", "kind": "rolling", "capacity": 1, "window_seconds": 60 });
    let put = reqwest::Client::new().put(server.url("/v1/admin/limits")).json(&limit).send().await;
    assert_eq!(put.expect("an answer").status(), 200);
    (server, exports)
}

async fn reserve(server: &Server, id: &str, headers: &[(&str, &str)]) {
    let body = json!({ "lease_id": id, "requirements": [{ "key": "rpm", "amount": 1 }] });
    let mut request = reqwest::Client::new().post(server.url("/v1/reserve")).json(&body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    assert_eq!(request.send().await.expect("an answer").status(), 200);
}

/// Everything that reached the collector at this path until the service has ended.
async fn exported<M: Message + Default>(
    server: Server,
    exports: &mut UnboundedReceiver<Export>,
    at: &str,
) -> Vec<M> {
    server.send_sigterm();
    tokio::task::spawn_blocking(move || server.assert_exits_with_0()).await.expect("it ends");
    let mut messages = Vec::new();
    while let Ok((path, headers, body)) = exports.try_recv() {
        if path == at {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            messages.push(M::decode(body).expect("a message of OTLP"));
        }
    }
    messages
}

fn spans(messages: Vec<ExportTraceServiceRequest>) -> Vec<Span> {
    let of_resources = messages.into_iter().flat_map(|message| message.resource_spans);
    let of_scopes = of_resources.flat_map(|ResourceSpans { scope_spans, .. }| scope_spans);
    of_scopes.flat_map(|of_scope| of_scope.spans).collect()
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    let value = found.value.clone()?.value?;
    if let AnyValue::IntValue(number) = value {
        return Some(number.to_string());
    }
    let AnyValue::StringValue(text) = value else { panic!("{name} is neither text nor a number: {value:?}") };
    Some(text)
}

fn service_name(resource: Option<&Resource>) -> Option<String> {
    text(&resource?.attributes, "service.name")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_trace_is_a_span_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, mut exports) = service(folder.path(), &[]).await;
    let id = lease().to_string();
    let headers = [("traceparent", TRACE_PARENT), ("tracestate", "vendor=1"), ("x-request-id", "call-7")];
    reserve(&server, &id, &headers).await;
    // Malformed headers begin a trace, of which none is sent with a share of 0.
    reserve(&server, &lease().to_string(), &[("traceparent", "00-no-trace-01")]).await;
    reserve(&server, &lease().to_string(), &[]).await;

    let messages: Vec<ExportTraceServiceRequest> = exported(server, &mut exports, "/v1/traces").await;

    let resource = messages[0].resource_spans[0].resource.clone();
    assert_eq!(service_name(resource.as_ref()).as_deref(), Some("ratelimiterd"));
    let spans = spans(messages);
    let [span] = spans.as_slice() else { panic!("{spans:#?}") };
    assert_eq!(span.name, "POST /v1/reserve");
    assert_eq!(span.kind(), SpanKind::Server);
    assert_eq!(span.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
    assert_eq!(span.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(span.trace_state, "vendor=1");
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/reserve"),
        ("url.path", "/v1/reserve"),
        ("http.response.status_code", "200"),
        ("request_id", "call-7"),
        ("lease_id", &id),
        ("keys", "[\"rpm\"]"),
    ] {
        assert_eq!(text(&span.attributes, name).as_deref(), Some(value), "{name}");
    }
    assert!(span.status.as_ref().is_none_or(|status| status.code() == StatusCode::Unset));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_share_decides_about_requests_without_a_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, mut exports) = service(folder.path(), &[("RATELIMITERD_OTLP_TRACES_SHARE", "1")]).await;
    for _ in 0..3 {
        reserve(&server, &lease().to_string(), &[]).await;
    }
    let messages = exported(server, &mut exports, "/v1/traces").await;
    let spans = spans(messages);
    assert_eq!(spans.iter().filter(|span| span.name == "POST /v1/reserve").count(), 3, "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_gets_the_lines_of_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, mut exports) = service(folder.path(), &[]).await;
    let messages: Vec<ExportLogsServiceRequest> = exported(server, &mut exports, "/v1/logs").await;
    let of_resources = messages.into_iter().flat_map(|message| message.resource_logs);
    let records: Vec<_> =
        of_resources.flat_map(|logs| logs.scope_logs).flat_map(|logs| logs.log_records).collect();
    let bodies: Vec<String> = records.iter().map(|record| format!("{:?}", record.body)).collect();
    assert!(bodies.iter().any(|body| body.contains("ratelimiterd listens")), "{bodies:?}");
    assert!(records.iter().all(|record| record.severity_text != "DEBUG"), "log.filter holds here, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_gets_the_metrics_of_the_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, mut exports) = service(folder.path(), &[EACH_SECOND]).await;
    for _ in 0..3 {
        reserve(&server, &lease().to_string(), &[]).await;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut denied = 0.0;
    while denied < 2.0 {
        assert!(Instant::now() < deadline, "{denied} denied reserves reached the collector");
        let (path, _, body) = exports.recv().await.expect("the service exports");
        if path != "/v1/metrics" {
            continue;
        }
        let message = ExportMetricsServiceRequest::decode(body).expect("a message of OTLP");
        let of_service = &message.resource_metrics[0];
        assert_eq!(service_name(of_service.resource.as_ref()).as_deref(), Some("ratelimiterd"));
        let metrics = &of_service.scope_metrics[0].metrics;
        let reserves =
            metrics.iter().find(|metric| metric.name == "ratelimiterd_reserves").expect("it is counted");
        let Some(Data::Sum(sum)) = &reserves.data else { panic!("{reserves:?}") };
        assert!(sum.is_monotonic);
        let no_room = |point: &&_| is_of(point, "no_room");
        let point = sum.data_points.iter().find(no_room).expect("it is counted by outcome");
        denied =
            format!("{:?}", point.value).trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0.0);
    }
}

fn is_of(point: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint, outcome: &str) -> bool {
    text(&point.attributes, "outcome").as_deref() == Some(outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_headers_in_the_file_are_sent_and_not_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("headers");
    std::fs::write(&path, "# for the collector\nauthorization: Bearer s3cret\n\nx-tenant: acme\n")
        .expect("it is written");
    let path = path.to_str().expect("text");
    let (server, mut exports) =
        service(folder.path(), &[("RATELIMITERD_OTLP_HEADERS_PATH", path), EACH_SECOND]).await;
    let (_, headers, _) = exports.recv().await.expect("an export");
    assert_eq!(headers["authorization"], "Bearer s3cret");
    assert_eq!(headers["x-tenant"], "acme");
    drop(server);
    std::fs::write(path, "no header\n").expect("it is written");
    let serve = ["serve", "--server-backend", "memory", "--server-listen-addr", LOOPBACK];
    let otlp = ["--otlp-endpoint", "http://127.0.0.1:1", "--otlp-headers-path", path];
    let error = error_of(folder.path(), &[&serve[..], &otlp[..]].concat(), &[]);
    assert!(error.contains("line 1 must be `name: value`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_delays_no_answer_and_no_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = program(folder.path());
    command
        .env("RATELIMITERD_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .env("RATELIMITERD_OTLP_TRACES_SHARE", "1");
    let server = Server::start_by(command);
    let started = Instant::now();
    let answer = reqwest::get(server.url("/healthz")).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    server.send_sigterm();
    tokio::task::spawn_blocking(move || server.assert_exits_with_0()).await.expect("it ends");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}
