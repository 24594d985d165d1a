//! The descriptors of gateways, by what became of them.

use prometheus_client::metrics::family::Family;

use crate::telemetry::{Counter, MetricsRegistry, names};

/// What became of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It may pass.
    Ok,
    /// Its limit has no room.
    OverLimit,
    /// Its limit has no room, and does not enforce.
    WouldDeny,
    /// No rule matches.
    NoRule,
    /// A rule names a limit that is not defined.
    NoLimit,
    /// A value is empty, or too long for a key.
    NoKey,
}

/// One counter for each [`Outcome`].
#[derive(Debug)]
pub(super) struct Counts {
    ok: Counter,
    over_limit: Counter,
    would_deny: Counter,
    no_rule: Counter,
    no_limit: Counter,
    no_key: Counter,
}

impl Counts {
    pub(super) fn register(registry: &mut MetricsRegistry) -> Self {
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        registry.register(names::GATEWAY_DESCRIPTORS, "Descriptors of gateways by outcome", family.clone());
        let counter = |outcome| family.get_or_create(&[("outcome", outcome)]).clone();
        Self {
            ok: counter("ok"),
            over_limit: counter("over_limit"),
            would_deny: counter("would_deny"),
            no_rule: counter("no_rule"),
            no_limit: counter("no_limit"),
            no_key: counter("no_key"),
        }
    }

    pub(super) fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Ok => &self.ok,
            Outcome::OverLimit => &self.over_limit,
            Outcome::WouldDeny => &self.would_deny,
            Outcome::NoRule => &self.no_rule,
            Outcome::NoLimit => &self.no_limit,
            Outcome::NoKey => &self.no_key,
        };
        counter.inc();
    }
}
