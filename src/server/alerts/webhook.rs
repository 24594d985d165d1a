//! The receiver of events, and one attempt to post one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::signature::Signer;
use super::{AlertsError, event};
use crate::limiter::Alert;
use crate::server::config::AlertsSettings;
use crate::telemetry::with_sources;
use crate::tls::{TlsOptions, trusting_nobody};

const EVENT_HEADER: &str = "x-ratelimiterd-event";
const SIGNATURE_HEADER: &str = "x-ratelimiterd-signature";

/// The receiver of events, which the operator chose.
#[derive(Debug)]
pub(super) struct Webhook {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    signer: Signer,
    timeout: Duration,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The receiver took the event.
    Taken,
    /// It does not want it, or is elsewhere. Another attempt would meet the same answer.
    Refused(StatusCode),
    /// It did not answer, or said that it could not take the event now. Why, without the URL.
    TryAgain(String),
}

impl Webhook {
    /// Connects nowhere yet.
    pub(super) fn new(settings: &AlertsSettings) -> Result<Self, AlertsError> {
        let config = if settings.webhook_url.starts_with("http:") {
            trusting_nobody()?
        } else if settings.webhook_ca_path.as_os_str().is_empty() {
            TlsOptions::default().config()?
        } else {
            TlsOptions::default().ca_file(&settings.webhook_ca_path).config()?
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            // The settings are checked.
            url: settings.webhook_url.parse().unwrap_or_default(),
            signer: Signer::read(&settings.webhook_secret_path)?,
            timeout: Duration::from_millis(settings.webhook_timeout_ms),
        })
    }

    /// The name of the receiver. The rest of its URL may be a secret.
    pub(super) fn host(&self) -> &str {
        self.url.host().unwrap_or_default()
    }

    /// Posts an event once.
    pub(super) async fn post(&self, alert: &Alert) -> Answer {
        let request = match self.request(alert) {
            Ok(request) => request,
            Err(error) => return Answer::TryAgain(with_sources(&*error)),
        };
        // The status decides: nothing of the body is waited for. A redirect is not followed.
        match tokio::time::timeout(self.timeout, self.client.request(request)).await {
            Ok(Ok(answer)) => meaning(answer.status()),
            Ok(Err(error)) => Answer::TryAgain(with_sources(&error)),
            Err(_) => Answer::TryAgain(format!("no answer within {:?}", self.timeout)),
        }
    }

    fn request(&self, alert: &Alert) -> Result<Request<Full<Bytes>>, Box<dyn std::error::Error>> {
        let body = event::body(alert)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Request::post(self.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(EVENT_HEADER, &alert.id)
            .header(SIGNATURE_HEADER, self.signer.header(now.as_secs(), &body))
            .body(Full::new(body.into()))?)
    }
}

fn meaning(status: StatusCode) -> Answer {
    let may_pass = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    match status {
        status if status.is_success() => Answer::Taken,
        status if may_pass => Answer::TryAgain(format!("the receiver answered {}", status.as_u16())),
        status => Answer::Refused(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_whether_another_attempt_may_succeed() {
        for (status, expected) in [
            (200, Answer::Taken),
            (204, Answer::Taken),
            (302, Answer::Refused(StatusCode::FOUND)),
            (308, Answer::Refused(StatusCode::PERMANENT_REDIRECT)),
            (400, Answer::Refused(StatusCode::BAD_REQUEST)),
            (401, Answer::Refused(StatusCode::UNAUTHORIZED)),
            (408, Answer::TryAgain("the receiver answered 408".to_owned())),
            (410, Answer::Refused(StatusCode::GONE)),
            (429, Answer::TryAgain("the receiver answered 429".to_owned())),
            (500, Answer::TryAgain("the receiver answered 500".to_owned())),
            (503, Answer::TryAgain("the receiver answered 503".to_owned())),
        ] {
            assert_eq!(meaning(StatusCode::from_u16(status).expect("a status")), expected);
        }
    }
}
