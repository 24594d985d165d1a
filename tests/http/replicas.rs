//! Replicas that know each other: announcements, and calls that are handed on to the replica that serves a lease.

use std::net::TcpListener;
use std::time::Instant;

use ledger_limiter::engine::{Engine, EngineOptions};
use ledger_limiter::limit::ReplicaUrl;
use ledger_limiter::server::AllowedHosts;
use ledger_limiter::server::AuditLog;
use ledger_limiter::server::auth::Scope;
use tokio::runtime::{Builder, Runtime};

use super::tokens::TokenFile;
use super::*;

/// Longer than an announcement says that its replica lives.
const LIFE: Duration = Duration::from_secs(16);

/// A service that other services reach by its URL.
struct Peer {
    service: Service,
    url: String,
    /// Its sockets live there. A kill ends all of them at once.
    runtime: Option<Runtime>,
}

impl Peer {
    /// A replica over the ledger of the backend, which has announced itself.
    async fn start(backend: &MemoryBackend) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::on(backend, listener, Gate::open()).await
    }

    async fn on(backend: &MemoryBackend, listener: TcpListener, gate: Gate) -> Self {
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let service = service_at(backend, &url, gate).await;
        listener.set_nonblocking(true).expect("a socket");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let router = service.router.clone();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            axum::serve(listener, router).await
        });
        Self { service, url, runtime: Some(runtime) }
    }

    /// Ends it as SIGKILL does: nothing is settled or withdrawn.
    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Reserves one unit of each limit, again and again, until an allotment serves.
    async fn serve(&self, keys: &[&str]) -> String {
        for _ in 0..100 {
            let id = lease().to_string();
            let requirements: Vec<Value> =
                keys.iter().map(|key| json!({ "key": key, "amount": 1 })).collect();
            let body = json!({ "lease_id": id, "requirements": requirements });
            let answer = self.service.post("/v1/reserve", &body).await;
            answer.assert_granted();
            if answer.body.get("served_by").is_some() {
                assert_eq!(answer.body["served_by"], json!(self.url));
                return id;
            }
        }
        panic!("the limit is busy, and no allotment was taken");
    }

    /// The answer to the reserve of a lease that was granted here.
    async fn status_of(&self, id: &str, key: &str) -> Value {
        let body = json!({ "lease_id": id, "requirements": [{ "key": key, "amount": 1 }] });
        let answer = self.service.post("/v1/reserve", &body).await;
        match answer.body["allowed"] == json!(true) {
            true => json!("granted"),
            false => answer.body["error"].clone(),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A service that announces this URL, wherever it leads.
async fn service_at(backend: &MemoryBackend, url: &str, gate: Gate) -> Service {
    let url: ReplicaUrl = url.parse().expect("a URL");
    let options = EngineOptions::default().with_advertise_url(Some(url));
    let engine = Arc::new(Engine::new(backend.connect(), options));
    engine.bootstrap(&[]).await.expect("the ledger answers");
    engine.replicas().announce().await.expect("the ledger answers");
    let api = Api {
        request_timeout: Duration::from_secs(1),
        ..Api::new(engine, gate, Metrics::new(MetricsRegistry::default()))
    };
    api.readiness.set_bootstrapped();
    let api = Arc::new(api);
    let router = api::router(Arc::clone(&api), Audience::Everybody);
    Service { router, api, backend: backend.clone(), token: None }
}

async fn refresh(service: &Service) {
    service.api.engine.replicas().refresh().await.expect("the ledger answers");
    service.api.engine.registry().refresh().await.expect("the ledger answers");
}

/// Two replicas that know each other and the limits `rpm` and `slots`, which are delegated, and `day`, which is not.
async fn two() -> (MemoryBackend, Peer, Peer) {
    let backend = MemoryBackend::new();
    let (first, second) = (Peer::start(&backend).await, Peer::start(&backend).await);
    define(&first.service).await;
    refresh(&first.service).await;
    refresh(&second.service).await;
    (backend, first, second)
}

async fn define(service: &Service) {
    let allotment = json!({ "period_ms": 10_000 });
    for limit in [
        json!({ "key": "rpm", "kind": "rolling", "capacity": 1_000, "window_seconds": 60, "allotment": allotment }),
        json!({ "key": "slots", "kind": "concurrency", "capacity": 1_000, "timeout_seconds": 60, "allotment": allotment }),
        json!({ "key": "day", "kind": "rolling", "capacity": 1_000, "window_seconds": 86_400 }),
    ] {
        assert_eq!(service.put(&limit).await.status, StatusCode::OK);
    }
}

fn complete_body(id: &str, served_by: Option<&str>) -> Value {
    let mut body = json!({ "lease_id": id, "actuals": [] });
    if let Some(url) = served_by {
        body["served_by"] = json!(url);
    }
    body
}

fn settled() -> Answer {
    Answer::ok(json!({ "ok": true, "error": "" }))
}

async fn listed(service: &Service) -> Vec<String> {
    let answer = service.get("/v1/admin/replicas").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let replicas = answer.body["replicas"].as_array().expect("replicas");
    for replica in replicas {
        assert_eq!(replica["version"], json!(env!("CARGO_PKG_VERSION")));
        assert!(replica["since_unix_ms"].as_u64() >= Some(START_MS), "{replica}");
        assert!(replica["renewed_unix_ms"].as_u64() >= replica["since_unix_ms"].as_u64(), "{replica}");
    }
    replicas.iter().map(|replica| replica["url"].as_str().expect("a URL").to_owned()).collect()
}

#[tokio::test]
async fn a_replica_is_listed_while_it_renews_its_announcement() {
    let (backend, first, second) = two().await;
    let mut both = [first.url.clone(), second.url.clone()];
    both.sort();
    assert_eq!(listed(&first.service).await, both);
    assert_eq!(listed(&second.service).await, both);
    backend.pass(LIFE / 2).await;
    first.service.api.engine.replicas().announce().await.expect("the ledger answers");
    backend.pass(LIFE / 2).await;
    assert_eq!(listed(&second.service).await, [first.url.as_str()], "the other is gone");
    first.service.api.engine.replicas().withdraw().await.expect("the ledger answers");
    assert_eq!(listed(&second.service).await, [""; 0], "it withdrew");
}

#[tokio::test]
async fn a_complete_reaches_the_replica_that_is_named() {
    let (_, first, second) = two().await;
    let id = first.serve(&["rpm"]).await;
    let answer = second.service.post("/v1/complete", &complete_body(&id, Some(&first.url))).await;
    assert_eq!(answer, settled());
    assert_eq!(first.status_of(&id, "rpm").await, json!("lease_settled"));
}

#[tokio::test]
async fn peers_are_asked_for_a_lease_that_nobody_names() {
    let (_, first, second) = two().await;
    let id = first.serve(&["rpm"]).await;
    let mut body = complete_body(&id, None);
    body["actuals"] = json!([{ "key": "rpm", "actual_amount": 0 }]);
    assert_eq!(second.service.post("/v1/complete", &body).await, settled());
    assert_eq!(first.status_of(&id, "rpm").await, json!("lease_settled"));
    let unknown = complete_body(&lease().to_string(), None);
    assert_eq!(second.service.post("/v1/complete", &unknown).await, settled(), "nobody knows it");
}

#[tokio::test]
async fn extends_and_renewals_reach_the_replica_that_serves_the_lease() {
    let (_, first, second) = two().await;
    for served_by in [Some(first.url.as_str()), None] {
        let id = first.serve(&["slots"]).await;
        let mut extend =
            json!({ "lease_id": id, "extend_id": lease().to_string(), "key": "slots", "amount": 1 });
        let mut renew = json!({ "lease_id": id, "renew_id": lease().to_string() });
        if let Some(url) = served_by {
            extend["served_by"] = json!(url);
            renew["served_by"] = json!(url);
        }
        for (path, body) in [("/v1/extend", extend), ("/v1/renew", renew)] {
            let answer = second.service.post(path, &body).await;
            answer.assert_granted();
            assert_eq!(first.service.post(path, &body).await, answer, "a repetition at the other replica");
        }
    }
}

#[tokio::test]
async fn each_complete_of_a_batch_reaches_its_replica() {
    let (_, first, second) = two().await;
    let (named, asked) = (first.serve(&["rpm"]).await, first.serve(&["rpm"]).await);
    let own = second.serve(&["rpm"]).await;
    let bodies =
        [complete_body(&named, Some(&first.url)), complete_body(&asked, None), complete_body(&own, None)];
    let answer = second.service.post("/v1/complete/batch", &json!({ "requests": bodies })).await;
    let ok = json!({ "ok": true, "error": "" });
    assert_eq!(answer, Answer::ok(json!({ "results": [ok, ok, ok] })));
    for (peer, id) in [(&first, &named), (&first, &asked), (&second, &own)] {
        assert_eq!(peer.status_of(id, "rpm").await, json!("lease_settled"));
    }
}

#[tokio::test]
async fn a_lease_that_is_partly_in_the_ledger_is_settled_as_a_whole() {
    let (_, first, second) = two().await;
    let id = first.serve(&["day", "rpm"]).await;
    let reserved = first.service.limit("day").await["usage"]["reserved"].clone();
    let mut body = complete_body(&id, Some(&first.url));
    body["actuals"] = json!([{ "key": "day", "actual_amount": 0 }, { "key": "rpm", "actual_amount": 0 }]);
    assert_eq!(second.service.post("/v1/complete", &body).await, settled());
    let left = reserved.as_u64().expect("a number") - 1;
    assert_eq!(first.service.limit("day").await["usage"]["reserved"], json!(left));
    let again = json!({
        "lease_id": id, "requirements": [{ "key": "day", "amount": 1 }, { "key": "rpm", "amount": 1 }],
    });
    let answer = first.service.post("/v1/reserve", &again).await;
    assert_eq!(answer.body["error"], json!("lease_settled"));
}

#[tokio::test]
async fn only_announced_urls_are_called() {
    let (_, first, second) = two().await;
    let trap = TcpListener::bind("127.0.0.1:0").expect("a port");
    trap.set_nonblocking(true).expect("a socket");
    let address = trap.local_addr().expect("an address");
    let id = first.serve(&["rpm"]).await;
    for forged in [
        format!("http://{address}"),
        format!("http://{address}/"),
        format!("{}@{address}", first.url),
        format!("{}\r\nhost: {address}", first.url),
        format!("{}/v1/complete?", first.url),
        String::new(),
        "x".repeat(255),
    ] {
        let answer = second.service.post("/v1/complete", &complete_body(&id, Some(&forged))).await;
        assert_eq!(answer, settled(), "{forged}");
    }
    let connected = trap.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(connected, Err(std::io::ErrorKind::WouldBlock), "nobody connected");
    assert_eq!(first.status_of(&id, "rpm").await, json!("granted"));
}

#[tokio::test]
async fn a_call_that_was_handed_on_goes_no_further() {
    let (_, first, second) = two().await;
    let id = first.serve(&["rpm"]).await;
    let call = async |hop: &str| {
        let request = Request::post("/v1/complete").header("content-type", "application/json");
        let body = complete_body(&id, Some(&first.url)).to_string();
        let request = request.header("ratelimiterd-hop", hop).body(body.into()).expect("a request");
        second.service.send_request(request).await.read()
    };
    assert_eq!(call("named").await, settled(), "as a replica answers that does not know the lease");
    assert_eq!(call("novel").await, settled());
    call("asked").await.assert_error(StatusCode::NOT_FOUND, "not_served_here");
    assert_eq!(first.status_of(&id, "rpm").await, json!("granted"));
}

#[tokio::test]
async fn a_replica_that_disappears_leaves_the_outcome_unknown_until_it_counts_as_gone() {
    let (backend, mut first, second) = two().await;
    let id = first.serve(&["rpm"]).await;
    first.kill();
    for served_by in [Some(first.url.as_str()), None] {
        let answer = second.service.post("/v1/complete", &complete_body(&id, served_by)).await;
        answer.assert_error(StatusCode::SERVICE_UNAVAILABLE, "backend_error");
    }
    backend.pass(LIFE).await;
    for served_by in [Some(first.url.as_str()), None] {
        let answer = second.service.post("/v1/complete", &complete_body(&id, served_by)).await;
        assert_eq!(answer, settled(), "what it held expires");
    }
    let extend = json!({
        "lease_id": id, "extend_id": lease().to_string(), "key": "rpm", "amount": 1, "served_by": first.url,
    });
    let answer = second.service.post("/v1/extend", &extend).await;
    assert_eq!((answer.status, &answer.body["error"]), (StatusCode::CONFLICT, &json!("lease_settled")));
}

#[tokio::test]
async fn a_replica_that_stopped_in_order_is_gone_at_once() {
    let (_, mut first, second) = two().await;
    let (named, asked) = (first.serve(&["rpm"]).await, first.serve(&["rpm"]).await);
    first.service.api.engine.replicas().withdraw().await.expect("the ledger answers");
    first.kill();
    // The other replica has not read that yet.
    let answer = second.service.post("/v1/complete", &complete_body(&named, Some(&first.url))).await;
    assert_eq!(answer, settled());
    assert_eq!(second.service.post("/v1/complete", &complete_body(&asked, None)).await, settled());
}

#[tokio::test]
async fn a_replica_that_was_restarted_at_its_url_does_not_know_its_leases() {
    let (backend, mut first, second) = two().await;
    let id = first.serve(&["rpm"]).await;
    let address = first.url.trim_start_matches("http://").to_owned();
    first.kill();
    let listener = loop {
        match TcpListener::bind(&address) {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let restarted = Peer::on(&backend, listener, Gate::open()).await;
    assert_eq!(restarted.url, first.url);
    refresh(&second.service).await;
    let mut both = [restarted.url.clone(), second.url.clone()];
    both.sort();
    assert_eq!(listed(&second.service).await, both, "the process that was killed is not listed");
    for served_by in [Some(first.url.as_str()), None] {
        let answer = second.service.post("/v1/complete", &complete_body(&id, served_by)).await;
        assert_eq!(answer, settled());
    }
}

#[tokio::test]
async fn a_replica_that_is_paused_costs_a_bounded_time() {
    let (backend, _first, second) = two().await;
    // The kernel accepts connections, and nobody answers.
    let paused = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", paused.local_addr().expect("an address"));
    let _announced = service_at(&backend, &url, Gate::open()).await;
    refresh(&second.service).await;
    let begun = Instant::now();
    let id = lease().to_string();
    for served_by in [Some(url.as_str()), None] {
        let answer = second.service.post("/v1/complete", &complete_body(&id, served_by)).await;
        answer.assert_error(StatusCode::SERVICE_UNAVAILABLE, "backend_error");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let batch = json!({ "requests": [complete_body(&id, Some(&url)), complete_body(&id, None)] });
    let answer = second.service.post("/v1/complete/batch", &batch).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
}

#[tokio::test]
async fn a_call_is_handed_on_with_the_token_of_its_caller() {
    let backend = MemoryBackend::new();
    let file = TokenFile::new();
    let gate = || {
        let allowed_hosts = AllowedHosts::new(&[]).expect("no names");
        Gate { authenticator: file.authenticator(), allowed_hosts, audit: AuditLog::to_log() }
    };
    let all = file.add("all", &Scope::ALL, &[]);
    let other = file.add("other", &[Scope::Reserve], &["other"]);
    let listener = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut first = Peer::on(&backend, listener(), gate()).await;
    let mut second = Peer::on(&backend, listener(), gate()).await;
    for peer in [&mut first, &mut second] {
        peer.service.token = Some(all.clone());
        refresh(&peer.service).await;
    }
    define(&first.service).await;
    refresh(&second.service).await;
    let id = first.serve(&["rpm"]).await;
    for served_by in [Some(first.url.as_str()), None] {
        let foreign = second.service.called_with(&other);
        let answer = foreign.post("/v1/complete", &complete_body(&id, served_by)).await;
        answer.assert_error(StatusCode::FORBIDDEN, "forbidden");
    }
    assert_eq!(first.status_of(&id, "rpm").await, json!("granted"));
    let answer = second.service.post("/v1/complete", &complete_body(&id, Some(&first.url))).await;
    assert_eq!(answer, settled());
    assert_eq!(first.status_of(&id, "rpm").await, json!("lease_settled"));
}
