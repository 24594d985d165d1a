//! The client library tells each replica which one serves a lease.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::Uri;
use axum::routing::post;
use axum::{Json, Router};
use ledger_limiter::client::{Http, Limiter};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::wants;

type Bodies = Arc<Mutex<Vec<(String, Value)>>>;

/// Grants everything, as served by a replica, and keeps the bodies.
async fn serve(bodies: Bodies) -> String {
    let grant = || {
        json!({
            "allowed": true, "retry_after_ms": 0, "reserved_at_unix_ms": 1, "error": "", "served_by": "http://a:1",
        })
    };
    let answer = move |State(bodies): State<Bodies>, uri: Uri, Json(body): Json<Value>| async move {
        bodies.lock().expect("no panic").push((uri.path().to_owned(), body.clone()));
        let one = || {
            if uri.path().contains("complete") { json!({ "ok": true, "error": "" }) } else { grant() }
        };
        Json(match body["requests"].as_array() {
            Some(requests) => {
                json!({ "results": requests.iter().map(|_| one()).collect::<Vec<_>>() })
            }
            None => one(),
        })
    };
    let router = Router::new().route("/v1/{*path}", post(answer)).with_state(bodies);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn later_calls_about_a_lease_name_the_replica_that_serves_it() {
    let bodies = Bodies::default();
    let limiter = Limiter::new(Http::new(&serve(Arc::clone(&bodies)).await).expect("a URL"));
    let lease = limiter.acquire(&wants(&[("rpm", 1)])).await.expect("granted");
    lease.extend("rpm", 1).await.expect("granted");
    lease.renew().await.expect("granted");
    lease.complete([("rpm", 2)]).await.expect("settled");
    let dropped = limiter.acquire(&wants(&[("rpm", 1)])).await.expect("granted");
    drop(dropped);
    limiter.shutdown().await;
    let bodies = bodies.lock().expect("no panic");
    let told = |(path, body): &(String, Value)| (path.clone(), body["served_by"].clone());
    let (none, url) = (Value::Null, json!("http://a:1"));
    let expected = [
        ("/v1/reserve", &none),
        ("/v1/extend", &url),
        ("/v1/renew", &url),
        ("/v1/complete", &url),
        ("/v1/reserve", &none),
        ("/v1/complete", &url),
    ];
    let expected = expected.map(|(path, served_by)| (path.to_owned(), served_by.clone()));
    assert_eq!(bodies.iter().map(told).collect::<Vec<_>>(), expected);
}
