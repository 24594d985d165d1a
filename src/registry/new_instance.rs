//! Makes instances in the chain of their first reservation. The ledger makes both or neither, so a denied reservation counts
//! no instance.
//!
//! The chain can be sent twice, by any replicas: the first part of the definition has one id for all of them. The later chain
//! is refused there, its caller finds the instance, and its reservation, if it was made, by the lease id.

use std::sync::Arc;

use ulid::Ulid;

use super::Registry;
use super::definition_store::{StoreResult, interpret_refusal};
use super::entry::Entry;
use super::error::RegistryError;
use crate::decide::definition_version::{self, ChainInputs, Lowering, VersionPlan};
use crate::decide::ids::Ids;
use crate::ledger::{AccountId, Chain, ChainOutcome, Ledger, LedgerError, Transfer};
use crate::limit::LimitKey;

/// An instance that its first reservation makes.
#[derive(Debug, Clone)]
pub(crate) struct NewInstance {
    /// The limit as it will be. The ledger does not have its accounts yet.
    pub(crate) entry: Arc<Entry>,
    /// The account that counts the instances of its template.
    template_account: AccountId,
    plan: VersionPlan,
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
    /// The instance of a template for a key that has no versions. `None` if the template gives none.
    pub(super) fn plan(ids: Ids, key: &LimitKey, template: &Entry, now_ns: u64) -> Option<Self> {
        let plan =
            definition_version::follow_template(None, key, &template.limit, Lowering::AtOnce).ok()??;
        let limit = plan.limit(ids, now_ns);
        let entry = Arc::new(Entry::new(limit, None));
        Some(Self { entry, template_account: template.limit.account, plan })
    }

    /// The instance's key.
    pub(crate) fn key(&self) -> &LimitKey {
        self.entry.key()
    }
}

impl<L: Ledger> Registry<L> {
    /// Submits a chain behind the chains that make these instances, all or none.
    pub(crate) async fn submit_making(
        &self,
        instances: &[NewInstance],
        chain: &Chain,
    ) -> Result<MakingOutcome, RegistryError> {
        // Look first, so that a flood of keys leaves no accounts behind.
        let templates = instances.iter().map(|instance| instance.template_account).collect();
        for (instance, template) in instances.iter().zip(self.ledger.accounts(templates).await?) {
            if template.is_none_or(|template| template.available() == 0) {
                return Ok(MakingOutcome::TooMany(instance.key().clone()));
            }
        }
        let accounts = instances.iter().flat_map(|instance| instance.plan.accounts(self.ids)).collect();
        self.ledger.create_accounts(accounts).await?;
        let (mut transfers, mut makers) = (Vec::<Transfer>::new(), Vec::new());
        for instance in instances {
            let inputs = ChainInputs::of_first_version(Ulid::generate().0, self.ledger.now_ns());
            let making = instance.plan.chain(self.ids, inputs)?;
            transfers.extend(making.iter().flat_map(Chain::transfers));
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
