//! Reserves and completes while the ledger does not answer, of limits that grant a share without it.

use std::sync::Mutex;

use ledger_limiter::ledger::LedgerError;
use ledger_limiter::server::auth::Scope;

use super::tokens::TokenFile;
use super::*;
use crate::ledger_wrapper::{CallHook, LedgerWrapper};

/// What becomes of the calls to a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// They are answered.
    Over,
    /// They do not reach it, and wait for ever.
    Silent,
    /// They reach it, and wait for ever.
    AnswersLost,
    /// They fail at once.
    Unreachable,
}

struct Outages(Mutex<Outage>);

impl CallHook for Outages {
    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        let outage = *self.0.lock().expect("no panic");
        match outage {
            Outage::Over => call.await,
            Outage::Silent => std::future::pending().await,
            Outage::AnswersLost => {
                drop(call.await);
                std::future::pending().await
            }
            Outage::Unreachable => Err(LedgerError::Unreachable(Arc::new(std::io::Error::other("cut")))),
        }
    }
}

type OutageLedger = LedgerWrapper<MemoryLedger<Arc<ManualClock>>, Outages>;

impl Service<OutageLedger> {
    /// 100 tokens and 4 slots, of which half is granted without the ledger, and a limit that grants nothing without it.
    async fn with_outages(gate: Gate) -> Self {
        let backend = MemoryBackend::new();
        let hook = Outages(Mutex::new(Outage::Over));
        let ledger = Arc::new(LedgerWrapper { inner: backend.connect(), hook });
        let service = Self::over(ledger, backend, gate, true).await;
        let emergency = json!({ "capacity_share": 0.5, "seconds": 60 });
        for limit in [
            json!({
                "key": "tokens", "kind": "rolling", "capacity": 100, "window_seconds": 60,
                "on_unavailable": "allow", "emergency": emergency,
            }),
            json!({
                "key": "slots", "kind": "concurrency", "capacity": 4, "timeout_seconds": 60,
                "on_unavailable": "allow", "emergency": emergency,
            }),
            json!({ "key": "strict", "kind": "rolling", "capacity": 100, "window_seconds": 60 }),
        ] {
            let definition: ledger_limiter::limit::json::DefinitionJson =
                serde_json::from_value(limit).expect("valid");
            let definition = definition.into_definition().expect("valid");
            service.api.engine.admin().put(&definition).await.expect("the ledger answers");
        }
        service
    }

    fn set(&self, outage: Outage) {
        *self.api.engine.ledger().hook.0.lock().expect("no panic") = outage;
    }

    async fn record(&self) {
        let limiter = self.api.engine.limiter();
        let due = ledger_limiter::limiter::EmergencyDebt::Due;
        limiter.record_emergency_debt(due).await.expect("the ledger answers");
    }

    async fn usage(&self, name: &str) -> Value {
        let usage = self.api.engine.admin().get(&key(name)).await.expect("the limit exists");
        json!([usage.available, usage.reserved, usage.debt])
    }

    #[track_caller]
    fn assert_counts(&self, granted: u64, recorded: u64, held: u64) {
        let metrics = self.api.metrics.text(&[]).expect("metrics");
        for line in [
            format!("ratelimiterd_emergency_grants_total {granted}"),
            format!("ratelimiterd_emergency_settled_total {recorded}"),
            format!("ratelimiterd_emergency_leases {held}"),
        ] {
            assert!(metrics.lines().any(|actual| actual == line), "{line}:\n{metrics}");
        }
    }
}

fn wants(lease: &str, requirements: &[(&str, u64)]) -> Value {
    let requirements: Vec<Value> =
        requirements.iter().map(|(key, amount)| json!({ "key": key, "amount": amount })).collect();
    json!({ "lease_id": lease, "requirements": requirements })
}

fn used(lease: &str, actuals: &[(&str, u64)]) -> Value {
    let actuals: Vec<Value> =
        actuals.iter().map(|(key, amount)| json!({ "key": key, "actual_amount": amount })).collect();
    json!({ "lease_id": lease, "actuals": actuals })
}

fn id() -> String {
    lease().to_string()
}

/// Whether an answer grants without the ledger; it must not grant by the ledger.
#[track_caller]
fn is_emergency_grant(answer: &Value) -> bool {
    assert_eq!(answer["allowed"], answer.get("emergency").cloned().unwrap_or(json!(false)), "{answer}");
    answer["allowed"] == json!(true)
}

fn done() -> Answer {
    Answer::ok(json!({ "ok": true, "error": "" }))
}

#[tokio::test(start_paused = true)]
async fn calls_without_an_answer_are_granted_a_share_that_becomes_debt() {
    for outage in [Outage::Silent, Outage::Unreachable] {
        let service = Service::with_outages(Gate::open()).await;
        let before = service.post("/v1/reserve", &wants(&id(), &[("tokens", 10)])).await;
        assert_eq!(before.body.get("emergency"), None, "the ledger granted it");
        service.set(outage);
        // Time-outs first, then the open circuit.
        let mut leases = Vec::new();
        for call in 1..=7 {
            let lease = id();
            let answer = service.post("/v1/reserve", &wants(&lease, &[("tokens", 10)])).await;
            let expected = if call <= 5 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            assert_eq!((answer.status, is_emergency_grant(&answer.body)), (expected, call <= 5), "{call}");
            leases.push(lease);
        }
        assert_eq!(service.post("/v1/complete", &used(&leases[0], &[("tokens", 3)])).await, done());
        assert_eq!(service.post("/v1/complete", &used(&leases[1], &[("tokens", 30)])).await, done());
        assert_eq!(service.post("/v1/complete", &used(&leases[1], &[("tokens", 1)])).await, done());
        let outside = service.post("/v1/complete", &used(&leases[2], &[("strict", 1)])).await;
        outside.assert_invalid("actuals[0].key is not in the lease");
        service.assert_counts(5, 0, 5);

        service.set(Outage::Over);
        service.record().await;
        service.assert_counts(5, 2, 3);
        assert_eq!(service.usage("tokens").await, json!([90, 10, 33]));
        tokio::time::advance(Duration::from_secs(60)).await;
        service.record().await;
        service.record().await;
        service.assert_counts(5, 5, 0);
        assert_eq!(service.usage("tokens").await, json!([90, 10, 63]));
        assert_eq!(service.post("/v1/complete", &used(&leases[2], &[("tokens", 1)])).await, done());
        assert_eq!(service.usage("tokens").await, json!([90, 10, 63]), "it came too late");
    }
}

#[tokio::test(start_paused = true)]
async fn the_loops_of_the_engine_record_the_debt_when_the_ledger_answers() {
    let service = Service::with_outages(Gate::open()).await;
    let engine = Arc::clone(&service.api.engine);
    let loops = tokio::spawn(async move { engine.run_loops().await });
    service.set(Outage::Unreachable);
    let lease = id();
    let answer = service.post("/v1/reserve", &wants(&lease, &[("tokens", 10)])).await;
    assert!(is_emergency_grant(&answer.body));
    assert_eq!(service.post("/v1/complete", &used(&lease, &[])).await, done());
    tokio::time::sleep(Duration::from_secs(30)).await;
    service.assert_counts(1, 0, 1);
    service.set(Outage::Over);
    tokio::time::sleep(Duration::from_secs(1)).await;
    service.assert_counts(1, 1, 0);
    assert_eq!(service.usage("tokens").await, json!([100, 0, 10]));
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_the_ledger_granted_unheard_is_settled_as_its_complete_said() {
    let service = Service::with_outages(Gate::open()).await;
    service.set(Outage::AnswersLost);
    let [completed, running] = [id(), id()];
    for lease in [&completed, &running] {
        let answer = service.post("/v1/reserve", &wants(lease, &[("slots", 1), ("tokens", 20)])).await;
        assert!(is_emergency_grant(&answer.body), "{answer:?}");
    }
    assert_eq!(service.post("/v1/complete", &used(&completed, &[("tokens", 5)])).await, done());
    service.set(Outage::Over);
    service.record().await;
    service.assert_counts(2, 0, 1);
    assert_eq!(service.usage("tokens").await, json!([75, 25, 0]));
    assert_eq!(service.usage("slots").await, json!([3, 1, 0]));
    tokio::time::advance(Duration::from_secs(60)).await;
    service.record().await;
    service.assert_counts(2, 0, 0);
    assert_eq!(service.post("/v1/complete", &used(&running, &[("tokens", 1)])).await, done());
    assert_eq!(service.usage("tokens").await, json!([94, 6, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_denies_without_the_ledger_denies_the_whole_reserve() {
    let service = Service::with_outages(Gate::open()).await;
    service.set(Outage::Unreachable);
    for requirements in
        [&[("strict", 1), ("tokens", 1)][..], &[("strict", 1)], &[("tokens", 51)], &[("unknown", 1)]]
    {
        let answer = service.post("/v1/reserve", &wants(&id(), requirements)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{requirements:?}");
        assert_eq!(answer.body["error"], json!("backend_error"));
    }
    let all = service.post("/v1/reserve", &wants(&id(), &[("tokens", 50), ("slots", 2)])).await;
    assert!(is_emergency_grant(&all.body), "nothing was taken before: {all:?}");
    service.assert_counts(1, 0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_complete_makes_a_slot_free_for_the_next_caller() {
    let service = Service::with_outages(Gate::open()).await;
    service.set(Outage::Unreachable);
    let [first, second, third] = [id(), id(), id()];
    let reserve = async |lease: &str| {
        is_emergency_grant(&service.post("/v1/reserve", &wants(lease, &[("slots", 1)])).await.body)
    };
    assert!(reserve(&first).await && reserve(&second).await && !reserve(&third).await);
    assert_eq!(service.post("/v1/complete", &used(&first, &[])).await, done());
    assert!(reserve(&third).await && !reserve(&id()).await);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(service.post("/v1/complete", &used(&third, &[])).await, done());
    assert!(!reserve(&id()).await, "the seconds of the outage have passed");
}

#[tokio::test(start_paused = true)]
async fn the_items_of_a_batch_are_granted_and_completed_each_by_itself() {
    for outage in [Outage::Silent, Outage::Unreachable] {
        let service = Service::with_outages(Gate::open()).await;
        service.set(outage);
        let [tokens, strict, slots] = [id(), id(), id()];
        let requests = json!({ "requests": [
            wants(&tokens, &[("tokens", 30)]), wants(&strict, &[("strict", 1)]),
            wants(&id(), &[("tokens", 30)]), wants(&slots, &[("slots", 1)]),
        ] });
        for _ in 0..2 {
            let answer = service.post("/v1/reserve/batch", &requests).await;
            let results = answer.body["results"].as_array().expect("results");
            let granted: Vec<bool> = results.iter().map(is_emergency_grant).collect();
            assert_eq!((answer.status, granted), (StatusCode::OK, vec![true, false, false, true]));
        }
        service.assert_counts(2, 0, 2);
        let requests = json!({ "requests": [
            used(&tokens, &[("tokens", 7)]), used(&strict, &[]), used(&slots, &[("tokens", 1)]),
        ] });
        let answer = service.post("/v1/complete/batch", &requests).await;
        let results = answer.body["results"].clone();
        assert_eq!(results[0], json!({ "ok": true, "error": "" }), "{results}");
        assert_eq!(results[1]["error"], json!("backend_error"));
        assert_eq!(results[2]["error"], json!("invalid_request: actuals[0].key is not in the lease"));
        service.set(Outage::Over);
        service.record().await;
        assert_eq!(service.usage("tokens").await, json!([100, 0, 7]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_reserve_is_answered_as_a_lease_of_the_ledger_would_be() {
    let service = Service::with_outages(Gate::open()).await;
    service.set(Outage::Unreachable);
    let lease = id();
    let granted = service.post("/v1/reserve", &wants(&lease, &[("tokens", 10)])).await;
    assert_eq!(service.post("/v1/reserve", &wants(&lease, &[("tokens", 10)])).await, granted);
    service.assert_counts(1, 0, 1);
    let other = service.post("/v1/reserve", &wants(&lease, &[("tokens", 11)])).await;
    assert_eq!(other, Answer { status: StatusCode::CONFLICT, body: failed_reserve("lease_conflict") });
    assert_eq!(service.post("/v1/complete", &used(&lease, &[])).await, done());
    let settled = service.post("/v1/reserve", &wants(&lease, &[("tokens", 10)])).await;
    assert_eq!(settled, Answer { status: StatusCode::CONFLICT, body: failed_reserve("lease_settled") });
    service.set(Outage::Over);
    service.record().await;
    tokio::time::advance(Duration::from_millis(500)).await;
    let late = service.post("/v1/reserve", &wants(&lease, &[("tokens", 10)])).await;
    assert_eq!(late, Answer { status: StatusCode::CONFLICT, body: failed_reserve("lease_conflict") });
}

#[tokio::test(start_paused = true)]
async fn a_caller_completes_only_emergency_leases_of_its_own_keys() {
    let file = TokenFile::new();
    let all = file.add("all", &[Scope::Reserve], &[]);
    let tokens = file.add("tokens", &[Scope::Reserve], &["tokens"]);
    let allowed_hosts = ledger_limiter::server::AllowedHosts::new(&[]).expect("no names");
    let audit = ledger_limiter::server::AuditLog::to_log();
    let gate = Gate { authenticator: file.authenticator(), allowed_hosts, audit };
    let service = Service::with_outages(gate).await;
    let (all, tokens) = (service.called_with(all), service.called_with(tokens));
    service.set(Outage::Unreachable);
    let lease = id();
    let granted = all.post("/v1/reserve", &wants(&lease, &[("slots", 1), ("tokens", 1)])).await;
    assert!(is_emergency_grant(&granted.body), "{granted:?}");
    let complete = used(&lease, &[("tokens", 0)]);
    tokens.post("/v1/complete", &complete).await.assert_error(StatusCode::FORBIDDEN, "forbidden");
    let batch = tokens.post("/v1/complete/batch", &json!({ "requests": [complete] })).await;
    let error = batch.body["results"][0]["error"].as_str().expect("an error").to_owned();
    assert!(error.starts_with("forbidden"), "{error}");
    let foreign = tokens.post("/v1/reserve", &wants(&id(), &[("slots", 1)])).await;
    foreign.assert_error(StatusCode::FORBIDDEN, "forbidden");
    assert_eq!(all.post("/v1/complete", &complete).await, done());
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_answers_now_and_then_gets_one_share() {
    let service = Service::with_outages(Gate::open()).await;
    let mut granted = 0;
    for _ in 0..20 {
        service.set(Outage::Unreachable);
        let answer = service.post("/v1/reserve", &wants(&id(), &[("tokens", 10)])).await;
        granted += usize::from(is_emergency_grant(&answer.body));
        service.set(Outage::Over);
        service.post("/v1/reserve", &wants(&id(), &[("strict", 1)])).await.assert_granted();
    }
    assert_eq!(granted, 5, "half of the capacity");
    tokio::time::advance(Duration::from_secs(60)).await;
    service.set(Outage::Unreachable);
    let answer = service.post("/v1/reserve", &wants(&id(), &[("tokens", 10)])).await;
    assert!(is_emergency_grant(&answer.body), "after a minute without a failure it is another outage");
}

#[tokio::test(start_paused = true)]
async fn a_check_is_granted_without_the_ledger_too_and_tells_nothing_of_what_is_left() {
    let service = Service::with_outages(Gate::open()).await;
    let check = async |key: &str| {
        service.send(Method::GET, &format!("/v1/check/{key}?amount=10"), Body::empty()).await
    };
    assert!(check("tokens").await.headers.contains_key("ratelimit"));
    service.set(Outage::Unreachable);
    let answer = check("tokens").await;
    assert_eq!((answer.status, answer.headers.get("ratelimit")), (StatusCode::OK, None));
    assert!(is_emergency_grant(&answer.read().body));
    assert_eq!(check("strict").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let mut asked = wants(&id(), &[("tokens", 10)]);
    asked["report"] = json!(true);
    let reserved = service.post("/v1/reserve", &asked).await;
    assert!(is_emergency_grant(&reserved.body));
    let batch = service.post("/v1/reserve/batch", &json!({ "requests": [asked] })).await;
    for answer in [&reserved.body, &batch.body["results"][0]] {
        assert_eq!(answer.get("limits"), None, "{answer}");
    }
    // Nobody completes what a check took, so it becomes debt when it expires.
    service.set(Outage::Over);
    tokio::time::advance(Duration::from_secs(60)).await;
    service.record().await;
    assert_eq!(service.usage("tokens").await, json!([90, 10, 20]));
}
