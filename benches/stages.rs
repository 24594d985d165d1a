//! The cost of each stage of a call by itself: `cargo bench --bench stages`. For the goals, which are ratios, see
//! `ratios`.
#![allow(unreachable_pub, missing_docs, dead_code, reason = "the fixtures are those of the tests")]
#![expect(clippy::expect_used, reason = "a bench fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use divan::Bencher;
use ledger_limiter::decide::Limit;
use ledger_limiter::decide::ids::{Ids, Purpose};
use ledger_limiter::decide::lease::Lease;
use ledger_limiter::decide::reserve::{ReserveResult, interpret, plan};
use ledger_limiter::decide::settle::{Next, Settlement, Used};
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::ledger::memory::{Clock, ManualClock};
use ledger_limiter::ledger::{Chain, ChainOutcome, Ledger};
use ledger_limiter::protocol::{Complete, Reserve};
use ledger_limiter::protocol::{ReserveAnswer, ReserveBody};
use ledger_limiter::server::Metrics;
use ledger_limiter::server::api::{self, Api, Audience, Gate};
use ledger_limiter::telemetry::MetricsRegistry;
use tokio::runtime::Runtime;
use tower::ServiceExt;

#[path = "../tests/support/mod.rs"]
mod fixtures;

use fixtures::{Replica, complete, concurrency, key, lease, reserve, rolling};

/// The limits of a call to a model, in the order of their legs.
const KEYS: [&str; 4] = ["llm:concurrency", "llm:rpm", "llm:tpm", "tenant:acme:daily_tokens"];
const ESTIMATE: u64 = 1_200;
const ACTUAL: u64 = 870;
/// More than any of these benches reserves.
const PLENTY: u64 = 1 << 50;
/// The time of each command. In balance, with windows of 1 s, the store holds the last 10,000 commands.
const STEP: Duration = Duration::from_micros(100);
/// Enough samples to fill the store, so that most of them measure a store in balance.
const SAMPLES: u32 = 4_000;
const SAMPLE_SIZE: u32 = 10;

fn main() {
    divan::main();
}

/// A limiter over the memory ledger with the four limits.
struct Store {
    runtime: Runtime,
    clock: Arc<ManualClock>,
    replica: Replica<MemoryLedger<Arc<ManualClock>>>,
    limits: Vec<Limit>,
}

impl Store {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let clock = Arc::new(ManualClock::new());
        let ledger = Arc::new(MemoryLedger::new(Arc::clone(&clock), Duration::ZERO));
        let replica = runtime.block_on(async {
            let replica = Replica::start(ledger, Ids::new(1), 0).await;
            replica.put(concurrency(KEYS[0], PLENTY, 1)).await;
            for key in &KEYS[1..] {
                replica.put(rolling(key, PLENTY, 1)).await;
            }
            replica
        });
        let limits = KEYS.map(|name| replica.registry().limit(&key(name)).expect("it is defined"));
        Self { runtime, clock, replica, limits: limits.to_vec() }
    }

    /// The first `legs` limits.
    fn limits(&self, legs: usize) -> Vec<Option<&Limit>> {
        self.limits.iter().take(legs).map(Some).collect()
    }

    fn chain(&self, command: &Reserve) -> Chain {
        plan(self.replica.ids, command, &self.limits(command.requirements().len()), 0).expect("it has legs")
    }

    fn submit(&self, chains: Vec<Chain>) {
        self.clock.advance(STEP);
        let outcomes = self.runtime.block_on(self.replica.ledger.submit(chains));
        assert!(matches!(outcomes.first(), Some(Ok(ChainOutcome::Created { .. }))), "{outcomes:?}");
    }
}

/// A reserve on the first `legs` limits, with a new lease.
fn call(legs: usize) -> Reserve {
    let wanted: Vec<(&str, u64)> = KEYS.iter().take(legs).map(|&key| (key, ESTIMATE)).collect();
    reserve(lease(), &wanted)
}

#[divan::bench(args = [1, 4])]
fn plan_and_interpret(bencher: Bencher, legs: usize) {
    let store = Store::new();
    let limits = store.limits(legs);
    bencher.with_inputs(|| call(legs)).bench_local_refs(|command| {
        let chain = plan(store.replica.ids, command, &limits, 0).expect("it has legs");
        let result = interpret(command, &limits, ChainOutcome::Created { timestamp_ns: 1 }, None);
        assert!(matches!(result, Ok(ReserveResult::Granted { .. })));
        chain
    });
}

#[divan::bench]
fn settle_below(bencher: Bencher) {
    let store = Store::new();
    let now_ns = store.clock.now_ns();
    let used: Vec<Used> = store.limits[2..]
        .iter()
        .map(|limit| Used {
            accounts: [limit.account].into_iter().collect(),
            amount: ACTUAL,
            debt_account: limit.debt_account,
            borrowed: None,
            is_known: true,
        })
        .collect();
    let granted = || {
        let command = call(4);
        let chain = store.chain(&command);
        Lease::from_grant(command.lease, chain.transfers(), now_ns).expect("it has reservations")
    };
    bencher.with_inputs(granted).bench_local_values(|lease| {
        let mut settlement = Settlement::new(store.replica.ids, lease, &used);
        let next = settlement.next(|| now_ns).expect("the first attempt is allowed");
        assert!(matches!(next, Next::Send(_)));
        next
    });
}

#[divan::bench]
fn id_of_a_transfer(bencher: Bencher) {
    let ids = Ids::new(1);
    bencher.with_inputs(lease).bench_values(|lease| ids.of_lease(lease).transfer(Purpose::Reserve, 0, 3));
}

#[divan::bench]
fn id_of_a_limit(bencher: Bencher) {
    let (ids, key) = (Ids::new(1), key(KEYS[3]));
    bencher.bench(|| ids.limit(divan::black_box(&key)));
}

#[divan::bench(args = [1, 4], sample_count = SAMPLES, sample_size = SAMPLE_SIZE)]
fn memory_ledger(bencher: Bencher, legs: usize) {
    let store = Store::new();
    bencher.with_inputs(|| vec![store.chain(&call(legs))]).bench_local_values(|chains| store.submit(chains));
}

#[divan::bench(sample_count = SAMPLES, sample_size = SAMPLE_SIZE)]
fn reserve_and_complete_below(bencher: Bencher) {
    let store = Store::new();
    let pair = || -> (Reserve, Complete) {
        let reserve = call(4);
        let complete = complete(reserve.lease, &[(KEYS[2], ACTUAL), (KEYS[3], ACTUAL)]);
        (reserve, complete)
    };
    bencher.with_inputs(pair).bench_local_refs(|(reserve, complete)| {
        store.clock.advance(STEP);
        store.runtime.block_on(async {
            let granted = store.replica.limiter().reserve(reserve).await.expect("the ledger answers");
            assert!(fixtures::is_granted(&granted), "{granted:?}");
            store.replica.limiter().complete(complete).await.expect("the ledger answers")
        })
    });
}

#[divan::bench]
fn json_in(bencher: Bencher) {
    bencher.with_inputs(|| body(4)).bench_refs(|text| {
        let body: ReserveBody = serde_json::from_str(text).expect("it is JSON");
        body.into_command().expect("it is valid")
    });
}

#[divan::bench]
fn json_out(bencher: Bencher) {
    let answer = ReserveAnswer {
        allowed: true,
        retry_after_ms: 0,
        retry_after_source: None,
        reserved_at_unix_ms: 1_795_321_501_270,
        error: String::new(),
        limiting_key: None,
        emergency: false,
        limits: None,
        would_deny: Vec::new(),
        served_by: None,
    };
    bencher.bench(|| serde_json::to_vec(divan::black_box(&answer)).expect("it is plain"));
}

/// The whole service without its sockets.
#[divan::bench(args = [1, 4], sample_count = SAMPLES, sample_size = SAMPLE_SIZE)]
fn http(bencher: Bencher, legs: usize) {
    let store = Store::new();
    let router = router(&store);
    bencher.with_inputs(|| Body::from(body(legs))).bench_local_values(|body| {
        store.clock.advance(STEP);
        let request = Request::post("/v1/reserve")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(body)
            .expect("a request");
        let response = store.runtime.block_on(router.clone().oneshot(request)).expect("it answers");
        assert_eq!(response.status(), StatusCode::OK);
        response
    });
}

fn router(store: &Store) -> Router {
    let metrics = Metrics::new(MetricsRegistry::default());
    let api = Api::new(Arc::clone(&store.replica.engine), Gate::open(), metrics);
    api.readiness.set_bootstrapped();
    api::router(Arc::new(api), Audience::Everybody)
}

/// The body of a reserve with a new lease.
fn body(legs: usize) -> String {
    let requirement = |key: &&str| serde_json::json!({ "key": key, "amount": ESTIMATE });
    let requirements: Vec<_> = KEYS.iter().take(legs).map(requirement).collect();
    serde_json::json!({ "lease_id": lease().to_string(), "requirements": requirements }).to_string()
}

/// The submitter over a ledger that answers at once.
#[cfg(feature = "tigerbeetle")]
mod submitter {
    use divan::Bencher;
    use ledger_limiter::ledger::tigerbeetle::submitter::{
        Connect, SendError, Submitter, SubmitterOptions, TransferSession,
    };
    use ledger_limiter::ledger::{Chain, ChainOutcome};

    use super::{Duration, Store, call};

    struct AtOnce;

    impl Connect for AtOnce {
        type Session = AtOnce;
        async fn connect(&self) -> AtOnce {
            AtOnce
        }
    }

    impl TransferSession for AtOnce {
        async fn create_transfers(&mut self, chains: &[Chain]) -> Result<Vec<ChainOutcome>, SendError> {
            Ok(vec![ChainOutcome::Created { timestamp_ns: 1 }; chains.len()])
        }
    }

    #[divan::bench(args = [1, 256])]
    fn submit(bencher: Bencher, chains: usize) {
        let store = Store::new();
        let options = SubmitterOptions {
            sessions: 2,
            batch_transfers_max: 8_189,
            queue_transfers_max: 65_536,
            flush_interval: Duration::ZERO,
        };
        let submitter = store.runtime.block_on(async { Submitter::start(AtOnce, options) });
        let inputs = || -> Vec<Chain> { (0..chains).map(|_| store.chain(&call(4))).collect() };
        bencher.with_inputs(inputs).bench_local_values(|batch| {
            let outcomes = store.runtime.block_on(submitter.submit(batch));
            assert_eq!(outcomes.len(), chains);
            outcomes
        });
    }
}
