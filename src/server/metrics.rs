//! The metrics of the API, and the text of `GET /metrics`.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::info::Info;

use super::allotment_metrics::AllotmentCollector;
use super::emergency_metrics::EmergencyCollector;
use super::limit_metrics;
use super::recent_denials::RecentDenials;
use super::registry_metrics::SaveCollector;
use super::waiting_metrics::WaitingCollector;
use crate::limiter::{AllotmentCounts, EmergencyCounts, WaitingCounts};
use crate::protocol::{CompleteOutcome, ReserveOutcome};
use crate::registry::{LimitUsage, SaveCounts};
use crate::telemetry::{Counter, Gauge, Histogram, MetricsRegistry, Unit, names};

/// The counters of the API, beside those that the ledger registered.
#[derive(Debug)]
pub struct Metrics {
    pub(crate) reserves: ReserveCounts,
    pub(crate) completes: CompleteCounts,
    /// 1 while requests are refused because the ledger does not answer.
    pub(crate) circuit_open: Gauge,
    /// Requests that were refused so.
    pub(crate) refused_early: Counter,
    requests_in_flight: Gauge,
    request_seconds: RouteSeconds,
    registry: MetricsRegistry,
}

/// One counter per outcome of a reserve; each item of a batch counts.
#[derive(Debug)]
pub(crate) struct ReserveCounts {
    granted: Counter,
    would_deny: Counter,
    no_room: Counter,
    decreasing: Counter,
    exceeds_capacity: Counter,
    unknown_key: Counter,
    too_many_instances: Counter,
    conflict: Counter,
    settled: Counter,
    expired: Counter,
    /// It only looked, whatever it found.
    looked: Counter,
    /// The ledger gave no answer, or gave it too late.
    pub(crate) unknown: Counter,
    /// The limits that denied.
    pub(crate) recent_denials: RecentDenials,
}

/// One counter per outcome of a complete; each item of a batch counts.
#[derive(Debug)]
pub(crate) struct CompleteCounts {
    settled: Counter,
    nothing_to_do: Counter,
    not_in_lease: Counter,
    /// The ledger gave no answer, or gave it too late.
    pub(crate) unknown: Counter,
}

/// A group of paths that share one histogram of answer times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Reserve,
    ReserveBatch,
    Extend,
    Renew,
    Complete,
    CompleteBatch,
    Check,
    Objects,
    Admin,
    #[cfg(feature = "grpc")]
    ShouldRateLimit,
    #[cfg(feature = "grpc")]
    KuadrantReserve,
    #[cfg(feature = "grpc")]
    KuadrantCommit,
    #[cfg(feature = "grpc")]
    KuadrantCheck,
    #[cfg(feature = "grpc")]
    KuadrantReport,
}

/// One histogram per [`Route`].
#[derive(Debug)]
struct RouteSeconds {
    reserve: Histogram,
    reserve_batch: Histogram,
    extend: Histogram,
    renew: Histogram,
    complete: Histogram,
    complete_batch: Histogram,
    check: Histogram,
    objects: Histogram,
    admin: Histogram,
    #[cfg(feature = "grpc")]
    should_rate_limit: Histogram,
    #[cfg(feature = "grpc")]
    kuadrant_reserve: Histogram,
    #[cfg(feature = "grpc")]
    kuadrant_commit: Histogram,
    #[cfg(feature = "grpc")]
    kuadrant_check: Histogram,
    #[cfg(feature = "grpc")]
    kuadrant_report: Histogram,
}

/// Counts one request as in flight; its drop records the time of the answer.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    started: Instant,
    requests_in_flight: &'a Gauge,
    seconds: &'a Histogram,
}

/// One label and its value. The values are few and known, so every metric exists before the first request.
type Label = [(&'static str, &'static str); 1];

impl Metrics {
    /// Adds the metrics of the API to `registry`, which may hold those of the ledger already.
    pub fn new(mut registry: MetricsRegistry) -> Self {
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register(names::BUILD, "The version of the program", version);
        let requests_in_flight = Gauge::default();
        let help = "Requests that are being answered";
        registry.register(names::REQUESTS_IN_FLIGHT, help, requests_in_flight.clone());
        let circuit_open = Gauge::default();
        let help = "1 while requests are refused at once, because the ledger does not answer";
        registry.register(names::CIRCUIT_OPEN, help, circuit_open.clone());
        let refused_early = Counter::default();
        let help = "Requests refused at once, because the ledger does not answer";
        registry.register(names::REFUSED_EARLY, help, refused_early.clone());
        let reserves = ReserveCounts::register(&mut registry);
        let completes = CompleteCounts::register(&mut registry);
        let request_seconds = RouteSeconds::register(&mut registry);
        Self {
            reserves,
            completes,
            circuit_open,
            refused_early,
            requests_in_flight,
            request_seconds,
            registry,
        }
    }

    /// Shows how many leases a limiter granted without the ledger.
    pub(crate) fn show_emergency_grants(&mut self, counts: Arc<EmergencyCounts>) {
        self.registry.register_collector(Box::new(EmergencyCollector(counts)));
    }

    /// Shows what became of those who waited.
    pub(crate) fn show_waiting(&mut self, counts: Arc<WaitingCounts>) {
        self.registry.register_collector(Box::new(WaitingCollector(counts)));
    }

    /// Shows what a limiter did with allotments.
    pub(crate) fn show_allotments(&mut self, counts: Arc<AllotmentCounts>) {
        self.registry.register_collector(Box::new(AllotmentCollector(counts)));
    }

    /// Shows how often the registry file was written.
    pub(crate) fn show_registry_writes(&mut self, counts: Arc<SaveCounts>) {
        self.registry.register_collector(Box::new(SaveCollector(counts)));
    }

    /// Counts a request until the guard is dropped.
    pub(crate) fn request(&self, route: Route) -> InFlight<'_> {
        self.requests_in_flight.inc();
        InFlight {
            started: Instant::now(),
            requests_in_flight: &self.requests_in_flight,
            seconds: self.request_seconds.of(route),
        }
    }

    /// Whether a request is being answered, or still carried out although its connection has ended.
    pub(crate) fn has_requests_in_flight(&self) -> bool {
        self.requests_in_flight.get() > 0
    }

    /// Every metric of the registry, and the gauges of these limits, in the OpenMetrics text format.
    ///
    /// # Errors
    ///
    /// A metric fails to encode itself; the metrics of this crate do not.
    pub fn text(&self, limits: &[LimitUsage]) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &limit_metrics::registry_of(limits))?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.requests_in_flight.dec();
        self.seconds.observe_time(self.started.elapsed());
    }
}

/// Registers a counter family with the label `outcome`. The returned function makes the counter of one outcome.
fn counters(registry: &mut MetricsRegistry, name: &str, help: &str) -> impl Fn(&'static str) -> Counter {
    let family = Family::<Label, Counter>::default();
    registry.register(name, help, family.clone());
    move |outcome| family.get_or_create(&[("outcome", outcome)]).clone()
}

impl ReserveCounts {
    fn register(registry: &mut MetricsRegistry) -> Self {
        let would_deny = Counter::default();
        let help = "Grants for which a limit in shadow mode, or of a forced reserve, had too little room";
        registry.register(names::RESERVES_WOULD_DENY, help, would_deny.clone());
        let counter = counters(registry, names::RESERVES, "Reserves by outcome; each item of a batch counts");
        Self {
            granted: counter("granted"),
            would_deny,
            no_room: counter("no_room"),
            decreasing: counter("decreasing"),
            exceeds_capacity: counter("exceeds_capacity"),
            unknown_key: counter("unknown_key"),
            too_many_instances: counter("too_many_instances"),
            conflict: counter("conflict"),
            settled: counter("settled"),
            expired: counter("expired"),
            looked: counter("looked"),
            unknown: counter("unknown"),
            recent_denials: RecentDenials::default(),
        }
    }

    /// Counts a look, which reserves nothing.
    pub(crate) fn count_look(&self) {
        self.looked.inc();
    }

    /// Counts the outcome of one reserve.
    pub(crate) fn count(&self, outcome: &ReserveOutcome) {
        let counter = match outcome {
            ReserveOutcome::Granted { would_deny, .. } => {
                if !would_deny.is_empty() {
                    self.would_deny.inc();
                }
                &self.granted
            }
            ReserveOutcome::NoRoom { .. } => &self.no_room,
            ReserveOutcome::Decreasing { .. } => &self.decreasing,
            ReserveOutcome::ExceedsCapacity { .. } => &self.exceeds_capacity,
            ReserveOutcome::UnknownKey { .. } => &self.unknown_key,
            ReserveOutcome::TooManyInstances { .. } => &self.too_many_instances,
            ReserveOutcome::LeaseConflict => &self.conflict,
            ReserveOutcome::LeaseSettled => &self.settled,
            ReserveOutcome::LeaseExpired => &self.expired,
        };
        counter.inc();
    }
}

impl CompleteCounts {
    fn register(registry: &mut MetricsRegistry) -> Self {
        let counter =
            counters(registry, names::COMPLETES, "Completes by outcome; each item of a batch counts");
        Self {
            settled: counter("settled"),
            nothing_to_do: counter("nothing_to_do"),
            not_in_lease: counter("not_in_lease"),
            unknown: counter("unknown"),
        }
    }

    /// Counts the outcome of one complete.
    pub(crate) fn count(&self, outcome: &CompleteOutcome) {
        let counter = match outcome {
            CompleteOutcome::Settled { .. } => &self.settled,
            CompleteOutcome::NothingToDo => &self.nothing_to_do,
            CompleteOutcome::NotInLease { .. } => &self.not_in_lease,
        };
        counter.inc();
    }
}

impl RouteSeconds {
    fn register(registry: &mut MetricsRegistry) -> Self {
        let family = Family::<Label, Histogram, _>::new_with_constructor(|| Histogram::new(Unit::Seconds));
        let help = "Time from the whole body of a request to its answer";
        registry.register(names::REQUEST_SECONDS, help, family.clone());
        let seconds = |route| family.get_or_create(&[("route", route)]).clone();
        Self {
            reserve: seconds("/v1/reserve"),
            reserve_batch: seconds("/v1/reserve/batch"),
            extend: seconds("/v1/extend"),
            renew: seconds("/v1/renew"),
            complete: seconds("/v1/complete"),
            complete_batch: seconds("/v1/complete/batch"),
            check: seconds("/v1/check"),
            objects: seconds("/v1/objects"),
            admin: seconds("/v1/admin/limits"),
            #[cfg(feature = "grpc")]
            should_rate_limit: seconds("/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"),
            #[cfg(feature = "grpc")]
            kuadrant_reserve: seconds("/kuadrant.service.ratelimit.v1.RateLimitService/Reserve"),
            #[cfg(feature = "grpc")]
            kuadrant_commit: seconds("/kuadrant.service.ratelimit.v1.RateLimitService/Commit"),
            #[cfg(feature = "grpc")]
            kuadrant_check: seconds("/kuadrant.service.ratelimit.v1.RateLimitService/CheckRateLimit"),
            #[cfg(feature = "grpc")]
            kuadrant_report: seconds("/kuadrant.service.ratelimit.v1.RateLimitService/Report"),
        }
    }

    fn of(&self, route: Route) -> &Histogram {
        match route {
            Route::Reserve => &self.reserve,
            Route::ReserveBatch => &self.reserve_batch,
            Route::Extend => &self.extend,
            Route::Renew => &self.renew,
            Route::Complete => &self.complete,
            Route::CompleteBatch => &self.complete_batch,
            Route::Check => &self.check,
            Route::Objects => &self.objects,
            Route::Admin => &self.admin,
            #[cfg(feature = "grpc")]
            Route::ShouldRateLimit => &self.should_rate_limit,
            #[cfg(feature = "grpc")]
            Route::KuadrantReserve => &self.kuadrant_reserve,
            #[cfg(feature = "grpc")]
            Route::KuadrantCommit => &self.kuadrant_commit,
            #[cfg(feature = "grpc")]
            Route::KuadrantCheck => &self.kuadrant_check,
            #[cfg(feature = "grpc")]
            Route::KuadrantReport => &self.kuadrant_report,
        }
    }
}
