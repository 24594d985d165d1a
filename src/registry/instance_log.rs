//! The log of template instances, read only when an operator lists the instances of a template.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::filter::KeyRange;
use super::log::LogReader;
use crate::decide::definition_codec::DefinitionVersion;
use crate::decide::ids::Ids;
use crate::ledger::{Ledger, LedgerError};
use crate::limit::LimitKey;

/// What the log says of the instances of each template. It is kept, so that a later list reads only what is new.
pub(super) struct InstanceLog<L> {
    ledger: Arc<L>,
    read: Mutex<ReadLog>,
}

struct ReadLog {
    log: LogReader,
    instances: Instances,
}

#[derive(Default)]
struct Instances {
    /// The instances of each template, with the number of their newest version.
    by_template: HashMap<LimitKey, BTreeMap<LimitKey, u64>>,
    template_of: HashMap<LimitKey, LimitKey>,
}

/// An instance in the log.
pub(super) struct LoggedInstance {
    pub(super) key: LimitKey,
    /// The number of its newest version in this log.
    pub(super) version: u64,
}

impl<L: Ledger> InstanceLog<L> {
    /// Starts at the beginning of the log. Nothing is read yet.
    pub(super) fn new(ledger: Arc<L>, ids: Ids) -> Self {
        let read = ReadLog { log: LogReader::new(ids.instances()), instances: Instances::default() };
        Self { ledger, read: Mutex::new(read) }
    }

    /// The keys of all instances for which `allows` holds.
    pub(super) async fn keys(
        &self,
        allows: impl Fn(&LimitKey) -> bool,
    ) -> Result<Vec<LimitKey>, LedgerError> {
        let mut read = self.read.lock().await;
        let ReadLog { log, instances } = &mut *read;
        log.read_on(&*self.ledger, |version| instances.take(&version)).await?;
        Ok(instances.template_of.keys().filter(|key| allows(key)).cloned().collect())
    }

    /// The first `count_max` instances of a template in a range of keys for which `allows` holds, sorted by key.
    pub(super) async fn list(
        &self,
        template: &LimitKey,
        range: &KeyRange,
        count_max: usize,
        allows: impl Fn(&LimitKey) -> bool,
    ) -> Result<Vec<LoggedInstance>, LedgerError> {
        let mut read = self.read.lock().await;
        let ReadLog { log, instances } = &mut *read;
        log.read_on(&*self.ledger, |version| instances.take(&version)).await?;
        let found = instances.by_template.get(template).into_iter().flat_map(|keys| range.of(keys));
        let found = found.filter(|(key, _)| allows(key));
        let logged =
            |(key, version): (&LimitKey, &u64)| LoggedInstance { key: key.clone(), version: *version };
        Ok(found.take(count_max).map(logged).collect())
    }
}

impl Instances {
    fn take(&mut self, version: &DefinitionVersion) {
        let key = &version.state.definition.key;
        let origin = version.state.origin.as_ref().filter(|_| !version.state.status.is_gone());
        let template = origin.map(|origin| &origin.template);
        if let Some(earlier) = self.template_of.get(key).filter(|earlier| Some(*earlier) != template)
            && let Some(keys) = self.by_template.get_mut(earlier)
        {
            keys.remove(key);
        }
        match template {
            Some(template) => {
                self.template_of.insert(key.clone(), template.clone());
                self.by_template.entry(template.clone()).or_default().insert(key.clone(), version.number);
            }
            None => drop(self.template_of.remove(key)),
        }
    }
}
