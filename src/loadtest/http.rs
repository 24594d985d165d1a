//! Offers load to a service over HTTP.
//!
//! The generator shares the machine with the service, so a call must cost it little. The task of the caller drives its
//! own connection, and requests are joined from parts that were written beforehand.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use ledger_limiter::client::BearerToken;
use ledger_limiter::limit::json::StatusJson;
use ledger_limiter::protocol::{BatchAnswer, ChangeAnswer, CompleteAnswer, ReserveAnswer};
use ledger_limiter::telemetry::with_sources;
use serde::de::DeserializeOwned;
use tokio_rustls::rustls::ClientConfig;

use crate::address::Address;
use crate::connection::{CallError, OpenConnection};
use crate::target::{Completed, Connection, Item, Reserved, SetupError, Target};
use crate::workload::{Limit, Workload};

const LIMITS: &str = "/v1/admin/limits";
const METRICS: &str = "/metrics";

/// The service.
pub(crate) struct Server {
    address: Address,
    token: Option<BearerToken>,
    tls: Option<Arc<ClientConfig>>,
}

impl Server {
    pub(crate) fn new(address: Address, token: Option<BearerToken>, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { address, token, tls }
    }
}

impl Target for Server {
    type Connection = HttpConnection;

    async fn connect(&self, workload: Arc<Workload>) -> Result<HttpConnection, SetupError> {
        let mut connection = HttpConnection {
            address: self.address.clone(),
            token: self.token.clone(),
            tls: self.tls.clone(),
            workload,
            body: BytesMut::new(),
            open: None,
        };
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
                Ok(ChangeAnswer { status: StatusJson::Active, .. }) => Ok(()),
                Ok(ChangeAnswer { status: StatusJson::Decreasing, .. }) => {
                    Err(SetupError::InUse { key: limit.body.key.clone() })
                }
                Err(error) => Err(failed(error.to_string())),
            },
            Ok((status, body)) => Err(failed(CallError::status(status, &body).to_string())),
            Err(error) => Err(failed(with_sources(&error))),
        }
    }

    async fn metrics(&self, connection: &mut HttpConnection) -> Option<String> {
        match connection.call(Method::GET, METRICS, Bytes::new()).await {
            Ok((StatusCode::OK, body)) => String::from_utf8(body.into()).ok(),
            Ok(_) | Err(_) => None,
        }
    }
}

/// One connection, opened again when it was lost.
pub(crate) struct HttpConnection {
    address: Address,
    token: Option<BearerToken>,
    tls: Option<Arc<ClientConfig>>,
    workload: Arc<Workload>,
    /// A buffer that all bodies share, so that a call does not allocate.
    body: BytesMut,
    open: Option<OpenConnection>,
}

impl HttpConnection {
    async fn connect(&mut self) -> Result<&mut OpenConnection, CallError> {
        match &mut self.open {
            Some(open) if !open.is_closed() => {}
            closed => *closed = Some(OpenConnection::new(&self.address, self.tls.as_ref()).await?),
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
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.header().clone());
        }
        let answer = self.connect().await?.send(request).await;
        if answer.is_err() {
            self.open = None;
        }
        answer
    }

    /// Posts one item or a batch, and reads the answers. `paths` are the endpoints for one item and for a batch.
    async fn post<A: DeserializeOwned>(
        &mut self,
        paths: [&'static str; 2],
        body: Bytes,
        items_sent: usize,
    ) -> Result<Vec<A>, CallError> {
        let [one, batch] = paths;
        let (status, body) = self.call(Method::POST, if items_sent == 1 { one } else { batch }, body).await?;
        // A body with one of these statuses is an answer. With any other status it is an error message.
        if !matches!(status, StatusCode::OK | StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE) {
            return Err(CallError::status(status, &body));
        }
        if items_sent == 1 {
            return Ok(vec![serde_json::from_slice(&body)?]);
        }
        let answers = serde_json::from_slice::<BatchAnswer<A>>(&body)?.results;
        if answers.len() == items_sent {
            Ok(answers)
        } else {
            Err(CallError::Count { items: items_sent, answers: answers.len() })
        }
    }
}

impl Connection for HttpConnection {
    async fn reserve(&mut self, items: &[Item]) -> Vec<Reserved> {
        let body = self.workload.reserve_body(&mut self.body, items);
        match self.post::<ReserveAnswer>(["/v1/reserve", "/v1/reserve/batch"], body, items.len()).await {
            Ok(answers) => answers.into_iter().map(Reserved::from).collect(),
            Err(error) => vec![Reserved::Failed(with_sources(&error)); items.len()],
        }
    }

    async fn complete(&mut self, items: &[Item]) -> Vec<Completed> {
        let body = self.workload.complete_body(&mut self.body, items);
        match self.post::<CompleteAnswer>(["/v1/complete", "/v1/complete/batch"], body, items.len()).await {
            Ok(answers) => answers.into_iter().map(Completed::from).collect(),
            Err(error) => vec![Completed::Failed(with_sources(&error)); items.len()],
        }
    }
}

/// The error code of the service for an unknown outcome.
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
            "lease_conflict" | "lease_settled" | "lease_expired" => Self::Conflict,
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
    fn each_answer_becomes_its_outcome() {
        let answer = |allowed, retry_after_ms, error: &str| ReserveAnswer {
            allowed,
            retry_after_ms,
            retry_after_source: None,
            reserved_at_unix_ms: 0,
            error: error.to_owned(),
            limiting_key: None,
            emergency: false,
            limits: None,
            served_by: None,
            would_deny: Vec::new(),
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
            assert_eq!(Completed::from(CompleteAnswer { ok, ..CompleteAnswer::failed(error) }), completed);
        }
    }
}
