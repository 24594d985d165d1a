//! Makes instances, and retired instances again, in the chain of their first reservation. The ledger makes both or
//! neither, so a denied reservation counts no instance.
//!
//! The chain can be sent twice, by any replicas, because the first part of the definition has the same id at all of
//! them. The ledger refuses the later chain at that part. Its caller then finds the instance, and by the lease id the
//! reservation, if that was made.

use std::sync::Arc;

use ulid::Ulid;

use super::Registry;
use super::definition_store::{StoreResult, interpret_refusal};
use super::entry::Entry;
use super::error::RegistryError;
use super::refiller::CaughtUp;
use crate::decide::definition_version::{self, ChainInputs, Lowering, VersionPlan};
use crate::decide::ids::Ids;
use crate::ledger::{AccountId, Chain, ChainOutcome, Ledger, LedgerError, Transfer, find_closing};
use crate::limit::LimitKey;

/// An instance that its first reservation makes.
#[derive(Debug, Clone)]
pub(crate) struct NewInstance {
    /// The limit as it will be. The ledger does not have its accounts yet, or they are closed.
    pub(crate) entry: Arc<Entry>,
    /// The account that counts the instances of its template.
    template_account: AccountId,
    plan: VersionPlan,
    /// The instance as it was retired.
    retired: Option<Arc<Entry>>,
}

/// The outcome of a chain that makes instances first.
#[derive(Debug)]
pub(crate) enum MakingOutcome {
    /// The outcome of the chain behind the instances. They are made only if it is created.
    Submitted(ChainOutcome),
    /// Another caller made an instance, or a template has changed: find the instances again.
    Superseded,
    /// The template of this key has reached `max_instances`.
    TooMany(LimitKey),
}

impl NewInstance {
    /// The instance of a template for a key that has no versions, or whose instance is retired. `None` if the template gives
    /// none.
    pub(super) fn plan(
        ids: Ids,
        key: &LimitKey,
        template: &Entry,
        retired: Option<Arc<Entry>>,
        now_ns: u64,
    ) -> Option<Self> {
        let current = retired.as_ref().map(|entry| &entry.limit);
        let plan =
            definition_version::follow_template(current, key, &template.limit, Lowering::AtOnce).ok()??;
        let limit = plan.limit(ids, current, now_ns);
        let clock = retired.as_ref().and_then(|entry| entry.shared_clock());
        let entry = Arc::new(Entry::new(limit, clock));
        Some(Self { entry, template_account: template.limit.account, plan, retired })
    }

    /// The instance's key.
    pub(crate) fn key(&self) -> &LimitKey {
        self.entry.key()
    }
}

impl<L: Ledger> Registry<L> {
    /// The first of these instances whose template has reached `max_instances`.
    pub(crate) async fn instance_without_place(
        &self,
        instances: &[NewInstance],
    ) -> Result<Option<LimitKey>, LedgerError> {
        if instances.is_empty() {
            return Ok(None);
        }
        let templates = instances.iter().map(|instance| instance.template_account).collect();
        let templates = self.ledger.accounts(templates).await?;
        let mut instances = instances.iter().zip(templates);
        let full = instances.find(|(_, template)| template.is_none_or(|template| template.available() == 0));
        Ok(full.map(|(instance, _)| instance.key().clone()))
    }

    /// Submits a chain behind the chains that make these instances, all or none.
    pub(crate) async fn submit_making(
        &self,
        instances: &[NewInstance],
        chain: &Chain,
    ) -> Result<MakingOutcome, RegistryError> {
        // Looks first, so that a flood of keys leaves no accounts behind.
        if let Some(key) = self.instance_without_place(instances).await? {
            return Ok(MakingOutcome::TooMany(key));
        }
        let accounts = instances.iter().flat_map(|instance| instance.plan.accounts(self.ids)).collect();
        self.ledger.create_accounts(accounts).await?;
        let (mut transfers, mut makers) = (Vec::<Transfer>::new(), Vec::new());
        for instance in instances {
            let Some(making) = self.plan_making(instance).await? else {
                return Ok(MakingOutcome::Superseded);
            };
            transfers.extend(making.transfers());
            makers.resize(transfers.len(), instance);
        }
        transfers.extend(chain.transfers());
        let Some(whole) = Chain::from_vec(transfers) else { return Ok(MakingOutcome::Superseded) };
        match self.ledger.submit_one(whole).await {
            Ok(outcome) => interpret_making(&makers, outcome),
            // The definitions are too long for one chain, so they are made before.
            Err(LedgerError::ChainTooLong { .. }) => self.make_alone(instances).await,
            Err(error) => Err(error.into()),
        }
    }

    /// The chain that makes an instance. `None` if another caller has made it again.
    async fn plan_making(&self, instance: &NewInstance) -> Result<Option<Chain>, RegistryError> {
        let mut closing = None;
        if let Some(retired) = &instance.retired {
            // A retired instance has spent nothing. If the refills since then were made later, they would refill what
            // is spent from now on.
            let caught_up = self.refiller.catch_up_to_take(&[retired], self.ledger.now_ns()).await?;
            if caught_up == CaughtUp::ScheduleReplaced {
                return Ok(None);
            }
            closing = find_closing(&*self.ledger, retired.limit.account).await?;
        }
        // The template may have got another schedule since the instance was retired.
        let replaced = self.store.read_replaced(&instance.plan).await?;
        let (fresh_ulid, now_ns) = (Ulid::generate().0, self.ledger.now_ns());
        // A retired instance had nothing reserved.
        let inputs = ChainInputs { closing, kept: None, replaced, fresh_ulid, now_ns };
        Ok(instance.plan.chain(self.ids, inputs)?)
    }

    async fn make_alone(&self, instances: &[NewInstance]) -> Result<MakingOutcome, RegistryError> {
        for instance in instances {
            match self.store.create(&instance.plan).await? {
                StoreResult::Created | StoreResult::Superseded => {}
                StoreResult::NoRoom => return Ok(MakingOutcome::TooMany(instance.key().clone())),
            }
        }
        Ok(MakingOutcome::Superseded)
    }
}

/// The meaning of the outcome. `makers` has the instance of each transfer at the front.
fn interpret_making(makers: &[&NewInstance], outcome: ChainOutcome) -> Result<MakingOutcome, RegistryError> {
    let (index, refusal) = match outcome {
        // The ledger numbers the transfers of a chain one nanosecond apart.
        ChainOutcome::Created { timestamp_ns } => {
            let timestamp_ns = timestamp_ns + makers.len() as u64;
            return Ok(MakingOutcome::Submitted(ChainOutcome::Created { timestamp_ns }));
        }
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    let Some(instance) = makers.get(index) else {
        let index = index - makers.len();
        return Ok(MakingOutcome::Submitted(ChainOutcome::Refused { index, refusal }));
    };
    Ok(match interpret_refusal(instance.key(), index, refusal)? {
        StoreResult::Created | StoreResult::Superseded => MakingOutcome::Superseded,
        StoreResult::NoRoom => MakingOutcome::TooMany(instance.key().clone()),
    })
}
