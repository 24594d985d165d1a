//! Makes an empty or unknown ledger ready at start.

use ulid::Ulid;

use super::admin::{Admin, AdminError, Saving};
use super::definition_store::interpret_refusal;
use super::{ACCOUNTS_PAGE, LIMITS_PAGE};
use crate::decide::Limit;
use crate::decide::definition_version::{self, ChainInputs};
use crate::ledger::{AccountCode, AccountRule, ChainOutcome, Ledger, NewAccount};
use crate::limit::{Definition, LimitState, Status};

impl<L: Ledger> Admin<L> {
    /// Makes the ledger ready: creates the accounts that every limit needs, reads the definitions, and creates those of `seed`
    /// that the ledger never had. It can be repeated after a failure.
    pub async fn bootstrap(&self, seed: &[LimitState]) -> Result<(), AdminError> {
        let registry = &self.registry;
        let account = |id, code| NewAccount { id, rule: AccountRule::Unconstrained, code };
        let allowance = NewAccount {
            id: registry.ids.allowance(),
            rule: AccountRule::DebitsMustNotExceedCredits,
            code: AccountCode::Allowance,
        };
        let accounts = vec![
            account(registry.ids.operator(), AccountCode::Operator),
            account(registry.ids.registry(), AccountCode::Registry),
            account(registry.ids.instances(), AccountCode::Registry),
            account(registry.ids.replicas(), AccountCode::Registry),
            account(registry.ids.measure(), AccountCode::Measure),
            allowance,
        ];
        registry.ledger.create_accounts(accounts).await?;
        registry.refresh().await?;
        let is_unknown = |state: &&LimitState| registry.snapshot().get(&state.definition.key).is_none();
        let unknown: Vec<&LimitState> = seed.iter().filter(is_unknown).collect();
        for page in unknown.chunks(LIMITS_PAGE) {
            self.seed(page).await?;
        }
        registry.refresh().await?;
        for state in seed {
            if let Status::Decreasing { to } = state.status
                && self.is_as_seeded(state)
            {
                let target = Definition { capacity: to, ..state.definition.clone() };
                let put = |current: Option<&Limit>| Ok(definition_version::put(current, &target)?);
                self.create_version(&target.key, Saving::Later, put).await?;
            }
        }
        // Only now: until every limit and every decrease of the seed is in the ledger, the file alone holds them.
        registry.saver.seeded();
        registry.refresh_and_save().await?;
        Ok(())
    }

    /// Whether a limit is as the bootstrap created it, by this process or by one that stopped before the decrease of the seed.
    /// Every later change is another version.
    fn is_as_seeded(&self, seed: &LimitState) -> bool {
        let entry = self.registry.snapshot().get(&seed.definition.key);
        entry.is_some_and(|entry| {
            let limit = &entry.limit;
            limit.version == definition_version::FIRST_VERSION
                && limit.state.status == Status::Active
                && limit.state.definition == seed.definition
        })
    }

    /// Creates the first versions of limits. If another replica seeds the same limits, the ledger refuses one of the two.
    async fn seed(&self, states: &[&LimitState]) -> Result<(), AdminError> {
        let registry = &self.registry;
        let mut accounts = Vec::new();
        let mut chains = Vec::with_capacity(states.len());
        for state in states {
            if let Some(plan) = definition_version::put(None, &state.definition)? {
                accounts.extend(plan.accounts(registry.ids));
                let inputs = ChainInputs::of_first_version(Ulid::generate().0, registry.ledger.now_ns());
                chains.extend(plan.chain(registry.ids, inputs)?);
            }
        }
        for page in accounts.chunks(ACCOUNTS_PAGE) {
            registry.ledger.create_accounts(page.to_vec()).await?;
        }
        for (state, outcome) in states.iter().zip(registry.ledger.submit(chains).await) {
            if let ChainOutcome::Refused { index, refusal } = outcome? {
                interpret_refusal(&state.definition.key, index, refusal)?;
            }
        }
        Ok(())
    }
}
