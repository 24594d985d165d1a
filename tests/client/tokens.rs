//! The client library against a service that authenticates its callers.

use std::path::Path;
use std::sync::Arc;

use ledger_limiter::client::{AcquireError, BearerToken, ErrorKind, Http, HttpOptions, Limiter, Transport};
use ledger_limiter::server::api::{self, Api, Audience, Gate};
use ledger_limiter::server::auth::{Authenticator, NewToken, Scope};
use ledger_limiter::server::config::AuthSettings;
use ledger_limiter::server::{AllowedHosts, AuditLog, Metrics};
use ledger_limiter::telemetry::MetricsRegistry;

use super::wants;
use crate::fixtures::*;
use crate::memory::MemoryBackend;

fn new_token(file: &Path, name: &str, scopes: &[Scope], keys: &[&str]) -> BearerToken {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    let new = NewToken { name: name.to_owned(), scopes: scopes.to_vec(), keys, expires_after: None };
    let (token, entry) = new.make().expect("a token");
    entry.append_to(file).expect("it is added");
    BearerToken::new(token.reveal()).expect("a token")
}

/// Starts a service with the limits `own` and `foreign` of 10; answers its URL.
async fn service(tokens: &Path) -> String {
    let backend = MemoryBackend::new();
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(rolling("own", 10, 60)).await;
    replica.put(rolling("foreign", 10, 60)).await;
    let settings = AuthSettings { tokens_path: tokens.to_owned(), ..AuthSettings::default() };
    let authenticator = Arc::new(Authenticator::new(&settings, true).expect("valid tokens"));
    let gate = Gate {
        authenticator,
        allowed_hosts: AllowedHosts::new(&[]).expect("no names"),
        audit: AuditLog::to_log(),
    };
    let api = Api::new(Arc::clone(&replica.engine), gate, Metrics::new(MetricsRegistry::default()));
    api.readiness.set_bootstrapped();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, api::router(Arc::new(api), Audience::Everybody)).into_future());
    url
}

#[tokio::test]
async fn a_token_opens_the_service_as_far_as_it_allows() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens.toml");
    let own = new_token(&file, "own", &[Scope::Reserve], &["own"]);
    let reader = new_token(&file, "reader", &[Scope::Read], &[]);
    let unknown = BearerToken::new("rl_unknown").expect("a token");
    let url = service(&file).await;
    for (token, key, expected) in [
        (None, "own", Some(ErrorKind::Unauthorized)),
        (Some(unknown), "own", Some(ErrorKind::Unauthorized)),
        (Some(reader), "own", Some(ErrorKind::Forbidden)),
        (Some(own.clone()), "foreign", Some(ErrorKind::Forbidden)),
        (Some(own.clone()), "own", None),
    ] {
        let options = HttpOptions::default();
        let options = token.into_iter().fold(options, HttpOptions::token);
        let limiter = Limiter::new(Http::with_options(&url, options).expect("a valid URL"));
        let acquired = limiter.acquire(&wants(&[(key, 1)])).await;
        assert_eq!(
            acquired.as_ref().err().map(AcquireError::kind),
            expected,
            "{key}: {:?}",
            acquired.is_ok()
        );
    }
    let http = Http::with_options(&url, HttpOptions::default().token(own)).expect("a valid URL");
    let results =
        http.reserve_batch(&[reserve(lease(), &[("own", 1)]), reserve(lease(), &[("foreign", 1)])]).await;
    let kinds: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().err().map(ledger_limiter::client::CallError::kind))
        .collect();
    assert_eq!(kinds, [None, Some(ErrorKind::Forbidden)]);
}

#[cfg(feature = "permits")]
#[tokio::test]
async fn permits_need_no_more_than_the_scope_of_callers() {
    use ledger_limiter::client::permits::{FailureReason, PermitLimiter, PermitOptions, Permits};

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens.toml");
    let own = new_token(&file, "own", &[Scope::Reserve], &["own"]);
    let url = service(&file).await;
    let http = Http::with_options(&url, HttpOptions::default().token(own)).expect("a valid URL");
    let permits = PermitLimiter::new(Arc::new(http), "own", PermitOptions::default()).expect("a valid key");
    let mut lease = permits.acquire(10).await.expect("an answer");
    assert!(lease.is_acquired() && lease.timed_out_at().is_none(), "the time-out is not told");
    let error = lease.renew().await.expect_err("they may be slots, so the service is asked");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    let failed = permits.acquire(1).await.expect("an answer");
    assert_eq!(failed.failure(), Some(FailureReason::QueueFull));
    lease.cancel().await.expect("it is released");
    assert!(permits.attempt_acquire(10).await.expect("an answer").is_acquired());
    let error = permits.attempt_acquire(11).await.expect_err("it is above the capacity");
    assert_eq!(error.kind(), ErrorKind::ExceedsCapacity);
    let error = permits.statistics().await.expect_err("a caller may not read the usage");
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}
