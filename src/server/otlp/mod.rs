//! Traces, logs and metrics for a collector, by OTLP over HTTP.
//!
//! | file | what it is |
//! | --- | --- |
//! | `collector.rs` | the client that posts to the collector |
//! | `trace_context.rs` | the trace that a request belongs to, from its headers |
//! | `metrics.rs` | the text of `GET /metrics` as metrics of OTLP |
//!
//! Traces and logs come out of `tracing`, as the lines on standard error do. Without a collector nobody asks for the spans, and
//! a disabled span costs a look at one atomic number.

mod collector;
mod metrics;
pub(in crate::server) mod trace_context;

use std::path::PathBuf;
use std::time::Duration;

use axum::http::header::{InvalidHeaderName, InvalidHeaderValue};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{ExporterBuildError, LogExporter, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::config::OtlpSettings;
use crate::tls::TlsOptionsError;
use collector::Collector;
pub(in crate::server) use metrics::MetricsExport;

/// How long the last traces and logs may take at the end of the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The sender of traces and logs. End it with [`Otlp::shutdown`].
#[derive(Debug)]
pub struct Otlp {
    traces: SdkTracerProvider,
    logs: Option<SdkLoggerProvider>,
}

/// Why nothing can be sent to the collector.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// The file of headers cannot be read.
    #[error("{path}: cannot read the headers for the collector")]
    ReadHeaders {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A line of the file of headers is not `name: value`.
    #[error("{path}: line {line} must be `name: value`")]
    Header {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The certificates to trust cannot be used.
    #[error("otlp.ca_path")]
    Tls(#[from] TlsOptionsError),
    /// The exporter refuses the settings.
    #[error("the exporter of OTLP cannot be built")]
    Exporter(#[from] ExporterBuildError),
}

impl Otlp {
    /// Connects nowhere yet: what waits is sent in the background. `runtime` must run until [`Otlp::shutdown`] has returned.
    ///
    /// # Errors
    ///
    /// A file of the settings cannot be used.
    pub fn new(settings: &OtlpSettings, runtime: Handle) -> Result<Self, OtlpError> {
        let collector = Collector::new(settings, runtime)?;
        let url = |path| collector.url(path);
        let spans = SpanExporter::builder()
            .with_http()
            .with_http_client(collector.clone())
            .with_endpoint(url("v1/traces"))
            .build()?;
        // A trace that a caller has begun is followed as the caller decided.
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.traces_share)));
        let traces = SdkTracerProvider::builder()
            .with_batch_exporter(spans)
            .with_sampler(sampler)
            .with_resource(resource())
            .build();
        let logs = if settings.logs {
            let lines = LogExporter::builder()
                .with_http()
                .with_http_client(collector.clone())
                .with_endpoint(url("v1/logs"))
                .build()?;
            Some(SdkLoggerProvider::builder().with_batch_exporter(lines).with_resource(resource()).build())
        } else {
            None
        };
        Ok(Self { traces, logs })
    }

    /// The layer that sends spans, and the log lines that `filter` lets through.
    pub fn layer<S>(&self, filter: EnvFilter) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let tracer = self.traces.tracer("ratelimiterd");
        let spans = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_filter(filter_fn(is_own_span));
        // The exporter logs its own faults. To send those would make more of them.
        let own_lines = filter_fn(|metadata| !metadata.target().starts_with("opentelemetry"));
        let lines = self.logs.as_ref().map(|provider| {
            OpenTelemetryTracingBridge::new(provider).with_filter(filter).with_filter(own_lines)
        });
        spans.and_then(lines)
    }

    /// Sends what waits, for two seconds at most for each of traces and logs. Blocks; not for use in async code.
    pub fn shutdown(self) {
        let lines = self.logs.map_or(Ok(()), |logs| logs.shutdown_with_timeout(SHUTDOWN_TIMEOUT));
        for ended in [self.traces.shutdown_with_timeout(SHUTDOWN_TIMEOUT), lines] {
            if let Err(error) = ended {
                tracing::warn!(%error, "the last traces or logs did not reach the collector");
            }
        }
    }
}

fn is_own_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("ledger_limiter")
}

/// Who sends. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` name it otherwise.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some();
    let builder = Resource::builder().with_attribute(version);
    if named { builder.build() } else { builder.with_service_name("ratelimiterd").build() }
}

/// The headers in a file, one `name: value` in a line. Empty lines and lines that begin with `#` count for nothing.
fn headers(settings: &OtlpSettings) -> Result<HeaderMap, OtlpError> {
    let path = &settings.headers_path;
    if path.as_os_str().is_empty() {
        return Ok(HeaderMap::new());
    }
    let text = std::fs::read_to_string(path)
        .map_err(|source| OtlpError::ReadHeaders { path: path.clone(), source })?;
    let mut headers = HeaderMap::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let malformed = || OtlpError::Header { path: path.clone(), line: index + 1 };
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        let name: HeaderName = name.trim().parse().map_err(|_: InvalidHeaderName| malformed())?;
        let mut value: HeaderValue = value.trim().parse().map_err(|_: InvalidHeaderValue| malformed())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}
