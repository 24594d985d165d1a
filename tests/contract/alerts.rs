//! Alerts: each crossing of a threshold is told once, by one of all replicas.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::ledger::{Chain, Ledger, LedgerError, TransferCode};
use ledger_limiter::limit::{AlertThresholds, Capacity, Definition, Period};
use ledger_limiter::limiter::{Alert, AlertObserver, LimiterOptions};

use super::schedules::wait_for_window;
use crate::fixtures::*;
use crate::ledger_wrapper::{CallHook, LedgerWrapper};

const SECOND: Duration = Duration::from_secs(1);

/// Remembers what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<Alert>>);

impl AlertObserver for Told {
    fn crossed(&self, alert: &Alert) {
        self.0.lock().expect("no test panics while it holds the lock").push(alert.clone());
    }
}

impl Told {
    fn take_all(&self) -> Vec<Alert> {
        std::mem::take(&mut self.0.lock().expect("no test panics while it holds the lock"))
    }

    /// What it was told since the last call: keys and percents, in order.
    fn take(&self) -> Vec<(String, u64)> {
        self.take_all().iter().map(|alert| (alert.key.to_string(), alert.threshold_percent)).collect()
    }

    /// The percents, of one key.
    fn percents(&self) -> Vec<u64> {
        self.take().into_iter().map(|(_, percent)| percent).collect()
    }
}

/// The same definition, with these thresholds.
fn alerting(definition: Definition, percents: &[u64]) -> Definition {
    Definition { alerts: AlertThresholds::new(percents).expect("valid"), ..definition }
}

/// A replica that tells of alerts.
async fn start<B: Backend>(backend: &B) -> (Replica<B::Ledger>, Arc<Told>) {
    observed(backend.connect(), backend).await
}

async fn observed<L: Ledger>(ledger: Arc<L>, backend: &impl Backend) -> (Replica<L>, Arc<Told>) {
    let replica = Replica::cold(ledger, backend.ids(), 0);
    let told = Arc::new(Told::default());
    replica.limiter().observe_alerts(Arc::clone(&told) as Arc<dyn AlertObserver>);
    replica.admin().bootstrap(&[]).await.expect("the ledger answers");
    (replica, told)
}

async fn look<L: Ledger>(replica: &Replica<L>) {
    replica.limiter().look_for_alerts().await.expect("the ledger answers");
}

pub async fn each_kind_tells_of_each_threshold_once<B: Backend>(backend: B) {
    let (replica, told) = start(&backend).await;
    let calendar = calendar("month", 100, Period::Month, "Europe/Berlin", 0);
    for definition in of_each_kind(100).into_iter().chain([calendar]) {
        let name = definition.key.to_string();
        replica.put(alerting(definition, &[50, 80, 100])).await;
        for (takes, expected) in [(49, &[][..]), (1, &[50]), (29, &[]), (21, &[80, 100])] {
            assert!(is_granted(&replica.take(&[(&name, takes)]).await), "{name}");
            look(&replica).await;
            assert_eq!(told.percents(), expected, "{name}, {takes} more");
            look(&replica).await;
            assert_eq!(told.percents(), [0; 0], "{name}, once");
        }
    }
}

pub async fn of_two_replicas_one_tells<B: Backend>(backend: B) {
    let (first, by_first) = start(&backend).await;
    let (second, by_second) = start(&backend).await;
    for round in 0..10 {
        let name = format!("limit{round}");
        first.put(alerting(rolling(&name, 10, 3_600), &[80, 100])).await;
        second.registry().refresh().await.expect("the ledger answers");
        assert!(is_granted(&first.take(&[(&name, 4)]).await));
        assert!(is_granted(&second.take(&[(&name, 6)]).await));
        tokio::join!(look(&first), look(&second));
        tokio::join!(look(&first), look(&second));
        let told = [by_first.percents(), by_second.percents()].concat();
        assert_eq!(told, [80, 100], "one of them tells of both");
    }
}

pub async fn many_replicas_tell_of_a_rising_usage_once<B: Backend>(backend: B) {
    let replicas = join_all((0..4).map(|_| start(&backend))).await;
    replicas[0].0.put(alerting(concurrency("slots", 40, 3_600), &[10, 30, 50, 70, 90, 100])).await;
    let call = |(replica, _): &(Replica<B::Ledger>, Arc<Told>)| {
        let replica = Replica {
            ledger: Arc::clone(&replica.ledger),
            ids: replica.ids,
            engine: Arc::clone(&replica.engine),
        };
        async move {
            replica.registry().refresh().await.expect("the ledger answers");
            for _ in 0..10 {
                assert!(is_granted(&replica.take(&[("slots", 1)]).await));
                look(&replica).await;
            }
        }
    };
    join_all(replicas.iter().map(call)).await;
    join_all(replicas.iter().map(|(replica, _)| look(replica))).await;
    let mut told: Vec<Alert> = replicas.iter().flat_map(|(_, told)| told.take_all()).collect();
    told.sort_by_key(|alert| alert.threshold_percent);
    let percents: Vec<u64> = told.iter().map(|alert| alert.threshold_percent).collect();
    assert_eq!(percents, [10, 30, 50, 70, 90, 100]);
    let ids: std::collections::HashSet<&str> = told.iter().map(|alert| alert.id.as_str()).collect();
    assert_eq!(ids.len(), told.len(), "each has an id of its own");
}

pub async fn a_threshold_is_armed_when_usage_has_fallen_well_below_it<B: Backend>(backend: B) {
    let (replica, told) = start(&backend).await;
    let (another, by_another) = start(&backend).await;
    replica.put(alerting(concurrency("slots", 100, 3_600), &[80])).await;
    another.registry().refresh().await.expect("the ledger answers");
    let [large, small, last] = [lease(), lease(), lease()];
    replica.reserve(large, &[("slots", 75)]).await;
    replica.reserve(small, &[("slots", 5)]).await;
    look(&replica).await;
    assert_eq!(told.percents(), [80]);
    // Around the threshold: 75, 80.
    for _ in 0..3 {
        replica.complete(small, &[]).await;
        look(&replica).await;
        let small = lease();
        replica.reserve(small, &[("slots", 5)]).await;
        look(&replica).await;
        replica.complete(small, &[]).await;
    }
    assert_eq!(told.percents(), [0; 0]);
    replica.reserve(last, &[("slots", 5)]).await;
    replica.complete(large, &[]).await;
    look(&replica).await;
    assert_eq!(told.percents(), [0; 0], "that it is armed is no event");
    assert!(is_granted(&another.take(&[("slots", 75)]).await));
    look(&another).await;
    look(&replica).await;
    assert_eq!((by_another.percents(), told.percents()), (vec![80], vec![]), "whoever armed it");
}

pub async fn each_window_tells_anew<B: Backend>(backend: B) {
    let (replica, told) = start(&backend).await;
    replica.put(alerting(fixed_window("window", 10, 3, 0), &[50, 100])).await;
    let mut ends = Vec::new();
    for takes in [10, 5, 10] {
        wait_for_window(&backend, &replica, 3_000).await;
        let lease = lease();
        assert!(is_granted(&replica.reserve(lease, &[("window", takes)]).await));
        look(&replica).await;
        let alerts = told.take_all();
        let percents: Vec<u64> = alerts.iter().map(|alert| alert.threshold_percent).collect();
        assert_eq!(percents, if takes == 10 { vec![50, 100] } else { vec![50] });
        ends.push(alerts[0].window_ends_at_unix_ms.expect("a window"));
        // What is released in a window arms nothing.
        replica.complete(lease, &[("window", 0)]).await;
        look(&replica).await;
        assert!(is_granted(&replica.take(&[("window", 5)]).await));
        look(&replica).await;
        assert_eq!(told.percents(), [0; 0], "once in each window");
    }
    assert!(ends.is_sorted() && ends.iter().all(|end| end % 3_000 == 0), "{ends:?}");
}

pub async fn an_expiry_arms_a_threshold<B: Backend>(backend: B) {
    let (replica, told) = start(&backend).await;
    replica.put(alerting(rolling("rolling", 10, 3), &[100])).await;
    assert!(is_granted(&replica.take(&[("rolling", 10)]).await));
    look(&replica).await;
    assert_eq!(told.percents(), [100]);
    backend.pass(SECOND * 4).await;
    look(&replica).await;
    assert!(is_granted(&replica.take(&[("rolling", 10)]).await));
    look(&replica).await;
    assert_eq!(told.percents(), [100]);
}

pub async fn an_alert_says_what_was_seen<B: Backend>(backend: B) {
    let (replica, told) = start(&backend).await;
    let definition = alerting(sliding_window("sliding", 1_000, 3_600, 3), &[80]);
    replica.put(Definition { enforce: false, ..definition }).await;
    assert!(is_granted(&replica.take(&[("sliding", 801)]).await));
    look(&replica).await;
    let alerts = told.take_all();
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    let Alert { id, key, capacity, used, available, enforce, window_ends_at_unix_ms, .. } = alert;
    assert_eq!((key.as_str(), *capacity, *used, *available), ("sliding", 1_000, 801, 199));
    assert_eq!((*enforce, *window_ends_at_unix_ms), (false, None));
    assert!(id.len() == 35 && id.ends_with("-80"), "{id}");
}

pub async fn a_limit_in_shadow_mode_tells_although_its_excess_is_debt<B: Backend>(backend: B) {
    let (replica, told) = start(&backend).await;
    replica.put(Definition { enforce: false, ..alerting(rolling("trial", 10, 3_600), &[80, 100]) }).await;
    assert!(is_granted(&replica.take(&[("trial", 25)]).await));
    look(&replica).await;
    assert_eq!(told.percents(), [80, 100]);
    assert!(is_granted(&replica.take(&[("trial", 25)]).await));
    look(&replica).await;
    assert_eq!(told.percents(), [0; 0], "debt is no usage");
}

pub async fn a_reset_arms_every_threshold<B: Backend>(backend: B) {
    let (replica, told) = start(&backend).await;
    let (another, by_another) = start(&backend).await;
    for definition in of_each_kind(10) {
        let name = definition.key.to_string();
        replica.put(alerting(definition, &[80])).await;
        assert!(is_granted(&replica.take(&[(&name, 8)]).await));
        look(&replica).await;
        assert_eq!(told.percents(), [80], "{name}");
        replica.admin().reset(&key(&name)).await.expect("the limit exists");
        look(&replica).await;
        another.registry().refresh().await.expect("the ledger answers");
        assert!(is_granted(&another.take(&[(&name, 8)]).await));
        look(&another).await;
        look(&replica).await;
        assert_eq!((by_another.percents(), told.percents()), (vec![80], vec![]), "{name}");
    }
}

pub async fn templates_hand_their_thresholds_on<B: Backend>(backend: B) {
    let (replica, told) = start(&backend).await;
    replica.put(template(alerting(rolling("tenant:{tenant}", 10, 3_600), &[80]), 2)).await;
    assert!(is_granted(&replica.take(&[("tenant:a", 8)]).await));
    assert!(is_granted(&replica.take(&[("tenant:b", 7)]).await));
    look(&replica).await;
    assert_eq!(told.take(), [("tenant:a".to_owned(), 80)], "not the template, of which no instance is left");
    assert!(is_granted(&replica.take(&[("tenant:b", 1)]).await));
    look(&replica).await;
    assert_eq!(told.take(), [("tenant:b".to_owned(), 80)]);
    replica.put(template(alerting(rolling("tenant:{tenant}", 10, 3_600), &[90]), 2)).await;
    assert!(is_granted(&replica.take(&[("tenant:a", 1)]).await));
    look(&replica).await;
    assert_eq!(told.take(), [("tenant:a".to_owned(), 90)], "the new thresholds");
}

pub async fn a_change_of_the_capacity_may_cross_a_threshold<B: Backend>(backend: B) {
    let (replica, told) = start(&backend).await;
    let limit = |units| alerting(concurrency("slots", units, 3_600), &[80]);
    replica.put(limit(100)).await;
    assert!(is_granted(&replica.take(&[("slots", 8)]).await));
    look(&replica).await;
    assert_eq!(told.percents(), [0; 0]);
    replica.put(limit(10)).await;
    replica.admin().apply_decreases().await.expect("the ledger answers");
    replica.registry().refresh().await.expect("the ledger answers");
    look(&replica).await;
    assert_eq!(told.percents(), [80], "nobody took anything");
    replica.put(Definition { capacity: Capacity::ZERO, ..limit(10) }).await;
    replica.put(limit(100)).await;
    look(&replica).await;
    look(&replica).await;
    assert_eq!(told.percents(), [0; 0]);
}

pub async fn overage_and_extends_are_usage<B: Backend>(backend: B) {
    let (replica, told) = start(&backend).await;
    replica.put(alerting(rolling("tpm", 100, 3_600), &[50, 80])).await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &[("tpm", 10)]).await));
    look(&replica).await;
    replica.limiter().extend(&extend(id, extend_id(), "tpm", 40)).await.expect("the ledger answers");
    look(&replica).await;
    assert_eq!(told.percents(), [50]);
    replica.complete(id, &[("tpm", 85)]).await;
    look(&replica).await;
    assert_eq!(told.percents(), [80]);
}

pub async fn limits_without_thresholds_and_replicas_without_observer_write_nothing<B: Backend>(backend: B) {
    let ledger = Arc::new(LedgerWrapper { inner: backend.connect(), hook: Steps::default() });
    let silent = Replica::start(Arc::clone(&ledger), backend.ids(), 0).await;
    silent.put(alerting(rolling("alerting", 10, 3_600), &[80])).await;
    assert!(is_granted(&silent.take(&[("alerting", 9)]).await));
    look(&silent).await;
    let (replica, told) = observed(Arc::clone(&ledger), &backend).await;
    replica.put(rolling("plain", 10, 3_600)).await;
    assert!(is_granted(&replica.take(&[("plain", 10)]).await));
    assert_eq!(ledger.hook.sent.load(Ordering::SeqCst), 0);
    look(&replica).await;
    assert_eq!(told.take(), [("alerting".to_owned(), 80)], "at start every limit is looked at");
    assert_eq!(ledger.hook.sent.load(Ordering::SeqCst), 1);
}

/// Counts the steps of alert accounts, and loses the answers to some.
#[derive(Default)]
struct Steps {
    sent: AtomicUsize,
    losing: AtomicUsize,
    next_call_steps: AtomicBool,
}

impl CallHook for Steps {
    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        let steps = self.next_call_steps.swap(false, Ordering::SeqCst);
        let answer = call.await;
        if steps && self.losing.load(Ordering::SeqCst) > 0 {
            self.losing.fetch_sub(1, Ordering::SeqCst);
            return Err(LedgerError::ShutDown);
        }
        answer
    }

    fn chain_sent(&self, chain: &Chain) {
        if chain.transfers().iter().any(|transfer| transfer.code == TransferCode::Alert) {
            self.sent.fetch_add(1, Ordering::SeqCst);
            self.next_call_steps.store(true, Ordering::SeqCst);
        }
    }
}

pub async fn a_lost_answer_loses_no_event<B: Backend>(backend: B) {
    let ledger = Arc::new(LedgerWrapper { inner: backend.connect(), hook: Steps::default() });
    let (replica, told) = observed(Arc::clone(&ledger), &backend).await;
    let (another, by_another) = start(&backend).await;
    replica.put(alerting(rolling("rolling", 10, 3_600), &[50, 100])).await;
    another.registry().refresh().await.expect("the ledger answers");
    assert!(is_granted(&replica.take(&[("rolling", 10)]).await));
    ledger.hook.losing.store(2, Ordering::SeqCst);
    look(&replica).await;
    // It finds the step that the first one made without knowing.
    look(&another).await;
    look(&replica).await;
    assert_eq!((told.percents(), by_another.percents()), (vec![], vec![]), "nobody knows who made the step");
    look(&replica).await;
    assert_eq!((told.percents(), by_another.percents()), (vec![50, 100], vec![]));
    look(&replica).await;
    assert_eq!((told.percents(), ledger.hook.sent.load(Ordering::SeqCst)), (vec![], 3));
}

pub async fn a_limit_that_the_cache_denies_tells_and_a_deleted_one_does_not<B: Backend>(backend: B) {
    let options = LimiterOptions { deny_alone_max: SECOND, leases_max: 10, ..LimiterOptions::default() };
    let replica = Replica::start_with(backend.connect(), backend.ids(), options).await;
    let told = Arc::new(Told::default());
    replica.limiter().observe_alerts(Arc::clone(&told) as Arc<dyn AlertObserver>);
    replica.put(alerting(rolling("rolling", 10, 3_600), &[100])).await;
    assert!(is_granted(&replica.take(&[("rolling", 10)]).await));
    // Denied by the cache.
    assert!(!is_granted(&replica.take(&[("rolling", 1)]).await));
    assert!(!is_granted(&replica.take(&[("rolling", 1)]).await));
    look(&replica).await;
    assert_eq!(told.percents(), [100]);
    // A deleted limit is looked at no more.
    replica.admin().delete(&key("rolling")).await.expect("the limit exists");
    look(&replica).await;
    look(&replica).await;
    assert_eq!(told.percents(), [0; 0]);
}
