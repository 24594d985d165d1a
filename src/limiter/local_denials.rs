use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hashbrown::DefaultHashBuilder;
use quick_cache::sync::Cache;

use crate::clock::{NS_PER_SECOND, saturating_nanos};
use crate::decide::Limit;
use crate::decide::command::Reserve;
use crate::decide::headroom::{Advice, Headroom, Ticket};
use crate::decide::reserve;
use crate::ledger::AccountId;
use crate::limit::{Kind, LeaseId, LimitKey, Status};

/// How many exhausted limits are known at the most; callers of others go to the ledger.
const LIMITS_MAX: usize = 1_024;
/// How many leases are remembered.
const LEASES_MAX: usize = 65_536;

/// The limits that were found exhausted lately.
///
/// A lease that may have been granted must not be denied: its caller may only be asking again. So only a lease is denied
/// here that was made within the bound, as its ULID tells, and that this process has not sent to the ledger.
pub struct LocalDenials {
    known: Option<Known>,
    denied: AtomicU64,
}

struct Known {
    bound: Duration,
    limits: papaya::HashMap<AccountId, Arc<Exhausted>, DefaultHashBuilder>,
    /// Counts what made room: a refusal that was decided before tells nothing any more.
    rooms_made: AtomicU64,
    leases: Cache<LeaseId, Fate>,
}

/// What this process did with a lease.
#[derive(Clone)]
enum Fate {
    /// The ledger was asked.
    Sent,
    /// It was denied here, for this limit, and stays so.
    Denied(LimitKey),
}

struct Exhausted {
    /// The version of the limit that was exhausted; a newer one may have room.
    version: u64,
    headroom: Mutex<Headroom>,
}

/// What the callers of a command's limits were let through for, in the order of its requirements.
#[derive(Default)]
pub(super) struct Tickets {
    let_through: Vec<Option<LetThrough>>,
    rooms_made_before: u64,
}

type LetThrough = (Arc<Exhausted>, Ticket);

/// Whether the ledger is to be asked.
pub(super) enum Admission {
    /// It is.
    Ask(Tickets),
    /// It need not be: this limit has no room, until then if that is known.
    Deny { key: LimitKey, until_ns: Option<u64> },
}

impl LocalDenials {
    /// Denies on its own for at most `bound` after the ledger has denied; zero switches it off.
    pub fn new(bound: Duration) -> Self {
        let known = |bound: Duration| Known {
            bound,
            limits: papaya::HashMap::default(),
            rooms_made: AtomicU64::new(0),
            leases: Cache::new(LEASES_MAX),
        };
        Self { known: (!bound.is_zero()).then(|| known(bound)), denied: AtomicU64::new(0) }
    }

    /// Whether it denies anything at all.
    pub fn is_on(&self) -> bool {
        self.known.is_some()
    }

    /// How many calls were denied without asking the ledger.
    pub fn denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }

    /// Whether there may be room. `limits` stand in the order of the command's requirements.
    pub(super) fn admit(&self, command: &Reserve, limits: &[Option<&Limit>], now_ns: u64) -> Admission {
        let Some(known) = &self.known else { return Admission::Ask(Tickets::default()) };
        let admission = match known.leases.get(&command.lease) {
            Some(Fate::Sent) => return Admission::Ask(known.no_tickets()),
            Some(Fate::Denied(key)) => Admission::Deny { key, until_ns: None },
            None if known.may_tell(command, limits) => known.ask(command, limits, now_ns),
            None => Admission::Ask(known.no_tickets()),
        };
        let fate = match &admission {
            Admission::Ask(_) => Fate::Sent,
            Admission::Deny { key, .. } => {
                self.denied.fetch_add(1, Ordering::Relaxed);
                Fate::Denied(key.clone())
            }
        };
        known.leases.insert(command.lease, fate);
        admission
    }

    /// The ledger had no room for the requirement at `index`. Answers when there will be, if that is known.
    pub(super) fn refused(
        &self,
        tickets: Tickets,
        command: &Reserve,
        limits: &[Option<&Limit>],
        index: usize,
        now_ns: u64,
    ) -> Option<u64> {
        let known = self.known.as_ref()?;
        let rooms_made_before = tickets.rooms_made_before;
        let mut until_ns = None;
        let mut was_let_through = false;
        for (place, ticket) in tickets.let_through.into_iter().enumerate() {
            match ticket {
                Some((exhausted, ticket)) if place == index => {
                    until_ns = exhausted.headroom().refused(now_ns, ticket);
                    was_let_through = true;
                }
                Some((exhausted, ticket)) => exhausted.headroom().unused(ticket),
                None => {}
            }
        }
        match (command.requirements().get(index), limits.get(index)) {
            (Some(requirement), Some(&Some(limit))) if !was_let_through => {
                known.learn(limit, requirement.amount.get(), now_ns, rooms_made_before)
            }
            _ => until_ns,
        }
    }

    /// Something came back of a limit by its schedule: what was known of it is past.
    pub(super) fn forget(&self, account: AccountId) {
        if let Some(known) = &self.known {
            known.rooms_made.fetch_add(1, Ordering::SeqCst);
            if !known.limits.is_empty() {
                known.limits.pin().remove(&account);
            }
        }
    }

    /// A complete gave so many units of a limit back.
    pub(super) fn freed(&self, account: AccountId, units: u128) {
        if let Some(known) = &self.known {
            known.rooms_made.fetch_add(1, Ordering::SeqCst);
            if !known.limits.is_empty()
                && let Some(exhausted) = known.limits.pin().get(&account)
            {
                exhausted.headroom().freed(units);
            }
        }
    }
}

impl Known {
    /// Whether what is known here could answer. Other denials are the ledger's.
    fn may_tell(&self, command: &Reserve, limits: &[Option<&Limit>]) -> bool {
        let is_active = |limit: &Option<&Limit>| limit.is_some_and(|l| l.state.status == Status::Active);
        !self.limits.is_empty()
            && limits.iter().all(is_active)
            && reserve::impossible(command, limits).is_none()
    }

    /// Whether a lease was made just now, by the clock of its caller: an older one may have been granted elsewhere.
    fn is_new(&self, lease: LeaseId) -> bool {
        let made_at = UNIX_EPOCH + Duration::from_millis(lease.timestamp_ms());
        let now = SystemTime::now();
        let age = now.duration_since(made_at).or_else(|_| made_at.duration_since(now));
        age.is_ok_and(|age| age <= self.bound)
    }

    fn ask(&self, command: &Reserve, limits: &[Option<&Limit>], now_ns: u64) -> Admission {
        let is_new = self.is_new(command.lease);
        let mut tickets = self.no_tickets();
        for (requirement, limit) in command.requirements().iter().zip(limits) {
            let Some(exhausted) = limit.and_then(|limit| self.exhausted(limit)) else {
                tickets.let_through.push(None);
                continue;
            };
            let units = requirement.amount.get();
            let advice = if is_new {
                exhausted.headroom().ask(now_ns, units)
            } else {
                Advice::Ask(exhausted.headroom().pass(now_ns, units))
            };
            match advice {
                Advice::Ask(ticket) => tickets.let_through.push(Some((exhausted, ticket))),
                Advice::Wait { until_ns } => {
                    tickets.unused();
                    return Admission::Deny { key: requirement.key.clone(), until_ns };
                }
            }
        }
        Admission::Ask(tickets)
    }

    fn exhausted(&self, limit: &Limit) -> Option<Arc<Exhausted>> {
        let limits = self.limits.pin();
        let exhausted = limits.get(&limit.account)?;
        if exhausted.version == limit.version {
            return Some(Arc::clone(exhausted));
        }
        limits.remove(&limit.account);
        None
    }

    fn no_tickets(&self) -> Tickets {
        let rooms_made_before = self.rooms_made.load(Ordering::SeqCst);
        Tickets { let_through: Vec::new(), rooms_made_before }
    }

    /// The ledger refused so many units of a limit of which nothing was known when it was asked. Answers when there will be
    /// room, if that is known now.
    fn learn(&self, limit: &Limit, units: u64, now_ns: u64, rooms_made_before: u64) -> Option<u64> {
        if let Some(known) = self.exhausted(limit) {
            return known.headroom().refused_unseen(now_ns, units);
        }
        let limits = self.limits.pin();
        if limits.len() >= LIMITS_MAX {
            // Some of them have had room for long; which, is not worth remembering.
            limits.clear();
        }
        let headroom = Headroom::exhausted(now_ns, saturating_nanos(self.bound), units);
        let exhausted = Exhausted { version: limit.version, headroom: Mutex::new(headroom) };
        limits.insert(limit.account, Arc::new(exhausted));
        // Looked at behind the insertion: whoever makes room from here on finds it.
        if self.rooms_made.load(Ordering::SeqCst) != rooms_made_before {
            limits.remove(&limit.account);
        }
        None
    }
}

impl Exhausted {
    fn headroom(&self) -> MutexGuard<'_, Headroom> {
        // It is whole between two calls.
        self.headroom.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tickets {
    /// The ledger granted at this time.
    pub(super) fn granted(self, limits: &[Option<&Limit>], timestamp_ns: u64) {
        for (ticket, limit) in self.let_through.into_iter().zip(limits) {
            let (Some((exhausted, ticket)), Some(limit)) = (ticket, limit) else { continue };
            let returns_at_ns = match limit.state.definition.kind {
                Kind::Rolling(rolling) => {
                    let window_ns = u64::from(rolling.window_seconds()) * NS_PER_SECOND;
                    Some(timestamp_ns.saturating_add(window_ns))
                }
                // Its complete tells, or its schedule.
                Kind::Concurrency(_)
                | Kind::TokenBucket(_)
                | Kind::FixedWindow(_)
                | Kind::SlidingWindow(_) => None,
            };
            exhausted.headroom().granted(timestamp_ns, ticket, returns_at_ns);
        }
    }

    /// What came of the command says nothing about these limits.
    pub(super) fn unused(self) {
        for (exhausted, ticket) in self.let_through.into_iter().flatten() {
            exhausted.headroom().unused(ticket);
        }
    }
}
