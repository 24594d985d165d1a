//! Puts the parts together, starts them in order and stops them in order.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::admin::Admin;
use crate::api::{self, Api, Readiness};
use crate::clock::SystemClock;
use crate::config::{Backend, Settings};
use crate::decide::ids::Ids;
use crate::instances;
use crate::ledger::Ledger;
use crate::ledger::memory::MemoryLedger;
use crate::limit::LimitState;
use crate::limiter::{LeaseCache, Limiter, LocalDenials};
use crate::registry::file::{FileError, RegistryFile};
use crate::registry::{Follower, Registry};
use crate::telemetry::{Metrics, MetricsRegistry, with_sources};

/// How long requests that are in flight may take when the process is asked to stop; it must be gone within 10 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// Why the service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The registry file is damaged or cannot be read.
    #[error("the registry file cannot be used")]
    Registry(#[from] FileError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address} (server.listen_addr)")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server failed.
    #[error("the server failed")]
    Serve(#[source] std::io::Error),
    /// What follows the log and applies decreases has ended, which it never should.
    #[error("the background tasks ended")]
    BackgroundEnded,
    /// The backend was left out of this build.
    #[error("server.backend is tigerbeetle, and this program was built without it")]
    NoTigerBeetle,
}

/// Serves until `stop` is ready, then finishes what is in flight.
pub async fn serve(
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), AppError> {
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
        Backend::TigerBeetle => Err(AppError::NoTigerBeetle),
    }
}

async fn serve_over<L: Ledger>(
    ledger: L,
    ids: Ids,
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

    let ledger = Arc::new(ledger);
    let follower =
        Arc::new(Follower::new(Arc::clone(&ledger), ids, Arc::new(Registry::default()), Some(file)));
    let admin = Arc::new(Admin::new(Arc::clone(&ledger), ids, Arc::clone(&follower)));
    // The memory ledger finds a lease and denies as fast as anything in front of it would.
    let (leases_max, local_denial_ms) = match backend {
        Backend::Memory => (0, 0),
        Backend::TigerBeetle => (settings.limiter.lease_cache_capacity, settings.limiter.local_denial_ms),
    };
    let policy = settings.retry_policy.policy();
    let leases = LeaseCache::new(leases_max);
    let local_denials = LocalDenials::new(Duration::from_millis(local_denial_ms));
    let limiter = Limiter::new(Arc::clone(&ledger), ids, Arc::clone(&follower), policy, leases)
        .with_local_denials(local_denials);
    let api = Arc::new(Api {
        limiter,
        admin: Arc::clone(&admin),
        readiness: Readiness::new(Arc::clone(&ledger), ids.operator()),
        request_timeout: settings.server.request_timeout(),
        batch_requests_max: settings.server.max_batch_requests,
        metrics,
    });

    let mut background = JoinSet::new();
    background.spawn(keep_up(Arc::clone(&api), Arc::clone(&follower), seed, settings.clone()));
    tracing::info!(%address, ?backend, "ratelimiterd listens");
    let served = tokio::select! {
        served = serve_http(listener, api, stop) => served,
        // They run for ever: an end is a fault, and a service without them would only seem to work.
        _ = background.join_next() => Err(AppError::BackgroundEnded),
    };
    // Nobody can ask for anything now: what is left in the ledger's queue is drained, then the rest stops.
    background.shutdown().await;
    if tokio::time::timeout(Duration::from_secs(1), ledger.shutdown()).await.is_err() {
        tracing::warn!("the ledger did not answer everything before the process stopped");
    }
    tracing::info!("ratelimiterd stopped");
    served
}

/// Makes the ledger ready as soon as it answers, then follows the log of definitions and applies decreases.
async fn keep_up<L: Ledger>(
    api: Arc<Api<L>>,
    follower: Arc<Follower<L>>,
    seed: Vec<LimitState>,
    settings: Settings,
) {
    while let Err(error) = api.admin.bootstrap(&seed).await {
        tracing::warn!(error = with_sources(&error), "the ledger is not ready; trying again");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    api.readiness.set_bootstrapped();
    tracing::info!("the definitions are read");
    let poll = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(settings.registry.poll_interval_ms));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = follower.refresh_and_save().await {
                tracing::warn!(error = with_sources(&error), "the log of definitions could not be read");
            }
        }
    };
    let decreases = api.admin.run_decreases(Duration::from_millis(settings.registry.decrease_interval_ms));
    let idle = Duration::from_secs(settings.registry.instance_idle_seconds);
    let forgetting = instances::forget_idle(follower.registry(), idle);
    tokio::join!(poll, decreases, forgetting);
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
        // The other end is gone only if the server failed already.
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
            tracing::warn!("connections were still open when the process stopped");
            Ok(())
        }
    }
}
