//! The denial cache: the limits that the ledger found exhausted lately. [`crate::decide::exhaustion`] decides whether a call on
//! them needs the ledger; this file keeps that knowledge for each limit.
//!
//! A lease that may have been granted must never be denied here, because its caller may only be repeating the
//! request. So this file denies only lease ids whose ULID was made a moment ago and that this process has not sent to
//! the ledger.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hashbrown::DefaultHashBuilder;
use quick_cache::sync::Cache;
use smallvec::SmallVec;

use crate::decide::Limit;
use crate::decide::exhaustion::{Advice, Exhaustion, Ticket};
use crate::decide::reserve::is_shadow;
use crate::ledger::AccountId;
use crate::limit::{Kind, LeaseId, LimitKey, Status};
use crate::protocol::Reserve;
use crate::registry::RefillObserver;
use crate::time::{NS_PER_SECOND, saturating_nanos};

/// The most exhausted limits that are known; calls on others go to the ledger.
const LIMITS_MAX: usize = 1_024;
/// The most leases that are remembered.
const LEASES_MAX: usize = 65_536;

/// The limits that the ledger found exhausted lately.
pub(super) struct DenialCache {
    known: Option<Known>,
    denied: AtomicU64,
}

struct Known {
    /// How long a limit is denied without asking the ledger.
    deny_alone_max: Duration,
    limits: papaya::HashMap<AccountId, Arc<ExhaustedLimit>, DefaultHashBuilder>,
    /// Counts releases and refills. A refusal that the ledger decided before one of them is out of date.
    releases: AtomicU64,
    leases: Cache<LeaseId, LeaseFate>,
}

/// What this process did with a lease id.
#[derive(Clone)]
enum LeaseFate {
    /// Sent to the ledger.
    Sent,
    /// Denied here because of this limit. The lease id stays denied.
    Denied(LimitKey),
}

struct ExhaustedLimit {
    /// The version of the limit that was exhausted; a newer one may have room.
    version: u64,
    exhaustion: Mutex<Exhaustion>,
}

/// Whether to ask the ledger.
pub(super) enum Admission {
    /// Ask it, and report the outcome with the tickets.
    Ask(AdmissionTickets),
    /// Deny: this limit has no room until then, in the ledger's nanoseconds, if known.
    Deny { key: LimitKey, until_ns: Option<u64> },
    /// The lease id was denied here because of this limit. It stays denied, unless another replica granted it.
    DeniedBefore { key: LimitKey },
}

/// What the cache says of a reserve that does not wait and is behind a waiter.
pub(super) enum BehindQueue {
    /// Its lease id stays denied.
    Denied,
    /// It was denied before because of this limit.
    DeniedBefore(LimitKey),
    /// Its lease may have been granted: the ledger must be asked.
    MayBeGranted,
}

/// One admission ticket for each requirement of a command, if its limit is known to be exhausted. Tickets that are dropped
/// without an outcome (the call failed, timed out or was given up) go back to their limits.
#[derive(Default)]
pub(super) struct AdmissionTickets {
    tickets: Vec<Option<AdmissionTicket>>,
    releases_before: u64,
}

/// The right of one caller to ask the ledger about an exhausted limit. Dropping it hands it back unused.
struct AdmissionTicket {
    limit: Arc<ExhaustedLimit>,
    ticket: Option<Ticket>,
}

impl Drop for AdmissionTicket {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.limit.exhaustion().unused(ticket);
        }
    }
}

impl DenialCache {
    /// Denies for at most `deny_alone_max` after the ledger has denied; zero switches the cache off.
    pub(super) fn new(deny_alone_max: Duration) -> Self {
        let known = |deny_alone_max: Duration| Known {
            deny_alone_max,
            limits: papaya::HashMap::default(),
            releases: AtomicU64::new(0),
            leases: Cache::new(LEASES_MAX),
        };
        let known = (!deny_alone_max.is_zero()).then(|| known(deny_alone_max));
        Self { known, denied: AtomicU64::new(0) }
    }

    /// Whether the cache denies anything at all.
    pub(super) fn is_on(&self) -> bool {
        self.known.is_some()
    }

    /// How many calls were denied without asking the ledger.
    pub(super) fn denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }

    /// Whether to ask the ledger. `limits` are in the order of the command's requirements; `is_impossible` if they can never
    /// grant it.
    pub(super) fn admit(
        &self,
        command: &Reserve,
        limits: &[Option<&Limit>],
        is_impossible: bool,
        now_ns: u64,
    ) -> Admission {
        let Some(known) = &self.known else { return Admission::Ask(AdmissionTickets::default()) };
        let admission = match known.leases.get(&command.lease) {
            Some(LeaseFate::Sent) => return Admission::Ask(known.no_tickets()),
            Some(LeaseFate::Denied(key)) => {
                self.denied.fetch_add(1, Ordering::Relaxed);
                return Admission::DeniedBefore { key };
            }
            None if !is_impossible && known.can_tell(limits) => known.ask(command, limits, now_ns),
            None => Admission::Ask(known.no_tickets()),
        };
        let fate = match &admission {
            Admission::Ask(_) => LeaseFate::Sent,
            Admission::Deny { key, .. } | Admission::DeniedBefore { key } => {
                self.denied.fetch_add(1, Ordering::Relaxed);
                LeaseFate::Denied(key.clone())
            }
        };
        known.leases.insert(command.lease, fate);
        admission
    }

    /// The lease is about to be sent to the ledger without being admitted.
    pub(super) fn mark_sent(&self, lease: LeaseId) {
        if let Some(known) = &self.known {
            known.leases.insert(lease, LeaseFate::Sent);
        }
    }

    /// Whether a lease id was made a moment ago and was not sent by this process, so that nobody was granted it.
    pub(super) fn is_young(&self, lease: LeaseId) -> bool {
        self.known.as_ref().is_some_and(|known| known.leases.get(&lease).is_none() && known.is_new(lease))
    }

    /// The limit because of which a lease id was denied here.
    pub(super) fn denied_before(&self, lease: LeaseId) -> Option<LimitKey> {
        match self.known.as_ref()?.leases.get(&lease)? {
            LeaseFate::Sent => None,
            LeaseFate::Denied(key) => Some(key),
        }
    }

    /// A reserve that does not wait is behind a waiter of this limit.
    pub(super) fn deny_behind(&self, lease: LeaseId, key: &LimitKey) -> BehindQueue {
        let Some(known) = self.known.as_ref() else { return BehindQueue::MayBeGranted };
        if let Some(key) = self.denied_before(lease) {
            return BehindQueue::DeniedBefore(key);
        }
        if !self.is_young(lease) {
            return BehindQueue::MayBeGranted;
        }
        known.leases.insert(lease, LeaseFate::Denied(key.clone()));
        self.denied.fetch_add(1, Ordering::Relaxed);
        BehindQueue::Denied
    }

    /// The ledger had no room for the requirement at `index`. Returns when there will be room, if known.
    pub(super) fn refused(
        &self,
        mut tickets: AdmissionTickets,
        command: &Reserve,
        limits: &[Option<&Limit>],
        index: usize,
        now_ns: u64,
    ) -> Option<u64> {
        let known = self.known.as_ref()?;
        let admitted = tickets.tickets.get_mut(index).and_then(Option::take);
        if let Some(mut admitted) = admitted
            && let Some(ticket) = admitted.ticket.take()
        {
            return admitted.limit.exhaustion().refused(now_ns, ticket);
        }
        let (requirement, limit) =
            command.requirements().get(index).zip(limits.get(index).copied().flatten())?;
        known.learn(limit, requirement.amount.get(), now_ns, tickets.releases_before)
    }

    /// A hint has told a caller to come for units of a limit at this time.
    pub(super) fn expect_caller(&self, account: AccountId, at_ns: u64, units: u64) {
        if let Some(known) = &self.known
            && let Some(limit) = known.limits.pin().get(&account)
        {
            limit.exhaustion().expect_caller(at_ns, units);
        }
    }

    /// Guards a complete whose outcome is not known yet. `accounts` are those of the limits on which it may release.
    pub(super) fn guard_release(&self, accounts: impl Iterator<Item = AccountId>) -> UnknownRelease<'_> {
        let known = self.known.as_ref().map(|known| (known, accounts.collect()));
        UnknownRelease(known)
    }

    /// A complete released units of a limit.
    pub(super) fn released(&self, account: AccountId, units: u128) {
        if let Some(known) = &self.known {
            known.releases.fetch_add(1, Ordering::SeqCst);
            if !known.limits.is_empty()
                && let Some(limit) = known.limits.pin().get(&account)
            {
                limit.exhaustion().released(units);
            }
        }
    }
}

impl RefillObserver for DenialCache {
    fn refilled(&self, account: AccountId) {
        if let Some(known) = &self.known {
            known.forget(account);
        }
    }
}

/// A complete whose outcome is not known. If it stays unknown (the call failed, timed out or was given up), what was known of
/// the limits is forgotten: the ledger may have made room.
pub(super) struct UnknownRelease<'a>(Option<(&'a Known, SmallVec<[AccountId; 4]>)>);

impl UnknownRelease<'_> {
    /// The outcome is known.
    pub(super) fn outcome_known(mut self) {
        self.0 = None;
    }
}

impl Drop for UnknownRelease<'_> {
    fn drop(&mut self) {
        if let Some((known, accounts)) = self.0.take() {
            accounts.into_iter().for_each(|account| known.forget(account));
        }
    }
}

impl Known {
    /// Forgets what is known of a limit, because the limit may have more room now.
    fn forget(&self, account: AccountId) {
        self.releases.fetch_add(1, Ordering::SeqCst);
        if !self.limits.is_empty() {
            self.limits.pin().remove(&account);
        }
    }

    /// Whether the cache may deny a command on these limits for lack of room. The ledger makes every other denial.
    fn can_tell(&self, limits: &[Option<&Limit>]) -> bool {
        let is_active = |limit: &Option<&Limit>| limit.is_some_and(|l| l.state.status == Status::Active);
        !self.limits.is_empty() && limits.iter().all(is_active)
    }

    /// Whether a lease id was made a moment ago, by the clock of its caller. An older one may have been granted elsewhere.
    fn is_new(&self, lease: LeaseId) -> bool {
        let made_at = UNIX_EPOCH + Duration::from_millis(lease.timestamp_ms());
        let now = SystemTime::now();
        let age = now.duration_since(made_at).or_else(|_| made_at.duration_since(now));
        age.is_ok_and(|age| age <= self.deny_alone_max)
    }

    fn ask(&self, command: &Reserve, limits: &[Option<&Limit>], now_ns: u64) -> Admission {
        let is_new = self.is_new(command.lease);
        let mut tickets = self.no_tickets();
        for (requirement, limit) in command.requirements().iter().zip(limits) {
            // A limit in shadow mode denies nobody.
            let enforced = limit.filter(|limit| !is_shadow(limit));
            let Some(limit) = enforced.and_then(|limit| self.exhausted(limit)) else {
                tickets.tickets.push(None);
                continue;
            };
            let units = requirement.amount.get();
            let advice = if is_new {
                limit.exhaustion().ask(now_ns, units)
            } else {
                Advice::Ask(limit.exhaustion().bypass(now_ns, units))
            };
            match advice {
                Advice::Ask(ticket) => {
                    tickets.tickets.push(Some(AdmissionTicket { limit, ticket: Some(ticket) }));
                }
                // The tickets so far are dropped, and thus handed back.
                Advice::Wait { until_ns } => {
                    return Admission::Deny { key: requirement.key.clone(), until_ns };
                }
            }
        }
        Admission::Ask(tickets)
    }

    fn exhausted(&self, limit: &Limit) -> Option<Arc<ExhaustedLimit>> {
        let limits = self.limits.pin();
        let exhausted = limits.get(&limit.account)?;
        if exhausted.version == limit.version {
            return Some(Arc::clone(exhausted));
        }
        limits.remove(&limit.account);
        None
    }

    fn no_tickets(&self) -> AdmissionTickets {
        let releases_before = self.releases.load(Ordering::SeqCst);
        AdmissionTickets { tickets: Vec::new(), releases_before }
    }

    /// The ledger refused units of a limit that was not known to be exhausted when the ledger was asked. Returns when there
    /// will be room, if known by now.
    fn learn(&self, limit: &Limit, units: u64, now_ns: u64, releases_before: u64) -> Option<u64> {
        if let Some(known) = self.exhausted(limit) {
            return known.exhaustion().refused_unseen(now_ns, units);
        }
        let limits = self.limits.pin();
        if limits.len() >= LIMITS_MAX {
            // Some of these limits have had room for long. To find them is not worth the effort.
            limits.clear();
        }
        let exhaustion = Exhaustion::exhausted(now_ns, saturating_nanos(self.deny_alone_max), units);
        let exhausted = ExhaustedLimit { version: limit.version, exhaustion: Mutex::new(exhaustion) };
        limits.insert(limit.account, Arc::new(exhausted));
        // Checked after the insertion: a release from here on finds the entry.
        if self.releases.load(Ordering::SeqCst) != releases_before {
            limits.remove(&limit.account);
        }
        None
    }
}

impl ExhaustedLimit {
    fn exhaustion(&self) -> MutexGuard<'_, Exhaustion> {
        // It is consistent between two calls.
        self.exhaustion.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AdmissionTickets {
    /// The ledger granted at this time. `limits` are in the order of the command's requirements.
    pub(super) fn granted(mut self, limits: &[Option<&Limit>], timestamp_ns: u64) {
        for (admitted, limit) in self.tickets.iter_mut().zip(limits) {
            let (Some(admitted), Some(limit)) = (admitted, limit) else { continue };
            let Some(ticket) = admitted.ticket.take() else { continue };
            let expires_at_ns = match limit.state.definition.kind {
                Kind::Rolling(rolling) => {
                    let window_ns = u64::from(rolling.window_seconds()) * NS_PER_SECOND;
                    Some(timestamp_ns.saturating_add(window_ns))
                }
                // A complete releases a slot, and a schedule refills the others.
                Kind::Concurrency(_)
                | Kind::TokenBucket(_)
                | Kind::FixedWindow(_)
                | Kind::SlidingWindow(_)
                | Kind::Calendar(_) => None,
            };
            admitted.limit.exhaustion().granted(timestamp_ns, ticket, expires_at_ns);
        }
    }
}
