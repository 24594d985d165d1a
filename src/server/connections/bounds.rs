//! The bounds on what strangers can hold: their settings, what is held now, and how often each bound was struck.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::metrics::family::Family;

use crate::server::config::ConnectionsSettings;
use crate::telemetry::{Counter, Gauge, MetricsRegistry, Occurrences, names};
use crate::time::saturating_ms;

/// The shortest and the longest pause between two checks of all connections.
const CHECK_INTERVAL_MIN: Duration = Duration::from_millis(25);
const CHECK_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// While unread answers hold more than their bound, an answer that nobody reads for this long ends its connection.
const UNREAD_UNDER_PRESSURE: Duration = Duration::from_secs(1);

/// A bound, by what strikes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// A connection is refused, because all others are at work.
    Connections,
    /// A connection is refused, because its peer has too many.
    PeerConnections,
    /// A connection that did nothing gives way to a new one.
    Displaced,
    /// A connection cannot be accepted for want of file descriptors.
    Descriptors,
    /// A TLS handshake takes too long.
    HandshakeTime,
    /// The head of a request takes too long.
    HeadTime,
    /// The body of a request takes too long.
    BodyTime,
    /// A connection is idle.
    IdleTime,
    /// An answer is not read.
    WriteTime,
    /// A request has too many headers.
    Headers,
    /// A body is too long.
    BodyLength,
    /// The bodies under way hold too many bytes.
    BodyBytes,
    /// The unread answers hold too many bytes.
    AnswerBytes,
    /// An HTTP/2 client cancels too many requests.
    Http2Resets,
}

impl Bound {
    const ALL: [Self; 14] = [
        Self::Connections,
        Self::PeerConnections,
        Self::Displaced,
        Self::Descriptors,
        Self::HandshakeTime,
        Self::HeadTime,
        Self::BodyTime,
        Self::IdleTime,
        Self::WriteTime,
        Self::Headers,
        Self::BodyLength,
        Self::BodyBytes,
        Self::AnswerBytes,
        Self::Http2Resets,
    ];

    /// The value of the metric's label.
    fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::PeerConnections => "peer_connections",
            Self::Displaced => "displaced",
            Self::Descriptors => "descriptors",
            Self::HandshakeTime => "handshake_time",
            Self::HeadTime => "head_time",
            Self::BodyTime => "body_time",
            Self::IdleTime => "idle_time",
            Self::WriteTime => "write_time",
            Self::Headers => "headers",
            Self::BodyLength => "body_length",
            Self::BodyBytes => "body_bytes",
            Self::AnswerBytes => "answer_bytes",
            Self::Http2Resets => "http2_resets",
        }
    }

    /// What the log says happened, and to what. `None` for what honest clients do all day.
    fn log_line(self) -> Option<&'static str> {
        match self {
            Self::Connections => Some("connections refused: all others are at work (connections.max)"),
            Self::PeerConnections => {
                Some("connections refused: their peer has too many (connections.max_per_peer)")
            }
            Self::Displaced => Some("idle connections closed to make room for new ones (connections.max)"),
            Self::Descriptors => {
                Some("connections could not be accepted: raise the limit on open files (ulimit -n)")
            }
            Self::HandshakeTime => {
                Some("connections closed during the TLS handshake (connections.handshake_timeout_ms)")
            }
            Self::HeadTime => {
                Some("connections closed: the head of a request took too long (connections.head_timeout_ms)")
            }
            Self::BodyTime => {
                Some("requests refused: their body took too long (connections.body_timeout_ms)")
            }
            Self::IdleTime => None,
            Self::WriteTime => {
                Some("connections closed: their client did not read (connections.write_timeout_ms)")
            }
            Self::Headers => Some("requests refused: too many headers (connections.headers_max)"),
            Self::BodyLength => Some("requests refused: their body is too long"),
            Self::BodyBytes => {
                Some("requests refused: too many bytes of bodies under way (connections.body_bytes_max)")
            }
            Self::AnswerBytes => {
                Some("answers withheld: too many bytes of answers unread (connections.answer_bytes_max)")
            }
            Self::Http2Resets => Some(
                "connections closed: their client cancels its requests (connections.http2_resets_max, gateway.http2_resets_max)",
            ),
        }
    }
}

/// The bounds of all listeners of this process.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(super) settings: ConnectionsSettings,
    pub(super) check_interval: Duration,
    pub(super) open: Gauge,
    pub(super) body_bytes: ByteBudget,
    pub(super) answer_bytes: ByteBudget,
    struck: [Struck; Bound::ALL.len()],
    started: Instant,
    /// Milliseconds since `started`, as of the last check. So a request reads no clock to say when it was.
    now_ms: AtomicU64,
}

/// How often a bound was struck, for the metric and for the log.
#[derive(Debug)]
struct Struck {
    bound: Bound,
    count: Counter,
    occurrences: Occurrences,
}

/// Bytes that all connections may hold together.
#[derive(Debug)]
pub(super) struct ByteBudget {
    held: AtomicUsize,
    max: usize,
}

impl Bounds {
    /// Bounds as `settings` say. Their metrics are added to `registry`.
    pub(crate) fn new(settings: ConnectionsSettings, registry: &mut MetricsRegistry) -> Self {
        let open = Gauge::default();
        registry.register(names::CONNECTIONS, "Open connections of clients", open.clone());
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        registry.register(names::BOUNDS_STRUCK, "How often a bound on clients was struck", family.clone());
        let struck = Bound::ALL.map(|bound| Struck {
            bound,
            count: family.get_or_create(&[("bound", bound.label())]).clone(),
            occurrences: Occurrences::new(),
        });
        let check_interval = settings.shortest_timeout() / 4;
        Self {
            check_interval: check_interval.clamp(CHECK_INTERVAL_MIN, CHECK_INTERVAL_MAX),
            open,
            body_bytes: ByteBudget::new(settings.body_bytes_max),
            answer_bytes: ByteBudget::new(settings.answer_bytes_max),
            struck,
            started: Instant::now(),
            // Zero stands for "never" in what a connection notes.
            now_ms: AtomicU64::new(1),
            settings,
        }
    }

    /// Counts that `bound` was struck, and says so in the log from time to time.
    pub(crate) fn strike(&self, bound: Bound) {
        let Some(struck) = self.struck.iter().find(|struck| struck.bound == bound) else { return };
        struck.count.inc();
        let Some(line) = bound.log_line() else { return };
        if let Some(times) = struck.occurrences.count() {
            tracing::warn!(times, bound = bound.label(), "{line}");
        }
    }

    /// The time of the last check, in milliseconds; never zero.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// How long an answer may stay unread.
    pub(super) fn write_timeout(&self) -> Duration {
        let timeout = self.settings.write_timeout();
        if self.answer_bytes.is_exhausted() { timeout.min(UNREAD_UNDER_PRESSURE) } else { timeout }
    }

    /// Sets the clock.
    pub(super) fn set_clock(&self) {
        let passed_ms = saturating_ms(self.started.elapsed());
        self.now_ms.store(passed_ms.saturating_add(1), Ordering::Relaxed);
    }
}

impl ByteBudget {
    fn new(max: usize) -> Self {
        Self { held: AtomicUsize::new(0), max }
    }

    /// Holds `bytes` more, if that many are left.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed);
        if held.saturating_add(bytes) <= self.max {
            return true;
        }
        self.hand_back(bytes);
        false
    }

    /// Holds `bytes` more, also beyond the bound.
    pub(super) fn take_anyway(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn hand_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether nearly everything is held, so that the next large taker is refused.
    fn is_exhausted(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.max / 4 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_refuses_what_does_not_fit_and_keeps_nothing_of_it() {
        let budget = ByteBudget::new(10);
        assert!(budget.take(6));
        assert!(!budget.take(5));
        assert!(budget.take(4));
        budget.hand_back(10);
        assert!(budget.take(10));
    }

    #[test]
    fn every_bound_has_a_counter_of_its_own() {
        let bounds = Bounds::new(ConnectionsSettings::default(), &mut MetricsRegistry::default());
        for bound in Bound::ALL {
            bounds.strike(bound);
        }
        for (index, struck) in bounds.struck.iter().enumerate() {
            assert_eq!((struck.bound, struck.count.get()), (Bound::ALL[index], 1));
        }
    }
}
