//! What the service counts, and what `GET /metrics` shows.

use std::fmt;
use std::time::Instant;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::protocol::{CompleteOutcome, ReserveOutcome};
use crate::telemetry::{Histogram, Unit, names};

/// What the service counts, and what `GET /metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    /// Reserves by outcome; each item of a batch counts.
    pub reserves: ReserveCounts,
    /// Completes by outcome; each item of a batch counts.
    pub completes: CompleteCounts,
    requests_in_flight: Gauge,
    request_seconds: RouteTimes,
    registry: Registry,
}

/// One counter for each outcome of a reserve.
#[derive(Debug)]
#[expect(missing_docs, reason = "see the outcomes")]
pub struct ReserveCounts {
    pub granted: Counter,
    pub no_room: Counter,
    pub decreasing: Counter,
    pub exceeds_capacity: Counter,
    pub unknown_key: Counter,
    pub too_many_instances: Counter,
    pub conflict: Counter,
    pub settled: Counter,
    /// The outcome is unknown.
    pub unknown: Counter,
}

/// One counter for each outcome of a complete.
#[derive(Debug)]
#[expect(missing_docs, reason = "see the outcomes")]
pub struct CompleteCounts {
    pub settled: Counter,
    pub nothing_to_do: Counter,
    pub not_in_lease: Counter,
    /// The outcome is unknown.
    pub unknown: Counter,
}

/// A group of paths with a latency histogram of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Route {
    Reserve,
    ReserveBatch,
    Extend,
    Complete,
    CompleteBatch,
    Objects,
    Admin,
}

#[derive(Debug)]
struct RouteTimes {
    reserve: Histogram,
    reserve_batch: Histogram,
    extend: Histogram,
    complete: Histogram,
    complete_batch: Histogram,
    objects: Histogram,
    admin: Histogram,
}

/// A request in flight. Dropping it records its latency.
#[derive(Debug)]
pub struct InFlight<'a> {
    started: Instant,
    requests_in_flight: &'a Gauge,
    seconds: &'a Histogram,
}

/// One label and its value. All values are known, so each metric exists from the start.
type Label = [(&'static str, &'static str); 1];

impl Metrics {
    /// Adds the service's metrics to those that its ledger has registered.
    pub fn new(mut registry: Registry) -> Self {
        let requests_in_flight = Gauge::default();
        let help = "Requests that are being answered";
        registry.register(names::REQUESTS_IN_FLIGHT, help, requests_in_flight.clone());
        let reserves = ReserveCounts::register(&mut registry);
        let completes = CompleteCounts::register(&mut registry);
        let request_seconds = RouteTimes::register(&mut registry);
        Self { reserves, completes, requests_in_flight, request_seconds, registry }
    }

    /// Counts a request as in flight until the guard is dropped.
    pub fn request(&self, route: Route) -> InFlight<'_> {
        self.requests_in_flight.inc();
        InFlight {
            started: Instant::now(),
            requests_in_flight: &self.requests_in_flight,
            seconds: self.request_seconds.of(route),
        }
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.requests_in_flight.dec();
        self.seconds.observe_time(self.started.elapsed());
    }
}

/// Makes the counters of one metric, by outcome.
fn counters(registry: &mut Registry, name: &str, help: &str) -> impl Fn(&'static str) -> Counter {
    let family = Family::<Label, Counter>::default();
    registry.register(name, help, family.clone());
    move |outcome| family.get_or_create(&[("outcome", outcome)]).clone()
}

impl ReserveCounts {
    fn register(registry: &mut Registry) -> Self {
        let counter =
            counters(registry, names::RESERVES, "Reserves by what came of them, items of batches each");
        Self {
            granted: counter("granted"),
            no_room: counter("no_room"),
            decreasing: counter("decreasing"),
            exceeds_capacity: counter("exceeds_capacity"),
            unknown_key: counter("unknown_key"),
            too_many_instances: counter("too_many_instances"),
            conflict: counter("conflict"),
            settled: counter("settled"),
            unknown: counter("unknown"),
        }
    }

    /// Counts the outcome of a reserve.
    pub fn count(&self, outcome: &ReserveOutcome) {
        let counter = match outcome {
            ReserveOutcome::Granted { .. } => &self.granted,
            ReserveOutcome::NoRoom { .. } => &self.no_room,
            ReserveOutcome::Decreasing { .. } => &self.decreasing,
            ReserveOutcome::ExceedsCapacity { .. } => &self.exceeds_capacity,
            ReserveOutcome::UnknownKey { .. } => &self.unknown_key,
            ReserveOutcome::TooManyInstances { .. } => &self.too_many_instances,
            ReserveOutcome::LeaseConflict => &self.conflict,
            ReserveOutcome::LeaseSettled => &self.settled,
        };
        counter.inc();
    }
}

impl CompleteCounts {
    fn register(registry: &mut Registry) -> Self {
        let counter =
            counters(registry, names::COMPLETES, "Completes by what came of them, items of batches each");
        Self {
            settled: counter("settled"),
            nothing_to_do: counter("nothing_to_do"),
            not_in_lease: counter("not_in_lease"),
            unknown: counter("unknown"),
        }
    }

    /// Counts the outcome of a complete.
    pub fn count(&self, outcome: &CompleteOutcome) {
        let counter = match outcome {
            CompleteOutcome::Settled { .. } => &self.settled,
            CompleteOutcome::NothingToDo => &self.nothing_to_do,
            CompleteOutcome::NotInLease { .. } => &self.not_in_lease,
        };
        counter.inc();
    }
}

impl RouteTimes {
    fn register(registry: &mut Registry) -> Self {
        let family = Family::<Label, Histogram, _>::new_with_constructor(|| Histogram::new(Unit::Seconds));
        let help = "How long answers took, from the whole body on";
        registry.register(names::REQUEST_SECONDS, help, family.clone());
        let times = |route| family.get_or_create(&[("route", route)]).clone();
        Self {
            reserve: times("/v1/reserve"),
            reserve_batch: times("/v1/reserve/batch"),
            extend: times("/v1/extend"),
            complete: times("/v1/complete"),
            complete_batch: times("/v1/complete/batch"),
            objects: times("/v1/objects"),
            admin: times("/v1/admin/limits"),
        }
    }

    fn of(&self, route: Route) -> &Histogram {
        match route {
            Route::Reserve => &self.reserve,
            Route::ReserveBatch => &self.reserve_batch,
            Route::Extend => &self.extend,
            Route::Complete => &self.complete,
            Route::CompleteBatch => &self.complete_batch,
            Route::Objects => &self.objects,
            Route::Admin => &self.admin,
        }
    }
}
