//! Starts the service in order, serves, and stops it in order.
//!
//! Start: the registry file, the listener, the engine, its background loops, the HTTP server. The service answers
//! `GET /healthz` at once and `GET /readyz` as soon as the definitions are read.
//! Stop: `GET /readyz` answers 503 for the drain time, the HTTP server closes its port and finishes the requests in
//! flight, the background loops end, what was granted without the ledger is recorded, the ledger drains its queue.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "otlp")]
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tracing::field::display;

#[cfg(feature = "otlp")]
use super::api::metrics_text;

use super::alerts::{AlertTeller, Delivery};
use super::api::{Api, Gate};
use super::auth::Authenticator;
use super::config::{Backend, Settings};
use super::connections::Bounds;
use super::front::{Addresses, Front, Listeners, OpenConnections};
#[cfg(feature = "grpc")]
use super::grpc::Gateway;
#[cfg(feature = "otlp")]
use super::otlp::MetricsExport;
use super::serve_error::ServeError;
use super::tls::ReloadingTls;
use super::{AllowedHosts, AuditLog, Metrics};
use crate::engine::{Engine, EngineOptions, LoopOptions};
use crate::ledger::Ledger;
use crate::ledger::memory::{MemoryLedger, SystemClock};
use crate::limit::LimitState;
use crate::limiter::{EmergencyDebt, LimiterOptions};
use crate::registry::file::{LockedFile, RegistryFile};
use crate::telemetry::{MetricsRegistry, with_sources};

/// How long requests in flight may take after the port is closed. The process must end within 10 s.
const FINISH_TIMEOUT: Duration = Duration::from_secs(8);
/// How long connections stay open after the last request in flight: for the rest of requests that clients are sending,
/// and of answers that clients are reading.
const CLIENT_TIMEOUT: Duration = Duration::from_millis(500);
/// How often a stop checks whether a request is in flight. It polls, so that a request need not report its end.
const FINISH_POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long the ledger may take to drain its queue after the HTTP server has ended.
const LEDGER_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until `stop` is ready, then finishes the requests in flight.
///
/// Needs a tokio runtime with IO and time. Dropping the future stops the service without draining it.
///
/// # Errors
///
/// The service cannot start (see [`ServeError`]), or it ended before `stop` was ready.
pub async fn serve(
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    match settings.server.backend {
        Backend::Memory => {
            let ledger = MemoryLedger::with_bounds(SystemClock::new(), (&settings.memory).into());
            serve_over(ledger, MetricsRegistry::default(), settings, stop).await
        }
        #[cfg(feature = "tigerbeetle")]
        Backend::TigerBeetle => {
            let ledger =
                crate::ledger::tigerbeetle::TigerBeetleLedger::connect((&settings.tigerbeetle).into());
            let mut registry = MetricsRegistry::default();
            ledger.register_metrics(&mut registry);
            serve_over(ledger, registry, settings, stop).await
        }
        #[cfg(not(feature = "tigerbeetle"))]
        Backend::TigerBeetle => Err(ServeError::NoTigerBeetle),
    }
}

async fn serve_over<L: Ledger>(
    ledger: L,
    mut registry: MetricsRegistry,
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let backend = settings.server.backend;
    let file = RegistryFile::new(settings.registry.path.clone(), backend == Backend::TigerBeetle).lock()?;
    let seed = file.read()?;
    let tls = settings.tls.is_on().then(|| ReloadingTls::read(settings.tls.clone())).transpose()?;
    let (listeners, addresses) = Listeners::open(&settings)?;
    #[cfg(feature = "grpc")]
    let gateway = match settings.server.grpc_listen_addr {
        Some(_) => Some(Gateway::read(&settings.gateway.rules, &mut registry)?),
        None => None,
    };
    let bounds = Arc::new(Bounds::new(settings.connections.clone(), &mut registry));
    let gate = gate(&settings)?;
    let (alert_teller, alert_delivery) = AlertTeller::start(&settings.alerts, &mut registry)?;
    let engine = Arc::new(Engine::new(Arc::new(ledger), engine_options(&settings, file)));
    engine.limiter().observe_alerts(Arc::new(alert_teller));
    let api = Arc::new(Api {
        request_timeout: settings.server.request_timeout(),
        batch_requests_max: settings.server.max_batch_requests,
        shown_limits: settings.metrics.limits.clone(),
        serves_ui: settings.server.ui,
        answers: settings.answers.clone(),
        ..Api::new(Arc::clone(&engine), gate, Metrics::new(registry))
    });
    let configs = tls.as_ref().map(ReloadingTls::configs);
    let mut background = JoinSet::new();
    #[cfg(not(feature = "grpc"))]
    let grpc = None;
    #[cfg(feature = "grpc")]
    let grpc = match gateway {
        Some(gateway) => {
            background.spawn(gateway.rules().follow());
            Some(gateway.router(&api)?)
        }
        None => None,
    };
    let front = Front::new(listeners, &api, grpc, configs.as_ref(), &bounds);
    background.spawn(Arc::clone(&api.gate.authenticator).follow_files());
    background.spawn(run_engine(Arc::clone(&api), seed, backend));
    if let Some(tls) = tls {
        background.spawn(tls.run());
    }
    #[cfg(feature = "otlp")]
    if let Some(export) = MetricsExport::new(&settings.otlp, Handle::current())? {
        background.spawn(send_metrics(export, Arc::clone(&api)));
    }
    let Addresses { main: address, admin, grpc } = addresses;
    let (admin_address, grpc_address) = (admin.map(display), grpc.map(display));
    tracing::info!(%address, admin_address, grpc_address, ?backend, tls = settings.tls.is_on(), "ratelimiterd listens");
    let served = tokio::select! {
        () = serve_http(front, &api, stop, settings.server.drain_time()) => Ok(()),
        // The loops run forever. Without them the service would answer from outdated definitions.
        _ = background.join_next() => Err(ServeError::BackgroundEnded),
    };
    // The HTTP server has ended, so the queue of the ledger only gets shorter from here on.
    background.shutdown().await;
    let drained = async {
        let (withdrawn, returned) =
            tokio::join!(engine.replicas().withdraw(), engine.limiter().return_allotments());
        if let Err(error) = withdrawn {
            tracing::debug!(error = with_sources(&error), "the announcement is not withdrawn; it expires");
        }
        if let Err(error) = returned {
            tracing::debug!(error = with_sources(&error), "allotments are not returned; they expire");
        }
        if let Err(error) = engine.limiter().record_emergency_debt(EmergencyDebt::All).await {
            tracing::debug!(error = with_sources(&error), "the ledger does not answer");
        }
        engine.ledger().shutdown().await;
    };
    let drained = tokio::time::timeout(LEDGER_SHUTDOWN_TIMEOUT, drained);
    let (drained, ()) = tokio::join!(drained, finish_alerts(alert_delivery));
    if drained.is_err() {
        tracing::warn!(
            timeout = ?LEDGER_SHUTDOWN_TIMEOUT,
            "the ledger did not drain its queue in time; the outcomes of its last requests are unknown"
        );
    }
    let leases = engine.limiter().emergency_counts().held();
    if leases > 0 {
        tracing::warn!(leases, "leases that were granted without the ledger are not recorded");
    }
    tracing::info!("ratelimiterd stopped");
    served
}

/// Posts the alerts that still wait.
async fn finish_alerts(delivery: Option<Delivery>) {
    if let Some(delivery) = delivery {
        delivery.finish().await;
    }
}

/// Who may do what, as the settings say.
fn gate(settings: &Settings) -> Result<Gate, ServeError> {
    let server = &settings.server;
    let authenticator = Arc::new(Authenticator::new(&settings.auth, server.is_exposed())?);
    if let Some(warning) = authenticator.warning() {
        tracing::warn!(address = %server.listen_addr, "{warning}");
    }
    let allowed_hosts = AllowedHosts::new(&server.allowed_hosts).map_err(ServeError::AllowedHost)?;
    let audit = AuditLog::to_path(&settings.log.audit_path)?;
    Ok(Gate { authenticator, allowed_hosts, audit })
}

/// The options of the engine that the settings ask for.
fn engine_options(settings: &Settings, file: LockedFile) -> EngineOptions {
    let mut limiter = LimiterOptions {
        retry_policy: settings.retry_policy.policy(),
        waiting: settings.limiter.waiting(),
        ..LimiterOptions::default()
    };
    let ledger_number = match settings.server.backend {
        // The memory ledger finds a lease, and denies, as fast as a cache in front of it would.
        Backend::Memory => 1,
        Backend::TigerBeetle => {
            limiter.leases_max = settings.limiter.lease_cache_capacity;
            limiter.deny_alone_max = Duration::from_millis(settings.limiter.local_denial_ms);
            settings.tigerbeetle.ledger
        }
    };
    let registry = &settings.registry;
    let loops = LoopOptions {
        poll_interval: Duration::from_millis(registry.poll_interval_ms),
        decrease_interval: Duration::from_millis(registry.decrease_interval_ms),
        instance_idle: Duration::from_secs(registry.instance_idle_seconds),
        alert_interval: settings.alerts.look_interval(),
    };
    EngineOptions::default()
        .with_ledger_number(ledger_number)
        .with_limiter(limiter)
        .with_registry_file(file)
        .with_loops(loops)
        // A memory ledger is this process's own: nobody would read the announcement.
        .with_advertise_url(match settings.server.backend {
            Backend::Memory => None,
            Backend::TigerBeetle => settings.server.advertise_url.clone(),
        })
}

/// Makes the ledger ready as soon as it answers, then runs the background loops, forever.
async fn run_engine<L: Ledger>(api: Arc<Api<L>>, seed: Vec<LimitState>, backend: Backend) {
    api.engine.bootstrap_until_ready(&seed).await;
    api.readiness.set_bootstrapped();
    let limits = api.engine.registry().snapshot().len();
    tracing::info!(limits, "the definitions are read; ratelimiterd answers requests");
    // Every number names a ledger, which is empty at first. So the cluster reports no error for a wrong number.
    if limits == 0 && backend == Backend::TigerBeetle {
        tracing::warn!("the ledger has no limits; if it should have some, correct tigerbeetle.ledger");
    }
    api.engine.run_loops().await;
}

/// Sends the metrics of all shown limits to the collector, forever.
#[cfg(feature = "otlp")]
async fn send_metrics<L: Ledger>(export: MetricsExport, api: Arc<Api<L>>) {
    let mut ticks = export.ticks();
    loop {
        ticks.tick().await;
        if let Ok(text) = metrics_text(&api, |_| true).await {
            export.send(&text).await;
        }
    }
}

/// Serves HTTP until `stop` is ready, then for the drain time, then finishes what it has read.
async fn serve_http<L: Ledger>(
    mut front: Front,
    api: &Arc<Api<L>>,
    stop: impl Future<Output = ()>,
    drain_time: Duration,
) {
    tokio::select! {
        () = front.accept() => {}
        () = stop => {}
    }
    tracing::info!(
        ?drain_time,
        "stop signal received; not ready any more, and closing the port after the drain time"
    );
    api.readiness.set_stopping();
    tokio::select! {
        () = front.accept() => {}
        () = tokio::time::sleep(drain_time) => {}
    }
    let connections = front.close();
    // Those who wait for room are requests in flight, too.
    let finished =
        async { tokio::join!(api.engine.limiter().stop_waiting(), finish(connections, &api.metrics)) };
    if tokio::time::timeout(FINISH_TIMEOUT, finished).await.is_err() {
        tracing::warn!(timeout = ?FINISH_TIMEOUT, "requests in flight did not end within the time limit");
    }
}

/// Waits for the requests in flight, and a moment for the other connections, which it then closes.
async fn finish(mut connections: OpenConnections, metrics: &Metrics) {
    tokio::select! {
        () = connections.ended() => {}
        () = no_more_requests(metrics) => {
            tracing::info!("closing connections with half a request, or with an answer that is not read");
        }
    }
    drop(connections);
    // A request whose connection has ended is carried out all the same.
    no_request_in_flight(metrics).await;
}

/// Waits until no request is in flight, and [`CLIENT_TIMEOUT`] later there still is none.
async fn no_more_requests(metrics: &Metrics) {
    loop {
        no_request_in_flight(metrics).await;
        tokio::time::sleep(CLIENT_TIMEOUT).await;
        if !metrics.has_requests_in_flight() {
            return;
        }
    }
}

async fn no_request_in_flight(metrics: &Metrics) {
    while metrics.has_requests_in_flight() {
        tokio::time::sleep(FINISH_POLL_INTERVAL).await;
    }
}
