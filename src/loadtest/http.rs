//! A service to be loaded over HTTP. The generator shares the machine with the service, so a connection does as little
//! as can be: it is driven by the caller's own task, and the requests are put together from parts made beforehand.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, InvalidHeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use ledger_limiter::telemetry::with_sources;
use ledger_limiter::wire::{BatchAnswer, ChangeAnswer, CompleteAnswer, ErrorBody, ReserveAnswer, StatusBody};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::target::{Ask, Completed, Connection, Reserved, SetupError, Target};
use crate::workload::{Limit, Workload};

const LIMITS: &str = "/v1/admin/limits";
const METRICS: &str = "/metrics";

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// `HOST:PORT`
    authority: String,
    host: HeaderValue,
}

/// Why a text is no address of a service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("is no URL")]
    Uri(#[from] hyper::http::uri::InvalidUri),
    #[error("must be http://HOST:PORT and nothing more")]
    Form,
    #[error("names a host that no header can hold")]
    Host(#[from] InvalidHeaderValue),
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no connection")]
    Connect(#[from] std::io::Error),
    #[error("the connection failed")]
    Transport(#[from] hyper::Error),
    #[error("status {status}: {text}")]
    Status { status: StatusCode, text: String },
    #[error("the answer is not what it should be")]
    Answer(#[from] serde_json::Error),
    #[error("{answers} answers to {asks} requests")]
    Count { asks: usize, answers: usize },
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, AddressError> {
        let uri: Uri = url.parse()?;
        let (Some("http"), Some(authority), "" | "/") = (uri.scheme_str(), uri.authority(), uri.path())
        else {
            return Err(AddressError::Form);
        };
        let authority = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        Ok(Self { host: HeaderValue::from_str(&authority)?, authority })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

/// The service.
pub(crate) struct Server {
    address: Address,
}

impl Server {
    pub(crate) fn new(address: Address) -> Self {
        Self { address }
    }
}

impl Target for Server {
    type Connection = HttpConnection;

    async fn connect(&self, workload: Arc<Workload>) -> Result<HttpConnection, SetupError> {
        let mut connection =
            HttpConnection { address: self.address.clone(), workload, body: BytesMut::new(), open: None };
        let connected = connection.connect().await;
        connected
            .map_err(|source| SetupError::Connect { address: self.address.authority.clone(), source })?;
        Ok(connection)
    }

    async fn put(&self, connection: &mut HttpConnection, limit: &Limit) -> Result<(), SetupError> {
        let failed = |message| SetupError::Put { key: limit.body.key.clone(), message };
        let body = serde_json::to_vec(&limit.body).map_err(|error| failed(error.to_string()))?;
        match connection.call(Method::PUT, LIMITS, body.into()).await {
            Ok((StatusCode::OK, body)) => match serde_json::from_slice::<ChangeAnswer>(&body) {
                Ok(ChangeAnswer { status: StatusBody::Active, .. }) => Ok(()),
                Ok(ChangeAnswer { status: StatusBody::Decreasing, .. }) => {
                    Err(SetupError::InUse { key: limit.body.key.clone() })
                }
                Err(error) => Err(failed(error.to_string())),
            },
            Ok((status, body)) => Err(failed(CallError::status(status, &body).to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    async fn metrics(&self, connection: &mut HttpConnection) -> Option<String> {
        match connection.call(Method::GET, METRICS, Bytes::new()).await {
            Ok((StatusCode::OK, body)) => String::from_utf8(body.into()).ok(),
            Ok(_) | Err(_) => None,
        }
    }
}

/// One connection, made again when it was lost.
pub(crate) struct HttpConnection {
    address: Address,
    workload: Arc<Workload>,
    /// Kept, so that the room for bodies is used again.
    body: BytesMut,
    open: Option<Open>,
}

/// An open connection. No task of its own drives it, which would cost two wake-ups for each call: it is polled beside
/// what waits for it.
struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: Pin<Box<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
    /// Whether the driver has ended: it may not be polled any more.
    ended: bool,
}

impl Open {
    async fn new(authority: &str) -> Result<Self, CallError> {
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, driver: Box::pin(driver), ended: false })
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), CallError> {
        let response = self.sender.send_request(request);
        let exchange = async {
            let response = response.await?;
            let status = response.status();
            Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        let mut exchange = std::pin::pin!(exchange);
        if !self.ended {
            tokio::select! {
                biased;
                // The service closes after its answer: what it said may still be here.
                _ = &mut self.driver => self.ended = true,
                answer = &mut exchange => return answer,
            }
        }
        exchange.await
    }
}

impl HttpConnection {
    async fn connect(&mut self) -> Result<&mut Open, CallError> {
        let closed = |open: &Open| open.ended || open.sender.is_closed();
        match &mut self.open {
            Some(open) if !closed(open) => {}
            place => *place = Some(Open::new(&self.address.authority).await?),
        }
        self.open.as_mut().ok_or_else(|| CallError::Connect(std::io::ErrorKind::NotConnected.into()))
    }

    async fn call(
        &mut self,
        method: Method,
        path: &'static str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_static(path);
        request.headers_mut().insert(HOST, self.address.host.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = self.connect().await?.send(request).await;
        if answer.is_err() {
            self.open = None;
        }
        answer
    }

    /// Posts one item or a batch, and reads an answer for each.
    async fn post<A: DeserializeOwned>(
        &mut self,
        paths: [&'static str; 2],
        body: Bytes,
        asks: usize,
    ) -> Result<Vec<A>, CallError> {
        let [one, batch] = paths;
        let (status, body) = self.call(Method::POST, if asks == 1 { one } else { batch }, body).await?;
        // What these say is an answer; that of any other status is for people.
        if !matches!(status, StatusCode::OK | StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE) {
            return Err(CallError::status(status, &body));
        }
        if asks == 1 {
            return Ok(vec![serde_json::from_slice(&body)?]);
        }
        let answers = serde_json::from_slice::<BatchAnswer<A>>(&body)?.results;
        if answers.len() == asks {
            Ok(answers)
        } else {
            Err(CallError::Count { asks, answers: answers.len() })
        }
    }
}

impl CallError {
    fn status(status: StatusCode, body: &[u8]) -> Self {
        let text = serde_json::from_slice::<ErrorBody>(body).map(|error| error.message);
        Self::Status { status, text: text.unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned()) }
    }
}

impl Connection for HttpConnection {
    async fn reserve(&mut self, asks: &[Ask]) -> Vec<Reserved> {
        let body = self.workload.reserve_body(&mut self.body, asks);
        match self.post::<ReserveAnswer>(["/v1/reserve", "/v1/reserve/batch"], body, asks.len()).await {
            Ok(answers) => answers.into_iter().map(Reserved::from).collect(),
            Err(error) => vec![Reserved::Failed(with_sources(&error)); asks.len()],
        }
    }

    async fn complete(&mut self, asks: &[Ask]) -> Vec<Completed> {
        let body = self.workload.complete_body(&mut self.body, asks);
        match self.post::<CompleteAnswer>(["/v1/complete", "/v1/complete/batch"], body, asks.len()).await {
            Ok(answers) => answers.into_iter().map(Completed::from).collect(),
            Err(error) => vec![Completed::Failed(with_sources(&error)); asks.len()],
        }
    }
}

/// What the service calls an outcome that it does not know.
const BACKEND_ERROR: &str = "backend_error";

impl From<ReserveAnswer> for Reserved {
    fn from(answer: ReserveAnswer) -> Self {
        if answer.allowed {
            return Self::Granted;
        }
        match answer.error.split(':').next().unwrap_or_default() {
            "" | "exceeds_capacity" | "unknown_limit_key" | "limit_decreasing" => {
                Self::Denied { retry_after: Duration::from_millis(answer.retry_after_ms) }
            }
            "lease_conflict" | "lease_settled" => Self::Conflict,
            BACKEND_ERROR => Self::Unknown,
            _ => Self::Failed(answer.error),
        }
    }
}

impl From<CompleteAnswer> for Completed {
    fn from(answer: CompleteAnswer) -> Self {
        match answer.error.as_str() {
            "" if answer.ok => Self::Settled,
            BACKEND_ERROR => Self::Unknown,
            _ => Self::Failed(answer.error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_url_is_an_address() {
        for (url, authority) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://limits.example/", "limits.example:80"),
            ("http://[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(Address::parse(url).map(|address| address.authority).ok().as_deref(), Some(authority));
        }
        for url in ["https://a:1", "a:1", "http://a:1/v1", "http://", "a b"] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn every_outcome_is_told_apart() {
        let answer = |allowed, retry_after_ms, error: &str| ReserveAnswer {
            allowed,
            retry_after_ms,
            reserved_at_unix_ms: 0,
            error: error.to_owned(),
            limiting_key: None,
        };
        let denied = |millis| Reserved::Denied { retry_after: Duration::from_millis(millis) };
        for (answer, reserved) in [
            (answer(true, 0, ""), Reserved::Granted),
            (answer(false, 7, ""), denied(7)),
            (answer(false, 0, "exceeds_capacity:a:b"), denied(0)),
            (answer(false, 10, "limit_decreasing:a"), denied(10)),
            (answer(false, 0, "lease_settled"), Reserved::Conflict),
            (answer(false, 0, "backend_error"), Reserved::Unknown),
            (answer(false, 0, "invalid_request: x"), Reserved::Failed("invalid_request: x".to_owned())),
        ] {
            assert_eq!(Reserved::from(answer), reserved);
        }
        for (ok, error, completed) in [
            (true, "", Completed::Settled),
            (false, "backend_error", Completed::Unknown),
            (false, "", Completed::Failed(String::new())),
        ] {
            assert_eq!(Completed::from(CompleteAnswer { ok, error: error.to_owned() }), completed);
        }
    }
}
