//! A limiter that limits nothing.

use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::error::PermitError;
use super::interface::{PermitFuture, Permits};
use super::lease::PermitLease;
use super::statistics::PermitStatistics;

/// A limiter that grants every call at once, for a partition or a link that needs no limit.
///
/// Its statistics say that [`u128::MAX`] permits are free. It is idle since its last grant.
#[derive(Debug)]
pub struct NoLimiter {
    granted: AtomicU64,
    granted_at: Mutex<Instant>,
    is_closed: AtomicBool,
}

impl NoLimiter {
    /// A limiter that grants everything.
    pub fn new() -> Self {
        let (granted, is_closed) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { granted, granted_at: Mutex::new(Instant::now()), is_closed }
    }

    fn check_open(&self) -> Result<(), PermitError> {
        if self.is_closed.load(Ordering::Acquire) { Err(PermitError::ShutDown) } else { Ok(()) }
    }

    fn grant(&self, permits: u64) -> Result<PermitLease, PermitError> {
        self.check_open()?;
        self.granted.fetch_add(1, Ordering::Relaxed);
        *self.granted_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(PermitLease::acquired(permits))
    }

    fn read_statistics(&self) -> Result<PermitStatistics, PermitError> {
        self.check_open()?;
        let granted = self.granted.load(Ordering::Relaxed);
        Ok(PermitStatistics { available: u128::MAX, queued_permits: 0, granted, failed: 0 })
    }

    fn idle_since(&self) -> Result<Instant, PermitError> {
        self.check_open()?;
        Ok(*self.granted_at.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for NoLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl Permits for NoLimiter {
    fn attempt_acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease> {
        Box::pin(ready(self.grant(permits)))
    }

    fn acquire(&self, permits: u64) -> PermitFuture<'_, PermitLease> {
        self.attempt_acquire(permits)
    }

    fn statistics(&self) -> PermitFuture<'_, PermitStatistics> {
        Box::pin(ready(self.read_statistics()))
    }

    fn idle_duration(&self) -> PermitFuture<'_, Option<Duration>> {
        let idle = self.idle_since().map(|since| Some(Instant::now().saturating_duration_since(since)));
        Box::pin(ready(idle))
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.close();
        Box::pin(ready(()))
    }
}
