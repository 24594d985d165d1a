mod answer;
mod object;

use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use answer::{AttemptError, read};

use super::{CallError, Complete, Extend, LimitKey, Reserve, ReserveOutcome, Transport, Usage};
use crate::protocol::{
    AnswerError, BatchAnswer, CompleteAnswer, CompleteBody, ExtendBody, LimitAnswer, ReserveAnswer,
    ReserveBody,
};

/// The longest body that the service takes, less what stands around the items of a batch.
const BATCH_BYTES_MAX: usize = 1024 * 1024 - 64;
/// The longest answer that is read: far more than the largest batch can get.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The limiter behind the HTTP API of a `ratelimiterd`. Connections are kept and used again.
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    /// Scheme, host, port and the path in front of `/v1`, without a slash at its end.
    base: String,
    options: HttpOptions,
    permits: Semaphore,
}

/// How calls over HTTP are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpOptions {
    /// How long one attempt may take.
    pub request_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a connection is kept that nobody uses.
    pub idle_timeout: Duration,
    /// How many requests are under way at the most; others wait.
    pub requests_max: usize,
    /// How many items the service takes in one batch; larger ones are sent in pieces.
    pub batch_items_max: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(60),
            requests_max: 256,
            batch_items_max: 256,
        }
    }
}

/// Why there is no client for an address.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// It is no URL.
    #[error("{url:?} is no URL")]
    Url {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: hyper::http::uri::InvalidUri,
    },
    /// It is not of the form `http://HOST:PORT`.
    #[error("{0:?} must be of the form http://HOST:PORT, without a query")]
    Form(String),
    /// Nothing could ever be sent.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
}

impl Http {
    /// Calls the service at `url`, such as `http://127.0.0.1:8080`. Nothing is sent yet.
    pub fn new(url: &str) -> Result<Self, HttpError> {
        Self::with_options(url, HttpOptions::default())
    }

    /// Calls the service at `url` as the options say.
    pub fn with_options(url: &str, options: HttpOptions) -> Result<Self, HttpError> {
        let uri: Uri = url.parse().map_err(|source| HttpError::Url { url: url.to_owned(), source })?;
        let plain = uri.scheme_str() == Some("http") && uri.query().is_none();
        let authority = uri.authority().filter(|_| plain);
        let authority = authority.ok_or_else(|| HttpError::Form(url.to_owned()))?;
        if options.requests_max == 0 {
            return Err(HttpError::Zero("requests_max"));
        }
        if options.batch_items_max == 0 {
            return Err(HttpError::Zero("batch_items_max"));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(options.connect_timeout));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.idle_timeout)
            .build(connector);
        let base = format!("http://{authority}{}", uri.path().trim_end_matches('/'));
        let permits = Semaphore::new(options.requests_max.min(Semaphore::MAX_PERMITS));
        Ok(Self { client, base, options, permits })
    }

    /// Sends a body and reads the answer to it.
    async fn post<A: DeserializeOwned>(&self, path: &str, body: String) -> Result<A, CallError> {
        let (status, answer) = self.exchange(Method::POST, path, body).await.map_err(CallError::unknown)?;
        read(status, &answer)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), AttemptError> {
        let timeout = self.options.request_timeout;
        let exchange = async {
            let _permit = self.permits.acquire().await.map_err(|_| AttemptError::ShutDown)?;
            let request = Request::builder()
                .method(method)
                .uri(format!("{}{path}", self.base))
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| AttemptError::Body(error.into()))?;
            let response = self.client.request(request).await.map_err(AttemptError::Exchange)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            Ok((status, body.collect().await.map_err(AttemptError::Body)?.to_bytes()))
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(AttemptError::TimedOut(timeout)))
    }

    /// Sends items in as few batches as the service takes them in, all at once.
    async fn batch<A: DeserializeOwned, R>(
        &self,
        path: &str,
        items: Vec<Result<String, CallError>>,
        outcome: fn(A) -> Result<R, AnswerError>,
    ) -> Vec<Result<R, CallError>> {
        let batches = batches(&items, self.options.batch_items_max);
        let mut answers = join_all(batches.iter().map(|batch| self.post_batch(path, batch, outcome)))
            .await
            .into_iter()
            .flatten();
        let missing = || Err(CallError::unknown(AttemptError::Count { sent: 1, answered: 0 }));
        let answer =
            |item: Result<String, CallError>| item.and_then(|_| answers.next().unwrap_or_else(missing));
        items.into_iter().map(answer).collect()
    }

    async fn post_batch<A: DeserializeOwned, R>(
        &self,
        path: &str,
        items: &[&str],
        outcome: fn(A) -> Result<R, AnswerError>,
    ) -> Vec<Result<R, CallError>> {
        let sent = items.len();
        let body = format!("{{\"requests\":[{}]}}", items.join(","));
        let failed = |error: CallError| items.iter().map(|_| Err(error.clone())).collect();
        match self.post::<BatchAnswer<A>>(path, body).await {
            Ok(BatchAnswer { results }) if results.len() == sent => {
                results.into_iter().map(|answer| outcome(answer).map_err(CallError::from)).collect()
            }
            Ok(BatchAnswer { results }) => {
                let answered = results.len();
                failed(CallError::unknown(AttemptError::Count { sent, answered }))
            }
            Err(error) => failed(error),
        }
    }
}

impl Transport for Http {
    async fn reserve(&self, command: &Reserve) -> Result<ReserveOutcome, CallError> {
        let answer: ReserveAnswer = self.post("/v1/reserve", json(&ReserveBody::from(command))?).await?;
        Ok(answer.into_outcome()?)
    }

    async fn complete(&self, command: &Complete) -> Result<(), CallError> {
        let answer: CompleteAnswer = self.post("/v1/complete", json(&CompleteBody::from(command))?).await?;
        Ok(answer.into_outcome()?)
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<ReserveOutcome, CallError>> {
        let items = commands.iter().map(|command| json(&ReserveBody::from(command))).collect();
        self.batch("/v1/reserve/batch", items, ReserveAnswer::into_outcome).await
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        let items = commands.iter().map(|command| json(&CompleteBody::from(command))).collect();
        self.batch("/v1/complete/batch", items, CompleteAnswer::into_outcome).await
    }

    async fn extend(&self, command: &Extend) -> Result<ReserveOutcome, CallError> {
        let answer: ReserveAnswer = self.post("/v1/extend", json(&ExtendBody::from(command))?).await?;
        Ok(answer.into_outcome()?)
    }

    async fn usage(&self, key: &LimitKey) -> Result<Option<Usage>, CallError> {
        let path = format!("/v1/admin/limits/{key}");
        let exchange = self.exchange(Method::GET, &path, String::new()).await;
        let (status, answer) = exchange.map_err(CallError::unknown)?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer: LimitAnswer = read(status, &answer)?;
        Ok(Some(answer.limit.usage))
    }
}

fn json(body: &impl Serialize) -> Result<String, CallError> {
    serde_json::to_string(body).map_err(|error| CallError::Refused { message: error.to_string() })
}

/// Puts items into batches, in order, none with too many items or bytes.
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
    fn only_plain_addresses_are_taken() {
        for good in ["http://127.0.0.1:8080", "http://host:1/", "http://host/limits"] {
            assert!(Http::new(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:8080", "https://host", "/v1", "http://host/?a=b", "http://"] {
            assert!(Http::new(bad).is_err(), "{bad}");
        }
        let options = HttpOptions { requests_max: 0, ..HttpOptions::default() };
        assert!(Http::with_options("http://host", options).is_err());
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
