//! Starts the service in order, serves, and stops it in order.
//!
//! Start: the registry file, the listener, the parts, the background tasks, the HTTP server. The service answers
//! `GET /healthz` at once and `GET /readyz` as soon as the definitions are read.
//! Stop: the HTTP server drains its requests, the background tasks end, the ledger drains its queue.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Metrics;
use super::api::{self, Api, Readiness};
use super::config::{Backend, Settings};
use crate::admin::Admin;
use crate::clock::SystemClock;
use crate::decide::ids::Ids;
use crate::instances;
use crate::ledger::Ledger;
use crate::ledger::memory::MemoryLedger;
use crate::limit::LimitState;
use crate::limiter::{LeaseCache, Limiter, LocalDenials};
use crate::registry::file::{FileError, RegistryFile};
use crate::registry::{Follower, Registry};
use crate::telemetry::{MetricsRegistry, with_sources};

/// How long requests in flight may take after the stop signal. The process must end within 10 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
/// How long the ledger may take to drain its queue after that.
const LEDGER_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between two attempts to make the ledger ready.
const BOOTSTRAP_RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Why the service did not start, or ended without a stop signal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The registry file is damaged or cannot be read.
    #[error("cannot use the registry file (registry.path)")]
    Registry(#[from] FileError),
    /// The service cannot listen on its address.
    #[error("cannot listen on {address} (server.listen_addr)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP server failed.
    #[error("the HTTP server failed")]
    Http(#[source] std::io::Error),
    /// The background tasks ended, which never happens without a fault.
    #[error("the background tasks ended; restart ratelimiterd, because it no longer follows the definitions")]
    BackgroundEnded,
    /// This build has no TigerBeetle ledger.
    #[error(
        "setting server.backend: this ratelimiterd was built without TigerBeetle; set \"memory\" or use another build"
    )]
    NoTigerBeetle,
}

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
            let retention = Duration::from_secs(settings.memory.retention_seconds);
            let ledger = MemoryLedger::new(SystemClock::new(), retention);
            serve_over(ledger, Ids::new(1), Metrics::new(MetricsRegistry::default()), settings, stop).await
        }
        #[cfg(feature = "tigerbeetle")]
        Backend::TigerBeetle => {
            let ledger =
                crate::ledger::tigerbeetle::TigerBeetleLedger::connect((&settings.tigerbeetle).into());
            let mut registry = MetricsRegistry::default();
            ledger.register_metrics(&mut registry);
            let ids = Ids::new(settings.tigerbeetle.ledger);
            serve_over(ledger, ids, Metrics::new(registry), settings, stop).await
        }
        #[cfg(not(feature = "tigerbeetle"))]
        Backend::TigerBeetle => Err(ServeError::NoTigerBeetle),
    }
}

async fn serve_over<L: Ledger>(
    ledger: L,
    ids: Ids,
    metrics: Metrics,
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let backend = settings.server.backend;
    let file = RegistryFile::new(settings.registry.path.clone(), backend == Backend::TigerBeetle);
    let seed = file.read()?;
    let address = settings.server.listen_addr;
    let listen_error = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;

    let ledger = Arc::new(ledger);
    let Parts { api, follower } = assemble(&ledger, ids, file, metrics, &settings);
    let mut background = JoinSet::new();
    background.spawn(run_background(Arc::clone(&api), follower, seed, settings));
    tracing::info!(%address, ?backend, "ratelimiterd listens");
    let served = tokio::select! {
        served = serve_http(listener, api, stop) => served,
        // The tasks run forever. Without them the service would answer from outdated definitions.
        _ = background.join_next() => Err(ServeError::BackgroundEnded),
    };
    // The HTTP server has ended, so the queue of the ledger only gets shorter from here on.
    background.shutdown().await;
    if tokio::time::timeout(LEDGER_SHUTDOWN_TIMEOUT, ledger.shutdown()).await.is_err() {
        tracing::warn!(
            timeout = ?LEDGER_SHUTDOWN_TIMEOUT,
            "the ledger did not drain its queue in time; the outcomes of its last requests are unknown"
        );
    }
    tracing::info!("ratelimiterd stopped");
    served
}

/// The parts of the service over one ledger.
struct Parts<L> {
    api: Arc<Api<L>>,
    follower: Arc<Follower<L>>,
}

/// Builds the parts of the service over `ledger`. Nothing runs yet.
fn assemble<L: Ledger>(
    ledger: &Arc<L>,
    ids: Ids,
    file: RegistryFile,
    metrics: Metrics,
    settings: &Settings,
) -> Parts<L> {
    let follower =
        Arc::new(Follower::new(Arc::clone(ledger), ids, Arc::new(Registry::default()), Some(file)));
    let admin = Arc::new(Admin::new(Arc::clone(ledger), ids, Arc::clone(&follower)));
    // The memory ledger finds a lease, and denies, as fast as a cache in front of it would.
    let (leases_max, local_denial_ms) = match settings.server.backend {
        Backend::Memory => (0, 0),
        Backend::TigerBeetle => (settings.limiter.lease_cache_capacity, settings.limiter.local_denial_ms),
    };
    let policy = settings.retry_policy.policy();
    let leases = LeaseCache::new(leases_max);
    let local_denials = LocalDenials::new(Duration::from_millis(local_denial_ms));
    let limiter = Limiter::new(Arc::clone(ledger), ids, Arc::clone(&follower), policy, leases)
        .with_local_denials(local_denials);
    let api = Arc::new(Api {
        limiter,
        admin,
        readiness: Readiness::new(Arc::clone(ledger), ids.operator()),
        request_timeout: settings.server.request_timeout(),
        batch_requests_max: settings.server.max_batch_requests,
        metrics,
    });
    Parts { api, follower }
}

/// Makes the ledger ready as soon as it answers. Then follows the definition log, applies decreases and drops idle
/// instances, forever.
async fn run_background<L: Ledger>(
    api: Arc<Api<L>>,
    follower: Arc<Follower<L>>,
    seed: Vec<LimitState>,
    settings: Settings,
) {
    while let Err(error) = api.admin.bootstrap(&seed).await {
        tracing::warn!(
            error = with_sources(&error),
            "cannot read the definitions from the ledger yet; ratelimiterd tries again"
        );
        tokio::time::sleep(BOOTSTRAP_RETRY_PAUSE).await;
    }
    api.readiness.set_bootstrapped();
    tracing::info!("the definitions are read; ratelimiterd answers requests");
    let poll = follow(&follower, Duration::from_millis(settings.registry.poll_interval_ms));
    let decreases = api.admin.run_decreases(Duration::from_millis(settings.registry.decrease_interval_ms));
    let idle = Duration::from_secs(settings.registry.instance_idle_seconds);
    let forgetting = instances::forget_idle(follower.registry(), idle);
    tokio::join!(poll, decreases, forgetting);
}

/// Reads the definition log every `interval`, forever.
async fn follow<L: Ledger>(follower: &Follower<L>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = follower.refresh_and_save().await {
            tracing::warn!(
                error = with_sources(&error),
                "cannot update the definitions; the last ones stay in effect until the next attempt"
            );
        }
    }
}

/// Serves HTTP until `stop` is ready and the open requests are answered, or [`DRAIN_TIMEOUT`] after `stop`.
async fn serve_http<L: Ledger>(
    listener: TcpListener,
    api: Arc<Api<L>>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let stop = async move {
        stop.await;
        tracing::info!("stop signal received; finishing the requests in flight");
        // This fails only if the server has failed, and then nobody waits for the time limit.
        stopping.send(()).ok();
    };
    let serving = axum::serve(listener, api::router(api)).with_graceful_shutdown(stop).into_future();
    let drain_timeout = async {
        match stopped.await {
            Ok(()) => tokio::time::sleep(DRAIN_TIMEOUT).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        served = serving => served.map_err(ServeError::Http),
        () = drain_timeout => {
            tracing::warn!(timeout = ?DRAIN_TIMEOUT, "closing connections that were still open after the time limit");
            Ok(())
        }
    }
}
