//! The forecasts of limits that deny, and their readings. [`crate::decide::forecast`] decides what they say; this file keeps them, and
//! reads the ledger for them: in the background, rarely, and never twice at once for a limit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::{Limiter, LimiterError};
use crate::decide::forecast::{Forecast, Supply};
use crate::decide::{Limit, usage};
use crate::ledger::{Account, Ledger, PendingQuery};
use crate::limit::{Kind, LimitKey};
use crate::registry::Entry;
use crate::telemetry::with_sources;
use crate::time::{NS_PER_MS, saturating_nanos};

/// The most limits of which forecasts are kept.
const LIMITS_MAX: usize = 1_024;
/// The shortest time between the beginnings of two readings of a limit.
const READ_INTERVAL: Duration = Duration::from_millis(100);
/// A forecast that is older makes no hint.
const AGE_MAX: Duration = Duration::from_secs(1);
/// The most readings that are under way. A reply may be large, and other look-ups wait behind it.
const READINGS_MAX: usize = 4;
/// Reservations that expired so long ago are no longer pending.
const EXPIRY_LATE_MAX: Duration = Duration::from_secs(1);
/// How often a reading is made, if the limit changes between its two requests.
const TRIES_MAX: usize = 2;

/// The forecasts of limits that deny.
#[derive(Debug, Default)]
pub(super) struct Forecasts {
    limits: Mutex<HashMap<LimitKey, Known>>,
    readings: AtomicUsize,
}

#[derive(Debug)]
struct Known {
    /// The version of the limit; another one may have room at other times.
    version: u64,
    forecast: Option<Forecast>,
    is_being_read: bool,
    read_begun_ns: u64,
}

/// What a caller that was denied wants to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) units: u64,
    /// Whether the caller will come at the time that it is told, so that others must be told later times.
    pub(super) promises: bool,
    /// A longer wait is of no use.
    pub(super) wait_ms_max: u64,
}

impl Forecasts {
    fn lock(&self) -> MutexGuard<'_, HashMap<LimitKey, Known>> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The milliseconds until the units will be free, if known. The bool says that the caller of this function must read the limit.
    fn ask(&self, limit: &Limit, wish: Wish, now_ns: u64) -> (Option<u64>, bool) {
        let key = &limit.state.definition.key;
        let mut limits = self.lock();
        if limits.len() >= LIMITS_MAX && !limits.contains_key(key) {
            // Some of these limits have had room for long. To find them is not worth the effort.
            limits.retain(|_, known| known.is_being_read);
        }
        let new = Known { version: limit.version, forecast: None, is_being_read: false, read_begun_ns: 0 };
        let known = limits.entry(key.clone()).or_insert(new);
        if known.version != limit.version {
            (known.version, known.forecast, known.read_begun_ns) = (limit.version, None, 0);
        }
        let is_due = now_ns.saturating_sub(known.read_begun_ns) >= saturating_nanos(READ_INTERVAL);
        let reads = is_due && !known.is_being_read && self.begin_reading();
        if reads {
            (known.is_being_read, known.read_begun_ns) = (true, now_ns);
        }
        let is_fresh = |forecast: &&mut Forecast| {
            now_ns.saturating_sub(forecast.read_at_ns()) <= saturating_nanos(AGE_MAX)
        };
        let wait_ms = known.forecast.as_mut().filter(is_fresh).and_then(|forecast| {
            let wait_ns = forecast.earliest_ns(now_ns, wish.units)?.saturating_sub(now_ns);
            let wait_ms = wait_ns.div_ceil(NS_PER_MS);
            // The ledger has just refused, so a time that has come is wrong.
            if !(1..=wish.wait_ms_max).contains(&wait_ms) {
                return None;
            }
            if wish.promises {
                forecast.promise(now_ns.saturating_add(wait_ms.saturating_mul(NS_PER_MS)), wish.units);
            }
            Some(wait_ms)
        });
        (wait_ms, reads)
    }

    fn begin_reading(&self) -> bool {
        let more = |readings| (readings < READINGS_MAX).then_some(readings + 1);
        self.readings.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    fn has_read(&self, limit: &Limit, read_at_ns: u64, supply: Supply) {
        let mut limits = self.lock();
        let known = limits.get_mut(&limit.state.definition.key);
        let Some(known) = known.filter(|known| known.version == limit.version) else { return };
        match &mut known.forecast {
            Some(forecast) => forecast.read_again(read_at_ns, supply),
            forecast => *forecast = Some(Forecast::new(read_at_ns, supply)),
        }
    }
}

/// A reading that is under way. Dropped, it makes place for another one.
struct Reading {
    forecasts: Arc<Forecasts>,
    key: LimitKey,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.forecasts.readings.fetch_sub(1, Ordering::SeqCst);
        if let Some(known) = self.forecasts.lock().get_mut(&self.key) {
            known.is_being_read = false;
        }
    }
}

impl<L: Ledger> Limiter<L> {
    /// The milliseconds until the limit will have room for a caller that was denied now, if known. It may start a reading, of which
    /// later callers learn.
    pub(super) fn known_wait_ms(&self, entry: &Arc<Entry>, wish: Wish) -> Option<u64> {
        // Its replicas hold room that they do not use.
        if entry.limit.state.definition.allotment.is_some() {
            return None;
        }
        let (wait_ms, reads) = self.forecasts.ask(&entry.limit, wish, self.ledger.now_ns());
        if reads {
            let reading = Reading {
                forecasts: Arc::clone(&self.forecasts),
                key: entry.limit.state.definition.key.clone(),
            };
            if let Ok(runtime) = Handle::try_current() {
                let (limiter, entry) = (self.clone(), Arc::clone(entry));
                runtime.spawn(async move { limiter.read_forecast(&entry.limit, reading).await });
            }
        }
        wait_ms
    }

    /// Reads a limit. If that does not succeed, the forecast of an earlier reading is used until it is too old.
    async fn read_forecast(&self, limit: &Limit, _reading: Reading) {
        for _ in 0..TRIES_MAX {
            let now_ns = self.ledger.now_ns();
            match self.read_supply(limit, now_ns).await {
                Ok(Some(supply)) => return self.forecasts.has_read(limit, now_ns, supply),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(error = with_sources(&error), "a limit was not read for its hints");
                    return;
                }
            }
        }
    }

    async fn read_supply(&self, limit: &Limit, now_ns: u64) -> Result<Option<Supply>, LimiterError> {
        let seconds = match limit.state.definition.kind {
            Kind::Rolling(rolling) => rolling.window_seconds(),
            Kind::Concurrency(concurrency) => concurrency.timeout_seconds(),
            Kind::TokenBucket(_) | Kind::FixedWindow(_) | Kind::SlidingWindow(_) | Kind::Calendar(_) => {
                let read = self.ledger.accounts(usage::accounts(limit).collect()).await?;
                let read: Option<Vec<Account>> = read.into_iter().collect();
                return Ok(read.and_then(|read| Supply::of_schedule(limit, &read, now_ns)));
            }
        };
        let longest = Duration::from_secs(seconds.into()) + EXPIRY_LATE_MAX;
        let after_ns = now_ns.saturating_sub(saturating_nanos(longest));
        let debits = self.ledger.pending_debits(PendingQuery { account: limit.account, after_ns }).await?;
        let Some(debits) = debits else { return Ok(None) };
        let account = self.ledger.accounts(vec![limit.account]).await?.into_iter().next().flatten();
        let lag_ns = saturating_nanos(self.ledger.expiry_lag());
        Ok(account.and_then(|account| Supply::of_reservations(limit, &account, debits, lag_ns, now_ns)))
    }
}
