//! Sends calls to other replicas. It goes only to the URLs that [`Replicas`](crate::registry::Replicas) found in the ledger.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OnceCell, Semaphore};

use crate::limit::ReplicaUrl;
use crate::tls::{TlsOptions, TlsOptionsError};

/// The header of a call that a replica has handed on. Such a call is never handed on again.
pub(super) const HOP_HEADER: &str = "ratelimiterd-hop";
/// How long a connection to a replica may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long an idle connection stays open: less than a service keeps one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// The most calls to other replicas at a time: a batch may have many leases that are unknown here.
const CALLS_MAX: usize = 128;
/// The longest answer that is read. An answer to one call has a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Why a replica is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The caller says that this replica serves the lease.
    Named,
    /// Nobody knows which replica serves the lease.
    Asked,
}

/// The connections to other replicas.
#[derive(Debug)]
pub struct Peers {
    plain: Client<HttpConnector, Full<Bytes>>,
    /// Made at the first call: only then the certificates of the system are needed.
    tls: OnceCell<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
    permits: Semaphore,
}

/// A call to another replica.
pub(super) struct PeerCall<'a> {
    pub(super) reason: Reason,
    pub(super) path: &'static str,
    /// What the caller authenticates with.
    pub(super) authorization: Option<&'a HeaderValue>,
    pub(super) body: String,
    pub(super) timeout: Duration,
}

/// What another replica answered.
#[derive(Debug)]
pub(super) struct PeerAnswer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    retry_after: Option<HeaderValue>,
}

/// Why another replica gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the call could not be sent, or its answer not received")]
    Exchange(#[from] hyper_util::client::legacy::Error),
    #[error("the answer broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the call could not be written")]
    Request(#[from] axum::http::Error),
    #[error("the certificates of replicas cannot be checked")]
    Tls(#[from] TlsOptionsError),
}

impl Reason {
    /// The value of [`HOP_HEADER`].
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Asked => "asked",
        }
    }
}

impl Default for Peers {
    /// No connection is open yet.
    fn default() -> Self {
        Self { plain: client(connector()), tls: OnceCell::new(), permits: Semaphore::new(CALLS_MAX) }
    }
}

impl Peers {
    /// Posts a call. The answer is that of the replica, whatever it says.
    pub(super) async fn post(&self, url: &ReplicaUrl, call: PeerCall<'_>) -> Result<PeerAnswer, PeerError> {
        let timeout = call.timeout;
        let exchange = async {
            // Nobody closes the semaphore.
            let _permit = self.permits.acquire().await.ok();
            self.exchange(url, call).await
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(PeerError::TimedOut(timeout)))
    }

    async fn exchange(&self, url: &ReplicaUrl, call: PeerCall<'_>) -> Result<PeerAnswer, PeerError> {
        let mut request = Request::post(format!("{url}{}", call.path))
            .header(CONTENT_TYPE, "application/json")
            .header(HOP_HEADER, call.reason.as_str());
        if let Some(authorization) = call.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(call.body)))?;
        let response = match url.is_https() {
            false => self.plain.request(request).await?,
            true => self.tls().await?.request(request).await?,
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(PeerError::Body)?;
        let retry_after = head.headers.get(RETRY_AFTER).cloned();
        Ok(PeerAnswer { status: head.status, body: body.to_bytes(), retry_after })
    }

    async fn tls(&self) -> Result<&Client<HttpsConnector<HttpConnector>, Full<Bytes>>, TlsOptionsError> {
        let make = async || {
            let mut http = connector();
            // It would refuse `https` URLs.
            http.enforce_http(false);
            let builder = HttpsConnectorBuilder::new().with_tls_config(TlsOptions::default().config()?);
            Ok(client(builder.https_only().enable_http1().wrap_connector(http)))
        };
        self.tls.get_or_try_init(make).await
    }
}

impl PeerAnswer {
    /// The same answer, for the caller.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(retry_after) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, retry_after);
        }
        response
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    connector
}

fn client<C>(connector: C) -> Client<C, Full<Bytes>>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT).build(connector)
}
