//! What a connection does: whether it works for its client, or waits for it, and since when.
//!
//! A connection notes it in atomics; a check of all connections reads them a few times in the shortest time-out. So no
//! connection and no request arms a timer, and a request reads no clock. The stamps are as old as the last check, so a
//! time-out strikes between its time and one and a half times as long.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;

use super::bounds::{Bound, Bounds};

/// A younger connection than this never gives way to another one: its request may be on its way.
const DISPLACED_AGE_MIN: Duration = Duration::from_secs(1);
/// How long cancelled requests of HTTP/2 are added up.
const RESETS_INTERVAL_MS: u64 = 1_000;
const NEVER: u64 = 0;

/// The notes about one connection. All times are those of [`Bounds::now_ms`].
#[derive(Debug)]
pub(super) struct Activity {
    bounds: Arc<Bounds>,
    /// The most requests that the client may cancel within a second.
    resets_max: u32,
    peer: IpAddr,
    accepted_at: u64,
    /// When the last request began or was answered; at first, when the connection was accepted.
    quiet_since: AtomicU64,
    /// When the first byte of the next request was read.
    head_since: AtomicU64,
    /// When each answer was made that the client has not read. HTTP/1 has one at a time.
    unread_since: Mutex<SmallVec<[u64; 1]>>,
    /// Requests that are not answered.
    open_requests: AtomicU32,
    /// Those of them whose body has not arrived.
    awaited_bodies: AtomicU32,
    is_shaking_hands: AtomicBool,
    has_begun_request: AtomicBool,
    is_http2: AtomicBool,
    is_closing: AtomicBool,
    resets: AtomicU32,
    resets_since: AtomicU64,
}

/// Which connection gives way to a new one: the lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    class: RankClass,
    quiet_since: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RankClass {
    /// It has not sent one request.
    NeverUsed,
    /// It has no request.
    Idle,
    /// It waits for a body, or for its client to read.
    WaitsForClient,
}

impl Activity {
    /// The address of the client.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    pub(super) fn new(bounds: Arc<Bounds>, resets_max: u32, peer: IpAddr) -> Self {
        let now = bounds.now_ms();
        Self {
            bounds,
            resets_max,
            peer,
            accepted_at: now,
            quiet_since: AtomicU64::new(now),
            head_since: AtomicU64::new(NEVER),
            unread_since: Mutex::default(),
            open_requests: AtomicU32::new(0),
            awaited_bodies: AtomicU32::new(0),
            is_shaking_hands: AtomicBool::new(false),
            has_begun_request: AtomicBool::new(false),
            is_http2: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            resets: AtomicU32::new(0),
            resets_since: AtomicU64::new(now),
        }
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub(super) fn set_shaking_hands(&self, is_shaking_hands: bool) {
        self.is_shaking_hands.store(is_shaking_hands, Ordering::Relaxed);
    }

    pub(super) fn set_http2(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    /// Notes that the connection is about to end, whatever it does.
    pub(super) fn set_closing(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Notes that bytes were read.
    pub(super) fn read(&self) {
        if self.open_requests.load(Ordering::Relaxed) == 0 && self.head_since.load(Ordering::Relaxed) == NEVER
        {
            self.head_since.store(self.bounds.now_ms(), Ordering::Relaxed);
        }
    }

    /// Notes that a request begins; the guard notes its answer.
    pub(super) fn begin(self: &Arc<Self>) -> OpenRequest {
        self.open_requests.fetch_add(1, Ordering::Relaxed);
        self.has_begun_request.store(true, Ordering::Relaxed);
        self.head_since.store(NEVER, Ordering::Relaxed);
        self.quiet_since.store(self.bounds.now_ms(), Ordering::Relaxed);
        OpenRequest { activity: Arc::clone(self), is_answered: false }
    }

    /// Notes that a body is awaited, until the guard is dropped.
    pub(super) fn await_body(self: &Arc<Self>) -> AwaitedBody {
        self.awaited_bodies.fetch_add(1, Ordering::Relaxed);
        AwaitedBody(Arc::clone(self))
    }

    /// Notes that an answer of some bytes is made, until the guard is dropped: its client has read it.
    pub(super) fn unread_answer(self: &Arc<Self>) -> UnreadAnswer {
        let made_at = self.bounds.now_ms();
        self.unread_since().push(made_at);
        UnreadAnswer { activity: Arc::clone(self), made_at }
    }

    /// Which time-out the connection has reached.
    pub(super) fn overdue(&self) -> Option<Bound> {
        let settings = &self.bounds.settings;
        let quiet = self.since(self.quiet_since.load(Ordering::Relaxed));
        if self.is_shaking_hands.load(Ordering::Relaxed) {
            return (quiet > settings.handshake_timeout()).then_some(Bound::HandshakeTime);
        }
        if let Some(oldest) = self.unread_since().iter().min() {
            return (self.since(*oldest) > self.bounds.write_timeout()).then_some(Bound::WriteTime);
        }
        if self.open_requests.load(Ordering::Relaxed) > 0 || self.awaited_bodies.load(Ordering::Relaxed) > 0 {
            // The handler and the body have time-outs of their own.
            return None;
        }
        let head_since = self.head_since.load(Ordering::Relaxed);
        let is_sending_head = !self.is_http2() && head_since != NEVER;
        if is_sending_head && self.since(head_since) > settings.head_timeout() {
            return Some(Bound::HeadTime);
        }
        (!is_sending_head && quiet > settings.idle_timeout()).then_some(Bound::IdleTime)
    }

    /// How soon the connection gives way to a new one; `None` while it works for its client, or is young.
    pub(super) fn rank(&self) -> Option<Rank> {
        if self.since(self.accepted_at) < DISPLACED_AGE_MIN {
            return None;
        }
        let quiet_since = self.quiet_since.load(Ordering::Relaxed);
        let open_requests = self.open_requests.load(Ordering::Relaxed);
        let awaited_bodies = self.awaited_bodies.load(Ordering::Relaxed);
        let class = if !self.has_begun_request.load(Ordering::Relaxed) {
            RankClass::NeverUsed
        } else if open_requests > awaited_bodies {
            return None;
        } else if awaited_bodies > 0 || !self.unread_since().is_empty() {
            RankClass::WaitsForClient
        } else {
            RankClass::Idle
        };
        Some(Rank { class, quiet_since })
    }

    /// Whether the client has cancelled too many requests of late.
    pub(super) fn has_too_many_resets(&self) -> bool {
        self.resets.load(Ordering::Relaxed) > self.resets_max
    }

    /// Notes that a request of HTTP/2 is cancelled.
    pub(super) fn cancelled(&self) {
        if !self.is_http2() {
            return;
        }
        let now = self.bounds.now_ms();
        if now.saturating_sub(self.resets_since.load(Ordering::Relaxed)) >= RESETS_INTERVAL_MS
            && !self.has_too_many_resets()
        {
            self.resets_since.store(now, Ordering::Relaxed);
            self.resets.store(0, Ordering::Relaxed);
        }
        self.resets.fetch_add(1, Ordering::Relaxed);
    }

    /// How long ago a stamp was set, at least.
    fn since(&self, stamp: u64) -> Duration {
        let passed = Duration::from_millis(self.bounds.now_ms().saturating_sub(stamp));
        passed.saturating_sub(self.bounds.check_interval)
    }

    /// No code panics while it holds the lock, so what is in it is right.
    fn unread_since(&self) -> MutexGuard<'_, SmallVec<[u64; 1]>> {
        self.unread_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is not answered.
pub(super) struct OpenRequest {
    activity: Arc<Activity>,
    is_answered: bool,
}

impl OpenRequest {
    /// Notes that the request is answered, rather than cancelled.
    pub(super) fn answered(&mut self) {
        self.is_answered = true;
    }

    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.activity.quiet_since.store(self.activity.bounds.now_ms(), Ordering::Relaxed);
        self.activity.open_requests.fetch_sub(1, Ordering::Relaxed);
        if !self.is_answered {
            self.activity.cancelled();
        }
    }
}

/// A body that has not arrived.
pub(super) struct AwaitedBody(Arc<Activity>);

impl Drop for AwaitedBody {
    fn drop(&mut self) {
        self.0.awaited_bodies.fetch_sub(1, Ordering::Relaxed);
        self.0.quiet_since.store(self.0.bounds.now_ms(), Ordering::Relaxed);
    }
}

/// An answer that its client has not read.
pub(super) struct UnreadAnswer {
    activity: Arc<Activity>,
    made_at: u64,
}

impl UnreadAnswer {
    pub(super) fn bounds(&self) -> &Bounds {
        &self.activity.bounds
    }
}

impl Drop for UnreadAnswer {
    fn drop(&mut self) {
        let mut unread_since = self.activity.unread_since();
        // Answers of one stamp are alike.
        if let Some(index) = unread_since.iter().position(|made_at| *made_at == self.made_at) {
            unread_since.swap_remove(index);
        }
    }
}
