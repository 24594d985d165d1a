use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use smallvec::SmallVec;

use super::local_denials::{Admission, Tickets};
use super::{Limiter, LimiterError, ReserveOutcome};
use crate::clock::{NS_PER_MS, unix_ms};
use crate::comeback::BroughtUp;
use crate::decide::Limit;
use crate::decide::command::Reserve;
use crate::decide::lease::{Lease, Standing};
use crate::decide::reserve::{self, Denial, Verdict};
use crate::instances::{Found, is_settled};
use crate::ledger::{ChainOutcome, Ledger, LedgerError, Refusal};
use crate::limit::LimitKey;
use crate::registry::Entry;

/// The limits that a command names, in the order of its requirements. The usual call names up to four.
type Entries = SmallVec<[Option<Arc<Entry>>; 4]>;
/// The same as the decisions look at them.
pub(super) type Limits<'a> = SmallVec<[Option<&'a Limit>; 4]>;

/// A command on its way, with the limits it names.
pub(super) struct Planned<'a> {
    pub(super) command: &'a Reserve,
    entries: Entries,
    /// The keys that a template would be for, if it could make more limits.
    pub(super) too_many: SmallVec<[LimitKey; 1]>,
    /// When it was planned, in the ledger's nanoseconds. What was due of its limits by then has come back. 0 where
    /// nothing depends on it.
    pub(super) now_ns: u64,
}

impl Planned<'_> {
    pub(super) fn limits(&self) -> Limits<'_> {
        self.entries.iter().map(|entry| entry.as_ref().map(|entry| &entry.limit)).collect()
    }

    fn is_due(&self) -> bool {
        self.entries.iter().flatten().any(|entry| entry.is_due(self.now_ns))
    }

    pub(super) fn entry(&self, key: &LimitKey) -> Option<&Arc<Entry>> {
        self.entries.iter().flatten().find(|entry| entry.key() == key)
    }
}

impl<L: Ledger> Limiter<L> {
    /// Reserves everything that the command wants, or nothing.
    pub async fn reserve(&self, command: &Reserve) -> Result<ReserveOutcome, LimiterError> {
        let planned = self.planned_and_due(command).await?;
        let limits = planned.limits();
        let tickets = match self.local_denials.admit(command, &limits, planned.now_ns) {
            Admission::Ask(tickets) => tickets,
            Admission::Deny { key, until_ns } => return Ok(self.deny_locally(&planned, key, until_ns)),
        };
        let empty = || LedgerError::Unexpected("a reserve without requirements".to_owned());
        let chain = reserve::plan(self.ids, command, &limits, planned.now_ns).ok_or_else(empty)?;
        let outcome = self.ledger.submit_one(chain).await?;
        match self.conclude_at_once(&planned, &limits, tickets, outcome) {
            Some(answer) => Ok(answer),
            None => self.conclude(command, outcome).await,
        }
    }

    /// Reserves for each command, in order, in one hand-over to the ledger; answers each in its place.
    pub async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<ReserveOutcome, LimiterError>> {
        let mut planned: Vec<Planned<'_>> = commands.iter().map(|command| self.planned(command)).collect();
        if !planned.iter().all(|planned| self.all_settled(planned)) {
            match try_join_all(commands.iter().map(|command| self.planned_if_known(command))).await {
                Ok(known) => planned = known,
                Err(error) => return commands.iter().map(|_| Err(error.clone())).collect(),
            }
        }
        let due = planned.iter_mut().filter(|planned| planned.is_due()).map(|planned| self.bring_up(planned));
        if let Err(error) = try_join_all(due).await {
            return commands.iter().map(|_| Err(error.clone())).collect();
        }
        let mut chains = Vec::with_capacity(commands.len());
        let mut admissions = Vec::with_capacity(commands.len());
        for planned in &planned {
            let limits = planned.limits();
            let admission = self.local_denials.admit(planned.command, &limits, planned.now_ns);
            if let Admission::Ask(_) = admission {
                // A command has at least one requirement, so each that asks has its chain.
                chains.extend(reserve::plan(self.ids, planned.command, &limits, planned.now_ns));
            }
            admissions.push(admission);
        }
        let mut outcomes = self.ledger.submit(chains).await.into_iter();
        let mut answers = Vec::with_capacity(commands.len());
        let mut to_look_up = Vec::new();
        for (place, (planned, admission)) in planned.into_iter().zip(admissions).enumerate() {
            let answer = match admission {
                Admission::Deny { key, until_ns } => Ok(self.deny_locally(&planned, key, until_ns)),
                Admission::Ask(tickets) => match outcomes.next() {
                    Some(Ok(outcome)) => {
                        let answer = self.conclude_at_once(&planned, &planned.limits(), tickets, outcome);
                        answer.ok_or_else(|| {
                            let command = planned.command;
                            to_look_up.push(async move { (place, self.conclude(command, outcome).await) });
                            LedgerError::Unexpected("a lease that was not looked up".to_owned()).into()
                        })
                    }
                    Some(Err(error)) => Err(error.into()),
                    None => Err(LedgerError::Unexpected("a chain without an outcome".to_owned()).into()),
                },
            };
            answers.push(answer);
        }
        // Together, so that they share the ledger's requests.
        for (place, answer) in join_all(to_look_up).await {
            if let Some(slot) = answers.get_mut(place) {
                *slot = answer;
            }
        }
        answers
    }

    /// With definitions that are read once more before a key counts as unknown: it may have been defined at another
    /// replica a moment ago.
    pub(super) async fn planned_if_known<'a>(
        &self,
        command: &'a Reserve,
    ) -> Result<Planned<'a>, LimiterError> {
        let planned = self.planned(command);
        if self.all_settled(&planned) {
            return Ok(planned);
        }
        self.refresh().await?;
        let mut planned = self.planned(command);
        if !self.all_settled(&planned) {
            let too_many = self.make_instances(&planned).await?;
            planned = Planned { too_many, ..self.planned(command) };
        }
        Ok(planned)
    }

    /// Whether every key names a limit that is what it should be.
    fn all_settled(&self, planned: &Planned<'_>) -> bool {
        let changed = self.registry().templates_changed();
        planned.entries.iter().all(|entry| is_settled(entry.as_deref(), changed))
    }

    /// Has templates make the limits that are missing; answers the keys for which they could not.
    async fn make_instances(&self, planned: &Planned<'_>) -> Result<SmallVec<[LimitKey; 1]>, LimiterError> {
        let changed = self.registry().templates_changed();
        let mut too_many = SmallVec::new();
        for (requirement, entry) in planned.command.requirements().iter().zip(&planned.entries) {
            if is_settled(entry.as_deref(), changed) {
                continue;
            }
            let found = self.instances.find_or_make(&requirement.key).await;
            match found.map_err(|error| LimiterError::Instance(Arc::new(error)))? {
                Found::Known | Found::None => {}
                Found::TooMany => too_many.push(requirement.key.clone()),
            }
        }
        Ok(too_many)
    }

    /// The same, and what is due of its limits has come back.
    pub(super) async fn planned_and_due<'a>(
        &self,
        command: &'a Reserve,
    ) -> Result<Planned<'a>, LimiterError> {
        let mut planned = self.planned_if_known(command).await?;
        self.bring_up(&mut planned).await?;
        Ok(planned)
    }

    /// Lets come back what is due of the limits that a command names.
    async fn bring_up(&self, planned: &mut Planned<'_>) -> Result<(), LimiterError> {
        while self.any_replaced(planned).await? {
            self.refresh().await?;
            *planned = self.planned_if_known(planned.command).await?;
        }
        Ok(())
    }

    async fn any_replaced(&self, planned: &Planned<'_>) -> Result<bool, LimiterError> {
        // What a deleted limit spent comes back when it is defined again.
        let taken = |entry: &&Arc<Entry>| reserve::takes_reservations(&entry.limit);
        for entry in planned.entries.iter().flatten().filter(taken) {
            match self.comeback.bring_up(entry, planned.now_ns).await? {
                BroughtUp::Before => {}
                BroughtUp::Now => self.local_denials.forget(entry.limit.account),
                BroughtUp::Replaced => return Ok(true),
            }
        }
        Ok(false)
    }

    pub(super) fn planned<'a>(&self, command: &'a Reserve) -> Planned<'a> {
        let keys = command.requirements().iter().map(|requirement| &requirement.key);
        let entries: Entries = self.registry().get_all(keys);
        let is_scheduled = |entry: &Arc<Entry>| entry.limit.schedule.is_some();
        // In memory, reading the clock takes a tenth of what a reserve takes.
        let is_timed = self.local_denials.is_on() || entries.iter().flatten().any(is_scheduled);
        let now_ns = if is_timed { self.ledger.now_ns() } else { 0 };
        Planned { command, entries, too_many: SmallVec::new(), now_ns }
    }

    /// The answer where the outcome of the chain tells it: nearly always.
    fn conclude_at_once(
        &self,
        planned: &Planned<'_>,
        limits: &Limits<'_>,
        tickets: Tickets,
        outcome: ChainOutcome,
    ) -> Option<ReserveOutcome> {
        self.learn_headroom(planned.command, limits, tickets, outcome);
        if reserve::doubts_definitions(planned.command, limits, outcome) {
            return None;
        }
        match reserve::interpret(planned.command, limits, outcome).ok()? {
            Verdict::Granted { reserved_at_unix_ms } => {
                planned.entries.iter().flatten().for_each(|entry| entry.granted());
                self.remember(planned, limits, outcome);
                Some(ReserveOutcome::Granted { reserved_at_unix_ms })
            }
            Verdict::Denied { denial, repeated } => Some(self.deny(planned, denial, repeated)),
            Verdict::Recall => None,
        }
    }

    /// The answer where the ledger must be asked once more.
    async fn conclude(
        &self,
        command: &Reserve,
        outcome: ChainOutcome,
    ) -> Result<ReserveOutcome, LimiterError> {
        let mut planned = self.planned_if_known(command).await?;
        // A definition that the refusal does not fit to is stale.
        if reserve::doubts_definitions(command, &planned.limits(), outcome) {
            self.refresh().await?;
            planned = self.planned_if_known(command).await?;
        }
        match reserve::interpret(command, &planned.limits(), outcome)? {
            Verdict::Granted { reserved_at_unix_ms } => Ok(ReserveOutcome::Granted { reserved_at_unix_ms }),
            Verdict::Denied { denial, repeated } => Ok(self.deny(&planned, denial, repeated)),
            Verdict::Recall => self.recall(&planned).await,
        }
    }

    /// Tells what is known of exhausted limits what the ledger said of them.
    fn learn_headroom(
        &self,
        command: &Reserve,
        limits: &Limits<'_>,
        tickets: Tickets,
        outcome: ChainOutcome,
    ) {
        match outcome {
            ChainOutcome::Created { timestamp_ns } => tickets.granted(limits, timestamp_ns),
            ChainOutcome::Refused { index, refusal: Refusal::ExceedsCredits }
                if reserve::impossible(command, limits).is_none() =>
            {
                self.local_denials.refused(tickets, command, limits, index, self.ledger.now_ns());
            }
            ChainOutcome::Refused { .. } => tickets.unused(),
        }
    }

    /// The answer where this replica knows of a limit that it has no room.
    fn deny_locally(&self, planned: &Planned<'_>, key: LimitKey, until_ns: Option<u64>) -> ReserveOutcome {
        let Some((entry, until_ns)) = planned.entry(&key).zip(until_ns) else {
            return self.deny(planned, Denial::NoRoom(key), true);
        };
        let wait_ms = until_ns.saturating_sub(self.ledger.now_ns()).div_ceil(NS_PER_MS);
        let kind = entry.limit.state.definition.kind;
        ReserveOutcome::NoRoom { key, retry_after_ms: self.retry_policy.room_known_ms(kind, wait_ms) }
    }

    fn remember(&self, planned: &Planned<'_>, limits: &Limits<'_>, outcome: ChainOutcome) {
        if let (true, ChainOutcome::Created { timestamp_ns }) = (self.leases.is_on(), outcome)
            && let Some(chain) = reserve::plan(self.ids, planned.command, limits, planned.now_ns)
            && let Some(lease) = Lease::from_grant(planned.command.lease, chain.transfers(), timestamp_ns)
        {
            self.leases.insert(lease);
        }
    }

    pub(super) fn deny(&self, planned: &Planned<'_>, denial: Denial, repeated: bool) -> ReserveOutcome {
        match denial {
            Denial::UnknownKey(key) if planned.too_many.contains(&key) => {
                ReserveOutcome::TooManyInstances { key }
            }
            Denial::UnknownKey(key) => ReserveOutcome::UnknownKey { key },
            Denial::ExceedsCapacity(key) => ReserveOutcome::ExceedsCapacity { key },
            Denial::Decreasing(key) => {
                ReserveOutcome::Decreasing { key, retry_after_ms: self.retry_policy.decreasing_ms }
            }
            Denial::NoRoom(key) => {
                let hint_ms = planned.entry(&key).map(|entry| {
                    let kind = entry.limit.state.definition.kind;
                    let step_in_ms = entry.limit.schedule.as_ref().and_then(|schedule| {
                        // At least a millisecond: the step is the one behind this moment's.
                        Some(schedule.next_step_ms(planned.now_ns)?.saturating_sub(unix_ms(planned.now_ns)))
                    });
                    // A lease that is sent again is no further call that found no room.
                    let streak = if repeated { entry.denials_in_a_row() } else { entry.denied() };
                    self.retry_policy.no_room_ms(kind, streak, step_in_ms, rand::random())
                });
                ReserveOutcome::NoRoom { key, retry_after_ms: hint_ms.unwrap_or(1) }
            }
        }
    }

    /// The lease was granted before: its transfers tell how it stands.
    async fn recall(&self, planned: &Planned<'_>) -> Result<ReserveOutcome, LimiterError> {
        let command = planned.command;
        let transfers =
            self.ledger.lease_transfers(command.lease, self.ids.of_lease(command.lease).family()).await?;
        let Some(lease) = Lease::from_transfers(command.lease, &transfers) else {
            // An id of it is taken, but not by a reservation of this lease.
            return Ok(ReserveOutcome::LeaseConflict);
        };
        Ok(match lease.standing(self.ids, command, &planned.limits(), self.ledger.now_ns()) {
            Standing::Granted { reserved_at_unix_ms } => ReserveOutcome::Granted { reserved_at_unix_ms },
            Standing::Conflict => ReserveOutcome::LeaseConflict,
            Standing::Settled => ReserveOutcome::LeaseSettled,
        })
    }
}
