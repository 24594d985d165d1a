//! Runs the service: builds the parts, starts them in order and stops them in order.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::engine::{Engine, EngineOptions, LoopOptions};
use crate::ledger::Ledger;
use crate::ledger::memory::MemoryLedger;
use crate::ledger::memory::SystemClock;
use crate::limit::LimitState;
use crate::limiter::LimiterOptions;
use crate::registry::file::{FileError, RegistryFile};
use crate::server::api::{self, Api, Readiness};
use crate::server::config::{Backend, Settings};
use crate::server::metrics::Metrics;
use crate::telemetry::MetricsRegistry;

/// How long requests in flight may take after a stop signal. The process must exit within 10 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// Why the service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The registry file is damaged or cannot be read.
    #[error("the registry file (registry.path) cannot be used")]
    Registry(#[from] FileError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address} (server.listen_addr)")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP server failed.
    #[error("the HTTP server failed")]
    Serve(#[source] std::io::Error),
    /// The background loops ended, which they never should: a bug.
    #[error("the background loops ended unexpectedly")]
    BackgroundEnded,
    /// This build does not include the backend.
    #[error("server.backend is tigerbeetle, and this program was built without it")]
    NoTigerBeetle,
}

/// Serves until `stop` resolves, then finishes the requests in flight.
pub async fn serve(
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), AppError> {
    match settings.server.backend {
        Backend::Memory => {
            let retention = Duration::from_secs(settings.memory.retention_seconds);
            let ledger = MemoryLedger::new(SystemClock::new(), retention);
            serve_over(ledger, Metrics::new(MetricsRegistry::default()), settings, stop).await
        }
        #[cfg(feature = "tigerbeetle")]
        Backend::TigerBeetle => {
            let ledger =
                crate::ledger::tigerbeetle::TigerBeetleLedger::connect((&settings.tigerbeetle).into());
            let mut registry = MetricsRegistry::default();
            ledger.register_metrics(&mut registry);
            serve_over(ledger, Metrics::new(registry), settings, stop).await
        }
        #[cfg(not(feature = "tigerbeetle"))]
        Backend::TigerBeetle => Err(AppError::NoTigerBeetle),
    }
}

async fn serve_over<L: Ledger>(
    ledger: L,
    metrics: Metrics,
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), AppError> {
    let backend = settings.server.backend;
    let file = RegistryFile::new(settings.registry.path.clone(), backend == Backend::TigerBeetle);
    let seed = file.read()?;
    let address = settings.server.listen_addr;
    let listen_error = |source| AppError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;

    let engine = Arc::new(Engine::new(Arc::new(ledger), engine_options(&settings, file)));
    let api = Arc::new(Api {
        engine: Arc::clone(&engine),
        readiness: Readiness::new(Arc::clone(engine.ledger()), engine.operator_account()),
        request_timeout: settings.server.request_timeout(),
        batch_requests_max: settings.server.max_batch_requests,
        metrics,
    });

    let mut background = JoinSet::new();
    background.spawn(run_engine(Arc::clone(&api), seed));
    tracing::info!(%address, ?backend, "ratelimiterd listens");
    let served = tokio::select! {
        served = serve_http(listener, api, stop) => served,
        // The loops run forever. Without them the service would only seem to work.
        _ = background.join_next() => Err(AppError::BackgroundEnded),
    };
    // No request can arrive now. The ledger drains its queue, then the process ends.
    background.shutdown().await;
    if tokio::time::timeout(Duration::from_secs(1), engine.ledger().shutdown()).await.is_err() {
        tracing::warn!("the ledger did not answer every request before the process stopped");
    }
    tracing::info!("ratelimiterd stopped");
    served
}

/// The engine's options, from the settings.
fn engine_options(settings: &Settings, file: RegistryFile) -> EngineOptions {
    let mut limiter =
        LimiterOptions { retry_policy: settings.retry_policy.policy(), ..LimiterOptions::default() };
    let ledger_number = match settings.server.backend {
        // The memory ledger finds leases and denies as fast as any cache in front of it would.
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
    };
    EngineOptions::default()
        .with_ledger_number(ledger_number)
        .with_limiter(limiter)
        .with_registry_file(file)
        .with_loops(loops)
}

/// Makes the ledger ready as soon as it answers, then runs the engine's background loops.
async fn run_engine<L: Ledger>(api: Arc<Api<L>>, seed: Vec<LimitState>) {
    api.engine.bootstrap_until_ready(&seed).await;
    api.readiness.set_bootstrapped();
    tracing::info!("the definitions are read");
    api.engine.run_loops().await;
}

async fn serve_http<L: Ledger>(
    listener: TcpListener,
    api: Arc<Api<L>>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), AppError> {
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let stop = async move {
        stop.await;
        tracing::info!("stopping");
        // The receiver is gone only if the server has failed already.
        stopping.send(()).ok();
    };
    let serving = axum::serve(listener, api::router(api)).with_graceful_shutdown(stop).into_future();
    let drained = async {
        match stopped.await {
            Ok(()) => tokio::time::sleep(DRAIN_TIMEOUT).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        served = serving => served.map_err(AppError::Serve),
        () = drained => {
            tracing::warn!("closing connections that did not finish in time");
            Ok(())
        }
    }
}
