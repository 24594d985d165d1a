//! The client that posts to the collector.

use std::time::Duration;

use async_trait::async_trait;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

use super::{OtlpError, headers};
use crate::server::config::OtlpSettings;
use crate::tls::TlsOptions;

/// How long one export may take, connecting included.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read. Collectors answer a few bytes.
const ANSWER_BYTES_MAX: usize = 65_536;

/// A collector of traces, logs and metrics.
#[derive(Debug, Clone)]
pub(super) struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: String,
    headers: HeaderMap,
    /// The exporters have threads of their own, and the client needs those of the runtime.
    runtime: Handle,
}

impl Collector {
    pub(super) fn new(settings: &OtlpSettings, runtime: Handle) -> Result<Self, OtlpError> {
        let mut options = TlsOptions::default();
        if !settings.ca_path.as_os_str().is_empty() {
            options = options.ca_file(&settings.ca_path);
        }
        let config = if settings.endpoint.starts_with("https:") {
            options.config()?
        } else {
            crate::tls::trusting_nobody()?
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let endpoint = settings.endpoint.trim_end_matches('/').to_owned();
        Ok(Self { client, endpoint, headers: headers(settings)?, runtime })
    }

    /// The URL of one of the collector's paths.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.endpoint)
    }

    /// Posts a message of OTLP. The answer is that of the collector, whatever it says.
    pub(super) async fn post(&self, path: &str, message: Vec<u8>) -> Result<StatusCode, HttpError> {
        let mut request = Request::post(self.url(path)).body(Bytes::from(message))?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        Ok(self.send_bytes(request).await?.status())
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        request.headers_mut().extend(self.headers.clone());
        let client = self.client.clone();
        let exchange = async move {
            let (head, body) = client.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        self.runtime.spawn(async { tokio::time::timeout(EXPORT_TIMEOUT, exchange).await }).await??
    }
}
