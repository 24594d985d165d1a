//! Resolve: the limits that a command names are looked up and made ready to plan with. A resolved limit is known, made by its
//! template if there is one, and every refill that is due has been made.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use smallvec::SmallVec;

use super::{Limiter, LimiterError};
use crate::decide::Limit;
use crate::decide::reserve::{self, Denial};
use crate::ledger::{Ledger, LedgerError};
use crate::limit::{Kind, LimitKey};
use crate::protocol::Reserve;
use crate::registry::{CaughtUp, Entry, InstanceLookup, NewInstance};

/// How often the definitions are read again if schedules of the limits are replaced meanwhile.
const REPLACEMENTS_MAX: usize = 16;

/// The limits that a command names, in the order of its requirements. A usual call names up to four.
type Entries = SmallVec<[Option<Arc<Entry>>; 4]>;
/// The same, as the decisions take them.
pub(super) type Limits<'a> = SmallVec<[Option<&'a Limit>; 4]>;

/// A command and the limits that it names.
pub(super) struct Resolved<'a> {
    pub(super) command: &'a Reserve,
    entries: Entries,
    /// Boxed, because every reserve moves this struct and hardly any lacks a limit.
    missing: Option<Box<Missing>>,
    /// The ledger's time at which every due refill had been made, in nanoseconds. `None` if no decision depends on it.
    at_ns: Option<u64>,
}

/// The limits of a command that are not made.
#[derive(Default)]
struct Missing {
    /// The instances among the entries that the chain of the command makes.
    new_instances: Vec<NewInstance>,
    /// The keys whose template has reached `max_instances`.
    too_many_instances: Vec<LimitKey>,
}

impl Resolved<'_> {
    pub(super) fn limits(&self) -> Limits<'_> {
        self.entries.iter().map(|entry| entry.as_ref().map(|entry| &entry.limit)).collect()
    }

    /// The time to plan at, in the ledger's nanoseconds. It is 0 if the plan does not depend on it.
    pub(super) fn at_ns(&self) -> u64 {
        self.at_ns.unwrap_or(0)
    }

    /// The time to plan at; reads it with `now_ns` if it was not needed before.
    pub(super) fn at_ns_or(&self, now_ns: impl FnOnce() -> u64) -> u64 {
        self.at_ns.unwrap_or_else(now_ns)
    }

    pub(super) fn entry(&self, key: &LimitKey) -> Option<&Arc<Entry>> {
        self.entries.iter().flatten().find(|entry| entry.key() == key)
    }

    /// The instances that the chain of the command makes.
    pub(super) fn new_instances(&self) -> &[NewInstance] {
        self.missing.as_ref().map_or(&[], |missing| &missing.new_instances)
    }

    /// Whether the limit at this index is not made yet.
    pub(super) fn is_new(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|entry| entry.as_ref().is_some_and(|it| self.is_new_entry(it)))
    }

    fn is_new_entry(&self, entry: &Arc<Entry>) -> bool {
        self.new_instances().iter().any(|new| Arc::ptr_eq(&new.entry, entry))
    }

    /// Whether one of the limits hands out allotments.
    pub(super) fn is_delegated(&self) -> bool {
        let is_delegated = |entry: &Arc<Entry>| entry.limit.state.definition.allotment.is_some();
        self.entries.iter().flatten().any(is_delegated)
    }

    /// Whether any of the limits at these indexes is a concurrency limit.
    pub(super) fn holds_slots(&self, is_meant: impl Fn(usize) -> bool) -> bool {
        let is_concurrency = |entry: &Arc<Entry>| match entry.limit.state.definition.kind {
            Kind::Concurrency(_) => true,
            Kind::Rolling(_)
            | Kind::TokenBucket(_)
            | Kind::FixedWindow(_)
            | Kind::SlidingWindow(_)
            | Kind::Calendar(_) => false,
        };
        let mut entries = self.entries.iter().enumerate();
        entries.any(|(index, entry)| is_meant(index) && entry.as_ref().is_some_and(is_concurrency))
    }

    /// Makes no instances, because the template of this key has reached `max_instances`.
    pub(super) fn make_none(&mut self, too_many: LimitKey) {
        for entry in &mut self.entries {
            entry.take_if(|entry| *entry.key() == too_many);
        }
        let missing = self.missing.get_or_insert_default();
        missing.new_instances.clear();
        missing.too_many_instances.push(too_many);
    }

    /// Whether the key's template has reached `max_instances`.
    pub(super) fn has_too_many_instances(&self, key: &LimitKey) -> bool {
        self.missing.as_ref().is_some_and(|missing| missing.too_many_instances.contains(key))
    }

    /// The first requirement that these definitions can never grant.
    pub(super) fn impossible(&self) -> Option<Denial> {
        reserve::impossible(self.command, &self.limits())
    }

    pub(super) fn reset_denial_streaks(&self) {
        self.entries.iter().flatten().for_each(|entry| entry.reset_denial_streak());
    }

    /// The limits whose due refills must be made before a plan uses the limits. A deleted limit is refilled when it
    /// is defined again, and a new instance has nothing to refill.
    fn refilled_limits(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.iter().flatten();
        let is_refilled =
            |entry: &&Arc<Entry>| reserve::takes_reservations(&entry.limit) && !self.is_new_entry(entry);
        entries.filter(is_refilled).map(|entry| &**entry)
    }

    fn is_refill_due(&self) -> bool {
        self.refilled_limits().any(|entry| !entry.is_ready_to_take(self.at_ns()))
    }

    /// The command has taken from its limits.
    pub(super) fn note_taken(&self) {
        for (requirement, entry) in self.command.requirements().iter().zip(&self.entries) {
            entry.iter().for_each(|entry| entry.note_taken(requirement.amount.get()));
        }
    }
}

impl<L: Ledger> Limiter<L> {
    /// Resolves the limits that a command names.
    pub(super) async fn resolve<'a>(&self, command: &'a Reserve) -> Result<Resolved<'a>, LimiterError> {
        let resolved = self.look_up(command);
        if self.is_ready(&resolved) { Ok(resolved) } else { self.make_ready(resolved).await }
    }

    /// Resolves the commands of a batch together, so that their look-ups share requests to the ledger.
    pub(super) async fn resolve_batch<'a>(
        &self,
        commands: &[&'a Reserve],
    ) -> Vec<Result<Resolved<'a>, LimiterError>> {
        let resolved: Vec<_> = commands.iter().map(|command| self.look_up(command)).collect();
        if resolved.iter().all(|resolved| self.is_ready(resolved)) {
            return resolved.into_iter().map(Ok).collect();
        }
        // Each command is looked up again when its turn comes: others may have refilled its limits by then.
        join_all(commands.iter().map(|command| self.resolve(command))).await
    }

    /// Resolves only the definitions of the limits, for a command that needs no refills.
    pub(super) async fn resolve_definitions<'a>(
        &self,
        command: &'a Reserve,
    ) -> Result<Resolved<'a>, LimiterError> {
        self.define(self.look_up(command)).await
    }

    /// Reads stale definitions again, and resolves the limits again.
    pub(super) async fn resolve_again<'a>(&self, stale: &Resolved<'a>) -> Result<Resolved<'a>, LimiterError> {
        self.reload(stale).await?;
        self.resolve_definitions(stale.command).await
    }

    /// The limits as the snapshot has them.
    pub(super) fn look_up<'a>(&self, command: &'a Reserve) -> Resolved<'a> {
        let keys = command.requirements().iter().map(|requirement| &requirement.key);
        let entries: Entries = self.registry.snapshot().get_all(keys);
        let has_schedule = |entry: &Arc<Entry>| entry.limit.schedule.is_some();
        // Reading the clock takes a tenth of the time of a reserve in memory (`cargo bench --bench stages`).
        let needs_time = self.denial_cache.is_on() || entries.iter().flatten().any(has_schedule);
        let at_ns = needs_time.then(|| self.ledger.now_ns());
        entries.iter().flatten().for_each(|entry| self.registry.snapshot().note_use(entry));
        let resolved = Resolved { command, entries, missing: None, at_ns };
        if !resolved.is_delegated() {
            self.allotments.note_plain(command.lease);
        }
        resolved
    }

    /// Whether every limit is defined and current by its template, and no refill is due.
    pub(super) fn is_ready(&self, resolved: &Resolved<'_>) -> bool {
        self.are_usable(resolved) && !resolved.is_refill_due()
    }

    fn are_usable(&self, resolved: &Resolved<'_>) -> bool {
        let template_changes = self.registry.snapshot().template_changes();
        let is_usable =
            |entry: &Option<Arc<Entry>>| entry.as_ref().is_some_and(|it| it.is_usable(template_changes));
        resolved.entries.iter().all(is_usable)
    }

    pub(super) async fn make_ready<'a>(&self, resolved: Resolved<'a>) -> Result<Resolved<'a>, LimiterError> {
        let mut resolved = self.define(resolved).await?;
        for _ in 0..REPLACEMENTS_MAX {
            if !resolved.is_refill_due() {
                return Ok(resolved);
            }
            match self.refill(&resolved).await? {
                CaughtUp::At { at_ns } => return Ok(Resolved { at_ns: Some(at_ns), ..resolved }),
                CaughtUp::ScheduleReplaced => resolved = self.resolve_again(&resolved).await?,
            }
        }
        let lease = resolved.command.lease;
        let message = format!("the schedules of the limits of lease {lease} are replaced too often");
        Err(LedgerError::Unexpected(message).into())
    }

    /// Reads the definitions once more before a key counts as unknown, because another replica may have defined it a moment
    /// ago. Plans the instances that are missing.
    async fn define<'a>(&self, resolved: Resolved<'a>) -> Result<Resolved<'a>, LimiterError> {
        if self.are_usable(&resolved) {
            return Ok(resolved);
        }
        self.registry.refresh().await?;
        let mut resolved = self.look_up(resolved.command);
        let template_changes = self.registry.snapshot().template_changes();
        let is_usable = |entry: &Option<Arc<Entry>>| {
            entry.as_ref().is_some_and(|entry| entry.is_usable(template_changes))
        };
        let requirements = resolved.command.requirements().iter().zip(&mut resolved.entries);
        let unusable: Vec<_> = requirements.filter(|(_, entry)| !is_usable(entry)).collect();
        // Together, so that the look-ups share requests to the ledger.
        let found = try_join_all(
            unusable.iter().map(|(requirement, _)| self.registry.find_current(&requirement.key)),
        );
        for ((_, entry), found) in unusable.into_iter().zip(found.await?) {
            match found {
                InstanceLookup::Found(found) => *entry = Some(found),
                InstanceLookup::New(new) => {
                    *entry = Some(Arc::clone(&new.entry));
                    resolved.missing.get_or_insert_default().new_instances.push(*new);
                }
                InstanceLookup::NotFound => *entry = None,
            }
        }
        let has_schedule = |entry: &Arc<Entry>| entry.limit.schedule.is_some();
        // The schedule of a new instance begins after the time that was read before.
        let is_stale = resolved.at_ns.is_none() || !resolved.new_instances().is_empty();
        if is_stale && resolved.entries.iter().flatten().any(has_schedule) {
            resolved.at_ns = Some(self.ledger.now_ns());
        }
        Ok(resolved)
    }

    /// Makes the refills of all limits that are due, and starts the intervals of full buckets, together.
    async fn refill(&self, resolved: &Resolved<'_>) -> Result<CaughtUp, LimiterError> {
        let limits: SmallVec<[&Entry; 4]> = resolved.refilled_limits().collect();
        let (refiller, at_ns) = (self.registry.refiller(), resolved.at_ns());
        // A command that can never be granted takes nothing, so no interval begins with it.
        Ok(if resolved.impossible().is_some() {
            refiller.catch_up(&limits, at_ns).await?
        } else {
            refiller.catch_up_to_take(&limits, at_ns).await?
        })
    }

    /// Reads the definitions again. Instances are forgotten, because the log does not hold their versions.
    pub(super) async fn reload(&self, stale: &Resolved<'_>) -> Result<(), LimiterError> {
        self.registry.refresh().await?;
        stale.entries.iter().flatten().for_each(|entry| self.registry.forget_instance(entry));
        Ok(())
    }
}
