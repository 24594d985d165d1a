//! A command with the limits it names, as they are to be when something is sent: known, made where a template makes them,
//! and brought up to their time.

use std::sync::Arc;

use futures_util::future::join_all;
use smallvec::SmallVec;

use super::{Limiter, LimiterError};
use crate::comeback::BroughtUp;
use crate::decide::Limit;
use crate::decide::command::Reserve;
use crate::decide::reserve;
use crate::instances::Found;
use crate::ledger::{Ledger, LedgerError};
use crate::limit::LimitKey;
use crate::registry::Entry;

/// How often limits are brought up that change meanwhile, or of which something becomes due meanwhile.
const TRIES_MAX: usize = 16;

/// The limits that a command names, in the order of its requirements. The usual call names up to four.
type Entries = SmallVec<[Option<Arc<Entry>>; 4]>;
/// The same as the decisions look at them.
pub(super) type Limits<'a> = SmallVec<[Option<&'a Limit>; 4]>;

/// A command on its way, with the limits it names.
pub(super) struct Planned<'a> {
    pub(super) command: &'a Reserve,
    entries: Entries,
    /// The keys that a template would be for, if it could make more limits.
    pub(super) too_many: Vec<LimitKey>,
    /// When it was planned, in the ledger's nanoseconds. What was due of its limits by then has come back. 0 where
    /// nothing depends on it.
    pub(super) now_ns: u64,
}

impl Planned<'_> {
    pub(super) fn limits(&self) -> Limits<'_> {
        self.entries.iter().map(|entry| entry.as_ref().map(|entry| &entry.limit)).collect()
    }

    /// Ends the rows of denials of its limits.
    pub(super) fn granted(&self) {
        self.entries.iter().flatten().for_each(|entry| entry.granted());
    }

    fn is_due(&self) -> bool {
        self.due().next().is_some()
    }

    /// The limits of which something is due. What a deleted one spent comes back when it is defined again.
    fn due(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let is_due =
            |entry: &&Arc<Entry>| entry.is_due(self.now_ns) && reserve::takes_reservations(&entry.limit);
        self.entries.iter().flatten().filter(is_due)
    }

    pub(super) fn entry(&self, key: &LimitKey) -> Option<&Arc<Entry>> {
        self.entries.iter().flatten().find(|entry| entry.key() == key)
    }
}

impl<L: Ledger> Limiter<L> {
    /// With limits that are in force. Definitions are read once more before a key counts as unknown, for it may have been
    /// defined at another replica a moment ago; and templates make the limits that are missing.
    pub(super) async fn put_in_force<'a>(&self, planned: Planned<'a>) -> Result<Planned<'a>, LimiterError> {
        if self.all_in_force(&planned) {
            return Ok(planned);
        }
        self.refresh().await?;
        let command = planned.command;
        let mut planned = self.planned(command);
        if !self.all_in_force(&planned) {
            let too_many = self.make_instances(&planned).await?;
            planned = Planned { too_many, ..self.planned(command) };
        }
        Ok(planned)
    }

    /// Whether every key names a limit that is what it should be.
    fn all_in_force(&self, planned: &Planned<'_>) -> bool {
        let changed = self.registry().templates_changed();
        planned.entries.iter().all(|entry| is_in_force(entry.as_deref(), changed))
    }

    /// Whether it can be sent as it is: its limits are in force, and nothing of them is due.
    pub(super) fn is_ready(&self, planned: &Planned<'_>) -> bool {
        self.all_in_force(planned) && !planned.is_due()
    }

    /// Has templates make the limits that are missing; answers the keys for which they could not.
    async fn make_instances(&self, planned: &Planned<'_>) -> Result<Vec<LimitKey>, LimiterError> {
        let changed = self.registry().templates_changed();
        let mut too_many = Vec::new();
        for (requirement, entry) in planned.command.requirements().iter().zip(&planned.entries) {
            if is_in_force(entry.as_deref(), changed) {
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

    /// With limits that are in force, and of which everything has come back that is due.
    pub(super) async fn made_ready<'a>(&self, planned: Planned<'a>) -> Result<Planned<'a>, LimiterError> {
        let planned = self.put_in_force(planned).await?;
        if planned.is_due() { self.bring_up(planned).await } else { Ok(planned) }
    }

    /// The plan of a command, made ready.
    pub(super) async fn planned_ready<'a>(&self, command: &'a Reserve) -> Result<Planned<'a>, LimiterError> {
        self.made_ready(self.planned(command)).await
    }

    /// The same for each command of a batch, together, so that they share the ledger's requests.
    pub(super) async fn planned_batch<'a>(
        &self,
        commands: &'a [Reserve],
    ) -> Vec<Result<Planned<'a>, LimiterError>> {
        let planned: Vec<_> = commands.iter().map(|command| self.planned(command)).collect();
        if planned.iter().all(|planned| self.is_ready(planned)) {
            return planned.into_iter().map(Ok).collect();
        }
        // Each is planned when its turn comes: by then others may have brought its limits up to a later time.
        join_all(commands.iter().map(|command| self.planned_ready(command))).await
    }

    /// Lets come back what is due of the limits that a command names. Bringing up one takes its time, in which something of
    /// another may become due.
    async fn bring_up<'a>(&self, mut planned: Planned<'a>) -> Result<Planned<'a>, LimiterError> {
        for _ in 0..TRIES_MAX {
            let (mut replaced, mut now_ns) = (false, planned.now_ns);
            for entry in planned.due() {
                match self.comeback.bring_up(entry, planned.now_ns).await? {
                    BroughtUp::Before => {}
                    BroughtUp::Now { at_ns } => {
                        self.local_denials.forget(entry.limit.account);
                        now_ns = now_ns.max(at_ns);
                    }
                    BroughtUp::Replaced => replaced = true,
                }
            }
            planned.now_ns = now_ns;
            if replaced {
                self.read_anew(&planned).await?;
                planned = self.put_in_force(self.planned(planned.command)).await?;
            }
            if !planned.is_due() {
                return Ok(planned);
            }
        }
        Err(LedgerError::Unexpected("limits are changing too fast to be brought up to their time".to_owned())
            .into())
    }

    /// Reads definitions that were found stale, those of limits that templates made included.
    pub(super) async fn read_anew(&self, planned: &Planned<'_>) -> Result<(), LimiterError> {
        self.refresh().await?;
        let made = |entry: &&Arc<Entry>| entry.limit.state.origin.is_some();
        planned.entries.iter().flatten().filter(made).for_each(|entry| self.registry().forget(entry));
        Ok(())
    }

    pub(super) fn planned<'a>(&self, command: &'a Reserve) -> Planned<'a> {
        let keys = command.requirements().iter().map(|requirement| &requirement.key);
        let entries: Entries = self.registry().get_all(keys);
        let is_scheduled = |entry: &Arc<Entry>| entry.limit.schedule.is_some();
        // In memory, reading the clock takes a tenth of what a reserve takes.
        let is_timed = self.local_denials.is_on() || entries.iter().flatten().any(is_scheduled);
        let now_ns = if is_timed { self.ledger.now_ns() } else { 0 };
        Planned { command, entries, too_many: Vec::new(), now_ns }
    }
}

fn is_in_force(entry: Option<&Entry>, templates_changed: u64) -> bool {
    entry.is_some_and(|entry| entry.is_in_force(templates_changed))
}
