//! The transport to a service, over HTTP.

mod admin;
mod answer;
mod bearer_token;
#[cfg(feature = "client-tls")]
mod connector;
mod error;
mod object;
mod options;
mod served_by;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use answer::{AttemptError, read};
pub use bearer_token::{BearerToken, BearerTokenError};
#[cfg(feature = "client-tls")]
use connector::Connector;
pub use error::HttpError;
pub use options::HttpOptions;
use served_by::ServedBy;

use super::{
    AttemptResult, CallError, Complete, ErrorKind, Extend, LeaseId, LimitKey, Renew, Reserve, Transport,
    Usage,
};
use crate::protocol::{
    AnswerError, BatchAnswer, CompleteAnswer, CompleteBody, ExtendBody, RenewBody, ReserveAnswer,
    ReserveBody, ReserveOutcome, WAIT_MS_MAX,
};

/// The longest body that the service takes, less the bytes around the items of a batch.
const BATCH_BYTES_MAX: usize = 1024 * 1024 - 64;
/// The longest answer that is read: far more than the answer to the largest batch.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(not(feature = "client-tls"))]
type Connector = HttpConnector;

/// The limiter behind the HTTP API of a `ratelimiterd`. It keeps connections open and uses them again.
///
/// Dropping the future of a call gives up its request, which the service may still carry out.
pub struct Http {
    client: Client<Connector, Full<Bytes>>,
    /// Scheme, host, port and the path in front of `/v1`, without a slash at its end.
    base: String,
    options: HttpOptions,
    permits: Semaphore,
    waits: Semaphore,
    /// Whether the service let a reserve wait, as far as known. Earlier versions refuse the field.
    lets_wait: AtomicBool,
    served_by: ServedBy,
}

impl Http {
    /// A transport to the service at `url`, such as `http://127.0.0.1:8080`, with the default [`HttpOptions`].
    /// Nothing is sent yet. A path in the URL is put in front of every request's path.
    pub fn new(url: &str) -> Result<Self, HttpError> {
        Self::with_options(url, HttpOptions::default())
    }

    /// The same, with these options.
    pub fn with_options(url: &str, options: HttpOptions) -> Result<Self, HttpError> {
        let uri: Uri = url.parse().map_err(|source| HttpError::Url { url: url.to_owned(), source })?;
        let scheme = uri.scheme_str().filter(|&scheme| scheme == "http" || scheme == "https");
        let parts = scheme.zip(uri.authority()).filter(|_| uri.query().is_none());
        let (scheme, authority) = parts.ok_or_else(|| HttpError::Form(url.to_owned()))?;
        let is_https = scheme == "https";
        if options.requests_max == 0 {
            return Err(HttpError::Zero("requests_max"));
        }
        if options.batch_items_max == 0 {
            return Err(HttpError::Zero("batch_items_max"));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(options.connect_timeout));
        connector.set_nodelay(true);
        #[cfg(feature = "client-tls")]
        let connector = connector::connector(connector, is_https, &options.tls, options.connect_timeout)?;
        #[cfg(not(feature = "client-tls"))]
        if is_https {
            return Err(HttpError::NoTls(url.to_owned()));
        }
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.idle_timeout)
            .build(connector);
        let base = format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/'));
        let permits = Semaphore::new(options.requests_max.min(Semaphore::MAX_PERMITS));
        let waits = Semaphore::new(options.waits_max.min(Semaphore::MAX_PERMITS));
        Ok(Self {
            client,
            base,
            options,
            permits,
            waits,
            lets_wait: AtomicBool::new(true),
            served_by: ServedBy::default(),
        })
    }

    /// Sends a body and reads the answer.
    async fn post<A: DeserializeOwned>(&self, path: &str, body: String) -> Result<A, CallError> {
        let (status, answer) = self.exchange(Method::POST, path, body).await?;
        read(status, &answer)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), AttemptError> {
        self.exchange_within(self.options.request_timeout, &self.permits, method, path, body).await
    }

    async fn exchange_within(
        &self,
        timeout: Duration,
        permits: &Semaphore,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), AttemptError> {
        let exchange = async {
            let _permit = permits.acquire().await.map_err(|_| AttemptError::ShutDown)?;
            let mut request = Request::builder()
                .method(method)
                .uri(format!("{}{path}", self.base))
                .header(CONTENT_TYPE, "application/json");
            if let Some(token) = &self.options.token {
                request = request.header(AUTHORIZATION, token.header());
            }
            let request = request
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| AttemptError::Body(error.into()))?;
            let response = self.client.request(request).await.map_err(AttemptError::Exchange)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            Ok((status, body.collect().await.map_err(AttemptError::Body)?.to_bytes()))
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(AttemptError::TimedOut(timeout)))
    }

    /// A reserve that waits for room at the service.
    async fn reserve_waiting(&self, command: &Reserve) -> Result<AttemptResult, CallError> {
        let timeout = self.options.request_timeout + Duration::from_millis(command.wait().max_ms());
        let body = json(&ReserveBody::from(command))?;
        let exchange = self.exchange_within(timeout, &self.waits, Method::POST, "/v1/reserve", body);
        let (status, answer) = exchange.await?;
        Ok(self.reserved(command.lease, read(status, &answer)?)?.into())
    }

    /// The outcome of a reserve; which replica serves the lease is remembered.
    fn reserved(&self, lease: LeaseId, answer: ReserveAnswer) -> Result<ReserveOutcome, AnswerError> {
        self.served_by.note(lease, answer.served_by.as_deref());
        answer.into_outcome()
    }

    /// The outcome of a complete. A lease that is settled is forgotten.
    fn completed(&self, lease: LeaseId, answer: CompleteAnswer) -> Result<(), AnswerError> {
        answer.into_outcome()?;
        self.served_by.forget(lease);
        Ok(())
    }

    fn complete_body(&self, command: &Complete) -> CompleteBody {
        CompleteBody { served_by: self.served_by.of(command.lease), ..CompleteBody::from(command) }
    }

    /// Sends items in as few batches as the service takes, all at the same time. The answers are in the items' order.
    async fn batch<A: DeserializeOwned>(
        &self,
        path: &str,
        items: Vec<Result<String, CallError>>,
    ) -> Vec<Result<A, CallError>> {
        let batches = batches(&items, self.options.batch_items_max);
        let mut answers =
            join_all(batches.iter().map(|batch| self.post_batch(path, batch))).await.into_iter().flatten();
        let missing = || Err(AttemptError::Count { sent: 1, answered: 0 }.into());
        let answer =
            |item: Result<String, CallError>| item.and_then(|_| answers.next().unwrap_or_else(missing));
        items.into_iter().map(answer).collect()
    }

    async fn post_batch<A: DeserializeOwned>(&self, path: &str, items: &[&str]) -> Vec<Result<A, CallError>> {
        let sent = items.len();
        let body = format!("{{\"requests\":[{}]}}", items.join(","));
        let failed = |error: CallError| items.iter().map(|_| Err(error.clone())).collect();
        match self.post::<BatchAnswer<A>>(path, body).await {
            Ok(BatchAnswer { results }) if results.len() == sent => results.into_iter().map(Ok).collect(),
            Ok(BatchAnswer { results }) => {
                let answered = results.len();
                failed(AttemptError::Count { sent, answered }.into())
            }
            Err(error) => failed(error),
        }
    }
}

impl Transport for Http {
    async fn reserve(&self, command: &Reserve) -> Result<AttemptResult, CallError> {
        if command.wait().max_ms() > 0
            && self.lets_wait.load(Ordering::Relaxed)
            && self.waits.available_permits() > 0
        {
            match self.reserve_waiting(command).await {
                Err(error) if is_refused_wait(&error) => self.lets_wait.store(false, Ordering::Relaxed),
                result => return result,
            }
        }
        let body = ReserveBody { max_wait_ms: 0, priority: None, ..ReserveBody::from(command) };
        let answer = self.post("/v1/reserve", json(&body)?).await?;
        Ok(self.reserved(command.lease, answer)?.into())
    }

    fn wait_max(&self) -> Duration {
        let can_wait = self.lets_wait.load(Ordering::Relaxed) && self.waits.available_permits() > 0;
        if can_wait { Duration::from_millis(WAIT_MS_MAX) } else { Duration::ZERO }
    }

    async fn complete(&self, command: &Complete) -> Result<(), CallError> {
        let answer = self.post("/v1/complete", json(&self.complete_body(command))?).await?;
        Ok(self.completed(command.lease, answer)?)
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<AttemptResult, CallError>> {
        let items = commands.iter().map(|command| json(&ReserveBody::from(command))).collect();
        let answers = self.batch("/v1/reserve/batch", items).await.into_iter();
        let result = |(command, answer): (&Reserve, Result<ReserveAnswer, CallError>)| {
            Ok(self.reserved(command.lease, answer?)?.into())
        };
        commands.iter().zip(answers).map(result).collect()
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        let items = commands.iter().map(|command| json(&self.complete_body(command))).collect();
        let answers = self.batch("/v1/complete/batch", items).await.into_iter();
        let result = |(command, answer): (&Complete, Result<CompleteAnswer, CallError>)| {
            Ok(self.completed(command.lease, answer?)?)
        };
        commands.iter().zip(answers).map(result).collect()
    }

    async fn extend(&self, command: &Extend) -> Result<AttemptResult, CallError> {
        let body = ExtendBody { served_by: self.served_by.of(command.lease), ..ExtendBody::from(command) };
        let answer: ReserveAnswer = self.post("/v1/extend", json(&body)?).await?;
        Ok(answer.into_outcome()?.into())
    }

    async fn renew(&self, command: &Renew) -> Result<AttemptResult, CallError> {
        let body = RenewBody { served_by: self.served_by.of(command.lease), ..RenewBody::from(command) };
        let answer: ReserveAnswer = self.post("/v1/renew", json(&body)?).await?;
        Ok(answer.into_outcome()?.into())
    }

    async fn usage(&self, key: &LimitKey) -> Result<Option<Usage>, CallError> {
        Ok(self.read_limit(key).await?.map(|limit| Usage::of_body(limit.usage)))
    }
}

/// Whether the service does not know that a reserve can wait.
fn is_refused_wait(error: &CallError) -> bool {
    error.kind() == ErrorKind::InvalidRequest && error.to_string().contains("max_wait_ms")
}

/// A key in the path of a request. The service decodes `%XX` once, so the escapes of a key are escaped themselves. The
/// other characters of keys stand for themselves in a path.
fn in_path(key: &LimitKey) -> String {
    key.as_str().replace('%', "%25")
}

fn json(body: &impl Serialize) -> Result<String, CallError> {
    serde_json::to_string(body).map_err(|error| CallError::invalid(error.to_string()))
}

/// Splits items into batches, in order. No batch has more than `items_max` items or [`BATCH_BYTES_MAX`] bytes,
/// unless a single item is longer.
fn batches(items: &[Result<String, CallError>], items_max: usize) -> Vec<Vec<&str>> {
    let mut batches: Vec<Vec<&str>> = Vec::new();
    let mut bytes = 0;
    for item in items.iter().flatten() {
        bytes += item.len() + 1;
        match batches.last_mut() {
            Some(batch) if batch.len() < items_max && bytes <= BATCH_BYTES_MAX => batch.push(item),
            Some(_) | None => {
                bytes = item.len() + 1;
                batches.push(vec![item]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_urls_of_http_without_a_query() {
        for good in ["http://127.0.0.1:8080", "http://host:1/", "http://host/limits", "HTTP://host"] {
            assert!(Http::new(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:8080", "ftp://host", "/v1", "http://host/?a=b", "http://"] {
            assert!(Http::new(bad).is_err(), "{bad}");
        }
        let defaults = HttpOptions::default();
        for options in [defaults.clone().requests_max(0), defaults.batch_items_max(0)] {
            let error = Http::with_options("http://host", options).err().expect("it is refused");
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        }
    }

    #[test]
    fn batches_are_bounded_in_items_and_bytes() {
        let items: Vec<Result<String, CallError>> = vec![Ok("1".to_owned()); 5];
        let lengths = |items_max| -> Vec<usize> { batches(&items, items_max).iter().map(Vec::len).collect() };
        assert_eq!(lengths(2), [2, 2, 1]);
        assert_eq!(lengths(5), [5]);
        let large: Vec<Result<String, CallError>> = vec![Ok("x".repeat(400_000)); 5];
        let lengths: Vec<usize> = batches(&large, 256).iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 2, 1]);
        assert!(batches(&[], 256).is_empty());
    }
}
