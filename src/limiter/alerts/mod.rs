//! Alerts: a loop looks at the limits with alerts that were used, and tells an observer of each threshold that their usage has
//! crossed. Of all replicas one tells of a crossing: [`crate::decide::alert`] decides which.
//!
//! | file | what it is |
//! | --- | --- |
//! | `watches.rs` | the limits to look at, and when |
//! | `round.rs` | one round of looks: reads the accounts, steps the alert accounts |

mod round;
mod watches;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;

use super::Limiter;
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::telemetry::{Occurrences, with_sources};
use watches::Watches;

static ROUND_FAILED: Occurrences = Occurrences::new();

/// The usage of a limit has crossed a threshold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alert {
    /// A name that no other crossing of any limit has.
    pub id: String,
    /// The limit's key.
    pub key: LimitKey,
    /// The threshold, in percent of the capacity.
    pub threshold_percent: u64,
    /// The capacity at that time, in units of the limit.
    pub capacity: u64,
    /// What was used, in units of the limit.
    pub used: u128,
    /// What was available, in units of the limit.
    pub available: u128,
    /// The unit that the definition names; may be empty.
    pub unit: String,
    /// Whether the limit denies: it is not in shadow mode.
    pub enforce: bool,
    /// Of fixed and calendar windows: when the window ends, in milliseconds since the Unix epoch.
    pub window_ends_at_unix_ms: Option<u64>,
    /// When the usage was read, in milliseconds since the Unix epoch.
    pub seen_at_unix_ms: u64,
}

/// Is told of crossed thresholds.
pub trait AlertObserver: Send + Sync {
    /// A threshold was crossed, and this process is the one that tells of it. Must not block.
    fn crossed(&self, alert: &Alert);
}

/// The limits that are looked at, and who is told.
#[derive(Default)]
pub(super) struct Alerts {
    observer: OnceLock<Arc<dyn AlertObserver>>,
    /// Locked for a whole round: one is made at a time.
    watches: Mutex<Watches>,
}

impl<L: Ledger> Limiter<L> {
    /// Tells `observer` of crossed thresholds from now on; only the first one is told. Call this before the definitions are
    /// read. A replica without an observer leaves the crossings to others.
    pub fn observe_alerts(&self, observer: Arc<dyn AlertObserver>) {
        self.alerts.observer.get_or_init(|| observer);
        // From now on uses are noted.
        let _noted_before = self.registry.snapshot().take_used_with_alerts();
    }

    /// Looks for crossed thresholds at this interval. Runs forever, and does nothing without an observer.
    pub async fn run_alerts(&self, interval: Duration) {
        if self.alerts.observer.get().is_none() {
            return std::future::pending().await;
        }
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.look_for_alerts().await
                && let Some(times) = ROUND_FAILED.count()
            {
                tracing::warn!(
                    times,
                    error = with_sources(&error),
                    "the usage of limits with alerts could not be read; trying again; the last of so many"
                );
            }
        }
    }
}
